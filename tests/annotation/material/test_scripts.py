"""Prompts in another script than most."""

import pytest

from annotation.database import Database
from annotation.material.scripts import other_scripts, script_of
from annotation.schema import Prompt
from tests.annotation.rooms import Room


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("A calm piano", "LATIN"),
        ("Ein ruhiges Klavier, größer", "LATIN"),
        ("平静的钢琴曲", "CJK"),
        ("静かなピアノ", "CJK"),
        ("조용한 피아노", "CJK"),
        ("钢琴曲，BPM 90，很慢很慢", "CJK"),
        ("Ｃａｌｍ", "LATIN"),
        ("Тихое фортепиано", "CYRILLIC"),
        ("120 – 90!", ""),
        ("", ""),
    ],
)
def test_the_script_of_a_text(text: str, script: str) -> None:
    assert script_of(text) == script


def said(database: Database, *texts: str) -> list[str]:
    room = Room.build(database, prompts=len(texts), clips=2 * len(texts))
    with database.write() as session:
        for prompt, text in zip(session.query(Prompt).order_by(Prompt.id), texts, strict=True):
            prompt.text = text
        session.flush()
        return other_scripts(session, room.study(session))


def test_a_prompt_in_another_script_is_named(database: Database) -> None:
    (sentence,) = said(database, "钢琴", "小提琴", "A violin", "42")
    assert sentence == 'Most prompts are in Chinese, Japanese or Korean letters; others are not: "A violin".'


@pytest.mark.parametrize("texts", [("one", "two", "3"), ("one", "钢琴"), ("1", "2")])
def test_nothing_is_said_where_none_is_another(database: Database, texts: tuple[str, ...]) -> None:
    assert said(database, *texts) == []
