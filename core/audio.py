"""A clip on its way to the towers: read, brought to a checkpoint's input policy, cut into windows.

Conventions
-----------
Samples are float32 with full scale at 1.0; mono is the mean of the channels. The towers hear 48 kHz and
windows of exactly 480,000 samples (10 s). Windows lie on a fixed grid that covers the whole clip: 0, 10, 20
s and so on, the last one moved back to end with the clip; a shorter clip is repeated to fill its one
window. Nothing here draws a random number: the same clip always gives the same windows.

*Reading.* Files are decoded in blocks, so that none can take more memory or time than the limits allow.
libsndfile reads WAV, FLAC, OGG, Opus, MP3, AIFF and their kin. What it cannot open goes to ffmpeg, where that
is installed: that is how M4A/AAC is read. ffmpeg gets a private copy, a list of containers that cannot name
other files, and no protocol but ``file``, so that a playlist dressed up as a clip opens nothing else.

*Conditioning.* Every clip is brought to the bandwidth and loudness of the clips that the checkpoint was
trained on, so that a full-band or a quieter copy is heard as the same clip. Loudness is integrated loudness
by ITU-R BS.1770-4, measured at the reduced rate.
"""

import hashlib
import io
import math
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyloudnorm
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from core.errors import AudioError, shown_name

MODEL_SAMPLE_RATE_HZ = 48_000
WINDOW_SAMPLES = 480_000
WINDOW_S = WINDOW_SAMPLES / MODEL_SAMPLE_RATE_HZ
WINDOW_POLICY: Mapping[str, Any] = {
    "window_s": WINDOW_S,
    "grid": "every 10 s from the start, the last window aligned to the end",
    "short_clips": "repeated to fill one window",
    "pooling": "mean of the windows",
}
SILENCE_PEAK = 0.001  # -60 dBFS: below it a clip counts as silent and is not made louder

_MIN_SAMPLE_RATE_HZ, _MAX_SAMPLE_RATE_HZ = 4_000, 192_000
_MAX_CHANNELS = 16
_MEGABYTE = 1_000_000
_READABLE_FORMATS = "WAV, FLAC, OGG, Opus or MP3 (M4A/AAC where ffmpeg is installed)"
_BLOCK_FRAMES = 4_096  # a broken file loses at most the block in which it breaks
_UNKNOWN_FRAMES = 2**62  # libsndfile's count for a stream that does not tell
_FFMPEG_CONTAINERS = "mov,aac,matroska,webm,mp3"  # none of them is a playlist
_FFMPEG_TIMEOUT_S = 60.0
_SHORTFALL_TOLERANCE_S = 0.1  # MP3 encoders pad: a header may promise a few frames that never come
_LOUDNESS_BLOCK_S = 0.4  # BS.1770 measures blocks of 400 ms
_LOW_PASS_TAPS = 257  # at 16 kHz: a transition of about 400 Hz around the bandwidth

Samples = NDArray[np.float32]
ClipSource = str | Path | bytes | tuple[ArrayLike, int]


@dataclass(frozen=True)
class AudioLimits:
    """What a clip may be.

    Attributes
    ----------
    min_duration_s : float
        Half a second: less carries no music.
    max_duration_s : float
        Ten minutes: about a minute of work for the small tower on two cores.
    max_bytes : int
        100 MB: ten minutes of stereo WAV at 44.1 kHz and 16 bits are 106 MB, as FLAC about half.
    """

    min_duration_s: float = 0.5
    max_duration_s: float = 600.0
    max_bytes: int = 100 * _MEGABYTE


@dataclass(frozen=True)
class InputPolicy:
    """What a checkpoint's training clips were like; scoring brings every clip there first.

    Attributes
    ----------
    sample_rate_hz : int
        MusicEval's clips are at 16 kHz, so clips go down to this rate and back up to 48 kHz.
    bandwidth_hz : float
        What is heard of that. Every resampler leaves another edge in the last tenth below half the rate, and
        a logarithmic spectrum makes much of it; without that tenth all copies of a clip are alike.
    loudness_lufs : float
        Integrated loudness, the level of EBU R 128.
    """

    sample_rate_hz: int = 16_000
    bandwidth_hz: float = 7_000.0
    loudness_lufs: float = -23.0


