"""The life of a study: which states follow each other, and what raters may do in each."""

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from annotation import life, studies
from annotation.database import Database
from annotation.results.progress import progress
from annotation.results.ratings import ratings_table
from annotation.schema import STUDY_STATES, Answer, Consent, Exclusion, Response
from annotation.session import listening
from core.errors import AccessError, StudyError
from tests.annotation.rooms import NOW, Room, deaf, only_sqlite, said
from tests.webapp.studies import rows


@pytest.fixture
def room(database: Database) -> Room:
    return Room.build(database)


def move(room: Room, *names: str) -> list[int]:
    with room.database.write() as session:
        return [life.move(session, room.study(session), name, room.at) for name in names]


def put(room: Room, state: str) -> None:
    with room.database.write() as session:
        room.study(session).state = state


def test_every_state_can_be_left_and_reached_but_a_draft() -> None:
    assert {move.to for move in life.MOVES.values()} == {*STUDY_STATES} - {"draft"}
    assert {state: life.moves_from(state) for state in STUDY_STATES} == {
        "draft": ["open", "archive"],
        "open": ["pause", "close"],
        "paused": ["open", "close"],
        "closed": ["open", "archive"],
        "archived": ["unarchive"],
    }


@pytest.mark.parametrize("state", STUDY_STATES)
def test_no_other_move_is_made(room: Room, state: str) -> None:
    put(room, state)
    for name in life.MOVES.keys() - {*life.moves_from(state)}:
        with pytest.raises(StudyError, match=f"is {state}, so it cannot be"):
            move(room, name)
    assert rows(room.database)["events"] == 0


def test_a_study_opens_only_with_clips_and_anchors(database: Database) -> None:
    for number, (given, lacking) in enumerate(
        (({"clips": 0}, "no clips to rate"), ({"anchors": 1}, "needs 2 anchors and there are 1. Add 1"))
    ):
        room = Room.build(database, name=f"room-{number}", **given)
        put(room, "draft")
        with pytest.raises(StudyError, match=lacking):
            move(room, "open")


@pytest.mark.parametrize(
    ("state", "message"), [("draft", "draft"), ("paused", "paused"), ("closed", "closed"), ("archived", "closed")]
)
def test_who_comes_to_a_study_that_is_not_open_is_told_so_and_stores_nothing(
    room: Room, state: str, message: str
) -> None:
    task = room.start(0).task
    assert task is not None
    room.call(0, listening.serve, task.token)
    room.wait(seconds=60)
    put(room, state)
    with room.database.write() as session:
        session.query(Consent).filter_by(rater_id=room.rater_ids[2]).delete()
    before = rows(room.database)
    told = listening.RaterStep("done", message=message)
    assert [room.place(number) for number in range(3)] == [told] * 3
    assert [room.start(number) for number in range(3)] == [told] * 3
    assert room.call(2, listening.about, {}) == told
    for action, given in ((listening.clip_to_send, ()), (listening.serve, ())):
        with pytest.raises(AccessError):
            room.call(0, action, task.token, *given)
    done = room.call(0, listening.submit, task.token, said(3, 3))
    assert (done.outcome, done.place) == ("released", told)
    assert room.call(0, listening.problem, task.token, "It does not play.") == told
    assert rows(room.database) == before


def test_after_a_pause_a_rater_goes_on_where_they_were(room: Room) -> None:
    room.rate_batch(0, trials=2)
    task = room.place(0).task
    assert move(room, "pause", "open") == [0, 0]
    assert room.place(0).task == task


def test_closing_ends_batches_by_their_checks_so_far(room: Room) -> None:
    """One that passed counts, one that failed an anchor does not; who comes back begins another."""
    room.answers[1] = deaf
    for number in range(2):
        room.rate_batch(number, trials=6)
    assert move(room, "close") == [2]
    assert [room.batch(number).state for number in range(2)] == ["valid", "excluded"]
    assert room.place(0) == listening.RaterStep("done", batches_done=1, clips_rated=6, message="closed")
    move(room, "open")
    assert room.start(0).step == "task"
    assert room.batch(0, 2).state == "open"


def test_every_move_is_logged(room: Room) -> None:
    with room.database.write() as session:
        life.move(session, room.study(session), "pause", NOW, " Holidays. ")
    with room.database.read() as session:
        (event,) = life.log(session, room.study(session))
        assert (event.action, event.reason, event.author, event.at) == ("pause", "Holidays.", "administrator", NOW)
        assert event.details == {"before": "open", "after": "paused"}


def test_texts_are_plain_bounded_and_logged(room: Room) -> None:
    with room.database.write() as session:
        study = room.study(session)
        life.describe(session, study, {"title": " Autumn ", "consent": "One.\r\n\r\nTwo."}, NOW)
        life.describe(session, study, {"title": "Autumn"}, NOW)
        assert (study.title, study.consent) == ("Autumn", "One.\n\nTwo.")
        assert len(life.log(session, study)) == 1
        for text, refused in (({"title": "x" * 121}, "has 121 characters"), ({"contact": "a\x00b"}, "are no text")):
            with pytest.raises(StudyError, match=refused):
                life.describe(session, study, text, NOW)
        study.state = "archived"
        with pytest.raises(StudyError, match="is archived"):
            life.describe(session, study, {"title": "Winter"}, NOW)


