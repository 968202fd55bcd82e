import math
from typing import Any

import numpy as np
import pytest

from core.errors import MetricError
from core.metrics import METRICS, Agreement, agreement, bootstrap_intervals, shortage

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


def scores(n: int, noise: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.normal(size=n)
    return truth, truth + noise * random.normal(size=n)


def test_intervals_hold_the_value_and_repeat() -> None:
    truth, predicted = scores(200)
    first, second = (bootstrap_intervals(truth, predicted, [range(200)], 300, seed=5) for _ in range(2))
    assert first == second
    assert first.keys() == METRICS.keys()
    for name, (low, high) in first.items():
        assert low < agreement(truth, predicted).figures[name] < high
        assert (low >= 0 and name == "mse") or -1 <= low <= high <= 1


def test_points_of_a_group_are_drawn_together() -> None:
    """Ten clips a system with the same scores say no more than one: the interval is that of the systems."""
    truth, predicted = scores(20)
    of_systems = bootstrap_intervals(truth, predicted, [range(20)], 400)["lcc"]
    clips = np.repeat(truth, 10), np.repeat(predicted, 10), np.repeat(np.arange(20), 10)
    of_clips = bootstrap_intervals(*clips[:2], [clips[2]], 400)["lcc"]
    as_if_independent = bootstrap_intervals(*clips[:2], [range(200)], 400)["lcc"]
    assert of_clips == pytest.approx(of_systems)
    assert np.ptp(as_if_independent) < 0.5 * np.ptp(of_clips)
    prompts = np.tile(np.arange(10), 20)
    crossed = bootstrap_intervals(*clips[:2], [clips[2], prompts], 400)["lcc"]
    assert np.ptp(crossed) == pytest.approx(np.ptp(of_systems), rel=0.2)  # prompts do not matter here


def test_resamples_without_a_value_are_left_out() -> None:
    some = bootstrap_intervals(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 5.0]), [range(4)], 200)
    assert all(math.isfinite(end) for ends in some.values() for end in ends)
    mostly_flat = np.array([1.0] * 30 + [2.0])
    assert bootstrap_intervals(mostly_flat, np.arange(31.0), [[*[0] * 30, 1]], 200).keys() == {"mse"}


def test_what_was_measured_is_stored() -> None:
    partly = Agreement(4, {"mse": 0.5}, {"mse": (0.1, 0.9)})
    for measured in (agreement(TRUTH, PREDICTED), partly):
        assert Agreement.from_json(measured.to_json() | {"note": "new"}) == measured
    assert list(partly.to_json().items())[:5] == [
        ("n", 4),
        ("mse", 0.5),
        ("mse_ci95", [0.1, 0.9]),
        ("lcc", None),
        ("lcc_ci95", None),
    ]


@pytest.mark.parametrize("wrong", [{"mse": -0.1}, {"mse": math.nan}, {"lcc": 1.1}, {"srcc": -2}, {"mse": "x"}])
def test_figures_that_cannot_be_are_not_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"cannot be|could not convert"):
        Agreement.from_json({"n": 4, **wrong})
    with pytest.raises(ValueError, match=r"cannot be"):
        Agreement.from_json({"n": 4, "lcc": 0.5, "lcc_ci95": [0.1, 90]})


@pytest.mark.parametrize("flat", [[2.0] * 4, [2.0, 2.0 + 1e-7, 2.0, 2.0 - 1e-7]])
def test_a_constant_has_errors_and_no_correlations(flat: list[float]) -> None:
    """Differences of float error are no order."""
    for pair in ((TRUTH, np.array(flat)), (np.array(flat), TRUTH)):
        measured = agreement(*pair)
        assert measured.figures == {"mse": pytest.approx(np.mean((TRUTH - 2) ** 2))}


@pytest.mark.parametrize(
    ("n", "what", "said"),
    [
        (2, "systems", "2 systems are too few; it needs 8 more systems"),
        (1, "systems", "1 system is too few; it needs 9 more systems"),
        (9, "held-out clips", "9 held-out clips are too few; it needs 1 more held-out clip"),
    ],
)
def test_what_is_short_is_counted(n: int, what: str, said: str) -> None:
    assert shortage(n, what, 10) == said


@pytest.mark.parametrize(
    ("truth", "predicted", "sentence"),
    [
        ([1, 2, 3], [1, 2, 3], "3 points are too few; it needs 1 more point"),
        ([1, 2, math.nan, 4], [1, 2, 3, 4], "not finite"),
        ([1, 2, 3], [1, 2], "shape"),
    ],
)
def test_what_cannot_be_correlated_is_said(truth: list[float], predicted: list[float], sentence: str) -> None:
    with pytest.raises(MetricError, match=sentence):
        agreement(np.array(truth, dtype=float), np.array(predicted, dtype=float))
