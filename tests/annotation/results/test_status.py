"""How a study stands: how far it is, just what it lacks, who is where; and all figures of one moment."""

import dataclasses
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results.changes import what_if
from annotation.results.progress import Progress, progress
from annotation.results.rescreening import rescreen
from annotation.results.status import FIGURES, RaterStatus, Status, overview, status
from annotation.schema import Batch, Rater, Study, Trial
from annotation.session import listening
from annotation.session.exclusions import Change
from annotation.studies import create, open_visit, study_names
from core.errors import StudyError
from tests.annotation.rooms import NOW, Room, deaf

LACKING = "{} of 8 clips have too few raters left who have not heard them: invite {} more."


def now(room: Room) -> Progress:
    with room.database.read() as session:
        return progress(session, room.study(session), room.at)


def look(room: Room) -> Status:
    with room.database.read() as session:
        return status(session, room.study(session), room.at)


def change(room: Room, action: str, number: int) -> None:
    """Exclude or restore a rater."""
    with room.database.write() as session:
        Change("room", action, f"R{number + 1:02}").make(session, "A test.", "someone", room.at)


def test_from_the_first_clip_to_the_last(database: Database) -> None:
    room = Room.build(database, clips=8, raters=2, raters_per_clip=2, training=1)
    start = Progress(
        clips=8, clips_done=0, ratings_needed=16, ratings_valid=0, ratings_pending=0, ratings_leased=0,
        ratings_surplus=0, training=1, anchors=4, anchors_needed=4, raters=2, raters_missing=0, shortage=[],
        notes=["Straight-lining cannot show: it is read into 10 ratings of a batch, and a batch has 7."],
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
    change(room, "exclude", 0)
    assert (now(room).raters, now(room).clips_done) == (1, 0)
    room.rate_batch(1)
    change(room, "restore", 0)
    done = now(room)
    assert (done.clips_done, done.ratings_valid, done.ratings_surplus, done.raters) == (4, 4, 4, 2)


@pytest.mark.parametrize(
    ("built", "missing", "shortage"),
    [
        ({"clips": 0}, 0, ["There are no clips to rate: ingest some."]),
        ({"anchors": 0}, 0, ["A batch needs 2 anchors and there are 0: add 2."]),
        ({"anchors": 1}, 0, ["A batch needs 2 anchors and there are 1: add 1."]),
        ({"raters": 1}, 2, [LACKING.format(8, 2)]),
        ({"raters": 3}, 0, []),
    ],
)
def test_what_is_missing_at_the_start(
    database: Database, built: dict[str, Any], missing: int, shortage: list[str]
) -> None:
    room = Room.build(database, raters_per_clip=3, **built)
    assert (now(room).raters_missing, now(room).shortage) == (missing, shortage)
    told = [line for line in look(room).text().splitlines() if line.startswith("! ")]
    assert told == [f"! {sentence}" for sentence in (*shortage, *now(room).notes)]


@pytest.mark.parametrize(("practice", "said"), [(0, "raters go from consent to clips that count"), (2, "add some")])
def test_practice_that_is_missing_is_said(database: Database, practice: int, said: str) -> None:
    room = Room.build(database, raters=5, training=practice)
    assert now(room).shortage == []
    with database.write() as session:
        study = room.study(session)
        study.protocol = dataclasses.replace(study.protocol, training=5)
    (sentence,) = now(room).shortage
    assert said in sentence


def test_rules_under_which_checks_find_nothing_are_said(database: Database) -> None:
    room = Room.build(database, raters=5, batch_size=20, clips=40, scope="rater")
    (sentence,) = (note for note in now(room).notes if "takes out all" in note)
    assert "through 2 batches" in sentence


def test_only_stragglers_are_named(database: Database) -> None:
    """All clips but those in a batch that its rater has left are done: their name stands beside what ends it."""
    room = Room.build(database, clips=4, raters=2, raters_per_clip=2)
    room.rate_batch(0)
    room.start(1)
    with database.write() as session:  # a check comes last, and is not answered
        of_batch = select(Trial).where(Trial.rater_id == room.rater_ids[1], Trial.role == "anchor")
        session.scalars(of_batch).first().position = 100
    room.rate_batch(1, trials=6)
    assert now(room).shortage == []
    room.wait(hours=1)
    (sentence,) = now(room).shortage
    assert "their raters are away: batch 1 of R02" in sentence
    assert "`close room --rater RATER`" in sentence


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
    assert (now(room).raters_missing, now(room).shortage) == (1, [LACKING.format(both, 1)])
    change(room, "exclude", 2)
    assert now(room).raters_missing == 2


def test_the_count_of_missing_raters_is_exact(database: Database) -> None:
    """With one rater fewer than it says the study stays open; with as many it is done."""
    room = Room.build(database, clips=8, raters=4, raters_per_clip=3)
    room.answers = {0: deaf, 1: deaf}
    room.finish()
    found = now(room)
    assert (found.clips_done, found.raters_missing) == (0, 1)
    with room.database.write() as session:
        rater = Rater(study_id=room.study_id, pseudonym="N1", invited_at=room.at)
        session.add(rater)
        session.flush()
        listening.about(session, rater, {}, room.at)
        room.rater_ids.append(rater.id)
    room.finish()
    found = now(room)
    assert (found.clips_done, found.raters_missing, found.shortage) == (8, 0, [])


def test_whoever_dropped_out_can_still_come_back(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1, raters_per_clip=1)
    room.start(0)
    room.wait(days=1)
    assert (now(room).raters_missing, now(room).ratings_leased) == (0, 0)


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


def test_nobody_has_begun(database: Database) -> None:
    found = look(Room.build(database, raters=2))
    assert found.raters[0] == RaterStatus("R01", "not signed in yet", None, 0, 0, 0, None, [])
    assert (found.checks.batches_ended, found.problems) == (0, [])
    assert 0 < found.checks.expected_false_alarms["either"] < 0.2


def test_the_json_is_flat(database: Database) -> None:
    room = Room.build(database, raters=2, training=1)
    room.rate_batch(0)
    room.start(0)
    shown = look(room).to_json()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert list(shown) == ["study", "at", "protocol", "progress", "checks", "raters", "problems", "faults"]
    assert shown["protocol"]["raters_per_clip"] == 5
    assert shown["checks"].keys() == {
        "expected_false_alarms", "expected_of_strict", "batches_ended", "batches_empty", "batches_excluded",
        "excluded_by", "pausing",
    }  # fmt: skip
    usual = {"rater", "state", "batches_valid", "batches_excluded", "ratings", "last_rating_at", "signs"}
    inside, outside = shown["raters"]
    assert outside.keys() == usual
    assert inside.keys() == usual | {"batch", "trial", "trials", "lease_until"}


def test_who_is_where(database: Database) -> None:
    room = Room.build(database, clips=20, raters=6, training=2, lease_minutes=45)
    with database.write() as session:
        open_visit(session, session.get_one(Rater, room.rater_ids[1]), room.at)
    room.rate_batch(2, trials=1)  # practice
    for _ in range(2):
        room.rate_batch(3)  # practice, then a batch
    room.rate_batch(4)
    room.rate_batch(4, trials=2)
    room.rate_batch(5)
    change(room, "exclude", 5)
    found = look(room)
    practising, rating = "practice, trial 2 of 2", "batch 1, trial 3 of 7"
    assert [rater.where for rater in found.raters] == [
        "not signed in yet", "signed in", practising, "between batches", rating, "excluded",
    ]  # fmt: skip
    assert (found.raters[3].batches_valid, found.raters[3].ratings) == (1, 7)
    assert found.raters[4].ratings == 2  # practice is none
    assert found.raters[3].last_rating_at is not None
    assert found.checks.batches_ended == 1
    room.wait(hours=1)
    assert look(room).raters[4].where == f"{rating}, away: others may take its clips"


def test_progress_in_words(database: Database) -> None:
    room = Room.build(database, raters=2, raters_per_clip=2, training=1)
    room.finish()
    found = look(room)
    lines = found.text().splitlines()
    assert lines[0] == f"Study room, {room.at:%Y-%m-%d %H:%M} UTC"
    assert lines[2] == "Clips     8 of 8 have their 2 valid ratings"
    assert lines[2 : 2 + len(FIGURES)] == [f"{figure.name:<9} {figure.say(found)}" for figure in FIGURES]
    said = {figure.name: figure.say(found) for figure in FIGURES}
    assert (said["Ratings"], said["Raters"]) == ("16 of 16 are valid", "2")
    assert said["Practice"] == "1 clips; the rules ask for 1"
    assert said["Batches"] == "4 have ended, 0 of them excluded"


def test_excluded_batches_by_rule(database: Database) -> None:
    room = Room.build(database, raters=3)
    room.answers[0] = deaf
    for number in range(3):
        room.rate_batch(number)
    change(room, "exclude", 2)
    checks = look(room).checks
    assert (checks.batches_ended, checks.batches_excluded) == (3, 2)
    assert checks.excluded_by == {"anchor": 1, "by hand": 1}
    assert checks.excluded == "3 have ended, 2 of them excluded (anchor: 1, by hand: 1)"


def test_problems_are_shown_and_harmless(database: Database) -> None:
    room = Room.build(database)
    here = room.start(0)
    assert here.task is not None
    room.call(0, listening.problem, here.task.token, "crackles\x1b[2J\nmuch")
    found = look(room)
    (problem,) = found.problems
    assert (problem.rater, problem.source_file, problem.comment) == ("R01", "a.wav", "crackles\x1b[2J\nmuch")
    assert problem.clip.startswith("room-")
    assert found.text().endswith('\n  R01, 2026-03-01 12:00 UTC, a.wav: "crackles?[2J?much"')


def test_a_straight_liner_is_shown_and_counted(database: Database) -> None:
    room = Room.build(database, clips=20, batch_size=10)
    room.answers[0] = lambda _role, _clip: (4, 4)
    room.rate_batch(0)
    room.rate_batch(1)
    found = look(room)
    assert [rater.signs for rater in found.raters] == [["straight-lining"], [], []]
    assert found.raters[0].batches_valid == 1
    assert found.raters_table.rows[0][-1] == "straight-lining"


@pytest.mark.parametrize(
    ("look_at", "most"),
    [
        (overview, 40),
        (lambda database, name, _: what_if(database, Change(name, "exclude", "R01")), 15),
        (lambda database, name, _: rescreen(database, name, {"anchor_fail_below": 2.0}), 15),
    ],
    ids=["overview", "what-if", "rescreening"],
)
def test_many_raters_cost_as_many_statements_as_few(
    database: Database, look_at: Callable[[Database, str, datetime], object], most: int
) -> None:
    statements: list[str] = []
    for engine in (database._engine, database._reading):
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    asked = []
    for name, raters in (("few", 2), ("many", 12)):
        room = Room.build(database, clips=80, raters=raters, name=name)
        for number in range(raters):
            room.rate_batch(number)
        statements.clear()
        look_at(database, name, room.at)
        asked.append(len(statements))
    assert 5 < asked[0] == asked[1] < most


def test_an_overview_is_of_one_moment(database: Database) -> None:
    room = Room.build(database, clips=4, raters=3, raters_per_clip=2)
    for number in range(2):
        room.rate_batch(number)
    change(room, "exclude", 1)
    found = overview(room.database, "room", room.at)
    assert found.status == look(room)
    assert found.status.progress.ratings_valid == found.results.n_ratings == 4
    assert found.reliability.ratings["valid"] == 4
    assert list(found.log["rater"]) == ["R02"]
    assert Change("room", "restore", "R02") in found.changes
    assert not found.demo
    with pytest.raises(StudyError):
        overview(room.database, "hall", room.at)


def test_an_overview_of_a_study_without_anything(database: Database) -> None:
    with database.write() as session:
        session.add(Study(name="bare", demo=True, seed=1, protocol=Protocol(), created_at=NOW))
        create(session, "a-newer-one", Protocol(), 1, NOW + timedelta(days=1))
    found = overview(database, "bare", NOW)
    assert found.demo
    assert found.results.systems.empty
    assert (found.reliability.clips, found.changes) == (0, [])
    assert study_names(database) == ["a-newer-one", "bare"]
