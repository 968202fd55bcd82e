"""Results that are kept: found by their names alone, gone after a day or when they are deleted."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from core.scorer import Scorer
from core.settings import Settings
from core.training.registry import ModelRegistry
from webapp import kept, retention
from webapp.example_clips import ReadyScores
from webapp.html import render
from webapp.judge import Judge
from webapp.kept import Kept, KeptResults
from webapp.retention import DAY_S as KEPT_S
from webapp.score import _gone, build_score_tab


@pytest.fixture
def results(tmp_path: Path) -> KeptResults:
    return KeptResults(tmp_path)


def result(name: str) -> Kept:
    return Kept(f"<p>{name}</p>", "/uploads/0f3a/My song.wav", "A calm guitar line, 平静", "judge")


def name_of(one: Kept) -> str:
    return one.html.removeprefix("<p>").removesuffix("</p>")


def test_a_result_is_found_by_its_name(results: KeptResults) -> None:
    one, other = (results.keep(result) for _ in range(2))
    assert one != other
    assert [results.find(name_of(each)) for each in (one, other)] == [one, other]


def test_a_result_is_deleted(results: KeptResults) -> None:
    one, other = (results.keep(result) for _ in range(2))
    for _ in range(2):
        results.forget(name_of(one))
        assert (results.find(name_of(one)), results.find(name_of(other))) == (None, other)


@pytest.mark.parametrize("name", ["", "A" * 22, "../../etc/passwd", "é" * 22, "\0", "A" * 10_000, "A" * 21 + "\n"])
def test_another_name_finds_and_deletes_nothing(results: KeptResults, tmp_path: Path, name: str) -> None:
    (tmp_path.parent / "secret.json").write_text('{"html": "", "clip": "", "prompt": "", "model": ""}')
    one = results.keep(result)
    for tried in (name, "../secret"):
        results.forget(tried)
        assert results.find(tried) is None
    assert (tmp_path.parent / "secret.json").exists()
    assert results.find(name_of(one)) == one


def test_a_day_later_it_is_gone(tmp_path: Path) -> None:
    now = time.time()
    name = name_of(KeptResults(tmp_path).keep(result))
    assert KeptResults(tmp_path, lambda: now + KEPT_S - 60).find(name)
    later = KeptResults(tmp_path, lambda: now + KEPT_S + 60)
    assert later.find(name) is None
    later.keep(result)
    assert not (tmp_path / f"{name}.json").exists()


def test_the_oldest_make_room(results: KeptResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MOST", 3)
    names = []
    for number in range(5):
        names.append(name_of(results.keep(result)))
        os.utime(tmp_path / f"{names[-1]}.json", (time.time() - 60 + number,) * 2)
    assert [results.find(name) is not None for name in names] == [False, False, True, True, True]


def test_on_a_full_disk_a_result_is_shown_without_an_address(
    results: KeptResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert results.keep(result) == result("")
    assert list(tmp_path.iterdir()) == []


def test_a_torn_file_is_no_result(results: KeptResults, tmp_path: Path) -> None:
    name = name_of(results.keep(result))
    (tmp_path / f"{name}.json").write_text('{"html": ')
    assert results.find(name) is None


def test_the_page_shows_a_result_with_its_own_clip_and_nothing_for_another_name(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = KeptResults(tmp_path)
    monkeypatch.setattr("webapp.score.KeptResults", lambda: results)
    with gr.Blocks() as app:
        build_score_tab(Judge(scorer, ModelRegistry(tmp_path / "models")), ReadyScores([]))
    handlers: dict[str, Any] = {function.fn.__name__: function.fn for function in app.fns.values() if function.fn}
    clip = tmp_path / "clip.wav"
    clip.touch()
    mine = results.keep(lambda name: Kept(f"<p>{name}</p>", str(clip), "Mine", "a model that is gone"))
    lost = name_of(results.keep(result))
    recall = handlers["recall"]
    assert recall(SimpleNamespace(r=name_of(mine))) == [mine.html, str(clip), "Mine", "judge"]
    assert recall(SimpleNamespace(r=lost))[1:3] == [None, "A calm guitar line, 平静"]  # its upload is gone
    shown, *inputs = recall(SimpleNamespace(r="A" * 22))
    assert "not kept here any more" in shown
    assert inputs == [gr.skip()] * 3
    assert "will stand here" in recall(SimpleNamespace())[0]
    assert handlers["forget"](SimpleNamespace(r=name_of(mine), shown=False)) == gr.skip()
    assert "not kept here any more" in recall(SimpleNamespace(r=name_of(mine)))[0]


def test_nothing_of_it_is_in_the_data_folder(settings: Settings) -> None:
    assert not KeptResults()._folder.is_relative_to(settings.data)


@pytest.mark.parametrize(("days", "words"), [(1.0, "a day"), (7.0, "7 days"), (0.25, "6 hours")])
def test_results_stay_as_long_as_is_set(tmp_path: Path, days: float, words: str) -> None:
    retention.begin(days)
    try:
        name = name_of(KeptResults(tmp_path).keep(result))
        now = time.time()
        assert KeptResults(tmp_path, lambda: now + days * KEPT_S - 60).find(name)
        assert KeptResults(tmp_path, lambda: now + days * KEPT_S + 60).find(name) is None
        assert words in _gone()
        assert f"Results can be opened for {words}" in render("score_history.html")
    finally:
        retention.begin(1.0)
