"""Files to samples: formats, files that hold more or less than they say, with ffmpeg and without."""

import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from core.audio import AudioLimits, Clip, read_clip
from core.errors import AudioError
from tests.cases import made, with_count, with_sizes, with_tags, without_count
from tests.clips import pluck, write_clip

RATE_HZ = 16_000
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def encode(source: Path, target: Path, *options: str) -> bytes:
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), *options, str(target)], check=True)
    return target.read_bytes()


def lengths(clip: Clip) -> tuple[float, float | None]:
    return clip.duration_s, clip.missing_s


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)


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


@needs_ffmpeg
@pytest.mark.parametrize("text", ["#EXTM3U\n#EXTINF:4,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"])
def test_a_playlist_opens_no_other_file(text: str, tmp_path: Path) -> None:
    encode(write_clip(tmp_path / "clip.wav"), tmp_path / "private.aac")
    with pytest.raises(AudioError, match="cannot be read as audio"):
        read_clip(text.format(tmp_path / "private.aac").encode())


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


@pytest.mark.parametrize(("rate", "channels", "message"), [(1_000, 1, "rate of 1000 Hz"), (16_000, 17, "17 channels")])
def test_layouts_out_of_range(rate: int, channels: int, message: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros((rate, channels), np.float32), rate)
    with pytest.raises(AudioError, match=message):
        read_clip((tmp_path / "clip.wav").read_bytes())


# More than the first header says


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "opus", "mp3"])
def test_files_behind_one_another_are_read_whole(suffix: str) -> None:
    one, other = made(suffix, 2.5), made(suffix, 5.5)
    clip = read_clip(one + other)
    assert lengths(clip) == (pytest.approx(8.0, abs=0.15), 0.0)
    where = slice(int(4.0 * clip.sample_rate_hz), int(7.5 * clip.sample_rate_hz))
    loudness = np.sqrt(np.mean(clip.samples[where] ** 2))
    assert loudness == pytest.approx(np.sqrt(np.mean(pluck(3.5) ** 2)), rel=0.2)


OTHERS = {"wav": 2.0, "aiff": 2.0, "au": 2.0, "caf": 2.0, "w64": 2.0, "flac": 2.0, "ogg": 2.0}


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "caf", "w64", "flac", "mp3", "ogg"])
def test_a_file_of_another_kind_behind_one_is_read_too(suffix: str) -> None:
    for other, seconds in OTHERS.items():
        clip = read_clip(made(suffix) + b"\0" * 5 + made(other, seconds))
        assert lengths(clip) == (pytest.approx(4.0 + seconds, abs=0.15), 0.0)


@pytest.mark.parametrize("outer", [0, 1_000, 0xFFFF_FFFF])
def test_a_wav_behind_another_that_does_not_tell_its_size(outer: int) -> None:
    for size, more in ((128_000, chunk(b"LIST", b"INFO")), (0, b""), (0xFFFF_FFFF, b"")):
        first = with_sizes(made("wav"), size, outer)
        assert lengths(read_clip(first + more + made("wav", 2.0))) == (6.0, 0.0)


def test_a_head_of_a_wav_that_a_flac_keeps_is_no_second_file() -> None:
    data = made("flac")
    kept = b"riffRIFF\x00\x01\x02\x03WAVE"  # as `flac --keep-foreign-metadata` stores it
    block = b"\x02" + len(kept).to_bytes(3) + kept
    assert lengths(read_clip(data[:42] + block + data[42:])) == (4.0, 0.0)


def test_files_of_two_rates_behind_one_another_are_refused(tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.flac", pluck(4.0, 44_100), 44_100).read_bytes()
    with pytest.raises(AudioError, match="2 recordings of different sample rates"):
        read_clip(made("flac") + other)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".m4a", ".webm"])
def test_files_of_ffmpeg_behind_one_another(suffix: str, tmp_path: Path) -> None:
    one, other = (
        encode(write_clip(tmp_path / f"{seconds}.wav", pluck(seconds)), tmp_path / f"{seconds}{suffix}")
        for seconds in (2.0, 3.0)
    )
    assert lengths(read_clip(one + other)) == (pytest.approx(5.0, abs=0.3), 0.0)


def test_the_limit_holds_for_files_behind_one_another() -> None:
    with pytest.raises(AudioError, match=r"the limit is 7 s|longer than 7 s"):
        read_clip(made("flac") + made("flac"), AudioLimits(max_duration_s=7.0))


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("factor", [1 / 3, 3.0])
def test_an_mp3_that_counts_its_frames_wrongly(factor: float) -> None:
    clip = read_clip(with_count(made("mp3", 8.0), factor))
    assert clip.duration_s == pytest.approx(8.0, abs=0.15)
    assert clip.missing_s == pytest.approx(16.0 if factor > 1 else 0.0, abs=0.3)


