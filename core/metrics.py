"""How well predicted scores agree with rated ones: MSE, LCC, SRCC and KTAU, with bootstrap intervals.

Conventions: two arrays of shape (n,), truth first. LCC is Pearson's linear correlation, SRCC Spearman's rank
correlation, KTAU Kendall's tau-b (ties counted). Intervals are 95 % percentile bootstraps over the points.
Source: MusicEval, section V.B.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from core.errors import MetricError

Values = NDArray[np.float64]
Interval = tuple[float, float]

_MOST_NUMBERS_AT_ONCE = 4_000_000  # that a bootstrap draws


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
    return lcc(stats.rankdata(truth), stats.rankdata(predicted))


def ktau(truth: Values, predicted: Values) -> float:
    """Return Kendall's tau-b, -1 to 1."""
    return float(stats.kendalltau(truth, predicted, variant="b").statistic)


METRICS: Mapping[str, Callable[[Values, Values], float]] = {"mse": mse, "lcc": lcc, "srcc": srcc, "ktau": ktau}


@dataclass(frozen=True)
class Agreement:
    """How well one scale is predicted, on one level.

    `n` is the number of points, None where it is not known; `figures` are by metric, those of `METRICS` that
    there are; `intervals` are the ends of the 95 % intervals by metric, where they were asked for.
    """

    n: int | None
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return ``n``, then ``mse``, ``mse_ci95``, ``lcc``, ..."""
        result: dict[str, Any] = {"n": self.n}
        for name, figure in self.figures.items():
            result[name] = figure
            if name in self.intervals:
                result[f"{name}_ci95"] = list(self.intervals[name])
        return result

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave; what else is in it is left alone."""
        figures = {name: float(stored[name]) for name in METRICS if stored.get(name) is not None}
        ends = {name: stored[f"{name}_ci95"] for name in figures if f"{name}_ci95" in stored}
        return cls(stored.get("n"), figures, {name: (low, high) for name, (low, high) in ends.items()})


def agreement(truth: Values, predicted: Values, resamples: int = 0, seed: int = 0) -> Agreement:
    """Measure all four metrics of (n,) true and predicted scores; 0 resamples leave the intervals out.

    A MetricError where there are fewer than three points, values that are not finite, or a constant side.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    _check(truth, predicted)
    figures = {name: metric(truth, predicted) for name, metric in METRICS.items()}
    intervals = {
        name: bootstrap_interval(metric, truth, predicted, resamples=resamples, seed=seed)
        for name, metric in METRICS.items()
        if resamples
    }
    return Agreement(len(truth), figures, intervals)


def bootstrap_interval(statistic: Callable[..., Any], *samples: Values, resamples: int, seed: int = 0) -> Interval:
    """Return the 95 % percentile bootstrap interval of a statistic of samples that are drawn together.

    A statistic with an argument ``axis`` is computed of many resamples at once. Resamples that have no value
    (NaN), as a correlation of equal numbers, are left out.
    """
    with warnings.catch_warnings():  # SciPy warns of resamples without a value: its own interval has none then
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(
            samples,
            statistic,
            paired=True,
            n_resamples=resamples,
            batch=max(1, _MOST_NUMBERS_AT_ONCE // len(samples[0])),
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _check(truth: Values, predicted: Values) -> None:
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise MetricError(f"Truth and prediction differ in shape: {truth.shape} and {predicted.shape}.")
    if len(truth) < 3:
        raise MetricError(f"{len(truth)} points are too few to correlate: give at least 3.")
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        raise MetricError("Some scores are missing or not finite: remove these rows first.")
    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        raise MetricError("All scores of one side are the same, so nothing can be correlated with them.")
