"""The ledger: never more claims on a clip than it needs, whoever comes, goes, returns or is put back."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import selectinload

from annotation.database import Database
from annotation.schema import Batch, Exclusion, Trial
from annotation.session import exclusions, ledger, listening
from core.errors import AccessError
from tests.annotation.rooms import DURATION_S, Room, deaf, said, url_of

BY_ID = select(Exclusion).order_by(Exclusion.id)


def claims(room: Room) -> Counter[int]:
    with room.database.read() as session:
        return Counter(ledger.claims(session, room.study_id, room.at))


def states(room: Room, number: int, role: str = "stimulus") -> Counter[str]:
    return Counter(trial.state for trial in room.trials(number) if trial.role == role)


def test_leased_pending_and_valid_count(database: Database) -> None:
    room = Room.build(database, clips=4, raters=1)
    assert claims(room) == {}
    room.start(0)
    assert set(claims(room).values()) == {1}  # leased
    room.rate_batch(0, trials=3)
    room.wait(minutes=46)
    rated = states(room, 0)["rated"]
    assert claims(room).total() == rated > 0  # pending; the rest has lapsed
    room.rate_batch(0)
    assert room.batch(0).state == "valid"
    assert claims(room).total() == 4  # valid
    with database.read() as session:
        assert ledger.valid(session, room.study_id) == claims(room)


def test_checks_practice_and_excluded_batches_count_for_nothing(database: Database) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=1, training=2)
    room.answers[0] = deaf
    room.rate_batch(0)
    assert claims(room) == {}
    room.rate_batch(0)
    assert room.batch(0).state == "excluded"
    assert claims(room) == {}
    room.rate_batch(1)
    room.rate_batch(1)
    assert claims(room).total() == 4


def test_every_answer_renews_the_lease_and_a_lapsed_one_gives_the_clips_to_others(database: Database) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=1)
    here = room.start(0)
    for _ in range(4):
        room.wait(minutes=44)
        here = room.rate(0, here).place
        assert room.start(1).step == "done"
    room.wait(minutes=44)
    room.place(0)  # looking is no answer
    room.wait(minutes=0.9)
    assert room.start(1).message == "wait"
    room.wait(minutes=0.1)
    assert room.start(1).step == "task"


def test_whoever_returns_keeps_what_is_still_needed(database: Database) -> None:
    """Two clips were taken by others meanwhile; the duplicate of one of them goes with it."""
    room = Room.build(database, clips=4, raters=2, raters_per_clip=1, batch_size=4)
    room.start(0)
    room.wait(minutes=46)
    with database.write() as session:  # the other takes the repeated clip and one more
        trials = room.trials(0)
        again = next(trial.clip_id for trial in trials if trial.role == "duplicate")
        other = next(trial.clip_id for trial in trials if trial.role == "stimulus" and trial.clip_id != again)
        batch = Batch(
            study_id=room.study_id,
            rater_id=room.rater_ids[1],
            number=1,
            state="open",
            short=True,
            opened_at=room.at,
            lease_until=ledger.lease(room.protocol, room.at),
        )
        for place, clip_id in enumerate((again, other), start=1):
            trial = Trial(clip_id=clip_id, position=place, role="stimulus", token=f"t{place}", state="open")
            trial.rater_id = room.rater_ids[1]
            batch.trials.append(trial)
        session.add(batch)
    here = room.place(0)
    assert here.task is not None
    assert here.task.count == 4  # two clips and two anchors
    assert states(room, 0) == {"open": 2, "released": 2}
    assert states(room, 0, "duplicate") == {"released": 1}
    assert max(claims(room).values()) == 1
    assert room.batch(0).lease_until == ledger.lease(room.protocol, room.at)


def test_an_answer_after_the_lease_is_kept_if_it_is_needed(database: Database) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=1)
    here = room.start(0)
    assert here.task is not None
    room.call(0, listening.serve, here.task.token)
    room.wait(hours=5)
    with pytest.raises(AccessError):  # until the rater looks again
        room.call(0, listening.serve, here.task.token)
    submitted = room.call(0, listening.submit, here.task.token, said(5, 5))
    assert (submitted.outcome, submitted.place.task.count) == ("saved", 7)
    assert room.start(1).step == "done"


def test_an_answer_after_the_lease_is_dropped_if_others_gave_it(database: Database) -> None:
    room = Room.build(database, clips=4, raters=2, raters_per_clip=1)
    here = room.start(0)
    assert here.task is not None
    room.call(0, listening.serve, here.task.token)
    room.wait(hours=5)
    room.rate_batch(1)
    submitted = room.call(0, listening.submit, here.task.token, said(5, 5))
    if room.trials(0)[0].role == "stimulus":
        assert (submitted.outcome, submitted.place.message) == ("released", "complete")
    assert states(room, 0) == {"released": 4}
    assert room.place(0).step == "done"
    assert claims(room).total() == 4
    assert room.batch(0).state == "empty"


def test_a_restored_batch_pushes_out_whoever_holds_its_clips(database: Database) -> None:
    room = Room.build(database, clips=4, raters=3, raters_per_clip=1)
    room.rate_batch(0)
    judge(room, "exclude")
    here = room.start(1)
    assert claims(room).total() == 4
    here = room.rate(1, here).place
    rated = states(room, 1)["rated"]
    judge(room, "restore")
    assert states(room, 1) == {"released": 4 - rated, **({"rated": rated} if rated else {})}
    with database.read() as session:
        valid = ledger.valid(session, room.study_id)
    assert valid.keys() == {trial.clip_id for trial in room.trials(0) if trial.role == "stimulus"}
    assert claims(room).total() == 4 + rated  # what was rated stays, as surplus
    while here.step == "task":
        here = room.rate(1, room.place(1)).place if room.place(1).task else room.place(1)
    assert here.message == "complete"


def judge(room: Room, verdict: str, number: int = 0) -> None:
    with room.database.write() as session:
        batch = session.get_one(Batch, room.batch(number).id)
        action = exclusions.exclude if verdict == "exclude" else exclusions.restore
        action(session, batch, "A test.", "someone", room.at)


def test_a_restored_batch_releases_the_latest_first(database: Database) -> None:
    room = Room.build(database, clips=1, raters=4, raters_per_clip=3, batch_size=1)
    room.rate_batch(0)
    judge(room, "exclude")
    for number in (3, 1, 2):
        room.wait(minutes=1)
        room.start(number)
    judge(room, "restore")
    assert [states(room, number)["open"] for number in (1, 2, 3)] == [1, 0, 1]
    assert claims(room).total() == 3


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_whatever_happens_the_ledger_holds(database: Database, seed: int) -> None:
    """Raters begin, answer, drop out, return, are left out and put back, in any order."""
    random = np.random.default_rng(seed)
    limit = 2
    room = Room.build(database, clips=12, raters=6, raters_per_clip=limit, anchors=2, scope="batch")
    room.answers[5] = deaf
    restored = False
    for _ in range(150):
        number = int(random.integers(6))
        match random.integers(8):
            case 0:
                room.wait(minutes=float(random.choice([1, 20, 50])))
            case 1:
                with database.write() as session:
                    batches = session.scalars(select(Batch).where(Batch.study_id == room.study_id)).all()
                    if batches:
                        batch = batches[int(random.integers(len(batches)))]
                        excluded = exclusions.is_excluded(session, batch)
                        action = exclusions.restore if excluded else exclusions.exclude
                        restored |= excluded
                        action(session, batch, "A test.", "someone", room.at)
            case 2:
                if (here := room.place(number)).task is not None:
                    room.call(number, listening.problem, here.task.token, "")
            case _:
                room.rate_batch(number, trials=int(random.integers(1, 6)))
        assert_holds(room, limit, restored)
    room.wait(days=8)
    room.finish()
    assert_holds(room, limit, restored)


def assert_holds(room: Room, limit: int, restored: bool) -> None:
    """Asked in as few statements as it can be: it is asked after every step."""
    with room.database.read() as session:
        counted = ledger.claims(session, room.study_id, room.at)
        held = select(Trial.clip_id).join(Batch).where(Trial.role == "stimulus", ledger.leased(room.at))
        for clip_id in set(session.scalars(held)) if restored else counted:
            assert counted[clip_id] <= limit
        latest = {(row.rater_id, row.batch_id): row.action for row in session.scalars(BY_ID)}
        for batch in session.scalars(select(Batch).options(selectinload(Batch.trials))):
            out = "exclude" in (latest.get((batch.rater_id, batch.id)), latest.get((batch.rater_id, None)))
            rated = any(trial.state == "rated" and trial.role == "stimulus" for trial in batch.trials)
            ended = "valid" if rated else "empty"
            assert batch.state == ("excluded" if out else "open" if batch.closed_at is None else ended)
            assert batch.closed_at is None or all(trial.state != "open" for trial in batch.trials)
        rated = select(Trial.rater_id, Trial.clip_id).where(Trial.role == "stimulus", Trial.state == "rated")
        pairs = [tuple(pair) for pair in session.execute(rated)]
        assert len(pairs) == len(set(pairs))


def test_many_threads_at_once(database: Database) -> None:
    """More hands than clips, on one database opened twice: no error, and no clip is given out too often."""
    room = Room.build(database, clips=10, raters=12, raters_per_clip=3, batch_size=3, anchors=2)
    again = Database(url_of(database))
    rooms = [room, Room(again, room.study_id, room.rater_ids, room.protocol)]
    clock = threading.Lock()
    most: list[int] = []
    failed: list[Exception] = []

    def hear() -> None:
        with clock:
            for one in rooms:
                one.wait(seconds=DURATION_S)

    def work(number: int) -> None:
        mine = rooms[number % 2]
        try:
            here = mine.start(number)
            while here.step != "done" or here.message == "wait":
                if here.task is None:
                    time.sleep(0.005)
                    here = mine.start(number)
                    continue
                mine.call(number, listening.serve, here.task.token)
                hear()
                here = mine.call(number, listening.submit, here.task.token, said(5, 5)).place
                most.append(max(claims(mine).values()))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again.close()
    assert failed == []
    assert max(most) == 3
    assert set(claims(room).values()) == {3}
    assert claims(room).total() == 30
