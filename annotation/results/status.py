"""How a study stands, for whoever runs it: progress, what is missing, who is where, what looks wrong.

Reads and changes nothing. Signs of not listening are shown and exclude nobody.
"""

import dataclasses
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.results.false_alarms import expected_false_alarms
from annotation.results.progress import progress
from annotation.results.ratings import ratings_table
from annotation.results.reliability import flags
from annotation.schema import Batch, Clip, Exclusion, Problem, Rater, Rating, Study, Trial, Visit
from annotation.session.screening import is_excluded
from core.errors import shown_name

_MOST_PROBLEMS = 20


def status(session: Session, study: Study, at: datetime) -> dict[str, Any]:
    """Gather how a study stands.

    Parameters
    ----------
    session : Session
    study : Study
    at : datetime
        Now: decides which leases run.

    Returns
    -------
    dict
        Ready for JSON: ``study``, ``at``, ``protocol``, ``progress`` (the fields of
        `annotation.results.progress.Progress`), ``checks`` (chances that an honest rater fails a batch, and
        what happened), ``raters`` and ``problems``. Times are ISO 8601, in UTC.
    """
    protocol = Protocol.from_json(study.protocol)
    return {
        "study": study.name,
        "at": at.isoformat(),
        "protocol": study.protocol,
        "progress": dataclasses.asdict(progress(session, study, at)),
        "checks": {
            "expected_false_alarms": dataclasses.asdict(expected_false_alarms(protocol)),
            **_screened(session, study),
        },
        "raters": _raters(session, study, at),
        "problems": _problems(session, study),
    }


def _screened(session: Session, study: Study) -> dict[str, Any]:
    """How many batches ended, and how many of them are excluded by which rule."""
    by_rule: dict[str, int] = {}
    excluded = select(Batch.id, Batch.rater_id).where(Batch.study_id == study.id, Batch.state == "excluded")
    for batch_id, rater_id in session.execute(excluded):
        of_batch = (Exclusion.batch_id == batch_id) | (
            (Exclusion.rater_id == rater_id) & Exclusion.batch_id.is_(None)
        )
        in_force = select(Exclusion.rule).where(of_batch, Exclusion.action == "exclude")
        rule = session.scalar(in_force.order_by(Exclusion.id.desc()).limit(1)) or "by hand"
        by_rule[rule] = by_rule.get(rule, 0) + 1
    of_study = select(func.count()).where(Batch.study_id == study.id, Batch.number > 0)
    valid = session.execute(of_study.where(Batch.state == "valid")).scalar_one()
    n_excluded = sum(by_rule.values())
    return {"batches_ended": valid + n_excluded, "batches_excluded": n_excluded, "excluded_by": by_rule}


def _raters(session: Session, study: Study, at: datetime) -> list[dict[str, Any]]:
    signs = {row["rater"]: row["flags"] for row in flags(ratings_table(session, study)).to_dict("records")}
    last = _latest(session, study)
    raters = session.scalars(select(Rater).where(Rater.study_id == study.id).order_by(Rater.id))
    rows = []
    for rater in raters:
        batches = session.scalars(
            select(Batch).where(Batch.rater_id == rater.id).order_by(Batch.number)
        ).all()
        counted = [batch.state for batch in batches if batch.number > 0]
        rated_at, n_ratings = last.get(rater.id, (None, 0))
        rows.append(
            {
                "rater": rater.pseudonym,
                **_place(session, rater, list(batches), at),
                "batches_valid": counted.count("valid"),
                "batches_excluded": counted.count("excluded"),
                "ratings": n_ratings,
                "last_rating_at": rated_at and rated_at.isoformat(),
                "signs": signs.get(rater.pseudonym, []),
            }
        )
    return rows


def _latest(session: Session, study: Study) -> dict[int, tuple[datetime, int]]:
    """Time of the last rating and number of ratings by rater; practice is left out of the number."""
    counts = func.sum(case((Batch.number > 0, 1), else_=0))
    query = (
        select(Batch.rater_id, func.max(Rating.given_at), counts)
        .join(Trial, Trial.batch_id == Batch.id)
        .join(Rating, Rating.trial_id == Trial.id)
        .where(Batch.study_id == study.id)
        .group_by(Batch.rater_id)
    )
    return {rater_id: (given_at, int(count)) for rater_id, given_at, count in session.execute(query)}


def _place(session: Session, rater: Rater, batches: list[Batch], at: datetime) -> dict[str, Any]:
    """Where a rater is: a state, and the trial in hand where a batch is open."""
    if is_excluded(session, rater):
        return {"state": "excluded"}
    if not batches:
        visited = session.scalar(select(Visit.id).where(Visit.rater_id == rater.id).limit(1))
        return {"state": "not signed in yet" if visited is None else "signed in"}
    if batches[-1].state != "open":
        return {"state": "between batches"}
    batch = batches[-1]
    of_batch = select(func.count()).where(Trial.batch_id == batch.id)
    rated = session.scalar(of_batch.where(Trial.state == "rated")) or 0
    count = session.scalar(of_batch.where(Trial.state != "released")) or 0
    return {
        "state": "in a batch" if batch.lease_until > at else "away",
        "batch": batch.number,
        "trial": min(rated + 1, count),
        "trials": count,
        "lease_until": batch.lease_until.isoformat(),
    }


