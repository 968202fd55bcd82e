"""What is left out of the count of a study, by the rules or by hand, and what was put back.

A batch is screened in the transaction in which it ends. One that fails is left out with the rules' figures,
and its clips are free again at once. Nothing is deleted: an exclusion is a row, its undoing is another, and
`Batch.state` mirrors the latest rows of the batch and of its rater.

An undoing is the exact inverse: a batch that was left out while it was open is neither closed nor screened,
and is open again when it is put back, unless its rater has begun another by then; that ends it, and then it is
screened when it is put back.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import Executable, bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from annotation import rules
from annotation.database import Database, now
from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Exclusion, Rater, Rating, Response, Study, Trial
from annotation.session import holds, ledger
from annotation.studies import find_batch, find_rater, find_study
from core.errors import StudyError

Target = tuple[int, int | None]  # a rater, and one of their batches; None for all of them
AUTHOR = "protocol"
BY_HAND = "by hand"

# Built once: putting a statement together takes longer than SQLite needs to run it.
_LET_GO = update(Trial).where(Trial.batch_id == bindparam("batch"), Trial.state == "open").values(state="released")
_COUNTING = select(
    exists().where(Trial.batch_id == bindparam("batch"), Trial.role == "stimulus", Trial.state == "rated")
)
_LEFT_OUT = select(Batch).where(
    Batch.rater_id == bindparam("rater"), Batch.state == "excluded", Batch.closed_at.is_(None)
)
_STALE = (
    select(Batch)
    .outerjoin(Trial, Trial.batch_id == Batch.id)
    .outerjoin(Response, Response.trial_id == Trial.id)
    .where(
        Batch.study_id == bindparam("study"),
        Batch.state == "open",
        Batch.number > 0,
        Batch.lease_until <= bindparam("at"),
    )
    .group_by(Batch.id)
    .having(func.coalesce(func.max(Response.given_at), Batch.opened_at) <= bindparam("before"))
)
_PRESENTED = (
    select(Trial.batch_id, Trial.role, Trial.clip_id, Clip.name, Trial.position, Rating.scale, Rating.score)
    .join(Clip, Trial.clip_id == Clip.id)
    .outerjoin(Rating, Rating.trial_id == Trial.id)
    .order_by(Trial.position)
)
_OF_BATCH = _PRESENTED.where(Trial.batch_id == bindparam("batch"))
_OF_STUDY = _PRESENTED.join(Batch, Trial.batch_id == Batch.id).where(Batch.study_id == bindparam("study"))
_LATEST = (
    select(Exclusion.action)
    .where(Exclusion.rater_id == bindparam("rater"), Exclusion.batch_id.is_not_distinct_from(bindparam("batch")))
    .order_by(Exclusion.id.desc())
    .limit(1)
)


@dataclass(frozen=True)
class Ground:
    """Why something is left out or put back, and who says so."""

    reason: str  # a sentence for whoever reads the log
    author: str
    rule: str = BY_HAND
    evidence: Mapping[str, Any] | None = None  # what failed, in figures


def close(session: Session, batch: Batch, at: datetime) -> None:
    """End a batch: let go of what is not rated, and screen the rest, unless it is left out already."""
    session.execute(_LET_GO, {"batch": batch.id})
    batch.closed_at = at
    if batch.state == "open":
        _count_again(session, batch, at)
    session.flush()  # others read past the session
    if batch.number > 0:
        holds.watch(session, batch.rater, at)


def close_left_out(session: Session, rater: Rater, at: datetime) -> None:
    """End the batch of a rater that was left out while it was open, before they begin another."""
    for batch in session.scalars(_LEFT_OUT, {"rater": rater.id}).all():
        close(session, batch, at)


def _count_again(session: Session, batch: Batch, at: datetime) -> None:
    """Give a batch that is not left out the state that its ratings give it; screen one that never was."""
    if batch.closed_at is None:
        batch.state = "open"
        batch.lease_until = min(batch.lease_until, at)  # whoever takes it up again keeps what is still needed
        return
    counting = batch.number == 0 or session.connection().execute(_COUNTING, {"batch": batch.id}).scalar_one()
    batch.state = "valid" if counting else "empty"
    if batch.number > 0 and batch.screened_at is None and batch.rater.study.has_batches:
        batch.screened_at = at
        screen(session, batch, at)


def close_abandoned(database: Database, study_name: str, at: datetime | None = None) -> int:
    """End what `close_stale` ends, now or as of a time, where there is any; return how many."""
    with database.read() as session:
        if not _stale(session, find_study(session, study_name), at or now(session)):
            return 0
    with database.write() as session:
        return len(close_stale(session, find_study(session, study_name), at or now(session)))


def close_in_hand(session: Session, rater: Rater, at: datetime) -> Batch:
    """End the batch that a rater has left open, without waiting for `Protocol.close_after_days`.

    Raises `StudyError` if they have none open, or may be at it.
    """
    batch = session.scalar(select(Batch).where(Batch.rater_id == rater.id, Batch.state == "open"))
    if batch is None:
        raise StudyError(f"{rater.pseudonym} has no batch open, so there is nothing to close.")
    if batch.lease_until > at:
        raise StudyError(
            f"{rater.pseudonym} may be in the middle of batch {batch.number}: they are away only from "
            f"{batch.lease_until:%H:%M} UTC on. Close it then."
        )
    close(session, batch, at)
    return batch


def close_stale(session: Session, study: Study, at: datetime) -> Sequence[Batch]:
    """End the batches whose lease is over and that got no rating for `Protocol.close_after_days`."""
    stale = _stale(session, study, at)
    for batch in stale:
        close(session, batch, at)
    return stale


def _stale(session: Session, study: Study, at: datetime) -> Sequence[Batch]:
    before = at - timedelta(days=study.protocol.close_after_days)
    return session.scalars(_STALE, {"study": study.id, "at": at, "before": before}).all()


def screen(session: Session, batch: Batch, at: datetime) -> None:
    """Judge a batch, just closed and no practice, by all rules; leave it out if it fails any."""
    study = batch.rater.study
    verdict = rules.judge(_presented(session, _OF_BATCH, batch=batch.id)[batch.id], study.protocol, study.scales)
    if not verdict.failed:
        return
    evidence = {rule.figures: found for rule, found in verdict.failed}
    ground = Ground(verdict.reason, AUTHOR, verdict.failed[0][0].name, {"batch": batch.number, **evidence})
    _exclude(session, batch.rater if verdict.of_rater else batch, ground, at)


def _presented(session: Session, query: Executable, **given: int) -> dict[int, list[rules.Presented]]:
    """Return the trials of batches, in their order; a batch of which nothing was presented has none."""
    batches: dict[int, dict[int, rules.Presented]] = defaultdict(dict)
    for batch_id, role, clip_id, clip, position, scale, score in session.connection().execute(query, given).all():
        trial = batches[batch_id].setdefault(position, rules.Presented(role, clip_id, clip, position, {}))
        if scale is not None:
            trial.scores[scale] = score
    return defaultdict(list, {batch_id: list(trials.values()) for batch_id, trials in batches.items()})


def exclude(session: Session, target: Batch | Rater, reason: str, author: str, at: datetime) -> None:
    """Leave a batch, or all that a rater ever said, out of the count; its clips are free at once.

    A rater who is left out gets no further batches. Raises `StudyError` if the target is left out already, or
    is practice, or the reason is empty.
    """
    _exclude(session, target, Ground(reason, author), at)


def _exclude(session: Session, target: Batch | Rater, ground: Ground, at: datetime) -> None:
    _check(session, target, "exclude")
    _log(session, target, "exclude", ground, at)
    for batch in _batches(session, target):
        batch.state = "excluded"


def restore(session: Session, target: Batch | Rater, reason: str, author: str, at: datetime) -> None:
    """Count again what was left out; a batch that was also excluded by itself stays so.

    A batch that was open is open again. Where a clip now has more claims than it needs, trials of others that
    are not rated yet are released, the latest first. Ratings are kept: those over the number are surplus. Raises
    `StudyError` if the target itself is not left out, or the reason is empty.
    """
    rater = target if isinstance(target, Rater) else target.rater
    _check(session, target, "restore")
    _log(session, target, "restore", Ground(reason, author), at)
    if is_excluded(session, rater):
        return
    back = [batch for batch in _batches(session, target) if not is_excluded(session, batch)]
    for batch in back:
        if not is_excluded(session, rater):  # by a batch before, which is screened only now
            _count_again(session, batch, at)
    query = select(Trial.clip_id).where(
        Trial.batch_id.in_([batch.id for batch in back]), Trial.role == "stimulus", Trial.state == "rated"
    )
    limit = rater.study.protocol.raters_per_clip
    ledger.make_room(session, rater.study_id, set(session.scalars(query)), at, limit)


def repeat(session: Session, target: Batch | Rater, reason: str, author: str, at: datetime) -> None:
    """Leave out again what was put back, on the ground on which it was left out."""
    rater_id, batch_id = _key(target)
    of_target = (Exclusion.rater_id == rater_id, Exclusion.batch_id.is_not_distinct_from(batch_id))
    query = select(Exclusion).where(*of_target, Exclusion.action == "exclude")
    before = session.scalar(query.order_by(Exclusion.id.desc()).limit(1))
    ground = Ground(before.reason, author, before.rule, before.evidence) if before else Ground(reason, author)
    _exclude(session, target, ground, at)


def _check(session: Session, target: Batch | Rater, action: str) -> None:
    """Refuse a change that its target does not allow now."""
    rater = target if isinstance(target, Rater) else target.rater
    if isinstance(target, Batch) and target.number == 0:
        raise StudyError("Batch 0 is practice: it is never counted, so it cannot be excluded.")
    if action == "exclude" and is_excluded(session, target):
        raise StudyError(f"{_name(target)} is excluded already.")
    if action == "restore" and not is_excluded(session, target):
        hint = f" All of {rater.pseudonym} is: restore the rater." if is_excluded(session, rater) else ""
        raise StudyError(f"{_name(target)} is not excluded by itself.{hint}")


def is_excluded(session: Session, target: Batch | Rater) -> bool:
    """Return whether a batch, or a rater as a whole, is left out by itself."""
    rater_id, batch_id = _key(target)
    return session.scalar(_LATEST, {"rater": rater_id, "batch": batch_id}) == "exclude"


def excluded_raters(session: Session, study: Study) -> set[int]:
    """Return the raters who are left out as a whole."""
    query = select(Exclusion.rater_id, Exclusion.action).join(Rater)
    whole = query.where(Rater.study_id == study.id, Exclusion.batch_id.is_(None)).order_by(Exclusion.id)
    latest: dict[int, str] = dict(session.execute(whole).all())
    return {rater_id for rater_id, action in latest.items() if action == "exclude"}


def in_force(session: Session, study: Study) -> dict[int, Exclusion]:
    """Return, by batch that is left out, the exclusion that is in force: its own, or else its rater's."""
    excluded = _excluded(session, study)
    batches = select(Batch.id, Batch.rater_id).where(Batch.study_id == study.id, Batch.state == "excluded")
    return {
        batch_id: excluded.get((rater_id, batch_id)) or excluded[rater_id, None]
        for batch_id, rater_id in session.execute(batches)
    }


