"""The two five-point scales of MusicEval, and the word for each point.

Musical impression (MI) is the overall musical quality of a clip; textual alignment (TA) is how well it fits
its prompt. Both run from 1 to 5, and a mean opinion score (MOS) is the panel's mean. The order of `SCALES` is
the column order wherever both scales share an array. Source: the MusicEval paper, section IV.A.
"""

from collections.abc import Mapping
from types import MappingProxyType

SCALES = ("musical_impression", "textual_alignment")
MIN_SCORE = 1.0
MAX_SCORE = 5.0

SCALE_TITLES: Mapping[str, str] = MappingProxyType(
    {"musical_impression": "Musical impression", "textual_alignment": "Textual alignment"}
)
SCALE_WORDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "musical_impression": ("no musicality", "poor", "fair", "good", "excellent"),
        "textual_alignment": ("unrelated", "barely fits", "fits in part", "fits well", "strongly aligned"),
    }
)


def clamp(value: float) -> float:
    """Bring a predicted score into the range of the scales, 1 to 5."""
    return min(max(value, MIN_SCORE), MAX_SCORE)


def describe(scale: str, value: float) -> str:
    """Give the word of the scale's point nearest to a score.

    Parameters
    ----------
    scale : str
        One of `SCALES`.
    value : float
        A score; values outside 1 to 5 take the word of the nearer end. A tie (2.5) takes the higher point.

    Returns
    -------
    str

    Raises
    ------
    KeyError
        If the scale is unknown; the message lists the known ones.
    """
    if scale not in SCALE_WORDS:
        raise KeyError(f"unknown scale {scale!r}; the scales are {', '.join(SCALES)}")
    return SCALE_WORDS[scale][int(clamp(value) - MIN_SCORE + 0.5)]