@pytest.mark.parametrize("tail", [b"TAG" + bytes(125), bytes(20_000)])
def test_tags_behind_a_flac_cost_no_block(tail: bytes) -> None:
    whole = made("flac")
    for data in (whole + tail, whole + tail + whole):
        clip = read_clip(data)
        assert lengths(clip) == (4.0 * data.count(b"fLaC"), 0.0)


@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125)])
def test_a_flac_that_counts_too_few_samples(tail: bytes) -> None:
    data = bytearray(made("flac", 8.0))
    data[21:26] = bytes([data[21] & 0xF0]) + (2 * RATE_HZ).to_bytes(4)
    clip = read_clip(bytes(data) + tail)
    assert clip.duration_s == pytest.approx(8.0, abs=0.3 if tail else 0.0)  # a tag may cost the last block


@needs_ffmpeg
@pytest.mark.parametrize("tags", [(), (100,), (100, 3_000)])
@pytest.mark.parametrize("is_quiet_first", [False, True])
def test_an_mp3_without_a_count_is_read_to_its_end_and_is_whole(
    tags: tuple[int, ...], is_quiet_first: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * RATE_HZ).astype(np.float32)
    halves = (np.zeros_like(noise), noise) if is_quiet_first else (noise, np.zeros_like(noise))
    source = write_clip(tmp_path / "clip.wav", np.concatenate(halves))
    data = with_tags(encode(source, tmp_path / "c.mp3", "-write_xing", "0", "-id3v2_version", "0", "-q:a", "4"), *tags)
    with_ffmpeg = read_clip(data)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    for clip in (with_ffmpeg, read_clip(data), read_clip(data + b"TAG" + bytes(125))):
        assert lengths(clip) == (pytest.approx(10.0, abs=0.2), 0.0)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF, 0x7FFF_FFFF, 1_000])
@pytest.mark.parametrize("outer", [0, 0xFFFF_FFFF])
def test_a_wav_whose_sizes_were_never_filled_in(size: int, outer: int) -> None:
    np.testing.assert_allclose(read_clip(with_sizes(made("wav"), size, outer)).samples, pluck(), atol=1e-4)


@pytest.mark.parametrize(
    "tail",
    [
        b"\0" * 4,
        b"LIST\x04\0\0\0INFO",
        b"TAG" + bytes(125),
        b"ID3\x03" + bytes(9_000),
        b"LIST\x10\x27\0\0INFO" + bytes(9_996) + b"\0" * 9,
    ],
)
def test_what_stands_behind_the_samples_is_no_sound(tail: bytes) -> None:
    clip = read_clip(made("wav") + tail)
    assert lengths(clip) == (4.0, 0.0)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "caf", "w64"])
@pytest.mark.parametrize("tail", [b"Dear listener, " * 400, bytes(range(255)) * 40])
def test_what_is_neither_sound_nor_known_is_told(suffix: str, tail: bytes) -> None:
    clip = read_clip(made(suffix) + tail)
    assert (*lengths(clip), clip.unread_bytes) == (4.0, 0.0, len(tail))
    assert clip.incomplete == f"goes on after 4.0 s with {len(tail):,} bytes that could not be read as sound"


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    "tail",
    [
        b"Dear listener, " * 2_000,
        bytes(range(255)) * 120,
        b"ID3\x03\0\0\0\0\0\x64" + bytes(100) + b"A tag TAG before it, " * 1_500,
    ],
)
def test_what_stands_behind_the_last_frame_is_told(suffix: str, tail: bytes) -> None:
    whole = made(suffix)
    assert read_clip(whole).incomplete == ""
    clip = read_clip(whole + tail)
    assert clip.duration_s == read_clip(whole).duration_s
    assert len(tail) / 2 < clip.unread_bytes <= len(tail)  # a FLAC tells how long its frames are at most
    assert "could not be read as sound" in clip.incomplete


@needs_ffmpeg
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("m4a", ()),
        ("mp4", ("-movflags", "+frag_keyframe+empty_moov")),
        ("webm", ("-c:a", "libopus")),
        ("webm", ("-c:a", "libopus", "-live", "1")),
        ("mkv", ("-c:a", "libvorbis")),
    ],
)
def test_what_stands_behind_the_last_box_is_told(suffix: str, options: tuple[str, ...], tmp_path: Path) -> None:
    data = encode(write_clip(tmp_path / "source.wav"), tmp_path / f"clip.{suffix}", *options)
    whole, tail = read_clip(data), b"Dear listener, " * 2_000
    assert (whole.unread_bytes, whole.incomplete) == (0, "")
    clip = read_clip(data + tail)
    assert clip.duration_s == pytest.approx(whole.duration_s, abs=0.03)
    assert clip.unread_bytes == pytest.approx(len(tail), abs=8)
    zeros = read_clip(data + bytes(30_000))
    assert (zeros.unread_bytes, zeros.incomplete) == (0, "")