def standing(session: Session, study: Study, out: Mapping[Target, str] | None = None) -> dict[int, tuple[str, str]]:
    """Return the state of each batch, and why it is left out; `out` says what would be, in place of what is."""
    if out is None:
        out = {target: entry.reason for target, entry in _excluded(session, study).items()}
    found = {}
    query = select(Batch.id, Batch.rater_id, Batch.number, Batch.state, Batch.closed_at)
    for batch_id, rater_id, number, state, closed_at in session.execute(query.where(Batch.study_id == study.id)):
        reason = out.get((rater_id, batch_id)) or out.get((rater_id, None)) if number else None
        counting = state if state != "excluded" else "valid" if closed_at else "open"
        found[batch_id] = ("excluded", reason) if reason else (counting, "")
    return found


def out_after(session: Session, study: Study, change: "Change") -> dict[Target, str]:
    """Return what would be left out after a change, and why; raises as `Change.make` does.

    What ended while it was left out was never screened, and putting it back screens it: it is judged here, too.
    """
    out = {target: entry.reason for target, entry in _excluded(session, study).items()}
    target = change.target(session)
    _check(session, target, change.action)
    if change.action == "exclude":
        out[_key(target)] = "this change"
        return out
    del out[_key(target)]
    for batch in _batches(session, target):
        if batch.closed_at is None or batch.screened_at is not None:
            continue
        if (batch.rater_id, None) not in out and (batch.rater_id, batch.id) not in out:
            presented = _presented(session, _OF_BATCH, batch=batch.id)[batch.id]
            verdict = rules.judge(presented, study.protocol, study.scales)
            if verdict.failed:
                out[batch.rater_id, None if verdict.of_rater else batch.id] = verdict.reason
    return out


