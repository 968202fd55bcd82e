"""Batches: the least claimed first, systems in proportion, nothing twice, anchors in turn."""

from collections import Counter
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest
from sqlalchemy import func, select

from annotation.database import Database
from annotation.schema import Batch, Clip, Rater, Trial
from annotation.session import ledger
from tests.annotation.rooms import Room, deaf


def clips_of(room: Room, number: int, batch: int = 1, role: str = "stimulus") -> list[int]:
    return [trial.clip_id for trial in room.trials(number, batch) if trial.role == role]


def column(room: Room, name: str) -> dict[int, int]:
    with room.database.read() as session:
        return {clip.id: getattr(clip, name) for clip in session.scalars(select(Clip))}


def test_a_full_batch(database: Database) -> None:
    room = Room.build(database, clips=40, batch_size=20, anchors=5, duplicate_distance=5)
    room.start(0)
    trials = room.trials(0)
    assert [trial.position for trial in trials] == list(range(1, 24))
    assert Counter(trial.role for trial in trials) == {"stimulus": 20, "anchor": 2, "duplicate": 1}
    places = {
        trial.role: trial.position
        for trial in trials
        if trial.clip_id == clips_of(room, 0, 1, "duplicate")[0]
    }
    assert places["duplicate"] - places["stimulus"] > 5
    batch = room.batch(0)
    assert (batch.number, batch.state, batch.short) == (1, "open", False)
    assert batch.lease_until - batch.opened_at == timedelta(minutes=45)


def test_practice_comes_first_and_once(database: Database) -> None:
    room = Room.build(database, training=7)
    room.start(0)
    practice = room.trials(0, batch=0)
    assert [(trial.role, trial.state) for trial in practice] == [("training", "open")] * 5
    assert [trial.clip_id for trial in practice] == sorted(trial.clip_id for trial in practice)
    room.rate_batch(0)
    room.start(0)
    assert room.batch(0, 1).state == "open"
    room.start(1)
    assert [trial.clip_id for trial in room.trials(1, batch=0)] == [trial.clip_id for trial in practice]


def test_a_rater_for_whom_nothing_is_left_is_spared_practice(database: Database) -> None:
    room = Room.build(database, training=2, raters=2, raters_per_clip=1)
    room.rate_batch(0)
    room.rate_batch(0)
    room.rate_batch(0)
    assert room.start(1).message == "complete"


def test_the_least_claimed_come_first(database: Database) -> None:
    room = Room.build(database, clips=12, raters=4)
    for number in range(3):
        room.start(number)
    with database.read() as session:
        assert set(ledger.claims(session, room.study_id, room.at).values()) == {1}
    room.start(3)
    with database.read() as session:
        assert Counter(ledger.claims(session, room.study_id, room.at).values()) == {1: 8, 2: 4}


def test_systems_take_turns_in_proportion(database: Database) -> None:
    """31 systems with two clips each: a batch of 31 has one of each."""
    room = Room.build(database, clips=62, systems=31, raters=1, batch_size=31)
    room.start(0)
    system = column(room, "system_id")
    counted = Counter(system[clip_id] for clip_id in clips_of(room, 0))
    assert set(counted.values()) == {1}
    assert len(counted) == 31


def test_larger_systems_come_more_often(database: Database) -> None:
    room = Room.build(database, clips=40, systems=2, batch_size=10)
    system = column(room, "system_id")
    small = [clip_id for clip_id, system_id in system.items() if system_id == min(system.values())]
    with database.write() as session:  # one system keeps 5 clips of 20
        session.query(Clip).filter(Clip.id.in_(small[:15])).update({"kind": "training"})
    room.start(0)
    room.rate_batch(0)
    room.start(0)
    counted = Counter(system[clip_id] for clip_id in clips_of(room, 0))
    assert counted[min(system.values())] == 2
    assert counted[max(system.values())] == 8


def test_no_clip_comes_twice_to_a_rater(database: Database) -> None:
    """Not even those whose ratings were left out."""
    room = Room.build(database, clips=10, raters=2)
    room.answers[0] = deaf
    room.finish()
    for number in range(2):
        with database.read() as session:
            query = select(Trial.clip_id).where(
                Trial.rater_id == room.rater_ids[number], Trial.role == "stimulus"
            )
            given = list(session.scalars(query))
        assert sorted(given) == sorted(set(given))
        assert len(given) == 10
    assert {room.batch(0, number).state for number in (1, 2, 3)} == {"excluded"}


