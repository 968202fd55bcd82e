"""Agreement with people: figures by hand, the ceiling of simulated raters, groups."""

import numpy as np
import pandas as pd
import pytest

from core.evaluation import Predictions
from core.metrics import LEAST_GROUPS, pairs
from core.people import FIGURES, PeopleAgreement, as_text, measure_people
from core.rated_clips import OUR_RANGE, Opinions
from core.scales import MUSICAL_IMPRESSION

MI = MUSICAL_IMPRESSION.key


def predictions(rated: list[float], said: list[float], **columns: list[str]) -> Predictions:
    names = [f"c{n}" for n in range(len(rated))]
    table = {"clip_id": names, "system_id": [""] * len(rated), MI: rated, f"predicted_{MI}": said, **columns}
    return Predictions(pd.DataFrame(table), (MUSICAL_IMPRESSION,))


def measured(given: Predictions, opinions: Opinions | None = None, resamples: int = 50) -> PeopleAgreement:
    (of,) = measure_people(given, opinions or Opinions({MI: OUR_RANGE}), resamples)
    return of


def simulated(n_clips: int, n_raters: int, noise: float, seed: int = 0) -> tuple[np.ndarray, Opinions]:
    """True scores with a spread of 1, and ratings that each add a noise; every rater rates every clip."""
    random = np.random.default_rng(seed)
    true = random.normal(0, 1, n_clips)
    rows = [
        {"clip_id": f"c{clip}", "rater": f"r{rater}", MI: true[clip] + random.normal(0, noise)}
        for clip in range(n_clips)
        for rater in range(n_raters)
    ]
    return true, Opinions({MI: OUR_RANGE}, pd.DataFrame(rows))


def test_pairs_by_hand() -> None:
    assert pairs(np.array([1.0, 2, 3]), np.array([1.0, 3, 2])) == pytest.approx(2 / 3)
    assert pairs(np.array([1.0, 2, 3, 3]), np.array([3.0, 2, 2, 1])) == 0  # two of six are tied
    assert pairs(np.array([1.0, 2, 3, 4]), np.array([1.0, 1, 2, 2])) == 1
    assert np.isnan(pairs(np.array([1.0, 1]), np.array([1.0, 2])))


def test_pairs_as_counted_one_by_one() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        truth, said = random.integers(0, 6, (2, 30)).astype(float)
        order = np.sign(truth[:, None] - truth[None]) * np.sign(said[:, None] - said[None])
        assert pairs(truth, said) == pytest.approx((order > 0).sum() / (order != 0).sum())


def test_figures_and_intervals_over_clips() -> None:
    random = np.random.default_rng(0)
    rated = random.uniform(1, 5, 40)
    of = measured(predictions([*rated], [*(rated + random.normal(0, 0.5, 40)).clip(1, 5)]), resamples=200)
    assert list(of.figures) == list(of.intervals) == list(FIGURES)
    assert of.over == "clips"
    assert all(of.intervals[name][0] <= figure <= of.intervals[name][1] for name, figure in of.figures.items())
    assert of.intervals["pairs"][1] - of.intervals["pairs"][0] < 0.2


def test_systems_are_drawn_where_there_are_enough() -> None:
    random = np.random.default_rng(0)
    rated, n = [*random.uniform(1, 5, 40)], LEAST_GROUPS
    systems = [f"S{clip % n}" for clip in range(40)]
    assert measured(predictions(rated, rated[::-1], system_id=systems)).over == "systems"
    few = [f"S{clip % (n - 1)}" for clip in range(40)]
    of = measured(predictions(rated, rated[::-1], system_id=few))
    assert (of.over, list(of.intervals)) == ("clips", list(FIGURES))


def test_too_few_clips_have_no_intervals_and_fewer_have_nothing() -> None:
    of = measured(predictions([1.0, 2, 3, 4], [1.0, 2, 4, 3]))
    assert (of.figures["pairs"], of.intervals) == (pytest.approx(5 / 6), {})
    assert of.reasons[0] == "Musical impression has no intervals: 4 clips are too few; it needs 6 more clips."
    of = measured(predictions([1.0, 2, 3], [1.0, 2, 3]))
    assert (of.figures, of.reasons[0]) == (
        {},
        "Musical impression is not measured: 3 clips are too few; it needs 1 more clip.",
    )
    of = measured(predictions([1.0, 2, 3, 4], [3.0] * 4))
    assert list(of.figures) == ["mse"]
    assert of.to_json()["srcc"] is None


