"""How a study stands, for whoever runs it and never for a rater: progress, what is missing, who is where.

Reads and changes nothing. Signs of not listening are shown and exclude nobody.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import pandas as pd
from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results import Figure, Table
from annotation.results.ratings import Results, listening_signs, ratings_table
from annotation.results.reliability import Reliability, reliability
from annotation.rules import RULES, false_alarms
from annotation.schema import Batch, Clip, Problem, Rater, Response, Study, Trial, Visit
from annotation.session import ledger
from annotation.session.exclusions import Change, change_log, in_force, is_excluded, possible_changes
from annotation.studies import find_study
from core.errors import shown_name
from core.scales import keys

_MOST_PROBLEMS = 20  # that a terminal shows


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
    anchors_needed: int  # for no rater to hear one twice
    raters: int  # those who are not excluded
    raters_missing: int  # to invite, so that every clip can be done
    shortage: list[str]  # what stands in the way, a sentence each


@dataclass(frozen=True)
class InHand:
    """The trial that a rater is at; batch 0 is practice."""

    batch: int
    trial: int
    trials: int
    lease_until: str


@dataclass(frozen=True)
class RaterStatus:
    """Where a rater is, and what they have done; practice is no rating."""

    rater: str
    state: str
    in_hand: InHand | None
    batches_valid: int
    batches_excluded: int
    ratings: int
    last_rating_at: str | None
    signs: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the fields; those of the trial in hand only where there is one."""
        found = asdict(self)
        return found | (found.pop("in_hand") or {})

    @property
    def where(self) -> str:
        """The state and the trial, in words."""
        if self.in_hand is None:
            return self.state
        batch = f"batch {self.in_hand.batch}" if self.in_hand.batch else "practice"
        away = ", away: others may take its clips" if self.state == "away" and self.in_hand.batch else ""
        return f"{batch}, trial {self.in_hand.trial} of {self.in_hand.trials}{away}"


@dataclass(frozen=True)
class ClipProblem:
    """A rater's report that a clip did not play."""

    rater: str
    clip: str
    source_file: str
    comment: str
    reported_at: str


@dataclass(frozen=True)
class Checks:
    """What the hidden checks did, and how often they would be wrong."""

    expected_false_alarms: dict[str, float]  # of one full batch: by rule, and ``either``
    batches_ended: int
    batches_excluded: int
    excluded_by: dict[str, int]

    @property
    def excluded(self) -> str:
        """How many batches are excluded, in words."""
        rules = ", ".join(f"{rule}: {count}" for rule, count in sorted(self.excluded_by.items()))
        excluded = f"{self.batches_excluded} of them excluded" + (f" ({rules})" if rules else "")
        return f"{self.batches_ended} have ended, {excluded}"

    @property
    def by_chance(self) -> str:
        """How often an honest rater fails, in words."""
        chances = self.expected_false_alarms
        by_rule = (f"{chances[rule.name]:.1%} {rule.by}" for rule in RULES if rule.name in chances)
        return f"By chance, a good rater fails {chances['either']:.1%} of batches: {', '.join(by_rule)}"


@dataclass(frozen=True)
class Status:
    """How a study stands; times are ISO 8601, in UTC."""

    study: str
    at: str
    protocol: Protocol
    progress: Progress
    checks: Checks
    raters: list[RaterStatus]
    problems: list[ClipProblem]

    def to_json(self) -> dict[str, Any]:
        """Return what ``status --json`` prints."""
        return asdict(self) | {
            "protocol": self.protocol.to_json(),
            "raters": [rater.to_json() for rater in self.raters],
        }

    @property
    def raters_table(self) -> Table:
        """Who is where; signs are empty for most."""
        heads = ("Rater", "Where", "Valid batches", "Excluded", "Ratings", "Last rating", "Signs")
        rows = [
            (
                *(rater.rater, rater.where, rater.batches_valid, rater.batches_excluded, rater.ratings),
                shown_time(rater.last_rating_at) if rater.last_rating_at else "–",
                ", ".join(rater.signs) or "–",
            )
            for rater in self.raters
        ]
        return Table("Raters", heads, rows, "Nobody is invited yet.")

    @property
    def problems_table(self) -> Table:
        """Clips that did not play, the latest first."""
        rows = [
            (problem.rater, problem.source_file, problem.comment or "–", shown_time(problem.reported_at))
            for problem in reversed(self.problems)
        ]
        return Table("Clips that did not play", ("Rater", "Clip", "Comment", "When"), rows)

    def text(self) -> str:
        """Put the status into words for a terminal."""
        lines = [f"Study {self.study}, {shown_time(self.at)}", ""]
        lines += [f"{figure.name:<9} {figure.say(self)}" for figure in FIGURES]
        lines += [f"! {sentence}" for sentence in self.progress.shortage]
        if self.raters:
            lines += ["", self.raters_table.text()]
        if self.problems:
            lines += ["", f"Clips that did not play: {len(self.problems)}"]
        for problem in self.problems[-_MOST_PROBLEMS:]:
            comment = f": {shown_name(problem.comment)}" if problem.comment else ""
            lines.append(f"  {problem.rater}, {shown_time(problem.reported_at)}, {problem.source_file}{comment}")
        return "\n".join(lines)


