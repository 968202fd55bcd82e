"""Mean opinion scores of the clips and of the systems, with what is sure about them.

Conventions: tables are pandas frames with one row a clip or a system; each scale has a column under its key;
scores are points from 1 to 5; intervals are 95 % and never leave the scale. Where there are too few ratings
for an interval there is none (NaN), and the column ``no_interval`` says what is needed.

A clip's interval is Student's, from the variance of the ratings within all clips of the study. Its own few
ratings would say that nothing is unsure wherever they happen to agree: in simulated panels that covers 59 to
94 % of clips, the common variance 95 %. A system's is Student's, from a bootstrap over its clips and over the
raters at once, because the ratings of one clip, or of one rater, are not independent; the same draws of raters
serve all systems, so that differences are compared by the same ears. Source: A. B. Owen, "The pigeonhole
bootstrap", Annals of Applied Statistics 1(2), 2007. Which systems differ is told from all pairs at once; source:
S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2), 1979.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from annotation.results import Table
from annotation.results.agreement import ROUNDING, Numbers
from core.errors import counted
from core.scales import MAX_SCORE, MIN_SCORE, Scales, keys

LEAST_RATINGS = 3  # of a clip, before it has an interval
LEAST_DEGREES = 10  # of freedom, that the ratings of all clips give their common variance
LEAST_CLIPS, LEAST_RATERS = 5, 3  # of a system, before it has an interval and a rank
_LEVEL = 0.975
_ALPHA = 0.05  # chance that any pair of equal systems is told apart
_REPLICATES = 1000

STANDING = "MOS [95 % interval] rank (ranks that are possible)"


def mos_table(ratings: pd.DataFrame, scales: Iterable[str]) -> pd.DataFrame:
    """Compute the mean opinion scores of the clips that have valid ratings.

    The columns are ``clip``, ``prompt``, ``system``, ``n_ratings`` and, for the key of each scale, the mean
    under the key, ``<key>_sd`` (of the clip's own ratings, n - 1 degrees), ``<key>_low`` and ``<key>_high``;
    then ``no_interval``, which is empty where there is one.
    """
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    valid = ratings[ratings["status"] == "valid"]
    groups = valid.groupby("clip")
    table = groups[["prompt", "system"]].first()
    n = table["n_ratings"] = groups.size()
    degrees = int((n - 1).sum())
    enough = (n >= LEAST_RATINGS) & (degrees >= LEAST_DEGREES)
    for key in scales:
        mean, sd = groups[key].mean(), groups[key].std()
        reach = stats.t.ppf(_LEVEL, max(degrees, 1)) * np.sqrt(_variance_within(valid, key) / n)
        table[key], table[f"{key}_sd"] = mean, sd
        table[f"{key}_low"], table[f"{key}_high"] = _within_scale(mean, reach, enough)
    table["no_interval"] = [_clip_lacks(count, degrees) for count in n]
    return table.reset_index()


def _clip_lacks(n: int, degrees: int) -> str:
    if n < LEAST_RATINGS:
        return _needs(LEAST_RATINGS - n, "rating")
    return "" if degrees >= LEAST_DEGREES else f"the study {_needs(LEAST_DEGREES - degrees, 'rating')}"


def _needs(count: int, what: str) -> str:
    return f"needs {counted(count, f'more {what}')}"


def _variance_within(valid: pd.DataFrame, scale: str) -> float:
    """Return the variance of ratings around the means of their clips."""
    if valid.empty:
        return ROUNDING
    groups = valid.groupby("clip")[scale]
    squares = float(((valid[scale] - groups.transform("mean")) ** 2).sum())
    return float(max(squares / max(len(valid) - groups.ngroups, 1), ROUNDING))


def _within_scale(mean: pd.Series, reach: pd.Series, enough: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Return both ends of the intervals, NaN where there are too few ratings."""
    return (
        (mean - reach).clip(MIN_SCORE, MAX_SCORE).where(enough),
        (mean + reach).clip(MIN_SCORE, MAX_SCORE).where(enough),
    )


def system_table(
    ratings: pd.DataFrame, scales: Iterable[str], clips: pd.DataFrame | None = None, seed: int = 0
) -> pd.DataFrame:
    """Compute the mean opinion scores of the systems: the mean of their clips' scores.

    The columns are ``system``, ``n_clips``, ``n_raters``, ``n_ratings`` and, for the key of each scale, the mean
    under the key, ``<key>_low``, ``<key>_high``, ``<key>_rank`` (1 is best; equals share a rank) and the ranks
    that are possible, ``<key>_rank_low`` to ``<key>_rank_high``: systems that do not differ share some. A system
    without an interval has no rank, nor has one alone; ``no_interval`` says why there is no interval. `clips` is the
    table of `mos_table`.
    """
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    valid, scales = ratings[ratings["status"] == "valid"], list(scales)
    clips = mos_table(valid, scales) if clips is None else clips
    groups = clips.groupby("system")
    table = pd.DataFrame({"n_clips": groups.size(), "n_raters": valid.groupby("system")["rater"].nunique()})
    table["n_ratings"] = groups["n_ratings"].sum()
    table = table.reindex(sorted(table.index))
    enough = (table["n_clips"] >= LEAST_CLIPS) & (table["n_raters"] >= LEAST_RATERS)
    degrees = table[["n_clips", "n_raters"]].min(axis=1) - 1
    for key, draws in zip(scales, _draw_systems(valid, scales, clips, np.random.default_rng(seed)), strict=True):
        table[key] = groups[key].mean()
        floor = _variance_within(valid, key) / table["n_ratings"]
        spread = np.sqrt(np.maximum(pd.DataFrame(draws, table.index).var(axis=1), floor))
        reach = stats.t.ppf(_LEVEL, np.maximum(degrees, 1)) * spread
        table[f"{key}_low"], table[f"{key}_high"] = _within_scale(table[key], reach, enough)
        _add_ranks(table, key, enough, draws, degrees)
    table["no_interval"] = [_system_lacks(*row) for row in zip(table["n_clips"], table["n_raters"], strict=True)]
    return table.reset_index(names="system")


def _system_lacks(clips: int, raters: int) -> str:
    if clips < LEAST_CLIPS:
        return _needs(LEAST_CLIPS - clips, "clip")
    return _needs(LEAST_RATERS - raters, "rater") if raters < LEAST_RATERS else ""


def _draw_systems(
    valid: pd.DataFrame, scales: Sequence[str], clips: pd.DataFrame, random: np.random.Generator
) -> Numbers:
    """Return the bootstrap's means: scales by systems, in the order of their names, by replicates."""
    from scipy.sparse import csr_array  # late, as scipy.stats

    # `scipy.stats.bootstrap` resamples along one axis; here clips and raters are drawn at once.
    if clips.empty:
        return np.empty((len(scales), 0, _REPLICATES))
    rater, raters = pd.factorize(valid["rater"])
    clip = pd.Index(clips["clip"]).get_indexer(valid["clip"])
    drawn = _drawn(len(raters), random)

    def summed(values: Numbers) -> Numbers:  # of each clip, over the raters that were drawn
        return np.asarray(csr_array((values, (clip, rater)), (len(clips), len(raters))) @ drawn, float)

    weights = summed(np.ones(len(valid)))
    known = weights > 0  # at least one of the clip's raters was drawn
    sums = np.stack([summed(valid[scale].to_numpy(float)) for scale in scales])
    means = np.divide(sums, weights, out=np.zeros(sums.shape), where=known)
    systems = []
    for _, rows in sorted(clips.groupby("system").indices.items()):
        times = _drawn(len(rows), random) * known[rows]
        total, n = np.einsum("cr,scr->sr", times, means[:, rows]), times.sum(axis=0)
        systems.append(np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0))
    return np.stack(systems, axis=1)


