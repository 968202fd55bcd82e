"""The rules of a listening test, with their defaults and the reasons for them.

The protocol is that of the MusicEval paper (sections IV.A to IV.C); what the paper leaves open is decided
here, by ITU-R BS.1534 (training, one attribute at a time) and ITU-T P.808 (checks, length of a session) where
they speak of it. A study stores its protocol, and keeps it for life.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from core.errors import StudyError
from core.scales import MUSICEVAL, Scales, keys

PRESENTATIONS = ("mixed", "by-prompt")
SCOPES = ("batch", "rater")
ANCHOR_RULES = ("fixed", "relative")
PAUSE_RULES = ("sequential", "off")
HEADPHONES = ("off", "optional", "required")
_MOST = 1_000_000
_RANGES: Mapping[str, tuple[float, float]] = {  # others lie between 0 and _MOST
    "raters_per_clip": (1, _MOST),
    "batch_size": (1, 1_000),
    "anchors": (0, 100),
    "anchor_fail_below": (0, 5),
    "anchor_margin": (0, 4),
    "pause_honest": (0.001, 0.999),
    "pause_careless": (0.001, 0.999),
    "pause_wrongly": (1e-9, 0.5),
    "pause_missed": (1e-9, 0.5),
    "lease_minutes": (0.001, _MOST),
    "close_after_days": (0.001, 36_500),
    "sample_rate_hz": (8_000, 192_000),
    "loudness_lufs": (-60, 0),
    "peak_dbtp": (-60, 0),
    "fade_ms": (0, 1_000),
}


def _rule(default: Any, meaning: str, reason: str, choices: tuple[str, ...] = (), screens: bool = False) -> Any:
    return field(
        default=default, metadata={"meaning": meaning, "reason": reason, "choices": choices, "screens": screens}
    )


@dataclass(frozen=True)
class Protocol:
    """Everything that can be set when a study is created; each field says what it means, and why its default is so."""

    raters_per_clip: int = _rule(
        5, "valid ratings by different raters that a clip needs", "The paper has five different raters a clip."
    )
    batch_size: int = _rule(
        20, "clips in a batch, besides its checks", "20 to 30 minutes, as the standards advise; then comes a break."
    )
    anchors: int = _rule(
        3,
        "hidden human-made clips in a batch",
        "“Several” in the paper. With three, a good rater (anchors 4.3, sd 0.8) fails one batch in 27.",
    )
    duplicates: int = _rule(1, "clips that a batch presents twice", "As in the paper.")
    presentation: str = _rule(
        "mixed",
        "order of a batch: at random, or the clips of a prompt together",
        "Ratings are independent; in blocks of one prompt, anchors and duplicates would stand out.",
        PRESENTATIONS,
    )
    anchor_fail_below: float = _rule(
        3.0, "an anchor rated lower fails the batch", "As in the paper: any anchor under 3.", screens=True
    )
    anchor_scale: str = _rule(
        "musical_impression",
        "scale on which anchors are judged",
        "An anchor’s prompt is a caption that we wrote, so its alignment proves little.",
        tuple(keys(MUSICEVAL)),
        True,
    )
    anchor_rule: str = _rule(
        "fixed",
        "what an anchor is held against: that limit, or the rater's own mean",
        "The paper’s is fixed, and falls on strict raters; the other takes out what a rater gives to everything.",
        ANCHOR_RULES,
        True,
    )
    anchor_margin: float = _rule(
        0.5,
        "with the relative rule, an anchor rated further below the mean of the batch's clips fails",
        "An honest rater then fails about as many batches as by the fixed rule, whatever their bias.",
        screens=True,
    )
    duplicate_tolerance: float = _rule(
        1.0,
        "largest difference between the two ratings of a duplicate",
        "Repeats of real listeners differ by 0.54 on average, 2.7 % of them by more than 1.",
        screens=True,
    )
    duplicate_distance: int = _rule(
        5, "fewest trials between the two presentations of a duplicate", "The first presentation is not remembered."
    )
    scope: str = _rule(
        "batch",
        "what a failed check takes out: the batch, or all of the rater's",
        "The paper calls the rater invalid; with dozens of batches a rater, nearly all good raters fail one once.",
        SCOPES,
        True,
    )
    pause_rule: str = _rule(
        "sequential",
        "whether a rater whose batches fail is paused: by a sequential test, or never",
        "Who answers at random would go on for weeks in vain; the test stops them after six batches.",
        PAUSE_RULES,
    )
    pause_honest: float = _rule(
        0.2,
        "share of batches that an honest rater may fail",
        "A good rater fails 9 % by chance, one who rates half a point lower 17 %.",
    )
    pause_careless: float = _rule(
        0.7,
        "share of batches from which on a rater is careless",
        "Who answers at random fails 94 %; who listens now and then, fewer.",
    )
    pause_wrongly: float = _rule(
        0.001,
        "chance that a run of the test pauses a rater who fails the honest share",
        "A rater has several runs, and whoever is paused for nothing may be lost.",
    )
    pause_missed: float = _rule(
        0.1,
        "chance that a run of the test lets a rater off who fails the careless share",
        "The next run begins at once, so it costs a few batches.",
    )
    most_batches_a_day: int = _rule(
        0,
        "most batches that a rater can begin within 24 hours; 0 is no limit",
        "How long somebody hears well is theirs to say; four are about two hours.",
    )
    most_batches: int = _rule(
        0,
        "most batches of a rater in all; 0 is no limit",
        "In the paper each rater has about 49; a limit keeps one rater from being most of the panel.",
    )
    training: int = _rule(
        5, "practice trials with explained answers, never counted", "BS.1534: practice is needed, and not counted."
    )
    headphones: str = _rule(
        "off",
        "whether raters are checked for headphones: not, once, or until they pass",
        "The paper has no check; loudspeakers in a quiet room are no fault.",
        HEADPHONES,
    )
    lease_minutes: float = _rule(
        45.0,
        "minutes without a rating after which a batch's clips are free for others",
        "A break is no abandoned batch.",
    )
    close_after_days: float = _rule(
        7.0, "days without a rating after which an open batch is closed", "Who stopped may come back within a week."
    )
    sample_rate_hz: int = _rule(16_000, "rate of the clips, as in the paper; mono", "The paper’s clips have it.")
    loudness_lufs: float = _rule(
        -23.0, "integrated loudness of the clips (EBU R 128)", "Anchors must not stand out, and nobody is startled."
    )
    peak_dbtp: float = _rule(
        -1.0,
        "highest true peak; the gain of a clip that would pass it is lowered",
        "A limiter would alter what is judged.",
    )
    excerpt_start_s: float = _rule(0.0, "where the excerpt of each clip begins, in seconds", "A clip is heard whole.")
    excerpt_length_s: float = _rule(0.0, "length of the excerpt in seconds; 0 is the whole clip", "As in the paper.")
    fade_ms: float = _rule(10.0, "fade at both ends of a clip, in milliseconds", "A cut does not click.")

    def __post_init__(self) -> None:
        for rule in dataclasses.fields(self):
            value, choices = getattr(self, rule.name), rule.metadata["choices"]
            if rule.name == "anchor_scale":
                continue  # `check_new` knows which there are
            if choices and value not in choices:
                raise StudyError(f"{rule.name} is {value!r}; it can be {' or '.join(choices)}.")
            if not choices:
                low, high = _RANGES.get(rule.name, (0, _MOST))
                if not low <= value <= high:
                    raise StudyError(f"{rule.name} is {value}; it must lie between {low} and {high}.")
        if self.duplicates > self.batch_size:
            raise StudyError(f"duplicates is {self.duplicates}; a batch of {self.batch_size} clips has fewer.")
        if self.pause_honest >= self.pause_careless:
            raise StudyError(
                f"pause_honest is {self.pause_honest} and pause_careless {self.pause_careless}; a careless rater fails "
                "more batches than an honest one."
            )

    def described(self) -> list[tuple[str, Any, str]]:
        """Return the name of each rule, its value and its meaning."""
        return [(rule.name, getattr(self, rule.name), rule.metadata["meaning"]) for rule in dataclasses.fields(self)]

    def check_scale(self, scales: Scales) -> None:
        """Refuse to judge anchors on a scale that the study does not have."""
        known = keys(scales)
        if self.anchors and self.anchor_scale not in known:
            raise StudyError(f"anchor_scale is {self.anchor_scale!r}; it can be {' or '.join(known)}.")

    def check_new(self, scales: Scales) -> None:
        """Refuse rules that a new study cannot keep; what was created before is read as it is."""
        self.check_scale(scales)
        if self.duplicates and not self.duplicates_in(self.batch_size, self.anchors):
            raise StudyError(
                f"duplicate_distance is {self.duplicate_distance}; in a batch of {self.batch_size} clips and "
                f"{self.anchors} anchors it can be {self.batch_size + self.anchors - 1} at most, or no clip would "
                "come twice. Lower it, or set duplicates to 0."
            )

    def anchors_in(self, clips: int) -> int:
        """Anchors of a batch of so many clips."""
        return math.ceil(self.anchors * min(clips / self.batch_size, 1))

    def duplicates_in(self, clips: int, anchors: int) -> int:
        """Clips that a batch presents twice, as far as their distance fits."""
        return min(self.duplicates, clips) if clips + anchors > self.duplicate_distance else 0

    def trials_in(self, clips: int) -> int:
        """Trials of the next batch, where so many clips are left."""
        clips = min(clips, self.batch_size)
        anchors = self.anchors_in(clips)
        return clips + anchors + self.duplicates_in(clips, anchors)

    def to_json(self) -> dict[str, Any]:
        """Return the fields."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned; a study from before there was a rule does not have it."""
        return cls(**{"pause_rule": "off", **stored})


# The rules by which batches are judged: what was rated can be judged again under others.
SCREENING = tuple(rule for rule in dataclasses.fields(Protocol) if rule.metadata["screens"])
