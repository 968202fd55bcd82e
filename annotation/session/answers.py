"""What a rater says, checked: the answer to a trial, and what they are asked about themselves before.

Types are the caller's business; here values are refused that cannot be. What was played is the browser's
word, and is stored when it could be true.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, exists, select
from sqlalchemy.orm import Session

from annotation.schema import Answer, Consent, Rater, Study
from annotation.wording import Question, asked_in, questions_of, text_in
from core.errors import RatingError
from core.scales import MAX_SCORE, MIN_SCORE, Scales

MAX_COMMENT_LENGTH = 2_000
_MAX_ANSWER_LENGTH = 200
_MAX_STRETCHES = 1_000
_AGREED = select(exists().where(Consent.rater_id == bindparam("rater")))
_LATE_S = 1.0  # players report a little more than a clip's duration

CONSENT = (
    "I take part of my own free will and can stop at any time. My ratings, my comments, the times of my "
    "answers and what I say about myself below are stored under a pseudonym. They are used for research and "
    "may be published in that form."
)


@dataclass(frozen=True)
class Reply:
    """A rater's answer to a trial."""

    scores: Mapping[str, int]  # by scale
    comment: str = ""
    played: Sequence[Sequence[float]] = ()  # [start_s, end_s] of each stretch, in order

    @property
    def heard_s(self) -> float:
        """How much of the clip was played; what was played twice counts once."""
        heard_s = until_s = 0.0
        for start_s, end_s in sorted(map(tuple, self.played)):
            heard_s += max(end_s - max(start_s, until_s), 0.0)
            until_s = max(until_s, end_s)
        return heard_s


def check_reply(reply: Reply, scales: Scales, duration_s: float) -> None:
    """Refuse (`RatingError`) what cannot be said of a clip of this duration on these scales."""
    titles = {scale.key: scale.title for scale in scales}
    for key, title in titles.items():
        score = reply.scores.get(key)
        if score is None or not MIN_SCORE <= score <= MAX_SCORE:
            raise RatingError("{scale} must be a whole number from 1 to 5.", "score_range", scale=title)
    if reply.scores.keys() - titles.keys():
        raise RatingError(
            "There are more scores than asked for. The scales are {scales}.", "scores_many", scales=[*titles]
        )
    check_text(reply.comment, "The comment", MAX_COMMENT_LENGTH)
    if len(reply.played) > _MAX_STRETCHES:
        raise RatingError(
            "What was played must be a list of at most {most} stretches.", "stretches_many", most=_MAX_STRETCHES
        )
    if not all(0 <= start_s <= end_s <= duration_s + _LATE_S for start_s, end_s in reply.played):
        raise RatingError(
            "Each stretch that was played must be a start and an end within the clip, in seconds.", "stretches_outside"
        )


def check_text(text: str, what: str, longest: int) -> None:
    """Refuse (`RatingError`) a text that is too long, or holds what no file can."""
    if any("\ud800" <= sign <= "\udfff" for sign in text):
        raise RatingError("{what} is not a text that can be stored.", "text_odd", what=what)
    if len(text) > longest:
        raise RatingError(
            "{what} has {length} characters; it can have {longest}. Please shorten it.",
            "text_long",
            what=what,
            length=len(text),
            longest=longest,
        )


def has_agreed(session: Session, rater: Rater) -> bool:
    """Return whether a rater gave their consent."""
    return bool(session.scalar(_AGREED, {"rater": rater.id}))


def record_about(
    session: Session, rater: Rater, answers: Mapping[str, str], at: datetime, consent: str = CONSENT, language: str = ""
) -> None:
    """Store a rater's consent, in the words that they read, and their answers by question, any missing or blank.

    With the consent stand the study's other texts as they were in the rater's language, with an answer the words of its
    question. The first time counts. Raises `RatingError` if a question is unknown or needed and not answered, or an
    answer too long or none that the question takes.
    """
    study = rater.study
    said = _checked(study, answers, language)
    if has_agreed(session, rater):
        return
    read = {name: text_in(study, name, language) for name in ("title", "instructions", "contact")}
    text = text_in(study, "consent", language) or consent
    session.add(Consent(rater_id=rater.id, text=text, read={"language": language, **read}, given_at=at))
    session.add_all(
        Answer(
            rater_id=rater.id,
            question=question.key,
            asked=asked_in(study, question, language),
            answer=answer,
            given_at=at,
        )
        for question, answer in said
    )


def _checked(study: Study, answers: Mapping[str, str], language: str) -> list[tuple[Question, str]]:
    """Return the answers that are not blank, if they can be those to the questions."""
    asked = questions_of(study)
    keys = [question.key for question in asked]
    if not answers.keys() <= {*keys}:
        raise RatingError(
            "The answers could not be read. The questions are {questions}.", "questions_unknown", questions=keys
        )
    said = []
    for question in asked:
        answer = answers.get(question.key, "")
        check_text(answer, "An answer", _MAX_ANSWER_LENGTH)
        answer = answer.strip()
        if question.needed and not answer:
            raise RatingError(
                "Please answer “{question}”.", "answer_needed", question=asked_in(study, question, language)
            )
        if answer and not question.takes(answer):
            raise _refused(question, asked_in(study, question, language))
        said += [(question, answer)] if answer else []
    return said


def _refused(question: Question, asked: str) -> RatingError:
    if question.kind == "number":
        return RatingError("The answer to “{question}” must be a number.", "answer_number", question=asked)
    return RatingError(
        "The answer to “{question}” can be {options}.", "answer_none", question=question.text, options=question.options
    )
