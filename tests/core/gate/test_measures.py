"""What the gate measures in a signal, held against sounds whose figures are known."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio import AudioLimits, Clip, read_clip
from core.gate.limits import SignalLimits
from core.gate.measures import Signal, clicks, longest_silence_s, measure_file, measure_signal
from core.levels import TruePeak, peak_of, true_peak_dbtp
from tests.clips import pluck

RATE_HZ = 16_000
TIME_S = np.arange(4 * RATE_HZ) / RATE_HZ


def between_samples() -> np.ndarray:
    """A sine of full scale at a quarter of the rate, whose samples all lie 3 dB below its top."""
    return np.sin(np.pi / 2 * np.arange(4 * RATE_HZ) + np.pi / 4).astype(np.float32)


def clip_of(samples: np.ndarray) -> Clip:
    return read_clip((samples, RATE_HZ), true_peak=True)


def with_click(samples: np.ndarray, at_s: float, height: float) -> np.ndarray:
    clicked = samples.copy()
    clicked[round(at_s * RATE_HZ)] += height
    return clicked


def test_the_true_peak_lies_between_samples() -> None:
    assert true_peak_dbtp(between_samples()[2_000:-2_000]) == pytest.approx(0.0, abs=0.1)
    assert true_peak_dbtp(np.zeros(100, np.float32)) == -math.inf


def test_the_true_peak_is_that_of_the_loudest_channel_whatever_the_blocks() -> None:
    frames = np.stack([0.2 * pluck(), 0.5 * between_samples()], axis=1)
    meter = TruePeak(2)
    for start in range(0, len(frames), 1_000):
        meter.add(frames[start : start + 1_000])
    assert meter.end() == pytest.approx(peak_of(frames), rel=1e-6) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_file_is_measured_in_its_worst_channel(suffix: str, tmp_path: Path) -> None:
    """Neither is there any more in the mix to mono."""
    sine = 0.5 * between_samples()
    path = tmp_path / f"clip.{suffix}"
    soundfile.write(path, np.stack([sine + 0.1, -sine - 0.1], axis=1), RATE_HZ)
    signal = measure_file(str(path), AudioLimits())
    assert 10 ** (signal.true_peak_dbtp / 20) == pytest.approx(0.6, rel=0.02)
    assert signal.dc_offset == pytest.approx(0.1, abs=1e-4)
    assert read_clip(path).true_peak is None


def test_samples_that_are_given_are_measured_as_their_file_is(tmp_path: Path) -> None:
    samples = with_click(pluck() + 0.05, 2.0, 0.5)
    soundfile.write(tmp_path / "clip.wav", samples, RATE_HZ, subtype="FLOAT")
    given, read = measure_signal(clip_of(samples)), measure_file(str(tmp_path / "clip.wav"), AudioLimits())
    assert given.true_peak_dbtp == pytest.approx(read.true_peak_dbtp, abs=1e-4)
    assert given.dc_offset == pytest.approx(read.dc_offset, abs=1e-6)
    assert (given.clicks, given.silence_s) == (read.clicks, read.silence_s) == (1, read.silence_s)


def lost_block() -> np.ndarray:
    samples = 0.3 * np.sin(2 * np.pi * 220 * TIME_S)
    samples[30_000:32_000] = 0.0
    return samples


def joined() -> np.ndarray:
    return np.concatenate([0.3 * np.cos(2 * np.pi * 220 * TIME_S[:30_000]), 0.3 * np.cos(2 * np.pi * 330 * TIME_S)])


@pytest.mark.parametrize(
    ("samples", "places_s"),
    [
        (with_click(pluck(), 1.23, 0.3), [1.23]),
        (with_click(with_click(pluck(), 0.8, -0.3), 3.0, 0.3), [0.8, 3.0]),
        (lost_block(), [30_000 / RATE_HZ, 32_000 / RATE_HZ]),
        (joined(), [30_000 / RATE_HZ]),
    ],
    ids=["a sample", "two samples", "a lost block", "joined pieces"],
)
def test_jumps_are_clicks(samples: np.ndarray, places_s: list[float]) -> None:
    found = [start / RATE_HZ for start, _ in clicks(samples.astype(np.float32), RATE_HZ)]
    assert found == pytest.approx(places_s, abs=0.003)


def drums() -> np.ndarray:
    """Noise that begins at once and dies away, twice a second."""
    noise = np.random.default_rng(0).normal(0, 0.2, TIME_S.size)
    return noise * np.exp(-20 * (TIME_S % 0.5)) * (TIME_S % 0.5 < 0.3)


@pytest.mark.parametrize(
    "samples",
    [pluck(), drums(), 0.3 * np.sign(np.sin(2 * np.pi * 41 * TIME_S)), with_click(pluck(), 3.98, 0.3), np.zeros(9)],
    ids=["plucks", "drums", "a square wave", "at the end", "nothing"],
)
def test_what_is_no_click(samples: np.ndarray) -> None:
    assert clicks(samples.astype(np.float32), RATE_HZ) == []


def test_the_longest_silence() -> None:
    hole = np.concatenate([pluck(1.0), np.full(3 * RATE_HZ, 0.0, np.float32), pluck(1.0)])
    assert longest_silence_s(hole, RATE_HZ) == pytest.approx(3.0, abs=0.02)
    assert longest_silence_s(pluck(), RATE_HZ) < 0.1


FINE = Signal(-1.0, 0.0, 0, 0, 0.5)


@pytest.mark.parametrize(
    ("signal", "said"),
    [
        (FINE, []),
        (Signal(0.0, 0.01, 0, 0, 2.0), []),
        (Signal(0.04, 0.0, 0, 0, 0.0), ["Its true peak is 0.1 dBTP, above 0."]),
        (Signal(-1.0, 0.0101, 0, 0, 0.0), ["It has a DC offset of 0.011, above 0.01."]),
        (Signal(-1.0, 0.0, 2, 0, 0.0), ["It has 2 clicks, above 0."]),
        (Signal(-1.0, 0.0, 0, 1, 0.0), ["It is clipped in 1 place, above 0."]),
        (Signal(-1.0, 0.0, 0, 0, 2.01), ["It is silent for 2.1 s, above 2."]),
        (Signal(-1.0, 0.0, 0, 0, 0.0, "breaks off"), ["The file breaks off."]),
    ],
)
def test_faults_are_what_is_beyond_the_limits(signal: Signal, said: list[str]) -> None:
    assert signal.faults(SignalLimits()) == said


def test_limits_can_be_others() -> None:
    signal = Signal(0.5, 0.02, 3, 2, 5.0)
    assert len(signal.faults(SignalLimits())) == 5
    assert signal.faults(SignalLimits(1.0, 0.05, 3, 2, 6.0)) == []
