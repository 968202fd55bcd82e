"""A rater's session: one rating a trial, whatever is clicked, reloaded or sent; nothing tells a role."""

import math
from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest
from sqlalchemy import event, func, select, update
from sqlalchemy.exc import IntegrityError

from annotation.database import Database
from annotation.material.files import MISSING
from annotation.schema import Answer, Batch, Clip, Consent, Problem, Rater, Response, Study, Trial
from annotation.session import exclusions, listening
from annotation.session.answers import CONSENT, MAX_COMMENT_LENGTH, Reply, check_reply
from annotation.session.listening import DEFAULT_OVERHEAD_S, Feedback, RaterStep, Task
from annotation.wording import QUESTIONS
from core.errors import AccessError, RatingError, StudyError
from core.scales import MUSICEVAL
from tests.annotation.rooms import DURATION_S, NOW, Room, said

GOOD = said(4, 3)
TOLD = Feedback({"musical_impression": 4.2, "textual_alignment": None}, "In tune.")
ACTIONS: list[tuple[Any, tuple[Any, ...]]] = [
    (listening.serve, ()),
    (listening.submit, (GOOD,)),
    (listening.problem, ("",)),
]


@pytest.fixture
def room(database: Database) -> Room:
    return Room.build(database)


def task(here: RaterStep) -> Task:
    assert here.task is not None
    return here.task


def responses(room: Room) -> int:
    with room.database.read() as session:
        return session.execute(select(func.count()).select_from(Response)).scalar_one()


def heard(room: Room, number: int, here: RaterStep) -> str:
    """Let the current clip be sent and heard; return its token."""
    token = task(here).token
    room.call(number, listening.serve, token)
    room.wait(seconds=DURATION_S)
    return token


# Consent and questions


def new_rater(room: Room) -> int:
    """Add a rater who was never here; return their number in the room."""
    with room.database.write() as session:
        rater = Rater(study_id=room.study_id, pseudonym="new", invited_at=NOW)
        session.add(rater)
        session.flush()
        room.rater_ids.append(rater.id)
    return len(room.rater_ids) - 1


def about(room: Room, number: int) -> tuple[list[str], dict[str, str]]:
    with room.database.read() as session:
        consents = session.query(Consent).filter_by(rater_id=room.rater_ids[number])
        answers = session.query(Answer).filter_by(rater_id=room.rater_ids[number])
        return [one.text for one in consents], {one.question: one.answer for one in answers}


def test_consent_comes_first_and_is_stored_once(room: Room) -> None:
    number = new_rater(room)
    assert (room.place(number).step, room.start(number).step) == ("about", "about")
    given = {"training": "student of music", "instrument": " <i>viola</i> ", "headphones": ""}
    assert room.call(number, listening.about, given).step == "ready"
    kept = ([CONSENT], {"training": "student of music", "instrument": "<i>viola</i>"})
    assert about(room, number) == kept
    assert room.call(number, listening.about, {"training": "none"}).step == "ready"
    assert about(room, number) == kept
    assert len({question.key for question in QUESTIONS}) == len(QUESTIONS) == 3


@pytest.mark.parametrize(
    "given", [{"age": "30"}, {"training": "genius"}, {"instrument": "a" * 201}, {"instrument": "\udc00"}]
)
def test_other_answers_are_refused(room: Room, given: dict[str, str]) -> None:
    number = new_rater(room)
    with pytest.raises(RatingError):
        room.call(number, listening.about, given)
    assert (about(room, number), room.place(number).step) == (([], {}), "about")


# Replies


@pytest.mark.parametrize(
    ("played", "heard_s"),
    [
        ([], 0.0),
        ([[0, 10.4]], 10.4),
        ([[0, 4.5], [4.5, 6]], 6.0),
        ([[0, 5], [0, 5]], 5.0),  # half a clip twice is half a clip
        ([[0, 4], [3, 10.5]], 10.5),
        ([[6, 8], [0, 2], [1, 7]], 8.0),
        ([[0, 8], [2, 3]], 8.0),
    ],
)
def test_what_was_played_twice_was_heard_once(played: list[list[float]], heard_s: float) -> None:
    reply = Reply({"musical_impression": 5, "textual_alignment": 1}, "🎵" * MAX_COMMENT_LENGTH, played)
    check_reply(reply, MUSICEVAL, DURATION_S)
    assert reply.heard_s == pytest.approx(heard_s)


