"""The judge beside the panel on the page: nothing unasked, figures when asked, a sentence where there are none."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from annotation.results.judged import LoadedJudge, judge_beside_panel
from core.scorer import Scorer
from core.training.registry import ModelRegistry
from tests.annotation.output.test_export import Done, done
from tests.webapp.layouts import laid_out
from webapp.judge import Judge
from webapp.listening_api import StudyStore
from webapp.study import StudyPage

__all__ = ["done"]


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def page(done: Done, scorer: Scorer, tmp_path: Path, asked: list[str]) -> Iterator[StudyPage]:
    judge = Judge(scorer, ModelRegistry(tmp_path / "models"), tmp_path)

    def keeping() -> LoadedJudge:
        asked.append("judge")
        return judge.keeping(tmp_path / "embeddings")

    with laid_out():
        yield StudyPage(StudyStore(done.database, done.data), str, judge=keeping)


def last(page: StudyPage, study: str) -> dict[Any, Any]:
    assert page.panel
    *_, shown = page.panel.compare(study)
    return shown


def test_nothing_is_scored_unasked(page: StudyPage, asked: list[str]) -> None:
    assert page.panel
    shown = page.open("one")
    assert (shown[page.panel.view], shown[page.panel.clips.table]["visible"], asked) == ("", False, [])
    assert page.panel.view not in page.open("one", "one")  # what was asked stays while the study is the same


def test_it_shows_what_the_command_prints(page: StudyPage, done: Done, scorer: Scorer, tmp_path: Path) -> None:
    assert page.panel
    shown = last(page, "one")
    found = judge_beside_panel(done.database, done.data, "one", LoadedJudge(scorer, tmp_path))
    html = str(shown[page.panel.view])
    assert all(cell in html for row in found.agreement_table.rows for cell in row)
    assert "<svg" in html
    assert "simulated raters" in html
    table = shown[page.panel.clips.table]["value"]
    assert list(table["Clip"]) == list(found.clips["Clip"])
    heard = page.panel.choose("one", SimpleNamespace(row_value=list(table.iloc[0])))  # type: ignore[arg-type]
    assert f'src="sound/one/{table["Clip"][0]}.wav"' in heard


def test_where_there_is_nothing_to_compare_it_says_so(page: StudyPage) -> None:
    assert page.panel
    shown = last(page, "none-yet")
    assert "has a valid rating yet" in shown[page.panel.view]
    assert shown[page.panel.clips.table]["visible"] is False
    assert "<svg" in str(last(page, "one")[page.panel.view])  # a refusal holds nothing up


def test_systems_by_attribute(page: StudyPage, tmp_path: Path) -> None:
    file = tmp_path / "systems.csv"
    file.write_text('system,attribute\n"=sys0",<b>open\n"=sys1",<b>open\n')
    html = page.attributes.show_groups("one", str(file))
    assert "&lt;b&gt;open" in html
    assert "<b>open" not in html
    assert "<svg" in html