def _ratings_in_words(status: Status) -> str:
    so_far = status.progress
    rest = {
        "in batches that have not ended": so_far.ratings_pending,
        "being listened to": so_far.ratings_leased,
        "more than a clip needs": so_far.ratings_surplus,
    }
    valid = f"{so_far.ratings_valid} of {so_far.ratings_needed} are valid"
    return ", ".join([valid, *(f"{count} {words}" for words, count in rest.items() if count)])


# What the terminal and the page show of a study, one line each.
FIGURES: tuple[Figure[Status], ...] = (
    Figure(
        "Clips",
        lambda status: (
            f"{status.progress.clips_done} of {status.progress.clips} have their "
            f"{status.protocol.raters_per_clip} valid ratings"
        ),
    ),
    Figure("Ratings", _ratings_in_words),
    Figure(
        "Anchors",
        lambda status: (
            f"{status.progress.anchors}; with {status.progress.anchors_needed} no rater would hear one twice"
        ),
    ),
    Figure(
        "Practice", lambda status: f"{status.progress.training} clips; the rules ask for {status.protocol.training}"
    ),
    Figure("Raters", lambda status: str(status.progress.raters)),
    Figure("Batches", lambda status: status.checks.excluded),
    Figure("Checks", lambda status: status.checks.by_chance),
)


def progress(session: Session, study: Study, at: datetime) -> Progress:
    """Count what a study has and what it lacks; the time decides which leases run."""
    protocol, limit = study.protocol, study.protocol.raters_per_clip
    clips: dict[str, set[int]] = {"stimulus": set(), "anchor": set(), "practice": set()}
    for kind, clip_id in session.execute(select(Clip.kind, Clip.id).where(Clip.study_id == study.id)):
        clips[kind].add(clip_id)
    everyone = session.scalars(select(Rater).where(Rater.study_id == study.id)).all()
    raters = [rater.id for rater in everyone if not is_excluded(session, rater)]
    valid = ledger.valid(session, study.id)
    missing = _raters_missing(session, study, clips["stimulus"], raters, at)
    needed = len(clips["stimulus"]) * limit
    batches = math.ceil(needed / protocol.batch_size)
    return Progress(
        clips=len(clips["stimulus"]),
        clips_done=sum(count >= limit for count in valid.values()),
        ratings_needed=needed,
        ratings_valid=sum(min(count, limit) for count in valid.values()),
        ratings_pending=_count(session, study, and_(Trial.state == "rated", Batch.state == "open")),
        ratings_leased=_count(session, study, ledger.leased(at)),
        ratings_surplus=sum(max(count - limit, 0) for count in valid.values()),
        training=len(clips["practice"]),
        anchors=len(clips["anchor"]),
        anchors_needed=protocol.anchors * math.ceil(batches / max(len(raters), limit)),
        raters=len(raters),
        raters_missing=max(missing.values(), default=0),
        shortage=_shortage(protocol, len(clips["stimulus"]), len(clips["anchor"]), missing),
    )


def _count(session: Session, study: Study, condition: ColumnElement[bool]) -> int:
    query = select(func.count()).select_from(Trial).join(Batch)
    of_study = query.where(Batch.study_id == study.id, Trial.role == "stimulus", condition)
    return session.execute(of_study).scalar_one()


