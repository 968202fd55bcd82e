"""Systems compared in pairs on shared prompts, against direct calculations."""

import itertools

import numpy as np
import pytest
from scipy.stats import bootstrap

from core.batch.paired import LEAST_PROMPTS, Comparison, compare_systems, holm


def rows(system: str, values: list[float | None], first: int = 0) -> list[dict[str, object]]:
    return [
        {"system": system, "prompt": f"prompt {first + number}", "status": "ok", "s": value}
        for number, value in enumerate(values)
    ]


def compared(*records: list[dict[str, object]]) -> Comparison:
    return compare_systems(itertools.chain(*records), "s")


HIGH, LOW = [3.0, 3.5, 2.5, 4.0, 3.0, 3.6], [2.0, 3.1, 2.2, 3.0, 2.9, 3.0]


def test_a_pair_is_what_is_calculated_directly() -> None:
    [pair] = compared(rows("low", LOW), rows("high", HIGH)).pairs
    differences = np.array(HIGH) - np.array(LOW)
    assert (pair.one, pair.other, pair.n_higher + pair.n_ties + pair.n_lower) == ("high", "low", 6)
    assert pair.difference == pytest.approx(differences.mean())
    known = bootstrap(
        (differences,), np.mean, n_resamples=2000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert (pair.low, pair.high) == pytest.approx((known.low, known.high))
    assert pair.p == 2 / 2**6  # all six are higher: one flip of 64 on either side
    assert pair.differs


def test_several_clips_of_a_prompt_are_one_value_and_ties_are_counted() -> None:
    twice = [*rows("a", [2.0] * 6), *rows("a", [4.0] * 6)]
    [pair] = compared(twice, rows("b", [3.0, 3.0, 3.0, 3.0, 2.0, 4.0])).pairs
    assert (pair.n_higher, pair.n_ties, pair.n_lower) == (1, 4, 1)
    assert (pair.difference, pair.p, pair.differs) == (0.0, 1.0, False)


def test_many_pairs_are_corrected() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    values = np.random.default_rng(1).normal(3.0, 0.3, 20)
    three = [rows(name, list(values + shift)) for name, shift in (("a", 0.0), ("b", 0.0), ("c", -1.0))]
    found = compared(*three)
    assert {(pair.one, pair.other): pair.differs for pair in found.pairs} == {
        ("a", "b"): False,
        ("a", "c"): True,
        ("b", "c"): True,
    }
    assert found.groups == (("a", "b"),)


def test_only_shared_prompts_with_values_count() -> None:
    [pair] = compared(rows("a", [4.0, None, *HIGH]), rows("b", [None, 1.0, *LOW, 5.0])).pairs
    assert pair.n_higher + pair.n_ties + pair.n_lower == 6


def test_it_says_why_nothing_is_compared() -> None:
    assert "fewer than two systems" in compared(rows("a", HIGH)).reason
    assert "these share none" in compared(rows("a", HIGH), rows("b", HIGH, first=10)).reason
    few = LEAST_PROMPTS - 1
    assert f"share {few} at most" in compared(rows("a", HIGH[:few]), rows("b", HIGH)).reason
    assert "more than 8 systems" in compared(*[rows(str(number), HIGH) for number in range(9)]).reason
    empty = [{**row, "prompt": ""} for row in rows("b", HIGH)]
    assert "fewer than two systems" in compared(rows("a", HIGH), empty).reason