@pytest.mark.parametrize("score", [0, 6, -1, 10**400, None])
def test_scores_out_of_range_are_refused(score: Any) -> None:
    with pytest.raises(RatingError, match="Musical impression must be a whole number from 1 to 5"):
        check_reply(said(score, 3), MUSICEVAL, DURATION_S)
    with pytest.raises(RatingError, match="Textual alignment must be a whole number from 1 to 5"):
        check_reply(said(3, score), MUSICEVAL, DURATION_S)


def test_every_scale_has_a_score_and_nothing_else(room: Room) -> None:
    for scores in ({}, {"musical_impression": 3}, {**GOOD.scores, "beauty": 3}):
        with pytest.raises(RatingError):
            check_reply(Reply(scores), MUSICEVAL, DURATION_S)


@pytest.mark.parametrize("comment", ["a" * (MAX_COMMENT_LENGTH + 1), "half \ud83c"])
def test_comments_that_cannot_be_stored_are_refused(comment: str) -> None:
    with pytest.raises(RatingError, match="The comment"):
        check_reply(Reply(GOOD.scores, comment), MUSICEVAL, DURATION_S)


@pytest.mark.parametrize(
    "played",
    [
        [[2, 1]], [[-0.1, 1]], [[0, 11.1]], [[0, math.nan]], [[math.nan, 1]], [[0, math.inf]], [[0, 10**400]],
        [[0, 1]] * 1001,
    ],
)  # fmt: skip
def test_stretches_that_cannot_be_are_refused(played: list[list[float]]) -> None:
    with pytest.raises(RatingError, match="played"):
        check_reply(Reply(GOOD.scores, "", played), MUSICEVAL, DURATION_S)


def test_what_was_said_is_stored(room: Room) -> None:
    here = room.start(0)
    shown_at = room.at
    room.wait(seconds=3)
    token = heard(room, 0, here)
    reply = Reply({"musical_impression": 2, "textual_alignment": 5}, "<b>", [[0.0, 4.0], [3.0, 10.5]])
    room.call(0, listening.submit, token, reply)
    with room.database.read() as session:
        stored = session.query(Response).one()
        assert (stored.scores, stored.comment) == (reply.scores, "<b>")
        assert (stored.played, stored.heard_s) == ([[0.0, 4.0], [3.0, 10.5]], 10.5)
        assert stored.trial.shown_at == shown_at
        assert (stored.given_at - shown_at).total_seconds() == 3 + DURATION_S


def test_bad_replies_store_nothing(room: Room) -> None:
    token = heard(room, 0, room.start(0))
    for reply in (said(0, 3), Reply(GOOD.scores, "", [[0, 1e9]])):
        with pytest.raises(RatingError):
            room.call(0, listening.submit, token, reply)
    assert responses(room) == 0
    assert room.call(0, listening.submit, token, GOOD).outcome == "saved"


# The way through


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
        assert submitted.feedback == (TOLD if now.practice else None)
        here = submitted.place
        if here.step == "ready":
            assert (here.batches_done, here.clips_rated, here.practice_next) == (0, 0, False)
            assert room.place(0).estimate_s == 7 * (DURATION_S + 5)
            here = room.start(0)
    assert steps == [(True, 1, 2), (True, 2, 2)] + [(False, place, 7) for place in range(1, 8)]
    assert here == RaterStep("done", None, batches_done=1, clips_rated=7, message="complete")
    assert [room.batch(0, number).state for number in (0, 1)] == ["valid", "valid"]
    assert room.start(0) == room.place(0) == here


def test_asking_hands_nothing_out(room: Room) -> None:
    assert [room.place(0).step for _ in range(3)] == ["ready"] * 3
    with room.database.read() as session:
        assert session.query(Batch).count() == 0


