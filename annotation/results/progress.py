"""How far a study is, and what stands in its way: figures for whoever runs it, never for a rater."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.schema import CLIP_KINDS, Batch, Clip, Problem, Rater, Study, Trial
from annotation.session import ledger, screening


@dataclass(frozen=True)
class Progress:
    """Counts of a study; ratings are those of stimuli, by raters who count."""

    clips: int
    clips_done: int  # with as many valid ratings as they need
    ratings_needed: int  # clips times raters per clip
    ratings_valid: int  # without the surplus
    ratings_pending: int  # in batches that are not ended
    ratings_leased: int  # handed out and not given
    ratings_surplus: int  # over what a clip needs, after an exclusion was undone
    training: int
    anchors: int
    anchors_needed: int  # for no rater to hear one twice
    raters: int  # those who are not excluded
    raters_missing: int  # to invite, so that every clip can be done
    shortage: list[str]  # what stands in the way, a sentence each


def progress(session: Session, study: Study, at: datetime) -> Progress:
    """Count what a study has and what it lacks.

    Parameters
    ----------
    session : Session
    study : Study
    at : datetime
        Decides which leases run.

    Returns
    -------
    Progress
    """
    protocol = Protocol.from_json(study.protocol)
    limit = protocol.raters_per_clip
    clips = {kind: _ids(session, study, kind) for kind in CLIP_KINDS}
    everyone = session.scalars(select(Rater).where(Rater.study_id == study.id)).all()
    raters = [rater.id for rater in everyone if not screening.is_excluded(session, rater)]
    valid = ledger.valid(session, study.id)
    missing = _raters_missing(session, study, clips["stimulus"], raters, at)
    batches = math.ceil(len(clips["stimulus"]) * limit / protocol.batch_size)
    return Progress(
        clips=len(clips["stimulus"]),
        clips_done=sum(count >= limit for count in valid.values()),
        ratings_needed=len(clips["stimulus"]) * limit,
        ratings_valid=sum(min(count, limit) for count in valid.values()),
        ratings_pending=_count(session, study, and_(Trial.state == "rated", Batch.state == "open")),
        ratings_leased=_count(session, study, ledger.leased(at)),
        ratings_surplus=sum(max(count - limit, 0) for count in valid.values()),
        training=len(clips["training"]),
        anchors=len(clips["anchor"]),
        anchors_needed=protocol.anchors * math.ceil(batches / max(len(raters), limit)),
        raters=len(raters),
        raters_missing=max(missing.values(), default=0),
        shortage=_shortage(protocol, len(clips["stimulus"]), len(clips["anchor"]), missing),
    )


def _ids(session: Session, study: Study, kind: str) -> Sequence[int]:
    return session.scalars(select(Clip.id).where(Clip.study_id == study.id, Clip.kind == kind)).all()


def _count(session: Session, study: Study, condition: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(Trial).join(Batch)
    of_study = query.where(Batch.study_id == study.id, Trial.role == "stimulus", condition)
    return session.execute(of_study).scalar_one()


def _raters_missing(
    session: Session, study: Study, clip_ids: Sequence[int], raters: Sequence[int], at: datetime
) -> dict[int, int]:
    """Count, for each clip that cannot be done, the raters that it lacks.

    Whoever holds a clip by a lease that has lapsed can still come back to it.
    """
    reported = exists().where(Problem.trial_id == Trial.id)
    sent = and_(Trial.state == "released", or_(Trial.served_at.is_not(None), reported))
    query = (
        select(Trial.clip_id, func.count(Trial.rater_id.distinct()))
        .join(Batch)
        .where(Batch.study_id == study.id, Trial.role == "stimulus", Trial.rater_id.in_(raters))
        .where(or_(Trial.state == "rated", ledger.leased(at), sent))
        .group_by(Trial.clip_id)
    )
    had = dict(session.execute(query).all())
    claims = ledger.claims(session, study.id, at)
    limit = Protocol.from_json(study.protocol).raters_per_clip
    lacking = {
        clip_id: (limit - claims.get(clip_id, 0)) - (len(raters) - had.get(clip_id, 0))
        for clip_id in clip_ids
    }
    return {
        clip_id: count for clip_id, count in lacking.items() if count > 0 and claims.get(clip_id, 0) < limit
    }


def _shortage(protocol: Protocol, clips: int, anchors: int, missing: Mapping[int, int]) -> list[str]:
    sentences = []
    if clips == 0:
        sentences.append("There are no clips to rate: ingest some.")
    if anchors < protocol.anchors:
        lacking = protocol.anchors - anchors
        sentences.append(f"A batch needs {protocol.anchors} anchors and there are {anchors}: add {lacking}.")
    if missing:
        sentences.append(
            f"{len(missing)} of {clips} clips have too few raters left who have not heard them: "
            f"invite {max(missing.values())} more."
        )
    return sentences
