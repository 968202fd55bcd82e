"""How well raters agree with each other and with themselves, and whether time or place changes what they say.

Conventions: a rating is one element of arrays of equal length; `clip` and `rater` are numbered from 0 without
gaps; scores are points from 1 to 5; intervals are 95 %; what so few ratings cannot tell is None.
"""

from dataclasses import asdict, dataclass
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
Codes = NDArray[np.intp]

# Standard deviations from a clip's mean beyond which ratings are screened out: commonly, and in P.808.
SCREENS = (2.0, 3.29)
_MOST_STEPS = 500


@dataclass(frozen=True)
class Trend:
    """Points that scores change by, for each step of what they are compared with."""

    slope: float
    low: float
    high: float


def alpha(clip: Codes, score: Numbers) -> float | None:
    """Krippendorff's alpha with the interval metric: 1 is perfect agreement, 0 that of chance."""
    values, value = np.unique(score, return_inverse=True)
    if len(values) < 2 or np.bincount(clip).max() < 2:
        return None
    counts = np.zeros((clip.max() + 1, len(values)), int)
    np.add.at(counts, (clip, value), 1)
    return float(
        krippendorff.alpha(value_counts=counts, value_domain=values, level_of_measurement="interval")
    )


def icc(clip: Codes, score: Numbers) -> tuple[float, float] | None:
    """Intraclass correlation of one rating, and of a clip's mean of as many as clips have on average.

    One-way random effects, since each clip has raters of its own. Source: P. E. Shrout and J. L. Fleiss,
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
    return float(single), float((between - within) / between)


def trend(clip: Codes, rater: Codes, score: Numbers, step: Numbers) -> Trend | None:
    """Change of the scores with a step (number of the batch, place in the batch), all clips and raters alike.

    Least squares with an effect for every clip and every rater: what is left when both were taken from the
    scores and from the steps.
    """
    free = len(score) - (clip.max() + 1) - (rater.max() + 1)
    residual_score, residual_step = _without_effects(score, clip, rater), _without_effects(step, clip, rater)
    spread = residual_step @ residual_step
    if free < 1 or spread < 1e-6:
        return None
    slope = residual_step @ residual_score / spread
    rest = residual_score - slope * residual_step
    reach = stats.t.ppf(0.975, free) * np.sqrt(rest @ rest / free / spread)
    return Trend(float(slope), float(slope - reach), float(slope + reach))


def _without_effects(values: Numbers, clip: Codes, rater: Codes) -> Numbers:
    """Take the means of all clips and of all raters away, in turns until both are zero."""
    for _ in range(_MOST_STEPS):
        before = values
        for group in (clip, rater):
            values = values - (np.bincount(group, values) / np.bincount(group))[group]
        if np.abs(values - before).max() < 1e-9:
            break
    return values


def repeats(first: Numbers, second: Numbers) -> dict[str, Any] | None:
    """How much raters differ from themselves.

    Parameters
    ----------
    first, second : (n,) arrays
        Both scores of the clips that were presented twice to the same rater.

    Returns
    -------
    dict or None
        ``pairs``, ``mean_difference`` (absolute), ``inconsistency_sd`` (of one answer) and ``share_over``: by
        a tolerance in points, the share of pairs that differ by more.
    """
    if len(first) == 0:
        return None
    difference = np.abs(second - first)
    return {
        "pairs": len(difference),
        "mean_difference": float(difference.mean()),
        "inconsistency_sd": float(np.sqrt((difference**2).mean() / 2)),
        "share_over": {str(points): float((difference > points).mean()) for points in range(4)},
    }


def outlier_screen(clip: Codes, score: Numbers, threshold: float) -> dict[str, Any]:
    """Count the ratings that lie far from their clip's mean, and say whether any could.

    Of n values none lies over sqrt(n - 1) standard deviations (of all n) from their mean, so that at five
    ratings a clip a screen for more than 2 passes everybody.

    Parameters
    ----------
    clip, score : (n,) arrays
    threshold : float
        Standard deviations.

    Returns
    -------
    dict
        ``threshold``, ``ratings_needed`` for a clip to be screened at all, ``clips_screened``, ``can_fire``
        and ``ratings_outside`` (None where it cannot fire).
    """
    needed = int(threshold**2) + 2
    n = np.bincount(clip)
    possible = (n >= needed)[clip]
    residual = score - (np.bincount(clip, score) / n)[clip]
    sd = np.sqrt(np.bincount(clip, residual**2) / n)[clip]
    outside = int((np.abs(residual[possible]) > threshold * sd[possible]).sum())
    return {
        "threshold": threshold,
        "ratings_needed": needed,
        "clips_screened": int((n >= needed).sum()),
        "can_fire": bool(possible.any()),
        "ratings_outside": outside if possible.any() else None,
    }


def of_scale(ratings: pd.DataFrame, scale: str) -> dict[str, Any]:
    """Bring what this module can tell of one scale together.

    Parameters
    ----------
    ratings : DataFrame
        Those that count; ``clip``, ``rater``, the scale and, for the trends, ``batch`` and ``position``.
    scale : str

    Returns
    -------
    dict
        Ready for JSON.
    """
    clip, rater = pd.factorize(ratings["clip"])[0], pd.factorize(ratings["rater"])[0]
    score = ratings[scale].to_numpy(float)
    correlation = icc(clip, score)
    trends = {
        name: trend(clip, rater, score, ratings[name].to_numpy(float))
        for name in ("batch", "position")
        if name in ratings
    }
    return {
        "alpha": alpha(clip, score),
        "icc_one_rating": correlation[0] if correlation else None,
        "icc_mos": correlation[1] if correlation else None,
        "change_per": {name: asdict(found) if found else None for name, found in trends.items()},
        "screens": [outlier_screen(clip, score, threshold) for threshold in SCREENS],
    }
