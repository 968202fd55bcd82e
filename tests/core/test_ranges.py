"""Ranges of scores: by system, as sure as stated, as wide as a clip asks."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from core.ranges import LEAST_SPREAD, bounded, coverage, held_error


def test_each_system_weighs_as_much_as_any_other() -> None:
    errors = np.array([0.1, 0.2, 0.3, 0.4, 9.0])
    systems = np.array(["a", "a", "a", "a", "b"])
    assert held_error(errors, systems, 1 / 3) == 0.4  # all of a: one system of two and the next one
    assert held_error(errors, systems, 0.4) == 9.0
    assert held_error(errors, systems, 0.7) == math.inf  # two of three systems are not enough


def test_nine_systems_are_the_least_for_ninety_percent() -> None:
    errors = np.arange(10.0)
    assert held_error(errors, np.arange(10)) == 9.0
    assert held_error(errors[:9], np.arange(9)) == 8.0
    assert held_error(errors[:8], np.arange(8)) == math.inf


def of_systems(random: np.random.Generator, n: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Errors of systems that are wrong together, by their own offset, with 1 to 30 clips each."""
    systems = np.repeat(np.arange(n), random.integers(1, 31, n))
    errors = np.abs(random.normal(0, 0.8, n)[systems] + random.normal(0, 0.3, len(systems)))
    return errors, systems


def test_a_range_holds_a_clip_of_the_next_system_as_often_as_it_says() -> None:
    random, held, times = np.random.default_rng(0), 0.0, 1000
    for _ in range(times):
        errors, systems = of_systems(random, 32)
        is_next = systems == 31
        held += (errors[is_next] <= held_error(errors[~is_next], systems[~is_next])).mean()
    assert 0.89 <= held / times < 0.94


def test_coverage_is_counted_on_systems_that_made_no_range() -> None:
    random = np.random.default_rng(1)
    errors, systems = of_systems(random, 300)
    scores = random.uniform(1, 5, len(errors))
    found = coverage(errors, systems, scores)
    assert found["all"] == pytest.approx(0.9, abs=0.02)
    assert len(found["by_system"]) == 300
    assert [(of["from"], of["to"]) for of in found["by_score"]] == [(1, 2), (2, 3), (3, 4), (4, 5)]
    assert sum(of["n"] for of in found["by_score"]) == len(errors)
    one_that_is_off = coverage(np.where(systems == 7, 99.0, errors), systems, scores)
    assert one_that_is_off["by_system"]["7"] == 0.0


def test_no_judge_is_surer_than_the_least_spread() -> None:
    assert bounded(np.array([0.0, 0.5])).tolist() == [LEAST_SPREAD, 0.5]
