"""A rater's session: one rating a trial, whatever is clicked, reloaded or sent; nothing tells a role."""

from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import event, func, select

from annotation.database import Database
from annotation.schema import Batch, Problem, Rater, Rating, Study
from annotation.session import listening, pace, screening
from annotation.session.listening import Feedback, Place, Task
from annotation.session.reply import Reply
from core.errors import AccessError, RatingError, StudyError
from tests.annotation.rooms import DURATION_S, Room

REFUSED = "This clip is not open for you. Reload the page."
GOOD = Reply(4, 3, "", [[0.0, DURATION_S]])


@pytest.fixture
def room(database: Database) -> Room:
    return Room.build(database)


def task(here: Place) -> Task:
    assert here.task is not None
    return here.task


def ratings(room: Room) -> int:
    with room.database.read() as session:
        return session.execute(select(func.count()).select_from(Rating)).scalar_one()


def heard(room: Room, number: int, here: Place) -> str:
    """Let the current clip be sent and heard; give its token."""
    token = task(here).token
    room.call(number, listening.serve, token)
    room.wait(seconds=DURATION_S)
    return token


def test_a_whole_session(database: Database) -> None:
    room = Room.build(database, clips=4, training=2, raters=1, raters_per_clip=1)
    here = room.place(0)
    assert (here.step, here.practice_next, here.estimate_s) == ("ready", True, 2 * (DURATION_S + 15))
    here = room.start(0)
    steps = []
    while here.step == "task":
        now = task(here)
        steps.append((now.practice, now.position, now.count))
        submitted = room.rate(0, here)
        assert submitted.feedback == (Feedback(4.2, None, "In tune.") if now.practice else None)
        here = submitted.place
        if here.step == "ready":
            assert (here.batches_done, here.clips_rated, here.practice_next) == (0, 0, False)
            assert here.estimate_s == 7 * (DURATION_S + 5)
            here = room.start(0)
    assert steps == [(True, 1, 2), (True, 2, 2)] + [(False, place, 7) for place in range(1, 8)]
    assert here == Place("done", None, batches_done=1, clips_rated=7, message="complete")
    assert [room.batch(0, number).state for number in (0, 1)] == ["valid", "valid"]
    assert room.start(0) == room.place(0) == here


def test_asking_hands_nothing_out(room: Room) -> None:
    for _ in range(3):
        assert room.place(0).step == "ready"
    with room.database.read() as session:
        assert session.query(Batch).count() == 0


def test_the_same_place_again_on_any_device(room: Room) -> None:
    here = room.start(0)
    assert room.start(0) == room.place(0) == here
    second = room.rate(0, here).place
    room.wait(minutes=5)
    assert task(room.place(0)).token == task(second).token != task(here).token
    assert task(second).token == task(here).next_token
    assert len(room.trials(0)) == 7


def test_what_a_device_is_told_names_nothing(room: Room) -> None:
    here = room.start(0)
    told = asdict(task(here))
    assert set(told) == {
        "token", "prompt", "duration_s", "position", "count", "practice", "next_token", "time_left_s",
    }  # fmt: skip
    assert told["prompt"].startswith("Prompt ")
    tokens = [trial.token for trial in room.trials(0)]
    assert len({*tokens}) == 7
    assert all(len(token) == 32 for token in tokens)


def test_every_answer_counts_alike(room: Room) -> None:
    """A count that left out anchors and duplicates would tell them."""
    here = room.start(0)
    for done in range(1, 7):
        here = room.rate(0, here).place
        assert (here.clips_rated, task(here).position, task(here).count) == (done, done + 1, 7)


def test_two_clicks_make_one_rating(room: Room) -> None:
    token = heard(room, 0, room.start(0))
    first = room.call(0, listening.submit, token, GOOD)
    again = room.call(0, listening.submit, token, Reply(1, 1))
    assert (first.outcome, again.outcome, ratings(room)) == ("saved", "already", 1)
    assert (first.saved, again.saved) == (True, False)
    assert again.place == first.place
    with room.database.read() as session:
        assert session.query(Rating).one().musical_impression == 4


def test_the_last_answer_of_a_batch_can_be_sent_again(room: Room) -> None:
    room.rate_batch(0)
    last = room.trials(0)[-1].token
    again = room.call(0, listening.submit, last, GOOD)
    assert (again.outcome, again.place.step) == ("already", "ready")
    assert ratings(room) == 7


def test_practice_explains_again(database: Database) -> None:
    room = Room.build(database, training=1)
    token = heard(room, 0, room.start(0))
    for outcome in ("saved", "already"):
        submitted = room.call(0, listening.submit, token, GOOD)
        assert (submitted.outcome, submitted.feedback) == (outcome, Feedback(4.2, None, "In tune."))


