"""How well predicted scores agree with rated ones: MSE, LCC, SRCC and KTAU, per clip and per system.

Conventions: two arrays of shape (n,), truth first. LCC is Pearson's linear correlation, SRCC Spearman's rank
correlation, KTAU Kendall's tau-b (ties counted). *Utterance level* compares clips; *system level* compares
the unweighted means over each system's clips (MusicEval, section V.B), or sets the predicted means against
system scores that are given, as the AudioMOS Challenge does. Intervals are percentile bootstraps: clips are
resampled at utterance level, systems at system level.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from core.errors import MetricError

Values = NDArray[np.float64]


def mse(truth: Values, predicted: Values) -> float:
    """Mean squared error."""
    return float(np.mean((truth - predicted) ** 2))


def lcc(truth: Values, predicted: Values) -> float:
    """Pearson's correlation, -1 to 1."""
    return float(np.corrcoef(truth, predicted)[0, 1])


def srcc(truth: Values, predicted: Values) -> float:
    """Spearman's rank correlation, -1 to 1; ties share their mean rank."""
    return lcc(stats.rankdata(truth), stats.rankdata(predicted))


def ktau(truth: Values, predicted: Values) -> float:
    """Kendall's tau-b, -1 to 1."""
    return float(stats.kendalltau(truth, predicted, variant="b").statistic)


METRICS: Mapping[str, Callable[[Values, Values], float]] = {
    "mse": mse,
    "lcc": lcc,
    "srcc": srcc,
    "ktau": ktau,
}


def agreement(truth: Values, predicted: Values, resamples: int = 0, seed: int = 0) -> dict[str, object]:
    """All four metrics, each with its 95 % bootstrap interval.

    Parameters
    ----------
    truth, predicted : (n,)
    resamples : int
        0 leaves the intervals out. Resamples in which either side is constant are drawn again.
    seed : int

    Returns
    -------
    dict
        ``n``, then ``mse``, ``mse_ci95``, ``lcc``, ...

    Raises
    ------
    MetricError
        Fewer than three points, values that are not finite, or a side that is constant.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    _check(truth, predicted)
    drawn = [
        _resample(truth, predicted, random)
        for random in [np.random.default_rng(seed)]
        for _ in range(resamples)
    ]
    result: dict[str, object] = {"n": len(truth)}
    for name, metric in METRICS.items():
        result[name] = metric(truth, predicted)
        if drawn:
            low, high = np.percentile([metric(*pair) for pair in drawn], [2.5, 97.5])
            result[f"{name}_ci95"] = [float(low), float(high)]
    return result


def both_levels(
    truth: Values,
    predicted: Values,
    systems: Sequence[str],
    resamples: int = 0,
    seed: int = 0,
    system_truth: Mapping[str, float] | None = None,
) -> dict[str, dict[str, object]]:
    """:func:`agreement` of one scale at utterance and at system level.

    Parameters
    ----------
    truth, predicted : (n,)
    systems : sequence of str, n of them
        What made each clip.
    resamples, seed : int
        As in :func:`agreement`.
    system_truth : mapping of str to float, optional
        The systems' scores; without it the means of their clips.

    Raises
    ------
    MetricError
        As :func:`agreement`, naming the level; or a system has no score in `system_truth`.
    """
    means = (
        pd.DataFrame({"truth": truth, "predicted": predicted, "system": list(systems)})
        .groupby("system")
        .mean()
    )
    if system_truth is not None:
        unknown = [name for name in means.index if name not in system_truth]
        if unknown:
            raise MetricError(f"The given system scores have none for {', '.join(unknown)}.")
        means["truth"] = [system_truth[name] for name in means.index]
    pairs = {
        "utterance": (truth, predicted),
        "system": (means["truth"].to_numpy(), means["predicted"].to_numpy()),
    }
    levels = {}
    for level, pair in pairs.items():
        try:
            levels[level] = agreement(*pair, resamples, seed)
        except MetricError as error:
            raise MetricError(f"At {level} level: {error}") from error
    return levels


def _check(truth: Values, predicted: Values) -> None:
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise MetricError(f"Truth and prediction differ in shape: {truth.shape} and {predicted.shape}.")
    if len(truth) < 3:
        raise MetricError(f"{len(truth)} points are too few to correlate: give at least 3.")
    if not (np.isfinite(truth).all() and np.isfinite(predicted).all()):
        raise MetricError("Some scores are missing or not finite: remove these rows first.")
    if np.ptp(truth) == 0 or np.ptp(predicted) == 0:
        raise MetricError("All scores of one side are the same, so nothing can be correlated with them.")


def _resample(truth: Values, predicted: Values, random: np.random.Generator) -> tuple[Values, Values]:
    while True:
        rows = random.integers(0, len(truth), len(truth))
        if np.ptp(truth[rows]) > 0 and np.ptp(predicted[rows]) > 0:
            return truth[rows], predicted[rows]