def test_what_was_never_sent_comes_again(database: Database) -> None:
    """A batch left open is closed as soon as anyone looks; what was not sent is as if it had never been."""
    room = Room.build(database, clips=4, raters=2)
    room.rate_batch(0, trials=3)
    sent = {trial.clip_id for trial in room.trials(0) if trial.role == "stimulus" and trial.served_at}
    assert 0 < len(sent) < 4
    room.wait(days=8)
    room.place(1)
    assert room.batch(0).state == "valid"
    room.start(0)
    assert set(clips_of(room, 0, 2)) == {1, 2, 3, 4} - sent


def test_anchors_take_turns(database: Database) -> None:
    """None again before all were heard, then the least recent; the turns differ between raters."""
    room = Room.build(database, clips=24, raters=3, anchors=5)
    heard: dict[int, list[list[int]]] = {}
    for number in range(3):
        for _ in range(6):
            room.rate_batch(number)
        heard[number] = [clips_of(room, number, batch, "anchor") for batch in range(1, 7)]
        turns = [clip_id for batch in heard[number] for clip_id in sorted(batch)]
        assert all(len(set(batch)) == 2 for batch in heard[number])
        assert len({*turns[:4]}) == 4
        last = dict.fromkeys(range(25, 30), 0)
        for turn, batch in enumerate(heard[number], start=1):
            kept = [last[clip_id] for clip_id in last if clip_id not in batch]
            assert max(last[clip_id] for clip_id in batch) <= min(kept)
            last |= dict.fromkeys(batch, turn)
    assert len({str(turns) for turns in heard.values()}) == 3


def test_a_short_batch_keeps_its_checks(database: Database) -> None:
    room = Room.build(database, clips=6, raters=1, raters_per_clip=1)
    room.rate_batch(0)
    room.start(0)
    assert (room.batch(0, 1).short, room.batch(0, 2).short) == (False, True)
    assert Counter(trial.role for trial in room.trials(0, 2)) == {"stimulus": 2, "anchor": 2, "duplicate": 1}


def test_a_shorter_one_has_no_duplicate(database: Database) -> None:
    room = Room.build(database, clips=5, raters=1, duplicate_distance=5)
    room.rate_batch(0)
    room.start(0)
    assert Counter(trial.role for trial in room.trials(0, 2)) == {"stimulus": 1, "anchor": 2}


def test_the_order_is_drawn_from_the_seed_the_rater_and_the_number(
    tmp_path: Path, database: Database
) -> None:
    rooms = [Room.build(database)]
    other = Database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    rooms.append(Room.build(other))
    for room in rooms:
        for number in range(3):
            room.rate_batch(number)
            room.start(number)
    orders = [
        [[trial.clip_id for trial in room.trials(number, batch)] for number in range(3) for batch in (1, 2)]
        for room in rooms
    ]
    assert orders[0] == orders[1]
    assert len({str(order) for order in orders[0]}) == 6
    other.close()


def test_by_prompt_keeps_the_clips_of_a_prompt_together(database: Database) -> None:
    room = Room.build(
        database, clips=24, systems=3, prompts=8, raters=2, batch_size=7, presentation="by-prompt"
    )
    prompt = column(room, "prompt_id")
    room.start(0)
    chosen = clips_of(room, 0)
    assert sorted(Counter(prompt[clip_id] for clip_id in chosen).values()) == [1, 3, 3]
    blocks = [key for key, _ in groupby(prompt[clip_id] for clip_id in chosen)]
    assert len(blocks) == 3
    room.rate_batch(0)
    room.start(0)
    again = Counter(prompt[clip_id] for clip_id in clips_of(room, 0, 2))
    assert len(clips_of(room, 0, 2)) == 7
    assert sum(count == 3 for count in again.values()) >= 1


@pytest.mark.parametrize("presentation", ["mixed", "by-prompt"])
def test_a_study_is_done_exactly(database: Database, presentation: str) -> None:
    room = Room.build(database, clips=21, systems=3, raters=5, raters_per_clip=3, presentation=presentation)
    room.answers[4] = deaf
    room.finish()
    with database.read() as session:
        assert set(ledger.valid(session, room.study_id).values()) == {3}
        query = (
            select(func.count(Trial.rater_id.distinct()))
            .join(Batch)
            .where(Trial.role == "stimulus", Trial.state == "rated", Batch.state == "valid")
            .group_by(Trial.clip_id)
        )
        assert set(session.scalars(query)) == {3}
        states = select(Rater.pseudonym).join(Batch).where(Batch.state == "excluded").distinct()
        assert list(session.scalars(states)) == ["R05"]
