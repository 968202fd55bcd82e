"""Who gets no batch for now: raters whose batches fail, and those who have had as many as the rules allow."""

import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select

from annotation.database import Database
from annotation.export import export
from annotation.protocol import Protocol
from annotation.report.document import report
from annotation.results.progress import progress
from annotation.results.ratings import ratings_table
from annotation.schema import Event, Rater
from annotation.sequential import Run, SequentialTest, pausing
from annotation.session import holds, listening
from annotation.session.exclusions import exclude
from annotation.studies import find_batch
from core.errors import AccessError, StudyError
from core.scales import MUSICEVAL
from tests.annotation.rooms import Room, deaf, fair, said


def careless(database: Database, **rules: Any) -> Room:
    """A study in which the first of three raters fails every anchor."""
    room = Room.build(database, clips=60, raters_per_clip=2, **rules)
    room.answers[0] = deaf
    return room


def batches(room: Room, number: int, count: int) -> str:
    """Rate so many batches; give the last message."""
    message = ""
    for _ in range(count):
        message = room.rate_batch(number).message
    return message


def act(room: Room, action: Any, number: int = 0, reason: str = "They were ill.") -> None:
    with room.database.write() as session:
        action(session, session.get_one(Rater, room.rater_ids[number]), reason, "Ann", room.at)


def events(room: Room) -> list[Event]:
    with room.database.read() as session:
        return list(session.scalars(select(Event).order_by(Event.id)))


def test_a_rater_who_fails_batch_after_batch_is_paused_with_the_evidence(database: Database) -> None:
    room = careless(database)
    assert batches(room, 0, 5) == ""
    assert batches(room, 0, 1) == "held"
    (event,) = events(room)
    assert (event.action, event.about, event.author) == ("pause_rater", "R01", "protocol")
    assert event.reason == "6 of the last 6 batches failed."
    assert event.details == {"failed": 6, "batches": 6, "evidence": 7.52, "limit": 6.8}
    assert room.batch(0, 6).state == "excluded"


def test_pauses_are_exported_with_their_evidence_and_counted_in_the_report(database: Database, tmp_path: Path) -> None:
    room = careless(database)
    assert report(database, "room", room.at).pauses == "No rater was paused."
    batches(room, 0, 6)
    act(room, holds.resume)
    act(room, holds.pause, 2)
    export(database, tmp_path, "room", tmp_path / "out", room.at)
    table = pd.read_csv(tmp_path / "out" / "pauses.csv")
    assert table[["rater", "action", "rule", "author"]].values.tolist() == [
        ["R01", "pause", "sequential", "protocol"],
        ["R01", "resume", "by hand", "Ann"],
        ["R03", "pause", "by hand", "Ann"],
    ]
    assert json.loads(table["evidence"][0]) == {"failed": 6, "batches": 6, "evidence": 7.52, "limit": 6.8}
    html = report(database, "room", room.at).html()
    assert "Raters who were paused: 2 (by the rule 1, by hand 1); let go on: 1." in html


def test_a_paused_rater_gets_no_batch_and_keeps_what_they_rated(database: Database) -> None:
    room = careless(database)
    batches(room, 0, 6)
    with database.read() as session:
        before = ratings_table(session, room.study(session))
    for _ in range(2):
        assert (room.place(0).message, room.start(0).message, room.start(0).task) == ("held", "held", None)
    with database.read() as session:
        assert ratings_table(session, room.study(session)).equals(before)
        assert session.get_one(Rater, room.rater_ids[0]).paused_at == room.at
        assert progress(session, room.study(session), room.at).raters == 2
    assert batches(room, 1, 7) == ""


def test_who_is_let_go_on_is_tested_anew(database: Database) -> None:
    room = careless(database)
    batches(room, 0, 6)
    room.wait(hours=1)
    act(room, holds.resume)
    assert batches(room, 0, 5) == ""
    assert batches(room, 0, 1) == "held"
    assert [event.action for event in events(room)] == ["pause_rater", "resume_rater", "pause_rater"]


def test_a_rater_who_passes_in_between_goes_on_longer(database: Database) -> None:
    room = careless(database)
    batches(room, 0, 4)
    room.answers[0] = fair
    batches(room, 0, 1)
    room.answers[0] = deaf
    assert batches(room, 0, 2) == ""
    assert batches(room, 0, 1) == "held"
    assert events(room)[0].reason == "7 of the last 8 batches failed."


