"""Which model judges, and which ones a visitor may choose: the judge, and the official CLAP zero-shot."""

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch

import webapp.judge
from core.errors import CheckpointError, DeviceError
from core.scorer import Scorer
from core.settings import Settings
from core.training.manager import ModelRegistry
from core.zero_shot import load_scorer
from webapp.judge import JUDGE, ZERO_SHOT, Judge, ModelMenu
from webapp.score import follow_judge


@pytest.fixture
def settings(tmp_path: Path, random_checkpoint: Path) -> Settings:
    """A data folder with two models; the app begins with a third."""
    for name in ("first", "second"):
        shutil.copytree(random_checkpoint, tmp_path / "models" / name)
    return Settings(data=tmp_path, model=random_checkpoint)


@pytest.fixture
def judge(settings: Settings, scorer: Scorer) -> Judge:
    return Judge(scorer, ModelRegistry(settings.models))


def test_another_model_takes_over_and_goes_back(judge: Judge, scorer: Scorer) -> None:
    begun = judge.scorer
    judge.activate("first")
    judge.activate("second")
    assert judge.name == "second"
    assert judge.scorer not in (begun, scorer)
    judge.back()
    assert judge.name == "first"
    judge.back()
    assert (judge.name, judge.scorer) == (None, scorer)
    with pytest.raises(CheckpointError, match="no earlier model"):
        judge.back()


def test_a_model_that_does_not_load_changes_nothing(judge: Judge, scorer: Scorer) -> None:
    judge.activate("first")
    before = judge.scorer
    for weights in (judge.registry.folder / "second").glob("model*.safetensors"):
        weights.write_bytes(b"damaged")
    for name in ("second", "missing"):
        with pytest.raises(CheckpointError):
            judge.activate(name)
    assert (judge.name, judge.scorer, judge.registry.active()) == ("first", before, "first")


def test_the_models_run_where_the_settings_say(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    judge = Judge.open(settings.model_copy(update={"device": "cpu"}))
    assert judge.device == torch.device("cpu")
    with pytest.raises(DeviceError, match="There is no device 'cuda' here"):
        Judge.open(settings.model_copy(update={"device": "cuda"}))


def test_the_last_model_judges_after_a_restart(
    settings: Settings, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.judge.EMBEDDED_JUDGE", random_checkpoint)
    ModelRegistry(settings.models).activate("second")
    judge = Judge.open(Settings(data=settings.data))
    assert judge.name == "second"
    assert judge.base == "random"


def test_the_named_model_comes_first_and_the_last_one_is_one_click_away(settings: Settings) -> None:
    registry = ModelRegistry(settings.models)
    registry.activate("second")
    judge = Judge.open(settings)
    assert (judge.name, registry.active()) == (None, None)
    judge.back()
    assert judge.name == "second"


def test_a_last_model_that_is_gone_is_told(
    settings: Settings, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("webapp.judge.EMBEDDED_JUDGE", random_checkpoint)
    ModelRegistry(settings.models).activate("second")
    shutil.rmtree(settings.models / "second")
    judge = Judge.open(Settings(data=settings.data))
    assert judge.name is None
    assert capsys.readouterr().err == (
        'The model that judged last is not used; random judges. There is no model "second". It may have been deleted.\n'
    )


def test_an_open_page_follows_another_judge(judge: Judge, scorer: Scorer) -> None:
    menu = ModelMenu(judge)
    offered, note, known = follow_judge(judge, menu, "", JUDGE)
    assert (offered["choices"], offered["value"]) == (menu.choices(), JUDGE)
    assert "trained on composed music" in note
    assert follow_judge(judge, menu, known, JUDGE) == [gr.skip()] * 3
    other = dataclasses.replace(scorer.checkpoint, id="another", sha256="b" * 64, caveat="")
    judge.scorer = Scorer(other)
    offered, note, now = follow_judge(judge, menu, known, "gone")
    assert (offered["choices"][0], offered["value"]) == (("The judge of this page: another", JUDGE), JUDGE)
    assert (note, now) == ("", "b" * 64)


@pytest.fixture
def no_official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, there is no official CLAP."""
    monkeypatch.setattr("core.towers.official.prepared_folder", lambda official: tmp_path / "none")
    monkeypatch.setattr("core.towers.official.in_hub_cache", lambda pin: None)


def test_the_judge_comes_first_and_is_named(judge: Judge, scorer: Scorer) -> None:
    menu = ModelMenu(judge)
    assert menu.choices() == [
        ("The judge of this page: random", JUDGE),
        ("Official CLAP, zero-shot (uncalibrated)", ZERO_SHOT),
    ]
    assert menu.scorer(JUDGE) is menu.scorer(None) is scorer
    assert menu.note(JUDGE) == ""


def test_a_judge_on_the_official_tower_takes_the_place_of_zero_shot(judge: Judge, scorer: Scorer) -> None:
    tower = SimpleNamespace(name="music-audioset")
    judge.scorer = SimpleNamespace(checkpoint=dataclasses.replace(scorer.checkpoint, tower=tower))
    assert [name for _, name in ModelMenu(judge).choices()] == [JUDGE]


@pytest.mark.usefixtures("no_official")
def test_what_is_missing_is_told_with_its_size(judge: Judge) -> None:
    menu = ModelMenu(judge)
    with pytest.raises(CheckpointError, match=r"2\.35 GB.*python -m core fetch-clap"):
        menu.scorer(ZERO_SHOT)
    assert "2.35 GB" in menu.note(ZERO_SHOT)
    assert "python -m core fetch-clap" in menu.note(ZERO_SHOT)


def test_the_official_clap_is_loaded_once(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(model: None, zero_shot: str, *given: Any, **named: Any) -> Scorer:
        asked.append(zero_shot)
        return load_scorer(model, "ears", *given, **named)

    monkeypatch.setattr(webapp.judge, "load_scorer", load)
    monkeypatch.setattr(webapp.judge, "find_official", lambda settings: Path("clap.pt"))
    menu = ModelMenu(judge)
    assert "calibrated" in menu.note(ZERO_SHOT)
    assert asked == []
    assert menu.scorer(ZERO_SHOT) is menu.scorer(ZERO_SHOT)
    assert asked == ["music-audioset"]
    assert menu.scorer(ZERO_SHOT).model_warnings()[0].code == "zero_shot"
