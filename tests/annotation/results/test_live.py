"""How a study goes on: the same figures as the full status, by few statements, and alarms that mean something."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event, update

from annotation.database import Database
from annotation.results.live import Answers, Live, count_on, live
from annotation.results.status import status
from annotation.schema import Clip, Rater
from annotation.session import holds
from annotation.session.exclusions import exclude, restore
from annotation.studies import find_batch
from tests.annotation.large import PAPER, SVCC23, Size, write_large
from tests.annotation.rooms import Room, deaf

MOST_STATEMENTS = 9  # with the one for the study itself
MOST_S = 0.1  # of processor time; 0.04 on a machine that does nothing else


def look(room: Room, answers: Answers | None = None) -> Live:
    with room.database.read() as session:
        study = room.study(session)
        return live(session, study, room.at, count_on(session, study, answers))


@contextmanager
def statements() -> Iterator[list[str]]:
    said: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            said.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield said
    event.remove(Engine, "before_cursor_execute", note)


def test_it_counts_what_the_status_counts(database: Database) -> None:
    room = Room.build(database, clips=12, raters=5, raters_per_clip=3)
    room.answers[2] = deaf
    for number in range(3):
        room.rate_batch(number)
        room.rate_batch(number)
    room.rate_batch(3, trials=3)
    found = look(room)
    with database.read() as session:
        counts = status(session, room.study(session), room.at).progress
    assert (found.clips, found.clips_done) == (counts.clips, counts.clips_done)
    assert (found.ratings_needed, found.ratings_valid, found.ratings_pending) == (
        counts.ratings_needed,
        counts.ratings_valid,
        counts.ratings_pending,
    )
    assert counts.ratings_pending > 0
    assert found.at_work == ["R04"]
    assert look(room, Answers()) == found


def test_what_came_since_is_counted_on(database: Database) -> None:
    room = Room.build(database, clips=12, raters=3, raters_per_clip=3)
    room.rate_batch(0)
    with database.read() as session:
        before = count_on(session, room.study(session))
    room.wait(days=1)
    room.rate_batch(0)
    room.rate_batch(1)
    with database.read() as session:
        study = room.study(session)
        on, anew = count_on(session, study, before), count_on(session, study)
        assert (on.last, on.first, on.by_day) == (anew.last, anew.first, anew.by_day)
        assert live(session, study, room.at, on) == live(session, study, room.at, anew)
        assert count_on(session, study, anew).by_day == anew.by_day


def test_what_is_excluded_and_retired_leaves_the_count_and_comes_back(database: Database) -> None:
    room = Room.build(database, clips=8, raters=2, raters_per_clip=2)
    for number in range(2):
        room.rate_batch(number)
    with database.read() as session:
        answers = count_on(session, room.study(session))
    assert look(room, answers).ratings_valid == 8
    with database.write() as session:
        batch = find_batch(session, session.get_one(Rater, room.rater_ids[0]), 1)
        exclude(session, batch, "A cold.", "Ann", room.at)
    assert look(room, answers).ratings_valid == 4
    with database.write() as session:
        batch = find_batch(session, session.get_one(Rater, room.rater_ids[0]), 1)
        restore(session, batch, "No cold.", "Ann", room.at)
        session.execute(update(Clip).where(Clip.kind == "stimulus").values(retired_at=room.at))
        session.execute(update(Clip).where(Clip.name == "room-stimulus-0").values(retired_at=None))
    found = look(room, answers)
    assert (found.clips, found.ratings_needed) == (1, 2)
    assert found.ratings_valid <= 2


def test_hours_are_work_and_not_breaks(database: Database) -> None:
    room = Room.build(database, clips=12, raters=2, raters_per_clip=2, training=2)
    room.rate_batch(0)
    room.rate_batch(0, trials=3)
    room.wait(minutes=40)
    room.rate_batch(0, trials=1)
    one, other = look(room).raters
    assert one.practice_hours == pytest.approx(2 * 15 / 3600)
    assert one.hours == pytest.approx((3 * 15 + 310) / 3600, abs=1e-6)
    assert (one.answers, other.answers, other.hours) == (6, 0, 0.0)


def test_the_pace_leads_to_the_end(database: Database) -> None:
    room = Room.build(database, clips=40, raters=4, raters_per_clip=2)
    assert look(room).lacking.startswith("Nobody has answered")
    began = room.at
    for _ in range(5):
        room.rate_batch(0)
    found = look(room)
    assert (found.rate_a_day, found.finish_at) == (None, None)
    assert found.lacking.startswith("The pace is told")
    assert found.hours_left == pytest.approx(60 * 35 * 15 / 20 / 3600, rel=1e-3)  # four of seven trials count
    room.at = began + timedelta(days=2)
    found = look(room)
    assert found.rate_a_day == pytest.approx(10, rel=1e-2)
    assert found.finish_at == pytest.approx(room.at + timedelta(days=6), abs=timedelta(hours=2))
    room.wait(days=30)
    assert (look(room).rate_a_day, look(room).lacking) == (0, "Nobody rated in the last 7 days.")


def test_an_alarm_names_who_fails(database: Database) -> None:
    room = Room.build(database, clips=60, raters=4, raters_per_clip=2)
    room.answers[0] = deaf
    room.rate_batch(0)
    room.rate_batch(0)
    assert (look(room).alarms, look(room).silent[:17]) == ([], "No alarm can show")
    for number in range(2):
        for _ in range(3):
            room.rate_batch(number)
    assert (look(room).alarms, look(room).silent) == (["R01: 5 of the last 5 batches failed."], "")
    room.rate_batch(0)
    assert look(room).alarms == ["R01 is paused: 6 of the last 6 batches failed."]
    with database.write() as session:
        rater = session.get_one(Rater, room.rater_ids[0])
        exclude(session, rater, "They answer at random.", "Ann", room.at)
        holds.pause(session, session.get_one(Rater, room.rater_ids[3]), "A call.", "Ann", room.at)
    assert look(room).alarms == ["R04 is paused."]
    assert [one.state for one in look(room).raters] == ["excluded", "", "", "paused"]


@pytest.mark.parametrize("size", [PAPER, SVCC23], ids=["13,740", "25,440"])
def test_a_look_is_cheap_however_large_the_study_is(database: Database, size: Size) -> None:
    at = write_large(database, size) - timedelta(hours=5)
    room = Room(database, 1, [], at=at)
    with database.read() as session:
        answers = count_on(session, room.study(session))
    took = []
    for _ in range(5):
        with statements() as said:
            began = time.process_time()
            found = look(room, answers)
            took.append(time.process_time() - began)
    assert len(said) <= MOST_STATEMENTS
    assert found.clips == size.clips
    assert min(took) < MOST_S
