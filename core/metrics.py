"""How well predicted scores agree with rated ones: MSE, LCC, SRCC and KTAU, with bootstrap intervals.

Conventions: two arrays of shape (n,), truth first. LCC is Pearson's linear correlation, SRCC Spearman's rank
correlation, KTAU Kendall's tau-b (ties counted; in both, ties share a rank). PAIRS is the share of pairs that are in
the right order, pairs left out that are tied on either side.

Intervals are 95 % percentile bootstraps over groups of points: clips of a system, or of a prompt, are not
independent, so systems and prompts are drawn, and a clip counts as often as both of its own were (Owen, "The
pigeonhole bootstrap", 2007: never too narrow by much). `LEAST_POINTS` and `LEAST_GROUPS` say from how many on
figures and intervals mean something.

Source: MusicEval, section V.B.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.errors import MetricError

Values = NDArray[np.float64]
Interval = tuple[float, float]

LEAST_POINTS = 4  # three points are in the right order by chance once in 6 times, four once in 24
LEAST_GROUPS = 10  # of fewer, the percentile bootstrap of a correlation misses the truth far too often
_SAME = 1e-6  # scores that differ by less differ by float error
_ROUNDING = 1e-9  # by which a computed correlation may pass 1
_LEAST_SHARE = 0.5  # of resamples that must have a value, or there is no interval


def mse(truth: Values, predicted: Values) -> float:
    """Return the mean squared error."""
    return float(np.mean((truth - predicted) ** 2))


def lcc(truth: Values, predicted: Values) -> float:
    """Return Pearson's correlation, -1 to 1; NaN where a side is constant."""
    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        return float("nan")
    return float(np.corrcoef(truth, predicted)[0, 1])


def srcc(truth: Values, predicted: Values) -> float:
    """Return Spearman's rank correlation, -1 to 1; ties share their mean rank."""
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    return lcc(stats.rankdata(truth), stats.rankdata(predicted))


def ktau(truth: Values, predicted: Values) -> float:
    """Return Kendall's tau-b, -1 to 1; NaN where a side is constant."""
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    return float(stats.kendalltau(truth, predicted, variant="b").statistic)


def pairs(truth: Values, predicted: Values) -> float:
    """Return the share of pairs in the right order, 0 to 1, without ties; NaN where all are tied."""
    n, both = len(truth), np.unique(np.stack([truth, predicted]), axis=1, return_counts=True)[1]
    all_pairs, tied_in_both = n * (n - 1) / 2, float((both * (both - 1) / 2).sum())
    untied = [all_pairs - _tied(side) for side in (truth, predicted)]
    ordered = untied[0] + untied[1] - all_pairs + tied_in_both
    if ordered == 0:
        return float("nan")
    right_minus_wrong = ktau(truth, predicted) * float(np.sqrt(untied[0] * untied[1]))  # by tau-b's definition
    return round((ordered + right_minus_wrong) / 2) / ordered


def _tied(values: Values) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float((counts * (counts - 1) / 2).sum())


METRICS: Mapping[str, Callable[[Values, Values], float]] = {"mse": mse, "lcc": lcc, "srcc": srcc, "ktau": ktau}


@dataclass(frozen=True)
class Agreement:
    """How well one scale is predicted, on one level.

    `n` is the number of points, None where it is not known; `figures` are by metric, those of `METRICS` that
    there are; `intervals` are the ends of the 95 % intervals by metric, where there are any.
    """

    n: int | None
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return ``n``, then ``mse``, ``mse_ci95``, ``lcc``, ...; null for what there is not."""
        result: dict[str, Any] = {"n": self.n}
        for name in METRICS:
            ends = self.intervals.get(name)
            result |= {name: self.figures.get(name), f"{name}_ci95": None if ends is None else list(ends)}
        return result

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave; what else is in it is left alone.

        A ValueError where a number cannot be: not finite, a correlation outside -1 to 1, an MSE below 0.
        """
        figures = {name: _possible(name, stored[name]) for name in METRICS if stored.get(name) is not None}
        ends = {name: stored[f"{name}_ci95"] for name in figures if stored.get(f"{name}_ci95") is not None}
        intervals = {name: (_possible(name, low), _possible(name, high)) for name, (low, high) in ends.items()}
        return cls(stored.get("n"), figures, intervals)


def agreement(truth: Values, predicted: Values, what: str = "points") -> Agreement:
    """Measure (n,) true and predicted scores of so many clips or systems, which `what` says.

    Where all scores of a side are the same there is the MSE alone. A MetricError where there are fewer than
    `LEAST_POINTS`, or values that are not finite.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    _check(truth, predicted, what)
    is_flat = min(np.ptp(truth), np.ptp(predicted)) < _SAME
    found = {"mse": mse} if is_flat else METRICS
    return Agreement(len(truth), {name: metric(truth, predicted) for name, metric in found.items()})


def bootstrap_intervals(
    truth: Values,
    predicted: Values,
    groups: Sequence[Sequence[Any]],
    resamples: int,
    seed: int = 0,
    metrics: Mapping[str, Callable[[Values, Values], float]] = METRICS,
) -> dict[str, Interval]:
    """Return the 95 % intervals of metrics of (n,) scores, drawing groups of points.

    `groups` names each point's group, (n,), once or more: each naming is drawn by itself. Not by
    `scipy.stats.bootstrap`, which draws single points. Resamples that have no value, as a correlation of
    equal numbers, are left out; where they are more than half, there is no interval.
    """
    random = np.random.default_rng(seed)
    codes = [np.unique(np.asarray(of), return_inverse=True)[1] for of in groups]
    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for _ in range(resamples):
        times = np.ones(len(truth), dtype=np.int64)
        for of in codes:
            n = int(of.max()) + 1
            times *= np.bincount(random.integers(n, size=n), minlength=n)[of]
        rows = np.repeat(np.arange(len(truth)), times)
        for name, metric in metrics.items() if len(rows) > 1 else ():
            drawn[name].append(metric(truth[rows], predicted[rows]))
    least = _LEAST_SHARE * resamples
    return {name: _middle(values) for name, values in drawn.items() if np.isfinite(values).sum() > least}


def _middle(values: Sequence[float]) -> Interval:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def shortage(n: int, what: str, least: int) -> str:
    """Say that so many clips, systems, ... are too few, and how many more are needed."""
    more, one = least - n, what.removesuffix("s")
    are = f"{n} {what} are" if n != 1 else f"1 {one} is"
    return f"{are} too few; it needs {more} more {what if more != 1 else one}"


def _check(truth: Values, predicted: Values, what: str) -> None:
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise MetricError(f"Truth and prediction differ in shape: {truth.shape} and {predicted.shape}.")
    if len(truth) < LEAST_POINTS:
        raise MetricError(f"{shortage(len(truth), what, LEAST_POINTS)}.")
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        raise MetricError("Some scores are missing or not finite: remove these rows first.")


def _possible(name: str, value: Any) -> float:
    number = float(value)
    low, high = (0.0, np.inf) if name == "mse" else (-1.0, 1.0)
    if not (np.isfinite(number) and low - _ROUNDING <= number <= high + _ROUNDING):
        raise ValueError(f"{name} cannot be {number}")
    return number
