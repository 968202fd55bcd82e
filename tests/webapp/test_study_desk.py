"""What the controls of the desk do."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annotation.database import Database
from annotation.results.changes import Change
from core.errors import StudyError
from tests.annotation.rooms import Room
from tests.webapp.desks import Desk, make_desk, rated_desk
from tests.webapp.studies import make_study


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    yield database
    database.close()


@pytest.fixture
def desk(database: Database, tmp_path: Path) -> Desk:
    return rated_desk(database, tmp_path)


def valid_ratings(desk: Desk) -> str:
    (found,) = re.findall(r"Ratings</b><span>(.*?)</span>", desk.desk.open("room")[3])
    return str(found)


def test_no_study(database: Database, tmp_path: Path) -> None:
    choice, nothing, column, *others = make_desk(database, tmp_path, None).desk.open(None)
    assert choice["choices"] == []
    assert (nothing["visible"], column["visible"]) == (True, False)
    assert len(others) == 8


def test_opening_shows_the_chosen_study_or_the_newest(desk: Desk) -> None:
    Room.build(desk.venue.database, raters=1, name="hall")
    for current, shown in (("room", "room"), ("hall", "hall"), (None, "hall"), ("gone", "hall")):
        choice, nothing, column, heading, *_ = desk.desk.open(current)
        assert (choice["choices"], choice["value"]) == (["hall", "room"], shown)
        assert (nothing["visible"], column["visible"]) == (False, True)
        assert f"{shown}: " in heading


def test_clips_have_their_scores(desk: Desk) -> None:
    clips = desk.desk.open("room")[6]
    assert list(clips["Clip"]) == [f"room-stimulus-{number}" for number in range(4)]
    assert set(clips["Ratings"]) == {2}
    assert set(clips["Textual alignment"]) == {3.0}
    assert set(clips["± (TA)"]) == {0.0}


def test_a_change_is_looked_at_confirmed_and_undone(desk: Desk) -> None:
    offers = desk.desk.open("room")[9]["choices"]
    assert offers[:2] == ["Exclude R01", "Exclude batch 1 of R01"]
    waiting, shown, column, button = desk.desk.preview("room", "Exclude batch 1 of R01")
    assert waiting == Change("room", "exclude", "R01", 1)
    assert "Valid ratings: 8 now, 4 then." in shown
    assert (column["visible"], button["value"]) == (True, "Exclude batch 1 of R01")
    assert valid_ratings(desk) == "8 of 8"
    nothing, made, column, reason, note, row, undo = desk.desk.confirm(waiting, "She was ill.", " ")
    assert (nothing, made, reason) == (None, waiting, "")
    assert (column["visible"], row["visible"], undo["visible"]) == (False, True, True)
    assert "Done: Exclude batch 1 of R01." in note
    assert valid_ratings(desk) == "4 of 8"
    screening = desk.desk.open("room")[7]
    assert "She was ill." in screening
    assert "<bdi>administrator</bdi>" in screening
    gone, note, undo = desk.desk.undo(made, "Ann")
    assert (gone, undo["visible"]) == (None, False)
    assert "Undone: Exclude batch 1 of R01." in note
    assert valid_ratings(desk) == "8 of 8"
    assert "<bdi>Ann</bdi>" in desk.desk.open("room")[7]


def test_what_cannot_be_done_is_said_and_changes_nothing(desk: Desk) -> None:
    waiting = desk.desk.preview("room", "Exclude R01")[0]
    attempts: list[tuple[str, Any]] = [
        ("Choose what to exclude", lambda: desk.desk.preview("room", None)),
        ("this was done already", lambda: desk.desk.preview("room", "Restore R01")),
        ("There is nothing to confirm", lambda: desk.desk.confirm(None, "why", "me")),
        ("needs a reason", lambda: desk.desk.confirm(waiting, "  ", "me")),
        ("There is nothing to undo", lambda: desk.desk.undo(None, "me")),
        ("invite 1 to", lambda: desk.desk.invite("room", None)),
        ("There is no study", lambda: desk.desk.invite(None, 1)),
        ("has no rater", lambda: desk.desk.renew("room", None)),
        ("There is no study", lambda: desk.desk.export(None)),
    ]
    for sentence, attempt in attempts:
        with pytest.raises(StudyError, match=sentence):
            attempt()
    assert valid_ratings(desk) == "8 of 8"
    assert "Nothing was excluded so far." in desk.desk.open("room")[7]


def test_codes_are_shown_once(desk: Desk) -> None:
    shown = desk.desk.invite("room", 2)
    codes = re.findall(r"<bdi>(\S{14})</bdi>", shown)
    assert ("R04" in shown, "R05" in shown, len(codes)) == (True, True, 2)
    again = desk.desk.renew("room", "R04")
    codes += re.findall(r"<bdi>(\S{14})</bdi>", again)
    assert ("R04" in again, "R05" in again, len(set(codes))) == (True, False, 3)
    later = str(desk.desk.open("room"))
    assert not any(code in later for code in codes)


def test_training_is_told_in_the_words_of_the_run(desk: Desk) -> None:
    assert "It &lt;has&gt; begun." in desk.desk.train("room")
    assert desk.trained == ["room"]


def test_an_export_is_a_link(database: Database, tmp_path: Path) -> None:
    study = make_study(database, tmp_path, stimuli=2, raters=1)
    link = make_desk(database, tmp_path, None).desk.export(study.name)
    assert re.search(rf'<a href="study/export/[\w-]{{43}}" download="{study.name}-\w+\.zip">', link)
    assert re.search(r"\(\d+ kB\)", link)
