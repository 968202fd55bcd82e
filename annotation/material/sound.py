"""One form for every clip of a study, so that nothing but the music tells clips apart.

Mono, at the study's rate, an excerpt where the protocol asks for one, without a constant offset, faded at both
ends, at one integrated loudness (ITU-R BS.1770-4). A clip whose true peak would pass the limit gets less gain
instead of a limiter: it is quieter than the others, and not altered. Files are WAV, 16 bits, with the plain
header of 44 bytes: a compressed file's size would tell a clip from its neighbours.

So rate, channels, container and fades are the same by construction. By what a source brings along, hidden
anchors could still be told from the clips; `parity` compares the files as they stand on disk: length,
loudness (a clip with high peaks is quieter) and bandwidth (a recording at a low rate, or from a strong codec,
is duller).
"""

import dataclasses
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from sqlalchemy import select

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Clip as ClipRow
from annotation.schema import Study
from annotation.studies import clip_path
from core.audio import NEAR_SILENCE, AudioLimits, Clip, ClipSource, check_whole, read_clip
from core.errors import AudioError, shown_beyond
from core.files import first_of
from core.filters import BLOCK_S, SILENCE_PEAK, loudness_lufs, spectrum
from core.levels import true_peak_dbtp
from core.warnings import is_clipped

MIN_DURATION_S = 0.5
_BAND_FLOOR_DB = 70.0  # a band this far below the strongest is empty, as above the cut of a codec
_SPECTRUM_SAMPLES = 1024
_HOP_S = 0.1
LENGTH_TOLERANCE_S = 0.1
LOUDNESS_TOLERANCE_LU = 0.5
BANDWIDTH_TOLERANCE = 0.1  # of the whole band, which is half the rate
_MOST_SPECTRA = 200  # clips whose bandwidth is measured; evenly spread over a larger study
_MOST_SILENT_SHARE = 0.5
_MOST_GAIN_DB = 20.0  # more brings a room's or a codec's noise to where it is heard
_CANCELLED = 10 ** (-10 / 20)  # two channels that have nothing in common lose 3 dB when they are mixed
FINDINGS = {
    "lowered": "Quieter than the rest, because more gain would pass the peak limit",
    "silent": "Silent",
    "half_silent": "Silent for more than half of what raters hear",
    "louder": "Much louder than they came, and their noise with them",
    "clipped": "Clipped",
    "inverted": "One channel is inverted in phase: mixed to mono they cancel each other",
}

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Normalised:
    """A clip in the study's form."""

    samples: Samples = field(repr=False)  # mono, full scale at 1.0
    sample_rate_hz: int
    loudness_lufs: float | None  # integrated, as it is now; None for silence
    gain_db: float  # what was added; 0 for silence
    gain_lowered: bool  # the peak allowed less gain than the loudness asked for
    silent_share: float = 0.0  # of its length: 60 dB below its peak
    of_source: tuple[str, ...] = ()  # findings that only the source shows

    @property
    def findings(self) -> tuple[str, ...]:
        """What whoever runs the study should hear before raters do, as keys of `FINDINGS`."""
        holds = {
            "lowered": self.gain_lowered,
            "silent": self.loudness_lufs is None,
            "half_silent": self.loudness_lufs is not None and self.silent_share > _MOST_SILENT_SHARE,
            "louder": self.gain_db > _MOST_GAIN_DB,
        }
        return tuple(code for code in FINDINGS if holds.get(code) or code in self.of_source)

    @property
    def duration_s(self) -> float:
        """Length of the clip."""
        return self.samples.size / self.sample_rate_hz


def read_normalised(
    source: ClipSource, protocol: Protocol, longest_s: float, limits: AudioLimits | None = None, name: str = "The clip"
) -> Normalised:
    """Read a clip whole and bring it to the form of a study; AudioError as `read_clip` and `normalise`."""
    clip = read_clip(source, limits)
    check_whole(clip.incomplete, name)
    heard = float(np.sqrt(np.mean(np.square(clip.samples - clip.samples.mean(), dtype=np.float64))))
    holds = {"clipped": is_clipped(clip), "inverted": clip.channels > 1 and heard < _CANCELLED * clip.level}
    found = tuple(code for code, held in holds.items() if held)
    return dataclasses.replace(normalise(clip, protocol, longest_s), of_source=found)


def normalise(clip: Clip, protocol: Protocol, longest_s: float = math.inf) -> Normalised:
    """Bring a clip to the form that the protocol asks for.

    A clip longer than `longest_s` is cut to its loudest stretch of that length: no pause, no fade and no last
    applause, which would give a human-made recording away. Raises `AudioError` if less than `MIN_DURATION_S`
    is left.
    """
    excerpt = _excerpt(clip, protocol)
    if excerpt.size < MIN_DURATION_S * clip.sample_rate_hz:
        raise AudioError(
            f"From {protocol.excerpt_start_s:g} s on, "
            f"{shown_beyond(excerpt.size / clip.sample_rate_hz, MIN_DURATION_S, 2)} s are left; "
            f"at least {MIN_DURATION_S:g} s are needed. Give a longer clip."
        )
    if excerpt.size > longest_s * clip.sample_rate_hz:
        excerpt = _loudest_stretch(excerpt, clip.sample_rate_hz, longest_s)
    offset = excerpt.mean(dtype=np.float64)
    if abs(offset) >= SILENCE_PEAK:  # it is no sound, and would count as one in peak and loudness
        excerpt = (excerpt - offset).astype(np.float32)
    rate_hz = protocol.sample_rate_hz
    resampled = soxr.resample(excerpt, clip.sample_rate_hz, rate_hz, quality="VHQ")
    samples = _faded(resampled, round(protocol.fade_ms / 1000 * rate_hz))
    measured_lufs = loudness_lufs(samples, rate_hz)
    if measured_lufs is None:
        return Normalised(samples, rate_hz, None, 0.0, False, 1.0)
    wanted_db = protocol.loudness_lufs - measured_lufs
    allowed_db = protocol.peak_dbtp - true_peak_dbtp(samples)
    gain_db = min(wanted_db, allowed_db)
    return Normalised(
        samples * np.float32(10.0 ** (gain_db / 20.0)),
        rate_hz,
        measured_lufs + gain_db,
        gain_db,
        allowed_db < wanted_db,
        _silent_share(samples, rate_hz),
    )


