"""The means of systems and their intervals."""

from typing import Any

import numpy as np
import pytest

from core.batch.leaderboard import leaderboard
from core.scales import MUSICEVAL, Scale


def record(system: str, impression: float, alignment: float = 3.0, status: str = "ok") -> dict[str, Any]:
    return {"system": system, "musical_impression": impression, "textual_alignment": alignment, "status": status}


def test_means_ranks_and_order() -> None:
    failed = {**record("A", 1.0, status="failed"), "musical_impression": None, "textual_alignment": None}
    records = [record("A", 2.0), record("B", 4.0), record("A", 4.0), record("", 5.0), failed]
    table = leaderboard(records, MUSICEVAL)
    assert table["system"].to_list() == ["B", "A"]
    assert table["n_clips"].to_list() == [1, 2]
    assert table["musical_impression"].to_list() == [4.0, 3.0]
    assert table["musical_impression_rank"].to_list() == [1, 2]
    assert table["textual_alignment_rank"].to_list() == [1, 1]
    assert np.isnan(table["musical_impression_low"][0])
    assert (table["musical_impression_low"][1], table["musical_impression_high"][1]) == (2.0, 4.0)


def test_the_interval_is_that_of_a_mean() -> None:
    scores = np.random.default_rng(1).normal(3.0, 0.5, 100)
    (row,) = leaderboard([record("A", score) for score in scores], MUSICEVAL).to_dict("records")
    reach = 1.96 * scores.std() / np.sqrt(len(scores))
    assert row["musical_impression_low"] == pytest.approx(scores.mean() - reach, abs=0.02)
    assert row["musical_impression_high"] == pytest.approx(scores.mean() + reach, abs=0.02)


def test_the_same_rows_give_the_same_intervals() -> None:
    records = [record(system, score) for system in "AB" for score in (1.0, 2.0, 4.0)]
    assert leaderboard(records, MUSICEVAL).equals(leaderboard(records, MUSICEVAL))


def test_no_system_is_an_empty_table() -> None:
    table = leaderboard([record("", 2.0)], MUSICEVAL)
    assert table.empty
    assert {"system", "n_clips", "musical_impression_low", "textual_alignment_rank"} <= {*table.columns}


def test_the_scales_are_those_of_the_judge() -> None:
    mood = Scale("mood", "Mood", "How sad?", ("1", "2", "3", "4", "5"))
    records = [{"system": system, "mood": score, "status": "ok"} for system, score in (("A", 2.0), ("B", 3.0))]
    table = leaderboard(records, (mood,))
    assert [*table.columns] == ["system", "n_clips", "mood", "mood_low", "mood_high", "mood_rank"]
    assert table["system"].to_list() == ["B", "A"]
