"""The life of a study: draft, open, paused, closed, archived, and gone; and the log of what was done to it.

Raters work in an open study alone (`annotation.session.listening`); in all others they are told so kindly, get no
clip, and nothing that they answer is stored. Clips, raters and texts can be changed in every state but `archived`;
the rules and the scales in none, because they are what the ratings mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from annotation.material.files import CHANGED, MISSING
from annotation.schema import (
    DELETED,
    Answer,
    Batch,
    Clip,
    Consent,
    Event,
    Exclusion,
    HeadphoneCheck,
    Problem,
    Prompt,
    Rater,
    Rating,
    Response,
    Study,
    System,
    Trial,
    Visit,
)
from annotation.session.exclusions import close as end_batch
from annotation.session.exclusions import exclude, is_excluded
from annotation.studies import find_rater, refuse_imported
from annotation.wording import LONGEST, SPECIAL, as_text, check_text
from core.errors import StudyError

AUTHOR = "administrator"


@dataclass(frozen=True)
class Move:
    """A change of a study's state."""

    to: str
    sources: tuple[str, ...]  # the states in which it can be made
    done: str  # what it has become, in words
    follows: str  # what it means for raters


MOVES: Mapping[str, Move] = {
    "open": Move("open", ("draft", "paused", "closed"), "open", "Raters who are invited can rate."),
    "pause": Move("paused", ("open",), "paused", "Raters are told so, and go on where they were when it is opened."),
    "close": Move(
        "closed",
        ("open", "paused"),
        "closed",
        "Raters are told that it has ended. What was rated in open batches counts if it passes its checks.",
    ),
    "archive": Move("archived", ("draft", "closed"), "archived", "It stays as it is, and can be deleted."),
    "unarchive": Move("closed", ("archived",), "closed again", "It can be changed and opened again."),
}


def moves_from(state: str) -> list[str]:
    """Return the names of the moves that a state allows."""
    return [name for name, move in MOVES.items() if state in move.sources]


def move(session: Session, study: Study, name: str, at: datetime, reason: str = "") -> int:
    """Bring a study to another state, in a write transaction; return how many batches that ended.

    Raises `StudyError` if its state does not allow that, or it is opened without clips to rate.
    """
    wanted = MOVES[name]
    if wanted.to == "open":
        refuse_imported(study)
    if study.state not in wanted.sources:
        allowed = moves_from(study.state)
        raise StudyError(
            f"The study {study.name!r} is {study.state}, so it cannot be {wanted.done}. "
            f"What it allows is: {', '.join(allowed) or 'nothing'}."
        )
    if wanted.to == "open":
        _check_ready(session, study)
    before, study.state = study.state, wanted.to
    note(session, study, name, at, reason, details={"before": before, "after": wanted.to})
    return _end_batches(session, study, at) if name == "close" else 0


def _check_ready(session: Session, study: Study) -> None:
    kinds = session.scalars(select(Clip.kind).where(Clip.study_id == study.id, Clip.retired_at.is_(None))).all()
    if "stimulus" not in kinds:
        raise StudyError("There are no clips to rate yet. Add some before the study is opened.")
    anchors = kinds.count("anchor")
    if anchors < study.protocol.anchors:
        needed = study.protocol.anchors
        raise StudyError(f"A batch needs {needed} anchors and there are {anchors}. Add {needed - anchors} first.")


def _end_batches(session: Session, study: Study, at: datetime) -> int:
    """End all batches that are open, with the checks that were heard so far."""
    open_ones = select(Batch).where(Batch.study_id == study.id, Batch.state == "open", Batch.number > 0)
    batches = session.scalars(open_ones).all()
    for batch in batches:
        end_batch(session, batch, at)
    return len(batches)


