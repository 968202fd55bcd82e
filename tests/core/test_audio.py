import hashlib
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr
from numpy.typing import NDArray

from core.audio import (
    MODEL_SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    AudioLimits,
    InputPolicy,
    condition,
    read_clip,
    split_windows,
    window_starts,
)
from core.errors import AudioError
from tests.clips import pluck

POLICY = InputPolicy()


def decibels(samples: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


# Reading


def test_path_text_and_bytes_give_the_same_clip(clip_path: Path) -> None:
    data = clip_path.read_bytes()
    clips = [read_clip(clip_path), read_clip(str(clip_path)), read_clip(data)]
    for clip in clips:
        np.testing.assert_allclose(clip.samples, pluck(), atol=1e-4)
        assert (clip.sample_rate_hz, clip.channels, clip.duration_s) == (16_000, 1, 4.0)
        assert clip.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32, np.uint8])
def test_arrays_of_every_type_have_the_same_scale(dtype: type[np.generic]) -> None:
    half = {"f": 0.5, "i": 0.5 * 2.0 ** (8 * np.dtype(dtype).itemsize - 1), "u": 192}[np.dtype(dtype).kind]
    clip = read_clip((np.full(16_000, half, dtype), 16_000))
    np.testing.assert_array_equal(clip.samples, np.full(16_000, 0.5, np.float32))


def test_arrays_with_channels() -> None:
    clip = read_clip((np.stack([pluck(), np.zeros(64_000, np.float32)], axis=1), 16_000))
    np.testing.assert_allclose(clip.samples, pluck() / 2, atol=1e-7)
    np.testing.assert_array_equal(clip.peaks, np.abs(pluck()))
    assert (clip.channels, clip.samples.size) == (2, 64_000)


