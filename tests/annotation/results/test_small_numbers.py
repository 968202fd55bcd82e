"""Studies of a clip, of a rater, of answers that are all alike: no number without meaning, and each reason."""

import contextlib
import functools
import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
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
from tests.annotation.rooms import TINY, Room, tiny

NO_NUMBER = re.compile(r"\b(nan|inf|None|NaT)\b")


Built = Callable[[str], tuple[Room, Overview]]


@pytest.fixture(scope="module")
def built(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Gives a tiny study and how it stands; each is built once, since nothing here changes one."""
    with contextlib.ExitStack() as opened:

        @functools.cache
        def build(name: str) -> tuple[Room, Overview]:
            file = shutil.copy(empty_database, tmp_path_factory.mktemp("tiny") / "musiceval.sqlite")
            database = opened.enter_context(contextlib.closing(Database(f"sqlite:///{file}", durable=False)))
            room = tiny(database, name)
            return room, overview(database, "room", room.at)

        yield build


@pytest.fixture(params=TINY)
def found(request: pytest.FixtureRequest, built: Built) -> Overview:
    return built(request.param)[1]


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
def test_texts_and_files_have_no_such_number(built: Built, tmp_path: Path, name: str) -> None:
    room, found = built(name)
    database = room.database
    texts = [found.status.text(), found.reliability.text(), found.results.table.text(), found.screening.falls_on_strict]
    texts += [table.text() for table in (found.screening.raters_table, found.screening.anchors_table)]
    texts += [rescreen(database, "room", {"anchor_fail_below": 4.0}).text()]
    texts += [what_if(database, change).text() for change in found.changes[:2]]
    assert [text for text in texts if NO_NUMBER.search(text) or "-0.00" in text.split()] == []
    json.dumps([found.status.to_json(), found.reliability.to_json()], allow_nan=False)
    export(database, tmp_path, "room", tmp_path / "out", room.at)
    for path in (tmp_path / "out").glob("*.csv"):
        assert NO_NUMBER.search(path.read_text(encoding="utf-8-sig")) is None, path.name


def of_scale(found: Overview) -> dict[str, str]:
    """What is said of the first scale, by figure."""
    return {str(row[0]).split(" (")[0]: str(row[1]) for row in found.reliability.scales_table.rows}


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
def test_the_reason(built: Built, name: str, figure: str, said: str) -> None:
    assert of_scale(built(name)[1])[figure] == said


def test_clips_of_one_mean_have_no_intraclass_correlation() -> None:
    rows: list[dict[str, Any]] = [rating(f"R{half}", clip, 2 + 2 * half, 3) for clip in range(10) for half in (0, 1)]
    ratings = pd.DataFrame(rows)
    found = scale_reliability(ratings, ratings, "musical_impression")
    assert (found.icc_one_rating, found.lacking["icc"]) == (None, "all clips have the same mean")
    assert found.alpha is not None
    assert math.isfinite(found.alpha)
