"""Clips beside each other: differences with their intervals, and chances that add up."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from core.comparing import Estimate, chances_of_being_highest, difference, estimate

LEVEL = 0.9
SIGMA = norm.ppf((1 + LEVEL) / 2)  # of an interval that reaches one point: 1 / SIGMA


def test_an_interval_that_the_scale_cuts_reaches_as_far_as_on_its_other_side() -> None:
    assert estimate(4.5, (3.5, 5.0)) == Estimate(4.5, 1.0)
    assert estimate(1.25, (1.0, 2.0)) == Estimate(1.25, 0.75)
    assert estimate(3.0, None) == Estimate(3.0, None)
    assert estimate(None, (2.0, 3.0)) == Estimate(None, None)


def test_a_difference_is_less_sure_than_either() -> None:
    assert difference(Estimate(4.0, 0.6), Estimate(3.0, 0.8)) == (1.0, pytest.approx(1.0))
    assert difference(Estimate(4.0, 0.6), Estimate(3.0, None)) == (1.0, None)
    assert difference(Estimate(None, None), Estimate(3.0, 0.8)) == (None, None)


@pytest.mark.parametrize(
    ("gap", "one", "other"), [(0.0, 0.5, 0.5), (0.4, 0.5, 0.5), (1.0, 0.2, 1.5), (3.0, 0.001, 2.0)]
)
def test_of_two_the_chance_is_that_of_their_difference(gap: float, one: float, other: float) -> None:
    found = chances_of_being_highest([Estimate(2.0 + gap, one), Estimate(2.0, other)], LEVEL)
    assert found is not None
    expected = norm.cdf(gap * SIGMA / math.hypot(one, other))
    assert found == pytest.approx([expected, 1 - expected], abs=1e-4)


def test_of_many_the_chances_are_those_of_drawing() -> None:
    means, reaches = np.array([3.0, 3.2, 2.5, 3.1]), np.array([0.4, 0.9, 1.5, 0.1])
    found = chances_of_being_highest([Estimate(*both) for both in zip(means, reaches, strict=True)], LEVEL)
    drawn = np.random.default_rng(1).normal(means, reaches / SIGMA, (200_000, 4)).argmax(axis=1)
    assert found == pytest.approx(np.bincount(drawn, minlength=4) / drawn.size, abs=0.005)


def test_equals_have_equal_chances() -> None:
    assert chances_of_being_highest([Estimate(3.0, 0.0)] * 3, LEVEL) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    "estimates",
    [[Estimate(3.0, 0.5)], [], [Estimate(3.0, 0.5), Estimate(2.0, None)], [Estimate(3.0, 0.5), Estimate(None, None)]],
)
def test_where_something_is_not_known_there_is_no_chance(estimates: list[Estimate]) -> None:
    assert chances_of_being_highest(estimates, LEVEL) is None
