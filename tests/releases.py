"""A small release in the official layout, written by hand, for tests."""

from collections.abc import Mapping
from pathlib import Path

TRAIN = ["audiomos2025-track1-S002_P001.wav,4.2,3.4", "audiomos2025-track1-S013_P001.wav,1.0,5.0"]
DEV = ["audiomos2025-track1-S003_P001.wav,2.5,3.0"]
TEST = ["audiomos2025-track1-S002_P044.wav,3.0,3.5"]
RATINGS = [
    "audiomos2025-track1-S003_P001.wav,R1,2,2",
    "audiomos2025-track1-S003_P001.wav,R2,3,4",
    "audiomos2025-track1-S013_P001.wav,R1,1,5",
]
FILES: Mapping[str, list[str]] = {
    "sets/train_mos_list.txt": TRAIN,
    "sets/dev_mos_list.txt": DEV,
    "sets/total_mos_list.txt": [*TRAIN, *DEV, *TEST],
    "person_mos/total_person_mos.txt": RATINGS,
    "prompt_info.txt": ["id\ttext", "P001\tA calm piano", 'P044\t"A ""big"" band"', "P099\tUnused"],
    "demo_prompt_info.txt": ["id\ttext", "audiomos2025-track1-S013_P001.wav\tHappy rock"],
}


def write_release(folder: Path, changes: Mapping[str, list[str] | None] | None = None) -> Path:
    """Write the release; changed files have other lines, or (None) are left out. Clips are empty files."""
    for name, lines in {**FILES, **(changes or {})}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if lines is not None:
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    (folder / "wav").mkdir()
    for line in [*TRAIN, *DEV, *TEST]:
        (folder / "wav" / line.split(",")[0]).touch()
    return folder
