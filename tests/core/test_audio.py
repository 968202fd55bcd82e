"""Clips: read, decoded, conditioned, cut into windows; and the faults that are seen in them."""

import hashlib
import shutil
import subprocess
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
    window_times,
)
from core.errors import AudioError
from core.warnings import ScoreWarning, find_faults
from tests.clips import pluck, write_clip

POLICY = InputPolicy()
RATE_HZ = 16_000
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def encode(source: Path, target: Path, *options: str) -> bytes:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), *options, str(target)], check=True)
    return target.read_bytes()


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


# Decoding


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 1e-4), (".flac", 1e-4), (".aiff", 1e-4), (".ogg", 0.05)])
def test_formats(suffix: str, tolerance: float, tmp_path: Path) -> None:
    decoded = read_clip(write_clip(tmp_path / f"clip{suffix}").read_bytes())
    assert (decoded.sample_rate_hz, decoded.channels, decoded.missing_s) == (16_000, 1, 0.0)
    np.testing.assert_allclose(decoded.samples, pluck(), atol=tolerance)


@pytest.mark.parametrize("suffix", [".mp3", ".opus"])
def test_formats_that_move_samples(suffix: str, tmp_path: Path) -> None:
    decoded = read_clip(write_clip(tmp_path / f"clip{suffix}").read_bytes())
    assert decoded.samples.size == pytest.approx(64_000, abs=1_200)
    assert np.abs(decoded.samples).max() == pytest.approx(np.abs(pluck()).max(), rel=0.1)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".m4a", ".aac"])
def test_aac_by_ffmpeg(suffix: str, tmp_path: Path) -> None:
    decoded = read_clip(encode(write_clip(tmp_path / "clip.wav"), tmp_path / f"clip{suffix}"))
    assert (decoded.sample_rate_hz, decoded.channels) == (16_000, 1)
    assert decoded.samples.size == pytest.approx(64_000, abs=3_000)


def test_aac_without_ffmpeg_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(AudioError, match=r"M4A/AAC where ffmpeg is installed"):
        read_clip(b"\0\0\0\x20ftypM4A " + bytes(100))


@needs_ffmpeg
@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"])
def test_a_playlist_opens_no_other_file(text: str, tmp_path: Path) -> None:
    encode(write_clip(tmp_path / "clip.wav"), tmp_path / "private.aac")
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read_clip(text.format(tmp_path / "private.aac").encode())


@needs_ffmpeg
def test_an_mp3_that_does_not_tell_its_length_is_read_to_the_end(tmp_path: Path) -> None:
    samples = np.concatenate([np.random.default_rng(0).normal(0, 0.1, 80_000), np.zeros(240_000)])
    source = write_clip(tmp_path / "clip.wav", samples.astype(np.float32))
    data = encode(source, tmp_path / "clip.mp3", "-write_xing", "0", "-q:a", "4")
    assert soundfile.info(tmp_path / "clip.mp3").duration < 19.0  # guessed from the loud beginning
    assert read_clip(data).samples.size / 16_000 == pytest.approx(20.0, abs=0.2)


