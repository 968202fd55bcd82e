"""A clip from its file to what a tower takes in: read, checked, brought to an input policy.

That is done here, or in a process of its own (`core.readers`), which nothing outlives that a file may do.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from core.audio import AudioLimits, Clip, ClipSource, InputPolicy, Samples, hear, read_clip
from core.errors import AudioError, ReadingError, shown_name
from core.readers import Readers
from core.warnings import ScoreWarning, find_faults

_OUTLINE_BINS = 400


@dataclass(frozen=True)
class ClipFacts:
    """Which clip it is, as it was given."""

    sha256: str
    duration_s: float
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True)
class Prepared:
    """A clip as a tower takes it in, and what is to be said of it.

    Attributes
    ----------
    facts : ClipFacts
    incomplete : str
        As `core.audio.Clip.incomplete`.
    faults : tuple of ScoreWarning
    times : tuple of (start, end)
        Of its windows, in seconds.
    outline : ndarray of shape (n,)
        The clip's peaks, as it was given, in at most 400 stretches.
    samples : ndarray of shape (n,)
        At 48 kHz.
    """

    facts: ClipFacts
    incomplete: str
    faults: tuple[ScoreWarning, ...]
    times: tuple[tuple[float, float], ...]
    outline: Samples = field(repr=False)
    samples: Samples = field(repr=False)

    @property
    def kept_as(self) -> str:
        """What its embeddings go by; where it was not read whole, by a name that training does not ask for."""
        return f"{self.facts.sha256} incomplete" if self.incomplete else self.facts.sha256


def prepare(
    source: Clip | ClipSource, policy: InputPolicy, limits: AudioLimits | None = None, name: str = "The clip"
) -> Prepared:
    """Read a clip and bring it to an input policy; AudioError as `core.audio.read_clip` and `core.audio.hear`."""
    clip = source if isinstance(source, Clip) else read_clip(source, limits)
    heard = hear(clip, policy, name)
    return Prepared(
        ClipFacts(clip.sha256, clip.duration_s, clip.sample_rate_hz, clip.channels),
        clip.incomplete,
        tuple(find_faults(clip, heard)),
        tuple(heard.window_times(clip.duration_s)),
        outline(clip.samples),
        heard.at_48k(),
    )


def prepare_whole(path: Path, policy: InputPolicy, limits: AudioLimits, readers: Readers | None) -> Prepared:
    """Prepare a clip of training data in a reader; AudioError, with its name, also where it was not read whole."""
    name = shown_name(path.name)
    clip = prepare_in(readers, path, policy, limits, name)
    if clip.incomplete:
        raise AudioError(f"{name} {clip.incomplete}. Export or download it again.")
    return clip


def prepare_in(
    readers: Readers | None, source: Clip | ClipSource, policy: InputPolicy, limits: AudioLimits, name: str = "The clip"
) -> Prepared:
    """Prepare a clip in a reader, or here where there are none; AudioError too where that had to be given up."""
    if readers is None:
        return prepare(source, policy, limits, name)
    try:
        return readers.call(prepare, source, policy, limits, name, name=name)
    except ReadingError as error:
        raise AudioError(str(error)) from error


def outline(samples: Samples) -> Samples:
    """Return the peaks of samples, (n,), in at most 400 stretches of equal length."""
    edges = np.linspace(0, samples.size, min(_OUTLINE_BINS, samples.size) + 1).astype(int)[:-1]
    peaks: Samples = np.maximum.reduceat(np.abs(samples), edges)
    return peaks
