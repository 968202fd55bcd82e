"""What a study has found out so far: every rating with its standing, mean opinion scores, systems, what-if.

Conventions: tables are pandas frames with one row a rating, clip or system; scores are points from 1 to 5;
all intervals are 95 %. A clip's interval is Student's, because at five ratings the normal one covers 84 %
only; it shrinks to a point where all raters agree. A system's interval is a bootstrap over its clips and over
the raters at once: the ratings of one clip, or of one rater, are not independent. Source: A. B. Owen, "The
pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Exclusion, Prompt, Rater, Rating, Study, System, Trial
from annotation.studies import find_study
from core.scales import SCALE_TITLES, SCALES

STATUSES = ("valid", "surplus", "pending", "excluded", "check", "practice")
_TIMES = ("shown_at", "served_at", "given_at")
_REPLICATES = 1000


@dataclass(frozen=True)
class Results:
    """The tables of `mos_table` and `system_table`."""

    clips: pd.DataFrame
    systems: pd.DataFrame


def ratings_table(session: Session, study: Study) -> pd.DataFrame:
    """Every rating ever given in a study, in the order of giving, with its standing.

    Parameters
    ----------
    session : Session
    study : Study

    Returns
    -------
    DataFrame
        Columns ``clip`` (its opaque name), ``kind``, ``system``, ``prompt``, ``rater`` (pseudonym), ``batch``
        (its number; 0 is practice), ``role``, ``position``, both scales, ``comment``, ``heard_s``,
        ``duration_s``, ``shown_at``, ``served_at``, ``given_at``, ``status`` and ``reason``.

    Notes
    -----
    The status is ``valid``; ``surplus`` for the latest ratings, where a clip has more than it needs;
    ``pending`` until the batch has ended; ``excluded``; ``check`` for anchors and second presentations of
    duplicates; or ``practice``. The reason is empty for valid ratings.
    """
    query = (
        select(
            Clip.name.label("clip"),
            Clip.kind,
            System.name.label("system"),
            Prompt.text.label("prompt"),
            Rater.pseudonym.label("rater"),
            Batch.number.label("batch"),
            Trial.role,
            Trial.position,
            Rating.musical_impression,
            Rating.textual_alignment,
            Rating.comment,
            Rating.heard_s,
            Clip.duration_s,
            Trial.shown_at,
            Trial.served_at,
            Rating.given_at,
            Batch.state,
            Batch.id.label("batch_id"),
        )
        .join(Trial, Rating.trial_id == Trial.id)
        .join(Batch, Trial.batch_id == Batch.id)
        .join(Rater, Batch.rater_id == Rater.id)
        .join(Clip, Trial.clip_id == Clip.id)
        .join(System, Clip.system_id == System.id)
        .join(Prompt, Clip.prompt_id == Prompt.id)
        .where(Batch.study_id == study.id)
        .order_by(Rating.given_at, Rating.id)
    )
    table = pd.DataFrame(session.execute(query).all(), columns=list(query.selected_columns.keys()))
    for time in _TIMES:
        table[time] = pd.to_datetime(table[time], utc=True)
    _add_standing(table, Protocol.from_json(study.protocol).raters_per_clip, _exclusions(session, study))
    return table.drop(columns=["state", "batch_id"])


def _exclusions(session: Session, study: Study) -> dict[int, str]:
    """Why each excluded batch is excluded: its own exclusion in force, else its rater's."""
    latest: dict[tuple[int, int | None], Exclusion] = {}
    query = select(Exclusion).join(Rater).where(Rater.study_id == study.id).order_by(Exclusion.id)
    for entry in session.scalars(query):
        latest[entry.rater_id, entry.batch_id] = entry
    reasons = {}
    batches = select(Batch.id, Batch.rater_id).where(Batch.study_id == study.id, Batch.state == "excluded")
    for batch_id, rater_id in session.execute(batches):
        entries = [latest.get((rater_id, batch_id)), latest.get((rater_id, None))]
        reasons[batch_id] = next(entry.reason for entry in entries if entry and entry.action == "exclude")
    return reasons