@dataclass(frozen=True)
class Clip:
    """A clip as it was given, mixed to mono.

    Attributes
    ----------
    samples : ndarray of shape (n,)
        Mean of the channels.
    sample_rate_hz, channels : int
        As given.
    sha256 : str
        Of the file's bytes, or of the array's.
    peaks : ndarray of shape (n,)
        Magnitude of the loudest channel at each sample: clipping in one channel stays visible.
    missing_s : float
        Audio that the file's header promises but that is not there (a broken download).
    """

    samples: Samples = field(repr=False)
    sample_rate_hz: int
    channels: int
    sha256: str
    peaks: Samples = field(repr=False)
    missing_s: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length of the clip."""
        return self.samples.size / self.sample_rate_hz


def read_clip(source: ClipSource, limits: AudioLimits | None = None) -> Clip:
    """Read a clip from wherever it is.

    Parameters
    ----------
    source : str, Path, bytes or (array, rate)
        A file, a file's content, or samples with their rate in Hz. An array has shape (n,) or (n, channels),
        not (channels, n); floats have full scale at 1.0, integers are scaled by the range of their type.
    limits : AudioLimits, optional

    Returns
    -------
    Clip

    Raises
    ------
    AudioError
        If the clip cannot be read, is outside the limits or has samples that are not finite.
    """
    limits, name = limits or AudioLimits(), "The clip"
    if isinstance(source, tuple):
        clip = _from_array(*source, name)
    elif isinstance(source, str | Path | bytes):
        name, data = (name, source) if isinstance(source, bytes) else _read_file(Path(source), limits)
        _check_size(len(data), name, limits)
        decoded = _decode(data, name, limits.max_duration_s)
        clip = replace(decoded, sha256=hashlib.sha256(data).hexdigest())
    else:
        raise AudioError("No clip was given. Choose an audio file to score.")
    _check_samples(clip, name, limits)
    return clip


def condition(samples: Samples, sample_rate_hz: int, policy: InputPolicy) -> Samples:
    """Bring samples, (n,), to the policy's bandwidth and loudness, and to 48 kHz.

    They are not limited in peak: float samples need no headroom. Silence stays silent.
    """
    narrow = _low_pass(_resample(samples, sample_rate_hz, policy.sample_rate_hz), policy)
    return _resample(narrow * _gain(narrow, policy), policy.sample_rate_hz, MODEL_SAMPLE_RATE_HZ)


def window_starts(n_samples: int) -> list[int]:
    """Return the first sample of each window over `n_samples` samples at 48 kHz."""
    last = max(n_samples - WINDOW_SAMPLES, 0)
    return [*range(0, last, WINDOW_SAMPLES), last]


def window_times(clip: "Clip", policy: InputPolicy) -> list[tuple[float, float]]:
    """Return start and end, in seconds, of each window of the conditioned clip; nothing is conditioned."""
    n_samples, rate_hz = clip.samples.size, clip.sample_rate_hz
    for to_hz in (policy.sample_rate_hz, MODEL_SAMPLE_RATE_HZ):
        n_samples, rate_hz = math.floor(n_samples * to_hz / rate_hz + 0.5), to_hz  # as soxr rounds
    starts = [start / rate_hz for start in window_starts(n_samples)]
    return [(start_s, min(start_s + WINDOW_S, n_samples / rate_hz, clip.duration_s)) for start_s in starts]


def cut_window(samples_48k: Samples, start: int) -> Samples:
    """Return one window of exactly `WINDOW_SAMPLES`; a shorter clip is repeated from its beginning."""
    window = samples_48k[start : start + WINDOW_SAMPLES]
    return window if window.size == WINDOW_SAMPLES else np.resize(samples_48k, WINDOW_SAMPLES)


def split_windows(samples_48k: Samples) -> Samples:
    """Cut a conditioned clip, (n,), into its windows, (n_windows, WINDOW_SAMPLES)."""
    return np.stack([cut_window(samples_48k, start) for start in window_starts(samples_48k.size)])


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file read front to end; soundfile seeks after each block, which streams and broken files refuse."""

    def seekable(self) -> bool:
        return False


def _read_file(path: Path, limits: AudioLimits) -> tuple[str, bytes]:
    name = shown_name(path.name or str(path))
    try:
        if path.is_dir():
            raise AudioError(f"{name} is a folder. Give one audio file.")
        if not path.is_file():
            raise AudioError(f"{name} was not found. Check the path.")
        _check_size(path.stat().st_size, name, limits)
        return name, path.read_bytes()
    except (OSError, ValueError) as error:
        raise AudioError(f"{name} cannot be opened. Check its name and that you may read it.") from error


