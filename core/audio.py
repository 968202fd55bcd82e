"""A clip on its way to the towers: read, brought to a checkpoint's input policy, cut into windows.

Conventions
-----------
Samples are float32 with full scale at 1.0; mono is the mean of the channels. The towers hear 48 kHz and
windows of exactly 480,000 samples (10 s). Windows lie on a fixed grid that covers the sound: 0, 10, 20 s and
so on, the last one moved back to end with it; a shorter sound is repeated to fill its one window. Nothing
here draws a random number: the same clip always gives the same windows.

*Conditioning.* Every clip is brought to the bandwidth and loudness of the clips that the checkpoint was
trained on, so that a full-band or a quieter copy is heard as the same clip. A constant offset goes first, and
so does what stands before the first sound and behind the last: a copy with a silent beginning, as encoders
make one, is the same music. Loudness is integrated loudness by ITU-R BS.1770-4, measured at the reduced rate.

*Silence.* Whether there is anything to judge is asked of what a judge gets, and not of the file: channels may
cancel, and a tone may lie above the band. `hear` refuses such a clip.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import soxr
from numpy.typing import ArrayLike, NDArray

from core import filters
from core.decoding import LENGTH_TOLERANCE_S, check_layout, decode, level_of, too_long
from core.errors import AudioError, SilenceError, shown_beyond, shown_name
from core.levels import peak_of

MODEL_SAMPLE_RATE_HZ = 48_000
WINDOW_SAMPLES = 480_000
WINDOW_S = WINDOW_SAMPLES / MODEL_SAMPLE_RATE_HZ
SILENCE_PEAK = filters.SILENCE_PEAK
NEAR_SILENCE = 0.001  # of a clip's peak: 60 dB down, so that a quieter copy is silent in the same places
FROM_THE_START, FROM_THE_FIRST_SOUND = "from the start", "from the first sound"

_GRID = "every 10 s from the {}, the last window aligned to the end"
_WINDOW_POLICIES: Mapping[str, Mapping[str, Any]] = {
    FROM_THE_START: {
        "window_s": WINDOW_S,
        "grid": _GRID.format("start"),
        "short_clips": "repeated to fill one window",
        "pooling": "mean of the windows",
    },
    FROM_THE_FIRST_SOUND: {
        "window_s": WINDOW_S,
        "grid": _GRID.format("first sound") + " of the last sound",
        "short_clips": "repeated to fill one window",
        "pooling": "mean of the windows, each weighing what no window before it has heard",
    },
}
_MEGABYTE = 1_000_000
_MOST_PEAK = 2.0**32  # of floats that hold integers of 32 bits; beyond are no samples, and powers overflow
_LOW_PASS_TAPS = 257  # at 16 kHz: a transition of about 400 Hz around the bandwidth
_LOWEST_HZ = 20.0  # nothing below is heard, by people or by the towers
_LEAST_SHARE = 0.01  # of a clip's level: what is left 40 dB down is what a codec or a filter left over
_SOUND_BLOCK_S, _CLICK_BLOCKS = 0.05, 3  # a click, or where a constant begins and ends, is no clip
_CLICK_SHARE = 0.9995  # of the energy: ten seconds of music beside it are judged unless they are 50 dB weaker
_STILL_SAMPLES = 128  # at an offset; fewer may be the top of a wave
_STEEP = 0.01  # share of the energy in the steps between samples
_LOOKED_AT = 8_192  # samples at once
_PASS_S = 0.08  # the towers' patches are 40 ms wide, and merged in pairs

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
        Ten minutes: about a minute of work for the small tower on two cores. What encoders add to that
        (`core.decoding.LENGTH_TOLERANCE_S`) is allowed.
    max_bytes : int
        100 MB: ten minutes of stereo WAV at 44.1 kHz and 16 bits are 106 MB, as FLAC about half.
    """

    min_duration_s: float = 0.5
    max_duration_s: float = 600.0
    max_bytes: int = 100 * _MEGABYTE


