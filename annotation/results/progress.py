"""How far a study is, what it lacks, and what follows from its rules. Reads and changes nothing."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.results.signs import silent_signs
from annotation.rules import consequences
from annotation.schema import Batch, Clip, Problem, Rater, Study, Trial
from annotation.session import ledger
from annotation.session.exclusions import excluded_raters
from annotation.studies import imported_from


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
    training: int  # clips for practice
    anchors: int
    anchors_needed: int  # for no rater to hear one twice, if all share what is missing evenly
    raters: int  # those who are neither excluded nor withdrawn
    raters_missing: int  # to invite, so that every clip can be done
    shortage: list[str]  # what stands in the way, a sentence each
    notes: list[str]  # what follows from the rules: checks that find nothing, signs that cannot show


def progress(session: Session, study: Study, at: datetime) -> Progress:
    """Count what a study has and what it lacks; the time decides which leases run."""
    protocol, limit = study.protocol, study.protocol.raters_per_clip
    clips: dict[str, set[int]] = {"stimulus": set(), "anchor": set(), "practice": set()}
    in_use = select(Clip.kind, Clip.id).where(Clip.study_id == study.id, Clip.retired_at.is_(None))
    for kind, clip_id in session.execute(in_use):
        clips[kind].add(clip_id)
    everyone = select(Rater.id).where(Rater.study_id == study.id, Rater.withdrawn_at.is_(None))
    out = excluded_raters(session, study)
    raters = [rater_id for rater_id in session.scalars(everyone) if rater_id not in out]
    valid, claims = ledger.valid(session, study.id), ledger.claims(session, study.id, at)
    valid = {clip_id: count for clip_id, count in valid.items() if clip_id in clips["stimulus"]}
    missing = _raters_missing(session, study, clips["stimulus"], raters, claims, at)
    needed = len(clips["stimulus"]) * limit
    done = sum(min(count, limit) for count in valid.values())
    a_rater = _batches_a_rater(session, study, len(clips["stimulus"]), needed - done, max(len(raters), limit))
    shortage = _shortage(protocol, {kind: len(found) for kind, found in clips.items()}, missing)
    if needed and all(claims.get(clip_id, 0) >= limit for clip_id in clips["stimulus"]):
        shortage += _stragglers(session, study, at)
    found = Progress(
        clips=len(clips["stimulus"]),
        clips_done=sum(count >= limit for count in valid.values()),
        ratings_needed=needed,
        ratings_valid=done,
        ratings_pending=_count(session, study, and_(Trial.state == "rated", Batch.state == "open")),
        ratings_leased=_count(session, study, ledger.leased(at)),
        ratings_surplus=sum(max(count - limit, 0) for count in valid.values()),
        training=len(clips["practice"]),
        anchors=len(clips["anchor"]),
        anchors_needed=protocol.anchors * a_rater,
        raters=len(raters),
        raters_missing=max(missing.values(), default=0),
        shortage=shortage,
        notes=[*consequences(protocol, study.scales, a_rater), *silent_signs(protocol)],
    )
    return found if study.imported is None else _as_imported(study, found, sum(count > 0 for count in valid.values()))


def _as_imported(study: Study, found: Progress, clips_rated: int) -> Progress:
    """Return what holds where nobody rates any more; without batches, nothing was asked for either."""
    found = replace(found, raters_missing=0, shortage=[], notes=[imported_from(study)])
    if study.has_batches:
        return found
    return replace(found, clips_done=clips_rated, ratings_needed=found.ratings_valid, anchors_needed=0)


def _batches_a_rater(session: Session, study: Study, clips: int, missing: int, raters: int) -> int:
    """Return how many batches the busiest rater will have had, if all share evenly what is missing.

    Batches that were left out count; nobody gets a clip twice.
    """
    size = study.protocol.batch_size
    so_far = session.scalar(select(func.max(Batch.number)).where(Batch.study_id == study.id)) or 0
    share = math.ceil(math.ceil(missing / size) / raters)
    return max(so_far, min(so_far + share, math.ceil(clips / size)))


def _stragglers(session: Session, study: Study, at: datetime) -> list[str]:
    """Say whose batches alone are waited for, where every other clip is done."""
    query = (
        select(Rater.pseudonym, Batch.number)
        .join(Batch, Batch.rater_id == Rater.id)
        .where(Batch.study_id == study.id, Batch.state == "open", Batch.number > 0, Batch.lease_until <= at)
        .order_by(Rater.id)
    )
    away = [f"batch {number} of {rater}" for rater, number in session.execute(query)]
    if not away:
        return []
    return [
        f"Only ratings in open batches are missing, and their raters are away: {', '.join(away)}. They count when "
        f"the rater ends the batch, or {study.protocol.close_after_days:g} days after its last rating; "
        f"`close {study.name} --rater RATER` ends it now."
    ]


def _count(session: Session, study: Study, condition: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(Trial).join(Batch)
    of_study = query.where(Batch.study_id == study.id, Trial.role == "stimulus", condition)
    return session.execute(of_study).scalar_one()


def _raters_missing(
    session: Session,
    study: Study,
    clip_ids: Collection[int],
    raters: Sequence[int],
    claims: Mapping[int, int],
    at: datetime,
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
    had: dict[int, int] = dict(session.execute(query).all())
    missing = {}
    for clip_id in clip_ids:
        wanted = study.protocol.raters_per_clip - claims.get(clip_id, 0)
        lacking = wanted - (len(raters) - had.get(clip_id, 0))
        if wanted > 0 and lacking > 0:
            missing[clip_id] = lacking
    return missing


def _shortage(protocol: Protocol, counts: Mapping[str, int], missing: Mapping[int, int]) -> list[str]:
    clips, anchors, practice = counts["stimulus"], counts["anchor"], counts["practice"]
    sentences = []
    if clips == 0:
        sentences.append("There are no clips to rate: ingest some.")
    if anchors < protocol.anchors:
        lacking = protocol.anchors - anchors
        sentences.append(f"A batch needs {protocol.anchors} anchors and there are {anchors}: add {lacking}.")
    if practice < protocol.training:
        sentences.append(
            f"The rules ask for {protocol.training} practice clips and there are {practice}: raters go from consent "
            "to clips that count. Add practice clips."
            if practice == 0
            else f"The rules ask for {protocol.training} practice clips and there are {practice}: add some."
        )
    if missing:
        sentences.append(
            f"{len(missing)} of {clips} clips have too few raters left who have not heard them: "
            f"invite {max(missing.values())} more."
        )
    return sentences
