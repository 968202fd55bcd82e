"""Everything that is known of one rater, for whoever runs the study: answers, checks, agreement, change, batches.

Conventions: as in `annotation.results.ratings`; practice is left out. What so few ratings cannot tell is said to be
missing. Nothing of this reaches a rater.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.results import Table, number
from annotation.results.agreement import LEAST_DEGREES, correlation
from annotation.results.screening import LEAST_RATINGS, anchor_scale, rated_anchors, rated_twice
from annotation.results.signs import listening_signs
from annotation.rules import words
from annotation.schema import Answer, Batch, Exclusion, Rater, Study
from annotation.studies import find_rater, shown_time
from core.scales import MAX_SCORE, MIN_SCORE, Scale, keys

_POINTS = range(int(MIN_SCORE), int(MAX_SCORE) + 1)


@dataclass(frozen=True)
class RaterPage:
    """One rater: facts by name, then tables."""

    rater: str
    note: str  # for whoever runs the study alone
    paused: bool
    facts: list[tuple[str, str]]
    tables: list[Table]


def rater_page(session: Session, study: Study, pseudonym: str, ratings: pd.DataFrame) -> RaterPage:
    """Gather it; `ratings` are those of the study, as `ratings_table` has them."""
    rater = find_rater(session, study, pseudonym)
    rated = ratings[ratings["role"] != "practice"]
    mine = rated[rated["rater"] == pseudonym]
    tables = [
        _distribution(study, rated, mine),
        _agreement(study, rated, pseudonym),
        _batches(session, study, rater, mine),
        _anchors(study, mine),
        _twice(study, mine),
        _comments(study, mine),
        _about(session, rater),
    ]
    return RaterPage(pseudonym, rater.note, rater.paused_at is not None, _facts(study, rater, mine), tables)


def _facts(study: Study, rater: Rater, mine: pd.DataFrame) -> list[tuple[str, str]]:
    began = mine[["shown_at", "served_at"]].max(axis=1)
    thinks_s = (mine["given_at"] - began).dt.total_seconds() - mine["duration_s"]
    spent_s = (mine["given_at"] - mine["shown_at"]).dt.total_seconds()
    counts = mine["status"].value_counts()
    (signs,) = listening_signs(mine, keys(study.scales))["flags"].tolist() or [[]]
    few = f" None can show yet: they need {LEAST_RATINGS} ratings." if len(mine) < LEAST_RATINGS else ""
    trial_s, after_s = number(spent_s.median(), ".0f"), number(thinks_s.median(), ".1f")
    facts = {
        "Invited": when(rater.invited_at),
        "Rated": _span(mine["given_at"]),
        "Ratings": ", ".join(f"{count} {status}" for status, count in counts.items()) or "none",
        "Time a trial": f"{trial_s} s, of it {after_s} s after the clip (medians)",
        "Signs of not listening": (", ".join(signs) or "none") + "." + few,
    }
    states = {"Paused": rater.paused_at, "Let go on": rater.resumed_at, "Withdrawn": rater.withdrawn_at}
    return [*facts.items(), *((name, shown_time(at.isoformat())) for name, at in states.items() if at)]


def when(at: Any) -> str:
    """Show a time; a dash where it is not known."""
    return "–" if at is None or pd.isna(at) else shown_time(at.isoformat())


def _span(times: pd.Series) -> str:
    if times.empty:
        return "nothing yet"
    if times.isna().all():
        return "at times that are not known"
    first, last = (shown_time(time.isoformat()) for time in (times.min(), times.max()))
    return f"{first} to {last}, on {times.dt.date.nunique()} days"


def _distribution(study: Study, rated: pd.DataFrame, mine: pd.DataFrame) -> Table:
    """How often the rater and the others gave each point, to clips alone."""
    own, all_clips = (table[table["role"] == "stimulus"] for table in (mine, rated))
    others = all_clips[~all_clips.index.isin(own.index)]
    rows = []
    for scale in study.scales:
        for who, table in (("this rater", own), ("the others", others)):
            shares = [number((table[scale.key] == point).mean() if len(table) else None, ".0%") for point in _POINTS]
            spread = [number(table[scale.key].mean()), number(table[scale.key].std())]
            rows.append((f"{scale.title}, {who}", *shares, *spread, len(table)))
    heads = ("Given to clips", *(str(point) for point in _POINTS), "Mean", "Spread (sd)", "Ratings")
    return Table("How often each point was given", heads, rows)


def _agreement(study: Study, rated: pd.DataFrame, pseudonym: str) -> Table:
    """Bias, agreement and drift against the mean of the others, on the clips that others rated."""
    clips = rated[rated["role"] == "stimulus"]
    rows = [(scale.title, *_against_others(clips, pseudonym, scale)) for scale in study.scales]
    heads = ("Scale", "Points above the others", "Correlation with their mean", "Change from batch to batch", "Clips")
    caption = f"Against the mean of the others; a dash: fewer than {LEAST_DEGREES} clips or 3 batches to tell by"
    return Table(caption, heads, rows)


def _against_others(clips: pd.DataFrame, pseudonym: str, scale: Scale) -> tuple[str, str, str, int]:
    groups = clips.groupby("clip")[scale.key]
    n, total = groups.transform("size"), groups.transform("sum")
    own = (clips["rater"] == pseudonym) & (n > 1)
    score = clips.loc[own, scale.key].to_numpy(float)
    others = ((total - clips[scale.key]) / (n - 1).where(n > 1))[own].to_numpy(float)
    if len(score) < LEAST_DEGREES:
        return "–", "–", "–", len(score)
    above, batch = score - others, pd.to_numeric(clips.loc[own, "batch"], errors="coerce").fillna(0).to_numpy(float)
    agrees = correlation(score, others)
    return number(above.mean(), "+z.2f"), number(agrees), _drift(batch, above), len(score)


def _drift(batch: "np.ndarray[Any, Any]", above: "np.ndarray[Any, Any]") -> str:
    """Say how the difference from the others changes from batch to batch, with its 95 % interval."""
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    if len(np.unique(batch)) < 3:
        return "–"
    found = stats.linregress(batch, above)
    reach = stats.t.ppf(0.975, len(batch) - 2) * found.stderr
    return f"{found.slope:+.3f} [{found.slope - reach:+.3f}, {found.slope + reach:+.3f}]"


def _batches(session: Session, study: Study, rater: Rater, mine: pd.DataFrame) -> Table:
    """The batches, the latest first, with why each is left out."""
    entries = session.scalars(select(Exclusion).where(Exclusion.rater_id == rater.id).order_by(Exclusion.id)).all()
    latest = {entry.batch_id: entry for entry in entries}
    whole = latest.get(None)
    rated = mine.groupby("batch").size()
    query = select(Batch).where(Batch.rater_id == rater.id, Batch.number > 0).order_by(Batch.number.desc())
    rows = []
    for batch in session.scalars(query):
        entry = latest.get(batch.id)
        if (entry is None or entry.action != "exclude") and whole is not None and whole.action == "exclude":
            entry = whole
        why = f"{entry.reason} ({entry.author})" if entry and batch.state == "excluded" else "–"
        evidence = words(entry.evidence, study.scales) if entry else []
        closed = when(batch.closed_at)
        rows.append(
            (
                *(f"Batch {batch.number}", batch.state, int(rated.get(batch.number, 0))),
                *(when(batch.opened_at), closed, why, "; ".join(evidence) or "–"),
            )
        )
    heads = ("Batch", "State", "Trials rated", "Opened", "Ended", "Why it is left out", "Figures")
    return Table("Batches, the latest first", heads, rows, "No batch was begun yet.")


def _anchors(study: Study, mine: pd.DataFrame) -> Table:
    score = anchor_scale(study.protocol, study.scales)
    anchors = rated_anchors(mine, study.protocol, score)
    rows = [
        (
            *(row["prompt"], row["batch"], row["position"], row[score], f"{row['limit']:.3g}"),
            "too low" if row["low"] else "–",
        )
        for row in anchors[::-1].to_dict("records")
    ]
    mean = number(anchors[score].mean() if len(anchors) else None)
    caption = f"Anchors: mean {mean}, {int(anchors['low'].sum())} of {len(anchors)} too low"
    return Table(caption, ("Anchor", "Batch", "Place", "Score", "Fails below", ""), rows, "No anchor was rated yet.")


def _twice(study: Study, mine: pd.DataFrame) -> Table:
    pairs = rated_twice(mine, study.protocol, study.scales)
    rows = [
        (
            *(row["prompt"], row["batch"]),
            *(f"{row[key]} then {row[f'{key}_again']}" for key in keys(study.scales)),
            "too far apart" if row["failed"] else "–",
        )
        for row in pairs[::-1].to_dict("records")
    ]
    caption = f"Clips heard twice: {int(pairs['failed'].sum())} of {len(pairs)} too far apart"
    heads = ("Clip", "Batch", *(scale.title for scale in study.scales), "")
    return Table(caption, heads, rows, "No clip was heard twice yet.")


def _comments(study: Study, mine: pd.DataFrame) -> Table:
    rows = [
        (
            row["comment"],
            ", ".join(f"{scale.short} {row[scale.key]}" for scale in study.scales),
            *(row["system"], row["prompt"], when(row["given_at"])),
        )
        for row in mine[mine["comment"] != ""][::-1].to_dict("records")
    ]
    heads = ("Comment", "Scores", "System", "Prompt", "When")
    return Table("Comments, the latest first", heads, rows, "No comment yet.")


def _about(session: Session, rater: Rater) -> Table:
    query = select(Answer).where(Answer.rater_id == rater.id).order_by(Answer.id)
    rows = [(answer.question, answer.answer) for answer in session.scalars(query)]
    return Table("About themselves", ("Question", "Answer"), rows, "They said nothing about themselves.")
