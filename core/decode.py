"""File bytes to mono samples, in blocks, so that no file can take more memory or time than the limits allow.

libsndfile reads WAV, FLAC, OGG, Opus, MP3, AIFF and their kin. What it cannot open goes to ffmpeg, where that
is installed: that is how M4A/AAC is read. ffmpeg runs on a private copy, with a list of containers that
cannot name other files and with no protocol but ``file``, so that a playlist dressed up as a clip opens
nothing else, on this machine or on the network.

Conventions: samples are float32 with full scale at 1.0; mono is the mean of the channels; durations are in
seconds.
"""

import io
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from core.errors import AudioError

MIN_SAMPLE_RATE_HZ = 4_000
MAX_SAMPLE_RATE_HZ = 192_000
MAX_CHANNELS = 16
READABLE_FORMATS = "WAV, FLAC, OGG, Opus or MP3 (M4A/AAC where ffmpeg is installed)"

_BLOCK_FRAMES = 4_096  # a broken file loses at most the block in which it breaks
_UNKNOWN_FRAMES = 2**62  # libsndfile's count for a stream that does not tell
_FFMPEG_CONTAINERS = "mov,aac,matroska,webm,mp3"  # none of them is a playlist
_FFMPEG_TIMEOUT_S = 60.0
_SHORTFALL_TOLERANCE_S = 0.1  # MP3 encoders pad: a header may promise a few frames that never come


@dataclass(frozen=True)
class Decoded:
    """What a file held.

    Attributes
    ----------
    samples : ndarray of shape (n,)
        Mean of the channels.
    peaks : ndarray of shape (n,)
        The loudest channel's magnitude at each sample: clipping in one channel stays visible in it.
    sample_rate_hz, channels : int
    missing_s : float
        How much audio the header promised beyond what could be read; 0 for a sound file.
    """

    samples: NDArray[np.float32]
    peaks: NDArray[np.float32]
    sample_rate_hz: int
    channels: int
    missing_s: float = 0.0


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file read front to end; soundfile seeks after each block, which streams and broken files refuse."""

    def seekable(self) -> bool:
        return False


def decode(data: bytes, name: str, max_duration_s: float) -> Decoded:
    """Decode a whole audio file.

    Parameters
    ----------
    data : bytes
        The file's content.
    name : str
        How messages call the clip.
    max_duration_s : float
        A longer clip is refused: from its header where that tells, else as soon as decoding passes the limit.

    Raises
    ------
    AudioError
        If the bytes are no audio, or rate, channels or duration are out of range.
    """
    has_ffmpeg = shutil.which("ffmpeg") is not None
    if has_ffmpeg and _is_mp3_of_unknown_length(data):
        return _decode_by_ffmpeg(data, name, max_duration_s)
    try:
        return _read_sound(io.BytesIO(data), name, max_duration_s)
    except soundfile.LibsndfileError as error:
        if not has_ffmpeg:
            raise unreadable(name) from error
        return _decode_by_ffmpeg(data, name, max_duration_s)


def check_layout(sample_rate_hz: int, channels: int, name: str) -> None:
    """Refuse sample rates and channel counts that no music file has.

    Raises
    ------
    AudioError
    """
    if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
        raise AudioError(
            f"{name} has a sample rate of {sample_rate_hz} Hz; "
            f"rates from {MIN_SAMPLE_RATE_HZ} to {MAX_SAMPLE_RATE_HZ} Hz can be scored. Resample it."
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(
            f"{name} has {channels} channels; 1 to {MAX_CHANNELS} can be scored. Mix it to stereo."
        )


def too_long(name: str, max_duration_s: float, duration_s: float | None = None) -> AudioError:
    """Make the error for a clip over the duration limit; `duration_s` where it is known."""
    length = "longer than" if duration_s is None else f"{duration_s:.1f} s long; the limit is"
    return AudioError(f"{name} is {length} {max_duration_s:g} s. Cut out the part to be scored.")


def unreadable(name: str) -> AudioError:
    """Make the error for bytes that are not audio."""
    return AudioError(
        f"{name} cannot be read as audio: it is damaged or of another kind. Give {READABLE_FORMATS}."
    )


def _is_mp3_of_unknown_length(data: bytes) -> bool:
    """Tell an MP3 whose first frame does not state the length.

    libsndfile then guesses it from the first frames' bit rate, and stops there: it may leave out the end of a
    variable-rate file. ffmpeg reads to the end.
    """
    start = 0
    if data[:3] == b"ID3":  # the tag's size is 28 bits, seven a byte
        start = 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=False))
    frame = data[start : start + 200]
    is_mp3 = frame[:1] == b"\xff" and frame[1:2] >= b"\xe0"
    return is_mp3 and not any(header in frame for header in (b"Xing", b"Info", b"VBRI"))


def _read_sound(source: io.BytesIO | Path, name: str, max_duration_s: float) -> Decoded:
    with _Stream(source) as sound:
        rate, channels = sound.samplerate, sound.channels
        check_layout(rate, channels, name)
        promised_s = sound.frames / rate if sound.frames < _UNKNOWN_FRAMES else 0.0
        if promised_s > max_duration_s:
            raise too_long(name, max_duration_s, promised_s)
        mono, peaks = _read_blocks(sound, name, max_duration_s)
    missing_s = promised_s - mono.size / rate
    return Decoded(mono, peaks, rate, channels, missing_s if missing_s > _SHORTFALL_TOLERANCE_S else 0.0)


def _read_blocks(
    sound: _Stream, name: str, max_duration_s: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mono: list[NDArray[np.float32]] = []
    peaks: list[NDArray[np.float32]] = []
    frames = 0
    while True:
        try:
            block = sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError:
            if not frames:
                raise
            break  # the file breaks off here: what came before is kept, `missing_s` tells of the rest
        if not len(block):
            break
        frames += len(block)
        if frames > max_duration_s * sound.samplerate:
            raise too_long(name, max_duration_s)
        by_channel = np.ascontiguousarray(block.T)  # numpy is slow along a short last axis
        mono.append(by_channel.mean(axis=0, dtype=np.float64).astype(np.float32))
        peaks.append(np.abs(by_channel).max(axis=0))
    empty = np.zeros(0, np.float32)
    return np.concatenate([empty, *mono]), np.concatenate([empty, *peaks])


def _decode_by_ffmpeg(data: bytes, name: str, max_duration_s: float) -> Decoded:
    with tempfile.TemporaryDirectory(prefix="musiceval-") as folder:
        source, target = Path(folder, "source"), Path(folder, "decoded.wav")
        source.write_bytes(data)
        command = [
            *("ffmpeg", "-nostdin", "-v", "error"),
            *("-format_whitelist", _FFMPEG_CONTAINERS, "-protocol_whitelist", "file", "-i", str(source)),
            *("-map", "0:a:0", "-t", f"{max_duration_s + 1:f}", "-c:a", "pcm_f32le", str(target)),
        ]
        try:
            subprocess.run(command, check=True, timeout=_FFMPEG_TIMEOUT_S, capture_output=True)
            decoded = _read_sound(target, name, max_duration_s + 2)
        except subprocess.TimeoutExpired as error:
            raise AudioError(
                f"{name} took longer than {_FFMPEG_TIMEOUT_S:g} s to decode. Convert it to WAV or FLAC."
            ) from error
        except (subprocess.CalledProcessError, soundfile.LibsndfileError) as error:
            raise unreadable(name) from error
    if decoded.samples.size > max_duration_s * decoded.sample_rate_hz:
        raise too_long(name, max_duration_s)
    return decoded
