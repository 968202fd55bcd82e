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
        ("R01", "3.00", "3.67", "1 of 3", "0 of 1", "0 of 1", "–"),
        ("R02", "3.00", "3.00", "1 of 3", "1 of 1", "1 of 1", "–"),
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


def test_nobody_has_rated() -> None:
    nothing = pd.DataFrame([rating("R01", 0, 3, 3, role="practice", status="practice")])
    found = screening(nothing, Protocol(), MUSICEVAL)
    assert (found.anchors_table.rows, found.raters_table.rows) == ([], [])