def _add_standing(table: pd.DataFrame, raters_per_clip: int, exclusions: dict[int, str]) -> None:
    stimulus = table["role"] == "stimulus"
    counting = stimulus & (table["state"] == "valid")
    earlier = table[counting].groupby("clip").cumcount().reindex(table.index, fill_value=0)
    check = table["role"].map({"anchor": "hidden anchor", "duplicate": "second presentation"})
    cases = {
        "practice": (table["role"] == "training", "practice never counts"),
        "check": (~stimulus, check),
        "pending": (table["state"] == "open", "the batch has not ended"),
        "excluded": (table["state"] == "excluded", table["batch_id"].map(exclusions)),
        "surplus": (earlier >= raters_per_clip, f"the clip has its {raters_per_clip} valid ratings"),
    }
    conditions = [condition for condition, _ in cases.values()]
    table["status"] = np.select(conditions, list(cases), "valid")
    table["reason"] = np.select(conditions, [reason for _, reason in cases.values()], "")


def mos_table(ratings: pd.DataFrame, scales: Sequence[str] = SCALES) -> pd.DataFrame:
    """Mean opinion scores of the clips that have valid ratings.

    Parameters
    ----------
    ratings : DataFrame
        As of `ratings_table`; ``clip``, ``prompt``, ``system``, ``status`` and the scales are used.
    scales : sequence of str
        Columns with scores.

    Returns
    -------
    DataFrame
        Columns ``clip``, ``prompt``, ``system``, ``n_ratings`` and, for each scale, its mean under the
        scale's name, ``<scale>_sd`` (n - 1 degrees), ``<scale>_low`` and ``<scale>_high`` (Student's
        interval); what one rating cannot give is NaN.
    """
    groups = ratings[ratings["status"] == "valid"].groupby("clip")
    table = groups[["prompt", "system"]].first()
    n = table["n_ratings"] = groups.size()
    for scale in scales:
        mean, sd = groups[scale].mean(), groups[scale].std()
        reach = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * sd / np.sqrt(n)
        table[scale], table[f"{scale}_sd"] = mean, sd
        table[f"{scale}_low"], table[f"{scale}_high"] = mean - reach, mean + reach
    return table.reset_index()


def system_table(ratings: pd.DataFrame, scales: Sequence[str] = SCALES, seed: int = 0) -> pd.DataFrame:
    """Mean opinion scores of the systems: the mean of their clips' scores.

    Parameters
    ----------
    ratings : DataFrame
        As for `mos_table`, with ``rater`` too.
    scales : sequence of str
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        Columns ``system``, ``n_clips``, ``n_ratings`` and, for each scale, its mean under the scale's name,
        ``<scale>_low``, ``<scale>_high`` (bootstrap over clips and raters) and ``<scale>_rank`` (1 is best;
        equals share a rank).
    """
    valid = ratings[ratings["status"] == "valid"]
    clips = mos_table(valid, scales)
    groups = clips.groupby("system")
    table = pd.DataFrame({"n_clips": groups.size(), "n_ratings": groups["n_ratings"].sum()})
    for scale in scales:
        table[scale] = groups[scale].mean()
        low, high = _system_intervals(valid, scale, clips, np.random.default_rng(seed))
        table[f"{scale}_low"], table[f"{scale}_high"] = low, high
        table[f"{scale}_rank"] = table[scale].rank(ascending=False, method="min").astype(int)
    return table.reset_index()