def _silent_share(samples: Samples, sample_rate_hz: int) -> float:
    """Return the share of blocks of the meter in which nothing comes within 60 dB of the peak."""
    blocks = range(0, samples.size, math.ceil(BLOCK_S * sample_rate_hz))
    peaks = np.maximum.reduceat(np.abs(samples), blocks)
    return float(np.mean(peaks < NEAR_SILENCE * peaks.max()))


def bandwidth_hz(samples: Samples, sample_rate_hz: int) -> float:
    """Return the highest frequency that a clip fills: where its mean spectrum is last above the floor."""
    frequency_hz, power = spectrum(samples, sample_rate_hz, min(_SPECTRUM_SAMPLES, samples.size))
    filled = power > power.max() * 10.0 ** (-_BAND_FLOOR_DB / 10.0)
    return float(frequency_hz[filled].max(initial=0.0))


def to_wav(samples: Samples, sample_rate_hz: int) -> bytes:
    """Return a WAV file of 16 bits, mono: 44 bytes, then the samples."""
    steps = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, steps, sample_rate_hz, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _excerpt(clip: Clip, protocol: Protocol) -> Samples:
    start = round(protocol.excerpt_start_s * clip.sample_rate_hz)
    length = round(protocol.excerpt_length_s * clip.sample_rate_hz)
    return clip.samples[start : start + length] if length else clip.samples[start:]


def _loudest_stretch(samples: Samples, sample_rate_hz: int, length_s: float) -> Samples:
    length, hop = round(length_s * sample_rate_hz), round(_HOP_S * sample_rate_hz)
    energy = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    starts = np.arange(0, samples.size - length + 1, hop)
    start = int(starts[np.argmax(energy[starts + length] - energy[starts])])
    return samples[start : start + length]


def _faded(samples: Samples, fade_samples: int) -> Samples:
    """Both ends, along half a cosine; never more than half the clip."""
    length = min(fade_samples, samples.size // 2)
    slope = (0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / max(length, 1))).astype(np.float32)
    faded = samples.copy()
    faded[:length] *= slope
    faded[faded.size - length :] *= slope[::-1]
    return faded


def parity(database: Database, data: Path, study: Study) -> list[str]:
    """Return where anchors differ from the clips, a sentence each; empty where nothing is to compare."""
    of_study = select(ClipRow).where(ClipRow.study_id == study.id, ClipRow.retired_at.is_(None)).order_by(ClipRow.id)
    with database.read() as session:
        clips = session.scalars(of_study.where(ClipRow.kind == "stimulus")).all()
        anchors = session.scalars(of_study.where(ClipRow.kind == "anchor")).all()
    if not clips or not anchors:
        return []
    dull = BANDWIDTH_TOLERANCE * study.protocol.sample_rate_hz / 2000
    spectra = clips[:: math.ceil(len(clips) / _MOST_SPECTRA)]
    return [
        *_apart("length", "s", anchors, clips, lambda clip: clip.duration_s, LENGTH_TOLERANCE_S, 1.0),
        *_apart("loudness", "LUFS", anchors, clips, lambda clip: clip.loudness_lufs, LOUDNESS_TOLERANCE_LU),
        *_apart("bandwidth", "kHz", anchors, spectra, lambda clip: _bandwidth_khz(data, study, clip), dull),
    ]


def _apart(
    what: str,
    unit: str,
    anchors: Sequence[ClipRow],
    clips: Sequence[ClipRow],
    measure: Callable[[ClipRow], float | None],
    tolerance: float,
    middle: float = 0.9,
) -> list[str]:
    """Name the anchors outside the range of the middle share of the clips, if there are any.

    An anchor like the one dull clip in twenty is easier to know than one like all the rest. Lengths are drawn
    from all clips, so there the middle is all of them.
    """
    known = [value for clip in clips if (value := measure(clip)) is not None]
    if not known:
        return []
    low, high = np.quantile(known, ((1 - middle) / 2, (1 + middle) / 2))
    outside = [
        f"{Path(anchor.source_file).name} ({value:.1f} {unit})"
        for anchor in anchors
        if (value := measure(anchor)) is not None and not low - tolerance <= value <= high + tolerance
    ]
    if not outside:
        return []
    clips_have = f"{low:.1f} {unit}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f} {unit}"
    return [
        f"{len(outside)} of {len(anchors)} anchors may be known by their {what}: {first_of(outside)}. "
        f"{'The' if middle == 1 else 'Most'} clips have {clips_have}."
    ]


def _bandwidth_khz(data: Path, study: Study, clip: ClipRow) -> float | None:
    """Measure the normalised file; None for silence."""
    if clip.loudness_lufs is None:
        return None
    samples, sample_rate_hz = soundfile.read(clip_path(data, study, clip.name), dtype="float32")
    return bandwidth_hz(samples, sample_rate_hz) / 1000