def test_a_rater_agrees_to_the_text_of_the_study(room: Room) -> None:
    with room.database.write() as session:
        life.describe(session, room.study(session), {"consent": "Only here."}, NOW)
        session.query(Consent).filter_by(rater_id=room.rater_ids[0]).delete()
    room.call(0, listening.about, {})
    with room.database.read() as session:
        assert session.query(Consent).filter_by(rater_id=room.rater_ids[0]).one().text == "Only here."


def test_deleting_one_study_with_its_answers_leaves_the_others(room: Room, database: Database) -> None:
    other = Room.build(database, name="other")
    for one in (room, other):
        one.answers[1] = deaf
        for number in range(2):
            one.rate_batch(number)
    before = rows(database)
    move(room, "close", "archive")
    with database.write() as session:
        life.delete(session, room.study(session), with_answers=True)
    after = rows(database)
    assert after["studies"] == 1
    assert {name: count for name, count in after.items() if name not in ("clock", "studies", "events")} == {
        name: count // 2 for name, count in before.items() if name not in ("clock", "studies", "events")
    }
    with database.read() as session:
        assert session.query(Exclusion).count() == 1


@pytest.mark.parametrize("drop", [False, True])
def test_who_withdraws_is_signed_out_and_their_ratings_are_kept_or_left_out(room: Room, drop: bool) -> None:
    room.rate_batch(0)
    room.rate_batch(0, trials=2)
    with room.database.write() as session:
        study = room.study(session)
        (code,) = (code for _, code in studies.invite(session, study, 1, NOW, True, ["Ada, cello"]))
        visit = studies.enter(session, code, NOW)
        life.withdraw(session, study, "R04", NOW)
        life.withdraw(session, study, "R01", room.at, drop)
        with pytest.raises(StudyError, match="has withdrawn already"):
            life.withdraw(session, study, "R01", room.at)
        with pytest.raises(StudyError, match="has withdrawn, and gets no code"):
            studies.renew(session, study, "R04", NOW)
        with pytest.raises(AccessError):
            studies.authorise(session, visit, NOW)
        with pytest.raises(AccessError):
            studies.enter(session, code, NOW)
        so_far = progress(session, study, room.at)
        assert (so_far.raters, so_far.ratings_valid) == (2, 0 if drop else 4)
    assert room.batch(0, 2).state != "open"


def test_notes_are_for_whoever_runs_the_study(room: Room) -> None:
    with room.database.write() as session:
        study = room.study(session)
        studies.invite(session, study, 2, NOW, True, [" Ada "])
        assert [studies.find_rater(session, study, name).note for name in ("R04", "R05")] == ["Ada", ""]
        with pytest.raises(StudyError, match="a note of at most"):
            studies.invite(session, study, 1, NOW, True, ["a", "b"])


def test_personal_answers_are_erased_and_ratings_stay(database: Database) -> None:
    room = Room.build(database)
    room.rate_batch(0, 3)
    with database.write() as session:
        study = room.study(session)
        rater = studies.find_rater(session, study, "R01")
        rater.note, rater.external = "Ann", {"parameters": {"PID": "secret"}}
        session.add(Answer(rater_id=rater.id, question="instrument", answer="harp", given_at=NOW))
    before, ratings = rows(database), table_of(database, room)
    with database.write() as session:
        study = room.study(session)
        study.state = "archived"
        done = life.erase(session, study, "R01", NOW, comments=True, reason="asked for it")
        rater = studies.find_rater(session, study, "R01")
        assert (rater.note, rater.external) == ("", {"parameters": {}})
        assert session.scalars(select(Response.comment).where(Response.comment != "")).all() == []
        (event, *_) = life.log(session, study)
        assert (event.action, event.about, event.reason, event.details) == ("erase", "R01", "asked for it", done)
    assert done["answers"] >= 1
    assert (done["notes"], done["parameters"]) == (1, 1)
    after = rows(database)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"answers", "events"}
    assert table_of(database, room).drop(columns="comment").equals(ratings.drop(columns="comment"))
    with database.read() as session:
        assert session.scalars(select(Answer)).all() == []


@only_sqlite  # PostgreSQL's own cleaning, VACUUM, comes later
def test_what_was_erased_is_not_in_the_file(database: Database, tmp_path: Path) -> None:
    room = Room.build(database)
    with database.write() as session:
        rater = studies.find_rater(session, room.study(session), "R01")
        session.add(Answer(rater_id=rater.id, question="instrument", answer="a nyckelharpa", given_at=NOW))
        rater.note = "Ann Nyckel"
    assert b"yckel" in whole_files(tmp_path)
    with database.write() as session:
        life.erase(session, room.study(session), "R01", NOW)
    database.close()  # the write-ahead log goes into the file
    assert b"yckel" not in whole_files(tmp_path)


def test_an_error_of_the_database_says_nothing_of_raters(database: Database) -> None:
    with pytest.raises(IntegrityError) as failed, database.write() as session:
        session.add(Answer(rater_id=None, question="instrument", answer="a nyckelharpa", given_at=NOW))
    assert "yckel" not in str(failed.value)


def whole_files(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("musiceval.sqlite*"))


def table_of(database: Database, room: Room) -> pd.DataFrame:
    with database.read() as session:
        return ratings_table(session, room.study(session))


@pytest.mark.parametrize("change", ["comment = 'other'", "comment = '', heard_s = 1", "played = '[]', comment = ''"])
def test_a_comment_can_be_erased_and_nothing_else_changed(database: Database, change: str) -> None:
    room = Room.build(database)
    room.rate_batch(0, 3)
    with pytest.raises(IntegrityError, match="append-only"), database.write() as session:
        session.execute(text(f"UPDATE responses SET {change}"))