def out_under(session: Session, study: Study, protocol: Protocol) -> dict[Target, str]:
    """Return what would be left out if all batches that have ended were judged by other rules, and why.

    What was left out or put back by hand stays as it is.
    """
    latest, presented = _latest_entries(session, study), _presented(session, _OF_STUDY, study=study.id)
    restored = {target for target, entry in latest.items() if entry.action == "restore"}
    by_hand = (pair for pair in latest.items() if pair[1].action == "exclude" and pair[1].rule == BY_HAND)
    out = {target: entry.reason for target, entry in by_hand}
    ended = select(Batch.rater_id, Batch.id).where(
        Batch.study_id == study.id, Batch.number > 0, Batch.closed_at.is_not(None)
    )
    for rater_id, batch_id in session.execute(ended.order_by(Batch.rater_id, Batch.number)).all():
        verdict = rules.judge(presented[batch_id], protocol, study.scales)
        target = (rater_id, None if verdict.of_rater else batch_id)
        if verdict.failed and target not in restored:
            out.setdefault(target, verdict.reason)
    return out


def _excluded(session: Session, study: Study) -> dict[Target, Exclusion]:
    """Return what no later row has put back."""
    return {target: entry for target, entry in _latest_entries(session, study).items() if entry.action == "exclude"}


