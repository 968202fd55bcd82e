"""The tabs of raters and clips on the page Studies: chosen from a table, acted on from the row, long logs in parts."""

import base64
import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from annotation.database import Database
from annotation.results import Table
from annotation.schema import Rater
from core.errors import StudyError
from tests.annotation.rooms import Room, deaf
from tests.webapp.layouts import laid_out
from webapp.listening_api import StudyStore
from webapp.paged import ROWS, PagedTable
from webapp.study import StudyPage

REASON = "We spoke on the phone."


@pytest.fixture
def room(empty_database: Path, tmp_path: Path) -> Iterator[Room]:
    """Two raters, of whom the first was paused for failed batches."""
    file = tmp_path / "musiceval.sqlite"
    file.write_bytes(empty_database.read_bytes())
    database = Database(f"sqlite:///{file}", durable=False)
    room = Room.build(database, clips=40, raters=3, raters_per_clip=3)
    room.answers[0] = deaf
    for _ in range(6):
        room.rate_batch(0)
    room.rate_batch(1)
    yield room
    database.close()


@pytest.fixture
def page(room: Room, tmp_path: Path) -> StudyPage:
    with laid_out():
        return StudyPage(StudyStore(room.database, tmp_path), str)


def clicked(*cells: Any) -> Any:
    return SimpleNamespace(row_value=list(cells))


def test_the_table_has_every_rater_with_figures_that_sort(page: StudyPage) -> None:
    table = page.open("room")[page.raters.table].set_index("Rater")
    assert list(table["Failed checks"]) == [6, 0, 0]
    assert list(table["Where"]) == ["paused", "between batches", "not signed in yet"]
    assert table["Hours"]["R01"] == pytest.approx(42 * 15 / 3600, abs=0.01)
    assert table["Mean"].dtype == float
    assert table["Mean"]["R01"] == 2.0


def test_hours_are_a_file_for_payment(page: StudyPage) -> None:
    html = page.open("room")[page.raters.hours]
    (encoded,) = re.findall('base64,([^"]+)', html)
    rows = list(csv.reader(io.StringIO(base64.b64decode(encoded).decode("utf-8-sig"))))
    assert rows[0][:2] == ["Rater", "Hours"]
    assert [row[0] for row in rows[1:]] == ["R01", "R02", "R03"]
    assert float(rows[1][1]) == pytest.approx(42 * 15 / 3600, abs=0.01)


def test_a_rater_is_chosen_from_the_table_and_let_go_on(page: StudyPage, room: Room) -> None:
    desk = page.raters
    shown = desk.choose("room", clicked("R01", "paused"))
    assert shown[desk.rater] == "R01"
    assert "This rater is paused" in shown[desk.page]
    assert "Anchors: mean 2.00, 12 of 12 too low" in shown[desk.more]
    assert "An anchor was rated too low." in shown[desk.page]
    assert [shown[part]["visible"] for part in (desk.acts, desk.pausing, desk.going)] == [True, False, True]
    assert shown[desk.changes.change]["choices"][:2] == ["Exclude R01", "Restore batch 1 of R01"]
    assert len(shown[desk.changes.change]["choices"]) == 7
    with pytest.raises(StudyError):
        desk.let_go_on("room", "R01", "")
    assert desk.let_go_on("room", "R01", REASON)[desk.changed]
    assert "is paused" not in page.open("room")[page.live.view]
    with room.database.read() as session:
        assert session.get_one(Rater, room.rater_ids[0]).resumed_at is not None
    desk.pause_rater("room", "R02", REASON)
    assert "R02 is paused." in page.open("room")[page.live.view]
    log = page.open("room")[page.studio.log.table]
    assert log.index("Rater paused") < log.index("Rater let go on") < log.rindex("Rater paused")
    assert REASON in log


def test_nothing_is_shown_where_nobody_is_chosen(page: StudyPage) -> None:
    desk = page.raters
    assert desk.look("room", None) == {desk.page: "", desk.more: "", desk.acts: gr.update(visible=False)}
    assert desk.look_again("room", None) == gr.skip()  # it comes late: who is chosen meanwhile stays
    assert desk.page in page.open("room", None)
    assert desk.page not in page.open("room", "room")


def test_the_live_view_follows_and_is_not_built_again_for_nothing(page: StudyPage, room: Room) -> None:
    live = page.live
    first = live.follow("room", "")
    assert set(first) == {live.view, live.seen}
    assert live.follow("room", first[live.seen])[live.view] == gr.skip()
    room.rate_batch(1)
    assert live.follow("room", first[live.seen])[live.view] != gr.skip()
    assert live.follow("gone", "")[live.view] == gr.skip()


def test_a_clip_is_chosen_from_the_table_with_its_ratings(page: StudyPage) -> None:
    desk = page.clip_desk
    table = page.open("room")[desk.overview.table]["value"]
    row = table[table["What"] == "anchor"].sort_values("Answers").iloc[-1]
    shown = desk.choose("room", clicked(*row))
    assert shown[desk.clip] == row["Clip"]
    assert "Whom it failed" in shown[desk.heard]
    assert f'src="sound/room/{row["Clip"]}.wav"' in shown[desk.heard]
    row["What"] = "retired"
    assert desk.choose("room", clicked(*row))[desk.clip] is None


def test_a_long_table_comes_in_parts() -> None:
    rows = [(f"row {number}",) for number in range(2 * ROWS + 3)]
    with laid_out():
        paged = PagedTable(gr.Dropdown(), lambda _: Table("Log", ("What",), rows))
    shown = paged.show("room")
    assert (shown[paged.table].count("<tr>"), shown[paged.turning]["visible"]) == (ROWS + 1, True)
    shown = paged.turn("room", 1, 1)
    assert (shown[paged.page], shown[paged.table].count("<tr>")) == (2, 4)
    assert "Log (51 to 53 of 53)" in shown[paged.table]
    assert paged.turn("room", 2, 1)[paged.page] == 2
    assert paged.turn("room", 0, -1)[paged.page] == 0
    rows.clear()
    assert paged.show("room")[paged.turning]["visible"] is False
