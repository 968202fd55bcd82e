"""Short pieces of sound for tests, the same in every run."""

import functools
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

PLUCK_S = 0.5


def pluck(duration_s: float = 4.0, sample_rate_hz: int = 16_000) -> NDArray[np.float32]:
    """A mono line of plucked notes with two overtones; the same sound at every sample rate."""
    return _pluck(duration_s, sample_rate_hz).copy()


@functools.lru_cache(maxsize=64)
def _pluck(duration_s: float, sample_rate_hz: int) -> NDArray[np.float32]:
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    note = (time_s / PLUCK_S).astype(int)
    pitch_hz = 220.0 * 2.0 ** (np.array([0, 4, 7, 12, 9, 5, 2, 7])[note % 8] / 12.0)
    since_s = time_s - note * PLUCK_S
    tone = sum(np.sin(2 * np.pi * k * pitch_hz * since_s) / k for k in (1, 2, 3))
    line = tone * np.exp(-5.0 * since_s) * np.minimum(since_s / 0.01, 1.0)
    return (line / 4.0).astype(np.float32)


def write_clip(path: Path, samples: NDArray[np.float32] | None = None, sample_rate_hz: int = 16_000) -> Path:
    """Write samples (by default four seconds of plucks) in the format that the suffix names."""
    opus = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    samples = pluck(sample_rate_hz=sample_rate_hz) if samples is None else samples
    soundfile.write(path, samples, sample_rate_hz, **opus)
    return path
