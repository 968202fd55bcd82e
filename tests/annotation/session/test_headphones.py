"""The headphone check: once or until it is passed, and nothing of it where a study has none."""

from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import select

from annotation.database import Database
from annotation.export import export
from annotation.protocol import Protocol
from annotation.schema import HeadphoneCheck
from annotation.session import listening
from annotation.session.headphones import MOST_CHECKS, due
from annotation.studies import find_rater, find_study
from core.errors import RatingError, StudyError
from tests.annotation.rooms import Room


def asked(room: Room, *corrects: int) -> list[str]:
    """Whether the first rater is to be checked, before and after each result."""
    found = [room.place(0).headphones]
    for correct in corrects:
        found.append(room.call(0, listening.check_headphones, correct).headphones)
    return found


@pytest.mark.parametrize(
    ("mode", "corrects", "expected"),
    [
        ("off", (6,), ["", ""]),
        ("optional", (0,), ["optional", ""]),
        ("required", (0, 4, 5), ["required", "required", "required", ""]),
    ],
)
def test_when_raters_are_checked(database: Database, mode: str, corrects: tuple[int, ...], expected: list[str]) -> None:
    room = Room.build(database, headphones=mode)
    assert asked(room, *corrects) == expected
    with database.read() as session:
        stored = session.scalars(select(HeadphoneCheck.correct)).all()
    assert stored == ([] if mode == "off" else [*corrects])


def check(room: Room, correct: int) -> None:
    with room.database.write() as session:
        rater = find_rater(session, room.study(session), "R01")
        listening.check_headphones(session, rater, correct, room.at)


def test_no_batch_begins_before_a_check_that_is_required(database: Database) -> None:
    room = Room.build(database, headphones="required")
    assert room.start(0).step == "ready"
    check(room, 4)
    assert room.start(0).step == "ready"
    check(room, 6)
    assert room.start(0).step == "task"


def test_what_cannot_be_is_refused_and_no_more_is_stored_than_can_be_meant(database: Database) -> None:
    room = Room.build(database, headphones="required")
    for wrong in (-1, 7):
        with pytest.raises(RatingError):
            check(room, wrong)
    with pytest.raises(StudyError, match="optional"):
        Protocol(headphones="always")
    for _ in range(MOST_CHECKS + 2):
        check(room, 0)
    with database.read() as session:
        assert len(session.scalars(select(HeadphoneCheck.id)).all()) == MOST_CHECKS
        assert due(session, find_rater(session, room.study(session), "R01")) == "required"


def test_results_are_exported(database: Database, tmp_path: Path) -> None:
    room = Room.build(database, headphones="optional")
    asked(room, 5)
    with database.read() as session:
        name = find_study(session, "room").name
    export(database, tmp_path, name, tmp_path / "out", room.at)
    table = pd.read_csv(tmp_path / "out" / "headphones.csv")
    assert table[["rater", "correct", "trials", "passed"]].values.tolist() == [["R01", 5, 6, True]]
