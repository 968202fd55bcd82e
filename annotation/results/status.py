"""How a study stands, for whoever runs it and never for a rater: progress, what is missing, who is where.

Reads and changes nothing; `overview` and ``status`` end abandoned batches before they read. Signs of not
listening are shown and exclude nobody.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import case, exists, func, select
from sqlalchemy.orm import Session

from annotation.database import Database, now
from annotation.material.files import CHANGED, MISSING, clip_files
from annotation.protocol import Protocol
from annotation.results import Figure, Table
from annotation.results.progress import Progress, progress
from annotation.results.ratings import ratings_table
from annotation.results.reliability import Reliability, reliability
from annotation.results.scores import Results
from annotation.results.screening import Screening, screening
from annotation.results.signs import listening_signs
from annotation.rules import RULES, STRICT, false_alarms, strict_alarm, words
from annotation.schema import Batch, Clip, Problem, Rater, Response, Study, Trial, Visit
from annotation.session.exclusions import (
    Change,
    change_log,
    close_abandoned,
    excluded_raters,
    in_force,
    possible_changes,
)
from annotation.studies import find_study, shown_time
from core.errors import counted, shown_name
from core.files import first_of
from core.scales import keys

NOT_SCREENED = "– (imported without batches and checks: nothing was screened)"
_MOST_PROBLEMS = 20  # that a terminal shows


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
    batches_valid: int | None  # None: the ratings were imported without batches
    batches_excluded: int | None
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
    """What the hidden checks did, and how often they would be wrong; of ratings without checks, nothing."""

    screened: bool
    expected_false_alarms: dict[str, float]  # of one full batch: by rule, and ``either``
    expected_of_strict: float  # by an anchor, of a rater who gives `STRICT` points less
    batches_ended: int
    batches_empty: int  # that ended without a rating that could count
    batches_excluded: int
    excluded_by: dict[str, int]

    @property
    def excluded(self) -> str:
        """How many batches are excluded, in words."""
        if not self.screened:
            return NOT_SCREENED
        rules = ", ".join(f"{rule}: {count}" for rule, count in sorted(self.excluded_by.items()))
        excluded = f"{self.batches_excluded} of them excluded" + (f" ({rules})" if rules else "")
        empty = f", {self.batches_empty} without a rating" if self.batches_empty else ""
        return f"{self.batches_ended} have ended, {excluded}{empty}"

    @property
    def by_chance(self) -> str:
        """How often an honest rater fails, in words."""
        if not self.screened:
            return NOT_SCREENED
        chances = self.expected_false_alarms
        by_rule = (f"{chances[rule.name]:.1%} {rule.by}" for rule in RULES if rule.name in chances)
        said = f"By chance, a good rater fails {chances['either']:.1%} of batches: {', '.join(by_rule)}"
        if not self.expected_of_strict:
            return said
        return f"{said}; one who rates {STRICT:g} points lower fails {self.expected_of_strict:.1%} by an anchor"


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
    faults: list[str]  # of the clips' files, in a sentence

    def to_json(self) -> dict[str, Any]:
        """Return what ``status --json`` prints."""
        found, screened = asdict(self), self.checks.screened
        del found["checks"]["screened"]
        return found | {
            "protocol": self.protocol.to_json() if screened else None,
            "checks": found["checks"] if screened else None,
            "raters": [rater.to_json() for rater in self.raters],
        }

    @property
    def raters_table(self) -> Table:
        """Who is where; signs are empty for most."""
        heads = ("Rater", "Where", "Valid batches", "Excluded", "Ratings", "Last rating", "Signs")
        rows = [
            (
                *(rater.rater, rater.where),
                *("–" if count is None else count for count in (rater.batches_valid, rater.batches_excluded)),
                rater.ratings,
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
        lines += [f"! {sentence}" for sentence in (*self.faults, *self.progress.shortage, *self.progress.notes)]
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
            if status.checks.screened
            else f"{status.progress.clips_done} of {status.progress.clips} have valid ratings"
        ),
    ),
    Figure("Ratings", _ratings_in_words),
    Figure(
        "Anchors",
        lambda status: (
            f"{status.progress.anchors}; with {status.progress.anchors_needed} no rater would hear one twice, if all "
            "share what is missing evenly"
            if status.protocol.anchors
            else NOT_SCREENED
            if not status.checks.screened
            else f"{status.progress.anchors}; the rules ask for none"
        ),
    ),
    Figure(
        "Practice",
        lambda status: (
            f"{status.progress.training} clips; the rules ask for {status.protocol.training}"
            if status.checks.screened
            else "– (not known of ratings that were imported)"
        ),
    ),
    Figure("Raters", lambda status: str(status.progress.raters)),
    Figure("Batches", lambda status: status.checks.excluded),
    Figure("Checks", lambda status: status.checks.by_chance),
)


def status(session: Session, study: Study, at: datetime, data: Path | None = None) -> Status:
    """Gather how a study stands at a time, which decides which leases run; with a data folder, its files too."""
    return _status(session, study, at, listening_signs(ratings_table(session, study), keys(study.scales)), data)


def _status(session: Session, study: Study, at: datetime, signs: pd.DataFrame, data: Path | None) -> Status:
    return Status(
        study.name,
        at.isoformat(),
        study.protocol,
        progress(session, study, at),
        _checks(session, study),
        _raters(session, study, at, dict(zip(signs["rater"], signs["flags"], strict=True))),
        _problems(session, study),
        _faults(session, study, data) if data else [],
    )


def _checks(session: Session, study: Study) -> Checks:
    by_rule = Counter(exclusion.rule for exclusion in in_force(session, study).values())
    query = select(Batch.state, func.count()).where(Batch.study_id == study.id, Batch.number > 0)
    states: dict[str, int] = dict(session.execute(query.group_by(Batch.state)).all())
    return Checks(
        study.has_batches,
        false_alarms(study.protocol, study.scales),
        strict_alarm(study.protocol, study.scales),
        states.get("valid", 0) + states.get("empty", 0) + by_rule.total(),
        states.get("empty", 0),
        by_rule.total(),
        dict(by_rule),
    )


def _raters(session: Session, study: Study, at: datetime, signs: Mapping[str, list[str]]) -> list[RaterStatus]:
    last, out, came = _latest(session, study), excluded_raters(session, study), _came(session, study)
    of_rater: dict[int, list[Batch]] = defaultdict(list)
    for batch in session.scalars(select(Batch).where(Batch.study_id == study.id).order_by(Batch.number)):
        of_rater[batch.rater_id].append(batch)
    trials = _trials(session, study)
    rows = []
    for rater in session.scalars(select(Rater).where(Rater.study_id == study.id).order_by(Rater.id)):
        batches = of_rater[rater.id]
        counted = [batch.state for batch in batches if batch.number > 0]
        rated_at, n_ratings = last.get(rater.id, (None, 0))
        state, in_hand = ("excluded", None) if rater.id in out else _where(batches, trials, rater.id in came, at)
        if study.imported is not None and state != "excluded":
            state, in_hand = "imported", None
        state = "withdrawn" if rater.withdrawn_at else state
        rows.append(
            RaterStatus(
                rater=rater.pseudonym,
                state=state,
                in_hand=in_hand,
                batches_valid=counted.count("valid") if study.has_batches else None,
                batches_excluded=counted.count("excluded") if study.has_batches else None,
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


def _came(session: Session, study: Study) -> set[int]:
    """Return the raters who have signed in."""
    return set(session.scalars(select(Visit.rater_id).join(Rater).where(Rater.study_id == study.id).distinct()))


def _trials(session: Session, study: Study) -> dict[int, tuple[int, int]]:
    """Count, by open batch, the trials that are rated, and all but the released ones."""
    rated = func.sum(case((Trial.state == "rated", 1), else_=0))
    held = func.sum(case((Trial.state != "released", 1), else_=0))
    query = select(Trial.batch_id, rated, held).join(Batch).where(Batch.study_id == study.id, Batch.state == "open")
    return {batch_id: (done, count) for batch_id, done, count in session.execute(query.group_by(Trial.batch_id))}


def _where(
    batches: Sequence[Batch], trials: Mapping[int, tuple[int, int]], came: bool, at: datetime
) -> tuple[str, InHand | None]:
    if not batches:
        return "signed in" if came else "not signed in yet", None
    batch = batches[-1]
    if batch.state != "open":
        return "between batches", None
    rated, count = trials.get(batch.id, (0, 0))
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


def _faults(session: Session, study: Study, data: Path) -> list[str]:
    """Name the clips that raters cannot hear; those that could not be sent are hashed, of all others the length."""
    heard = exists().where(Clip.study_id == study.id, Clip.duration_s.is_not(None))
    if study.imported is not None and not session.scalar(select(heard)):
        return []
    lost = select(Clip.name).join(Trial).join(Problem).where(Problem.comment.in_((MISSING, CHANGED)))
    reported = set(session.scalars(lost.where(Clip.study_id == study.id)))
    files = [(name, file) for name, file in clip_files(session, data, study).items() if file.is_expected]
    wrong = [name for name, file in files if not file.looks_right() or (name in reported and file.fault())]
    if not wrong:
        return []
    return [
        f"No rater hears {counted(len(wrong), 'clip')}, of which the file is missing or is not what was ingested: "
        f"{first_of([f'{name}.wav' for name in wrong])}. Put it back into studies/{study.name}/clips from a copy."
    ]


@dataclass(frozen=True)
class Overview:
    """How a study stands, what it has found out, and what can be excluded or restored: all of one moment."""

    demo: bool  # composed clips or simulated raters
    ratings: pd.DataFrame  # as `ratings_table` has them
    status: Status
    results: Results
    reliability: Reliability
    screening: Screening
    log: pd.DataFrame
    changes: list[Change]

    @property
    def log_table(self) -> Table:
        """What was left out or put back, the latest first."""
        rows = []
        for entry in reversed(self.log.to_dict("records")):
            batch = None if entry["batch"] == "all" else entry["batch"]
            figures = "; ".join(words(json.loads(entry["evidence"]), self.results.scales)) or "–"
            done = Change(self.status.study, entry["action"], entry["rater"], batch)
            when = shown_time(entry["at"].isoformat())
            what = f"{done.action.capitalize()} {done.what}"
            rows.append((what, entry["rule"], entry["reason"], figures, entry["author"], when))
        heads = ("What", "Rule", "Reason", "Figures", "By", "When")
        return Table("Log, the latest first", heads, rows, "Nothing was excluded so far.")


def studies_table(session: Session) -> Table:
    """List all studies, the newest first, with what they hold."""
    clips = (
        select(func.count())
        .where(Clip.study_id == Study.id, Clip.kind == "stimulus", Clip.retired_at.is_(None))
        .scalar_subquery()
    )
    raters = select(func.count()).where(Rater.study_id == Study.id).scalar_subquery()
    responses = select(func.count(Response.id)).join(Trial).join(Batch).where(Batch.study_id == Study.id)
    of_study = (Study.name, Study.state, Study.created_at, clips, raters, responses.scalar_subquery())
    query = select(*of_study, Study.demo, Study.imported)
    newest = query.order_by(Study.created_at.desc(), Study.id.desc())
    rows = [
        (name, state, shown_time(created_at.isoformat()), *counts, _kind(demo, imported))
        for name, state, created_at, *counts, demo, imported in session.execute(newest)
    ]
    return Table("Studies", ("Study", "State", "Created", "Clips", "Raters", "Answers", ""), rows)


def _kind(demo: bool, imported: Mapping[str, Any] | None) -> str:
    return ", ".join(word for word, holds in (("simulated", demo), ("imported", imported is not None)) if holds)


def overview(database: Database, study_name: str, at: datetime | None = None, data: Path | None = None) -> Overview:
    """End abandoned batches, then gather all figures of a study; with a data folder, look at its files too."""
    close_abandoned(database, study_name, at)
    with database.read() as session:
        study = find_study(session, study_name)
        ratings = ratings_table(session, study)
        signs = listening_signs(ratings, keys(study.scales))
        at = now(session) if at is None else at
        return Overview(
            study.demo,
            ratings,
            _status(session, study, at, signs, data),
            Results.of(ratings, study.scales),
            reliability(ratings, study.scales, signs),
            screening(ratings, study.protocol, study.scales),
            change_log(session, study),
            possible_changes(session, study),
        )
