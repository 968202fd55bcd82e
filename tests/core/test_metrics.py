import math
import warnings

import numpy as np
import pytest

from core import metrics
from core.errors import MetricError
from core.metrics import Agreement, agreement, bootstrap_interval

TRUTH = np.array([1.0, 2.0, 2.0, 4.0])
PREDICTED = np.array([1.0, 3.0, 2.0, 3.0])


def test_worked_by_hand_with_ties() -> None:
    measured = agreement(TRUTH, PREDICTED)
    assert (measured.n, measured.figures["mse"]) == (4, 0.5)
    # deviations (-1.25, -0.25, -0.25, 1.75) and (-1.25, 0.75, -0.25, 0.75): 2.75 / sqrt(4.75 * 2.75)
    assert measured.figures["lcc"] == pytest.approx(2.75 / math.sqrt(4.75 * 2.75))
    # ranks (1, 2.5, 2.5, 4) and (1, 3.5, 2, 3.5): 3.75 / 4.5
    assert measured.figures["srcc"] == pytest.approx(3.75 / 4.5)
    # 4 pairs agree, none disagree, one tie on either side: 4 / sqrt(5 * 5)
    assert measured.figures["ktau"] == pytest.approx(0.8)


def test_intervals_hold_the_value_and_repeat() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=200)
    predicted = truth + 0.5 * random.normal(size=200)
    first, second = (agreement(truth, predicted, resamples=300, seed=5) for _ in range(2))
    assert first == second
    assert first.intervals.keys() == metrics.METRICS.keys()
    for name, (low, high) in first.intervals.items():
        assert low < first.figures[name] < high


def test_resamples_without_a_value_are_left_out() -> None:
    measured = agreement(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0]), resamples=200)
    assert all(math.isfinite(end) for ends in measured.intervals.values() for end in ends)


def test_an_interval_of_a_mean() -> None:
    scores = np.arange(100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = bootstrap_interval(np.mean, scores, resamples=2000)
        assert bootstrap_interval(np.mean, np.full(4, 3.0), resamples=50) == (3.0, 3.0)
    half = 1.96 * scores.std() / 10
    assert (low, high) == pytest.approx((49.5 - half, 49.5 + half), abs=0.5)


def test_what_was_measured_is_stored() -> None:
    for measured in (agreement(TRUTH, PREDICTED), agreement(TRUTH, PREDICTED, resamples=20)):
        assert Agreement.from_json(measured.to_json() | {"note": "new"}) == measured
    assert list(Agreement(4, {"mse": 0.5}, {"mse": (0.1, 0.9)}).to_json().items()) == [
        ("n", 4),
        ("mse", 0.5),
        ("mse_ci95", [0.1, 0.9]),
    ]


@pytest.mark.parametrize(
    ("truth", "predicted", "sentence"),
    [
        ([1, 2], [1, 2], "too few"),
        ([1, 1, 1], [1, 2, 3], "the same"),
        ([1, 2, 3], [2, 2, 2], "the same"),
        ([1, 2, math.nan], [1, 2, 3], "not finite"),
        ([1, 2, 3], [1, 2], "shape"),
    ],
)
def test_what_cannot_be_correlated_is_said(truth: list[float], predicted: list[float], sentence: str) -> None:
    with pytest.raises(MetricError, match=sentence):
        agreement(np.array(truth, dtype=float), np.array(predicted, dtype=float))