def _drawn(n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return how often each of n comes when n are drawn with replacement, by replicates."""
    drawn = random.integers(0, n, (_REPLICATES, n)) + n * np.arange(_REPLICATES)[:, None]
    return np.bincount(drawn.ravel(), minlength=n * _REPLICATES).reshape(_REPLICATES, n).T


def _add_ranks(table: pd.DataFrame, key: str, enough: pd.Series, draws: Numbers, degrees: pd.Series) -> None:
    """Rank the systems that have an interval, if any do; two share possible ranks unless they surely differ."""
    table[f"{key}_rank"] = table[f"{key}_rank_low"] = table[f"{key}_rank_high"] = np.nan
    if enough.sum() < 2:
        return
    table[f"{key}_rank"] = table[key].where(enough).rank(ascending=False, method="min")
    ranked, means = draws[enough], table.loc[enough, key].to_numpy()
    above = means[:, None] - means[None, :]
    differ = _surely_differ(above, ranked[:, ~np.isnan(ranked).any(axis=0)], degrees[enough].to_numpy())
    table.loc[enough, f"{key}_rank_low"] = 1 + (differ & (above < 0)).sum(axis=1)
    table.loc[enough, f"{key}_rank_high"] = len(means) - (differ & (above > 0)).sum(axis=1)


def _surely_differ(above: Numbers, draws: Numbers, degrees: Numbers) -> NDArray[np.bool_]:
    """Tell of each pair of systems whether their difference is more than chance, by Holm's correction."""
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    one, other = np.triu_indices(len(above), 1)
    differ = np.zeros(above.shape, bool)
    if draws.shape[1] < _REPLICATES / 2 or len(one) == 0:
        return differ
    covariance = np.atleast_2d(np.cov(draws))
    variance = np.diag(covariance)[one] + np.diag(covariance)[other] - 2 * covariance[one, other]
    surprise = np.abs(above[one, other]) / np.sqrt(np.maximum(variance, 1e-12))
    chance = 2 * stats.t.sf(surprise, np.minimum(degrees[one], degrees[other]))
    order = np.argsort(chance)
    holm = np.maximum.accumulate(chance[order] * np.arange(len(order), 0, -1))
    told = order[holm < _ALPHA]
    differ[one[told], other[told]] = differ[other[told], one[told]] = True
    return differ


@dataclass(frozen=True)
class Results:
    """The tables of `mos_table` and `system_table`."""

    scales: Scales
    clips: pd.DataFrame
    systems: pd.DataFrame

    @classmethod
    def of(cls, ratings: pd.DataFrame, scales: Scales) -> "Results":
        """Compute them from a table of ratings."""
        clips = mos_table(ratings, keys(scales))
        return cls(scales, clips, system_table(ratings, keys(scales), clips))

    @property
    def n_ratings(self) -> int:
        """How many ratings are valid."""
        return int(self.clips["n_ratings"].sum())

    @property
    def table(self) -> Table:
        """The systems, with their standing on each scale."""
        heads = ("System", "Clips", "Ratings", *(scale.title for scale in self.scales))
        rows = [
            (row["system"], row["n_clips"], row["n_ratings"], *(standing(row, key) for key in keys(self.scales)))
            for row in self.systems.to_dict("records")
        ]
        return Table(f"Systems: {STANDING}", heads, rows)


def standing(row: Mapping[str, Any], scale: str, suffix: str = "") -> str:
    """Say how a system stands on a scale."""
    if np.isnan(row[scale + suffix]):
        return "no valid rating"
    parts = ("", "_low", "_high", "_rank", "_rank_low", "_rank_high")
    score, low, high, rank, best, worst = (row[f"{scale}{part}{suffix}"] for part in parts)
    if np.isnan(low):
        return f"{score:.2f} – ({row[f'no_interval{suffix}']})"
    if np.isnan(rank):
        return f"{score:.2f} [{low:.2f}, {high:.2f}] – (a rank needs 1 more system)"
    ranks = f" ({best:.0f} to {worst:.0f})" if best < worst else ""
    return f"{score:.2f} [{low:.2f}, {high:.2f}] rank {rank:.0f}{ranks}"