def test_the_same_place_again_on_any_device(room: Room) -> None:
    here = room.start(0)
    assert room.start(0) == room.place(0) == here
    second = room.rate(0, here).place
    room.wait(minutes=5)
    assert task(room.place(0)).token == task(second).token == task(here).next_token != task(here).token
    assert len(room.trials(0)) == 7


def test_what_a_device_is_told_names_nothing(room: Room) -> None:
    told = asdict(task(room.start(0)))
    assert set(told) == {
        "token", "prompt", "duration_s", "position", "count", "practice", "next_token", "time_left_s",
    }  # fmt: skip
    assert told["prompt"].startswith("Prompt ")
    tokens = [trial.token for trial in room.trials(0)]
    assert (len({*tokens}), {len(token) for token in tokens}) == (7, {32})


def test_every_answer_counts_alike(room: Room) -> None:
    """A count that left out anchors and duplicates would tell them."""
    here = room.start(0)
    for done in range(1, 7):
        here = room.rate(0, here).place
        assert (here.clips_rated, task(here).position, task(here).count) == (done, done + 1, 7)


def test_two_clicks_make_one_rating(room: Room) -> None:
    token = heard(room, 0, room.start(0))
    first = room.call(0, listening.submit, token, GOOD)
    again = room.call(0, listening.submit, token, said(1, 1))
    assert (first.outcome, again.outcome, responses(room)) == ("saved", "already", 1)
    assert again.place == first.place
    with room.database.read() as session:
        assert session.query(Response).one().scores == GOOD.scores


def test_the_last_answer_of_a_batch_can_be_sent_again(room: Room) -> None:
    room.rate_batch(0)
    again = room.call(0, listening.submit, room.trials(0)[-1].token, GOOD)
    assert (again.outcome, again.place.step, responses(room)) == ("already", "ready", 7)


def test_practice_explains_again(database: Database) -> None:
    room = Room.build(database, training=1)
    token = heard(room, 0, room.start(0))
    for outcome in ("saved", "already"):
        submitted = room.call(0, listening.submit, token, GOOD)
        assert (submitted.outcome, submitted.feedback) == (outcome, TOLD)


def test_a_clip_must_have_had_the_time_to_be_heard(room: Room) -> None:
    token = task(room.start(0)).token
    room.wait(minutes=1)
    with pytest.raises(RatingError, match="not played yet"):
        room.call(0, listening.submit, token, GOOD)
    room.call(0, listening.serve, token)
    room.wait(seconds=DURATION_S - 0.01)
    with pytest.raises(RatingError, match="cannot have been heard"):
        room.call(0, listening.submit, token, GOOD)
    room.wait(seconds=0.01)
    assert room.call(0, listening.submit, token, GOOD).outcome == "saved"


def test_a_clip_fetched_ahead_still_takes_its_time(room: Room) -> None:
    here = room.start(0)
    ahead = task(here).next_token
    room.call(0, listening.serve, ahead)
    assert task(room.rate(0, here).place).token == ahead
    with pytest.raises(RatingError, match="cannot have been heard"):
        room.call(0, listening.submit, ahead, GOOD)
    room.wait(seconds=DURATION_S)
    assert room.call(0, listening.submit, ahead, GOOD).outcome == "saved"


def test_no_trial_is_skipped(room: Room) -> None:
    ahead = task(room.start(0)).next_token
    room.call(0, listening.serve, ahead)
    room.wait(minutes=1)
    for action, given in ACTIONS[1:]:
        with pytest.raises(RatingError, match="Another clip comes before"):
            room.call(0, action, ahead, *given)
    assert responses(room) == 0


# Whose is a token


def refused(room: Room, number: int, token: str, actions: Any = ACTIONS) -> None:
    for action, given in actions:
        with pytest.raises(AccessError) as error:
            room.call(number, action, token, *given)
        assert str(error.value) == "This clip is not open for you. Reload the page."


def test_only_the_current_clip_and_the_next_are_sent(room: Room) -> None:
    room.start(0)
    trials = room.trials(0)
    for trial in trials[:2]:
        assert room.call(0, listening.serve, trial.token).startswith("room-")
    for trial in trials[2:]:
        refused(room, 0, trial.token, ACTIONS[:1])
    assert [trial.served_at is not None for trial in room.trials(0)] == [True] * 2 + [False] * 5


