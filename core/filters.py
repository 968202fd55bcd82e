"""Filters, spectra and loudness of samples, with NumPy alone.

scipy.signal and pyloudnorm have them all, and take a second to import, half as long as torch: every command,
every reader and the pages would wait for it. The tests hold the figures against theirs.

Conventions: samples have shape (n,); frequencies are in Hz; results are float64. A filter is its impulse
response, its *taps*, and goes over samples by overlap-add, so memory is that of the result. Loudness is integrated
loudness by ITU-R BS.1770-4; the filters of its weighting come from R. Bristow-Johnson's "Cookbook formulae
for audio equalizer biquad filter coefficients", as pyloudnorm has them.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32] | NDArray[np.float64]
Numbers = NDArray[np.float64]

SILENCE_PEAK = 0.001  # -60 dBFS: below it a clip counts as silent, and is not made louder
BLOCK_S = 0.4  # in which BS.1770 measures
_STEP = 0.25  # of a block, to the next
_OFFSET_LU = -0.691
_ABSOLUTE_GATE_LUFS, _RELATIVE_GATE_LU = -70.0, -10.0
_DIED = 1e-12  # of a filter's response, as far as it is followed
_LONGEST_S = 0.5  # in which 20 Hz and more die away to 1e-19
_KAISER = 10.0


def convolve(samples: Samples, taps: Numbers, delay: int = 0) -> Numbers:
    """Return as many samples as are given of the convolution, from `delay` on."""
    size = _power_of_two(6 * len(taps))
    step, spectrum = size - len(taps) + 1, np.fft.rfft(taps, size)
    result = np.zeros(len(samples) + len(taps) - 1)
    for start in range(0, len(samples), step):
        piece = result[start : start + size]
        piece += np.fft.irfft(np.fft.rfft(samples[start : start + step], size) * spectrum, size)[: piece.size]
    return result[delay : delay + len(samples)]


@functools.cache
def low_pass(sample_rate_hz: int, cutoff_hz: float, n_taps: int) -> Numbers:
    """Return a low pass of linear phase with an odd number of taps; its delay is the half of them."""
    place, share = np.arange(n_taps) - n_taps // 2, 2 * cutoff_hz / sample_rate_hz
    taps = np.sinc(share * place) * np.kaiser(n_taps, _KAISER)
    level: Numbers = taps / taps.sum()
    return level


@functools.cache
def high_pass(sample_rate_hz: int, cutoff_hz: float) -> Numbers:
    """Return a Butterworth high pass of the second order."""
    warped = math.tan(math.pi * cutoff_hz / sample_rate_hz)
    below = [1 + math.sqrt(2) * warped + warped**2, 2 * (warped**2 - 1), 1 - math.sqrt(2) * warped + warped**2]
    return _taps(sample_rate_hz, ([1.0, -2.0, 1.0], below))


def spectrum(samples: Samples, sample_rate_hz: int, n_samples: int) -> tuple[Numbers, Numbers]:
    """Return frequencies, and the mean power there of stretches of `n_samples`, by Welch's method."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_samples) / n_samples)
    starts = range(0, len(samples) - n_samples + 1, n_samples - n_samples // 2)
    power = np.zeros(n_samples // 2 + 1)
    for start in starts:
        stretch = samples[start : start + n_samples].astype(np.float64)
        power += np.abs(np.fft.rfft((stretch - stretch.mean()) * hann)) ** 2
    power[1 : (n_samples + 1) // 2] *= 2  # the frequencies below 0
    return np.fft.rfftfreq(n_samples, 1 / sample_rate_hz), power / len(starts)


def loudness_lufs(samples: Samples, sample_rate_hz: int) -> float | None:
    """Return the integrated loudness; None for silence (a peak under -60 dBFS).

    A clip shorter than one block is measured repeated. Measured at a peak of 1: the absolute gate would hear less of
    a quiet copy.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < SILENCE_PEAK:
        return None
    least = math.ceil(BLOCK_S * sample_rate_hz)
    measured: Samples = samples if samples.size >= least else np.resize(samples, least)  # type: ignore[assignment]
    power = _block_powers(convolve(measured, _weighting(sample_rate_hz)), sample_rate_hz) / peak**2
    power = power[power >= _power(_ABSOLUTE_GATE_LUFS)]
    if not power.size:
        return None
    loud = power[power > power.mean() * 10 ** (_RELATIVE_GATE_LU / 10)]
    return _OFFSET_LU + 10 * math.log10(loud.mean()) + 20 * math.log10(peak)


def _block_powers(weighted: Numbers, sample_rate_hz: int) -> Numbers:
    energy = np.concatenate([[0.0], np.cumsum(weighted**2)])
    n_blocks = round((weighted.size / sample_rate_hz - BLOCK_S) / (BLOCK_S * _STEP)) + 1
    number = np.arange(n_blocks)
    bounds = (BLOCK_S * (number * _STEP + end) * sample_rate_hz for end in (0, 1))  # to the same sample as pyloudnorm
    first, end = (np.minimum(bound.astype(int), weighted.size) for bound in bounds)
    return (energy[end] - energy[first]) / (BLOCK_S * sample_rate_hz)  # type: ignore[no-any-return]


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - _OFFSET_LU) / 10))


@functools.cache
def _weighting(sample_rate_hz: int) -> Numbers:
    """BS.1770's: a shelf of 4 dB from 1.5 kHz on, for the head, and a high pass at 38 Hz."""
    gain, angle = 10 ** (4.0 / 40), 2 * math.pi * 1500.0 / sample_rate_hz
    cosine, slope = math.cos(angle), math.sqrt(2 * gain) * math.sin(angle)
    middle, edge = gain + 1 + (gain - 1) * cosine, gain + 1 - (gain - 1) * cosine
    above = [gain * (middle + slope), -2 * gain * (gain - 1 + (gain + 1) * cosine), gain * (middle - slope)]
    shelf = above, [edge + slope, 2 * (gain - 1 - (gain + 1) * cosine), edge - slope]
    angle = 2 * math.pi * 38.0 / sample_rate_hz
    cosine, sine = math.cos(angle), math.sin(angle)
    low = [(1 + cosine) / 2, -1 - cosine, (1 + cosine) / 2], [1 + sine, -2 * cosine, 1 - sine]
    return _taps(sample_rate_hz, shelf, low)


def _taps(sample_rate_hz: int, *filters: tuple[list[float], list[float]]) -> Numbers:
    """Return the impulse response of recursive filters in a row, by their coefficients above and below the line.

    It is computed from so many frequencies that it is over before it comes round again, and cut off where it has died
    away.
    """
    size = _power_of_two(math.ceil(_LONGEST_S * sample_rate_hz))
    response = math.prod(np.fft.rfft(above, size) / np.fft.rfft(below, size) for above, below in filters)
    taps: Numbers = np.fft.irfft(response, size)
    return taps[: int(np.flatnonzero(np.abs(taps) > _DIED * np.abs(taps).max())[-1]) + 1]


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()