def _problems(session: Session, study: Study) -> list[dict[str, Any]]:
    query = (
        select(Problem, Rater.pseudonym, Clip)
        .join(Trial, Problem.trial_id == Trial.id)
        .join(Rater, Trial.rater_id == Rater.id)
        .join(Clip, Trial.clip_id == Clip.id)
        .where(Rater.study_id == study.id)
        .order_by(Problem.id)
    )
    return [
        {
            "rater": pseudonym,
            "clip": clip.name,
            "source_file": clip.source_file,
            "comment": problem.comment,
            "reported_at": problem.reported_at.isoformat(),
        }
        for problem, pseudonym, clip in session.execute(query)
    ]


def status_text(found: dict[str, Any]) -> str:
    """Put `status` into words.

    Parameters
    ----------
    found : dict
        Of `status`.
    """
    return "\n".join([*_progress_lines(found), *_rater_lines(found["raters"]), *_check_lines(found["checks"]),
                      *_problem_lines(found["problems"])])  # fmt: skip


def _progress_lines(found: dict[str, Any]) -> Iterator[str]:
    so_far = found["progress"]
    ratings = [
        f"{so_far[f'ratings_{name}']} {words}"
        for name, words in (
            ("valid", f"of {so_far['ratings_needed']} are valid"),
            ("pending", "in batches that have not ended"),
            ("leased", "being listened to"),
            ("surplus", "more than a clip needs"),
        )
        if name == "valid" or so_far[f"ratings_{name}"]
    ]
    yield f"Study {found['study']}, {shown_time(found['at'])}"
    yield ""
    needed, practice = found["protocol"]["raters_per_clip"], found["protocol"]["training"]
    yield f"Clips     {so_far['clips_done']} of {so_far['clips']} have their {needed} valid ratings"
    yield f"Ratings   {', '.join(ratings)}"
    yield f"Anchors   {so_far['anchors']}; with {so_far['anchors_needed']} no rater would hear one twice"
    yield f"Practice  {so_far['training']} clips; the rules ask for {practice}"
    yield f"Raters    {so_far['raters']}"
    for sentence in so_far["shortage"]:
        yield f"! {sentence}"


def _rater_lines(raters: list[dict[str, Any]]) -> Iterator[str]:
    """A table of the raters; signs are empty for most."""
    if not raters:
        return
    rows = [("Rater", "Where", "Valid batches", "Excluded", "Ratings", "Last rating", "Signs")]
    for rater in raters:
        numbers = (str(rater[name]) for name in ("batches_valid", "batches_excluded", "ratings"))
        last = shown_time(rater["last_rating_at"]) if rater["last_rating_at"] else ""
        rows.append((rater["rater"], where_is(rater), *numbers, last, ", ".join(rater["signs"])))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    yield ""
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def where_is(rater: dict[str, Any]) -> str:
    """Say where one of the ``raters`` of `status` is."""
    if "batch" not in rater:
        return str(rater["state"])
    batch = f"batch {rater['batch']}" if rater["batch"] else "practice"
    away = ", away: others may take its clips" if rater["state"] == "away" and rater["batch"] else ""
    return f"{batch}, trial {rater['trial']} of {rater['trials']}{away}"


def _check_lines(checks: dict[str, Any]) -> Iterator[str]:
    expected = checks["expected_false_alarms"]
    rules = ", ".join(f"{rule}: {count}" for rule, count in sorted(checks["excluded_by"].items()))
    excluded = f"{checks['batches_excluded']} of them excluded" + (f" ({rules})" if rules else "")
    yield ""
    yield f"Batches   {checks['batches_ended']} have ended, {excluded}"
    yield (
        f"          By chance, a good rater fails {expected['either']:.1%} of batches: "
        f"{expected['anchor']:.1%} by an anchor, {expected['duplicate']:.1%} by a duplicate"
    )


def _problem_lines(problems: list[dict[str, Any]]) -> Iterator[str]:
    if not problems:
        return
    yield ""
    yield f"Clips that did not play: {len(problems)} report{'s' if len(problems) > 1 else ''}"
    for problem in problems[-_MOST_PROBLEMS:]:
        comment = f": {shown_name(problem['comment'])}" if problem["comment"] else ""
        where = f"{problem['rater']}, {shown_time(problem['reported_at'])}"
        yield f"  {where}, {problem['source_file']}{comment}"


def shown_time(iso: str) -> str:
    """Show a time to the minute."""
    return f"{datetime.fromisoformat(iso):%Y-%m-%d %H:%M} UTC"
