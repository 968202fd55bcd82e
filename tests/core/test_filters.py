"""Filters, spectra and loudness against those of SciPy and pyloudnorm."""

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy import signal

from core import filters

RATES_HZ = (4_000, 16_000, 44_100)
LENGTHS_S = (0.35, 1.7, 9.0)


@pytest.fixture(params=[(rate, length) for rate in RATES_HZ for length in LENGTHS_S], ids=str)
def sound(request: pytest.FixtureRequest) -> tuple[NDArray[np.float32], int]:
    """Noise that swells, so that some blocks are below the gates, and its rate."""
    rate_hz, length_s = request.param
    random, n_samples = np.random.default_rng(0), round(rate_hz * length_s)
    return (random.normal(0.0, 0.1, n_samples) * np.linspace(0.0, 1.0, n_samples) ** 4).astype(np.float32), rate_hz


def test_low_pass(sound: tuple[NDArray[np.float32], int]) -> None:
    samples, rate_hz = sound
    taps = signal.firwin(257, 0.3 * rate_hz, window=("kaiser", 10.0), fs=rate_hz)
    expected = signal.oaconvolve(samples.astype(np.float64), taps, mode="same")
    given = filters.convolve(samples, filters.low_pass(rate_hz, 0.3 * rate_hz, 257), 128)
    np.testing.assert_allclose(given, expected, rtol=0, atol=1e-13)


def test_high_pass(sound: tuple[NDArray[np.float32], int]) -> None:
    samples, rate_hz = sound
    recursive = signal.butter(2, 20.0, "highpass", fs=rate_hz, output="sos")
    given = filters.convolve(samples, filters.high_pass(rate_hz, 20.0))
    np.testing.assert_allclose(given, signal.sosfilt(recursive, samples.astype(np.float64)), rtol=0, atol=1e-11)


def test_spectrum(sound: tuple[NDArray[np.float32], int]) -> None:
    samples, rate_hz = sound
    for n_samples in (1024, 1001):
        frequency_hz, power = filters.spectrum(samples, rate_hz, n_samples)
        expected_hz, expected = signal.welch(samples.astype(np.float64), rate_hz, nperseg=n_samples)
        np.testing.assert_array_equal(frequency_hz, expected_hz)
        np.testing.assert_allclose(power / power.sum(), expected / expected.sum(), rtol=0, atol=1e-12)


def test_loudness(sound: tuple[NDArray[np.float32], int]) -> None:
    samples, rate_hz = sound
    peak = float(np.abs(samples).max())
    measured = np.resize(samples, max(samples.size, round(0.4 * rate_hz))).astype(np.float64) / peak
    expected = pyloudnorm.Meter(rate_hz, block_size=0.4).integrated_loudness(measured) + 20 * np.log10(peak)
    assert filters.loudness_lufs(samples, rate_hz) == pytest.approx(expected, abs=1e-9)
    quieter = filters.loudness_lufs(samples / 100, rate_hz)
    assert quieter is None or quieter == pytest.approx(expected - 40, abs=1e-4)


def test_silence_has_no_loudness() -> None:
    assert filters.loudness_lufs(np.full(48_000, 0.0009, np.float32), 48_000) is None
    assert filters.loudness_lufs(np.zeros(0, np.float32), 48_000) is None