def note(
    session: Session,
    study: Study,
    action: str,
    at: datetime,
    reason: str = "",
    about: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Log that something was done to a study, one of its clips or raters."""
    entry = {"action": action, "about": about, "reason": reason.strip(), "details": dict(details or {})}
    session.add(Event(study_id=study.id, author=AUTHOR, at=at, **entry))
    session.flush()


def refuse_archived(study: Study) -> None:
    """Raise `StudyError` where nothing of a study may change any more."""
    if study.state == "archived":
        raise StudyError(f"The study {study.name!r} is archived, and stays as it is. Take it out of the archive first.")


def describe(session: Session, study: Study, texts: Mapping[str, str], at: datetime) -> None:
    """Set the words that raters read, by name; those that are not given stay. `annotation.wording` has what they are.

    Who has agreed to another consent text before has agreed to that one, which is kept with their consent. What was
    before stands in the log.
    """
    refuse_archived(study)
    changed: dict[str, Any] = {}
    for name in (*LONGEST, *SPECIAL):  # translations last: they are held against the questions
        text = texts.get(name)
        if text is None and name == "translations" and "questions" in changed:
            text = as_text(study, name)
        if text is None:
            continue
        before, after = getattr(study, name), SPECIAL[name](text, study) if name in SPECIAL else check_text(name, text)
        if after != before:
            changed[name] = {"before": before, "after": after}
            setattr(study, name, after)
    if changed:
        note(session, study, "describe", at, details=changed)


def withdraw(
    session: Session, study: Study, pseudonym: str, at: datetime, drop: bool = False, reason: str = ""
) -> None:
    """Take a rater out of a study: their code and devices end, and so does their open batch.

    Their ratings stay and count, or are left out of the count (`drop`), as the consent said.
    """
    refuse_archived(study)
    rater = find_rater(session, study, pseudonym)
    if rater.withdrawn_at is not None:
        raise StudyError(f"{pseudonym} has withdrawn already.")
    rater.withdrawn_at, rater.code_sha256 = at, None
    session.execute(update(Visit).where(Visit.rater_id == rater.id, Visit.ended_at.is_(None)).values(ended_at=at))
    for batch in session.scalars(select(Batch).where(Batch.rater_id == rater.id, Batch.state == "open")).all():
        end_batch(session, batch, at)
    if drop and not is_excluded(session, rater):
        exclude(session, rater, reason.strip() or "The rater has withdrawn.", AUTHOR, at)
    note(session, study, "withdraw", at, reason, pseudonym, {"ratings": "left out" if drop else "kept"})


def erase(
    session: Session, study: Study, pseudonym: str, at: datetime, comments: bool = False, reason: str = ""
) -> dict[str, int]:
    """Erase what is known of a rater besides their ratings, which stay as they are; return how much, by what it was.

    That is their answers about themselves, the note about them, what their link carried, and their comments if asked.
    It can be done in every state, an archived study included, because a rater may ask for it at any time.
    """
    rater = find_rater(session, study, pseudonym)
    theirs = select(Trial.id).where(Trial.rater_id == rater.id)
    statements: dict[str, Any] = {"answers": sql_delete(Answer).where(Answer.rater_id == rater.id)}
    if comments:
        for name, table in (("comments", Response), ("reports", Problem)):
            said = (table.trial_id.in_(theirs), table.comment.not_in(("", MISSING, CHANGED)))
            statements[name] = update(table).where(*said).values(comment="")
    unsynchronised = {"synchronize_session": False}
    done = {
        name: session.execute(statement, execution_options=unsynchronised).rowcount  # type: ignore[attr-defined]
        for name, statement in statements.items()
    }
    done |= {"notes": int(bool(rater.note)), "parameters": len(rater.external.get("parameters", {}))}
    rater.note, rater.external = "", {"parameters": {}} if rater.external else {}
    note(session, study, "erase", at, reason, pseudonym, done)
    return done


def log(session: Session, study: Study) -> list[Event]:
    """Return what was done to a study, the latest first."""
    return list(session.scalars(select(Event).where(Event.study_id == study.id).order_by(Event.id.desc())))


def delete(session: Session, study: Study, with_answers: bool = False) -> None:
    """Take a study out of the database; its files stay where they are.

    What raters said goes only with a study that is archived, and only if that is meant; else `StudyError`.
    """
    said = has_answers(session, study)
    if said and not with_answers:
        raise StudyError(
            f"Raters have answered in the study {study.name!r}, and what they said is never deleted by itself. Export "
            "the study, close and archive it; then it can be deleted with its answers."
        )
    if said and study.state != "archived":
        raise StudyError(f"The study {study.name!r} has answers and is {study.state}. Close and archive it first.")
    study.state = DELETED
    session.flush()
    trials = select(Trial.id).join(Batch).where(Batch.study_id == study.id)
    raters = select(Rater.id).where(Rater.study_id == study.id)
    for statement in (
        *(sql_delete(table).where(table.trial_id.in_(trials)) for table in (Rating, Response, Problem)),
        sql_delete(Exclusion).where(Exclusion.rater_id.in_(raters)),
        sql_delete(Trial).where(Trial.id.in_(trials)),
        *(sql_delete(table).where(table.rater_id.in_(raters)) for table in (Visit, Consent, Answer, HeadphoneCheck)),
        *(sql_delete(table).where(table.study_id == study.id) for table in (Event, Batch, Rater, Clip, Prompt, System)),
    ):
        session.execute(statement, execution_options={"synchronize_session": False})
    session.delete(study)
    session.flush()


def has_answers(session: Session, study: Study) -> bool:
    """Return whether raters have said anything in a study, or anything of theirs was excluded."""
    trials = select(Trial.id).join(Batch).where(Batch.study_id == study.id)
    raters = select(Rater.id).where(Rater.study_id == study.id)
    kinds = (
        exists().where(Response.trial_id.in_(trials)),
        exists().where(Problem.trial_id.in_(trials)),
        exists().where(Exclusion.rater_id.in_(raters)),
    )
    return any(session.scalar(select(kind)) for kind in kinds)