@pytest.mark.parametrize("token", ["", "x", "../../etc/passwd", "a/b", "\ud800", "é" * 32, "\x00"])
def test_made_up_tokens_are_refused(room: Room, token: str) -> None:
    room.start(0)
    refused(room, 0, token)
    assert responses(room) == 0


def test_tokens_are_of_one_rater_one_answer_and_one_batch(room: Room) -> None:
    here = room.start(0)
    token = heard(room, 0, here)
    room.start(1)
    refused(room, 1, token)
    assert responses(room) == 0
    later = task(room.rate(0, here).place).token
    refused(room, 0, token, ACTIONS[:1])  # a rated clip is not sent again
    with room.database.write() as session:
        batch = session.get_one(Batch, room.batch(0).id)
        exclusions.exclude(session, batch, "A test.", "someone", room.at)
    refused(room, 0, later)
    assert (responses(room), room.place(0).step) == (1, "ready")


# Clips that do not play


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
    assert [trial.role for trial in room.trials(0) if trial.state == "released"] == [role]
    with database.read() as session:
        assert [(one.trial_id, one.comment) for one in session.query(Problem)] == [(now.id, "no sound")]
    if here.step == "task":
        assert room.call(0, listening.problem, now.token, "again") == here
        assert room.call(0, listening.submit, now.token, GOOD).outcome == "released"
        assert task(here).count == before - 1
    while here.step == "task":
        here = room.rate(0, here).place
    assert (here.step, here.message) == ("done", "complete")  # it never comes back to whoever reported it
    assert responses(room) == 6


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


@pytest.mark.parametrize("seed", range(6))
def test_a_report_on_a_second_presentation_stays_as_it_was_given(database: Database, seed: int) -> None:
    """Not even the reported trial itself becomes one of another clip, and the database would refuse it."""
    room = Room.build(database, clips=20, raters=1, batch_size=8, duplicate_distance=1, name=f"room-{seed}")
    with database.write() as session:
        session.get_one(Study, room.study_id).seed = seed
    here = room.start(0)
    second = next(trial for trial in room.trials(0) if trial.role == "duplicate")
    while task(here).token != second.token:
        here = room.rate(0, here).place
    before = [(trial.clip_id, trial.role) for trial in room.trials(0)]
    room.call(0, listening.problem, second.token, "never fetched")
    assert [(trial.clip_id, trial.role) for trial in room.trials(0)] == before
    with pytest.raises(IntegrityError, match="stay as they are"), database.write() as session:
        session.execute(update(Trial).where(Trial.token == second.token).values(clip_id=1))


def test_a_reported_clip_goes_to_others(database: Database) -> None:
    room = Room.build(database, clips=1, raters_per_clip=1, batch_size=1)
    token = task(room.start(0)).token  # never sent
    gone = room.call(0, listening.problem, token, "")
    assert gone == RaterStep("done", None, batches_done=1, message="complete")
    assert room.start(0).step == "done"
    assert room.rate_batch(1).message == room.place(0).message == "complete"


def test_practice_can_be_reported_too(database: Database) -> None:
    room = Room.build(database, training=1)
    here = room.call(0, listening.problem, task(room.start(0)).token, "")
    assert (here.step, here.practice_next) == ("ready", False)


# When there is nothing, and how long it takes


def test_a_study_that_is_not_ready_says_so_without_naming_roles(database: Database) -> None:
    for name, lacking in (("empty", {"clips": 0}), ("unchecked", {"anchors": 1})):
        room = Room.build(database, name=name, **lacking)
        with pytest.raises(StudyError) as error:
            room.start(0)
        assert str(error.value) == ("This listening test is not ready yet. Whoever runs it can see in its status why.")
        assert room.place(0).message == ("wait" if name == "empty" else "")


def test_waiting_for_what_others_hold(database: Database) -> None:
    room = Room.build(database, clips=4, raters=3, raters_per_clip=1)
    room.start(0)
    assert room.place(1).message == room.start(1).message == "wait"
    room.rate_batch(0)
    assert room.place(1).message == "complete"


