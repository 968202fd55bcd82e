"""Codes and visits: hashes only, misspellings forgiven, everyone else refused."""

import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import text

from annotation import access
from annotation.database import Database
from annotation.schema import Rater, Visit
from core.errors import AccessError
from tests.annotation.rooms import NOW, Room

CODE = "K7QM-3TWX-9HRA"


@pytest.fixture
def room(database: Database) -> Room:
    room = Room.build(database)
    with database.write() as session:
        session.get_one(Rater, room.rater_ids[1]).code_sha256 = access.hash_code(CODE)
    return room


def test_a_code_is_long_and_easy_to_read() -> None:
    codes = {access.new_code() for _ in range(200)}
    assert len(codes) == 200
    for code in codes:
        assert [len(group) for group in code.split("-")] == [4, 4, 4]
        assert not set(code) & set("01OILU")
    assert access.CODE_BITS > 58


@pytest.mark.parametrize(
    "typed", ["k7qm3twx9hra", " K7QM 3TWX 9HRA\n", "k7qm–3twx–9hra", "Ｋ７ＱＭ-3TWX-9HRA"]
)
def test_typing_is_forgiven(typed: str) -> None:
    assert access.hash_code(typed) == access.hash_code(CODE) == hashlib.sha256(b"K7QM3TWX9HRA").hexdigest()


def test_a_code_opens_a_visit_of_its_rater(room: Room) -> None:
    with room.database.write() as session:
        visits = [access.enter(session, CODE, NOW) for _ in range(2)]
    assert len(set(visits)) == 2
    for visit in visits:
        with room.database.read() as session:
            rater = access.authorise(session, visit)
            assert (rater.id, rater.study.name) == (room.rater_ids[1], "room")


def test_leaving_ends_one_visit(room: Room) -> None:
    with room.database.write() as session:
        here, there = (access.enter(session, CODE, NOW) for _ in range(2))
        access.leave(session, here, NOW + timedelta(minutes=1))
        access.leave(session, here, NOW + timedelta(minutes=2))
        access.leave(session, "nobody's", NOW)
    with room.database.read() as session:
        assert access.authorise(session, there).id == room.rater_ids[1]
        with pytest.raises(AccessError):
            access.authorise(session, here)
        assert {visit.ended_at for visit in session.query(Visit)} == {None, NOW + timedelta(minutes=1)}


@pytest.mark.parametrize("token", [None, "", "x", "é", "\ud800", "' OR 1=1 --", "K7QM-3TWX-9HRA"])
def test_whoever_is_not_signed_in_is_refused_alike(room: Room, token: str | None) -> None:
    with room.database.read() as session, pytest.raises(AccessError) as refused:
        access.authorise(session, token)
    assert str(refused.value) == "You are not signed in. Enter your access code."


@pytest.mark.parametrize("code", ["", "-", "K7QM-3TWX-9HRB", "\ud800", "%", "K7QM" * 10_000])
def test_other_codes_are_refused_alike(room: Room, code: str) -> None:
    with room.database.write() as session, pytest.raises(AccessError) as refused:
        access.enter(session, code, NOW)
    assert str(refused.value) == "This code is not known. Check it for typing mistakes."
    with room.database.read() as session:
        assert session.query(Visit).count() == 0


def test_only_hashes_are_stored(room: Room) -> None:
    with room.database.write() as session:
        visit = access.enter(session, CODE, NOW)
        stored = [
            str(tuple(row))
            for table in ("raters", "visits")
            for row in session.execute(text(f"SELECT * FROM {table}"))
        ]
    assert not any(secret in row for row in stored for secret in (visit, CODE, CODE.replace("-", "")))
