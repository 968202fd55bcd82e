"""What the desk shows: the right figures, and whatever somebody wrote as text."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.changes import Change
from annotation.results.desk import overview
from annotation.results.ratings import what_if
from annotation.schema import System
from annotation.studies import create
from tests.annotation.rooms import NOW, Room, deaf
from webapp import study_views

HOSTILE = "<img src=x onerror=alert(1)> & \"quotes\" 'too' ${1} {{2}}"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Two raters have finished; a third failed the anchors, and a fourth is in the middle of a batch."""
    folder = tmp_path_factory.mktemp("room")
    database = Database(f"sqlite:///{folder / 'musiceval.sqlite'}")
    room = Room.build(database, clips=4, raters=5, raters_per_clip=3, anchors=2)
    with database.write() as session:
        session.query(System).filter_by(name="S1").one().name = HOSTILE
    room.answers[2] = deaf
    for number in range(3):
        room.rate_batch(number)
    room.rate_batch(3, trials=2)
    yield room
    database.close()


def shown(room: Room) -> dict[str, str]:
    found = overview(room.database, "room", room.at)
    views = ("heading", "progress", "results", "screening", "reliability")
    return {name: getattr(study_views, name)(found) for name in views}


def cells(html: str, row: str) -> list[str]:
    """The texts of a table's row, by what it is about."""
    (found,) = re.findall(rf'<tr><th scope="row"><bdi>{row}</bdi></th>(.*?)</tr>', html)
    return [re.sub("<[^>]+>", "", cell) for cell in re.findall("<td[^>]*>(.*?)</td>", found)]


def test_the_heading_tells_how_far_it_is(room: Room) -> None:
    heading = shown(room)["heading"]
    assert "<span>0 of 4</span>" in heading
    assert "<span>8 of 12</span>" in heading
    assert 'aria-valuenow="8" aria-valuemin="0" aria-valuemax="12"' in heading
    assert "not those of experts" not in heading


def test_progress_tells_who_is_where(room: Room) -> None:
    progress = shown(room)["progress"]
    assert cells(progress, "R01")[:4] == ["between batches", "1", "0", "7"]
    assert cells(progress, "R03")[1:4] == ["0", "1", "7"]
    assert cells(progress, "R04")[0] == "batch 1, trial 3 of 7"
    assert cells(progress, "R05")[0] == "not signed in yet"


def test_results_have_a_plot_for_each_scale(room: Room) -> None:
    results = shown(room)["results"]
    assert results.count("<svg") == 2
    assert results.count('download="room-') == 2
    found = overview(room.database, "room", room.at).results.systems
    for row in found.to_dict("records"):
        assert f"{row['musical_impression']:.2f} [" in results


def test_screening_puts_the_figures_into_words(room: Room) -> None:
    screening = shown(room)["screening"]
    assert "ended: 3; excluded: 1 (anchor: 1)" in screening
    rule, reason, figures, author, _ = cells(screening, "Exclude batch 1 of R03")
    assert (rule, reason, author) == ("anchor", "An anchor was rated too low.", "protocol")
    assert re.search(r"anchor at \d got MI 2; failed below 3", figures)


def test_a_change_is_shown_beside_what_is(room: Room) -> None:
    change = Change("room", "exclude", "R02", 1)
    before, after = what_if(
        room.database, "room", lambda session: change.make(session, "what if", "me", room.at)
    )
    comparison = study_views.comparison(change, before, after)
    assert "Exclude batch 1 of R02: what would change" in comparison
    assert "Valid ratings: 8 now, 4 then." in comparison
    ranks = [re.search(r"rank \d", cell) for cell in re.findall(r"<td>(.*?)</td>", comparison)]
    assert len(ranks) == 8
    assert all(ranks)


def test_whatever_was_written_is_text(room: Room) -> None:
    for name, html in shown(room).items():
        assert "<img" not in html, name
    assert "&lt;img src=x" in shown(room)["results"]


def test_nothing_yet_is_said_in_words(database: Database) -> None:
    with database.write() as session:
        study = create(session, "room", Protocol(), 1, NOW)
    views = shown(Room(database, study.id, []))
    assert "There are no clips to rate: ingest some." in views["heading"]
    assert "Nobody is invited yet." in views["progress"]
    assert "No rating is valid yet" in views["results"]
    assert "Nothing was excluded so far." in views["screening"]
    assert "No rating is valid yet" in views["reliability"]
    assert "python -m annotation create NAME" in study_views.no_study()


def test_reliability_shows_both_scales(room: Room) -> None:
    reliability = shown(room)["reliability"]
    assert cells(reliability, "Clips heard twice") == ["3", "3"]
    assert len(cells(reliability, "R01")) == 8


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    yield database
    database.close()


def test_times_are_those_of_the_database(room: Room) -> None:
    later = overview(room.database, "room", room.at + timedelta(days=1))
    assert "away: others may take its clips" in study_views.progress(later)