@dataclass(frozen=True)
class InputPolicy:
    """What a checkpoint's training clips were like; scoring brings every clip there first."""

    sample_rate_hz: int = 16_000  # as MusicEval's clips, so clips go down to this rate and back up to 48 kHz
    # What is heard of that. Every resampler leaves another edge in the last tenth below half the rate, and
    # a logarithmic spectrum makes much of it; without that tenth all copies of a clip are alike.
    bandwidth_hz: float = 7_000.0
    loudness_lufs: float = -23.0  # integrated, the level of EBU R 128
    # Without a constant offset and the silence at both ends, the last window weighing as much as it adds; or
    # `FROM_THE_START`, as checkpoints of before have it: the clip as it is, all windows weighing alike.
    windows: str = FROM_THE_FIRST_SOUND
    # How often each window is heard, each time a little later. A tower cuts its spectrogram into patches;
    # where the patches lie moves a score, and the mean of two places less than half as far.
    passes: int = 1

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return a policy that a checkpoint stores; KeyError for windows that this version does not know."""
        policy = cls(**{"windows": FROM_THE_START, **stored})
        _ = _WINDOW_POLICIES[policy.windows]
        return policy

    @property
    def window_policy(self) -> dict[str, Any]:
        """How clips are cut into windows, in words."""
        return dict(_WINDOW_POLICIES[self.windows])

    @property
    def skips_silence(self) -> bool:
        """Whether windows begin with the first sound, and weigh what they add."""
        return self.windows == FROM_THE_FIRST_SOUND


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
        Of the file's bytes, or of the array with its type, shape and rate.
    peaks : ndarray of shape (n,)
        Magnitude of the loudest channel at each sample: clipping in one channel stays visible.
    level : float
        Root mean square of the loudest channel, without its constant part.
    missing_s : float or None
        Audio that the file promises but that is not there (a broken download); None where the file breaks
        off and nothing tells how long it was.
    unread_bytes : int
        What stands behind the sound in the file and is neither sound nor known.
    offset, true_peak
        As `core.decoding.Decoded` has them.
    """

    samples: Samples = field(repr=False)
    sample_rate_hz: int
    channels: int
    sha256: str
    peaks: Samples = field(repr=False)
    level: float
    missing_s: float | None = 0.0
    unread_bytes: int = 0
    offset: float = 0.0
    true_peak: float | None = None

    @property
    def duration_s(self) -> float:
        """Length of the clip."""
        return self.samples.size / self.sample_rate_hz

    @property
    def incomplete(self) -> str:
        """What of the file was not read, in words; empty where it was read whole."""
        read = f"{self.duration_s:.1f} s"
        if self.missing_s == 0.0 and self.unread_bytes:
            return f"goes on after {read} with {self.unread_bytes:,} bytes that could not be read as sound"
        if self.missing_s == 0.0:
            return ""
        if self.missing_s is None:
            return f"breaks off after {read}; how long it was, it does not tell"
        return f"breaks off: {read} of {self.duration_s + self.missing_s:.1f} s are there"


@dataclass(frozen=True)
class Heard:
    """A clip as a judge takes it in."""

    samples: Samples = field(repr=False)  # (n,), at the policy's rate, bandwidth and loudness
    gain_db: float  # what was added to bring it there; 0 for silence
    start_s: float  # the first sample's place in the clip
    policy: InputPolicy

    def at_48k(self) -> Samples:
        """Return the samples as the towers take them."""
        return _resample(self.samples, self.policy.sample_rate_hz, MODEL_SAMPLE_RATE_HZ)

    def window_times(self, duration_s: float = math.inf) -> list[tuple[float, float]]:
        """Return start and end of each window, in seconds of a clip of that length; nothing is resampled."""
        n_samples = self.samples.size * MODEL_SAMPLE_RATE_HZ / self.policy.sample_rate_hz
        n_samples = math.floor(n_samples + 0.5)  # as soxr rounds
        starts = [start / MODEL_SAMPLE_RATE_HZ for start in window_starts(n_samples)]
        end_s = min(self.start_s + n_samples / MODEL_SAMPLE_RATE_HZ, duration_s)
        return [(self.start_s + start, min(self.start_s + start + WINDOW_S, end_s)) for start in starts]


