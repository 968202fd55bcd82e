"""The same music, the same score: how far a score moves when a clip begins earlier or later.

`python -m tools.same_score --reference-data DIR` scores each clip as it is, with silence put in front, and with
its beginning cut off, and prints by how much the scores differ. Silence in front is the same music; a cut is
not quite, so its figure says how much of a score hangs on where windows happen to lie.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm import tqdm

from core.audio import Samples, read_clip
from core.command import as_json, path_option
from core.scales import keys
from core.scorer import Item, Scorer
from core.scores import Score

SHIFTS_MS = (5, 12, 25, 40, 77, 250, 500)


@click.command(help=__doc__)
@path_option("--reference-data", "DIR", "folder of real clips and recordings", required=True)
@path_option("--model", "DIR", "the model to measure; without it the embedded judge")
@as_json
def same_score(reference_data: Path, model: Path | None, as_json: bool) -> None:
    """Measure and print."""
    scorer = Scorer.load(model)
    moved: dict[str, list[NDArray[np.float64]]] = {"silence in front": [], "beginning cut off": []}
    for path, prompt in tqdm([*clips(reference_data)], "clips", unit="clip"):
        clip = read_clip(path)
        rate_hz = clip.sample_rate_hz
        plain, *others = _scores(scorer, prompt, rate_hz, [clip.samples, *_shifted(clip.samples, rate_hz)])
        changes = [np.abs(other - plain) for other in others]
        moved["silence in front"] += changes[: len(SHIFTS_MS)]
        moved["beginning cut off"] += changes[len(SHIFTS_MS) :]
    figures = {what: _figures(changes, keys(scorer.checkpoint.scales)) for what, changes in moved.items()}
    print(json.dumps(figures, indent=2) if as_json else pd.json_normalize(figures, sep=", ").T.to_string(header=False))


def clips(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the clips of the reference data with their prompts."""
    listed = pd.read_csv(folder / "audio" / "ttm" / "manifest.csv")
    for file, prompt in zip(listed["file"], listed["prompt"], strict=True):
        yield folder / "audio" / "ttm" / file, prompt
    for path in sorted((folder / "audio" / "anchors").glob("*.ogg")):
        yield path, path.with_suffix(".txt").read_text(encoding="utf-8").strip()


def _shifted(samples: Samples, rate_hz: int) -> Iterator[Samples]:
    lengths = [round(shift_ms * rate_hz / 1000) for shift_ms in SHIFTS_MS]
    yield from (np.concatenate([np.zeros(length, np.float32), samples]) for length in lengths)
    yield from (samples[length:] for length in lengths)


def _scores(scorer: Scorer, prompt: str, rate_hz: int, sounds: list[Samples]) -> list[NDArray[np.float64]]:
    results = list(scorer.score_many([Item((sound, rate_hz), prompt) for sound in sounds]))
    return [np.array([*result.values.values()], float) for result in results if isinstance(result, Score)]


def _figures(changes: list[NDArray[np.float64]], scales: list[str]) -> dict[str, dict[str, float]]:
    """Median, 95 % and greatest change by scale, over the clips that have a score on it; their number in shifts."""
    told = {scale: of[~np.isnan(of)] for scale, of in zip(scales, np.array(changes).T, strict=True)}
    return {
        scale: {
            "median": round(float(np.median(of_scale)), 3),
            "95 %": round(float(np.quantile(of_scale, 0.95)), 3),
            "most": round(float(of_scale.max()), 3),
            "n": of_scale.size,
        }
        for scale, of_scale in told.items()
        if of_scale.size
    }


if __name__ == "__main__":
    same_score()
