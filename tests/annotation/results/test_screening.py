"""What the checks say of anchors and of raters."""

import math

import pandas as pd
import pytest

from annotation.protocol import Protocol
from annotation.results.screening import screening
from annotation.rules import anchor_chance
from core.scales import MUSICEVAL
from tests.annotation.results.panels import rating


def answers(rater: str, anchors: list[int], again: int = 3) -> list[dict[str, object]]:
    """A clip rated 3, which comes twice, and anchors; all in one batch."""
    rows = [rating(rater, 0, 3, 3), rating(rater, 0, again, 3, role="duplicate", status="check")]
    return rows + [
        rating(rater, 100 + number, score, 1, role="anchor", status="check", prompt=f"anchor {number}")
        for number, score in enumerate(anchors)
    ]


def test_anchors_and_raters_are_counted() -> None:
    rows = answers("R01", [5, 2, 4]) + answers("R02", [5, 1, 3], again=5)
    for row in rows:
        row["status"] = "excluded" if row["rater"] == "R02" and row["role"] == "stimulus" else row["status"]
    found = screening(pd.DataFrame(rows), Protocol(), MUSICEVAL)
    assert found.anchors[["prompt", "n_ratings", "mean", "n_failed"]].to_numpy().tolist() == [
        ["anchor 1", 2, 1.5, 2], ["anchor 2", 2, 3.5, 0], ["anchor 0", 2, 5.0, 0],
    ]  # fmt: skip
    assert found.raters_table.rows == [
        ("R01", "3.00", "–", "3.67", "1 of 3", "0 of 1", "0 of 1", "–"),
        ("R02", "3.00", "–", "3.00", "1 of 3", "1 of 1", "1 of 1", "–"),
    ]
    assert found.anchors_table.rows[0] == ("anchor 1", 2, "1.50", "2 of 2")


@pytest.mark.parametrize(("count", "known"), [(9, False), (10, True)])
def test_what_a_rater_would_lose_by_chance_follows_their_own_anchors(count: int, known: bool) -> None:
    """A strict rater loses more: by the same rule, with the mean that they give to anchors."""
    shares = {}
    for name, mean in (("kind", 5), ("strict", 4)):
        given = [mean - number % 2 for number in range(count)]
        share = screening(pd.DataFrame(answers(name, given)), Protocol(), MUSICEVAL).raters["expected_share"].item()
        shares[name] = share
        if known:
            scores = pd.Series(given)
            assert share == pytest.approx(anchor_chance(Protocol(), MUSICEVAL, scores.mean(), scores.std()))
    assert shares["strict"] > shares["kind"] if known else all(map(math.isnan, shares.values()))


def panel_of(raters: int, spread: float = 1.0) -> pd.DataFrame:
    """Ten clips and an anchor by each; the later the rater, the higher the ratings, and the anchors."""
    rows = []
    for number in range(raters):
        point = round(1 + spread * 4 * number / raters)
        rows += [rating(f"R{number:02}", clip, point, 3) for clip in range(10)]
        rows.append(rating(f"R{number:02}", 100, point, 3, role="anchor", status="check"))
    return pd.DataFrame(rows)


def test_whether_the_anchors_fall_on_strict_raters_is_told() -> None:
    found = screening(panel_of(10), Protocol(), MUSICEVAL)
    raters = found.raters.set_index("rater")
    points = panel_of(10).groupby("rater")["musical_impression"].mean()
    assert raters["bias"].to_numpy() == pytest.approx((points - (points.sum() - points) / 9).to_numpy())
    assert raters["batches_low"].tolist() == (points < 3).astype(int).tolist()
    r = points.corr((points < 3).astype(float))
    assert f"correlate with {r:+.2f} over 10 raters" in found.falls_on_strict
    relative = screening(panel_of(10), Protocol(anchor_rule="relative"), MUSICEVAL)
    assert relative.raters["batches_low"].sum() == 0


@pytest.mark.parametrize(
    ("ratings", "said"),
    [
        (panel_of(9), "needs 1 more rater with 10 ratings"),
        (panel_of(10, spread=0), "all raters have the same share"),
        (panel_of(10)[lambda table: table["role"] == "stimulus"], "needs 10 more raters with 10 ratings"),
    ],
    ids=["few raters", "all alike", "no anchors"],
)
def test_why_it_is_not_told(ratings: pd.DataFrame, said: str) -> None:
    assert screening(ratings, Protocol(), MUSICEVAL).falls_on_strict.endswith(f"– ({said}).")


def test_nobody_has_rated() -> None:
    nothing = pd.DataFrame([rating("R01", 0, 3, 3, role="practice", status="practice")])
    found = screening(nothing, Protocol(), MUSICEVAL)
    assert (found.anchors_table.rows, found.raters_table.rows) == ([], [])