def read_clip(source: ClipSource, limits: AudioLimits | None = None, true_peak: bool = False) -> Clip:
    """Read a clip from wherever it is.

    Parameters
    ----------
    source : str, Path, bytes or (array, rate)
        A file, a file's content, or samples with their rate in Hz. An array has shape (n,) or (n, channels),
        not (channels, n); floats have full scale at 1.0, integers are scaled by the range of their type.
    limits : AudioLimits, optional
    true_peak : bool
        Whether that is measured; it takes as long as reading.

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
        clip = _from_array(*source, name, true_peak)
    elif isinstance(source, str | Path | bytes):
        name, data = (name, source) if isinstance(source, bytes) else _read_file(Path(source), limits)
        _check_size(len(data), name, limits)
        sound = decode(data, name, limits.max_duration_s, true_peak)
        sha256 = hashlib.sha256(data).hexdigest()
        about = sound.level, sound.missing_s, sound.unread_bytes, sound.offset, sound.true_peak
        clip = Clip(sound.samples, sound.sample_rate_hz, sound.channels, sha256, sound.peaks, *about)
    else:
        raise AudioError("No clip was given. Choose an audio file to score.")
    _check_samples(clip, name, limits)
    return clip


def check_whole(incomplete: str, name: str) -> None:
    """Raise AudioError where a clip that is rated, or learned from, was not read whole (`Clip.incomplete`)."""
    if incomplete:
        raise AudioError(f"{name} {incomplete}. Export or download it again.")


def hear(clip: Clip, policy: InputPolicy, name: str = "The clip") -> Heard:
    """Bring a clip to what a judge hears; SilenceError where that is nothing."""
    heard, audible = _hear(clip.samples, clip.sample_rate_hz, policy)
    if why := _why_silent(clip, audible, policy):
        raise SilenceError(f"{name} is silent for the judge, so it gets no score: {why}.")
    return heard


def condition(samples: Samples, sample_rate_hz: int, policy: InputPolicy) -> Samples:
    """Bring samples, (n,), to the policy's bandwidth and loudness, and to 48 kHz.

    They are not limited in peak: float samples need no headroom. Silence stays silent.
    """
    return _hear(samples, sample_rate_hz, policy)[0].at_48k()


def window_starts(n_samples: int, passes: int = 1) -> list[int]:
    """Return the first sample of each window over `n_samples` samples at 48 kHz, each with its later passes."""
    last = max(n_samples - WINDOW_SAMPLES, 0)
    starts = []
    for start in [*range(0, last, WINDOW_SAMPLES), last]:
        for number in range(passes):
            later = round(number * _PASS_S / passes * MODEL_SAMPLE_RATE_HZ)
            is_inside = start + later <= last or not last
            starts.append(start + later if is_inside else max(start - later, 0))
    return starts


def window_weights(n_samples: int, policy: InputPolicy) -> list[float]:
    """Return how much each window over `n_samples` samples at 48 kHz counts; together 1.

    The last window overlaps the one before it. Counted in full, the end of a clip would count twice, and a
    clip of 20.1 s would be half made of its last ten seconds.
    """
    starts, passes = window_starts(n_samples), policy.passes
    if not policy.skips_silence:
        return [1.0 / len(starts) / passes] * len(starts) * passes
    ends = [0, *(min(start + WINDOW_SAMPLES, n_samples) for start in starts)]
    return [(end - before) / n_samples / passes for before, end in pairwise(ends) for _ in range(passes)]


def cut_window(samples_48k: Samples, start: int) -> Samples:
    """Return one window of exactly `WINDOW_SAMPLES`; a shorter clip is repeated."""
    window = samples_48k[start : start + WINDOW_SAMPLES]
    return window if window.size == WINDOW_SAMPLES else np.resize(samples_48k, start + WINDOW_SAMPLES)[start:]


def split_windows(samples_48k: Samples, passes: int = 1) -> Samples:
    """Cut a conditioned clip, (n,), into its windows, (n_windows, WINDOW_SAMPLES)."""
    return np.stack([cut_window(samples_48k, start) for start in window_starts(samples_48k.size, passes)])


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


def _from_array(array: ArrayLike, sample_rate_hz: int, name: str, true_peak: bool) -> Clip:
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
    check_layout(int(sample_rate_hz), frames.shape[1], name)
    mono = frames.mean(axis=1, dtype=np.float64).astype(np.float32)
    about = f"{values.dtype.str} {values.shape} {int(sample_rate_hz)} ".encode()  # the same bytes may be other music
    digest = hashlib.sha256(about + np.ascontiguousarray(values).tobytes()).hexdigest()
    offset = float(np.abs(frames.sum(axis=0, dtype=np.float64)).max()) / max(len(frames), 1)
    measured = level_of(frames), 0.0, 0, offset, peak_of(frames) if true_peak else None
    return Clip(mono, int(sample_rate_hz), frames.shape[1], digest, np.abs(frames).max(axis=1, initial=0.0), *measured)


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
        allowed = limits.max_bytes / _MEGABYTE
        given = shown_beyond(n_bytes / _MEGABYTE, allowed, 1)
        raise AudioError(f"{name} has {given} MB; the limit is {allowed:g} MB. Cut it or save it as FLAC.")


def _check_samples(clip: Clip, name: str, limits: AudioLimits) -> None:
    if not clip.samples.size:
        raise AudioError(f"{name} has no samples. Export it again.")
    if clip.duration_s < limits.min_duration_s:
        raise AudioError(
            f"{name} is {shown_beyond(clip.duration_s, limits.min_duration_s, 2)} s long; "
            f"at least {limits.min_duration_s:g} s are needed. Give a longer clip."
        )
    if clip.duration_s > limits.max_duration_s + LENGTH_TOLERANCE_S:
        raise too_long(name, limits.max_duration_s, clip.duration_s)
    if not (np.isfinite(clip.samples).all() and np.isfinite(clip.peaks).all()):
        raise AudioError(f"{name} has samples that are not numbers (NaN or infinite). Export it again.")
    if (peak := float(clip.peaks.max())) > _MOST_PEAK:
        raise AudioError(f"{name} has samples of up to {peak:.0e}, where full scale is 1. Export it again.")


def _resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    if from_hz == to_hz:
        return samples
    resampled: Samples = soxr.resample(samples, from_hz, to_hz, quality="HQ")
    return resampled


def _hear(samples: Samples, sample_rate_hz: int, policy: InputPolicy) -> tuple[Heard, Samples]:
    """Return what a judge hears of samples, and what of that can be heard, before the gain."""
    start, end = _sounding(samples) if policy.skips_silence else (0, samples.size)
    sounding = samples[start:end]
    audible = _without_offset(sounding, sample_rate_hz, policy)
    narrow = audible if policy.skips_silence else _narrowed(sounding, sample_rate_hz, policy)
    gain = _gain(narrow, policy)
    return Heard(narrow * gain, 20.0 * math.log10(gain), start / sample_rate_hz, policy), audible


def _sounding(samples: Samples) -> tuple[int, int]:
    """Return where the first sound begins and the last ends; all of it where nothing is louder than the rest.

    Asked of the samples as they came: filters ring before a sound.
    """
    if not samples.size:
        return 0, 0
    mean = samples.mean(dtype=np.float64)
    least = NEAR_SILENCE * float(max(abs(samples.max() - mean), abs(samples.min() - mean)))
    start, from_end = _still(samples, least), _still(samples[::-1], least)
    return (start, samples.size - from_end) if start + from_end < samples.size else (0, samples.size)


def _still(samples: Samples, least: float) -> int:
    """Return how many samples stay where the first is: at zero, or for a while at an offset."""
    n_still = next(_moved(samples, least), 0) if least else 0
    return n_still if abs(samples[0]) < least or n_still >= _STILL_SAMPLES else 0


def _moved(samples: Samples, least: float) -> Iterator[int]:
    """Places at which samples are away from where they begin: the first of each block."""
    for start in range(0, samples.size, _LOOKED_AT):
        moved = np.abs(samples[start : start + _LOOKED_AT] - samples[0]) >= least
        if moved.any():
            yield start + int(moved.argmax())


def _narrowed(samples: Samples, sample_rate_hz: int, policy: InputPolicy) -> Samples:
    """Return samples at the policy's rate and bandwidth; linear phase, 100 dB down 250 Hz above it."""
    return _filtered(samples, sample_rate_hz, policy, _low_pass(policy))


