"""What is left out of the count of a study, by the rules or by hand, and what was put back.

A batch is screened in the transaction in which it ends. One that fails is left out with the rules' figures,
and its clips are free again at once. Nothing is deleted: an exclusion is a row, its undoing is another, and
`Batch.state` mirrors the latest rows of the batch and of its rater.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotation import rules
from annotation.schema import Batch, Clip, Exclusion, Rater, Rating, Response, Study, Trial
from annotation.session import ledger
from annotation.studies import find_batch, find_rater, find_study
from core.errors import StudyError

AUTHOR = "protocol"
BY_HAND = "by hand"


@dataclass(frozen=True)
class Ground:
    """Why something is left out or put back, and who says so."""

    reason: str  # a sentence for whoever reads the log
    author: str
    rule: str = BY_HAND
    evidence: Mapping[str, Any] | None = None  # what failed, in figures


def close(session: Session, batch: Batch, at: datetime) -> None:
    """End an open batch: let go of what is not rated, and screen the rest."""
    ledger.release(session, ledger.open_trials(session, batch))
    batch.closed_at = at
    batch.state = "valid"
    if batch.number > 0:
        screen(session, batch, at)


def close_stale(session: Session, study: Study, at: datetime) -> list[Batch]:
    """End the batches whose lease is over and that got no rating for `Protocol.close_after_days`."""
    before = at - timedelta(days=study.protocol.close_after_days)
    latest = func.coalesce(func.max(Response.given_at), Batch.opened_at)
    query = (
        select(Batch)
        .outerjoin(Trial, Trial.batch_id == Batch.id)
        .outerjoin(Response, Response.trial_id == Trial.id)
        .where(Batch.study_id == study.id, Batch.state == "open", Batch.number > 0, Batch.lease_until <= at)
        .group_by(Batch.id)
        .having(latest <= before)
    )
    stale = list(session.scalars(query))
    for batch in stale:
        close(session, batch, at)
    return stale


def screen(session: Session, batch: Batch, at: datetime) -> None:
    """Judge a batch, just closed and no practice, by all rules; leave it out if it fails any."""
    study, presented = batch.rater.study, _presented(session, batch)
    checked = [(rule, rule.check(presented, study.protocol, study.scales)) for rule in rules.RULES]
    failed = [(rule, evidence) for rule, evidence in checked if evidence]
    if not failed:
        return
    of_rater = study.protocol.scope == "rater" and any(rule.follows_scope for rule, _ in failed)
    ground = Ground(
        " ".join(rule.reason for rule, _ in failed),
        AUTHOR,
        failed[0][0].name,
        {"batch": batch.number, **{rule.figures: evidence for rule, evidence in failed}},
    )
    _exclude(session, batch.rater if of_rater else batch, ground, at)


def _presented(session: Session, batch: Batch) -> Sequence[rules.Presented]:
    query = (
        select(Trial.role, Trial.clip_id, Clip.name, Trial.position, Rating.scale, Rating.score)
        .join(Clip, Trial.clip_id == Clip.id)
        .outerjoin(Rating, Rating.trial_id == Trial.id)
        .where(Trial.batch_id == batch.id)
        .order_by(Trial.position)
    )
    trials: dict[int, rules.Presented] = {}
    for role, clip_id, clip, position, scale, score in session.execute(query):
        scores = trials.setdefault(position, rules.Presented(role, clip_id, clip, position, {})).scores
        if scale is not None:
            scores[scale] = score
    return list(trials.values())


def exclude(session: Session, target: Batch | Rater, reason: str, author: str, at: datetime) -> None:
    """Leave a batch, or all that a rater ever said, out of the count; its clips are free at once.

    An open batch is closed and screened first. A rater who is left out gets no further batches. Raises
    `StudyError` if the target is left out already, or is practice, or the reason is empty.
    """
    _exclude(session, target, Ground(reason, author), at)


def _exclude(session: Session, target: Batch | Rater, ground: Ground, at: datetime) -> None:
    if isinstance(target, Batch) and target.number == 0:
        raise StudyError("Batch 0 is practice: it is never counted, so it cannot be excluded.")
    if is_excluded(session, target):
        raise StudyError(f"{_name(target)} is excluded already.")
    for batch in _batches(session, target):
        if batch.state == "open":
            close(session, batch, at)
    _log(session, target, "exclude", ground, at)
    for batch in _batches(session, target):
        batch.state = "excluded"


def restore(session: Session, target: Batch | Rater, reason: str, author: str, at: datetime) -> None:
    """Count again what was left out; a batch that was also excluded by itself stays so.

    Where a clip now has more claims than it needs, trials of others that are not rated yet are released, the
    latest first. Ratings are kept: those over the number are surplus. Raises `StudyError` if the target
    itself is not left out, or the reason is empty.
    """
    rater = target if isinstance(target, Rater) else target.rater
    if not is_excluded(session, target):
        hint = f" All of {rater.pseudonym} is: restore the rater." if is_excluded(session, rater) else ""
        raise StudyError(f"{_name(target)} is not excluded by itself.{hint}")
    _log(session, target, "restore", Ground(reason, author), at)
    if is_excluded(session, rater):
        return
    back = [batch for batch in _batches(session, target) if not is_excluded(session, batch)]
    for batch in back:
        batch.state = "valid"
    query = select(Trial.clip_id).where(
        Trial.batch_id.in_([batch.id for batch in back]), Trial.role == "stimulus", Trial.state == "rated"
    )
    limit = rater.study.protocol.raters_per_clip
    ledger.make_room(session, rater.study_id, set(session.scalars(query)), at, limit)


def is_excluded(session: Session, target: Batch | Rater) -> bool:
    """Return whether a batch, or a rater as a whole, is left out by itself."""
    rater = target if isinstance(target, Rater) else target.rater
    batch_id = target.id if isinstance(target, Batch) else None
    return (rater.id, batch_id) in _excluded(session, rater)


def in_force(session: Session, study: Study) -> dict[int, Exclusion]:
    """Return, by batch that is left out, the exclusion that is in force: its own, or else its rater's."""
    excluded = _excluded(session, study)
    batches = select(Batch.id, Batch.rater_id).where(Batch.study_id == study.id, Batch.state == "excluded")
    return {
        batch_id: excluded.get((rater_id, batch_id)) or excluded[rater_id, None]
        for batch_id, rater_id in session.execute(batches)
    }