def test_what_was_said_is_stored(room: Room) -> None:
    here = room.start(0)
    shown_at = room.at
    room.wait(seconds=3)
    token = heard(room, 0, here)
    room.call(0, listening.submit, token, Reply(2, 5, "<b>", [[0, 4], [3, 10.5]]))
    with room.database.read() as session:
        rating = session.query(Rating).one()
        said = (
            rating.musical_impression,
            rating.textual_alignment,
            rating.comment,
            rating.played,
            rating.heard_s,
        )
        assert said == (2, 5, "<b>", [[0.0, 4.0], [3.0, 10.5]], 11.5)
        assert rating.trial.shown_at == shown_at
        assert (rating.given_at - rating.trial.shown_at).total_seconds() == 3 + DURATION_S


def test_a_clip_must_have_had_the_time_to_be_heard(room: Room) -> None:
    here = room.start(0)
    token = task(here).token
    room.wait(minutes=1)
    with pytest.raises(RatingError, match="not played yet"):
        room.call(0, listening.submit, token, GOOD)
    room.call(0, listening.serve, token)
    room.wait(seconds=DURATION_S - 0.01)
    with pytest.raises(RatingError, match="cannot have been heard"):
        room.call(0, listening.submit, token, GOOD)
    room.wait(seconds=0.01)
    assert room.call(0, listening.submit, token, GOOD).saved


def test_a_clip_fetched_ahead_still_takes_its_time(room: Room) -> None:
    here = room.start(0)
    ahead = task(here).next_token
    room.call(0, listening.serve, ahead)
    here = room.rate(0, here).place
    assert task(here).token == ahead
    with pytest.raises(RatingError, match="cannot have been heard"):
        room.call(0, listening.submit, ahead, GOOD)
    room.wait(seconds=DURATION_S)
    assert room.call(0, listening.submit, ahead, GOOD).saved


def test_no_trial_is_skipped(room: Room) -> None:
    ahead = task(room.start(0)).next_token
    room.call(0, listening.serve, ahead)
    room.wait(minutes=1)
    for action, said in ((listening.submit, GOOD), (listening.problem, "")):
        with pytest.raises(RatingError, match="Another clip comes before"):
            room.call(0, action, ahead, said)
    assert ratings(room) == 0


def test_only_the_current_clip_and_the_next_are_sent(room: Room) -> None:
    room.start(0)
    trials = room.trials(0)
    for trial in trials[:2]:
        assert room.call(0, listening.serve, trial.token).startswith("room-")
    for trial in trials[2:]:
        with pytest.raises(AccessError, match=REFUSED):
            room.call(0, listening.serve, trial.token)
    sent = [trial.served_at is not None for trial in room.trials(0)]
    assert sent == [True, True, False, False, False, False, False]


BAD_TOKENS: list[Any] = ["", "x", "../../etc/passwd", "a/b", "\ud800", "é" * 32, "\x00", None, 3, ["x"], {}]


@pytest.mark.parametrize("token", BAD_TOKENS)
def test_made_up_tokens_are_refused(room: Room, token: object) -> None:
    room.start(0)
    for action, said in ((listening.serve, ()), (listening.submit, (GOOD,)), (listening.problem, ("",))):
        with pytest.raises(AccessError) as refused:
            room.call(0, action, token, *said)
        assert str(refused.value) == REFUSED
    assert ratings(room) == 0


def test_another_raters_token_is_refused(room: Room) -> None:
    token = heard(room, 0, room.start(0))
    room.start(1)
    for action, said in ((listening.serve, ()), (listening.submit, (GOOD,)), (listening.problem, ("",))):
        with pytest.raises(AccessError) as refused:
            room.call(1, action, token, *said)
        assert str(refused.value) == REFUSED
    assert ratings(room) == 0


def test_tokens_end_with_their_batch(room: Room) -> None:
    token = heard(room, 0, room.start(0))
    with room.database.write() as session:
        batch = session.get_one(Batch, room.batch(0).id)
        screening.exclude(session, batch, "A test.", "someone", room.at)
    for action, said in ((listening.serve, ()), (listening.submit, (GOOD,)), (listening.problem, ("",))):
        with pytest.raises(AccessError, match=REFUSED):
            room.call(0, action, token, *said)
    assert (ratings(room), room.place(0).step) == (0, "ready")


def test_a_rated_clip_is_not_sent_again(room: Room) -> None:
    here = room.start(0)
    room.rate(0, here)
    with pytest.raises(AccessError, match=REFUSED):
        room.call(0, listening.serve, task(here).token)


def test_bad_replies_store_nothing(room: Room) -> None:
    token = heard(room, 0, room.start(0))
    for reply in (Reply(0, 3), Reply(3, "five"), Reply(3, 3, None), Reply(3, 3, "", [[0, 1e9]])):
        with pytest.raises(RatingError):
            room.call(0, listening.submit, token, reply)
    assert ratings(room) == 0
    assert room.call(0, listening.submit, token, GOOD).saved