def test_the_time_left_is_the_raters_own(room: Room) -> None:
    here = room.start(0)
    assert task(here).time_left_s == 7 * (DURATION_S + DEFAULT_OVERHEAD_S)
    for overhead_s in (40, 2, 20):
        token = heard(room, 0, here)
        room.wait(seconds=overhead_s)
        here = room.call(0, listening.submit, token, GOOD).place
    assert task(here).time_left_s == 4 * (DURATION_S + 20)


def test_the_estimate_of_a_short_batch_is_its_own(database: Database) -> None:
    room = Room.build(database, clips=5, raters=1, batch_size=4, anchors=2)
    room.rate_batch(0)
    assert room.place(0).estimate_s == (1 + 1) * (DURATION_S + 5)  # one clip and one anchor
    assert task(room.start(0)).count == 2


def test_a_batch_takes_what_was_promised(database: Database) -> None:
    """Clips of any length, anchors too, full batches and the short last one."""
    room = Room.build(database, clips=9, training=2, raters=1, raters_per_clip=1)
    with database.write() as session:
        for number, clip in enumerate(session.scalars(select(Clip))):
            clip.duration_s = DURATION_S + 0.3 * number
    promised = []
    while (here := room.place(0)).step == "ready":
        promised.append(here.estimate_s)
        assert task(room.start(0)).time_left_s == pytest.approx(here.estimate_s)
        while (here := room.place(0)).task is not None:
            room.rate(0, here)
    assert len({*promised}) == len(promised) == 4


def test_how_many_batches_there_will_be(database: Database) -> None:
    """A rater's share of what is open, and never more than what is left for them."""
    room = Room.build(database, clips=10, raters=2, raters_per_clip=1, training=1)
    assert [room.place(number).batches_total for number in (0, 1)] == [2, 2]  # 10 ratings, 2 raters, batches of 4
    room.start(0)
    assert room.place(0).batches_total == 0  # practice
    room.rate_batch(0)
    here = room.start(0)
    assert (here.batches_done, here.batches_total, room.place(0).batches_total) == (0, 0, 2)  # it is not looked up
    assert room.rate(0, here).place.batches_total == 0
    room.rate_batch(0)
    assert (room.place(0).batches_done, room.place(0).batches_total) == (1, 2)
    alone = Room.build(database, clips=10, raters=1, name="alone")
    assert alone.place(0).batches_total == 3


def test_a_missing_file_is_noted_and_the_batch_goes_on(room: Room) -> None:
    here = room.start(0)
    for _ in range(2):  # asked for twice
        room.call(0, listening.lose, task(here).token, MISSING)
    after = task(room.place(0))
    assert (after.token != task(here).token, after.count) == (True, task(here).count - 1)
    with room.database.read() as session:
        (noted,) = session.query(Problem)
        assert noted.comment == MISSING


def test_the_hash_of_a_file_is_noted_where_there_is_none(room: Room) -> None:
    """As in a study that was ingested before clips had one."""
    token = task(room.start(0)).token

    def serve(session: Any, rater: Rater, sha256: str, at: Any) -> None:
        listening.serve(session, rater, token, at, sha256)

    for sha256 in ("of the first", "of another"):
        room.call(0, serve, sha256)
        with room.database.read() as session:
            clips = session.query(Clip.wav_sha256, Trial.token).join(Trial).filter(Clip.wav_sha256.is_not(None))
            assert clips.all() == [("of the first", token)]


def test_an_answer_costs_few_statements(room: Room) -> None:
    here = room.rate(0, room.start(0)).place
    token = heard(room, 0, here)
    with room.database.write() as session:
        rater = session.get_one(Rater, room.rater_ids[0])
        sent: Counter[str] = Counter()
        event.listen(
            session.connection().engine,
            "before_cursor_execute",
            lambda _connection, _cursor, statement, *_: sent.update([statement.split()[0]]),
        )
        listening.submit(session, rater, token, GOOD, room.at)
    assert sent == {"SELECT": 3, "INSERT": 2, "UPDATE": 3}
