"""What a rater agrees to, and what they are asked about themselves before they begin."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from annotation.schema import Answer, Consent, Rater
from annotation.session.reply import checked_text
from core.errors import RatingError

CONSENT = (
    "I take part of my own free will and can stop at any time. My ratings, my comments, the times of my "
    "answers and what I say about myself below are stored under a pseudonym. They are used for research and "
    "may be published in that form."
)
_MAX_ANSWER_LENGTH = 200


@dataclass(frozen=True)
class Question:
    """Something a rater is asked; without options they answer in their own words."""

    key: str
    text: str
    options: tuple[str, ...] = ()


QUESTIONS = (
    Question(
        "training",
        "What is your musical training?",
        ("none", "lessons or self-taught", "student of music", "professional or teacher of music"),
    ),
    Question("instrument", "Which instrument do you play, or do you sing?"),
    Question("headphones", "What do you listen with?", ("headphones", "earphones", "loudspeakers")),
)


def has_agreed(session: Session, rater: Rater) -> bool:
    """Tell whether a rater gave their consent."""
    return bool(session.scalar(select(exists().where(Consent.rater_id == rater.id))))


def record(session: Session, rater: Rater, answers: object, at: datetime) -> None:
    """Store a rater's consent and answers; the first time counts.

    Parameters
    ----------
    session : Session
    rater : Rater
    answers : object
        From outside: a mapping of the keys of `QUESTIONS` to texts. Any may be missing or blank.
    at : datetime

    Raises
    ------
    RatingError
        If a key is unknown, or an answer is too long or none of the options.
    """
    checked = _checked(answers)
    if has_agreed(session, rater):
        return
    session.add(Consent(rater_id=rater.id, text=CONSENT, given_at=at))
    session.add_all(
        Answer(rater_id=rater.id, question=key, answer=answer, given_at=at)
        for key, answer in checked.items()
        if answer
    )


def _checked(answers: object) -> dict[str, str]:
    questions = {question.key: question for question in QUESTIONS}
    if not isinstance(answers, Mapping) or not answers.keys() <= questions.keys():
        raise RatingError(f"The answers could not be read. The questions are {', '.join(questions)}.")
    checked = {}
    for key, said in answers.items():
        answer = checked_text(said, "An answer", _MAX_ANSWER_LENGTH).strip()
        options = questions[key].options
        if answer and options and answer not in options:
            raise RatingError(f"The answer to “{questions[key].text}” can be {', '.join(options)}.")
        checked[key] = answer
    return checked
