"""How a study goes on while raters work: what has changed since the last look, by a few cheap counts.

Made to be asked every few seconds. Answers are only ever added, so what each rater gave is counted on from the last
answer that was counted (`count_on`); what can change afterwards, which batches count and who is at work, is counted
anew. Hours are the time from a clip's being shown to its answer, of each clip at most its length and `PAUSE_S`:
whoever leaves in the middle of a batch is not at work.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
from sqlalchemy import and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from annotation.dialects.expressions import day_of, seconds_between
from annotation.protocol import Protocol
from annotation.results import Table
from annotation.results.agreement import Codes
from annotation.schema import Batch, Clip, Exclusion, Rater, Response, Study, Trial
from annotation.session.exclusions import excluded_raters
from annotation.session.holds import CHECKS
from core.files import first_of

PAUSE_S = 300.0  # without an answer, besides the clip, that count as work
PACE_DAYS = 7  # from which the pace is told
LEAST_RATINGS = 20  # before the time that a rating takes is told
LAST_BATCHES = 6  # of a rater, in which failures are an alarm
LEAST_BATCHES = 3  # of a rater, before an alarm can show
ALARM = 0.01  # chance that as many batches of an honest rater fail
_MOST_NAMED = 12
_FAR_DAYS = 36_500.0
_FEW = 500  # batches that are asked for by their numbers
_SILENT = f"No alarm can show yet: it takes {LEAST_BATCHES} batches of a rater that have ended."

# Built once: putting a statement together takes longer than SQLite needs to run it.
_SECONDS, _MOST_S = seconds_between(Trial.shown_at, Response.given_at), Clip.duration_s + PAUSE_S
_WORKED = case((_MOST_S.is_(None), None), (_SECONDS > _MOST_S, _MOST_S), (_SECONDS < 0, 0.0), else_=_SECONDS)


@dataclass(frozen=True)
class Given:
    """What one rater gave on one day (in UTC)."""

    answers: int = 0  # practice and checks too
    ratings: int = 0  # of clips, whether they count or not
    practice_s: float = 0.0
    rating_s: float = 0.0


@dataclass(frozen=True)
class Answers:
    """All answers of a study up to one of them."""

    last: int = 0  # its id
    first: datetime | None = None  # when the first was given
    by_day: Mapping[tuple[int, str], Given] = field(default_factory=dict)  # by rater and day
    clips: Mapping[int, Codes] = field(default_factory=dict)  # rated in each batch that was seen to count


def count_on(session: Session, study: Study, before: Answers | None = None) -> Answers:
    """Add the answers that came since."""
    before = before or Answers()
    stimulus, practice = case((Trial.role == "stimulus", 1), else_=0), case((Batch.number == 0, _WORKED), else_=0.0)
    day = day_of(Response.given_at)
    query = (
        select(
            *(Batch.rater_id, day, func.max(Response.id), func.count(), func.sum(stimulus)),
            *(func.sum(practice), func.sum(_WORKED), func.min(Response.given_at)),
        )
        .select_from(Response)
        .join(Trial, Response.trial_id == Trial.id)
        .join(Batch, Trial.batch_id == Batch.id)
        .join(Clip, Trial.clip_id == Clip.id)
        # Of an expression SQLite looks nothing up: it goes from the new answers to their study, not through the study.
        .where(Response.id > before.last, Batch.study_id + 0 == study.id)
        .group_by(Batch.rater_id, day)
    )
    last, first, by_day = before.last, before.first, dict(before.by_day)
    for rater, of_day, newest, answers, ratings, practice_s, worked_s, earliest in session.execute(query).all():
        of_day = of_day or ""  # of an import, times may not be known
        had, practised_s = by_day.get((rater, of_day), Given()), practice_s or 0.0
        by_day[rater, of_day] = Given(
            had.answers + answers,
            had.ratings + ratings,
            had.practice_s + practised_s,
            had.rating_s + (worked_s or 0.0) - practised_s,
        )
        last = max(last, newest)
        first = min(first or earliest, earliest) if earliest else first
    return Answers(last, first, by_day, _clips_on(session, study, before.clips))


def _clips_on(session: Session, study: Study, before: Mapping[int, Codes]) -> dict[int, Codes]:
    """Add the clips of batches that count and were not seen before; what has ended holds the same clips for good."""
    valid = (Batch.study_id == study.id, Batch.state == "valid")
    new = {batch_id for (batch_id,) in session.execute(select(Batch.id).where(*valid))} - before.keys()
    if not new:
        return dict(before)
    rated = select(Trial.batch_id, Trial.clip_id).where(Trial.role == "stimulus", Trial.state == "rated")
    few = Trial.batch_id.in_(new) if len(new) < _FEW else Trial.batch_id.in_(select(Batch.id).where(*valid))
    found: dict[int, list[int]] = defaultdict(list)
    for batch_id, clip_id in session.connection().execute(rated.where(few)).all():
        found[batch_id].append(clip_id)
    return {**before, **{batch_id: np.array(clips) for batch_id, clips in found.items()}}


@dataclass(frozen=True)
class RaterPace:
    """What one rater gave so far; hours are worked ones, practice apart."""

    rater: str
    state: str  # at work, paused, withdrawn, or empty
    hours: float
    practice_hours: float
    answers: int
    ratings: int
    days: int  # on which they answered
    batches_failed: int
    batches_ended: int
    last_failed: int  # of the latest batches since the rater was let go on, at most `LAST_BATCHES`
    last_ended: int


@dataclass(frozen=True)
class Live:
    """How far a study is, and how it goes on; None is what so few ratings cannot tell, which `lacking` says."""

    study: str
    at: datetime
    raters_per_clip: int  # 0: nobody goes on rating, and nothing is needed
    clips: int
    clips_done: int
    ratings_needed: int
    ratings_valid: int
    ratings_pending: int
    at_work: list[str]
    rate_a_day: float | None  # of ratings that count, by all raters
    hours_left: float | None  # of work, by all raters together
    finish_at: datetime | None
    lacking: str
    alarms: list[str]
    silent: str  # why none can show
    raters: list[RaterPace]

    @property
    def sentences(self) -> list[str]:
        """Who is at work, how fast it goes on, and when it may be done; nothing of ratings from elsewhere."""
        if not self.raters_per_clip:
            return []
        some = first_of(self.at_work, _MOST_NAMED)
        said = [f"At work: {some}." if some else "Nobody is at work."]
        if self.rate_a_day is not None:
            said.append(f"{self.rate_a_day:,.1f} ratings a day that count.")
        if self.hours_left is not None:
            said.append(f"About {self.hours_left:,.1f} hours of listening are left.")
        if self.finish_at is not None:
            said.append(f"At this pace all is rated about {self.finish_at:%Y-%m-%d}.")
        return [*said, *([self.lacking] if self.lacking else [])]

    @property
    def hours_table(self) -> Table:
        """What each rater gave, for payment too."""
        heads = ("Rater", "Hours", "Practice (hours)", "Days", "Answers", "Ratings", "Batches", "Failed batches")
        rows = [
            (
                *(one.rater, f"{one.hours:.2f}", f"{one.practice_hours:.2f}", one.days, one.answers, one.ratings),
                *(one.batches_ended, one.batches_failed),
            )
            for one in self.raters
        ]
        return Table("Hours of each rater", heads, rows, "Nobody is invited yet.")


def live(session: Session, study: Study, at: datetime, answers: Answers) -> Live:
    """Say how a study goes on at a time, of which the answers were counted."""
    protocol, counts = study.protocol, _counts(session, study, answers)
    of_clip, raters = protocol.raters_per_clip if study.has_batches else 0, _raters(session, study, at, answers)
    needed = counts.clips * of_clip or counts.valid
    left = max(needed - counts.valid - counts.pending, 0)
    rate, hours = _rate_a_day(answers, counts.counting, at), _hours_left(answers, counts.counting, left)
    goes_on = bool(study.state == "open" and rate and left)
    return Live(
        study=study.name,
        at=at,
        raters_per_clip=of_clip,
        clips=counts.clips,
        clips_done=counts.done,
        ratings_needed=needed,
        ratings_valid=counts.valid,
        ratings_pending=counts.pending,
        at_work=[one.rater for one in raters if one.state == "at work"],
        rate_a_day=rate,
        hours_left=hours if left else None,
        finish_at=at + timedelta(days=min(left / (rate or 1), _FAR_DAYS)) if goes_on else None,
        lacking=_lacking(answers, rate) if left else "",
        alarms=_alarms(protocol, raters),
        silent="" if not of_clip or any(one.last_ended >= LEAST_BATCHES for one in raters) else _SILENT,
        raters=raters,
    )


class _Counts(NamedTuple):
    clips: int
    done: int
    valid: int  # without the surplus
    counting: int  # with it, and with what is pending
    pending: int


def _counts(session: Session, study: Study, answers: Answers) -> _Counts:
    connection = session.connection()
    clips = select(Clip.id).where(Clip.study_id == study.id, Clip.kind == "stimulus", Clip.retired_at.is_(None))
    in_use = np.array(connection.execute(clips).scalars().all(), int)
    valid = select(Batch.id).where(Batch.study_id == study.id, Batch.state == "valid")
    rated = [answers.clips[one] for one in connection.execute(valid).scalars() if one in answers.clips]
    n = np.bincount(np.concatenate([np.array([], int), *rated]), minlength=in_use.max(initial=0) + 1)[in_use]
    waits = (
        select(func.count())
        .select_from(Trial)
        .join(Batch)
        .where(Batch.study_id == study.id, Batch.state == "open", Trial.role == "stimulus", Trial.state == "rated")
    )
    pending = connection.execute(waits).scalar_one()
    if not study.has_batches:
        return _Counts(len(in_use), int((n > 0).sum()), int(n.sum()), int(n.sum()), pending)
    limit = study.protocol.raters_per_clip
    done, without = int((n >= limit).sum()), int(np.minimum(n, limit).sum())
    return _Counts(len(in_use), done, without, int(n.sum()) + pending, pending)


def _raters(session: Session, study: Study, at: datetime, answers: Answers) -> list[RaterPace]:
    """Return what each rater gave, in the order of their invitation."""
    given: dict[int, list[Given]] = defaultdict(list)
    for (rater_id, _), of_day in answers.by_day.items():
        given[rater_id].append(of_day)
    failed = and_(Batch.state == "excluded", exists().where(Exclusion.batch_id == Batch.id, Exclusion.rule.in_(CHECKS)))
    running = and_(Batch.state == "open", Batch.lease_until > at)
    tested = or_(Rater.resumed_at.is_(None), Batch.screened_at > Rater.resumed_at)
    batches = (
        select(Batch.rater_id, Batch.state, failed, running, tested)
        .join(Rater, Batch.rater_id == Rater.id)
        .where(Batch.study_id == study.id, Batch.number > 0)
        .order_by(Batch.rater_id, Batch.number)
    )
    connection = session.connection()  # the session would look at every row as at an object
    judged: dict[int, list[bool]] = defaultdict(list)
    latest: dict[int, list[bool]] = defaultdict(list)
    at_work = set()
    for rater_id, state, has_failed, runs, is_tested in connection.execute(batches).all():
        if has_failed or state == "valid":
            judged[rater_id].append(bool(has_failed))
            latest[rater_id] += [bool(has_failed)] if is_tested else []
        if runs:
            at_work.add(rater_id)
    out = excluded_raters(session, study)
    raters = select(Rater.id, Rater.pseudonym, Rater.withdrawn_at, Rater.paused_at).where(Rater.study_id == study.id)
    found = []
    for rater_id, name, withdrawn_at, paused_at in connection.execute(raters.order_by(Rater.id)).all():
        states = {"withdrawn": withdrawn_at, "excluded": rater_id in out, "paused": paused_at}
        state = next((word for word, holds in states.items() if holds), "at work" if rater_id in at_work else "")
        found.append(_pace_of(name, state, given[rater_id], judged[rater_id], latest[rater_id]))
    return found


def _pace_of(
    name: str, state: str, given: Sequence[Given], judged: Sequence[bool], tested: Sequence[bool]
) -> RaterPace:
    latest = tested[-LAST_BATCHES:]
    return RaterPace(
        rater=name,
        state=state,
        hours=sum(day.rating_s for day in given) / 3600,
        practice_hours=sum(day.practice_s for day in given) / 3600,
        answers=sum(day.answers for day in given),
        ratings=sum(day.ratings for day in given),
        days=len(given),
        batches_failed=sum(judged),
        batches_ended=len(judged),
        last_failed=sum(latest),
        last_ended=len(latest),
    )


def _rate_a_day(answers: Answers, counting: int, at: datetime) -> float | None:
    """Return how many ratings a day count, of the last days; None before a day has gone by."""
    if answers.first is None or at - answers.first < timedelta(days=1):
        return None
    begins = max(answers.first, at - timedelta(days=PACE_DAYS))
    # Days are counted whole: from the midnight before.
    whole = begins if begins == answers.first else begins.replace(hour=0, minute=0, second=0, microsecond=0)
    given = sum(one.ratings for (_, day), one in answers.by_day.items() if day >= f"{whole:%Y-%m-%d}")
    ratings = sum(one.ratings for one in answers.by_day.values())
    return given * counting / max(ratings, 1) / ((at - whole) / timedelta(days=1))


def _hours_left(answers: Answers, counting: int, left: int) -> float | None:
    """Return the hours of all raters together, batches that fail included, at what a rating took so far."""
    worked_s = sum(one.rating_s for one in answers.by_day.values())
    return left * worked_s / counting / 3600 if counting >= LEAST_RATINGS and worked_s else None


def _lacking(answers: Answers, rate: float | None) -> str:
    if answers.first is None:
        return "Nobody has answered yet, so there is no pace to tell."
    if rate is None:
        return "The pace is told when a day has gone by since the first answer."
    return "" if rate else f"Nobody rated in the last {PACE_DAYS} days."


def _alarms(protocol: Protocol, raters: Sequence[RaterPace]) -> list[str]:
    """Name the raters whose latest batches fail more often than an honest rater's, the worst first."""
    worst = sorted(raters, key=lambda one: -one.last_failed)
    said = []
    for one in worst:
        failed = f"{one.last_failed} of the last {one.last_ended} batches failed"
        surprising = one.last_ended >= LEAST_BATCHES and _chance(one, protocol.pause_honest) < ALARM
        if one.state == "paused":
            said.append(f"{one.rater} is paused{f': {failed}' if surprising else ''}.")
        elif surprising and one.state not in ("withdrawn", "excluded"):
            said.append(f"{one.rater}: {failed}.")
    return said


def _chance(one: RaterPace, share: float) -> float:
    """Return the chance that so many of a rater's latest batches fail, or more."""
    n = one.last_ended
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(one.last_failed, n + 1))
