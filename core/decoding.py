"""Files to samples: every recording that a file holds, to the end of what is there.

`core.containers` says what recordings there are and makes their headers true. libsndfile reads WAV, FLAC, Ogg
(Vorbis, Opus), MP3, AIFF, CAF, W64 and their kin, in blocks, so that no file can take more memory or time than
the limits allow. What it cannot open goes to ffmpeg, where that is installed: M4A, MP4, AAC, WebM, Matroska,
FLAC in Ogg. ffmpeg gets a private copy, a list of containers that cannot name other files, and no protocol
but ``file``, so that a playlist dressed up as a clip opens nothing else; it answers through a pipe, which is
read no further than the limit.
"""

import contextlib
import io
import json
import math
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
import soundfile
from numpy.typing import NDArray

from core.containers import Part, flac_without_count, split
from core.errors import AudioError, shown_beyond
from core.levels import TruePeak

MAX_CHANNELS = 16
MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 4_000, 192_000
MAX_FRAMES = 60_000_000  # ten minutes at 96 kHz: between 1.5 and 2 GB of memory while they are conditioned
MAX_SAMPLES = 200_000_000  # of all channels: ten minutes of six at 48 kHz
LENGTH_TOLERANCE_S = 0.1  # encoders pad: a header may promise a few frames that never come, and bring a few more

_READABLE_FORMATS = "WAV, FLAC, OGG, Opus or MP3 (M4A/AAC, MP4 and WebM where ffmpeg is installed)"
_BLOCK_FRAMES = 65_536
_FEW_FRAMES = 4_096  # of a file that is broken, which loses at most the block in which it breaks
_MOST_UNREAD_BYTES = 8_192  # behind what a FLAC's head counts: tags
_UNKNOWN_FRAMES = 2**62  # libsndfile's count for a stream that does not tell
_FFMPEG_CONTAINERS = "mov,aac,matroska,webm,mp3,ogg,flac,wav,w64,aiff,caf"  # none of them is a playlist
_FFMPEG_LIMITS = ("-format_whitelist", _FFMPEG_CONTAINERS, "-protocol_whitelist", "file")
_FFMPEG_TIMEOUT_S = 60.0

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Decoded:
    """The sound of a file."""

    samples: Samples  # (n,), the mean of the channels
    peaks: Samples  # (n,), the magnitude of the loudest channel at each sample
    sample_rate_hz: int
    channels: int
    level: float  # root mean square of the loudest channel without its constant part
    missing_s: float | None  # promised and not there; None where it breaks off and nothing tells how long it was
    unread_bytes: int = 0  # behind the sound, and neither sound nor known
    offset: float = 0.0  # largest constant part of a channel
    true_peak: float | None = None  # of the loudest channel (`core.levels`); None where it was not asked for


@dataclass(frozen=True)
class _Asked:
    """What a part of a file is decoded for."""

    name: str
    left_s: float
    max_duration_s: float
    true_peak: bool


def decode(data: bytes, name: str, max_duration_s: float, true_peak: bool = False) -> Decoded:
    """Decode a file; one that is too long is refused from its header, or as soon as it passes the limit.

    The true peak is measured where it is asked for: it takes as long as decoding.
    """
    decoded: list[Decoded] = []
    asked = _Asked(name, max_duration_s, max_duration_s, true_peak)
    for part in split(data):
        one = _decode_part(part, asked)
        asked = replace(asked, left_s=asked.left_s - one.samples.size / one.sample_rate_hz)
        decoded.append(replace(one, unread_bytes=part.unread_bytes))
    return decoded[0] if len(decoded) == 1 else _joined(decoded, name)


def level_of(frames: Samples) -> float:
    """Return the root mean square of the loudest channel, of (n, channels), without its constant part."""
    if not np.isfinite(frames).all() or not len(frames):
        return 0.0  # is refused with a sentence of its own
    return float(frames.std(axis=0, dtype=np.float64).max())