@needs_ffmpeg
def test_a_flac_stream_of_unknown_length(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.wav")
    command = ["ffmpeg", "-v", "error", "-i", str(source), "-f", "flac", "pipe:1"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    decoded = read_clip(data)
    assert (decoded.samples.size, decoded.missing_s) == (64_000, 0.0)
    with pytest.raises(AudioError, match=r"is longer than 3 s"):
        read_clip(data, AudioLimits(max_duration_s=3.0))


@needs_ffmpeg
def test_the_duration_limit_holds_for_ffmpeg(tmp_path: Path) -> None:
    data = encode(write_clip(tmp_path / "clip.wav", pluck(9.0)), tmp_path / "clip.m4a")
    with pytest.raises(AudioError, match=r"is longer than 3 s"):
        read_clip(data, AudioLimits(max_duration_s=3.0))


def test_mono_is_the_mean_and_peaks_the_loudest_channel(tmp_path: Path) -> None:
    stereo = np.stack([pluck(), -0.5 * pluck()], axis=1)
    soundfile.write(tmp_path / "clip.wav", stereo, 16_000, subtype="FLOAT")
    decoded = read_clip((tmp_path / "clip.wav").read_bytes())
    np.testing.assert_allclose(decoded.samples, 0.25 * pluck(), atol=1e-7)
    np.testing.assert_array_equal(decoded.peaks, np.abs(pluck()))


@pytest.mark.parametrize("suffix", [".mp3", ".flac"])
def test_a_file_that_breaks_off_tells_what_is_missing(suffix: str, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / f"clip{suffix}", pluck(20.0)).read_bytes()
    decoded = read_clip(whole[: len(whole) // 2])
    read_s = decoded.samples.size / 16_000
    assert 7.0 < read_s < 13.0
    assert read_s + decoded.missing_s == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize(("rate", "channels", "message"), [(1_000, 1, "rate of 1000 Hz"), (16_000, 17, "17 channels")])
def test_layouts_out_of_range(rate: int, channels: int, message: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros((rate, channels), np.float32), rate)
    with pytest.raises(AudioError, match=message):
        read_clip((tmp_path / "clip.wav").read_bytes())


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
    np.testing.assert_allclose(condition(copy, 16_000, POLICY), condition(pluck(8.0), 16_000, POLICY), atol=1e-5)


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
    windows = split_windows(samples)
    np.testing.assert_allclose(window_times(read_clip((samples, 48_000)), POLICY), times, atol=1e-9)
    assert windows.shape == (len(times), WINDOW_SAMPLES)
    assert set(samples.tolist()) == set(windows.ravel().tolist())
    assert windows[-1][min(samples.size, WINDOW_SAMPLES) - 1] == samples[-1]


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 96_000])
def test_times_are_those_of_the_conditioned_clip(rate_hz: int) -> None:
    for n_samples in range(11 * rate_hz, 11 * rate_hz + 7):
        clip = read_clip((np.zeros(n_samples, np.float32), rate_hz))
        heard = condition(clip.samples, rate_hz, POLICY)
        last_s = (heard.size - WINDOW_SAMPLES) / MODEL_SAMPLE_RATE_HZ
        end_s = min(heard.size / MODEL_SAMPLE_RATE_HZ, clip.duration_s)
        assert window_times(clip, POLICY) == [(0.0, 10.0), (last_s, min(last_s + 10.0, end_s))]


def test_a_short_clip_is_repeated() -> None:
    samples = np.arange(200_000, dtype=np.float32)
    windows = split_windows(samples)
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


# Faults


def faults(samples: NDArray[np.generic], sample_rate_hz: int = RATE_HZ) -> list[ScoreWarning]:
    return find_faults(read_clip((samples, sample_rate_hz)))


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
    assert faults(tone(pitch_hz, amplitude, sample_rate_hz), sample_rate_hz) == []
    clipped = faults(tone(pitch_hz, amplitude, sample_rate_hz, limit=0.97), sample_rate_hz)
    assert [warning.code for warning in clipped] == ["clipping"]


def test_resampling_hides_clipping() -> None:
    assert faults(soxr.resample(clipped_at(4.0), RATE_HZ, 44_100), 44_100) == []


def test_silence_throughout() -> None:
    expected = [ScoreWarning("silence", "This clip is silent, so its scores mean nothing.")]
    assert faults(np.zeros(10 * RATE_HZ)) == expected
    assert faults(np.resize(np.array([3, -3], np.int16), 10 * RATE_HZ)) == expected


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_silent_stretches(gain: float) -> None:
    samples = silent_at((4.0, 7.0), (9.0, 10.5), (18.0, 20.0)) * np.float32(gain)
    message = "This clip is silent in 2 places (0:04 to 0:07, 0:18 to 0:20)."
    assert faults(samples) == [ScoreWarning("silence", message)]


def test_very_short() -> None:
    expected = ScoreWarning("very_short", "This clip is only 2.9 s long; below 3 s there is little to judge.")
    assert faults(pluck(2.9)) == [expected]
    assert faults(pluck(3.0)) == []
