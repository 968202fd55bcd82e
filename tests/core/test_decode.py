import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.decode import decode
from core.errors import AudioError
from tests.clips import pluck, write_clip

NAME = '"clip"'
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def encode(source: Path, target: Path, *options: str) -> bytes:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), *options, str(target)], check=True)
    return target.read_bytes()


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [(".wav", 1e-4), (".flac", 1e-4), (".aiff", 1e-4), (".ogg", 0.05)]
)
def test_formats(suffix: str, tolerance: float, tmp_path: Path) -> None:
    decoded = decode(write_clip(tmp_path / f"clip{suffix}").read_bytes(), NAME, 600.0)
    assert (decoded.sample_rate_hz, decoded.channels, decoded.missing_s) == (16_000, 1, 0.0)
    np.testing.assert_allclose(decoded.samples, pluck(), atol=tolerance)


@pytest.mark.parametrize("suffix", [".mp3", ".opus"])
def test_formats_that_move_samples(suffix: str, tmp_path: Path) -> None:
    decoded = decode(write_clip(tmp_path / f"clip{suffix}").read_bytes(), NAME, 600.0)
    assert decoded.samples.size == pytest.approx(64_000, abs=1_200)
    assert np.abs(decoded.samples).max() == pytest.approx(np.abs(pluck()).max(), rel=0.1)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".m4a", ".aac"])
def test_aac_by_ffmpeg(suffix: str, tmp_path: Path) -> None:
    decoded = decode(encode(write_clip(tmp_path / "clip.wav"), tmp_path / f"clip{suffix}"), NAME, 600.0)
    assert (decoded.sample_rate_hz, decoded.channels) == (16_000, 1)
    assert decoded.samples.size == pytest.approx(64_000, abs=3_000)


def test_aac_without_ffmpeg_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(AudioError, match=r"M4A/AAC where ffmpeg is installed"):
        decode(b"\0\0\0\x20ftypM4A " + bytes(100), NAME, 600.0)


@needs_ffmpeg
@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"]
)
def test_a_playlist_opens_no_other_file(text: str, tmp_path: Path) -> None:
    encode(write_clip(tmp_path / "clip.wav"), tmp_path / "private.aac")
    with pytest.raises(AudioError, match="cannot be read as audio"):
        decode(text.format(tmp_path / "private.aac").encode(), NAME, 600.0)


@needs_ffmpeg
def test_an_mp3_that_does_not_tell_its_length_is_read_to_the_end(tmp_path: Path) -> None:
    samples = np.concatenate([np.random.default_rng(0).normal(0, 0.1, 80_000), np.zeros(240_000)])
    source = write_clip(tmp_path / "clip.wav", samples.astype(np.float32))
    data = encode(source, tmp_path / "clip.mp3", "-write_xing", "0", "-q:a", "4")
    assert soundfile.info(tmp_path / "clip.mp3").duration < 19.0  # guessed from the loud beginning
    assert decode(data, NAME, 600.0).samples.size / 16_000 == pytest.approx(20.0, abs=0.2)


@needs_ffmpeg
def test_a_flac_stream_of_unknown_length(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.wav")
    command = ["ffmpeg", "-v", "error", "-i", str(source), "-f", "flac", "pipe:1"]
    data = subprocess.run(command, check=True, capture_output=True).stdout
    decoded = decode(data, NAME, 600.0)
    assert (decoded.samples.size, decoded.missing_s) == (64_000, 0.0)
    with pytest.raises(AudioError, match=r"is longer than 3 s"):
        decode(data, NAME, 3.0)


@needs_ffmpeg
def test_the_duration_limit_holds_for_ffmpeg(tmp_path: Path) -> None:
    data = encode(write_clip(tmp_path / "clip.wav", pluck(9.0)), tmp_path / "clip.m4a")
    with pytest.raises(AudioError, match=r"is longer than 3 s"):
        decode(data, NAME, 3.0)


def test_mono_is_the_mean_and_peaks_the_loudest_channel(tmp_path: Path) -> None:
    stereo = np.stack([pluck(), -0.5 * pluck()], axis=1)
    soundfile.write(tmp_path / "clip.wav", stereo, 16_000, subtype="FLOAT")
    decoded = decode((tmp_path / "clip.wav").read_bytes(), NAME, 600.0)
    np.testing.assert_allclose(decoded.samples, 0.25 * pluck(), atol=1e-7)
    np.testing.assert_array_equal(decoded.peaks, np.abs(pluck()))


@pytest.mark.parametrize("suffix", [".mp3", ".flac"])
def test_a_file_that_breaks_off_tells_what_is_missing(suffix: str, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / f"clip{suffix}", pluck(20.0)).read_bytes()
    decoded = decode(whole[: len(whole) // 2], NAME, 600.0)
    read_s = decoded.samples.size / 16_000
    assert 7.0 < read_s < 13.0
    assert read_s + decoded.missing_s == pytest.approx(20.0, abs=0.1)


@pytest.mark.parametrize(
    ("rate", "channels", "message"), [(1_000, 1, "rate of 1000 Hz"), (16_000, 17, "17 channels")]
)
def test_layouts_out_of_range(rate: int, channels: int, message: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros((rate, channels), np.float32), rate)
    with pytest.raises(AudioError, match=message):
        decode((tmp_path / "clip.wav").read_bytes(), NAME, 600.0)