def _excluded(session: Session, of: Study | Rater) -> dict[tuple[int, int | None], Exclusion]:
    """Return what no later row has put back, by rater and batch; None for the rater as a whole."""
    query = select(Exclusion).order_by(Exclusion.id)
    if isinstance(of, Rater):
        query = query.where(Exclusion.rater_id == of.id)
    else:
        query = query.join(Rater).where(Rater.study_id == of.id)
    latest = {(entry.rater_id, entry.batch_id): entry for entry in session.scalars(query)}
    return {target: entry for target, entry in latest.items() if entry.action == "exclude"}


def _log(session: Session, target: Batch | Rater, action: str, ground: Ground, at: datetime) -> None:
    if not ground.reason.strip():
        raise StudyError("An exclusion or its undoing needs a reason; give one sentence.")
    session.add(
        Exclusion(
            rater_id=target.id if isinstance(target, Rater) else target.rater_id,
            batch_id=target.id if isinstance(target, Batch) else None,
            action=action,
            rule=ground.rule,
            reason=ground.reason,
            evidence=dict(ground.evidence or {}),
            author=ground.author,
            at=at,
        )
    )


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
        rater = find_rater(session, find_study(session, self.study), self.rater)
        target = rater if self.batch is None else find_batch(session, rater, self.batch)
        _ACTS[self.action](session, target, reason, author, at)


def possible_changes(session: Session, study: Study) -> list[Change]:
    """Return the one change that each rater and each of their batches allows now, rater by rater."""
    excluded = _excluded(session, study)
    batches = (
        select(Rater.id, Rater.pseudonym, Batch.id, Batch.number)
        .join(Batch, Batch.rater_id == Rater.id)
        .where(Rater.study_id == study.id, Batch.number > 0)
        .order_by(Rater.id, Batch.number)
    )
    changes: dict[tuple[int, int | None], Change] = {}
    for rater_id, rater, batch_id, number in session.execute(batches):
        for key, batch in (((rater_id, None), None), ((rater_id, batch_id), number)):
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
