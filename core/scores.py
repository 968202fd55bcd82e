"""What a judge says of a clip: its values, how sure they are, their course, and what they depend on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from core.audio import InputPolicy, Samples
from core.prepared import ClipFacts
from core.scales import Scales
from core.warnings import ScoreWarning


@dataclass(frozen=True)
class ErrorEstimate:
    """How far a checkpoint's scores were from the panel's on clips it was not trained on."""

    level: float  # share of these clips whose error was at most `absolute_error`, between 0 and 1
    absolute_error: Mapping[str, float]  # by scale that they were rated on; empty where they were too few to say
    error_per_spread: Mapping[str, float]  # the same as a multiple of `Heads.spread`; empty where heads have none
    n_clips: int
    n_systems: int
    data: str  # what the clips and ratings were, in words
    which: str  # which clips these were, in words: what of them the model was not trained on
    no_range: str  # why `absolute_error` is empty


@dataclass(frozen=True)
class WindowScore:
    """The values of one window of a clip by scale, clamped to 1 to 5; None as for its clip."""

    start_s: float
    end_s: float
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Intervals:
    """Where the panel's mean lies for a share of clips like those held out.

    Attributes
    ----------
    level : float
        That share, between 0 and 1.
    source : str
        Where the intervals come from, in words.
    bounds : mapping of scale to (low, high)
        A scale of which no error is known has none.
    """

    level: float
    source: str
    bounds: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class CheckpointFacts:
    """Which checkpoint scored."""

    id: str
    sha256: str
    demo: bool
    caveat: str


@dataclass(frozen=True)
class Provenance:
    """Everything that a score depends on; the prompt is cut to `MAX_KEPT_PROMPT_CHARACTERS`."""

    checkpoint: CheckpointFacts
    audio: ClipFacts
    prompt: str
    prompt_characters: int
    window_policy: Mapping[str, Any]
    input_policy: InputPolicy
    held_out: ErrorEstimate | None
    versions: Mapping[str, str]


@dataclass(frozen=True)
class PreferenceRank:
    """Where a clip stands among reference clips, by what people prefer to hear (`core.preference`)."""

    value: float  # what the clip is ranked by; by itself it means nothing
    higher_than_percent: float | None  # of the reference clips; None where there is nothing to compare with
    n_references: int
    reason: str  # why there is no rank

    def __str__(self) -> str:
        if self.higher_than_percent is None:
            return "–"
        return f"higher than {int(self.higher_than_percent)} % of {self.n_references:,} reference clips"


@dataclass(frozen=True)
class Score:
    """What the judge says of a clip.

    Attributes
    ----------
    scales : tuple of Scale
    values : mapping of scale to float or None
        From 1 to 5, not rounded; ``score["musical_impression"]`` is the same. None where it would mean nothing.
    missing : mapping of scale to str
        Why a scale has no value.
    intervals : Intervals or None
        None where nothing, or too little, is known of the model's error.
    windows : tuple of WindowScore
        The course of the values over the clip.
    warnings : tuple of ScoreWarning
    provenance : Provenance
    outline : ndarray of shape (n,)
        The clip's peaks in at most 400 stretches, for a drawing.
    preference : PreferenceRank or None
        The musical impression of a judge that knows of two clips which is preferred, and no more.
    """

    scales: Scales
    values: Mapping[str, float | None]
    missing: Mapping[str, str]
    intervals: Intervals | None
    windows: tuple[WindowScore, ...]
    warnings: tuple[ScoreWarning, ...]
    provenance: Provenance
    outline: Samples = field(repr=False, compare=False)
    preference: PreferenceRank | None = None

    def __getitem__(self, scale: str) -> float | None:
        return self.values[scale]

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain dicts, lists, strings and finite numbers."""
        around, rank = self.intervals, self.preference
        return {
            **self.values,
            "missing": dict(self.missing),
            **({"preference": {key: given for key, given in asdict(rank).items() if key != "value"}} if rank else {}),
            "intervals": around
            and {
                "level": around.level,
                "source": around.source,
                **{scale: list(bounds) for scale, bounds in around.bounds.items()},
            },
            "windows": [{"start_s": window.start_s, "end_s": window.end_s, **window.values} for window in self.windows],
            "warnings": [asdict(warning) for warning in self.warnings],
            "provenance": asdict(self.provenance),
        }


@dataclass(frozen=True)
class Unscored:
    """A clip without a score, and why: in a sentence for whoever gave it, and as it was raised."""

    reason: str
    error: Exception
