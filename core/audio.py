"""A clip on its way to the towers: read, brought to the checkpoint's input policy, cut into windows.

Conventions
-----------
Samples are float32, mono, full scale at 1.0. The towers hear 48 kHz and windows of exactly 480,000 samples
(10 s). Windows lie on a fixed grid that covers the whole clip: 0, 10, 20 s and so on, the last one moved back
to end with the clip; a shorter clip is repeated to fill its one window. Nothing here draws a random number:
the same clip always gives the same windows.

Before windows are cut, `condition` brings every clip to the bandwidth and loudness of the clips that the
checkpoint was trained on, so that a full-band or a quieter copy of a clip is heard as the same clip. Loudness
is integrated loudness by ITU-R BS.1770-4, measured at the reduced rate.
"""

import hashlib
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyloudnorm
import soxr
from numpy.typing import ArrayLike, NDArray
from scipy import signal

from core.decode import Decoded, check_layout, decode, too_long
from core.errors import AudioError, shown_name

MODEL_SAMPLE_RATE_HZ = 48_000
WINDOW_SAMPLES = 480_000
WINDOW_S = WINDOW_SAMPLES / MODEL_SAMPLE_RATE_HZ

SILENCE_PEAK = 0.001  # -60 dBFS: below it a clip counts as silent and is not made louder
_LOUDNESS_BLOCK_S = 0.4  # BS.1770 measures blocks of 400 ms
_LOW_PASS_TAPS = 257  # at 16 kHz: a transition of about 400 Hz around the bandwidth
_MEGABYTE = 1_000_000

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
        Magnitude of the loudest channel at each sample.
    missing_s : float
        Audio that the file's header promises but that is not there (a broken download).
    """

    samples: NDArray[np.float32] = field(repr=False)
    sample_rate_hz: int
    channels: int
    sha256: str
    peaks: NDArray[np.float32] = field(repr=False)
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
    limits = limits or AudioLimits()
    if isinstance(source, tuple):
        name = "The clip"
        decoded, digest = _from_array(*source, name)
    elif isinstance(source, str | Path | bytes):
        name, data = ("The clip", source) if isinstance(source, bytes) else _read_file(Path(source), limits)
        _check_size(len(data), name, limits)
        decoded, digest = decode(data, name, limits.max_duration_s), hashlib.sha256(data).hexdigest()
    else:
        raise AudioError("No clip was given. Choose an audio file to score.")
    _check_samples(decoded, name, limits)
    return Clip(
        decoded.samples, decoded.sample_rate_hz, decoded.channels, digest, decoded.peaks, decoded.missing_s
    )


def condition(samples: NDArray[np.float32], sample_rate_hz: int, policy: InputPolicy) -> NDArray[np.float32]:
    """Bring samples to the policy's bandwidth and loudness, and to 48 kHz.

    Parameters
    ----------
    samples : ndarray of shape (n,)
    sample_rate_hz : int
    policy : InputPolicy

    Returns
    -------
    ndarray of shape (m,)
        At 48 kHz. Not limited in peak: float samples need no headroom. Silence stays silent.
    """
    narrow = _low_pass(_resample(samples, sample_rate_hz, policy.sample_rate_hz), policy)
    return _resample(narrow * _gain(narrow, policy), policy.sample_rate_hz, MODEL_SAMPLE_RATE_HZ)


def window_starts(n_samples: int) -> list[int]:
    """Give the first sample of each window over `n_samples` samples at 48 kHz."""
    last = max(n_samples - WINDOW_SAMPLES, 0)
    return [*range(0, last, WINDOW_SAMPLES), last]


def cut_window(samples: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    """Cut one window of exactly `WINDOW_SAMPLES`; a clip shorter than that is repeated from its beginning."""
    window = samples[start : start + WINDOW_SAMPLES]
    return window if window.size == WINDOW_SAMPLES else np.resize(samples, WINDOW_SAMPLES)


def window_times(n_samples: int) -> list[tuple[float, float]]:
    """Give start and end of each window in seconds, within the clip."""
    return [
        (start / MODEL_SAMPLE_RATE_HZ, min(start + WINDOW_SAMPLES, n_samples) / MODEL_SAMPLE_RATE_HZ)
        for start in window_starts(n_samples)
    ]


def split_windows(samples_48k: NDArray[np.float32]) -> tuple[list[tuple[float, float]], NDArray[np.float32]]:
    """Cut a conditioned clip into its windows.

    Parameters
    ----------
    samples_48k : ndarray of shape (n,), n >= 1

    Returns
    -------
    times : list of (start_s, end_s)
    windows : ndarray of shape (n_windows, WINDOW_SAMPLES)
    """
    windows = [cut_window(samples_48k, start) for start in window_starts(samples_48k.size)]
    return window_times(samples_48k.size), np.stack(windows)


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


def _check_size(n_bytes: int, name: str, limits: AudioLimits) -> None:
    if not n_bytes:
        raise AudioError(f"{name} is empty (0 bytes). Export or download it again.")
    if n_bytes > limits.max_bytes:
        given, allowed = n_bytes / _MEGABYTE, limits.max_bytes / _MEGABYTE
        raise AudioError(
            f"{name} has {given:.1f} MB; the limit is {allowed:g} MB. Cut it or save it as FLAC."
        )


def _check_samples(decoded: Decoded, name: str, limits: AudioLimits) -> None:
    duration_s = decoded.samples.size / decoded.sample_rate_hz
    if not decoded.samples.size:
        raise AudioError(f"{name} has no samples. Export it again.")
    if duration_s < limits.min_duration_s:
        raise AudioError(
            f"{name} is {duration_s:.2f} s long; at least {limits.min_duration_s:g} s are needed. "
            "Give a longer clip."
        )
    if duration_s > limits.max_duration_s:
        raise too_long(name, limits.max_duration_s, duration_s)
    if not (np.isfinite(decoded.samples).all() and np.isfinite(decoded.peaks).all()):
        raise AudioError(f"{name} has samples that are not numbers (NaN or infinite). Export it again.")


def _from_array(array: ArrayLike, sample_rate_hz: int, name: str) -> tuple[Decoded, str]:
    values = np.asarray(array)
    if values.dtype.kind not in "fiu":
        raise AudioError(
            f"{name} has samples of type {values.dtype}; give floats with full scale at 1.0, or integers."
        )
    if values.ndim not in (1, 2) or (values.ndim == 2 and 0 < values.shape[0] < values.shape[1]):
        raise AudioError(
            f"{name} has the shape {values.shape}; "
            "give (samples,) or (samples, channels), not (channels, samples)."
        )
    if sample_rate_hz != int(sample_rate_hz):
        raise AudioError(f"{name} has a sample rate of {sample_rate_hz} Hz; give a whole number.")
    frames = _to_float(values[:, np.newaxis] if values.ndim == 1 else values)
    check_layout(int(sample_rate_hz), frames.shape[1], name)
    mono = frames.mean(axis=1, dtype=np.float64).astype(np.float32)
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return Decoded(mono, np.abs(frames).max(axis=1), int(sample_rate_hz), frames.shape[1]), digest


def _to_float(values: NDArray[np.generic]) -> NDArray[np.float32]:
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):  # becomes infinite, which is refused with the other infinities
            return values.astype(np.float32)
    full_scale = 2.0 ** (8 * values.dtype.itemsize - 1)
    offset = full_scale if values.dtype.kind == "u" else 0.0
    return ((values.astype(np.float64) - offset) / full_scale).astype(np.float32)


def _resample(samples: NDArray[np.float32], from_hz: int, to_hz: int) -> NDArray[np.float32]:
    if from_hz == to_hz:
        return samples
    resampled: NDArray[np.float32] = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return resampled


def _low_pass(samples: NDArray[np.float32], policy: InputPolicy) -> NDArray[np.float32]:
    """Cut samples at the policy's rate off at its bandwidth; linear phase, 100 dB down 250 Hz above it."""
    if policy.bandwidth_hz >= policy.sample_rate_hz / 2:
        return samples
    taps = signal.firwin(
        _LOW_PASS_TAPS, policy.bandwidth_hz, window=("kaiser", 10.0), fs=policy.sample_rate_hz
    )
    filtered: NDArray[np.float32] = signal.oaconvolve(samples, taps, mode="same").astype(np.float32)
    return filtered


def _gain(samples: NDArray[np.float32], policy: InputPolicy) -> np.float32:
    """Factor that brings samples at the policy's rate to its loudness; 1 for silence.

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