@pytest.mark.parametrize(
    ("array", "rate", "message"),
    [
        (np.zeros((2, 16_000)), 16_000, r"\(2, 16000\); give \(samples,\) or \(samples, channels\)"),
        (np.zeros((16_000, 2, 2)), 16_000, "shape"),
        (np.zeros((16_000, 17)), 16_000, "17 channels"),
        (np.zeros((16_000, 0)), 16_000, "channels"),
        (np.zeros(16_000, complex), 16_000, "type complex128"),
        (np.array(["a"] * 9), 16_000, "type <U1"),
        (np.zeros(16_000), 0, "rate of 0 Hz"),
        (np.zeros(16_000), 16_000.5, "whole number"),
        (np.zeros(0), 16_000, "no samples"),
        (np.full(16_000, np.nan), 16_000, "not numbers"),
        (np.full(16_000, 1e300), 16_000, "not numbers"),
    ],
)
def test_arrays_that_are_no_clip(array: NDArray[np.generic], rate: int, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        read_clip((array, rate))


def test_no_clip_at_all() -> None:
    with pytest.raises(AudioError, match=r"^No clip was given\."):
        read_clip(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", ".", "a\0b.wav", "x" * 5_000, "line\nbreak.wav"])
def test_names_that_no_file_has(name: str) -> None:
    with pytest.raises(AudioError) as caught:
        read_clip(name)
    assert "\n" not in str(caught.value)


def test_limits_are_those_given(clip_path: Path) -> None:
    read_clip(clip_path, AudioLimits(4.0, 4.0, clip_path.stat().st_size))
    for limits, message in (
        (AudioLimits(min_duration_s=4.1), r"4\.00 s long; at least 4\.1 s"),
        (AudioLimits(max_duration_s=3.9), r"4\.0 s long; the limit is 3\.9 s"),
        (AudioLimits(max_bytes=1_000), r"0\.1 MB; the limit is 0\.001 MB"),
    ):
        with pytest.raises(AudioError, match=message):
            read_clip(clip_path, limits)
        with pytest.raises(AudioError, match=message):
            read_clip(clip_path.read_bytes(), limits)


# Conditioning


def test_loudness_and_rate_are_the_policys() -> None:
    heard = condition(pluck(8.0), 16_000, POLICY)
    assert heard.dtype == np.float32
    assert heard.size == 8 * MODEL_SAMPLE_RATE_HZ
    narrow = soxr.resample(heard, MODEL_SAMPLE_RATE_HZ, 16_000, quality="HQ").astype(np.float64)
    assert pyloudnorm.Meter(16_000).integrated_loudness(narrow) == pytest.approx(-23.0, abs=0.05)


@pytest.mark.parametrize("gain_db", [-40.0, -12.0, 5.0])
def test_a_copy_at_another_level_is_heard_the_same(gain_db: float) -> None:
    copy = pluck(8.0) * np.float32(10 ** (gain_db / 20))
    np.testing.assert_allclose(
        condition(copy, 16_000, POLICY), condition(pluck(8.0), 16_000, POLICY), atol=1e-5
    )


def test_a_full_band_copy_is_heard_the_same() -> None:
    original = condition(pluck(8.0), 16_000, POLICY)
    copy = condition(soxr.resample(pluck(8.0), 16_000, 44_100, quality="VHQ"), 44_100, POLICY)
    assert copy.size == original.size
    assert decibels(copy - original) < decibels(original) - 40.0


def test_nothing_is_heard_above_the_policys_bandwidth() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * 48_000).astype(np.float32)
    power = np.abs(np.fft.rfft(condition(noise, 48_000, POLICY))) ** 2
    frequency_hz = np.fft.rfftfreq(4 * 48_000, 1 / 48_000)
    assert power[frequency_hz > 8_200].sum() < 1e-6 * power.sum()


def test_silence_stays_silent() -> None:
    dither = np.random.default_rng(0).uniform(-1, 1, 48_000).astype(np.float32) / 2**15
    assert not condition(np.zeros(48_000, np.float32), 48_000, POLICY).any()
    assert np.abs(condition(dither, 48_000, POLICY)).max() < 1e-4


def test_clips_below_the_meters_block_get_the_loudness_of_their_repetition() -> None:
    blip = pluck(0.2)
    level = decibels(condition(blip, 16_000, POLICY)) - decibels(condition(np.tile(blip, 20), 16_000, POLICY))
    assert level == pytest.approx(0.0, abs=0.5)


# Windows


@pytest.mark.parametrize(
    ("duration_s", "times"),
    [
        (29.0, [(0.0, 10.0), (10.0, 20.0), (19.0, 29.0)]),
        (20.0, [(0.0, 10.0), (10.0, 20.0)]),
        (10.01, [(0.0, 10.0), (0.01, 10.01)]),
        (10.0, [(0.0, 10.0)]),
        (5.0, [(0.0, 5.0)]),
        (0.5, [(0.0, 0.5)]),
    ],
)
def test_windows_cover_the_clip(duration_s: float, times: list[tuple[float, float]]) -> None:
    samples = np.arange(round(duration_s * MODEL_SAMPLE_RATE_HZ), dtype=np.float32)
    given, windows = split_windows(samples)
    np.testing.assert_allclose(given, times, atol=1e-9)
    assert windows.shape == (len(times), WINDOW_SAMPLES)
    assert set(samples.tolist()) == set(windows.ravel().tolist())
    assert windows[-1][min(samples.size, WINDOW_SAMPLES) - 1] == samples[-1]


def test_a_short_clip_is_repeated() -> None:
    samples = np.arange(200_000, dtype=np.float32)
    _, windows = split_windows(samples)
    np.testing.assert_array_equal(windows[0], np.concatenate([samples, samples, samples[:80_000]]))


def test_the_last_window_ends_with_the_clip() -> None:
    assert window_starts(1) == [0]
    assert window_starts(WINDOW_SAMPLES) == [0]
    assert window_starts(WINDOW_SAMPLES + 1) == [0, 1]
    assert window_starts(3 * WINDOW_SAMPLES - 1) == [0, WINDOW_SAMPLES, 2 * WINDOW_SAMPLES - 1]


@pytest.mark.reference
def test_real_clips(reference_data: Path) -> None:
    paths = sorted((reference_data / "audio").rglob("*.[fo][lg][ag]*"))
    assert len(paths) == 17
    for path in paths:
        clip = read_clip(path)
        assert clip.duration_s == pytest.approx(soundfile.info(path).duration, abs=1e-3)
        assert np.isfinite(condition(clip.samples, clip.sample_rate_hz, POLICY)).all()


@pytest.mark.parametrize("quality", ["MQ", "HQ", "VHQ"])
def test_a_copy_at_another_rate_is_heard_alike_up_to_its_edge(quality: str) -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(5 * 16_000)).astype(np.float32)
    copy = soxr.resample(noise, 16_000, 44_100, quality=quality)
    original, other = (
        np.abs(np.fft.rfft(heard * np.hanning(heard.size)))
        for heard in (condition(noise, 16_000, InputPolicy()), condition(copy, 44_100, InputPolicy()))
    )
    heard, edge = slice(0, 6_800 * 5), slice(7_300 * 5, None)
    assert np.abs(original[heard] - other[heard]).mean() < 0.01 * original[heard].mean()
    assert max(original[edge].max(), other[edge].max()) < 1e-4 * original[heard].mean()


def test_a_bandwidth_of_the_whole_rate_cuts_nothing() -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(16_000)).astype(np.float32)
    whole = condition(noise, 16_000, InputPolicy(bandwidth_hz=8_000.0))
    band = np.abs(np.fft.rfft(whole))[7_050:7_250]
    assert band.mean() > 0.5 * np.abs(np.fft.rfft(whole))[1_000:7_000].mean()
