"""The headphone check: which of three tones is the quietest, six times, which loudspeakers make hard to tell.

One tone is 6 dB quieter; one of the others comes in opposite phase from both sides, so that from loudspeakers it is the
quietest. The page makes the tones and counts the answers; what is stored here is the browser's word. Source: K. J. P.
Woods et al., "Headphone screening to facilitate web-based auditory experiments", Attention, Perception, & Psychophysics
79, 2017.
"""

from datetime import datetime
from typing import Literal

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from annotation.schema import HeadphoneCheck, Rater
from core.errors import RatingError

TRIALS = 6
NEEDED = 5  # right answers
MOST_CHECKS = 50  # of a rater that are stored
PASSED = func.max(case((HeadphoneCheck.passed, 1), else_=0))  # whether any of some checks was

Due = Literal["", "optional", "required"]


def due(session: Session, rater: Rater) -> Due:
    """Return whether a rater is to be checked now: not at all, once, or until they pass."""
    mode: str = rater.study.protocol.headphones
    if mode == "off":
        return ""
    tried, passed = session.execute(select(func.count(), PASSED).where(HeadphoneCheck.rater_id == rater.id)).one()
    if passed or (mode == "optional" and tried):
        return ""
    return "required" if mode == "required" else "optional"


def record(session: Session, rater: Rater, correct: int, at: datetime) -> None:
    """Store how many answers were right; nothing where the study has no check, or does not take ratings now."""
    if not 0 <= correct <= TRIALS:
        raise RatingError("The request is not what the page would send.", "misfit")
    of_rater = select(func.count()).where(HeadphoneCheck.rater_id == rater.id)
    wanted = rater.study.protocol.headphones != "off" and rater.study.state == "open"
    if wanted and (session.scalar(of_rater) or 0) < MOST_CHECKS:
        passed = correct >= NEEDED
        session.add(HeadphoneCheck(rater_id=rater.id, correct=correct, trials=TRIALS, passed=passed, at=at))
        session.flush()
