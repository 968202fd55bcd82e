"""A clip from its file to what a tower takes in: read, checked, brought to an input policy.

That is done here, or in a process of its own (`core.readers`), which nothing outlives that a file may do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.audio import AudioLimits, Clip, ClipSource, InputPolicy, Samples, cut_window, hear, read_clip, window_starts
from core.errors import AudioError, ReadingError
from core.readers import Laid, Readers
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
    """A clip as a tower takes it in, and what is to be said of it."""

    facts: ClipFacts
    incomplete: str  # as `core.audio.Clip.incomplete`
    faults: tuple[ScoreWarning, ...]
    times: tuple[tuple[float, float], ...]  # start and end of its windows, in seconds
    outline: Samples = field(repr=False)  # (n,), the clip's peaks, as it was given, in at most 400 stretches
    samples: Samples = field(repr=False)  # (n_samples,), at 48 kHz; none where its windows lie in shared memory
    n_samples: int

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
    samples = heard.at_48k()
    return Prepared(
        ClipFacts(clip.sha256, clip.duration_s, clip.sample_rate_hz, clip.channels),
        clip.incomplete,
        tuple(find_faults(clip, heard)),
        tuple(heard.window_times(clip.duration_s)),
        outline(clip.samples),
        samples,
        samples.size,
    )


def prepare_windows(
    source: Clip | ClipSource, policy: InputPolicy, limits: AudioLimits | None = None, name: str = "The clip"
) -> Laid:
    """Prepare a clip, in a reader, whose windows go to shared memory."""
    clip = prepare(source, policy, limits, name)
    return Laid(replace(clip, samples=clip.samples[:0].copy()), Windows(clip.samples, policy))


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


class Windows(Sequence[Samples]):
    """The windows of samples, each cut when it is asked for."""

    def __init__(self, samples: Samples, policy: InputPolicy) -> None:
        self._samples, self._starts = samples, window_starts(samples.size, policy.passes)

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Samples:  # type: ignore[override]  # no slices are taken
        return cut_window(self._samples, self._starts[number])


def outline(samples: Samples) -> Samples:
    """Return the peaks of samples, (n,), in at most 400 stretches of equal length."""
    edges = np.linspace(0, samples.size, min(_OUTLINE_BINS, samples.size) + 1).astype(int)[:-1]
    peaks: Samples = np.maximum.reduceat(np.abs(samples), edges)
    return peaks
