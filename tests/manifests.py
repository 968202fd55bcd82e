"""Manifests for tests: a few short clips, named by many rows, some of which are bad."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from core.batch.manifest import Cells, write_records
from tests.bad_inputs import BAD_INPUTS
from tests.clips import pluck, write_clip

PROMPTS = ("A calm piano", "Loud drums and a bass", "", "=A1, a waltz")
N_CLIPS = 4
# Ten kinds that take no time to make.
BAD_KINDS = (
    "missing file",
    "folder",
    "empty file",
    "text",
    "playlist",
    "MP3 header",
    "zero samples",
    "NaN",
    "infinity",
    "0.1 s",
)
COLUMNS = dict.fromkeys(("id", "file", "prompt", "system", "note"), str)


def manifest_rows(folder: Path, n_rows: int, n_bad: int = 0, n_clips: int = N_CLIPS) -> list[Cells]:
    """Rows about clips of half a second and more; the bad ones are spread evenly, kinds in turn."""
    for number in range(n_clips):
        write_clip(folder / f"clip{number}.wav", pluck(0.6 + 0.01 * number))
    bad = _bad_files(folder) if n_bad else []
    rows = []
    for number in range(n_rows):
        is_bad = n_bad and number % (n_rows // n_bad) == 1
        file = bad[number // (n_rows // n_bad) % len(bad)] if is_bad else f"clip{number % n_clips}.wav"
        prompt = PROMPTS[number // N_CLIPS % len(PROMPTS)]
        rows.append({"id": f"row {number}", "file": file, "prompt": prompt, "system": f"S{number % 3}", "note": "é"})
    return rows


def write_manifest(path: Path, rows: Sequence[Cells]) -> Path:
    """Write rows as the suffix says."""
    write_records(path, COLUMNS, rows)
    return path


def nearly(records: Sequence[Cells]) -> list[Cells]:
    """Equal to records whose numbers are within 1e-5 of these."""
    return [
        {name: pytest.approx(cell, abs=1e-5) if isinstance(cell, float) else cell for name, cell in record.items()}
        for record in records
    ]


def _bad_files(folder: Path) -> list[str]:
    files = []
    for kind in BAD_KINDS:
        bad = next(bad for bad in BAD_INPUTS if bad.name == kind)
        own = folder / kind.replace(" ", "_")
        own.mkdir()
        files.append(bad.build(own)[0].relative_to(folder).as_posix())
    return files
