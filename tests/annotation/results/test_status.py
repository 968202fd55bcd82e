"""What whoever runs a study sees of it."""

import json
from typing import Any

import pytest

from annotation import access
from annotation.database import Database
from annotation.results.status import status, status_text
from annotation.schema import Rater, Study
from annotation.session import listening
from annotation.session.screening import exclude
from tests.annotation.rooms import Room, deaf


def look(room: Room) -> dict[str, Any]:
    with room.database.read() as session:
        found = status(session, session.get_one(Study, room.study_id), room.at)
    json.dumps(found, allow_nan=False)
    return found


def rater(found: dict[str, Any], number: int) -> dict[str, Any]:
    return dict(found["raters"][number])


def lines(room: Room) -> list[str]:
    return status_text(look(room)).splitlines()


def test_nobody_has_begun(database: Database) -> None:
    room = Room.build(database, raters=2)
    found = look(room)
    assert (found["study"], found["at"]) == ("room", "2026-03-01T12:00:00+00:00")
    assert found["progress"]["clips"] == 8
    assert rater(found, 0) == {
        "rater": "R01",
        "state": "not signed in yet",
        "batches_valid": 0,
        "batches_excluded": 0,
        "ratings": 0,
        "last_rating_at": None,
        "signs": [],
    }
    assert found["checks"]["batches_ended"] == 0
    assert 0 < found["checks"]["expected_false_alarms"]["either"] < 0.2
    assert found["problems"] == []


def test_who_is_where(database: Database) -> None:
    room = Room.build(database, clips=20, raters=6, training=2, lease_minutes=45)
    with database.write() as session:
        access.open_visit(session, session.get_one(Rater, room.rater_ids[1]), room.at)
    room.rate_batch(2, trials=1)  # practice
    for _ in range(2):
        room.rate_batch(3)  # practice, then a batch
    room.rate_batch(4)
    room.rate_batch(4, trials=2)
    room.rate_batch(5)
    with database.write() as session:
        exclude(session, session.get_one(Rater, room.rater_ids[5]), "no musician", "boss", room.at)
    found = look(room)
    states = [one["state"] for one in found["raters"]]
    assert states == [
        "not signed in yet", "signed in", "in a batch", "between batches", "in a batch", "excluded",
    ]  # fmt: skip
    assert (rater(found, 2)["batch"], rater(found, 2)["trial"], rater(found, 2)["trials"]) == (0, 2, 2)
    assert (rater(found, 4)["batch"], rater(found, 4)["trial"], rater(found, 4)["trials"]) == (1, 3, 7)
    assert (rater(found, 3)["batches_valid"], rater(found, 3)["ratings"]) == (1, 7)
    assert rater(found, 4)["ratings"] == 2  # practice is none
    assert rater(found, 3)["last_rating_at"] is not None
    assert found["checks"]["batches_ended"] == 1
    room.wait(hours=1)
    assert rater(look(room), 4)["state"] == "away"
    table = [line for line in lines(room) if line.startswith("R0")]
    assert "practice, trial 2 of 2" in table[2]
    assert "batch 1, trial 3 of 7, away: others may take its clips" in table[4]


def test_progress_in_words(database: Database) -> None:
    room = Room.build(database, raters=2, raters_per_clip=2, training=1)
    room.finish()
    said = lines(room)
    assert said[0] == f"Study room, {room.at:%Y-%m-%d %H:%M} UTC"
    assert said[2] == "Clips     8 of 8 have their 2 valid ratings"
    assert said[3] == "Ratings   16 of 16 are valid"
    assert said[5:7] == ["Practice  1 clips; the rules ask for 5", "Raters    2"]
    assert "Batches   4 have ended, 0 of them excluded" in said


def test_what_is_missing_is_said(database: Database) -> None:
    room = Room.build(database, raters=2, raters_per_clip=3, anchors=1)
    found = look(room)
    assert found["progress"]["raters_missing"] == 1
    assert len(found["progress"]["shortage"]) == 2
    assert [line for line in lines(room) if line.startswith("! ")] == [
        f"! {sentence}" for sentence in found["progress"]["shortage"]
    ]


def test_excluded_batches_by_rule(database: Database) -> None:
    room = Room.build(database, raters=3)
    room.answers[0] = deaf
    room.rate_batch(0)
    room.rate_batch(1)
    room.rate_batch(2)
    with database.write() as session:
        exclude(session, session.get_one(Rater, room.rater_ids[2]), "no musician", "boss", room.at)
    checks = look(room)["checks"]
    assert (checks["batches_ended"], checks["batches_excluded"]) == (3, 2)
    assert checks["excluded_by"] == {"anchor": 1, "by hand": 1}
    assert "Batches   3 have ended, 2 of them excluded (anchor: 1, by hand: 1)" in lines(room)


def test_problems_are_shown_and_harmless(database: Database) -> None:
    room = Room.build(database)
    here = room.start(0)
    assert here.task is not None
    room.call(0, listening.problem, here.task.token, "crackles\x1b[2J\nmuch")
    (problem,) = look(room)["problems"]
    assert (problem["rater"], problem["source_file"], problem["comment"]) == (
        "R01", "a.wav", "crackles\x1b[2J\nmuch",
    )  # fmt: skip
    assert problem["clip"].startswith("room-")
    assert lines(room)[-2:] == [
        "Clips that did not play: 1 report",
        '  R01, 2026-03-01 12:00 UTC, a.wav: "crackles?[2J?much"',
    ]


@pytest.mark.parametrize("score", [4])
def test_a_straight_liner_is_shown_and_counted(database: Database, score: int) -> None:
    room = Room.build(database, clips=20, batch_size=10)
    room.answers[0] = lambda _role, _clip: (score, score)
    room.rate_batch(0)
    room.rate_batch(1)
    found = look(room)
    assert rater(found, 0)["signs"] == ["straight-lining"]
    assert rater(found, 1)["signs"] == []
    assert rater(found, 0)["batches_valid"] == 1
    assert any(line.startswith("R01") and line.endswith("straight-lining") for line in lines(room))
