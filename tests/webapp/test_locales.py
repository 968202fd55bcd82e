"""What raters read: every sentence in every language, none too many, in English as the server says it."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from annotation.database import Database
from annotation.schema import Consent
from annotation.session.answers import CONSENT
from annotation.wording import QUESTIONS
from core.scales import MUSICEVAL
from core.settings import Settings
from tests.webapp.studies import make_study
from webapp.listening import ENGLISH, locales
from webapp.listening_api import StudyStores, listening_app

ROOT = Path(__file__).parents[2]
WORDS = locales()
OTHERS = [language for language in WORDS if language != ENGLISH]
FORMS = re.compile(r"\.(one|two|few|many|other)$")
REFUSALS = {"AccessError", "BusyError", "MusicEvalError", "RatingError", "StudyError"}
# What must have a code wherever it is raised: raters meet all of these.
RATERS_MEET = {"AccessError", "BusyError", "RatingError"}
OF_THE_PAGE = {"unreachable"}
HIDDEN = re.compile(r"stimul|anchor|duplicate|hidden|锚|隐藏|重复|检验|同一段", re.IGNORECASE)


def places(sentence: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", sentence))


def placed(words: dict[str, str]) -> dict[str, set[tuple[str, ...]]]:
    """The places of each sentence by its key; of one that counts, those of all its forms."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for key, sentence in words.items():
        found.setdefault(FORMS.sub("", key), set()).add(tuple(sorted(places(sentence))))
    return found


def refusals() -> Iterator[tuple[str, str | None, str | None]]:
    """The kind, the sentence and the code of everything that the listening test refuses."""
    files = [*(ROOT / "annotation").rglob("*.py"), ROOT / "webapp" / "listening_api.py"]
    for call in (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in REFUSALS:
            said = [one.value if isinstance(one, ast.Constant) else None for one in call.args]
            yield call.func.id, *([*said, None, None][:2])  # type: ignore[misc]


def sent() -> dict[str, str]:
    """What the server sends in English besides refusals, by key."""
    clips = json.loads((ROOT / "annotation/material/demo/clips.json").read_text(encoding="utf-8"))
    told = [clip["explanation"] for clip in clips if clip.get("explanation")]
    words = {"consent": CONSENT, "what.comment": "The comment", "what.answer": "An answer"}
    words |= {f"practice_clip.{number}": sentence for number, sentence in enumerate(told, 1)}
    for question in QUESTIONS:
        words[f"question.{question.key}"] = question.text
        words |= {f"question.{question.key}.{number}": option for number, option in enumerate(question.options, 1)}
    for scale in MUSICEVAL:
        words |= {f"scale.{scale.key}.title": scale.title, f"scale.{scale.key}.question": scale.question}
        words |= {f"scale.{scale.key}.{number}": label for number, label in enumerate(scale.labels, 1)}
    return words


@pytest.mark.parametrize("language", OTHERS)
def test_every_language_has_every_sentence(language: str) -> None:
    ours, english = placed(WORDS[language]), placed(WORDS[ENGLISH])
    assert ours.keys() == english.keys()
    assert {key: found for key, found in ours.items() if found != english[key]} == {}
    assert [key for key, found in ours.items() if len(found) > 1] == []
    assert [key for key, sentence in WORDS[language].items() if not sentence.strip()] == []


@pytest.mark.parametrize("language", WORDS)
def test_what_is_counted_has_its_forms_and_nothing_else_has(language: str) -> None:
    counted = {key for key, sentence in WORDS[language].items() if "count" in places(sentence)}
    assert counted == {key for key in WORDS[language] if FORMS.search(key)}
    assert {FORMS.sub(".other", key) for key in counted} <= WORDS[language].keys()


def test_every_key_is_used_and_every_used_key_is_there() -> None:
    scripts = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "webapp/static").glob("rating_*.js"))
    used = set(re.findall(r'\bsay\("([\w.]+)"', scripts)) | {"language.name", "noscript"}
    used |= sent().keys() | {f"error.{code}" for _, _, code in refusals() if code}
    used |= {f"error.{code}" for code in OF_THE_PAGE}
    assert used == placed(WORDS[ENGLISH]).keys()
    # Its definition, what the server sends, and what it refuses.
    others = ["name,", "KEYS.get(text)))", "`error.${code}`,"]
    assert re.findall(r'\bsay\((?!")(\S+)', scripts) == others


def test_english_is_what_the_server_says() -> None:
    said = {code: sentence for _, sentence, code in refusals() if code}
    assert said == {code: WORDS[ENGLISH][f"error.{code}"] for code in said}
    assert sent() == {key: WORDS[ENGLISH][key] for key in sent()}
    # The page knows by the English what is meant.
    assert len({*sent().values()}) == len(sent())


def test_whatever_a_rater_is_refused_has_a_code() -> None:
    found = [*refusals()]
    assert len(found) > 40
    assert [(kind, sentence) for kind, sentence, code in found if kind in RATERS_MEET and not code] == []


@pytest.mark.parametrize("language", WORDS)
def test_no_sentence_tells_what_is_hidden(language: str) -> None:
    assert [sentence for sentence in WORDS[language].values() if HIDDEN.search(sentence)] == []


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_left_untranslated(language: str) -> None:
    same = {key for key, sentence in WORDS[language].items() if sentence == WORDS[ENGLISH].get(key)}
    assert same == set()


def test_no_english_is_left_in_the_chinese() -> None:
    left = {
        word for sentence in WORDS["zh-CN"].values() for word in re.findall(r"(?<!\{)\b[A-Za-z]+\b(?!\})", sentence)
    }
    assert left == {"JavaScript", "MusicEval", "Tab"}


def test_the_consent_is_stored_in_the_words_that_were_read(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path)
    stores = StudyStores(settings)
    study = make_study(stores.real.database, tmp_path, raters=3)
    one = TestClient(listening_app(stores))
    bodies: list[dict[str, Any]] = [{}, {"language": "zh-CN"}, {"language": "no language"}]
    for code, body in zip(study.codes, bodies, strict=True):
        visit = {"Authorization": f"Bearer {one.post('/enter', json={'code': code}).json()['visit']}"}
        assert one.post("/about", json={"answers": {}, **body}, headers=visit).json()["step"] == "ready"
    assert consents(stores.real.database) == [CONSENT, WORDS["zh-CN"]["consent"], CONSENT]
    stores.close()


def consents(database: Database) -> list[str]:
    with database.read() as session:
        return [*session.scalars(select(Consent.text).order_by(Consent.id))]
