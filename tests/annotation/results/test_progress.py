"""How far a study is; and just what it lacks."""

import dataclasses
from typing import Any

import pytest

from annotation.database import Database
from annotation.results.progress import Progress, progress
from annotation.schema import Batch, Rater
from annotation.session import listening, screening
from tests.annotation.rooms import Room, deaf


def now(room: Room) -> Progress:
    with room.database.read() as session:
        return progress(session, room.study(session), room.at)


def exclude(room: Room, number: int) -> None:
    with room.database.write() as session:
        rater = session.get_one(Rater, room.rater_ids[number])
        screening.exclude(session, rater, "A test.", "someone", room.at)


def test_from_the_first_clip_to_the_last(database: Database) -> None:
    room = Room.build(database, clips=8, raters=2, raters_per_clip=2, training=1)
    start = Progress(
        clips=8, clips_done=0, ratings_needed=16, ratings_valid=0, ratings_pending=0, ratings_leased=0,
        ratings_surplus=0, training=1, anchors=4, anchors_needed=4, raters=2, raters_missing=0, shortage=[],
    )  # fmt: skip
    assert now(room) == start
    room.rate_batch(0)
    assert now(room) == start  # practice
    room.rate_batch(0, trials=3)
    rated = sum(trial.role == "stimulus" and trial.state == "rated" for trial in room.trials(0))
    assert now(room) == dataclasses.replace(start, ratings_pending=rated, ratings_leased=4 - rated)
    room.wait(hours=1)
    assert now(room) == dataclasses.replace(start, ratings_pending=rated)
    room.rate_batch(0)
    assert now(room) == dataclasses.replace(start, ratings_valid=4)
    room.finish()
    assert now(room) == dataclasses.replace(start, ratings_valid=16, clips_done=8)


def test_surplus_is_no_progress(database: Database) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=1)
    room.rate_batch(0)
    exclude(room, 0)
    assert (now(room).raters, now(room).clips_done) == (1, 0)
    room.rate_batch(1)
    with database.write() as session:
        rater = session.get_one(Rater, room.rater_ids[0])
        screening.restore(session, rater, "A test.", "someone", room.at)
    done = now(room)
    assert (done.clips_done, done.ratings_valid, done.ratings_surplus, done.raters) == (4, 4, 4, 2)


@pytest.mark.parametrize(
    ("built", "missing", "shortage"),
    [
        ({"clips": 0}, 0, ["There are no clips to rate: ingest some."]),
        ({"anchors": 0}, 0, ["A batch needs 2 anchors and there are 0: add 2."]),
        ({"anchors": 1}, 0, ["A batch needs 2 anchors and there are 1: add 1."]),
        (
            {"raters": 1},
            2,
            ["8 of 8 clips have too few raters left who have not heard them: invite 2 more."],
        ),
        ({"raters": 3}, 0, []),
    ],
)
def test_what_is_missing_at_the_start(
    database: Database, built: dict[str, Any], missing: int, shortage: list[str]
) -> None:
    found = now(Room.build(database, raters_per_clip=3, **built))
    assert (found.raters_missing, found.shortage) == (missing, shortage)


def test_every_exclusion_can_cost_a_rater(database: Database) -> None:
    """Three of four raters are needed: a clip can lose one of them, but not two."""
    room = Room.build(database, clips=8, raters=4, raters_per_clip=3)
    room.answers = {0: deaf, 1: deaf}
    room.rate_batch(0)
    assert (now(room).raters_missing, now(room).shortage) == (0, [])
    room.rate_batch(1)
    lost = [{trial.clip_id for trial in room.trials(number) if trial.role == "stimulus"} for number in (0, 1)]
    both = len(lost[0] & lost[1])
    assert both > 0
    found = now(room)
    assert found.raters_missing == 1
    assert found.shortage == [
        f"{both} of 8 clips have too few raters left who have not heard them: invite 1 more."
    ]
    exclude(room, 2)
    assert now(room).raters_missing == 2


def test_the_count_of_missing_raters_is_exact(database: Database) -> None:
    """With one rater fewer than it says the study stays open; with as many it is done."""
    room = Room.build(database, clips=8, raters=4, raters_per_clip=3)
    room.answers = {0: deaf, 1: deaf}
    room.finish()
    found = now(room)
    assert (found.clips_done, found.raters_missing) == (0, 1)
    room = join(room, found.raters_missing)
    room.finish()
    found = now(room)
    assert (found.clips_done, found.raters_missing, found.shortage) == (8, 0, [])


def join(room: Room, count: int) -> Room:
    """Invite more raters."""
    with room.database.write() as session:
        for number in range(count):
            rater = Rater(study_id=room.study_id, pseudonym=f"N{number}", invited_at=room.at)
            session.add(rater)
            session.flush()
            listening.about(session, rater, {}, room.at)
            room.rater_ids.append(rater.id)
    return room


def test_whoever_dropped_out_can_still_come_back(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1, raters_per_clip=1)
    room.start(0)
    room.wait(days=1)
    assert now(room).raters_missing == 0
    assert now(room).ratings_leased == 0


def test_whoever_reported_a_clip_cannot_rate_it(database: Database) -> None:
    room = Room.build(database, clips=1, raters=1, raters_per_clip=1, batch_size=1)
    here = room.start(0)
    while here.task is not None:
        here = room.call(0, listening.problem, here.task.token, "")
    assert now(room).raters_missing == 1


def test_anchors_for_no_one_to_hear_one_twice(database: Database) -> None:
    """687 batches of 20 are up to 50 for each of 14 raters."""
    room = Room.build(database, clips=2748, raters=14, batch_size=20, raters_per_clip=5)
    assert now(room).anchors_needed == 2 * 50


def test_it_is_of_one_study(database: Database) -> None:
    room, other = Room.build(database), Room.build(database, name="other", clips=2, raters=9)
    other.rate_batch(0)
    assert (now(room).ratings_valid, now(other).ratings_valid) == (0, 2)
    assert (now(room).clips, now(other).clips, now(other).raters) == (8, 2, 9)
    with database.read() as session:
        assert {batch.study_id for batch in session.query(Batch)} == {other.study_id}
