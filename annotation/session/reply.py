"""A rater's answer as it comes from outside, and what of it can be believed.

Nothing here is coerced: a score is a whole number or it is refused. What was played is the browser's word; it
is stored when it could be true.
"""

from dataclasses import dataclass

from core.errors import RatingError
from core.scales import MAX_SCORE, MIN_SCORE, SCALE_TITLES, SCALES

MAX_COMMENT_LENGTH = 2_000
_MAX_STRETCHES = 1_000
_LATE_S = 1.0  # players report a little more than a clip's duration


@dataclass(frozen=True)
class Reply:
    """An answer, not checked."""

    musical_impression: object
    textual_alignment: object
    comment: object = ""
    played: object = ()  # [start_s, end_s] of each stretch


@dataclass(frozen=True)
class CheckedReply:
    """An answer that can be stored."""

    scores: dict[str, int]  # by the names in `core.scales.SCALES`
    comment: str
    played: list[list[float]]
    heard_s: float


def check(reply: Reply, duration_s: float) -> CheckedReply:
    """Check an answer to a clip.

    Parameters
    ----------
    reply : Reply
    duration_s : float
        Of the clip.

    Returns
    -------
    CheckedReply

    Raises
    ------
    RatingError
        If a score is no whole number from 1 to 5, the comment is too long, or what was played is no list of
        stretches of this clip.
    """
    scores = {scale: _score(scale, getattr(reply, scale)) for scale in SCALES}
    played = _played(reply.played, duration_s + _LATE_S)
    heard_s = float(sum(end - start for start, end in played))
    return CheckedReply(
        scores, checked_text(reply.comment, "The comment", MAX_COMMENT_LENGTH), played, heard_s
    )


def checked_text(text: object, what: str, longest: int) -> str:
    """Give a text as it is, if it is one that can be stored.

    Raises
    ------
    RatingError
        If it is no text, too long, or holds what no file can.
    """
    if not isinstance(text, str) or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise RatingError(f"{what} is not a text that can be stored.")
    if len(text) > longest:
        raise RatingError(f"{what} has {len(text)} characters; it can have {longest}. Please shorten it.")
    return text


def _score(scale: str, value: object) -> int:
    if type(value) is not int or not MIN_SCORE <= value <= MAX_SCORE:
        raise RatingError(f"{SCALE_TITLES[scale]} must be a whole number from 1 to 5.")
    return value


def _played(stretches: object, latest_s: float) -> list[list[float]]:
    if not isinstance(stretches, list | tuple) or len(stretches) > _MAX_STRETCHES:
        raise RatingError(f"What was played must be a list of at most {_MAX_STRETCHES} stretches.")
    return [_stretch(stretch, latest_s) for stretch in stretches]


def _stretch(stretch: object, latest_s: float) -> list[float]:
    match stretch:
        case [int() | float() as start_s, int() | float() as end_s] if 0 <= start_s <= end_s <= latest_s:
            return [float(start_s), float(end_s)]
    raise RatingError("Each stretch that was played must be a start and an end within the clip, in seconds.")