@pytest.mark.parametrize(("raters", "noise"), [(4, 1.0), (16, 2.0), (8, 4.0)])
def test_the_ceiling_is_what_the_truth_itself_reaches(raters: int, noise: float) -> None:
    """The correlation of true scores with means of ratings: sqrt(1 / (1 + noise**2 / raters))."""
    expected = (1 / (1 + noise**2 / raters)) ** 0.5
    true, opinions = simulated(600, raters, noise)
    assert opinions.ratings is not None
    means = opinions.ratings.groupby("clip_id", sort=False)[MI].mean().to_numpy()
    of = measured(predictions([*means], [*true]), opinions, resamples=0)
    assert of.reliability is not None
    assert of.reliability.ceiling == pytest.approx(expected, abs=0.03)
    assert of.figures["lcc"] == pytest.approx(of.reliability.ceiling, abs=0.04)
    assert of.reliability.spearman_brown == pytest.approx(
        2 * of.reliability.split_half / (1 + of.reliability.split_half)
    )
    assert (of.reliability.n_ratings, of.reliability.n_raters) == (600 * raters, raters)


def test_there_is_no_ceiling_without_raters_that_agree() -> None:
    _, opinions = simulated(40, 8, 1.0)
    assert opinions.ratings is not None
    given = predictions([*np.linspace(1, 5, 40)], [*np.linspace(1, 5, 40)])
    against = opinions.ratings[opinions.ratings["rater"].isin(["r0", "r1"])]
    against = against.assign(**{MI: [clip * sign for clip in range(40) for sign in (1, -1)]})
    for ratings, reason in (
        (None, "the table has means and no single ratings"),
        (opinions.ratings.head(8 * 5), f"it needs {LEAST_GROUPS} clips that are rated in both halves"),
        (opinions.ratings[opinions.ratings["rater"] == "r0"], f"it needs {LEAST_GROUPS} clips"),
        (against, "both halves of the raters do not agree (correlation -1.00)."),
    ):
        of = measured(given, Opinions({MI: OUR_RANGE}, ratings), resamples=0)
        assert of.reliability is None
        assert any(said.startswith(f"Musical impression has no ceiling: {reason}") for said in of.reasons)


def test_groups_on_peoples_own_range_and_pairs_across_them() -> None:
    groups = ["human, one"] * 4 + ["human, many"] * 4 + ["computer, one"] * 4
    rated = [5.0, 5, 4, 4, 3, 3, 3, 3, 1, 2, 3, 2]
    said = [2.0, 1, 1, 1, 4, 5, 5, 4, 3, 3, 3, 3]
    opinions = Opinions({MI: (0, 100)}, None, {f"c{n}": group for n, group in enumerate(groups)})
    of = measured(predictions(rated, said), opinions)
    assert [(group.group, group.n_clips, group.people, group.judge) for group in of.groups] == [
        ("computer, one", 4, 25.0, 3.0),
        ("human, many", 4, 50.0, 4.5),
        ("human, one", 4, 87.5, 1.25),
    ]
    orders = {(order.above, order.below): (order.n_pairs, order.people, order.judge) for order in of.orders}
    assert orders == {
        ("human", "computer"): (32, 1.0, 0.5),
        ("human, many", "computer, one"): (16, 1.0, 1.0),
        ("human, one", "computer, one"): (16, 1.0, 0.0),
        ("human, one", "human, many"): (16, 1.0, 0.0),
    }
    assert all(order.judge_ci95 is None for order in of.orders)  # of four clips
    text = "\n".join(as_text([of]))
    assert "people (0 to 100)" in text
    assert "  human above computer (32 pairs): people 100.0%, judge 50.0%" in text


def test_an_order_of_enough_clips_has_an_interval() -> None:
    random = np.random.default_rng(0)
    rated = [*random.uniform(1, 3, 20), *random.uniform(3, 5, 20)]
    said = [*random.uniform(1, 3, 20), *random.uniform(2, 4, 20)]
    groups = {f"c{n}": "computer" if n < 20 else "human" for n in range(40)}
    (order,) = measured(predictions(rated, said), Opinions({MI: OUR_RANGE}, None, groups), 200).orders
    assert order.judge is not None
    assert order.judge_ci95 is not None
    assert order.judge_ci95[0] < order.judge < order.judge_ci95[1] <= 1
    assert order.judge_ci95[0] > 0.6
