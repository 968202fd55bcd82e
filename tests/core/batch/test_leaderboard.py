"""The means of systems, their intervals, and who has a rank."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.batch.leaderboard import leaderboard
from core.scales import MUSICEVAL, Scale, keys


def record(system: str, impression: float, alignment: float = 3.0, status: str = "ok") -> dict[str, Any]:
    return {"system": system, "musical_impression": impression, "textual_alignment": alignment, "status": status}


def failed(system: str) -> dict[str, Any]:
    return {**record(system, 1.0, status="failed"), "musical_impression": None, "textual_alignment": None}


def rows(board: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {row["system"]: row for row in board.to_dict("records")}


def test_means_ranks_and_order() -> None:
    records = [record("A", 2.0), record("B", 4.0), record("A", 4.0), record("", 5.0)]
    table = leaderboard(records, MUSICEVAL)
    assert table["system"].to_list() == ["B", "A"]
    assert table["n_clips"].to_list() == [1, 2]
    assert table["musical_impression"].to_list() == [4.0, 3.0]
    assert table["musical_impression_rank"].to_list() == [1, 2]
    assert table["textual_alignment_rank"].to_list() == [1, 1]
    assert table["reason"].to_list() == ["an interval needs 5 clips"] * 2
    bounds = [f"{scale}_{bound}" for scale in keys(MUSICEVAL) for bound in ("low", "high")]
    assert table[bounds].isna().all(axis=None)


def test_failure_is_not_rewarded() -> None:
    records = [record("good", 4.0) for _ in range(18)] + [failed("good")] * 2
    records += [record("lucky", 5.0), *[failed("lucky")] * 9, *[failed("broken")] * 2]
    board = leaderboard(records, MUSICEVAL)
    assert board["system"].to_list() == ["good", "broken", "lucky"]
    assert board[["n_rows", "n_clips", "n_failed"]].to_numpy().tolist() == [[20, 18, 2], [2, 0, 2], [10, 1, 9]]
    assert board["musical_impression_rank"].isna().tolist() == [False, True, True]
    good, lucky, broken = (rows(board)[system] for system in ("good", "lucky", "broken"))
    assert (good["musical_impression_rank"], good["reason"]) == (1, "")
    assert lucky["musical_impression"] == 5.0
    assert lucky["reason"] == "1 of 10 rows have scores; a rank needs 90% of them; an interval needs 5 clips"
    assert np.isnan(broken["musical_impression"])


def test_a_row_without_a_prompt_counts_on_the_scale_that_it_has() -> None:
    records = [record("A", 4.0) for _ in range(5)] + [{**record("A", 4.0), "textual_alignment": None}] * 3
    (row,) = leaderboard(records, MUSICEVAL).to_dict("records")
    assert (row["musical_impression"], row["textual_alignment"]) == (4.0, 3.0)
    assert row["musical_impression_rank"] == 1
    assert pd.isna(row["textual_alignment_rank"])
    assert row["reason"] == "5 of 8 rows have all scores; a rank needs 90% of them"


def test_ties_share_a_rank_however_they_were_added_up() -> None:
    values = (0.1 + 3, 0.2 + 3, 0.3 + 3)
    records = [record("A", value) for value in values] + [record("B", value) for value in reversed(values)]
    board = rows(leaderboard([*records, record("C", 1.0)], MUSICEVAL))
    assert [board[system]["musical_impression_rank"] for system in "ABC"] == [1, 1, 3]


def test_the_interval_is_that_of_a_mean() -> None:
    scores = np.random.default_rng(1).normal(3.0, 0.5, 100)
    (row,) = leaderboard([record("A", score) for score in scores], MUSICEVAL).to_dict("records")
    reach = 1.96 * scores.std() / np.sqrt(len(scores))
    assert row["musical_impression_low"] == pytest.approx(scores.mean() - reach, abs=0.02)
    assert row["musical_impression_high"] == pytest.approx(scores.mean() + reach, abs=0.02)


def test_the_same_rows_give_the_same_intervals() -> None:
    records = [record(system, score) for system in "AB" for score in (1.0, 2.0, 4.0, 4.5, 5.0)]
    assert leaderboard(records, MUSICEVAL).equals(leaderboard(records, MUSICEVAL))


def test_no_system_is_an_empty_table() -> None:
    table = leaderboard([record("", 2.0)], MUSICEVAL)
    assert table.empty
    assert {"system", "n_rows", "musical_impression_low", "textual_alignment_rank"} <= {*table.columns}


def test_the_scales_are_those_of_the_judge() -> None:
    mood = Scale("mood", "Mood", "How sad?", ("1", "2", "3", "4", "5"))
    records = [{"system": system, "mood": score, "status": "ok"} for system, score in (("A", 2.0), ("B", 3.0))]
    table = leaderboard(records, (mood,))
    columns = ["system", "n_rows", "n_clips", "n_failed", "mood", "mood_low", "mood_high", "reason", "mood_rank"]
    assert [*table.columns] == columns
    assert table["system"].to_list() == ["B", "A"]
