"""Scales: what a panel rates and a judge predicts, in points from 1 to 5.

A scale is data. A study names its scales, a checkpoint stores those that it predicts, and results are keyed
by `Scale.key`; where several scales share an array, its columns are in the order of the tuple. MusicEval's
two are the default: musical impression (MI) is the overall musical quality of a clip, textual alignment
(TA) how well it fits its prompt. A mean opinion score (MOS) is the panel's mean. Source: the MusicEval
paper, section IV.A.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from core.errors import ScaleError

MIN_SCORE = 1.0
MAX_SCORE = 5.0

_KEY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_POINTS = int(MAX_SCORE - MIN_SCORE) + 1


@dataclass(frozen=True)
class Scale:
    """One five-point scale.

    Attributes
    ----------
    key : str
        Its name in tables and JSON: small letters, digits and underscores.
    title : str
    question : str
        What a rater is asked.
    labels : tuple of five str
        The word for each point, the lowest first.
    needs_prompt : bool
        Whether the score is of the clip and its prompt, and not of the clip alone.
    short : str
        For narrow columns; the title's initials where it is left out.

    Raises
    ------
    ScaleError
        The key cannot be one, or there are not five labels.
    """

    key: str
    title: str
    question: str
    labels: tuple[str, ...]
    needs_prompt: bool = False
    short: str = ""

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ScaleError(f"{self.key!r} cannot be the key of a scale. Use small letters, digits and _.")
        if len(self.labels) != _POINTS:
            raise ScaleError(f"The scale {self.key} has {len(self.labels)} labels; it needs {_POINTS}.")
        object.__setattr__(self, "labels", tuple(self.labels))
        if not self.short:
            object.__setattr__(self, "short", "".join(word[0] for word in self.title.split()).upper())

    def describe(self, score: float) -> str:
        """Return the label of the point nearest to a score; a tie (2.5) takes the higher point."""
        return self.labels[int(clamp(score) - MIN_SCORE + 0.5)]

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""
        try:
            return cls(**{**stored, "labels": tuple(stored["labels"])})
        except (KeyError, TypeError) as error:
            raise ScaleError(f"A scale cannot be read ({error}).") from error


Scales = tuple[Scale, ...]

MUSICAL_IMPRESSION = Scale(
    "musical_impression",
    "Musical impression",
    "How good is it as music: authenticity, melody, rhythm, chords?",
    ("no musicality", "poor", "fair", "good", "excellent"),
    short="MI",
)
TEXTUAL_ALIGNMENT = Scale(
    "textual_alignment",
    "Textual alignment",
    "How well does it fit the words of the prompt?",
    ("unrelated", "barely fits", "fits in part", "fits well", "strongly aligned"),
    needs_prompt=True,
    short="TA",
)
MUSICEVAL: Scales = (MUSICAL_IMPRESSION, TEXTUAL_ALIGNMENT)


def keys(scales: Iterable[Scale]) -> list[str]:
    """Return the keys of scales, in order."""
    return [scale.key for scale in scales]


def clamp(score: float) -> float:
    """Return a predicted score brought into the range of the scales, 1 to 5."""
    return min(max(score, MIN_SCORE), MAX_SCORE)
