"""Words of a study: questions of its own, other languages, and what raters read is kept with what they say."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import select

from annotation.database import Database
from annotation.export import export
from annotation.life import describe, log
from annotation.protocol import Protocol
from annotation.report.document import report
from annotation.schema import Answer, Consent, Study
from annotation.session import listening
from annotation.studies import create, find_rater, find_study, invite
from annotation.wording import QUESTIONS, as_text, questions_of
from core.errors import RatingError, StudyError
from tests.annotation.rooms import NOW

ASKED: list[dict[str, Any]] = [
    {"key": "years", "text": "Years of lessons?", "kind": "number", "needed": True},
    {"key": "ear", "text": "Perfect pitch?", "options": ["yes", "no"]},
    {"key": "else", "text": "Anything else?"},
]
CHINESE: dict[str, Any] = {
    "title": "听评",
    "consent": "我**同意**。",
    "questions": {"years": {"text": "学了几年？"}, "ear": {"text": "有绝对音感吗？", "options": ["有", "没有"]}},
    "scales": {"musical_impression": {"title": "印象", "question": "如何？", "labels": ["1", "2", "3", "4", "5"]}},
}
TEXTS = {
    "title": "A test",
    "instructions": "*Listen*.",
    "questions": json.dumps(ASKED),
    "translations": json.dumps({"zh-CN": CHINESE}),
}


@pytest.fixture
def study(database: Database) -> str:
    with database.write() as session:
        made = create(session, "one", Protocol(training=0), 1, NOW)
        invite(session, made, 2, NOW)
        describe(session, made, TEXTS, NOW)
    return "one"


def agree(database: Database, answers: dict[str, str], language: str = "en", rater: str = "R01") -> None:
    with database.write() as session:
        listening.about(
            session, find_rater(session, find_study(session, "one"), rater), answers, NOW, "usual", language
        )


def test_questions_of_ones_own_are_asked_and_kept_as_they_were_read(
    database: Database, study: str, tmp_path: Path
) -> None:
    agree(database, {"years": "3.5", "ear": "no"}, "zh-TW")
    with database.write() as session:
        describe(session, find_study(session, study), {"title": "Other", "questions": "", "translations": ""}, NOW)
        said = session.execute(select(Answer.question, Answer.asked, Answer.answer)).all()
        assert [tuple(row) for row in said] == [("years", "学了几年？", "3.5"), ("ear", "有绝对音感吗？", "no")]
        consent = session.scalars(select(Consent)).one()
        assert consent.text == "我**同意**。"
        assert consent.read == {"language": "zh-TW", "title": "听评", "instructions": "*Listen*.", "contact": ""}
        assert questions_of(find_study(session, study)) == QUESTIONS
        assert log(session, find_study(session, study))[0].details["title"] == {"before": "A test", "after": "Other"}
    export(database, tmp_path, study, tmp_path / "out", NOW)
    raters = pd.read_csv(tmp_path / "out" / "raters.csv", dtype=str)
    assert raters.loc[0, ["years", "ear"]].tolist() == ["3.5", "no"]
    assert pd.read_csv(tmp_path / "out" / "answers.csv")["asked"].tolist() == ["学了几年？", "有绝对音感吗？"]
    assert pd.read_csv(tmp_path / "out" / "consents.csv")["title"].tolist() == ["听评"]


def test_a_language_that_a_study_does_not_have_reads_its_own_words(database: Database, study: str) -> None:
    agree(database, {"years": "1"}, "fr")
    with database.read() as session:
        assert session.scalars(select(Consent)).one().text == "usual"
        assert session.scalars(select(Answer.asked)).all() == ["Years of lessons?"]


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({}, "answer_needed"),
        ({"years": " "}, "answer_needed"),
        ({"years": "many"}, "answer_number"),
        ({"years": "inf"}, "answer_number"),
        ({"years": "1", "ear": "perhaps"}, "answer_none"),
        ({"years": "1", "training": "none"}, "questions_unknown"),
    ],
)
def test_answers_that_do_not_fit(database: Database, study: str, answers: dict[str, str], code: str) -> None:
    with pytest.raises(RatingError) as told:
        agree(database, answers)
    assert told.value.code == code
    with database.read() as session:
        assert session.scalars(select(Consent)).all() == session.scalars(select(Answer)).all() == []


def test_the_report_counts_choices(database: Database, study: str) -> None:
    agree(database, {"years": "1", "ear": "yes"})
    agree(database, {"years": "2", "ear": "yes"}, rater="R02")
    numbers, choices = report(database, study).panel
    assert numbers.rows == [(2, "1.5", "1", "2")]
    assert (choices.caption, choices.rows) == ("Perfect pitch?", [("yes", 2)])


def test_what_was_set_is_edited_again(database: Database, study: str) -> None:
    with database.write() as session:
        found = find_study(session, study)
        texts = {name: as_text(found, name) for name in TEXTS}
        describe(session, found, texts, NOW)
        assert [event.action for event in log(session, found)] == ["describe"]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *[("questions", one) for one in (
            "{", "{}", "[1]", "[[", '[{"key": "A", "text": "?"}]', '[{"key": "rater", "text": "?"}]', '[{"key": "a"}]',
            '[{"key": "a", "text": "?", "kind": "choice"}]', '[{"key": "a", "text": "?", "options": ["b", "b"]}]',
            '[{"key": "a", "text": "?", "options": "bc"}]', '[{"key": "a", "text": "?", "needed": 1}]',
            '[{"key": "a", "text": "?", "html": "b"}]', '[{"key": "a", "text": "a\\nb"}]', '[{"key": 1, "text": "?"}]',
            json.dumps([{"key": "a", "text": "?"}] * 2), json.dumps([{"key": f"a{n}", "text": "?"} for n in range(21)]),
        )],
        *[("translations", one) for one in (
            "[]", "{", '{"zh-CN": []}', '{"../en": {}}', '{"zh": {"html": "b"}}', '{"zh": {"title": 1}}',
            '{"zh": {"questions": {"training": {"text": "?"}}}}', '{"zh": {"questions": {"ear": {"text": "?"}}}}',
            '{"zh": {"scales": {"musical_impression": {"title": "a"}}}}', json.dumps({"zh": {"title": "a" * 121}}),
        )],
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(database: Database, study: str, name: str, wrong: str) -> None:
    with pytest.raises(StudyError), database.write() as session:
        describe(session, find_study(session, study), {"title": "other", name: wrong}, NOW)
    with database.read() as session:
        assert session.scalars(select(Study.title)).all() == ["A test"]


def test_translations_are_held_against_questions_that_change(database: Database, study: str) -> None:
    with pytest.raises(StudyError, match="questions of zh-CN"), database.write() as session:
        describe(session, find_study(session, study), {"questions": json.dumps(ASKED[:1])}, NOW)