def _raters_missing(
    session: Session, study: Study, clip_ids: Collection[int], raters: Sequence[int], at: datetime
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
    claims = ledger.claims(session, study.id, at)
    missing = {}
    for clip_id in clip_ids:
        wanted = study.protocol.raters_per_clip - claims.get(clip_id, 0)
        lacking = wanted - (len(raters) - had.get(clip_id, 0))
        if wanted > 0 and lacking > 0:
            missing[clip_id] = lacking
    return missing


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


def status(session: Session, study: Study, at: datetime) -> Status:
    """Gather how a study stands at a time, which decides which leases run."""
    return _status(session, study, at, ratings_table(session, study))


def _status(session: Session, study: Study, at: datetime, ratings: pd.DataFrame) -> Status:
    return Status(
        study.name,
        at.isoformat(),
        study.protocol,
        progress(session, study, at),
        _checks(session, study),
        _raters(session, study, at, ratings),
        _problems(session, study),
    )


def _checks(session: Session, study: Study) -> Checks:
    by_rule = Counter(exclusion.rule for exclusion in in_force(session, study).values())
    valid = select(func.count()).where(Batch.study_id == study.id, Batch.number > 0, Batch.state == "valid")
    return Checks(
        false_alarms(study.protocol, study.scales),
        session.execute(valid).scalar_one() + by_rule.total(),
        by_rule.total(),
        dict(by_rule),
    )


def _raters(session: Session, study: Study, at: datetime, ratings: pd.DataFrame) -> list[RaterStatus]:
    table = listening_signs(ratings, keys(study.scales))
    signs = dict(zip(table["rater"], table["flags"], strict=True))
    last = _latest(session, study)
    rows = []
    for rater in session.scalars(select(Rater).where(Rater.study_id == study.id).order_by(Rater.id)):
        of_rater = select(Batch).where(Batch.rater_id == rater.id).order_by(Batch.number)
        batches = session.scalars(of_rater).all()
        counted = [batch.state for batch in batches if batch.number > 0]
        rated_at, n_ratings = last.get(rater.id, (None, 0))
        state, in_hand = _where(session, rater, batches, at)
        rows.append(
            RaterStatus(
                rater=rater.pseudonym,
                state=state,
                in_hand=in_hand,
                batches_valid=counted.count("valid"),
                batches_excluded=counted.count("excluded"),
                ratings=n_ratings,
                last_rating_at=rated_at.isoformat() if rated_at else None,
                signs=signs.get(rater.pseudonym, []),
            )
        )
    return rows


def _latest(session: Session, study: Study) -> dict[int, tuple[datetime, int]]:
    """Time of the last rating and number of ratings by rater; practice is left out of the number."""
    counts = func.sum(case((Batch.number > 0, 1), else_=0))
    query = (
        select(Batch.rater_id, func.max(Response.given_at), counts)
        .join(Trial, Trial.batch_id == Batch.id)
        .join(Response, Response.trial_id == Trial.id)
        .where(Batch.study_id == study.id)
        .group_by(Batch.rater_id)
    )
    return {rater_id: (given_at, int(count)) for rater_id, given_at, count in session.execute(query)}


def _where(session: Session, rater: Rater, batches: Sequence[Batch], at: datetime) -> tuple[str, InHand | None]:
    if is_excluded(session, rater):
        return "excluded", None
    if not batches:
        visited = session.scalar(select(Visit.id).where(Visit.rater_id == rater.id).limit(1))
        return "not signed in yet" if visited is None else "signed in", None
    batch = batches[-1]
    if batch.state != "open":
        return "between batches", None
    of_batch = select(func.count()).where(Trial.batch_id == batch.id)
    rated = session.scalar(of_batch.where(Trial.state == "rated")) or 0
    count = session.scalar(of_batch.where(Trial.state != "released")) or 0
    in_hand = InHand(batch.number, min(rated + 1, count), count, batch.lease_until.isoformat())
    return "in a batch" if batch.lease_until > at else "away", in_hand


def _problems(session: Session, study: Study) -> list[ClipProblem]:
    query = (
        select(Rater.pseudonym, Clip.name, Clip.source_file, Problem.comment, Problem.reported_at)
        .select_from(Problem)
        .join(Trial, Problem.trial_id == Trial.id)
        .join(Rater, Trial.rater_id == Rater.id)
        .join(Clip, Trial.clip_id == Clip.id)
        .where(Rater.study_id == study.id)
        .order_by(Problem.id)
    )
    return [
        ClipProblem(rater, clip, source_file, comment, at.isoformat())
        for rater, clip, source_file, comment, at in session.execute(query)
    ]


def shown_time(iso: str) -> str:
    """Show a time to the minute."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Overview:
    """How a study stands, what it has found out, and what can be excluded or restored: all of one moment."""

    demo: bool  # composed clips or simulated raters
    status: Status
    results: Results
    reliability: Reliability
    log: pd.DataFrame
    changes: list[Change]


def study_names(database: Database) -> list[str]:
    """Name all studies, the newest first."""
    with database.read() as session:
        return list(session.scalars(select(Study.name).order_by(Study.created_at.desc(), Study.id.desc())))


def overview(database: Database, study_name: str, at: datetime) -> Overview:
    """Gather all figures of a study."""
    with database.read() as session:
        study = find_study(session, study_name)
        ratings = ratings_table(session, study)
        return Overview(
            study.demo,
            _status(session, study, at, ratings),
            Results.of(ratings, study.scales),
            reliability(ratings, study.scales),
            change_log(session, study),
            possible_changes(session, study),
        )
