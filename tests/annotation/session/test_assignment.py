"""Batches: the least claimed first, systems in proportion, nothing twice, anchors in turn; their order."""

from collections import Counter
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Rater, Trial
from annotation.session import ledger
from annotation.session.assignment import Item, arrange
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
    places = {trial.role: trial.position for trial in trials if trial.clip_id == clips_of(room, 0, 1, "duplicate")[0]}
    assert places["duplicate"] - places["stimulus"] > 5
    batch = room.batch(0)
    assert (batch.number, batch.state, batch.short) == (1, "open", False)
    assert batch.lease_until - batch.opened_at == timedelta(minutes=45)


def test_practice_comes_first_and_once(database: Database) -> None:
    room = Room.build(database, training=7)
    room.start(0)
    practice = room.trials(0, batch=0)
    assert [(trial.role, trial.state) for trial in practice] == [("practice", "open")] * 5
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
        session.query(Clip).filter(Clip.id.in_(small[:15])).update({"kind": "practice"})
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
            query = select(Trial.clip_id).where(Trial.rater_id == room.rater_ids[number], Trial.role == "stimulus")
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


@pytest.mark.parametrize(
    ("clips", "distance", "roles"),
    [(6, 2, {"stimulus": 2, "anchor": 1, "duplicate": 1}), (5, 5, {"stimulus": 1, "anchor": 1})],
)
def test_a_short_batch_has_checks_in_proportion(
    database: Database, clips: int, distance: int, roles: dict[str, int]
) -> None:
    room = Room.build(database, clips=clips, raters=1, raters_per_clip=1, duplicate_distance=distance)
    room.rate_batch(0)
    room.start(0)
    assert (room.batch(0, 1).short, room.batch(0, 2).short) == (False, True)
    assert Counter(trial.role for trial in room.trials(0, 2)) == roles


def test_the_order_is_drawn_from_the_seed_the_rater_and_the_number(tmp_path: Path, database: Database) -> None:
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
    room = Room.build(database, clips=24, systems=3, prompts=8, raters=2, batch_size=7, presentation="by-prompt")
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


# Where the trials of a batch stand: every rule holds for every draw, and no place tells a role


def items(count: int, role: str = "stimulus", prompts: int = 5, first: int = 0) -> list[Item]:
    return [Item(first + number, number % prompts, role) for number in range(count)]


def drawn(seed: int, clips: int, anchors: int, **rules: Any) -> list[Item]:
    protocol = Protocol(**rules)
    return arrange(items(clips), items(anchors, "anchor", first=100), protocol, np.random.default_rng(seed))


def duplicates(order: list[Item], stimuli: int, anchors: int, distance: int) -> int:
    """Check what must hold for each order; return the number of its duplicates."""
    roles = Counter(item.role for item in order)
    assert (roles["stimulus"], roles["anchor"]) == (stimuli, anchors)
    first = {item.clip_id: place for place, item in enumerate(order) if item.role == "stimulus"}
    second = {item.clip_id: place for place, item in enumerate(order) if item.role == "duplicate"}
    assert (len(first), len(second)) == (stimuli, roles["duplicate"])
    for clip_id, place in second.items():
        assert place - first[clip_id] - 1 >= distance
    return roles["duplicate"]


@pytest.mark.parametrize("presentation", ["mixed", "by-prompt"])
@pytest.mark.parametrize("anchors", [0, 3])
@pytest.mark.parametrize("distance", [0, 2, 5])
def test_the_duplicate_is_there_wherever_it_fits(presentation: str, anchors: int, distance: int) -> None:
    rules = {"presentation": presentation, "duplicate_distance": distance}
    for clips in (1, 2, 3, 4, 5, 8, 20):
        for seed in range(40):
            order = drawn(seed, clips, anchors, **rules)
            fits = clips + anchors > distance
            assert duplicates(order, clips, anchors, distance) == (1 if fits else 0)


@pytest.mark.parametrize("seed", range(20))
def test_several_duplicates(seed: int) -> None:
    assert duplicates(drawn(seed, 10, 3, duplicates=4, duplicate_distance=8), 10, 3, 8) == 4
    assert duplicates(drawn(seed, 20, 3, duplicates=3, presentation="by-prompt"), 20, 3, 5) == 3


def test_clips_of_a_prompt_stand_together() -> None:
    protocol = Protocol(presentation="by-prompt")
    orders = []
    for seed in range(30):
        anchors = items(3, "anchor", prompts=1, first=100)  # of the prompt of some clips, too
        order = arrange(items(20), anchors, protocol, np.random.default_rng(seed))
        blocks = [prompt for prompt, _ in groupby(item.prompt_id for item in order if item.role == "stimulus")]
        assert sorted(blocks) == [0, 1, 2, 3, 4]
        orders.append(tuple(blocks))
    assert len(set(orders)) > 20


def test_by_prompt_does_not_give_the_checks_away(database: Database) -> None:
    """Prompts with more clips than a batch: checks stand in the middle half of a batch as often as other trials."""
    room = Room.build(
        database, clips=31 * 24, systems=31, prompts=24, raters=30, batch_size=20, anchors=12,
        presentation="by-prompt", duplicate_distance=5,
    )  # fmt: skip
    prompt, middle, checks = column(room, "prompt_id"), 0, 0
    for number in range(30):
        room.start(number)
        trials = room.trials(number)
        assert len({prompt[trial.clip_id] for trial in trials if trial.role == "stimulus"}) == 2
        places = [trial.position for trial in trials if trial.role in ("anchor", "duplicate")]
        middle += sum(len(trials) / 4 < place <= 3 * len(trials) / 4 for place in places)
        checks += len(places)
    assert middle / checks == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("role", ["anchor", "duplicate", "original"])
def test_no_place_is_likelier_than_it_must_be(role: str) -> None:
    """Anchors are uniform over the places that the two presentations leave; these mirror each other."""
    protocol = Protocol(batch_size=9, anchors=2, duplicate_distance=3)
    random = np.random.default_rng(5)
    places: Counter[int] = Counter()
    draws = 4000
    for _ in range(draws):
        order = arrange(items(9), items(2, "anchor", first=100), protocol, random)
        again = next(item.clip_id for item in order if item.role == "duplicate")
        for place, item in enumerate(order):
            original = item.role == "stimulus" and item.clip_id == again
            places[place] += item.role == role or (original and role == "original")
    pairs = [(one, other) for one in range(12) for other in range(one + 4, 12)]
    taken = {"original": Counter(one for one, _ in pairs), "duplicate": Counter(other for _, other in pairs)}
    for place in range(12):
        if role == "anchor":
            free = len(pairs) - taken["original"][place] - taken["duplicate"][place]
            expected = draws * 2 * free / (len(pairs) * 10)
        else:
            expected = draws * taken[role][place] / len(pairs)
        assert abs(places[place] - expected) <= 4 * np.sqrt(expected) + 1


def test_the_draw_decides_alone() -> None:
    first, same, other = (drawn(seed, 20, 3) for seed in (1, 1, 2))
    assert first == same != other
