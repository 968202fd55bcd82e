"""The report on a study's reliability: real listeners' ratings, simulated panels, signs of not listening."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from annotation.results.agreement import of_scale, repeats
from annotation.results.ratings import mos_table
from annotation.results.reliability import flags, report, report_text

BEGAN = pd.Timestamp("2026-03-01T12:00Z")


def after(seconds: float) -> pd.Timestamp:
    return BEGAN + pd.Timedelta(seconds=seconds)


def rating(rater: str, clip: int, impression: int, alignment: int, **fields: Any) -> dict[str, Any]:
    usual = {
        "clip": f"c{clip}", "system": f"s{clip % 3}", "prompt": "p", "rater": rater, "batch": 1,
        "position": 1, "role": "stimulus", "musical_impression": impression,
        "textual_alignment": alignment, "heard_s": 10.0, "duration_s": 10.0, "shown_at": BEGAN,
        "served_at": BEGAN, "given_at": after(18), "status": "valid",
    }  # fmt: skip
    return {**usual, **fields}


def panel(kinds: dict[str, str], clips: int = 60, seed: int = 0) -> pd.DataFrame:
    """Everyone rates every clip in batches of 20; the first clip of a batch comes again at its end."""
    random = np.random.default_rng(seed)
    quality = random.normal(3, 1, (clips, 2))
    rows = []
    for rater, kind in kinds.items():
        for clip in range(clips):
            for again in (False, True) if clip % 20 == 0 else (False,):
                scores = np.clip(np.rint(quality[clip] + random.normal(0, 0.45, 2)), 1, 5).astype(int)
                scores = {"straight": (4, 4), "one scale": (scores[0], 4)}.get(kind, scores)
                fields: dict[str, Any] = {"batch": 1 + clip // 20, "position": 21 if again else 1 + clip % 20}
                if again:
                    fields |= {"role": "duplicate", "status": "check"}
                if kind == "fast":
                    fields["given_at"] = after(10.4)
                if kind == "unheard":
                    fields["heard_s"] = 4.0
                rows.append(rating(rater, clip, *map(int, scores), **fields))
    return pd.DataFrame(rows)


KINDS = {"R1": "honest", "R2": "honest", "R3": "straight", "R4": "one scale", "R5": "fast", "R6": "unheard"}


def test_signs_of_not_listening() -> None:
    table = flags(panel(KINDS)).set_index("rater")
    assert table["flags"].to_dict() == {
        "R1": [],
        "R2": [],
        "R3": ["straight-lining"],
        "R4": ["straight-lining"],
        "R5": ["too fast"],
        "R6": ["not heard"],
    }
    assert list(table["ratings"]) == [63] * 6
    assert list(table["batches"]) == [3] * 6
    assert table.loc["R3", "straight_lined_batches"] == 3
    assert (table.loc["R5", "fast_ratings"], table.loc["R6", "unheard_ratings"]) == (63, 63)


def test_the_time_to_think_begins_when_the_clip_was_there() -> None:
    """A clip that is sent late is not one that was answered late; one that was fetched ahead neither."""
    rows = [
        rating("R1", clip, 3, 3, **{late: after(5)}, given_at=after(15.5))
        for clip, late in enumerate(["served_at", "shown_at"] * 6)
    ]
    assert flags(pd.DataFrame(rows))["flags"].item() == ["straight-lining", "too fast"]


def test_few_ratings_say_nothing() -> None:
    rows = [rating("R1", clip, 4, 4, heard_s=0.0, given_at=after(10)) for clip in range(9)]
    assert flags(pd.DataFrame(rows))["flags"].item() == []


def test_excluded_batches_are_counted_and_practice_is_not() -> None:
    rows = [rating("R1", 0, 3, 3, status="practice", batch=0), rating("R1", 1, 3, 3, status="excluded"),
            rating("R1", 2, 3, 3, status="excluded", batch=2), rating("R1", 3, 3, 3, batch=3)]  # fmt: skip
    row = flags(pd.DataFrame(rows)).iloc[0]
    assert (row["ratings"], row["batches"], row["batches_excluded"]) == (3, 3, 2)


def test_the_report() -> None:
    found = report(panel(KINDS))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["ratings"] == {
        "valid": 360, "surplus": 0, "pending": 0, "excluded": 0, "check": 18, "practice": 0
    }  # fmt: skip
    assert (found["clips"], found["ratings_per_clip"]) == (60, {"min": 6, "max": 6})
    impression = found["scales"]["musical_impression"]
    assert impression["repeats"]["pairs"] == 18
    assert 0.3 < impression["alpha"] < impression["icc_mos"] < 1.0
    assert [screen["can_fire"] for screen in impression["screens"]] == [True, False]
    by_rater = {one["rater"]: one for one in found["raters"]}
    straight, honest = (by_rater[name]["musical_impression"] for name in ("R3", "R1"))
    assert straight["correlation_with_others"] is None
    assert honest["correlation_with_others"] > 0.8
    assert straight["inconsistency"] > 1.5 * honest["inconsistency"]
    assert honest["inconsistency_low"] < honest["inconsistency"] < honest["inconsistency_high"]


def test_five_ratings_screen_nobody_and_the_text_says_so() -> None:
    said = report_text(report(panel({name: kind for name, kind in KINDS.items() if name != "R6"})))
    assert "beyond 2.0 standard deviations: there can be none before a clip has 6 ratings" in said
    assert "beyond 3.29 standard deviations: there can be none before a clip has 12 ratings" in said
    assert "Clips with valid ratings: 60, 5 to 5 valid ratings each." in said
    (line,) = [line for line in said.splitlines() if line.strip().startswith("R3")]
    assert line.endswith("straight-lining")


@pytest.mark.parametrize("rows", [0, 1, 2, 23])
def test_a_study_that_has_hardly_begun(rows: int) -> None:
    found = report(panel(KINDS).iloc[:rows])
    json.dumps(found, allow_nan=False)
    assert report_text(found)
    assert found["ratings"]["valid"] + found["ratings"]["check"] == rows


def test_a_rater_without_valid_ratings_has_no_figures() -> None:
    ratings = panel(KINDS)
    ratings.loc[(ratings["rater"] == "R3") & (ratings["status"] == "valid"), "status"] = "excluded"
    found = report(ratings)
    (straight,) = [one for one in found["raters"] if one["rater"] == "R3"]
    assert (straight["musical_impression"], straight["batches_excluded"]) == (None, 3)
    assert "straight-lining" in report_text(found)


@pytest.mark.reference
def test_ratings_of_real_listeners(reference_data: Path) -> None:
    folder = reference_data / "ratings"
    ratings = pd.read_csv(folder / "svcc23_ratings.csv").rename(
        columns={"sample_id": "clip", "listener_name": "rater"}
    )
    ratings = ratings.assign(status="valid", system=ratings["clip"].str.split("-").str[1], prompt="")
    published = pd.read_csv(folder / "svcc23_mos.csv", names=["clip", "mos"]).set_index("clip")["mos"]
    means = mos_table(ratings, ["score"]).set_index("clip")["score"]
    assert len(means) == 4040
    np.testing.assert_allclose(means, published[means.index], rtol=0, atol=1e-9)

    pairs = ratings.groupby(["clip", "rater"], sort=False)["score"].agg(["first", "last", "size"])
    twice = pairs[pairs["size"] == 2]
    again = repeats(twice["first"].to_numpy(float), twice["last"].to_numpy(float))
    assert (again["pairs"], round(again["mean_difference"], 2)) == (37, 0.54)
    assert again["share_over"]["1"] == pytest.approx(0.027, abs=5e-4)

    found = of_scale(ratings, "score")
    assert found["alpha"] == pytest.approx(found["icc_one_rating"], abs=0.01)
    assert [screen["clips_screened"] for screen in found["screens"]] == [
        int((ratings.groupby("clip").size() >= n).sum()) for n in (6, 12)
    ]