def _decode(data: bytes, name: str, max_duration_s: float) -> Clip:
    """Decode a file; one that is too long is refused from its header, or as soon as it passes the limit."""
    has_ffmpeg = shutil.which("ffmpeg") is not None
    if has_ffmpeg and _is_mp3_of_unknown_length(data):
        return _decode_by_ffmpeg(data, name, max_duration_s)
    try:
        return _read_sound(io.BytesIO(data), name, max_duration_s)
    except soundfile.LibsndfileError as error:
        if not has_ffmpeg:
            raise _unreadable(name) from error
        return _decode_by_ffmpeg(data, name, max_duration_s)


def _is_mp3_of_unknown_length(data: bytes) -> bool:
    """Whether this is an MP3 whose first frame does not state the length.

    libsndfile then guesses it from the first frames' bit rate, and stops there: it may leave out the end of a
    variable-rate file. ffmpeg reads to the end.
    """
    start = 0
    if data[:3] == b"ID3":  # the tag's size is 28 bits, seven a byte
        start = 10 + sum(byte << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=False))
    frame = data[start : start + 200]
    is_mp3 = frame[:1] == b"\xff" and frame[1:2] >= b"\xe0"
    return is_mp3 and not any(header in frame for header in (b"Xing", b"Info", b"VBRI"))


def _read_sound(source: io.BytesIO | Path, name: str, max_duration_s: float) -> Clip:
    with _Stream(source) as sound:
        rate, channels = sound.samplerate, sound.channels
        _check_layout(rate, channels, name)
        promised_s = sound.frames / rate if sound.frames < _UNKNOWN_FRAMES else 0.0
        if promised_s > max_duration_s:
            raise _too_long(name, max_duration_s, promised_s)
        mono, peaks = _read_blocks(sound, name, max_duration_s)
    missing_s = promised_s - mono.size / rate
    return Clip(mono, rate, channels, "", peaks, missing_s if missing_s > _SHORTFALL_TOLERANCE_S else 0.0)


def _read_blocks(sound: _Stream, name: str, max_duration_s: float) -> tuple[Samples, Samples]:
    mono, peaks, frames = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)], 0
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
            raise _too_long(name, max_duration_s)
        by_channel = np.ascontiguousarray(block.T)  # numpy is slow along a short last axis
        mono.append(by_channel.mean(axis=0, dtype=np.float64).astype(np.float32))
        peaks.append(np.abs(by_channel).max(axis=0))
    return np.concatenate(mono), np.concatenate(peaks)


def _decode_by_ffmpeg(data: bytes, name: str, max_duration_s: float) -> Clip:
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
            clip = _read_sound(target, name, max_duration_s + 2)
        except subprocess.TimeoutExpired as error:
            raise AudioError(
                f"{name} took longer than {_FFMPEG_TIMEOUT_S:g} s to decode. Convert it to WAV or FLAC."
            ) from error
        except (subprocess.CalledProcessError, soundfile.LibsndfileError) as error:
            raise _unreadable(name) from error
    if clip.duration_s > max_duration_s:
        raise _too_long(name, max_duration_s)
    return clip


def _from_array(array: ArrayLike, sample_rate_hz: int, name: str) -> Clip:
    values = np.asarray(array)
    if values.dtype.kind not in "fiu":
        raise AudioError(f"{name} has samples of type {values.dtype}; give floats with full scale at 1.0, or integers.")
    if values.ndim not in (1, 2) or (values.ndim == 2 and 0 < values.shape[0] < values.shape[1]):
        raise AudioError(
            f"{name} has the shape {values.shape}; give (samples,) or (samples, channels), not (channels, samples)."
        )
    if sample_rate_hz != int(sample_rate_hz):
        raise AudioError(f"{name} has a sample rate of {sample_rate_hz} Hz; give a whole number.")
    frames = _to_float(values[:, np.newaxis] if values.ndim == 1 else values)
    _check_layout(int(sample_rate_hz), frames.shape[1], name)
    mono = frames.mean(axis=1, dtype=np.float64).astype(np.float32)
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return Clip(mono, int(sample_rate_hz), frames.shape[1], digest, np.abs(frames).max(axis=1))


