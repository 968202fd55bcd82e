"""Consent and answers: once, within the options, or refused."""

import pytest

from annotation.database import Database
from annotation.schema import Answer, Consent, Rater
from annotation.session import listening
from annotation.session.questionnaire import CONSENT, QUESTIONS
from core.errors import RatingError
from tests.annotation.rooms import NOW, Room


@pytest.fixture
def room(database: Database) -> Room:
    room = Room.build(database, raters=1)
    with database.write() as session:
        rater = Rater(study_id=room.study_id, pseudonym="new", invited_at=NOW)
        session.add(rater)
        session.flush()
        room.rater_ids = [rater.id]
    return room


def stored(room: Room) -> tuple[list[str], dict[str, str]]:
    with room.database.read() as session:
        consents = session.query(Consent).filter_by(rater_id=room.rater_ids[0])
        answers = session.query(Answer).filter_by(rater_id=room.rater_ids[0])
        return [one.text for one in consents], {one.question: one.answer for one in answers}


def test_it_comes_first_and_is_stored_once(room: Room) -> None:
    assert (room.place(0).step, room.start(0).step) == ("about", "about")
    said = {"training": "student of music", "instrument": " <i>viola</i> ", "headphones": ""}
    assert room.call(0, listening.about, said).step == "ready"
    kept = ([CONSENT], {"training": "student of music", "instrument": "<i>viola</i>"})
    assert stored(room) == kept
    assert room.call(0, listening.about, {"training": "none"}).step == "ready"
    assert stored(room) == kept


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        "x",
        {"age": "30"},
        {3: "x"},
        {"training": "genius"},
        {"training": 3},
        {"instrument": "a" * 201},
        {"instrument": "\udc00"},
    ],
)
def test_other_answers_are_refused(room: Room, said: object) -> None:
    with pytest.raises(RatingError):
        room.call(0, listening.about, said)
    assert stored(room) == ([], {})
    assert room.place(0).step == "about"


def test_every_question_is_asked_once() -> None:
    assert len({question.key for question in QUESTIONS}) == len(QUESTIONS) == 3
