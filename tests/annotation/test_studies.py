"""Studies by name, raters by pseudonym; codes and visits as hashes, misspellings forgiven, others refused."""

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from annotation import studies
from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Batch, Rater, Study, Visit
from core.errors import AccessError, StudyError
from core.scales import MUSICEVAL
from tests.annotation.rooms import NOW, Room

CODE = "K7QM-3TWX-9HRA"


@pytest.fixture
def study(database: Database) -> Study:
    with database.write() as session:
        return studies.create(session, "one", Protocol(batch_size=7, training=0), 3, NOW)


@pytest.fixture
def room(database: Database) -> Room:
    room = Room.build(database)
    with database.write() as session:
        session.get_one(Rater, room.rater_ids[1]).code_sha256 = studies.hash_code(CODE)
    return room


# Studies


def test_create(database: Database, study: Study) -> None:
    with database.read() as session:
        found = studies.find_study(session, "one")
        assert (found.id, found.demo, found.seed, found.created_at) == (study.id, False, 3, NOW)
        assert (found.protocol, found.scales) == (Protocol(batch_size=7, training=0), MUSICEVAL)


@pytest.mark.parametrize("name", ["", "One", "a b", "-a", "a/b", "..", "a" * 65, "é", "a\n"])
def test_names_that_are_none(database: Database, name: str) -> None:
    with pytest.raises(StudyError, match="cannot be the name of a study"), database.write() as session:
        studies.create(session, name, Protocol(), 1, NOW)


@pytest.mark.parametrize("seed", [-1, 2**31])
def test_seeds_that_are_none(database: Database, seed: int) -> None:
    with pytest.raises(StudyError, match="must be a whole number from 0"), database.write() as session:
        studies.create(session, "one", Protocol(training=0), seed, NOW)


def test_a_name_is_taken_once(database: Database, study: Study) -> None:
    with pytest.raises(StudyError, match="There is a study 'one' already"), database.write() as session:
        studies.create(session, "one", Protocol(training=0), 1, NOW)


def test_folders(study: Study) -> None:
    data = Path("data")
    assert studies.study_folder(data, study) == data / "studies" / "one"
    assert studies.clip_path(data, study, "ab12") == data / "studies" / "one" / "clips" / "ab12.wav"


def test_what_is_unknown_is_answered_with_what_is_known(database: Database) -> None:
    with database.write() as session:
        with pytest.raises(StudyError, match="There is no study yet: create one"):
            studies.find_study(session, "two")
        study, _ = (studies.create(session, name, Protocol(training=0), 1, NOW) for name in ("b", "a"))
        with pytest.raises(StudyError, match=r'There is no study "two". The studies are a, b.'):
            studies.find_study(session, "two")
        with pytest.raises(StudyError, match=r'has no rater "R01". Nobody is invited yet.'):
            studies.find_rater(session, study, "R01")
        studies.invite(session, study, 2, NOW)
        with pytest.raises(StudyError, match=r'has no rater "R9". Its raters are R01, R02.'):
            studies.renew(session, study, "R9", NOW)
        rater = studies.find_rater(session, study, "R02")
        with pytest.raises(StudyError, match=r"R02 has no batch 1. There is none yet."):
            studies.find_batch(session, rater, 1)
        at = {"opened_at": NOW, "lease_until": NOW}
        batch = Batch(study_id=study.id, rater=rater, number=1, state="open", short=False, **at)
        session.add(batch)
        assert studies.find_batch(session, rater, 1) is batch
        with pytest.raises(StudyError, match=r"R02 has no batch 2. The batches are 1."):
            studies.find_batch(session, rater, 2)


# Raters


def test_invite_numbers_on(database: Database, study: Study) -> None:
    with database.write() as session:
        invited = studies.invite(session, study, 2, NOW) + studies.invite(session, study, 1, NOW)
    assert [pseudonym for pseudonym, _ in invited] == ["R01", "R02", "R03"]
    assert len({code for _, code in invited}) == 3
    with database.write() as session:
        for pseudonym, code in invited:
            visit = studies.enter(session, code, NOW)
            assert studies.authorise(session, visit, NOW).pseudonym == pseudonym
        stored = {rater.code_sha256 for rater in session.query(Rater)}
    assert stored == {studies.hash_code(code) for _, code in invited}


@pytest.mark.parametrize("count", [0, -1, studies.MOST_RATERS + 1])
def test_invite_refuses(database: Database, study: Study, count: int) -> None:
    with pytest.raises(StudyError, match="invite 1 to 1000 at a time"), database.write() as session:
        studies.invite(session, study, count, NOW)


