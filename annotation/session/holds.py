"""Who gets no batch for now: raters who are paused, and those who have had as many as the rules allow.

A rater is paused by a sequential test of their failed batches (`annotation.sequential`), in the transaction in which a
batch ends, or by hand. Nothing that they rated changes. Whoever lets them go on begins the test anew.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import pandas as pd
from sqlalchemy import bindparam, exists, select
from sqlalchemy.orm import Session

from annotation.schema import Batch, Event, Exclusion, Rater, Study
from annotation.sequential import SequentialTest
from core.errors import StudyError

AUTHOR = "protocol"
CHECKS = ("anchor", "duplicate")  # rules of which a failure is the rater's; a check that nobody heard is none
DAY = timedelta(hours=24)
ACTIONS = ("pause", "resume")  # of a rater, as `pause_log` has them

# Built once: putting a statement together takes longer than SQLite needs to run it.
_JUDGED = (
    select(Batch.number, Batch.state, exists().where(Exclusion.batch_id == Batch.id, Exclusion.rule.in_(CHECKS)))
    .where(
        Batch.rater_id == bindparam("rater"),
        Batch.number > 0,
        Batch.state.in_(("valid", "excluded")),
        Batch.screened_at > bindparam("since"),
    )
    .order_by(Batch.screened_at, Batch.number)
)
_BEGUN = (
    select(Batch.opened_at)
    .where(Batch.rater_id == bindparam("rater"), Batch.number > 0, Batch.state != "empty")
    .order_by(Batch.opened_at.desc())
)


class Hold(NamedTuple):
    """Why a rater gets no batch, and in how many seconds that may end by itself."""

    why: Literal["held", "enough", "today"]
    ends_in_s: float = 0.0


def hold(session: Session, rater: Rater, at: datetime) -> Hold | None:
    """Return what keeps a rater from another batch; None where nothing does."""
    if rater.paused_at is not None:
        return Hold("held")
    protocol = rater.study.protocol
    if not protocol.most_batches and not protocol.most_batches_a_day:
        return None
    begun = [one for one in session.connection().execute(_BEGUN, {"rater": rater.id}).scalars() if one]
    if protocol.most_batches and len(begun) >= protocol.most_batches:
        return Hold("enough")
    today = [one for one in begun if one > at - DAY]
    if protocol.most_batches_a_day and len(today) >= protocol.most_batches_a_day:
        return Hold("today", (today[protocol.most_batches_a_day - 1] + DAY - at).total_seconds())
    return None


def watch(session: Session, rater: Rater, at: datetime) -> None:
    """Pause a rater whose batches fail too often, by the rule of their study."""
    protocol = rater.study.protocol
    if protocol.pause_rule == "off" or rater.paused_at is not None:
        return
    session.flush()  # this reads past the session
    since = rater.resumed_at or rater.invited_at or rater.study.created_at
    rows = session.connection().execute(_JUDGED, {"rater": rater.id, "since": since}).all()
    # What was left out by hand says nothing of the checks.
    judged = [(number, state == "excluded") for number, state, failed in rows if state == "valid" or failed]
    test = SequentialTest(protocol)
    run = test.run(failed for _, failed in judged)
    if not test.pauses(run):
        return
    evidence = {
        "failed": run.failed,
        "batches": run.batches,
        "evidence": round(test.evidence(run), 2),
        "limit": round(test.upper, 2),
    }
    reason = f"{run.failed} of the last {run.batches} batches failed."
    record(session, rater, "pause", reason, AUTHOR, at, evidence)


def pause(session: Session, rater: Rater, reason: str, author: str, at: datetime) -> None:
    """Give a rater no further batch until they are let go on; an open batch waits. Raises `StudyError` if they are."""
    if rater.paused_at is not None:
        raise StudyError(f"{rater.pseudonym} is paused already.")
    record(session, rater, "pause", reason, author, at)


def resume(session: Session, rater: Rater, reason: str, author: str, at: datetime) -> None:
    """Let a paused rater go on; batches from before count in no test any more. Raises `StudyError` if they are not."""
    if rater.paused_at is None:
        raise StudyError(f"{rater.pseudonym} is not paused.")
    record(session, rater, "resume", reason, author, at)


def record(
    session: Session,
    rater: Rater,
    action: str,
    reason: str,
    author: str,
    at: datetime,
    evidence: Mapping[str, Any] | None = None,
) -> None:
    """Pause a rater or let them go on, one of `ACTIONS`, and log it."""
    if not reason.strip():
        raise StudyError("Pausing a rater or letting them go on needs a reason; give one sentence.")
    rater.paused_at = at if action == "pause" else None
    rater.resumed_at = at if action == "resume" else rater.resumed_at
    entry = {"about": rater.pseudonym, "reason": reason.strip(), "details": dict(evidence or {})}
    session.add(Event(study_id=rater.study_id, action=f"{action}_rater", author=author, at=at, **entry))
    session.flush()


def pause_log(session: Session, study: Study) -> pd.DataFrame:
    """Return every time that a rater was paused or let go on, by rule or by hand, in its order.

    Columns ``rater``, ``action``, ``rule``, ``reason``, ``evidence`` (the rule's figures, as JSON), ``author`` and
    ``at``.
    """
    actions = {f"{action}_rater": action for action in ACTIONS}
    query = select(Event).where(Event.study_id == study.id, Event.action.in_(actions)).order_by(Event.id)
    rows = [
        (entry.about, actions[entry.action], "sequential" if entry.details else "by hand", entry.reason,
         json.dumps(entry.details), entry.author, entry.at)
        for entry in session.scalars(query)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["rater", "action", "rule", "reason", "evidence", "author", "at"])
