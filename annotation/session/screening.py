"""Screening: what the hidden checks say of a batch, and the log of what was left out and put back.

A batch fails when an anchor is rated under the protocol's limit, when the two ratings of a duplicate differ
by more than its tolerance, or when it ends before any of its checks was heard. It is left out with its
figures, and its clips are free again in the same transaction. Nothing is deleted: an exclusion is a row, its
undoing is another, and `Batch.state` mirrors the latest rows of the batch and of its rater. Practice is never
screened.

Source: the MusicEval paper, section IV.C; what it leaves open stands in `annotation.protocol`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.schema import Batch, Exclusion, Rater, Rating, Study, Trial
from annotation.session import ledger
from core.errors import StudyError
from core.scales import SCALES

AUTHOR = "protocol"
_ANCHOR_FAILED = "An anchor was rated too low."
_DUPLICATE_FAILED = "The two ratings of the same clip lie too far apart."
_UNSCREENED = "The batch ended before any of its checks was heard."
_NO_EVIDENCE: Mapping[str, Any] = MappingProxyType({})


def close(session: Session, batch: Batch, at: datetime) -> None:
    """End an open batch: let go of what is not rated, and screen the rest."""
    ledger.release(session, ledger.open_trials(session, batch))
    batch.closed_at = at
    batch.state = "valid"
    if batch.number > 0:
        screen(session, batch, at)


def close_stale(session: Session, study: Study, at: datetime) -> list[Batch]:
    """End the batches that were left open: no lease runs, and no rating came for `Protocol.close_after_days`.

    Returns
    -------
    list of Batch
        Those that were closed.
    """
    before = at - timedelta(days=Protocol.from_json(study.protocol).close_after_days)
    latest = func.coalesce(func.max(Rating.given_at), Batch.opened_at)
    query = (
        select(Batch)
        .outerjoin(Trial, Trial.batch_id == Batch.id)
        .outerjoin(Rating, Rating.trial_id == Trial.id)
        .where(Batch.study_id == study.id, Batch.state == "open", Batch.number > 0, Batch.lease_until <= at)
        .group_by(Batch.id)
        .having(latest <= before)
    )
    stale = list(session.scalars(query))
    for batch in stale:
        close(session, batch, at)
    return stale


def screen(session: Session, batch: Batch, at: datetime) -> None:
    """Judge a batch by the checks that were heard in it; leave it out if it fails.

    Parameters
    ----------
    session : Session
        In the write transaction in which the batch ended.
    batch : Batch
        Closed, and not practice.
    at : datetime
    """
    rater = session.get_one(Rater, batch.rater_id)
    protocol = Protocol.from_json(rater.study.protocol)
    query = select(Trial, Rating).outerjoin(Rating, Rating.trial_id == Trial.id)
    rows = session.execute(query.where(Trial.batch_id == batch.id).order_by(Trial.position))
    answers = rows.all()
    heard = [(trial, rating) for trial, rating in answers if rating is not None]
    anchors, duplicates = _failed_anchors(heard, protocol), _failed_duplicates(heard, protocol)
    evidence: dict[str, Any] = {"batch": batch.number}
    if anchors or duplicates:
        rule = "anchor" if anchors else "duplicate"
        reason = " ".join((_ANCHOR_FAILED,) * bool(anchors) + (_DUPLICATE_FAILED,) * bool(duplicates))
        evidence |= {"anchors": anchors, "duplicates": duplicates}
        exclude(session, rater if protocol.scope == "rater" else batch, reason, AUTHOR, at, rule, evidence)
    elif _unscreened(answers):
        exclude(session, batch, _UNSCREENED, AUTHOR, at, "unscreened", evidence | {"rated": len(heard)})


def exclude(
    session: Session,
    target: Batch | Rater,
    reason: str,
    author: str,
    at: datetime,
    rule: str = "by hand",
    evidence: Mapping[str, Any] = _NO_EVIDENCE,
) -> None:
    """Leave a batch, or all that a rater ever said, out of the count; its clips are free at once.

    An open batch is closed and screened first. A rater who is left out gets no further batches.

    Parameters
    ----------
    session : Session
        In a write transaction.
    target : Batch or Rater
    reason : str
        A sentence for whoever reads the log.
    author : str
    at : datetime
    rule, evidence
        What failed, and its figures.

    Raises
    ------
    StudyError
        If the target is left out already, or is practice.
    """
    if isinstance(target, Batch) and target.number == 0:
        raise StudyError("Batch 0 is practice: it is never counted, so it cannot be excluded.")
    if is_excluded(session, target):
        raise StudyError(f"{_name(session, target)} is excluded already.")
    for batch in _batches(session, target):
        if batch.state == "open":
            close(session, batch, at)
    _log(session, target, "exclude", rule, reason, evidence, author, at)
    for batch in _batches(session, target):
        batch.state = "excluded"


def restore(session: Session, target: Batch | Rater, reason: str, author: str, at: datetime) -> None:
    """Count again what was left out.

    Where a clip now has more claims than it needs, trials of others that are not rated yet are released, the
    latest first. Ratings are kept: those over the number are surplus.

    Parameters
    ----------
    session : Session
        In a write transaction.
    target : Batch or Rater
        Batches of a restored rater that were also excluded by themselves stay so.
    reason, author : str
    at : datetime

    Raises
    ------
    StudyError
        If the target itself is not excluded.
    """
    if not is_excluded(session, target):
        raise StudyError(f"{_name(session, target)} is not excluded by itself.{_hint(session, target)}")
    _log(session, target, "restore", "by hand", reason, {}, author, at)
    rater = target if isinstance(target, Rater) else session.get_one(Rater, target.rater_id)
    if is_excluded(session, rater):
        return
    back = [batch for batch in _batches(session, target) if not is_excluded(session, batch)]
    for batch in back:
        batch.state = "valid"
    query = select(Trial.clip_id).where(
        Trial.batch_id.in_([batch.id for batch in back]), Trial.role == "stimulus", Trial.state == "rated"
    )
    limit = Protocol.from_json(rater.study.protocol).raters_per_clip
    ledger.make_room(session, rater.study_id, set(session.scalars(query)), at, limit)


def is_excluded(session: Session, target: Batch | Rater) -> bool:
    """Tell whether the latest row of the log about a batch, or about a rater as a whole, leaves it out."""
    query = select(Exclusion.action).order_by(Exclusion.id.desc()).limit(1)
    if isinstance(target, Batch):
        query = query.where(Exclusion.batch_id == target.id)
    else:
        query = query.where(Exclusion.rater_id == target.id, Exclusion.batch_id.is_(None))
    return session.scalar(query) == "exclude"


def _log(
    session: Session,
    target: Batch | Rater,
    action: str,
    rule: str,
    reason: str,
    evidence: Mapping[str, Any],
    author: str,
    at: datetime,
) -> None:
    if not reason.strip():
        raise StudyError("An exclusion or its undoing needs a reason; give one sentence.")
    batch = target if isinstance(target, Batch) else None
    rater_id = target.id if isinstance(target, Rater) else target.rater_id
    session.add(
        Exclusion(
            rater_id=rater_id,
            batch_id=batch.id if batch else None,
            action=action,
            rule=rule,
            reason=reason,
            evidence=dict(evidence),
            author=author,
            at=at,
        )
    )


def _batches(session: Session, target: Batch | Rater) -> list[Batch]:
    if isinstance(target, Batch):
        return [target]
    return list(session.scalars(select(Batch).where(Batch.rater_id == target.id, Batch.number > 0)))


def _name(session: Session, target: Batch | Rater) -> str:
    if isinstance(target, Rater):
        return target.pseudonym
    return f"Batch {target.number} of {session.get_one(Rater, target.rater_id).pseudonym}"


def _hint(session: Session, target: Batch | Rater) -> str:
    rater = target if isinstance(target, Rater) else session.get_one(Rater, target.rater_id)
    return f" All of {rater.pseudonym} is: restore the rater." if is_excluded(session, rater) else ""


def _failed_anchors(heard: Sequence[tuple[Trial, Rating]], protocol: Protocol) -> list[dict[str, Any]]:
    scale, limit = protocol.anchor_scale, protocol.anchor_fail_below
    return [
        {"clip": trial.clip.name, "position": trial.position, scale: getattr(rating, scale), "limit": limit}
        for trial, rating in heard
        if trial.role == "anchor" and getattr(rating, scale) < limit
    ]


def _failed_duplicates(heard: Sequence[tuple[Trial, Rating]], protocol: Protocol) -> list[dict[str, Any]]:
    first = {trial.clip_id: (trial, rating) for trial, rating in heard if trial.role == "stimulus"}
    failed = []
    for trial, rating in heard:
        if trial.role != "duplicate":
            continue
        before, said = first[trial.clip_id]
        pairs = {scale: [getattr(said, scale), getattr(rating, scale)] for scale in SCALES}
        if any(abs(one - other) > protocol.duplicate_tolerance for one, other in pairs.values()):
            places = [before.position, trial.position]
            failed.append(
                {
                    "clip": trial.clip.name,
                    "positions": places,
                    **pairs,
                    "tolerance": protocol.duplicate_tolerance,
                }
            )
    return failed


def _unscreened(answers: Sequence[tuple[Trial, Rating | None]]) -> bool:
    """Tell whether there is something to count, there were checks, and none was heard."""
    checks = [rating for trial, rating in answers if trial.role in ("anchor", "duplicate")]
    rated = any(rating is not None for trial, rating in answers if trial.role == "stimulus")
    return rated and bool(checks) and all(rating is None for rating in checks)