def test_a_new_code_ends_the_old_one(database: Database, study: Study) -> None:
    later = NOW + timedelta(days=1)
    with database.write() as session:
        (_, old), (_, other) = studies.invite(session, study, 2, NOW)
        visits = [studies.enter(session, code, NOW) for code in (old, other)]
        new = studies.renew(session, study, "R01", later)
    with database.write() as session:
        assert studies.authorise(session, studies.enter(session, new, later), later).pseudonym == "R01"
        assert studies.authorise(session, visits[1], later).pseudonym == "R02"
        with pytest.raises(AccessError):
            studies.authorise(session, visits[0], later)
        with pytest.raises(AccessError):
            studies.enter(session, old, later)
        assert session.query(Visit).order_by(Visit.id).first().ended_at == later


# Codes and visits


def test_a_code_is_long_and_easy_to_read() -> None:
    codes = {studies.new_code() for _ in range(200)}
    assert len(codes) == 200
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4, 4, 4]
        assert not set(code) & set("01OILU")
    assert studies.CODE_BITS > 58


@pytest.mark.parametrize("typed", ["k7qm3twx9hra", " K7QM 3TWX 9HRA\n", "k7qm–3twx–9hra", "Ｋ７ＱＭ-3TWX-9HRA"])
def test_typing_is_forgiven(typed: str) -> None:
    assert studies.hash_code(typed) == studies.hash_code(CODE) == hashlib.sha256(b"K7QM3TWX9HRA").hexdigest()


def test_a_code_opens_visits_of_its_rater_and_leaving_ends_one(room: Room) -> None:
    with room.database.write() as session:
        here, there = (studies.enter(session, CODE, NOW) for _ in range(2))
        assert here != there
        for visit in (here, there):
            rater = studies.authorise(session, visit, NOW)
            assert (rater.id, rater.study.name) == (room.rater_ids[1], "room")
        studies.leave(session, here, NOW + timedelta(minutes=1))
        studies.leave(session, here, NOW + timedelta(minutes=2))
        studies.leave(session, "nobody's", NOW)
    with room.database.read() as session:
        assert studies.authorise(session, there, NOW).id == room.rater_ids[1]
        with pytest.raises(AccessError):
            studies.authorise(session, here, NOW)
        assert {visit.ended_at for visit in session.query(Visit)} == {None, NOW + timedelta(minutes=1)}


def test_a_visit_ends_after_a_while(room: Room) -> None:
    with room.database.write() as session:
        visit = studies.enter(session, CODE, NOW)
        last = NOW + timedelta(days=studies.VISIT_DAYS)
        assert studies.authorise(session, visit, last - timedelta(seconds=1)).id == room.rater_ids[1]
        with pytest.raises(AccessError):
            studies.authorise(session, visit, last)
        assert studies.authorise(session, studies.enter(session, CODE, last), last).id == room.rater_ids[1]


def test_a_rater_has_only_so_many_visits(room: Room) -> None:
    """Whoever enters a code again and again signs the oldest devices out, and no other rater's."""
    with room.database.write() as session:
        other = studies.open_visit(session, session.get_one(Rater, room.rater_ids[0]), NOW)
        visits = [studies.enter(session, CODE, NOW) for _ in range(studies.MOST_VISITS + 3)]
        for visit in visits[:3]:
            with pytest.raises(AccessError):
                studies.authorise(session, visit, NOW)
        for visit in visits[3:]:
            assert studies.authorise(session, visit, NOW).id == room.rater_ids[1]
        assert studies.authorise(session, other, NOW).id == room.rater_ids[0]
        assert session.query(Visit).count() == studies.MOST_VISITS + 1


@pytest.mark.parametrize("token", ["", "x", "é", "\ud800", "' OR 1=1 --", CODE])
def test_whoever_is_not_signed_in_is_refused_alike(room: Room, token: str) -> None:
    with room.database.read() as session, pytest.raises(AccessError) as refused:
        studies.authorise(session, token, NOW)
    assert str(refused.value) == "You are not signed in. Enter your access code."


@pytest.mark.parametrize("code", ["", "-", "K7QM-3TWX-9HRB", "\ud800", "%", "K7QM" * 10_000])
def test_other_codes_are_refused_alike(room: Room, code: str) -> None:
    with room.database.write() as session, pytest.raises(AccessError) as refused:
        studies.enter(session, code, NOW)
    assert str(refused.value) == "This code is not known. Check it for typing mistakes."
    with room.database.read() as session:
        assert session.query(Visit).count() == 0


def test_only_hashes_are_stored(room: Room) -> None:
    with room.database.write() as session:
        visit = studies.enter(session, CODE, NOW)
        stored = [
            str(tuple(row)) for table in ("raters", "visits") for row in session.execute(text(f"SELECT * FROM {table}"))
        ]
    assert not any(secret in row for row in stored for secret in (visit, CODE, CODE.replace("-", "")))