def check_layout(sample_rate_hz: int, channels: int, name: str) -> None:
    """Raise AudioError for a rate or a number of channels that cannot be scored."""
    if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise AudioError(
            f"{name} has a sample rate of {sample_rate_hz} Hz; "
            f"rates from {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz can be scored. Resample it."
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{name} has {channels} channels; 1 to {MAX_CHANNELS} can be scored. Mix it to stereo.")


def _check_count(frames: int, channels: int, name: str) -> None:
    if frames > MAX_FRAMES or frames * channels > MAX_SAMPLES:
        raise AudioError(
            f"{name} has more than {MAX_FRAMES:,} samples, or {MAX_SAMPLES:,} in all channels. "
            "Resample it to 48 kHz, and mix it to stereo."
        )


def too_long(name: str, max_duration_s: float, duration_s: float | None = None) -> AudioError:
    """Make the error for a clip that is too long; its length may not be known."""
    if duration_s is None:
        length = "longer than"
    else:
        length = f"{shown_beyond(duration_s, max_duration_s, 1)} s long; the limit is"
    return AudioError(f"{name} is {length} {max_duration_s:g} s. Cut out the part to be scored.")


def _joined(parts: list[Decoded], name: str) -> Decoded:
    first, *others = parts
    if any((one.sample_rate_hz, one.channels) != (first.sample_rate_hz, first.channels) for one in others):
        raise AudioError(
            f"{name} holds {len(parts)} recordings of different sample rates or channels, one behind another. "
            "Save each as a file of its own."
        )
    missing_s = [one.missing_s for one in parts]
    return Decoded(
        np.concatenate([one.samples for one in parts]),
        np.concatenate([one.peaks for one in parts]),
        first.sample_rate_hz,
        first.channels,
        max(one.level for one in parts),
        None if None in missing_s else sum(seconds for seconds in missing_s if seconds),
        sum(one.unread_bytes for one in parts),
        max(one.offset for one in parts),
        max((one.true_peak for one in parts if one.true_peak is not None), default=None),
    )


def _decode_part(part: Part, asked: _Asked) -> Decoded:
    if part.tracks > 1:
        raise _several_tracks(asked.name, part.tracks)
    source = io.BytesIO(part.data)
    try:
        decoded = _read_sound(part, source, asked)
        if part.kind == "FLAC" and len(part.data) - source.tell() > _MOST_UNREAD_BYTES:
            longer = replace(
                part, data=flac_without_count(part.data)
            )  # its head may count fewer samples than there are
            other = _read_sound(longer, io.BytesIO(longer.data), asked)
            return other if other.samples.size > decoded.samples.size else decoded
        return decoded
    except soundfile.LibsndfileError as error:
        if shutil.which("ffmpeg") is None:
            raise _unreadable(asked.name, part.kind, has_ffmpeg=False) from error
        return _decode_by_ffmpeg(part, asked)


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file read front to end; soundfile seeks after each block, which streams and broken files refuse."""

    def seekable(self) -> bool:
        return False


def _read_sound(part: Part, source: io.BytesIO, asked: _Asked) -> Decoded:
    """Read sound; where it breaks off again in small blocks, so that less is lost."""
    try:
        decoded, breaks_off = _read_blocks(part, source, asked, _BLOCK_FRAMES)
    except soundfile.LibsndfileError:
        breaks_off = True
    if breaks_off:
        source.seek(0)
        decoded, _ = _read_blocks(part, source, asked, _FEW_FRAMES)
    return decoded


def _read_blocks(part: Part, source: io.BytesIO, asked: _Asked, n_frames: int) -> tuple[Decoded, bool]:
    """Read sound in blocks; also return whether it breaks off."""
    with _Stream(source) as sound:
        rate, channels = sound.samplerate, sound.channels
        check_layout(rate, channels, asked.name)
        promised_s = sound.frames / rate if part.counts and sound.frames < _UNKNOWN_FRAMES else 0.0
        if promised_s > asked.left_s + LENGTH_TOLERANCE_S:
            raise too_long(asked.name, asked.max_duration_s, promised_s + asked.max_duration_s - asked.left_s)
        _check_count(int(promised_s * rate), channels, asked.name)
        decoded, breaks_off = _gather(_blocks(sound, n_frames), rate, channels, asked)
    read_s = decoded.samples.size / rate
    return replace(decoded, missing_s=_missing_s(part, promised_s, read_s, breaks_off)), breaks_off


def _gather(blocks: Iterable[Samples | None], rate: int, channels: int, asked: _Asked) -> tuple[Decoded, bool]:
    """Put blocks of (channels, n) together; also return whether they broke off. AudioError where they are too many."""
    mono, peaks, sums = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)], np.zeros((2, channels))
    meter = TruePeak(channels) if asked.true_peak else None
    n_most, n_read, breaks_off = (asked.left_s + LENGTH_TOLERANCE_S) * rate, 0, False
    for block in blocks:
        if block is None:
            breaks_off = True
            break
        n_read += block.shape[1]
        if n_read > n_most:
            raise too_long(asked.name, asked.max_duration_s)
        _check_count(n_read, channels, asked.name)
        mono.append(block.mean(axis=0, dtype=np.float64).astype(np.float32) if channels > 1 else block[0])
        peaks.append(np.abs(block).max(axis=0) if channels > 1 else np.abs(block[0]))
        sums += block.sum(axis=1, dtype=np.float64), [np.dot(of, of) for of in block.astype(np.float64)]
        if meter:
            meter.add(np.ascontiguousarray(block.T))
    with np.errstate(invalid="ignore"):  # samples that are infinite are refused later, with their own sentence
        mean, mean_square = sums / max(n_read, 1)
        level = math.sqrt(max(0.0, float((mean_square - mean**2).max())))
        offset, true_peak = float(np.abs(mean).max()), meter.end() if meter else None
    whole = Decoded(np.concatenate(mono), np.concatenate(peaks), rate, channels, level, 0.0, 0, offset, true_peak)
    return whole, breaks_off


def _blocks(sound: _Stream, n_frames: int) -> Iterator[Samples | None]:
    """The sound in blocks of (channels, n); None where the file breaks off, then nothing more.

    Of a FLAC no more is asked for than it counts: where tags stand behind it, libsndfile would lose the last block.
    """
    is_first, left = True, sound.frames if sound.format == "FLAC" else _UNKNOWN_FRAMES
    while left > 0:
        try:
            block = sound.read(min(n_frames, left), dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            if is_first:
                raise
            yield None  # what came before is kept
            return
        if not len(block):
            return
        is_first, left = False, left - len(block)
        yield np.ascontiguousarray(block.T)  # numpy is slow along a short last axis


def _missing_s(part: Part, promised_s: float, read_s: float, breaks_off: bool) -> float | None:
    if not part.there or (breaks_off and not promised_s):
        return None
    missing_s = read_s / part.there - read_s if part.there < 1.0 else promised_s - read_s
    return missing_s if missing_s > LENGTH_TOLERANCE_S else 0.0


def _decode_by_ffmpeg(part: Part, asked: _Asked) -> Decoded:
    with tempfile.TemporaryFile() as source:  # has no name: nothing is left of it, however this process ends
        source.write(part.data)
        source.flush()
        n_tracks, promised_s = _told(source)
        if n_tracks > 1:
            raise _several_tracks(asked.name, n_tracks)
        decoded, has_faults = _run_ffmpeg(part, source, asked)
    if part.kind == "AAC" or not (part.there is None or has_faults):
        promised_s = 0.0  # a guess, or what a whole file pads
    read_s = decoded.samples.size / decoded.sample_rate_hz
    if part.there is None and promised_s > read_s:
        return replace(decoded, missing_s=promised_s - read_s)
    return replace(decoded, missing_s=_missing_s(part, promised_s, read_s, breaks_off=False))


def _run_ffmpeg(part: Part, source: IO[bytes], asked: _Asked) -> tuple[Decoded, bool]:
    """Decode through a pipe, no further than the limit; also return whether ffmpeg found faults."""
    command = ["ffmpeg", "-nostdin", "-v", "error", "-timelimit", f"{_FFMPEG_TIMEOUT_S:g}", *_FFMPEG_LIMITS]
    command += ["-i", _path(source), "-map", "0:a:0", "-f", "au", "-c:a", "pcm_f32be", "pipe:1"]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, pass_fds=[source.fileno()]
        )
        with process, _killed_late(process) as late:
            assert process.stdout is not None
            try:
                rate, channels = _au_head(process.stdout)
                check_layout(rate, channels, asked.name)
                blocks = _au_blocks(process.stdout, channels)
                decoded, _ = _gather(blocks, rate, channels, asked)
            except struct.error as error:
                raise _unreadable(asked.name, part.kind, has_ffmpeg=True) from error
            finally:
                process.stdout.close()  # ffmpeg ends where nobody reads
        if late.is_set() or process.returncode == -signal.SIGXCPU:
            why = f"took longer than {_FFMPEG_TIMEOUT_S:g} s to decode"
            raise AudioError(f"{asked.name} {why}. Convert it to WAV or FLAC.")
        if process.returncode:
            raise _unreadable(asked.name, part.kind, has_ffmpeg=True)
        return decoded, said.tell() > 0


@contextlib.contextmanager
def _killed_late(process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Kill a process that takes longer than it may; the event says that it did."""
    late = threading.Event()

    def kill() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(_FFMPEG_TIMEOUT_S, kill)
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


def _au_head(stream: IO[bytes]) -> tuple[int, int]:
    """Read to the samples of an AU stream; return its rate and its channels."""
    head = struct.Struct(">4s5I")
    _, offset, _, _, rate, channels = head.unpack(stream.read(head.size))
    stream.read(offset - head.size)
    return rate, channels


def _au_blocks(stream: IO[bytes], channels: int) -> Iterator[Samples]:
    while data := stream.read(4 * channels * _BLOCK_FRAMES):
        whole = len(data) - len(data) % (4 * channels)
        frames = np.frombuffer(data[:whole], ">f4").reshape(-1, channels)
        yield np.ascontiguousarray(frames.T, np.float32)


def _path(source: IO[bytes]) -> str:
    """Where a process that gets an open file finds it."""
    return f"/dev/fd/{source.fileno()}"


def _told(source: IO[bytes]) -> tuple[int, float]:
    """Return how many sound tracks a file says that it holds, and how long the first is; 0 where nobody knows."""
    command = ["ffprobe", "-v", "error", *_FFMPEG_LIMITS, "-of", "json", "-show_entries", "format=duration"]
    command += ["-show_entries", "stream=duration", "-select_streams", "a", _path(source)]
    try:
        found = subprocess.run(
            command,
            check=True,
            timeout=_FFMPEG_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=[source.fileno()],
        ).stdout
        told = json.loads(found)
        durations = [*(stream.get("duration") for stream in told["streams"][:1]), told["format"].get("duration")]
        return len(told["streams"]), next((float(duration) for duration in durations if duration), 0.0)
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return 0, 0.0


def _several_tracks(name: str, n_tracks: int) -> AudioError:
    return AudioError(f"{name} holds {n_tracks} sound tracks. Save the one to be scored as a file of its own.")


def _unreadable(name: str, kind: str, has_ffmpeg: bool) -> AudioError:
    if not kind:
        why = "it is damaged or of another kind"
    elif has_ffmpeg:
        why = f"it looks like {kind}, and is damaged or holds what cannot be decoded here"
    else:
        why = f"it looks like {kind}, and is damaged or needs ffmpeg, which is not installed here"
    return AudioError(f"{name} cannot be read as audio: {why}. Give {_READABLE_FORMATS}.")