@pytest.mark.parametrize("role", ["anchor", "duplicate", "stimulus"])
def test_a_clip_that_does_not_play(database: Database, role: str) -> None:
    room = Room.build(database, clips=4, raters=1, batch_size=4)
    here = room.start(0)
    while True:
        trials = room.trials(0)
        again = next((trial.clip_id for trial in trials if trial.role == "duplicate"), None)
        now = next(trial for trial in trials if trial.token == task(here).token)
        if now.role == role and (role != "stimulus" or now.clip_id == again):
            break
        here = room.rate(0, here).place
    before = task(here).count
    here = room.call(0, listening.problem, now.token, "no sound")
    gone = [trial.role for trial in room.trials(0) if trial.state == "released"]
    assert gone == [role]
    with database.read() as session:
        assert [(one.trial_id, one.comment) for one in session.query(Problem)] == [(now.id, "no sound")]
    if here.step == "task":
        assert room.call(0, listening.problem, now.token, "again") == here
        assert room.call(0, listening.submit, now.token, GOOD).outcome == "released"
        assert task(here).count == before - len(gone)
    while here.step == "task":
        here = room.rate(0, here).place
    assert (here.step, here.message) == ("done", "complete")  # it never comes back to whoever reported it
    assert ratings(room) == 7 - len(gone)


@pytest.mark.parametrize("seed", range(12))
def test_reporting_a_clip_does_not_tell_that_it_comes_twice(database: Database, seed: int) -> None:
    room = Room.build(database, clips=20, raters=1, batch_size=8, duplicate_distance=3, name=f"room-{seed}")
    with database.write() as session:
        session.get_one(Study, room.study_id).seed = seed
    here = room.start(0)
    again = next(trial.clip_id for trial in room.trials(0) if trial.role == "duplicate")
    while next(trial for trial in room.trials(0) if trial.token == task(here).token).clip_id != again:
        here = room.rate(0, here).place
    before = task(here)
    after = task(room.call(0, listening.problem, before.token, ""))
    assert (after.position, after.count) == (before.position, before.count - 1)
    kept = [trial for trial in room.trials(0) if trial.state != "released"]
    (second,) = (trial for trial in kept if trial.role == "duplicate")
    (first,) = (trial for trial in kept if trial.role == "stimulus" and trial.clip_id == second.clip_id)
    assert second.clip_id != again
    assert second.position - first.position > 3
    assert len({trial.clip_id for trial in kept if trial.role == "stimulus"}) == 7


def test_a_reported_clip_goes_to_others(database: Database) -> None:
    room = Room.build(database, clips=1, raters_per_clip=1, batch_size=1)
    token = task(room.start(0)).token  # never sent
    assert room.call(0, listening.problem, token, "") == Place("done", None, 1, 0, message="complete")
    assert room.start(0).step == "done"
    assert room.rate_batch(1).message == "complete"
    assert room.place(0).message == "complete"


def test_practice_can_be_reported_too(database: Database) -> None:
    room = Room.build(database, training=1)
    here = room.call(0, listening.problem, task(room.start(0)).token, "")
    assert (here.step, here.practice_next) == ("ready", False)


def test_a_study_that_is_not_ready_says_so_without_naming_roles(database: Database) -> None:
    for name, lacking in (("empty", {"clips": 0}), ("unchecked", {"anchors": 1})):
        room = Room.build(database, name=name, **lacking)
        with pytest.raises(StudyError) as refused:
            room.start(0)
        assert str(refused.value) == (
            "This listening test is not ready yet. Whoever runs it can see in its status why."
        )
        assert room.place(0).message == ("wait" if name == "empty" else "")


def test_waiting_for_what_others_hold(database: Database) -> None:
    room = Room.build(database, clips=4, raters=3, raters_per_clip=1)
    room.start(0)
    assert room.place(1).message == room.start(1).message == "wait"
    room.rate_batch(0)
    assert room.place(1).message == "complete"


def test_the_time_left_is_the_raters_own(room: Room) -> None:
    here = room.start(0)
    assert task(here).time_left_s == 7 * (DURATION_S + pace.DEFAULT_OVERHEAD_S)
    for overhead_s in (40, 2, 20):
        token = heard(room, 0, here)
        room.wait(seconds=overhead_s)
        here = room.call(0, listening.submit, token, GOOD).place
    assert task(here).time_left_s == 4 * (DURATION_S + 20)


def test_an_answer_costs_few_statements(room: Room) -> None:
    here = room.start(0)
    here = room.rate(0, here).place
    token = heard(room, 0, here)
    with room.database.write() as session:
        rater = session.get_one(Rater, room.rater_ids[0])
        said: Counter[str] = Counter()
        event.listen(
            session.connection().engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: said.update([statement.split()[0]]),
        )
        listening.submit(session, rater, token, GOOD, room.at)
    assert said == {"SELECT": 5, "INSERT": 1, "UPDATE": 3}
