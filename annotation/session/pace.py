"""How long a rater will take: the clips' durations, and what this rater needs besides.

That is read from their own answers, so the estimate is honest for the quick and for the careful. Practice
counts too: it is the first that is known of a rater.
"""

from statistics import median

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Rater, Rating, Trial

DEFAULT_OVERHEAD_S = 15.0  # that a trial takes besides the clip, until the rater's own is known


def overhead_s(session: Session, rater: Rater) -> float:
    """Give what a trial takes this rater besides the clip: the median of their last two batches."""
    latest = select(func.max(Batch.number)).where(Batch.rater_id == rater.id).scalar_subquery()
    query = (
        select(Trial.shown_at, Rating.given_at, Clip.duration_s)
        .select_from(Batch)
        .join(Trial, Trial.batch_id == Batch.id)
        .join(Rating, Rating.trial_id == Trial.id)
        .join(Clip, Trial.clip_id == Clip.id)
        .where(Batch.rater_id == rater.id, Batch.number >= latest - 1)
    )
    overheads = [
        max((given_at - shown_at).total_seconds() - duration_s, 0.0)
        for shown_at, given_at, duration_s in session.execute(query)
        if shown_at is not None
    ]
    return median(overheads) if overheads else DEFAULT_OVERHEAD_S


def next_batch_s(session: Session, rater: Rater, practice: int) -> float:
    """Estimate a rater's next batch in seconds: practice of so many clips, or else a full batch."""
    trials = practice or Protocol.from_json(rater.study.protocol).trials_per_batch
    kind = "training" if practice else "stimulus"
    duration = select(func.avg(Clip.duration_s)).where(Clip.study_id == rater.study_id, Clip.kind == kind)
    duration_s: float = session.execute(duration).scalar_one()
    return trials * (duration_s + overhead_s(session, rater))
