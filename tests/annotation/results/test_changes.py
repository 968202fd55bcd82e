"""Changes of the count as data: what is possible, what undoes it, what the log says."""

import pytest

from annotation.database import Database
from annotation.session.exclusions import Change, change_log, is_excluded, possible_changes
from annotation.studies import find_batch, find_rater
from core.errors import StudyError
from tests.annotation.rooms import Room


@pytest.fixture
def room(database: Database) -> Room:
    """Two raters with a valid batch each; a third has not begun."""
    room = Room.build(database, clips=4, raters=3, raters_per_clip=2)
    for number in range(2):
        room.rate_batch(number)
    return room


def possible(room: Room) -> list[Change]:
    with room.database.read() as session:
        return possible_changes(session, room.study(session))


def make(room: Room, change: Change) -> None:
    with room.database.write() as session:
        change.make(session, "because", "me", room.at)


def test_each_target_allows_one_change(room: Room) -> None:
    targets = [("R01", None), ("R01", 1), ("R02", None), ("R02", 1)]
    assert possible(room) == [Change("room", "exclude", *target) for target in targets]
    make(room, Change("room", "exclude", "R02"))
    make(room, Change("room", "exclude", "R01", 1))
    actions = ["exclude", "restore", "restore", "exclude"]
    changes = zip(actions, targets, strict=True)
    assert possible(room) == [Change("room", action, *target) for action, target in changes]


def test_undoing_leads_back(room: Room) -> None:
    change = Change("room", "exclude", "R01", 1)
    assert (change.what, Change("room", "exclude", "R01").what) == ("batch 1 of R01", "R01")
    assert change.undo == Change("room", "restore", "R01", 1)
    assert change.undo.undo == change
    before = possible(room)
    make(room, change)
    make(room, change.undo)
    assert possible(room) == before
    with room.database.read() as session:
        log = change_log(session, room.study(session))
        batch = find_batch(session, find_rater(session, room.study(session), "R01"), 1)
        assert (batch.state, is_excluded(session, batch)) == ("valid", False)
    assert log[["action", "batch", "author"]].to_numpy().tolist() == [["exclude", 1, "me"], ["restore", 1, "me"]]


@pytest.mark.parametrize(
    "change",
    [
        Change("room", "restore", "R01", 1),
        Change("room", "exclude", "R09"),
        Change("room", "exclude", "R01", 9),
        Change("hall", "exclude", "R01"),
    ],
)
def test_a_change_that_is_not_possible_is_refused(room: Room, change: Change) -> None:
    with pytest.raises(StudyError):
        make(room, change)