def test_what_was_left_out_by_hand_says_nothing_of_the_checks(database: Database) -> None:
    room = careless(database)
    room.answers[0] = fair
    batches(room, 0, 7)
    with database.write() as session:
        rater = session.get_one(Rater, room.rater_ids[0])
        for number in range(1, 8):
            exclude(session, find_batch(session, rater, number), "A cold.", "Ann", room.at)
    room.answers[0] = deaf
    assert batches(room, 0, 5) == ""


def test_the_rule_can_be_off(database: Database) -> None:
    assert batches(careless(database, pause_rule="off"), 0, 8) == ""


def test_a_study_from_before_the_rule_pauses_nobody() -> None:
    stored = {name: value for name, value in Protocol().to_json().items() if not name.startswith(("pause", "most"))}
    before = Protocol.from_json(stored)
    assert (before.pause_rule, before.most_batches) == ("off", 0)


def test_a_rater_paused_by_hand_keeps_their_place(database: Database) -> None:
    room = careless(database)
    task = room.rate_batch(1, trials=2).task
    assert task is not None
    act(room, holds.pause, 1)
    assert room.place(1).message == "held"
    with pytest.raises(AccessError):
        room.call(1, listening.clip_to_send, task.token)
    assert room.call(1, listening.submit, task.token, said(3, 3)).outcome == "released"
    assert room.trials(1)[2].state == "open"
    act(room, holds.resume, 1)
    assert room.place(1).task == task


def test_pausing_needs_a_reason_and_happens_once(database: Database) -> None:
    room = careless(database)
    for action, reason in ((holds.resume, "x"), (holds.pause, " ")):
        with pytest.raises(StudyError):
            act(room, action, reason=reason)
    act(room, holds.pause)
    with pytest.raises(StudyError):
        act(room, holds.pause)


def test_a_rater_has_so_many_batches_a_day(database: Database) -> None:
    room = Room.build(database, clips=60, most_batches_a_day=2)
    first = room.at
    assert batches(room, 0, 2) == "today"
    place = room.place(0)
    assert place.again_in_s == (first + timedelta(hours=24) - room.at).total_seconds()
    room.at = first + timedelta(hours=23, minutes=59)
    assert room.start(0).message == "today"
    room.at = first + timedelta(hours=24)
    assert room.start(0).step == "task"


def test_a_rater_has_so_many_batches_in_all(database: Database) -> None:
    room = Room.build(database, clips=60, raters_per_clip=2, most_batches=3)
    assert room.place(0).batches_total == 3
    assert batches(room, 0, 3) == "enough"
    room.wait(days=30)
    assert (room.place(0).message, room.start(0).task) == ("enough", None)
    with database.read() as session:
        (sentence,) = progress(session, room.study(session), room.at).shortage
    assert sentence == (
        "Raters may have 3 batches in all: what is left to them gives 24 ratings, and 108 are missing. Invite 7 more."
    )


TEST = SequentialTest(Protocol())


def test_the_limits_are_walds() -> None:
    assert TEST.upper == pytest.approx(math.log(0.9 / 0.001))
    assert TEST.lower == pytest.approx(math.log(0.1 / 0.999))
    assert TEST.evidence(Run(2, 5)) == pytest.approx(2 * math.log(3.5) + 3 * math.log(0.375))
    assert TEST.run([False] * 3 + [True]) == Run(1, 1)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.94])
def test_the_chance_to_be_paused_is_that_of_many_raters(share: float) -> None:
    import numpy as np

    random, panel = np.random.default_rng(3), 4000
    paused = sum(TEST.pauses(TEST.run(row)) for row in random.random((panel, 12)) < share)
    chance = TEST.chance(share, 12)
    assert paused / panel == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / panel) + 1e-4)


@pytest.mark.parametrize(
    ("rules", "begins"),
    [
        ({}, "A rater is paused once 6 batches in a row failed"),
        ({"pause_wrongly": 0.01}, "A rater is paused once 4 batches in a row failed"),
        ({"pause_rule": "off"}, "No rater is paused"),
        ({"anchors": 0, "duplicates": 0}, "No batch can fail"),
    ],
)
def test_what_the_rule_does_is_said(rules: dict[str, Any], begins: str) -> None:
    assert pausing(Protocol(**rules), MUSICEVAL).startswith(begins)


def test_a_careless_rater_fails_more_than_an_honest_one() -> None:
    with pytest.raises(StudyError, match="fails more batches"):
        Protocol(pause_honest=0.7, pause_careless=0.7)