def _without_offset(samples: Samples, sample_rate_hz: int, policy: InputPolicy) -> Samples:
    """Return samples at the policy's rate and bandwidth, without a constant offset and what lies below hearing.

    The offset goes first: where a resampler begins, it would be a click.
    """
    mean = samples.mean(dtype=np.float64) if samples.size else 0.0
    both = np.convolve(_low_pass(policy), filters.high_pass(policy.sample_rate_hz, _LOWEST_HZ))
    return _filtered((samples - mean).astype(np.float32), sample_rate_hz, policy, both)


def _low_pass(policy: InputPolicy) -> NDArray[np.float64]:
    if policy.bandwidth_hz >= policy.sample_rate_hz / 2:
        return np.ones(1)
    return filters.low_pass(policy.sample_rate_hz, policy.bandwidth_hz, _LOW_PASS_TAPS)


def _filtered(samples: Samples, sample_rate_hz: int, policy: InputPolicy, taps: NDArray[np.float64]) -> Samples:
    resampled = _resample(samples, sample_rate_hz, policy.sample_rate_hz)
    return filters.convolve(resampled, taps, _low_pass(policy).size // 2).astype(np.float32)


def _why_silent(clip: Clip, audible: Samples, policy: InputPolicy) -> str:
    """Say why a judge would hear nothing of a clip; empty where it hears something."""
    magnitude = np.abs(audible)
    peak = float(magnitude.max(initial=0.0))
    left = float(audible.std(dtype=np.float64)) if audible.size else 0.0
    least = clip.level * _LEAST_SHARE
    if clip.peaks.max(initial=0.0) < SILENCE_PEAK:
        return "it is silence from beginning to end"
    if clip.samples.std(dtype=np.float64) < least:
        return "its channels cancel each other out where they are mixed to mono"
    if left < least or _is_infrasound(audible, policy.sample_rate_hz):
        return (
            f"what it holds lies below {_LOWEST_HZ:g} Hz or above {policy.bandwidth_hz:g} Hz, "
            "and the judge hears what lies between"
        )
    if peak < SILENCE_PEAK:
        return "it holds a constant value, or a sound that is more than 60 dB below full scale"
    block = math.ceil(_SOUND_BLOCK_S * policy.sample_rate_hz)
    if not magnitude.size:
        return "nothing but a click of it can be heard"
    energy = np.sort(np.add.reduceat(magnitude.astype(np.float64) ** 2, range(0, magnitude.size, block)))[::-1]
    is_click = energy[:_CLICK_BLOCKS].sum() > _CLICK_SHARE * energy.sum()
    return "nothing but a click of it can be heard" if is_click else ""


def _is_infrasound(audible: Samples, sample_rate_hz: int) -> bool:
    """Whether next to nothing of it lies above the least frequency; the high pass alone is not that steep."""
    energy = float(np.dot(audible, audible))
    steps = np.diff(audible)
    if not energy or float(np.dot(steps, steps)) > _STEEP * energy:
        return False  # what lies below 20 Hz changes by less than a ten thousandth of that from sample to sample
    frequency_hz, power = filters.spectrum(audible, sample_rate_hz, min(sample_rate_hz, audible.size))
    return bool(power[frequency_hz >= _LOWEST_HZ].sum() < _LEAST_SHARE**2 * power.sum())


def _gain(samples: Samples, policy: InputPolicy) -> np.float32:
    """Return the factor that brings samples at the policy's rate to its loudness; 1 for silence."""
    loudness = filters.loudness_lufs(samples, policy.sample_rate_hz)
    return np.float32(1.0 if loudness is None else 10.0 ** ((policy.loudness_lufs - loudness) / 20.0))
