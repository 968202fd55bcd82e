"""The clips that `core.bench.cli` times: equally long, cut from real ones or composed."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from core.audio import read_clip
from core.demo.composer import compose, draw_attributes
from core.demo.rendering import render
from core.demo.timbres import SAMPLE_RATE_HZ
from core.errors import AudioError, DataError, shown_name

CLIP_S = 29.0  # what text-to-music models that published clips mostly made; MusicEval's median is 25 s
_COMPOSED = 4
_SOUNDS = (".flac", ".ogg", ".wav", ".mp3")


def write_bench_clips(source: Path | None, folder: Path, count: int) -> list[Path]:
    """Write clips of `CLIP_S` as FLAC, no two alike.

    Parameters
    ----------
    source : Path or None
        A folder with clips somewhere in it; they are taken in turn, each time from another place on and
        repeated where they are short. Without one, a few pieces are composed and used like that.
    folder : Path
        Where the clips go.
    count : int

    Returns
    -------
    list of Path

    Raises
    ------
    DataError
        The folder holds no clips, or one that cannot be read.
    """
    sounds = list(_composed() if source is None else _found(source))
    paths = []
    for number, (samples, sample_rate_hz) in enumerate(itertools.islice(itertools.cycle(sounds), count)):
        start = number // len(sounds) * samples.size // 7  # elsewhere on each round
        excerpt = np.resize(np.roll(samples, -start), round(CLIP_S * sample_rate_hz))
        paths.append(folder / f"{number:03d}.flac")
        soundfile.write(paths[-1], np.clip(excerpt, -1.0, 1.0), sample_rate_hz)
    return paths


def _found(source: Path) -> Iterator[tuple[NDArray[np.float32], int]]:
    paths = sorted(path for path in source.rglob("*") if path.suffix.lower() in _SOUNDS)
    if not paths:
        raise DataError(f"{shown_name(source.name)} holds no clips. Give a folder with {', '.join(_SOUNDS)}.")
    for path in paths:
        try:
            clip = read_clip(path)
        except AudioError as error:
            raise DataError(str(error)) from error
        yield clip.samples, clip.sample_rate_hz


def _composed() -> Iterator[tuple[NDArray[np.float32], int]]:
    for seed in range(_COMPOSED):
        random = np.random.default_rng(seed)
        yield render(compose(draw_attributes(random), CLIP_S, random), random), SAMPLE_RATE_HZ