def _to_float(values: NDArray[np.generic]) -> Samples:
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which is refused with the other infinities
            return values.astype(np.float32)
    full_scale = 2.0 ** (8 * values.dtype.itemsize - 1)
    offset = full_scale if values.dtype.kind == "u" else 0.0
    return ((values.astype(np.float64) - offset) / full_scale).astype(np.float32)


def _check_size(n_bytes: int, name: str, limits: AudioLimits) -> None:
    if not n_bytes:
        raise AudioError(f"{name} is empty (0 bytes). Export or download it again.")
    if n_bytes > limits.max_bytes:
        given, allowed = n_bytes / _MEGABYTE, limits.max_bytes / _MEGABYTE
        raise AudioError(f"{name} has {given:.1f} MB; the limit is {allowed:g} MB. Cut it or save it as FLAC.")


def _check_layout(sample_rate_hz: int, channels: int, name: str) -> None:
    if not _MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= _MAX_SAMPLE_RATE_HZ:
        raise AudioError(
            f"{name} has a sample rate of {sample_rate_hz} Hz; "
            f"rates from {_MIN_SAMPLE_RATE_HZ} to {_MAX_SAMPLE_RATE_HZ} Hz can be scored. Resample it."
        )
    if not 1 <= channels <= _MAX_CHANNELS:
        raise AudioError(f"{name} has {channels} channels; 1 to {_MAX_CHANNELS} can be scored. Mix it to stereo.")


def _check_samples(clip: Clip, name: str, limits: AudioLimits) -> None:
    if not clip.samples.size:
        raise AudioError(f"{name} has no samples. Export it again.")
    if clip.duration_s < limits.min_duration_s:
        raise AudioError(
            f"{name} is {clip.duration_s:.2f} s long; at least {limits.min_duration_s:g} s are needed. "
            "Give a longer clip."
        )
    if clip.duration_s > limits.max_duration_s:
        raise _too_long(name, limits.max_duration_s, clip.duration_s)
    if not (np.isfinite(clip.samples).all() and np.isfinite(clip.peaks).all()):
        raise AudioError(f"{name} has samples that are not numbers (NaN or infinite). Export it again.")


def _too_long(name: str, max_duration_s: float, duration_s: float | None = None) -> AudioError:
    length = "longer than" if duration_s is None else f"{duration_s:.1f} s long; the limit is"
    return AudioError(f"{name} is {length} {max_duration_s:g} s. Cut out the part to be scored.")


def _unreadable(name: str) -> AudioError:
    return AudioError(f"{name} cannot be read as audio: it is damaged or of another kind. Give {_READABLE_FORMATS}.")


def _resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    if from_hz == to_hz:
        return samples
    resampled: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return resampled


def _low_pass(samples: Samples, policy: InputPolicy) -> Samples:
    """Cut samples at the policy's rate off at its bandwidth; linear phase, 100 dB down 250 Hz above it."""
    if policy.bandwidth_hz >= policy.sample_rate_hz / 2:
        return samples
    kaiser = ("kaiser", 10.0)
    taps = signal.firwin(_LOW_PASS_TAPS, policy.bandwidth_hz, window=kaiser, fs=policy.sample_rate_hz)
    filtered: Samples = signal.oaconvolve(samples, taps, mode="same").astype(np.float32)
    return filtered


def _gain(samples: Samples, policy: InputPolicy) -> np.float32:
    """Return the factor that brings samples at the policy's rate to its loudness; 1 for silence.

    The meter's absolute gate would hear less of a quiet copy, so samples are measured at a peak of 1: then a
    copy at any level gets the same loudness in the end. A clip shorter than one block of the meter is
    measured repeated.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < SILENCE_PEAK:
        return np.float32(1.0)
    block_samples = math.ceil(_LOUDNESS_BLOCK_S * policy.sample_rate_hz)
    measured = np.resize(samples, max(samples.size, block_samples)).astype(np.float64) / peak
    meter = pyloudnorm.Meter(policy.sample_rate_hz, block_size=_LOUDNESS_BLOCK_S)
    loudness_lufs = meter.integrated_loudness(measured)
    if not math.isfinite(loudness_lufs):
        return np.float32(1.0)
    return np.float32(10.0 ** ((policy.loudness_lufs - loudness_lufs) / 20.0) / peak)
