"""Agreement of raters: textbook values, planted trends, and screens that cannot fire."""

import numpy as np
import pytest

from annotation.results import agreement


def test_icc_of_the_textbook() -> None:
    """Shrout and Fleiss, 1979, table 2: six targets, four judges; ICC(1,1) .17, ICC(1,4) .44."""
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    single, mean = agreement.icc(np.repeat(np.arange(6), 4), np.ravel(table).astype(float))
    assert (single, mean) == (pytest.approx(0.16574, abs=1e-5), pytest.approx(0.44280, abs=1e-5))


def test_icc_of_unequal_numbers() -> None:
    random = np.random.default_rng(1)
    clip = np.repeat(np.arange(3000), random.integers(2, 8, 3000))
    score = random.normal(0, 1, 3000)[clip] + random.normal(0, 0.5, len(clip))
    single, mean = agreement.icc(clip, score)
    assert single == pytest.approx(1 / 1.25, abs=0.02)
    assert mean == pytest.approx(1 / (1 + 0.25 / 4.5), abs=0.01)


def test_alpha_of_the_textbook() -> None:
    """Krippendorff's own example with missing answers: 0.849 with the interval metric."""
    nan = np.nan
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    _, clip = np.nonzero(~np.isnan(table))
    assert agreement.alpha(clip, table[~np.isnan(table)]) == pytest.approx(0.849, abs=5e-4)


@pytest.mark.parametrize("scores", [[3.0, 3.0, 3.0, 3.0], [3.0]])
def test_what_cannot_be_told_is_none(scores: list[float]) -> None:
    clip = np.arange(len(scores)) // 2
    assert agreement.alpha(clip, np.array(scores)) is None
    assert agreement.icc(clip, np.array(scores)) is None
    assert agreement.trend(clip, clip, np.array(scores), np.array(scores)) is None


def drifting(slope: float) -> tuple[agreement.Codes, agreement.Codes, agreement.Numbers, agreement.Numbers]:
    """A panel that changes with every batch, kind raters in the later ones: a plain regression sees both."""
    random = np.random.default_rng(2)
    clip = np.repeat(np.arange(200), 5)
    rater = np.concatenate([random.choice(14, 5, replace=False) for _ in range(200)])
    batch = rng_steps = random.integers(1, 20, len(clip)) + rater
    score = (
        random.normal(3, 1, 200)[clip] + 0.2 * rater + slope * rng_steps + random.normal(0, 0.4, len(clip))
    )
    return clip, rater, score, batch.astype(float)


@pytest.mark.parametrize("slope", [0.0, 0.03, -0.05])
def test_a_trend_is_found_beside_clips_and_raters(slope: float) -> None:
    clip, rater, score, batch = drifting(slope)
    found = agreement.trend(clip, rater, score, batch)
    assert found.low <= slope <= found.high
    assert found.high - found.low < 0.02
    assert np.polyfit(batch, score, 1)[0] > slope + 0.03


def test_a_trend_is_that_of_least_squares_with_dummies() -> None:
    clip, rater, score, batch = drifting(0.03)
    dummies = np.column_stack([clip[:, None] == np.arange(200), rater[:, None] == np.arange(1, 14), batch])
    solution = np.linalg.lstsq(dummies.astype(float), score, rcond=None)[0]
    assert agreement.trend(clip, rater, score, batch).slope == pytest.approx(solution[-1], abs=1e-7)


def test_repeats() -> None:
    found = agreement.repeats(np.array([3.0, 4.0, 2.0, 5.0]), np.array([3.0, 3.0, 4.0, 5.0]))
    assert found == {
        "pairs": 4,
        "mean_difference": 0.75,
        "inconsistency_sd": pytest.approx(np.sqrt(5 / 8)),
        "share_over": {"0": 0.5, "1": 0.25, "2": 0.0, "3": 0.0},
    }
    assert agreement.repeats(np.array([]), np.array([])) is None


@pytest.mark.parametrize(("threshold", "needed"), [(2.0, 6), (3.29, 12)])
def test_a_screen_says_when_it_cannot_fire(threshold: float, needed: int) -> None:
    """The farthest that one of n values can lie: all others alike."""
    for n in (5, needed - 1, needed):
        score = np.array([1.0] * (n - 1) + [5.0])
        found = agreement.outlier_screen(np.zeros(n, int), score, threshold)
        assert found["ratings_needed"] == needed
        assert found["can_fire"] == (n >= needed)
        assert found["ratings_outside"] == (1 if n >= needed else None)


def test_a_screen_looks_at_the_clips_that_have_enough_ratings() -> None:
    clip = np.array([0] * 5 + [1] * 7)
    score = np.array([1.0, 1, 1, 1, 5, 2, 2, 2, 2, 2, 2, 5])
    found = agreement.outlier_screen(clip, score, 2.0)
    assert (found["clips_screened"], found["ratings_outside"]) == (1, 1)
