import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import metrics
from core.errors import MetricError

TRUTH = np.array([1.0, 2.0, 2.0, 4.0])
PREDICTED = np.array([1.0, 3.0, 2.0, 3.0])


def test_worked_by_hand_with_ties():
    result = metrics.agreement(TRUTH, PREDICTED)
    assert result["n"] == 4
    assert result["mse"] == 0.5
    # deviations (-1.25, -0.25, -0.25, 1.75) and (-1.25, 0.75, -0.25, 0.75): 2.75 / sqrt(4.75 * 2.75)
    assert result["lcc"] == pytest.approx(2.75 / math.sqrt(4.75 * 2.75))
    # ranks (1, 2.5, 2.5, 4) and (1, 3.5, 2, 3.5): 3.75 / 4.5
    assert result["srcc"] == pytest.approx(3.75 / 4.5)
    # 4 pairs agree, none disagree, one tie on either side: 4 / sqrt(5 * 5)
    assert result["ktau"] == pytest.approx(0.8)


def test_systems_are_compared_by_their_means():
    levels = metrics.both_levels(
        np.array([1.0, 3.0, 2.0, 5.0, 4.0]), np.array([2.0, 2.0, 4.0, 3.0, 3.0]), ["a", "a", "b", "c", "c"]
    )
    assert levels["utterance"]["n"] == 5
    assert levels["system"]["n"] == 3
    assert levels["system"]["mse"] == pytest.approx((0 + 4 + 2.25) / 3)
    # means (2, 2, 4.5) and (2, 4, 3), ranks (1.5, 1.5, 3) and (1, 3, 2)
    assert levels["system"]["srcc"] == pytest.approx(0.0)


def test_systems_can_be_compared_with_given_scores():
    truth, predicted = np.array([1.0, 3.0, 2.0, 5.0, 4.0]), np.array([2.0, 2.0, 4.0, 3.0, 3.0])
    given = {"a": 1.0, "b": 5.0, "c": 3.0, "unused": 2.0}
    levels = metrics.both_levels(truth, predicted, ["a", "a", "b", "c", "c"], system_truth=given)
    assert levels["system"]["mse"] == pytest.approx((1 + 1 + 0) / 3)  # (1, 5, 3) and (2, 4, 3)
    assert levels["system"]["srcc"] == pytest.approx(1.0)
    del given["b"]
    with pytest.raises(MetricError, match="have none for b"):
        metrics.both_levels(truth, predicted, ["a", "a", "b", "c", "c"], system_truth=given)


def test_the_level_that_cannot_be_measured_is_named():
    with pytest.raises(MetricError, match="At system level: 2 points are too few"):
        metrics.both_levels(TRUTH, PREDICTED, ["a", "a", "b", "b"])


def test_intervals_hold_the_value_and_repeat():
    random = np.random.default_rng(0)
    truth = random.normal(size=200)
    predicted = truth + 0.5 * random.normal(size=200)
    first, second = (metrics.agreement(truth, predicted, resamples=300, seed=5) for _ in range(2))
    assert first == second
    for name in metrics.METRICS:
        low, high = first[f"{name}_ci95"]
        assert low < first[name] < high


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
def test_what_cannot_be_correlated_is_said(truth, predicted, sentence):
    with pytest.raises(MetricError, match=sentence):
        metrics.agreement(np.array(truth, dtype=float), np.array(predicted, dtype=float))


@pytest.mark.reference
def test_published_values_of_a_speech_predictor(reference_data: Path):
    table = pd.read_csv(reference_data / "metrics" / "bvcc_sheet_predictions.csv")
    systems = table["system_id"]
    levels = metrics.both_levels(table["avg_score"].to_numpy(), table["answer"].to_numpy(), list(systems))
    utterance, system = levels["utterance"], levels["system"]
    assert [round(utterance[m], 3) for m in metrics.METRICS] == [0.271, 0.867, 0.870, 0.693]
    assert [round(system[m], d) for m, d in zip(metrics.METRICS, (3, 4, 4, 3), strict=True)] == [
        0.123,
        0.9299,
        0.9302,
        0.777,
    ]
