"""Rated clips for tests: a table beside short plucks, each at a pitch and in a loudness of its own."""

from pathlib import Path

import numpy as np
import pandas as pd

from core.rated_clips import RatedClips
from tests.clips import pluck, write_clip

SYSTEMS, PROMPTS = 4, 3


def rated_table(clips: int, folder: Path = Path("clips")) -> RatedClips:
    """Clips of four systems and three prompts, the later the better; their files need not be there."""
    numbers = np.arange(clips)
    rows = {
        "clip_id": [f"c{n:02d}" for n in numbers],
        "audio_path": [str(folder / f"c{n:02d}.wav") for n in numbers],
        "prompt": [f"A calm piece, number {n % PROMPTS}" for n in numbers],
        "prompt_id": [f"P{n % PROMPTS}" for n in numbers],
        "system_id": [f"S{n % SYSTEMS}" for n in numbers],
        "musical_impression": np.linspace(1.5, 4.5, clips).round(2),
        "textual_alignment": np.linspace(4.0, 2.0, clips).round(2) + numbers % 2 * 0.5,
        "n_ratings": None,
        "musical_impression_sd": None,
        "textual_alignment_sd": None,
        "split": "",
    }
    return RatedClips(pd.DataFrame(rows))


def write_rated(folder: Path, clips: int = 12, duration_s: float = 0.5) -> Path:
    """Write a table of rated clips and their files to a folder; gives the table's path."""
    folder.mkdir(parents=True, exist_ok=True)
    rated = rated_table(clips, folder)
    for n, path in enumerate(rated.table["audio_path"]):
        samples = pluck(duration_s + 0.01 * n) * np.float32(1.0 - n / (2 * clips))
        write_clip(Path(path), samples * (1 - 2 * (np.arange(samples.size) % (n + 3) == 0)))
    rated.to_csv(folder / "rated_clips.csv")
    return folder / "rated_clips.csv"


def write_survey(folder: Path, clips: int = 12, raters: int = 8) -> Path:
    """Write single ratings from 0 to 5 and, beside them, a table of clips in two groups; gives the folder.

    The second half is of people, and better: the mean of clip n is n // (clips / 2) * 2 + 2, plus its number's sign.
    """
    write_rated(folder, clips, duration_s=0.5)
    (folder / "rated_clips.csv").unlink()
    better = [n >= clips // 2 for n in range(clips)]
    listed = [f"{n},c{n:02d}.wav,{'human' if better[n] else 'computer'}" for n in range(clips)]
    (folder / "clips.csv").write_text("\n".join(["clip,file,group", *listed]))
    rated = [
        f"r{rater},{n},{(4 if better[n] else 1) + (rater + n) % 3 - 1}" for n in range(clips) for rater in range(raters)
    ]
    (folder / "ratings.csv").write_text("\n".join(["rater,clip,rating_0_to_5", *rated]))
    return folder
