"""How far raters agree on one scale: with each other, with themselves, over time.

Conventions: a rating is one element of arrays of equal length; `clip` and `rater` are numbered from 0 without
gaps; scores are points from 1 to 5; what so few ratings cannot tell is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import krippendorff
import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Codes = NDArray[np.intp]

LEAST_PAIRS = 10  # of answers to the same clip, before it is told how they differ
LEAST_DEGREES = 10  # of freedom, before a change over time is told
ROUNDING = 1 / 12  # variance of answers in whole points, however much raters agree


@dataclass(frozen=True)
class Trend:
    """Points that scores change by, for each step of what they are compared with."""

    slope: float
    low: float
    high: float


@dataclass(frozen=True)
class OutlierScreen:
    """A screen for ratings far from their clip's mean; it can fire where a clip has enough ratings."""

    threshold: float
    ratings_needed: int
    clips_screened: int
    can_fire: bool
    ratings_outside: int | None


@dataclass(frozen=True)
class Repeats:
    """How much raters differ from themselves on clips that they heard twice.

    `mean_difference` is absolute, `inconsistency_sd` that of one answer, and `share_over` has, by a tolerance
    in points, the share of pairs that differ by more; all None and empty for fewer than `LEAST_PAIRS`.
    """

    pairs: int
    mean_difference: float | None = None
    inconsistency_sd: float | None = None
    share_over: dict[str, float] = field(default_factory=dict)


def alpha(clip: Codes, score: Numbers, kind: Literal["interval", "ordinal"] = "interval") -> float | None:
    """Krippendorff's alpha with the interval or the ordinal metric: 1 is perfect agreement, 0 that of chance."""
    values, value = np.unique(score, return_inverse=True)
    if len(values) < 2 or np.bincount(clip).max() < 2:
        return None
    counts = np.zeros((clip.max() + 1, len(values)), int)
    np.add.at(counts, (clip, value), 1)
    return float(krippendorff.alpha(value_counts=counts, value_domain=values, level_of_measurement=kind))


def icc(clip: Codes, score: Numbers) -> tuple[float, float] | None:
    """Intraclass correlation of one rating, and of a clip's mean of as many as clips have on average.

    One-way random effects, since each clip has raters of its own; 0 where clips differ less than the ratings of
    one clip. Source: P. E. Shrout and J. L. Fleiss,
    "Intraclass correlations", Psychological Bulletin 86(2), 1979, case 1; for unequal numbers of ratings, the
    average of A. Donner, "A review of inference procedures", International Statistical Review 54, 1986.
    """
    n, clips = np.bincount(clip), clip.max() + 1
    if clips < 2 or len(score) <= clips:
        return None
    means = np.bincount(clip, score) / n
    between = (n * (means - score.mean()) ** 2).sum() / (clips - 1)
    within = ((score - means[clip]) ** 2).sum() / (len(score) - clips)
    average = (len(score) - (n**2).sum() / len(score)) / (clips - 1)
    if between == 0:
        return None
    single = (between - within) / (between + (average - 1) * within)
    return max(float(single), 0.0), max(float((between - within) / between), 0.0)


def trend(clip: Codes, rater: Codes, score: Numbers, step: Numbers) -> Trend | None:
    """Change of the scores with a step (number of the batch, place in the batch), all clips and raters alike.

    Least squares with an effect for every clip and every rater: what is left when both were taken from the
    scores and from the steps.
    """
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    free = len(score) - (clip.max() + 1) - (rater.max() + 1)
    residual_score, residual_step = _without_effects(np.stack([score, step], axis=1), clip, rater).T
    spread = residual_step @ residual_step
    if free < LEAST_DEGREES or spread < 1e-6:
        return None
    slope = residual_step @ residual_score / spread
    rest = residual_score - slope * residual_step
    reach = stats.t.ppf(0.975, free) * np.sqrt(max(rest @ rest / free, ROUNDING) / spread)
    return Trend(float(slope), float(slope - reach), float(slope + reach))


def _without_effects(values: Numbers, clip: Codes, rater: Codes) -> Numbers:
    """Take an effect of every clip and of every rater away from each column, by least squares.

    Clips are eliminated first: what is left is one equation a rater.
    """
    table = np.zeros((clip.max() + 1, rater.max() + 1))
    np.add.at(table, (clip, rater), 1.0)
    of_clip, of_rater = table.sum(axis=1), table.sum(axis=0)
    within = values - _means(values, clip, of_clip)[clip]
    equations = np.diag(of_rater) - (table / of_clip[:, None]).T @ table
    # Effects of raters are told up to a constant for each group of clips and raters that share some.
    sums = _means(within, rater, of_rater) * of_rater[:, None]
    effects = np.linalg.pinv(equations, rcond=1e-10, hermitian=True) @ sums
    left: Numbers = values - effects[rater]
    without: Numbers = left - _means(left, clip, of_clip)[clip]
    return without


def _means(values: Numbers, group: Codes, n: Numbers) -> Numbers:
    return np.stack([np.bincount(group, column) for column in values.T], axis=1) / n[:, None]


def repeats(first: Numbers, second: Numbers) -> Repeats | None:
    """Compare both scores of the clips that were presented twice to the same rater."""
    if len(first) < LEAST_PAIRS:
        return Repeats(len(first)) if len(first) else None
    difference = np.abs(second - first)
    return Repeats(
        len(difference),
        float(difference.mean()),
        float(np.sqrt((difference**2).mean() / 2)),
        {str(points): float((difference > points).mean()) for points in range(4)},
    )


def outlier_screen(clip: Codes, score: Numbers, threshold: float) -> OutlierScreen:
    """Count the ratings that lie so many standard deviations from their clip's mean; say whether any can.

    Of n values none lies over sqrt(n - 1) standard deviations (of all n) from their mean, so that at five
    ratings a clip a screen for more than 2 passes everybody.
    """
    needed = int(threshold**2) + 2
    n = np.bincount(clip)
    possible = (n >= needed)[clip]
    residual = score - (np.bincount(clip, score) / n)[clip]
    sd = np.sqrt(np.bincount(clip, residual**2) / n)[clip]
    outside = int((np.abs(residual[possible]) > threshold * sd[possible]).sum())
    fires = bool(possible.any())
    return OutlierScreen(threshold, needed, int((n >= needed).sum()), fires, outside if fires else None)


def correlation(one: Sequence[float] | Numbers, other: Sequence[float] | Numbers) -> float | None:
    """Pearson's correlation; None for fewer than three values, or for values that are all the same."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])