@pytest.mark.parametrize(("rate_hz", "channels", "seconds"), [(192_000, 1, 313), (48_000, 8, 522)])
def test_a_clip_of_too_many_samples_is_refused(rate_hz: int, channels: int, seconds: int) -> None:
    """By its head alone, which counts samples that are not there."""
    data = bytearray(made("flac", samples=np.zeros((4_096, channels), np.float32), hz=rate_hz))
    at = data.find(b"fLaC") + 21
    data[at : at + 5] = (data[at] >> 4 << 36 | seconds * rate_hz).to_bytes(5)
    whole = bytes(data)
    with pytest.raises(AudioError, match=r"has more than 60,000,000 samples, or 200,000,000 in all channels"):
        read_clip(whole)


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
@pytest.mark.parametrize(
    "tail",
    [
        b"",
        bytes(30_000),
        b"TAG" + bytes(125),
        b"ID3\x03\0\0\0\0\x46\x28" + b"x" * 9_000,
        b"x" * 9_000 + b"APETAGEX" + struct.pack("<4I", 2000, 9_032, 1, 0) + bytes(8) + b"TAG" + bytes(125),
    ],
)
def test_tags_and_zeros_behind_the_last_frame_are_no_sound(suffix: str, tail: bytes) -> None:
    clip = read_clip(made(suffix) + tail)
    assert (clip.unread_bytes, clip.incomplete) == (0, "")


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("size", [0, 0xFFFF_FFFF])
def test_chunks_behind_samples_whose_size_was_never_filled_in_are_no_sound(size: int) -> None:
    data = bytearray(made("wav"))
    struct.pack_into("<I", data, 40, size)
    clip = read_clip(bytes(data) + chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"recorder")))
    assert lengths(clip) == (4.0, 0.0)


