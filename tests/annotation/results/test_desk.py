"""A study as its administrator sees it: every figure of one moment."""

from datetime import timedelta

import pytest

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.changes import Change
from annotation.results.desk import overview, study_names
from annotation.schema import Study
from annotation.studies import create
from core.errors import StudyError
from tests.annotation.rooms import NOW, Room


@pytest.fixture
def room(database: Database) -> Room:
    """Two raters with a valid batch each; a third has not begun."""
    room = Room.build(database, clips=4, raters=3, raters_per_clip=2)
    for number in range(2):
        room.rate_batch(number)
    return room


def test_the_newest_study_is_named_first(room: Room) -> None:
    with room.database.write() as session:
        create(session, "a-newer-one", Protocol(), 1, NOW + timedelta(days=1))
    assert study_names(room.database) == ["a-newer-one", "room"]


def test_an_overview_is_of_one_moment(room: Room) -> None:
    with room.database.write() as session:
        Change("room", "exclude", "R02").make(session, "because", "me", room.at)
    found = overview(room.database, "room", room.at)
    assert found.status["progress"]["ratings_valid"] == 4
    assert int(found.results.clips["n_ratings"].sum()) == 4
    assert found.reliability["ratings"]["valid"] == 4
    assert list(found.log["rater"]) == ["R02"]
    assert Change("room", "restore", "R02") in found.changes
    assert not found.demo
    with pytest.raises(StudyError, match="There is no study"):
        overview(room.database, "hall", room.at)


def test_an_overview_of_a_study_without_anything(database: Database) -> None:
    with database.write() as session:
        session.add(Study(name="bare", demo=True, seed=1, protocol=Protocol().to_json(), created_at=NOW))
    found = overview(database, "bare", NOW)
    assert found.demo
    assert found.results.systems.empty
    assert found.reliability["clips"] == 0
    assert found.changes == []
