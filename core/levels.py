"""The true peak of samples: how high the sound comes between them.

It is the largest magnitude at four times the rate, and of the samples themselves (ITU-R BS.1770-4, annex 2). Full
scale is at 1.0, or 0 dBTP.
"""

import math

import numpy as np
import soxr
from numpy.typing import NDArray

_OVERSAMPLING = 4

Samples = NDArray[np.float32]


class TruePeak:
    """The true peak of the loudest channel, of blocks of (n, channels) that follow each other."""

    def __init__(self, channels: int = 1) -> None:
        self._stream = soxr.ResampleStream(1, _OVERSAMPLING, channels, dtype="float32", quality="HQ")
        self._channels, self._peak = channels, 0.0

    def add(self, block: Samples) -> None:
        """Take in the next block."""
        self._peak = max(self._peak, _largest(block), _largest(self._stream.resample_chunk(block)))

    def end(self) -> float:
        """Return the peak of all blocks; nothing may come after it."""
        rest = self._stream.resample_chunk(np.zeros((0, self._channels), np.float32), last=True)
        return max(self._peak, _largest(rest))


def peak_of(frames: Samples) -> float:
    """Return the true peak of the loudest channel, of (n, channels)."""
    meter = TruePeak(frames.shape[1])
    meter.add(np.ascontiguousarray(frames))
    return meter.end()


def true_peak_dbtp(samples: Samples) -> float:
    """Return the true peak of one channel, (n,), in decibels; -inf for digital silence."""
    return decibels(peak_of(samples.astype(np.float32)[:, np.newaxis]))


def decibels(peak: float) -> float:
    """Return a magnitude in decibels relative to full scale."""
    return 20.0 * math.log10(peak) if peak else -math.inf


def _largest(values: Samples) -> float:
    return float(np.abs(values).max(initial=0.0))