@pytest.mark.usefixtures("no_ffmpeg")
def test_a_wav_with_its_samples_in_two_chunks_is_read_whole() -> None:
    data = made("wav")
    head, samples = data[:36], data[44:]
    pieces = chunk(b"data", samples[:50_000]), chunk(b"LIST", b"INFO"), chunk(b"data", samples[50_000:])
    np.testing.assert_allclose(read_clip(head + b"".join(pieces)).samples, pluck(), atol=1e-4)


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("told", [0, 64_000, 128_000])
def test_a_large_wav_that_tells_too_little(told: int) -> None:
    data = made("wav")
    sizes = chunk(b"ds64", struct.pack("<QQQI", len(data), told, told // 2, 0))
    large = b"RF64\xff\xff\xff\xffWAVE" + sizes + data[12:40] + b"\xff\xff\xff\xff" + data[44:]
    assert lengths(read_clip(large)) == (4.0, 0.0)


@needs_ffmpeg
def test_several_sound_tracks_are_refused(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "clip.wav")
    for name in ("two.m4a", "two.ogg", "two.opus", "two.oga"):
        data = encode(source, tmp_path / name, "-i", str(source), "-map", "0", "-map", "1")
        with pytest.raises(AudioError, match="holds 2 sound tracks"):
            read_clip(made("ogg") * (name != "two.m4a") + data)


def test_a_wav_of_its_head_alone_has_no_samples() -> None:
    for data in (made("wav", 0.0), made("wav")[:44]):
        with pytest.raises(AudioError, match="has no samples"):
            read_clip(data)


# Less than the header says


@pytest.mark.usefixtures("no_ffmpeg")
@pytest.mark.parametrize("suffix", ["wav", "rf64", "aiff", "au", "caf", "w64", "flac", "mp3"])
def test_a_file_that_breaks_off_tells_both_lengths(suffix: str) -> None:
    whole = made(suffix, 20.0)
    assert lengths(read_clip(whole)) == (pytest.approx(20.0, abs=0.1), 0.0)
    clip = read_clip(whole[: len(whole) // 2])
    assert 7.0 < clip.duration_s < 13.0
    assert clip.missing_s is not None
    assert clip.duration_s + clip.missing_s == pytest.approx(20.0, abs=0.1)
    assert clip.incomplete == f"breaks off: {clip.duration_s:.1f} s of 20.0 s are there"


@pytest.mark.parametrize("suffix", ["ogg", "opus"])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_an_ogg_without_its_last_page_breaks_off(suffix: str, share: float) -> None:
    whole = made(suffix, 20.0)
    clip = read_clip(whole[: int(len(whole) * share)])
    assert clip.missing_s is None
    assert clip.incomplete.startswith(f"breaks off after {clip.duration_s:.1f} s")
    assert read_clip(whole[: int(len(whole) * share)] + made(suffix)).missing_s is None


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "options"), [(".m4a", ("-movflags", "+faststart")), (".webm", ()), (".mka", ())])
def test_a_file_of_ffmpeg_that_breaks_off(suffix: str, options: tuple[str, ...], tmp_path: Path) -> None:
    whole = encode(write_clip(tmp_path / "clip.wav", pluck(20.0)), tmp_path / f"clip{suffix}", *options)
    assert lengths(read_clip(whole)) == (pytest.approx(20.0, abs=0.1), 0.0)
    clip = read_clip(whole[: len(whole) // 2])
    assert 7.0 < clip.duration_s < 13.0
    assert clip.missing_s is not None
    assert clip.duration_s + clip.missing_s == pytest.approx(20.0, abs=0.2)


@pytest.mark.usefixtures("no_ffmpeg")
def test_an_mp3_without_a_count_that_ends_within_a_frame_breaks_off() -> None:
    frames = without_count(made("mp3", 8.0))
    assert read_clip(frames).missing_s == 0.0
    clip = read_clip(frames[:-40])
    assert (clip.missing_s, clip.incomplete[:17]) == (None, "breaks off after ")


@needs_ffmpeg
def test_an_aac_that_ends_within_a_frame_breaks_off(tmp_path: Path) -> None:
    whole = encode(write_clip(tmp_path / "clip.wav", pluck(20.0)), tmp_path / "clip.aac")
    assert lengths(read_clip(whole + whole)) == (pytest.approx(40.0, abs=0.3), 0.0)
    clip = read_clip(whole[: len(whole) // 2])
    assert (clip.duration_s, clip.missing_s) == (pytest.approx(10.0, abs=2.0), None)


def with_a_hole(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(6_000) + data[middle + 6_000 :]


@pytest.mark.parametrize("suffix", ["ogg", "opus", "mp3"])
def test_a_hole_in_the_middle_is_told(suffix: str) -> None:
    clip = read_clip(with_a_hole(made(suffix, 20.0)))
    assert clip.missing_s is not None
    assert clip.missing_s > 0.1
    assert clip.duration_s + clip.missing_s == pytest.approx(20.0, abs=0.1)


@needs_ffmpeg
def test_a_hole_in_a_file_of_ffmpeg_is_told(tmp_path: Path) -> None:
    data = encode(write_clip(tmp_path / "clip.wav", pluck(20.0)), tmp_path / "clip.m4a", "-movflags", "+faststart")
    clip = read_clip(with_a_hole(data))
    assert clip.missing_s is not None
    assert clip.missing_s > 0.1
    assert clip.duration_s + clip.missing_s == pytest.approx(20.0, abs=0.1)


# Kinds


@needs_ffmpeg
@pytest.mark.parametrize(("name", "options"), [("alac.m4a", ("-c:a", "alac")), ("alac.caf", ("-c:a", "alac"))])
def test_kinds_that_the_machine_reads(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    clip = read_clip(encode(write_clip(tmp_path / "source.wav"), tmp_path / name, *options))
    assert lengths(clip) == (pytest.approx(4.0, abs=0.1), 0.0)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "options", "kind"),
    [
        ("clip.oga", ("-c:a", "flac"), "FLAC in Ogg"),
        ("clip.webm", (), "WebM"),
        ("clip.mka", (), "Matroska"),
        ("clip.m4a", (), "MP4 or M4A"),
        ("clip.aac", (), "AAC"),
    ],
)
def test_without_ffmpeg_the_kind_is_named(
    name: str, options: tuple[str, ...], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(write_clip(tmp_path / "source.wav"), tmp_path / name, *options)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(AudioError, match=f"it looks like {kind}, and is damaged or needs ffmpeg, which is not"):
        read_clip(data)


@pytest.mark.parametrize("spoil", [lambda data: data[:60], lambda data: b"fLaC" + bytes(500)], ids=["head", "zeros"])
def test_damaged_files_are_refused(spoil: Callable[[bytes], bytes]) -> None:
    with pytest.raises(AudioError, match="looks like FLAC, and is damaged"):
        read_clip(spoil(made("flac")))


def test_random_bytes_behind_any_beginning_are_refused_or_read() -> None:
    """Whatever a file holds, the answer is a clip or a sentence."""
    random = np.random.default_rng(0)
    beginnings = [made(suffix, 1.0)[:400] for suffix in ("wav", "aiff", "caf", "w64", "flac", "ogg", "mp3")]
    beginnings += [b"\0\0\0\x20ftypM4A ", b"\x1aE\xdf\xa3\x9fB\x82", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", b"OggS"]
    for beginning in beginnings:
        for size in (0, 1, 30, 5_000):
            noise: NDArray[np.uint8] = random.integers(0, 256, size, dtype=np.uint8)
            try:
                read_clip(beginning + noise.tobytes(), AudioLimits(min_duration_s=0.0))
            except AudioError as error:
                assert str(error)  # noqa: PT017
