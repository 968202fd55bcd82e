"""Studies of a clip, of a rater, of answers that are all alike: no number without meaning, and each reason."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from annotation.database import Database
from annotation.export import export
from annotation.results.changes import what_if
from annotation.results.reliability import scale_reliability
from annotation.results.rescreening import rescreen
from annotation.results.status import Overview, overview
from core.scales import MUSICEVAL, keys
from tests.annotation.results.panels import rating
from tests.annotation.rooms import TINY, tiny

NO_NUMBER = re.compile(r"\b(nan|inf|None|NaT)\b")


@pytest.fixture(params=TINY)
def found(request: pytest.FixtureRequest, database: Database) -> Overview:
    room = tiny(database, request.param)
    return overview(database, "room", room.at)


def test_every_figure_is_a_number_or_a_dash_with_its_reason(found: Overview) -> None:
    for name, *said in found.reliability.scales_table.rows:
        assert all(figure != "–" for figure in said), name
    for row in found.results.table.rows:
        assert "–" not in [cell for cell in row if isinstance(cell, str)], row
    assert found.screening.falls_on_strict.count("–") == 1


def test_no_interval_has_no_width(found: Overview) -> None:
    for scale in found.reliability.scales.values():
        assert scale.interval_half_width is None or scale.interval_half_width > 0
        assert all(trend is None or trend.low < trend.high for trend in scale.change_per.values())
    for rater in found.reliability.raters:
        for figures in filter(None, rater.scales.values()):
            assert figures.bias_low is None or figures.bias_high is None or figures.bias_low < figures.bias_high
    for table, key in (
        (table, key) for table in (found.results.clips, found.results.systems) for key in keys(MUSICEVAL)
    ):
        assert (table[f"{key}_high"] - table[f"{key}_low"] > 0).eq(table["no_interval"] == "").all()


def test_a_rank_is_among_several(found: Overview) -> None:
    systems = found.results.systems
    for key in keys(MUSICEVAL):
        assert systems[f"{key}_rank"].notna().sum() != 1


@pytest.mark.parametrize("name", TINY)
def test_texts_and_files_have_no_such_number(database: Database, tmp_path: Path, name: str) -> None:
    room = tiny(database, name)
    found = overview(database, "room", room.at)
    texts = [found.status.text(), found.reliability.text(), found.results.table.text(), found.screening.falls_on_strict]
    texts += [table.text() for table in (found.screening.raters_table, found.screening.anchors_table)]
    texts += [rescreen(database, "room", {"anchor_fail_below": 4.0}).text()]
    texts += [what_if(database, change).text() for change in found.changes[:2]]
    assert [text for text in texts if NO_NUMBER.search(text) or "-0.00" in text.split()] == []
    json.dumps([found.status.to_json(), found.reliability.to_json()], allow_nan=False)
    export(database, tmp_path, "room", tmp_path / "out", room.at)
    for path in (tmp_path / "out").glob("*.csv"):
        assert NO_NUMBER.search(path.read_text(encoding="utf-8-sig")) is None, path.name


def of_scale(database: Database, name: str) -> dict[str, str]:
    """What is said of the first scale, by figure."""
    room = tiny(database, name)
    rows = overview(database, "room", room.at).reliability.scales_table.rows
    return {str(row[0]).split(" (")[0]: str(row[1]) for row in rows}


ALPHA, ICC = "Krippendorff’s alpha, ordinal kind", "Intraclass correlation of one rating"


@pytest.mark.parametrize(
    ("name", "figure", "said"),
    [
        ("no ratings", "Mean of all clips", "– (no rating is valid yet)"),
        ("all excluded", ICC, "– (no rating is valid yet)"),
        ("a clip", ALPHA, "– (needs 9 more clips with two ratings)"),
        ("a rater", ALPHA, "– (needs 10 more clips with two ratings)"),
        ("all alike", ALPHA, "– (all ratings are the same)"),
        ("all alike", ICC, "– (all ratings are the same)"),
    ],
)
def test_the_reason(database: Database, name: str, figure: str, said: str) -> None:
    assert of_scale(database, name)[figure] == said


def test_clips_of_one_mean_have_no_intraclass_correlation() -> None:
    rows: list[dict[str, Any]] = [rating(f"R{half}", clip, 2 + 2 * half, 3) for clip in range(10) for half in (0, 1)]
    ratings = pd.DataFrame(rows)
    found = scale_reliability(ratings, ratings, "musical_impression")
    assert (found.icc_one_rating, found.lacking["icc"]) == (None, "all clips have the same mean")
    assert found.alpha is not None
    assert math.isfinite(found.alpha)