def _system_intervals(
    valid: pd.DataFrame, scale: str, clips: pd.DataFrame, random: np.random.Generator
) -> NDArray[np.float64]:
    """Ends of the bootstrap intervals: 2 by systems, in the order of their names."""
    if clips.empty:
        return np.empty((2, 0))
    rater, raters = pd.factorize(valid["rater"])
    clip = pd.Index(clips["clip"]).get_indexer(valid["clip"])
    sums, counts = np.zeros((2, len(clips), len(raters)))
    np.add.at(sums, (clip, rater), valid[scale].to_numpy(float))
    np.add.at(counts, (clip, rater), 1.0)
    drawn = random.multinomial(len(raters), np.full(len(raters), 1 / len(raters)), _REPLICATES).T
    weights = counts @ drawn
    known = weights > 0  # at least one of the clip's raters was drawn
    means = np.divide(sums @ drawn, weights, out=np.zeros_like(weights), where=known)
    ends = []
    for _, rows in sorted(clips.groupby("system").indices.items()):
        times = random.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), _REPLICATES).T * known[rows]
        total, n = (times * means[rows]).sum(axis=0), times.sum(axis=0)
        ends.append(np.quantile(total[n > 0] / n[n > 0], (0.025, 0.975)))
    return np.transpose(ends)


def what_if(
    database: Database, study_name: str, change: Callable[[Session], None]
) -> tuple[Results, Results]:
    """Results before and after a change that is not made.

    Parameters
    ----------
    database : Database
    study_name : str
    change : callable
        What would be done, given a session that may write; it is undone before this function returns.

    Returns
    -------
    before, after : Results

    Raises
    ------
    StudyError
        If there is no such study, or the change raises it.
    """
    with database.write() as session:
        study = find_study(session, study_name)
        before = ratings_table(session, study)
        change(session)
        session.flush()
        after = ratings_table(session, study)
        session.rollback()
    first, second = (Results(mos_table(ratings), system_table(ratings)) for ratings in (before, after))
    return first, second


def comparison_text(before: Results, after: Results) -> str:
    """Say what a change does to the results, in a few lines.

    Parameters
    ----------
    before, after : Results
        Of `what_if`.
    """
    ratings = [int(results.clips["n_ratings"].sum()) for results in (before, after)]
    lines = [f"valid ratings: {ratings[0]} before, {ratings[1]} after"]
    for scale in SCALES:
        lines += ["", SCALE_TITLES[scale], *_comparison_lines(before, after, scale)]
    return "\n".join(lines)


def _comparison_lines(before: Results, after: Results, scale: str) -> list[str]:
    systems = compare_systems(before, after)
    width = max((len(name) for name in systems["system"]), default=0)
    lines = [f"  {moved_clips(before, after, scale)}"]
    for row in systems.to_dict("records"):
        first, second = standing(row, scale), standing(row, scale, "_after")
        lines.append(f"  {row['system']:<{width}}  {first}  ->  {second}")
    return lines


def compare_systems(before: Results, after: Results) -> pd.DataFrame:
    """Put the systems of two results beside each other; columns of the second end in ``_after``."""
    return before.systems.merge(after.systems, on="system", how="outer", suffixes=("", "_after"))


def moved_clips(before: Results, after: Results, scale: str) -> str:
    """Say how many clips have another MOS in the second of two results."""
    clips = before.clips.merge(after.clips, on="clip", how="outer", suffixes=("", "_after"))
    moved = (clips[f"{scale}_after"] - clips[scale]).abs()
    changed = int((moved > 0).sum())
    largest = f", by {moved.max():.2f} at most" if changed else ""
    lost = int((clips[scale].notna() & clips[f"{scale}_after"].isna()).sum())
    return f"MOS of {changed} clips changes{largest}; {lost} clips lose all their ratings"


def standing(row: dict[str, float], scale: str, suffix: str = "") -> str:
    """Say the score, interval and rank of one of the rows of `compare_systems`."""
    if np.isnan(row[scale + suffix]):
        return "no valid rating"
    score, low, high, rank = (row[f"{scale}{part}{suffix}"] for part in ("", "_low", "_high", "_rank"))
    return f"{score:.2f} [{low:.2f}, {high:.2f}] rank {rank:.0f}"
