"""The ledger: which presentations count for a clip, who keeps them, and who lets them go.

A trial of role stimulus is a *claim* on its clip while it is leased (open, in an open batch whose lease
runs), pending (rated, in an open batch) or valid (rated, in a batch that passed). The claims of a clip never
exceed the raters that the protocol asks for, because whoever gives one out or takes one up again counts them
first, in the same write transaction. A lease lapses by itself: from then on its trials just do not count.

The one exception is a restored exclusion, which can bring a clip more ratings than it needs: the surplus is
kept and left out of its mean.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.schema import Batch, Trial, Utc


def claims(session: Session, study_id: int, at: datetime, clip_ids: Collection[int] | None = None) -> dict[int, int]:
    """Return the number of claims by clip; a clip that has none is absent.

    Counting those of a few clips alone is quicker.
    """
    if clip_ids is None:
        return _counts(session, CLAIMS, study=study_id, at=at)
    return _counts(session, _CLAIMS_OF, study=study_id, at=at, clips=list(clip_ids))


def valid(session: Session, study_id: int) -> dict[int, int]:
    """Return the number of valid ratings by clip; a clip that has none is absent."""
    return _counts(session, _VALID, study=study_id)


def rated() -> ColumnElement[bool]:
    """Hold for a trial, joined to its batch, that is pending or valid."""
    return and_(Trial.state == "rated", Batch.state != "excluded")


def leased(at: datetime | BindParameter[datetime]) -> ColumnElement[bool]:
    """Hold for a trial, joined to its batch, that is open under a lease that runs."""
    return and_(Trial.state == "open", Batch.state == "open", Batch.lease_until > at)


def lease(protocol: Protocol, at: datetime) -> datetime:
    """Return the end of a lease that begins or is renewed now."""
    return at + timedelta(minutes=protocol.lease_minutes)


def reclaim(session: Session, batch: Batch, at: datetime) -> None:
    """Take a batch up again whose lease has lapsed; nothing changes while it runs.

    Trials whose clips found other raters meanwhile are released; the lease of the rest begins anew.
    """
    if batch.lease_until > at:
        return
    protocol = batch.rater.study.protocol
    held = open_trials(session, batch)
    count = claims(session, batch.study_id, at, [trial.clip_id for trial in held])  # ours have lapsed
    release(
        session,
        [
            trial
            for trial in held
            if trial.role == "stimulus" and count.get(trial.clip_id, 0) >= protocol.raters_per_clip
        ],
    )
    batch.lease_until = lease(protocol, at)
    session.flush()  # others read past the session


def open_trials(session: Session, batch: Batch) -> list[Trial]:
    """Return the trials of a batch that wait for an answer, in their order."""
    query = select(Trial).where(Trial.batch_id == batch.id, Trial.state == "open")
    return list(session.scalars(query.order_by(Trial.position)))


def release(session: Session, trials: Iterable[Trial]) -> None:
    """Let go of trials, and of the second presentation of a clip whose first is let go."""
    for trial in trials:
        trial.state = "released"
        if trial.role == "stimulus":
            query = select(Trial).where(
                Trial.batch_id == trial.batch_id,
                Trial.clip_id == trial.clip_id,
                Trial.role == "duplicate",
                Trial.state == "open",
            )
            for duplicate in session.scalars(query):
                duplicate.state = "released"


def keep_duplicate(session: Session, trial: Trial, distance: int) -> None:
    """Present another clip of the batch twice, when one that comes twice is about to be let go.

    Otherwise the batch would shrink by two where a rater reports one clip, and so tell that it comes twice.
    The second presentation keeps its place if some clip before it keeps the distance, or changes places with
    a later clip; where nothing fits, or it is on its way already, nothing changes. `distance` is the fewest
    trials between the two presentations.
    """
    if trial.role != "stimulus":
        return  # the second presentation itself was reported: that trial stays what the report names
    batch = list(session.scalars(select(Trial).where(Trial.batch_id == trial.batch_id).order_by(Trial.position)))
    stimuli = [one for one in batch if one.role == "stimulus" and one is not trial and one.state != "released"]
    twice = {one.clip_id for one in batch if one.role == "duplicate"}
    for second in batch:
        if second.role != "duplicate" or second.clip_id != trial.clip_id:
            continue
        if second.state != "open" or second.served_at is not None:
            continue
        later = [one for one in stimuli if one.position > second.position and one.served_at is None]
        for place in [second, *later]:
            firsts = [one for one in stimuli if place.position - one.position > distance]
            chosen = [one for one in firsts if one.clip_id not in twice]
            if chosen:
                moved = place.clip_id
                place.role, place.clip_id = "duplicate", min(chosen, key=lambda one: one.token or "").clip_id
                session.flush()  # no clip is a stimulus twice, not even in between
                if place is not second:
                    second.role, second.clip_id = "stimulus", moved
                return


def make_room(session: Session, study_id: int, clip_ids: Collection[int], at: datetime, limit: int) -> None:
    """Release the latest leased trials of clips that have more claims than `limit`."""
    query = select(Trial).join(Batch).where(Trial.role == "stimulus", leased(at)).order_by(Trial.id.desc())
    for clip_id, count in claims(session, study_id, at, clip_ids).items():
        if count > limit:
            release(session, session.scalars(query.where(Trial.clip_id == clip_id).limit(count - limit)).all())


def _counts(session: Session, query: Select[int, int], **given: Any) -> dict[int, int]:
    session.flush()  # this reads past the session
    return {row[0]: row[1] for row in session.connection().execute(query, given).all()}


def _counting(condition: ColumnElement[bool]) -> Select[int, int]:
    return (
        select(Trial.clip_id, func.count().label("count"))
        .join(Batch)
        .where(Batch.study_id == bindparam("study"), Trial.role == "stimulus", condition)
        .group_by(Trial.clip_id)
    )


# Built once: putting a statement together takes longer than SQLite needs to run it.
CLAIMS = _counting(or_(rated(), leased(bindparam("at", type_=Utc()))))  # of a study, at a time
_CLAIMS_OF = CLAIMS.where(Trial.clip_id.in_(bindparam("clips", expanding=True)))
_VALID = _counting(and_(Trial.state == "rated", Batch.state == "valid"))