def _latest_entries(session: Session, study: Study) -> dict[Target, Exclusion]:
    query = select(Exclusion).join(Rater).where(Rater.study_id == study.id).order_by(Exclusion.id)
    return {(entry.rater_id, entry.batch_id): entry for entry in session.scalars(query)}


def _log(session: Session, target: Batch | Rater, action: str, ground: Ground, at: datetime) -> None:
    if not ground.reason.strip():
        raise StudyError("An exclusion or its undoing needs a reason; give one sentence.")
    rater_id, batch_id = _key(target)
    session.add(
        Exclusion(
            rater_id=rater_id,
            batch_id=batch_id,
            action=action,
            rule=ground.rule,
            reason=ground.reason,
            evidence=dict(ground.evidence or {}),
            author=ground.author,
            at=at,
        )
    )


def _key(target: Batch | Rater) -> Target:
    return (target.id, None) if isinstance(target, Rater) else (target.rater_id, target.id)


def _batches(session: Session, target: Batch | Rater) -> list[Batch]:
    if isinstance(target, Batch):
        return [target]
    return list(session.scalars(select(Batch).where(Batch.rater_id == target.id, Batch.number > 0)))


def _name(target: Batch | Rater) -> str:
    return target.pseudonym if isinstance(target, Rater) else f"Batch {target.number} of {target.rater.pseudonym}"


_ACTS = {"exclude": exclude, "restore": restore}
_UNDO = {"exclude": "restore", "restore": "exclude"}


@dataclass(frozen=True)
class Change:
    """What an administrator can do by hand: leave a batch, or all of a rater, out; put it back."""

    study: str
    action: str  # exclude or restore
    rater: str  # pseudonym
    batch: int | None = None  # its number; None for all of the rater's

    @property
    def what(self) -> str:
        """The batch or the rater, in words."""
        return self.rater if self.batch is None else f"batch {self.batch} of {self.rater}"

    @property
    def undo(self) -> "Change":
        """The change that takes this one back."""
        return Change(self.study, _UNDO[self.action], self.rater, self.batch)

    def make(self, session: Session, reason: str, author: str, at: datetime) -> None:
        """Make the change, in a write transaction.

        Raises `StudyError` if there is no such study, rater or batch, or its state does not allow the change,
        or the reason is empty.
        """
        _ACTS[self.action](session, self.target(session), reason, author, at)

    def take_back(self, session: Session, reason: str, author: str, at: datetime) -> None:
        """Undo this change, the last of its target; raises as `make` does."""
        act = restore if self.action == "exclude" else repeat
        act(session, self.target(session), reason, author, at)

    def target(self, session: Session) -> Batch | Rater:
        """Return the batch or the rater; raises `StudyError` if there is none."""
        rater = find_rater(session, find_study(session, self.study), self.rater)
        return rater if self.batch is None else find_batch(session, rater, self.batch)


def possible_changes(session: Session, study: Study) -> list[Change]:
    """Return the one change that each rater and each of their batches allows now, rater by rater."""
    excluded = _excluded(session, study)
    batches = (
        select(Rater.id, Rater.pseudonym, Batch.id, Batch.number)
        .join(Batch, Batch.rater_id == Rater.id)
        .where(Rater.study_id == study.id, Batch.number > 0)
        .order_by(Rater.id, Batch.number)
    )
    changes: dict[Target, Change] = {}
    for rater_id, rater, batch_id, number in session.execute(batches):
        for key, batch in (((rater_id, None), None), ((rater_id, batch_id), number)):
            if batch is not None and not study.has_batches:
                continue
            changes[key] = Change(study.name, "restore" if key in excluded else "exclude", rater, batch)
    return list(changes.values())


def change_log(session: Session, study: Study) -> pd.DataFrame:
    """Return everything that was left out or put back, by rule or by hand, in its order.

    Columns ``rater``, ``batch`` (its number, or ``all``), ``action``, ``rule``, ``reason``, ``evidence`` (the
    rules' figures, as JSON), ``author`` and ``at``.
    """
    entries = session.execute(
        select(Exclusion, Rater.pseudonym, Batch.number)
        .join(Rater, Exclusion.rater_id == Rater.id)
        .outerjoin(Batch, Exclusion.batch_id == Batch.id)
        .where(Rater.study_id == study.id)
        .order_by(Exclusion.id)
    )
    columns = ("rater", "batch", "action", "rule", "reason", "evidence", "author", "at")
    rows = [
        (pseudonym, "all" if number is None else number, entry.action, entry.rule, entry.reason,
         json.dumps(entry.evidence), entry.author, entry.at)
        for entry, pseudonym, number in entries
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))
