"""What a study has found out so far: every rating with its standing, mean opinion scores, systems, signs.

Conventions: tables are pandas frames with one row a rating, clip or system; each scale has a column under its
key; scores are points from 1 to 5; all intervals are 95 %. A clip's interval is Student's, because at five
ratings the normal one covers 84 % only; it shrinks to a point where all raters agree. A system's interval is
a bootstrap over its clips and over the raters at once: the ratings of one clip, or of one rater, are not
independent. Source: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 1(2), 2007.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sqlalchemy import and_, select
from sqlalchemy.orm import Session, aliased

from annotation.database import Database
from annotation.results import Table
from annotation.schema import Batch, Clip, Prompt, Rater, Rating, Response, Study, System, Trial
from annotation.session.exclusions import in_force
from annotation.studies import find_study
from core.scales import Scale, Scales, keys

STATUSES = ("valid", "surplus", "pending", "excluded", "check", "practice")
_REPLICATES = 1000

# Signs of not listening are reported and exclude nobody: whoever sets all clips to "good" passes both checks.
LEAST_RATINGS = 10  # in a batch, or of a rater, before a sign is read into them
SAME_ANSWER_SHARE = 0.9  # honest raters of 20 clips give one answer to half of them at most
FAST_S = 1.0  # from the end of a clip to the answer; the server accepts none before its end
FAST_SHARE = 0.5
UNHEARD_S = 1.0  # of the clip, by what the browser says was played
UNHEARD_SHARE = 0.1

_STANDING = "MOS [95 % interval] rank"


def ratings_table(session: Session, study: Study) -> pd.DataFrame:
    """Read every rating ever given in a study, in the order of giving, with its standing.

    The columns are ``clip`` (its opaque name), ``kind``, ``system``, ``prompt``, ``rater`` (pseudonym),
    ``batch`` (its number; 0 is practice), ``role``, ``position``, the scales, ``comment``, ``heard_s``,
    ``duration_s``, ``shown_at``, ``served_at``, ``given_at``, ``status`` and ``reason``. The status is
    ``valid``; ``surplus`` for the latest ratings, where a clip has more than it needs; ``pending`` until the
    batch has ended; ``excluded``; ``check`` for anchors and second presentations of duplicates; or
    ``practice``. The reason is empty for valid ratings.
    """
    on = {key: aliased(Rating) for key in keys(study.scales)}
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
            *(rating.score.label(key) for key, rating in on.items()),
            Response.comment,
            Response.heard_s,
            Clip.duration_s,
            Trial.shown_at,
            Trial.served_at,
            Response.given_at,
            Batch.state,
            Batch.id.label("batch_id"),
        )
        .select_from(Response)
        .join(Trial, Response.trial_id == Trial.id)
        .join(Batch, Trial.batch_id == Batch.id)
        .join(Rater, Batch.rater_id == Rater.id)
        .join(Clip, Trial.clip_id == Clip.id)
        .join(System, Clip.system_id == System.id)
        .join(Prompt, Clip.prompt_id == Prompt.id)
        .where(Batch.study_id == study.id)
        .order_by(Response.given_at, Response.id)
    )
    for key, rating in on.items():
        query = query.join(rating, and_(rating.trial_id == Trial.id, rating.scale == key))
    table = pd.DataFrame(session.execute(query).all(), columns=list(query.selected_columns.keys()))
    for time in ("shown_at", "served_at", "given_at"):
        table[time] = pd.to_datetime(table[time], utc=True)
    reasons = {batch_id: entry.reason for batch_id, entry in in_force(session, study).items()}
    _add_standing(table, study.protocol.raters_per_clip, reasons)
    return table.drop(columns=["state", "batch_id"])


def _add_standing(table: pd.DataFrame, raters_per_clip: int, reasons: Mapping[int, str]) -> None:
    stimulus = table["role"] == "stimulus"
    counting = stimulus & (table["state"] == "valid")
    earlier = table[counting].groupby("clip").cumcount().reindex(table.index, fill_value=0)
    check = table["role"].map({"anchor": "hidden anchor", "duplicate": "second presentation"})
    cases = {
        "practice": (table["role"] == "practice", "practice never counts"),
        "check": (~stimulus, check),
        "pending": (table["state"] == "open", "the batch has not ended"),
        "excluded": (table["state"] == "excluded", table["batch_id"].map(reasons)),
        "surplus": (earlier >= raters_per_clip, f"the clip has its {raters_per_clip} valid ratings"),
    }
    conditions = [condition for condition, _ in cases.values()]
    table["status"] = np.select(conditions, list(cases), "valid")
    table["reason"] = np.select(conditions, [reason for _, reason in cases.values()], "")


def mos_table(ratings: pd.DataFrame, scales: Iterable[str]) -> pd.DataFrame:
    """Compute the mean opinion scores of the clips that have valid ratings.

    The columns are ``clip``, ``prompt``, ``system``, ``n_ratings`` and, for the key of each scale, the mean
    under the key, ``<key>_sd`` (n - 1 degrees), ``<key>_low`` and ``<key>_high`` (Student's interval); what
    one rating cannot give is NaN.
    """
    groups = ratings[ratings["status"] == "valid"].groupby("clip")
    table = groups[["prompt", "system"]].first()
    n = table["n_ratings"] = groups.size()
    for key in scales:
        mean, sd = groups[key].mean(), groups[key].std()
        reach = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * sd / np.sqrt(n)
        table[key], table[f"{key}_sd"] = mean, sd
        table[f"{key}_low"], table[f"{key}_high"] = mean - reach, mean + reach
    return table.reset_index()


def system_table(ratings: pd.DataFrame, scales: Iterable[str], seed: int = 0) -> pd.DataFrame:
    """Compute the mean opinion scores of the systems: the mean of their clips' scores.

    The columns are ``system``, ``n_clips``, ``n_ratings`` and, for the key of each scale, the mean under the
    key, ``<key>_low``, ``<key>_high`` (bootstrap over clips and raters, drawn from the seed) and
    ``<key>_rank`` (1 is best; equals share a rank).
    """
    valid, scales = ratings[ratings["status"] == "valid"], list(scales)
    clips = mos_table(valid, scales)
    groups = clips.groupby("system")
    table = pd.DataFrame({"n_clips": groups.size(), "n_ratings": groups["n_ratings"].sum()})
    for key in scales:
        table[key] = groups[key].mean()
        low, high = _system_intervals(valid, key, clips, np.random.default_rng(seed))
        table[f"{key}_low"], table[f"{key}_high"] = low, high
        table[f"{key}_rank"] = table[key].rank(ascending=False, method="min").astype(int)
    return table.reset_index()


def _system_intervals(
    valid: pd.DataFrame, scale: str, clips: pd.DataFrame, random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the ends of the bootstrap intervals: 2 by systems, in the order of their names."""
    # `scipy.stats.bootstrap` resamples along one axis; here clips and raters are drawn at once.
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


def listening_signs(ratings: pd.DataFrame, scales: Iterable[str]) -> pd.DataFrame:
    """Count signs of not listening, for each rater who has rated anything but practice.

    The columns are ``rater``, ``ratings``, ``batches``, ``batches_excluded``, ``straight_lined_batches``
    (nearly all answers on one of the scales are the same), ``fast_ratings`` (right at the end of the clip),
    ``unheard_ratings`` (less was played than the clip is long) and ``flags``: a list of ``straight-lining``,
    ``too fast`` and ``not heard``.
    """
    rated = ratings[ratings["status"] != "practice"]
    began = rated[["shown_at", "served_at"]].max(axis=1)
    answered_s = (rated["given_at"] - began).dt.total_seconds() - rated["duration_s"]
    rated = rated.assign(fast=answered_s < FAST_S, unheard=rated["heard_s"] < rated["duration_s"] - UNHEARD_S)
    groups = rated.groupby("rater")
    table = pd.DataFrame({"ratings": groups.size(), "batches": groups["batch"].nunique()})
    excluded = rated[rated["status"] == "excluded"].groupby("rater")["batch"].nunique()
    straight = _straight_lined(rated, scales).groupby("rater").sum()
    table["batches_excluded"] = excluded.reindex(table.index, fill_value=0)
    table["straight_lined_batches"] = straight.reindex(table.index, fill_value=0)
    table["fast_ratings"], table["unheard_ratings"] = groups["fast"].sum(), groups["unheard"].sum()
    enough = table["ratings"] >= LEAST_RATINGS
    signs = {
        "straight-lining": table["straight_lined_batches"] > 0,
        "too fast": enough & (table["fast_ratings"] > FAST_SHARE * table["ratings"]),
        "not heard": enough & (table["unheard_ratings"] > UNHEARD_SHARE * table["ratings"]),
    }
    table["flags"] = [[sign for sign, shown in signs.items() if shown[rater]] for rater in table.index]
    return table.reset_index()


def _straight_lined(rated: pd.DataFrame, scales: Iterable[str]) -> pd.Series:
    """Tell of each rater's batches whether nearly all answers on one of the scales are the same."""
    n = rated.groupby(["rater", "batch"]).size()
    commonest = n * 0
    for key in scales:
        of_scale = rated.groupby(["rater", "batch", key]).size().groupby(["rater", "batch"]).max()
        commonest = commonest.combine(of_scale, max)
    return (n >= LEAST_RATINGS) & (commonest >= SAME_ANSWER_SHARE * n)


@dataclass(frozen=True)
class Results:
    """The tables of `mos_table` and `system_table`."""

    scales: Scales
    clips: pd.DataFrame
    systems: pd.DataFrame

    @classmethod
    def of(cls, ratings: pd.DataFrame, scales: Scales) -> "Results":
        """Compute them from a table of ratings."""
        return cls(scales, mos_table(ratings, keys(scales)), system_table(ratings, keys(scales)))

    @property
    def n_ratings(self) -> int:
        """How many ratings are valid."""
        return int(self.clips["n_ratings"].sum())

    @property
    def table(self) -> Table:
        """The systems, with their standing on each scale."""
        heads = ("System", "Clips", "Ratings", *(scale.title for scale in self.scales))
        rows = [
            (row["system"], row["n_clips"], row["n_ratings"], *(_standing(row, key) for key in keys(self.scales)))
            for row in self.systems.to_dict("records")
        ]
        return Table(f"Systems: {_STANDING}", heads, rows)


@dataclass(frozen=True)
class Comparison:
    """Results before and after a change."""

    before: Results
    after: Results

    @property
    def ratings(self) -> str:
        """How many ratings are valid, in a sentence."""
        return f"Valid ratings: {self.before.n_ratings:,} before, {self.after.n_ratings:,} after."

    def moved(self, scale: Scale) -> str:
        """Say how many clips get another MOS."""
        clips = self.before.clips.merge(self.after.clips, on="clip", how="outer", suffixes=("", "_after"))
        moved = (clips[f"{scale.key}_after"] - clips[scale.key]).abs()
        changed = int((moved > 0).sum())
        largest = f", by {moved.max():.2f} at most" if changed else ""
        lost = int((clips[scale.key].notna() & clips[f"{scale.key}_after"].isna()).sum())
        return f"MOS of {changed} clips changes{largest}; {lost} clips lose all their ratings."

    def table(self, scale: Scale) -> Table:
        """Return the systems' standing on a scale, before and after."""
        both = self.before.systems.merge(self.after.systems, on="system", how="outer", suffixes=("", "_after"))
        rows = [
            (row["system"], _standing(row, scale.key), _standing(row, scale.key, "_after"))
            for row in both.to_dict("records")
        ]
        return Table(f"{scale.title}: {_STANDING}", ("System", "Before", "After"), rows)

    def text(self) -> str:
        """Say what the change does, in a few lines."""
        tables = [(self.table(scale), self.moved(scale)) for scale in self.before.scales]
        return "\n\n".join([self.ratings, *(f"{table.caption}\n{moved}\n{table.text()}" for table, moved in tables)])


def _standing(row: Mapping[str, Any], scale: str, suffix: str = "") -> str:
    if np.isnan(row[scale + suffix]):
        return "no valid rating"
    score, low, high, rank = (row[f"{scale}{part}{suffix}"] for part in ("", "_low", "_high", "_rank"))
    return f"{score:.2f} [{low:.2f}, {high:.2f}] rank {rank:.0f}"


def what_if(database: Database, study_name: str, change: Callable[[Session], None]) -> Comparison:
    """Compare the results with those after a change, which is undone before this function returns."""
    with database.write() as session:
        study = find_study(session, study_name)
        before = Results.of(ratings_table(session, study), study.scales)
        change(session)
        session.flush()
        after = Results.of(ratings_table(session, study), study.scales)
        session.rollback()
    return Comparison(before, after)
