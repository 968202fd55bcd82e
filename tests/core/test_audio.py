"""Clips: read, conditioned, heard or refused, cut into windows; and the faults that are seen in them."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from scipy import signal

from core.audio import (
    MODEL_SAMPLE_RATE_HZ,
    WINDOW_SAMPLES,
    AudioLimits,
    InputPolicy,
    condition,
    hear,
    read_clip,
    split_windows,
    window_starts,
    window_weights,
)
from core.errors import AudioError, SilenceError
from core.warnings import ScoreWarning, find_faults
from tests.clips import pluck

POLICY = InputPolicy()
OLD_POLICY = InputPolicy.from_json({"sample_rate_hz": 16_000, "bandwidth_hz": 7_000.0, "loudness_lufs": -23.0})
RATE_HZ = 16_000


def steady(duration_s: float, sample_rate_hz: int = RATE_HZ) -> NDArray[np.float32]:
    """Plucks that begin and end loud, so that nothing is skipped."""
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    return pluck(duration_s, sample_rate_hz) + (0.2 * np.cos(2 * np.pi * 300 * time_s)).astype(np.float32)


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
        (np.full(16_000, 7e37), 16_000, r"up to 7e\+37, where full scale is 1"),
        (np.zeros(7_999), 16_000, r"0\.49 s long; at least 0\.5 s"),
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
    read_clip(clip_path, AudioLimits(max_duration_s=3.9))  # what an encoder adds is allowed
    for limits, message in (
        (AudioLimits(min_duration_s=4.1), r"4\.00 s long; at least 4\.1 s"),
        (AudioLimits(min_duration_s=4.001), r"4\.00 s long; at least 4\.001 s"),
        (AudioLimits(max_duration_s=3.85), r"4\.0 s long; the limit is 3\.85 s"),
        (AudioLimits(max_bytes=1_000), r"0\.2 MB; the limit is 0\.001 MB"),
    ):
        with pytest.raises(AudioError, match=message):
            read_clip(clip_path, limits)
        with pytest.raises(AudioError, match=message):
            read_clip(clip_path.read_bytes(), limits)


# Conditioning


def test_loudness_and_rate_are_the_policys() -> None:
    heard = condition(pluck(8.0), 16_000, POLICY)
    assert heard.dtype == np.float32
    assert heard.size == pytest.approx(8 * MODEL_SAMPLE_RATE_HZ, abs=3)  # the first pluck begins at 0
    narrow = soxr.resample(heard, MODEL_SAMPLE_RATE_HZ, 16_000, quality="HQ").astype(np.float64)
    assert pyloudnorm.Meter(16_000).integrated_loudness(narrow) == pytest.approx(-23.0, abs=0.05)


@pytest.mark.parametrize("gain_db", [-40.0, -12.0, 5.0])
def test_a_copy_at_another_level_is_heard_the_same(gain_db: float) -> None:
    copy = pluck(8.0) * np.float32(10 ** (gain_db / 20))
    np.testing.assert_allclose(condition(copy, 16_000, POLICY), condition(pluck(8.0), 16_000, POLICY), atol=1e-5)


def test_a_full_band_copy_is_heard_the_same() -> None:
    original = condition(pluck(8.0), 16_000, POLICY)
    copy = condition(soxr.resample(pluck(8.0), 16_000, 44_100, quality="VHQ"), 44_100, POLICY)
    assert copy.size == original.size
    assert decibels(copy - original) < decibels(original) - 30.0  # they begin between each other's samples


def test_nothing_is_heard_above_the_policys_bandwidth() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * 48_000).astype(np.float32)
    power = np.abs(np.fft.rfft(condition(noise, 48_000, POLICY))) ** 2
    frequency_hz = np.fft.rfftfreq(4 * 48_000, 1 / 48_000)
    assert power[frequency_hz > 8_200].sum() < 1e-6 * power.sum()


def test_silence_stays_silent() -> None:
    dither = np.random.default_rng(0).uniform(-1, 1, 48_000).astype(np.float32) / 2**15
    for policy in (POLICY, OLD_POLICY):
        assert not condition(np.zeros(48_000, np.float32), 48_000, policy).any()
        assert np.abs(condition(dither, 48_000, policy)).max() < 1e-4


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
    windows = split_windows(samples)
    clip = read_clip((steady(duration_s), RATE_HZ))
    np.testing.assert_allclose(hear(clip, POLICY).window_times(), times, atol=1e-9)
    assert windows.shape == (len(times), WINDOW_SAMPLES)
    assert set(samples.tolist()) == set(windows.ravel().tolist())
    assert windows[-1][min(samples.size, WINDOW_SAMPLES) - 1] == samples[-1]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("policy", [POLICY, OLD_POLICY], ids=lambda policy: policy.windows)
def test_times_are_those_of_the_conditioned_clip(policy: InputPolicy, rate_hz: int) -> None:
    for n_samples in range(11 * rate_hz, 11 * rate_hz + 4):
        clip = read_clip((np.resize(steady(11.5, rate_hz), n_samples), rate_hz))
        heard = hear(clip, policy)
        last_s = (heard.at_48k().size - WINDOW_SAMPLES) / MODEL_SAMPLE_RATE_HZ
        end_s = min(heard.start_s + last_s + 10.0, clip.duration_s)
        first, last = heard.window_times(clip.duration_s)
        assert first == (heard.start_s, heard.start_s + 10.0)
        assert last == pytest.approx((heard.start_s + last_s, end_s), abs=1e-9)
        assert heard.start_s == pytest.approx(0.0, abs=0.001)


def test_a_short_clip_is_repeated() -> None:
    samples = np.arange(200_000, dtype=np.float32)
    windows = split_windows(samples)
    np.testing.assert_array_equal(windows[0], np.concatenate([samples, samples, samples[:80_000]]))


def test_the_last_window_ends_with_the_clip() -> None:
    assert window_starts(1) == [0]
    assert window_starts(WINDOW_SAMPLES) == [0]
    assert window_starts(WINDOW_SAMPLES + 1) == [0, 1]
    assert window_starts(3 * WINDOW_SAMPLES - 1) == [0, WINDOW_SAMPLES, 2 * WINDOW_SAMPLES - 1]


def test_the_last_window_weighs_what_it_adds() -> None:
    n_samples = round(20.1 * MODEL_SAMPLE_RATE_HZ)
    assert window_weights(n_samples, POLICY) == pytest.approx([10 / 20.1, 10 / 20.1, 0.1 / 20.1])
    assert window_weights(n_samples, OLD_POLICY) == pytest.approx([1 / 3] * 3)
    for n_samples in (1, WINDOW_SAMPLES):
        assert window_weights(n_samples, POLICY) == window_weights(n_samples, OLD_POLICY) == [1.0]


# The same music


@pytest.mark.parametrize("before_s", [0.005, 0.025, 0.3, 12.0])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
@pytest.mark.parametrize("offset", [0.0, 0.002, 0.1])
def test_silence_at_both_ends_changes_nothing_that_is_heard(before_s: float, rate_hz: int, offset: float) -> None:
    samples = steady(11.0, rate_hz) + np.float32(offset)
    silence = np.zeros(round(before_s * rate_hz), np.float32)
    plain = hear(read_clip((samples, rate_hz)), POLICY)
    padded = hear(read_clip((np.concatenate([silence, samples, silence]), rate_hz)), POLICY)
    assert padded.start_s == pytest.approx(plain.start_s + before_s, abs=1e-4)
    np.testing.assert_allclose(padded.samples, plain.samples, atol=1e-5)


def test_a_constant_offset_changes_nothing_that_is_heard() -> None:
    samples = np.concatenate([np.zeros(8_000, np.float32), 0.02 * steady(6.0)])
    plain, moved = (hear(read_clip((samples + np.float32(offset), RATE_HZ)), POLICY) for offset in (0.0, 0.5))
    assert moved.gain_db == pytest.approx(plain.gain_db, abs=0.01)
    assert moved.start_s == plain.start_s == 0.5
    np.testing.assert_allclose(moved.samples, plain.samples, atol=1e-3)


def test_a_checkpoint_of_before_hears_what_it_heard() -> None:
    """The bandwidth and loudness of before, of the clip as it is: with its offset and its silence."""
    samples = np.concatenate([np.zeros(4_000, np.float32), pluck(8.0)]) + np.float32(0.01)
    taps = signal.firwin(257, 7_000.0, window=("kaiser", 10.0), fs=RATE_HZ)
    narrow = signal.oaconvolve(samples, taps, mode="same").astype(np.float32)
    peak = float(np.abs(narrow).max())
    loudness = pyloudnorm.Meter(RATE_HZ, block_size=0.4).integrated_loudness(narrow.astype(np.float64) / peak)
    expected = soxr.resample(
        narrow * np.float32(10 ** ((-23.0 - loudness) / 20) / peak), RATE_HZ, MODEL_SAMPLE_RATE_HZ, quality="HQ"
    )
    heard = hear(read_clip((samples, RATE_HZ)), OLD_POLICY)
    np.testing.assert_allclose(heard.at_48k(), expected, rtol=0, atol=1e-6)  # filtered in single precision, before
    assert (heard.start_s, OLD_POLICY.windows) == (0.0, "from the start")


def test_windows_that_no_version_knows() -> None:
    with pytest.raises(KeyError):
        InputPolicy.from_json({"windows": "at random"})


# Nothing to hear


def beside(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([left, right], axis=1)


TIME_S = np.arange(4 * 44_100) / 44_100


@pytest.mark.parametrize("policy", [POLICY, OLD_POLICY], ids=lambda policy: policy.windows)
@pytest.mark.parametrize(
    ("samples", "rate_hz", "why"),
    [
        (np.zeros(10 * RATE_HZ), RATE_HZ, "silence from beginning to end"),
        (np.resize(np.array([3, -3], np.int16), 10 * RATE_HZ), RATE_HZ, "silence from beginning to end"),
        (np.full(4 * 44_100, 0.5), 44_100, "a constant value"),
        (np.full((4 * 44_100, 2), -0.5), 44_100, "a constant value"),
        (0.4 + 0.0004 * pluck(), RATE_HZ, "60 dB below full scale"),
        (np.concatenate([np.zeros(RATE_HZ), np.full(3 * RATE_HZ, 0.5)]), RATE_HZ, "nothing but a click"),
        (beside(pluck(), -pluck()), RATE_HZ, "cancel each other out"),
        (beside(pluck(), -0.999 * pluck()), RATE_HZ, "cancel each other out"),
        (np.sin(2 * np.pi * 18_000 * TIME_S), 44_100, "above 7000 Hz"),
        (np.sin(2 * np.pi * 7_400 * TIME_S), 44_100, "above 7000 Hz"),
        (0.9 * np.sin(2 * np.pi * 0.5 * TIME_S), 44_100, "below 20 Hz"),
        (0.9 * np.sin(2 * np.pi * 10 * TIME_S), 44_100, "below 20 Hz"),
    ],
)
def test_where_nothing_can_be_heard_there_is_nothing_to_judge(
    samples: NDArray[np.generic], rate_hz: int, why: str, policy: InputPolicy
) -> None:
    clip = read_clip((samples, rate_hz))
    with pytest.raises(SilenceError, match=f"^The clip is silent for the judge, so it gets no score: .*{why}"):
        hear(clip, policy)


@pytest.mark.parametrize(
    "samples",
    [
        0.01 * pluck(),
        0.3 + 0.01 * pluck(),
        beside(pluck(), -0.9 * pluck()),
        beside(pluck(), np.zeros_like(pluck())),
        np.concatenate([np.zeros(8 * RATE_HZ, np.float32), pluck(0.5)]),
        np.concatenate([np.ones(20, np.float32), 0.01 * pluck(4.0)]),
    ],
    ids=["quiet", "offset", "wide", "one side", "late", "a click beside it"],
)
def test_what_can_be_heard_is_judged(samples: NDArray[np.float32]) -> None:
    heard = hear(read_clip((samples, RATE_HZ)), POLICY)
    loudness = pyloudnorm.Meter(RATE_HZ).integrated_loudness(np.resize(heard.samples, RATE_HZ).astype(np.float64))
    assert loudness == pytest.approx(-23.0, abs=1.0)


@pytest.mark.reference
def test_real_clips(reference_data: Path) -> None:
    paths = sorted((reference_data / "audio").rglob("*.[fo][lg][ag]*"))
    assert len(paths) == 17
    for path in paths:
        clip = read_clip(path)
        assert clip.duration_s == pytest.approx(soundfile.info(path).duration, abs=1e-3)
        assert clip.missing_s == 0.0
        assert np.isfinite(hear(clip, POLICY).at_48k()).all()


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
    spectrum = np.abs(np.fft.rfft(condition(noise, 16_000, InputPolicy(bandwidth_hz=8_000.0)), 48_000))
    assert spectrum[7_050:7_250].mean() > 0.5 * spectrum[1_000:7_000].mean()


# Faults


def faults(samples: NDArray[np.generic], sample_rate_hz: int = RATE_HZ) -> list[ScoreWarning]:
    clip = read_clip((samples, sample_rate_hz))
    return find_faults(clip, hear(clip, POLICY))


def clipped_at(*places_s: float, duration_s: float = 90.0, gain: float = 1.0) -> NDArray[np.float32]:
    """Plucks of which half a second from each place is driven into a limit of 0.9."""
    samples = pluck(duration_s)
    for place_s in places_s:
        where = slice(int(place_s * RATE_HZ), int((place_s + 0.4) * RATE_HZ))
        samples[where] = np.clip(samples[where] * 10, -0.9, 0.9)
    return samples * np.float32(gain)


def silent_at(*spans_s: tuple[float, float]) -> NDArray[np.float32]:
    samples = pluck(20.0)
    for start_s, end_s in spans_s:
        samples[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)] = 0.0
    return samples


def tone(pitch_hz: float, amplitude: float, sample_rate_hz: int, limit: float = 1.0) -> NDArray[np.int16]:
    wave = np.sin(2 * np.pi * pitch_hz * np.arange(4 * sample_rate_hz) / sample_rate_hz)
    return (np.clip(wave, -limit, limit) * amplitude * 32_767).astype(np.int16)


def test_a_sound_clip_has_no_fault() -> None:
    assert faults(pluck(20.0)) == []


@pytest.mark.parametrize("gain", [1.0, 0.25])
@pytest.mark.parametrize(
    ("places_s", "shown"),
    [
        ((4.0,), "1 place (0:04)"),
        ((4.0, 11.0, 79.5), "3 places (0:04, 0:11, 1:19)"),
        ((1.0, 4.0, 11.0, 19.0, 30.0), "5 places (0:01, 0:04, 0:11 and 2 more)"),
        ((4.0, 4.5, 5.0, 5.5), "1 place (0:04 to 0:05)"),
    ],
)
def test_clipping_and_its_places(places_s: tuple[float, ...], shown: str, gain: float) -> None:
    expected = ScoreWarning("clipping", f"This clip is clipped in {shown}.")
    assert faults(clipped_at(*places_s, gain=gain)) == [expected]


def test_clipping_in_one_of_two_channels() -> None:
    stereo = np.stack([clipped_at(4.0), pluck(90.0)], axis=1)
    assert [warning.message for warning in faults(stereo)] == ["This clip is clipped in 1 place (0:04)."]


@pytest.mark.parametrize("pitch_hz", [20.0, 50.0, 440.0])
@pytest.mark.parametrize("amplitude", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("sample_rate_hz", [16_000, 48_000, 192_000])
def test_rounded_tops_are_not_clipping(pitch_hz: float, amplitude: float, sample_rate_hz: int) -> None:
    for limit, is_clipped in ((1.0, False), (0.97, True)):
        found = faults(tone(pitch_hz, amplitude, sample_rate_hz, limit), sample_rate_hz)
        assert ("clipping" in [warning.code for warning in found]) == is_clipped


def test_resampling_hides_clipping() -> None:
    assert faults(soxr.resample(clipped_at(4.0), RATE_HZ, 44_100), 44_100) == []


def test_a_held_value_is_not_clipping() -> None:
    samples = pluck(8.0)
    samples[3 * RATE_HZ : 3 * RATE_HZ + RATE_HZ // 2] = 0.9
    assert "clipping" not in [warning.code for warning in faults(samples)]


@pytest.mark.parametrize(("gain_db", "codes"), [(-20.0, []), (-45.0, ["very_quiet"])])
def test_a_clip_that_had_to_be_made_much_louder(gain_db: float, codes: list[str]) -> None:
    found = faults(pluck(8.0) * np.float32(10 ** (gain_db / 20)))
    assert [warning.code for warning in found] == codes
    assert all(re.search(r"was made \d\d dB louder", warning.message) for warning in found)


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_silent_stretches(gain: float) -> None:
    samples = silent_at((4.0, 7.0), (9.0, 10.5), (18.0, 20.0)) * np.float32(gain)
    message = "This clip is silent in 2 places (0:04 to 0:07, 0:18 to 0:20)."
    assert faults(samples) == [ScoreWarning("silence", message)]


def test_where_channels_cancel_the_clip_is_silent() -> None:
    stereo = beside(pluck(10.0), pluck(10.0))
    stereo[3 * RATE_HZ : 6 * RATE_HZ, 1] *= -1
    [warning] = faults(stereo)
    assert warning == ScoreWarning("silence", "This clip is silent in 1 place (0:03 to 0:06).")
    late = np.concatenate([np.zeros(5 * RATE_HZ, np.float32), pluck(8.0)])
    assert [warning.message for warning in faults(late)] == ["This clip is silent in 1 place (0:00 to 0:05)."]


def test_very_short() -> None:
    expected = ScoreWarning("very_short", "This clip is only 2.9 s long; below 3 s there is little to judge.")
    assert faults(pluck(2.9)) == [expected]
    assert faults(pluck(3.0)) == []
