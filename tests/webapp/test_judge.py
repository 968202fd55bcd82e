"""Which model judges, and which ones a visitor may choose: the judge, and the official CLAP zero-shot."""

import dataclasses
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch

import webapp.judge
from core.errors import CheckpointError, DeviceError
from core.pinned import OFFICIAL
from core.scorer import Scorer
from core.settings import Settings
from core.training.judges import describe, offer
from core.training.registry import ModelRegistry
from core.zero_shot import load_scorer
from tests import hub
from webapp.judge import FIRST, JUDGE, MOST_LOADED, ZERO_SHOT, Judge, ModelMenu
from webapp.score import follow_judge


@pytest.fixture
def settings(tmp_path: Path, random_checkpoint: Path) -> Settings:
    """A data folder with two models that visitors are offered; the app begins with a third."""
    for name in ("first", "second"):
        shutil.copytree(random_checkpoint, tmp_path / "models" / name)
        offer(ModelRegistry(tmp_path / "models"), name, True)
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


def test_nobody_waits_while_another_is_loaded(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    before, load, asked, goes_on = judge.scorer, Scorer.load, threading.Event(), threading.Event()

    def slow(*given: Any, **named: Any) -> Scorer:
        asked.set()
        assert goes_on.wait(30)
        return load(*given, **named)

    monkeypatch.setattr(Scorer, "load", slow)
    activating = threading.Thread(target=judge.activate, args=["first"])
    activating.start()
    assert asked.wait(30)
    found: list[Scorer] = []
    asking = threading.Thread(target=lambda: found.append(judge.scorer), daemon=True)
    asking.start()
    asking.join(5)
    goes_on.set()
    activating.join(30)
    assert found == [before]
    assert judge.name == "first"


def test_the_models_run_where_the_settings_say(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    judge = Judge.open(settings.model_copy(update={"device": "cpu"}))
    assert judge.scorer.checkpoint.tower.device == torch.device("cpu")
    with pytest.raises(DeviceError, match="There is no device 'cuda' here"):
        assert Judge.open(settings.model_copy(update={"device": "cuda"})).scorer


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
    offered, of_lists, note, now = follow_judge(judge, menu, known, "gone", FIRST)
    assert (offered["choices"][0], offered["value"]) == (("The judge of this page: another", JUDGE), JUDGE)
    assert of_lists["choices"] == offered["choices"]
    assert (note, now) == ("", "b" * 64)


@pytest.fixture
def no_official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, there is no official CLAP."""
    hub.use(monkeypatch, tmp_path / "home", "http://127.0.0.1:9")


@pytest.fixture
def official_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The official CLAP was fetched."""
    monkeypatch.setattr(webapp.judge, "find_official", lambda settings: Path("clap.pt"))


NAMED = [("second", "model:second"), ("first", "model:first")]
CLAP = ("Official CLAP, zero-shot (uncalibrated)", ZERO_SHOT)


def offered(menu: ModelMenu) -> list[tuple[str, str]]:
    """What is offered beside the judge of the page, in the order of the alphabet."""
    return sorted(menu.choices()[1:], reverse=True)


@pytest.mark.usefixtures("official_there")
def test_the_judge_comes_first_and_is_named(judge: Judge, scorer: Scorer) -> None:
    menu = ModelMenu(judge)
    assert menu.choices()[0] == ("The judge of this page: random", JUDGE)
    assert offered(menu) == [*NAMED, CLAP]
    assert menu.scorer(JUDGE) is menu.scorer(None) is scorer
    assert menu.note(JUDGE) == ""
    judge.activate("first")
    describe(judge.registry, "first", "Autumn panel", "")
    assert menu.choices()[0] == ("The judge of this page: Autumn panel", JUDGE)
    assert offered(menu) == [NAMED[0], ("random", "first"), CLAP]
    assert menu.scorer(FIRST) is scorer


@pytest.mark.usefixtures("official_there")
def test_a_judge_on_the_official_tower_takes_the_place_of_zero_shot(judge: Judge, scorer: Scorer) -> None:
    config = scorer.checkpoint.config | {"tower": OFFICIAL.tower}
    judge.scorer = SimpleNamespace(checkpoint=dataclasses.replace(scorer.checkpoint, config=config))
    assert offered(ModelMenu(judge)) == NAMED


@pytest.mark.usefixtures("no_official")
def test_only_what_can_be_used_is_offered(judge: Judge) -> None:
    menu, registry = ModelMenu(judge), judge.registry
    assert menu.update()["visible"]
    offer(registry, "first", False)
    assert offered(menu) == NAMED[:1]
    with pytest.raises(CheckpointError, match="not offered any more"):
        menu.scorer("model:first")
    (registry.model("second").folder / "README.md").write_text("Another card")  # nothing of a score
    assert offered(menu) == NAMED[:1]
    for weights in registry.model("second").folder.glob("model*.safetensors"):
        weights.write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="is damaged"):
        menu.scorer("model:second")
    assert offered(menu) == []  # it failed once
    assert not menu.update()["visible"]
    offer(registry, "first", True)
    (registry.model("first").folder / "metrics.json").unlink()
    assert offered(menu) == []


@pytest.mark.parametrize("choice", ["model:none", "model:../first", "../first", "first ", "__init__"])
def test_nothing_else_can_be_chosen(judge: Judge, choice: str) -> None:
    with pytest.raises(CheckpointError, match="not offered any more"):
        ModelMenu(judge).scorer(choice)


def test_an_address_names_a_judge(judge: Judge) -> None:
    describe(judge.registry, "first", "Autumn panel", "")
    menu = ModelMenu(judge)
    for asked, choice in (
        ("autumn PANEL", "model:first"),
        ("second", "model:second"),
        ("", JUDGE),
        ("<script>", JUDGE),
    ):
        assert menu.asked(asked) == choice
    assert menu.title("model:first") == "Autumn panel"
    assert menu.title(JUDGE) == menu.title(None) == menu.title("gone") == "random"


def test_a_note_says_what_a_judge_learned_from(judge: Judge) -> None:
    shown = ModelMenu(judge).note("model:first")
    assert "It learned from nothing: random weights." in shown
    assert "Its agreement with people was not measured." in shown
    assert ModelMenu(judge).note("model:none") == ""


def test_few_judges_are_loaded_at_once(settings: Settings, scorer: Scorer, random_checkpoint: Path) -> None:
    names = [f"judge-{number}" for number in range(MOST_LOADED + 1)]
    for name in names:
        shutil.copytree(random_checkpoint, settings.models / name)
        offer(ModelRegistry(settings.models), name, True)
    judge = Judge(scorer, ModelRegistry(settings.models))
    menu = ModelMenu(judge)
    loaded = {name: menu.scorer(f"model:{name}") for name in names}
    assert len(judge.loaded) == MOST_LOADED
    assert menu.scorer(f"model:{names[-1]}") is loaded[names[-1]]
    assert menu.scorer(f"model:{names[1]}") is loaded[names[1]]
    assert menu.scorer(f"model:{names[0]}") is not loaded[names[0]]  # it was used longest ago
    assert menu.scorer(f"model:{names[-1]}") is not loaded[names[-1]]
    assert len(judge.loaded) == MOST_LOADED


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

    monkeypatch.setattr("core.zero_shot.load_scorer", load)
    monkeypatch.setattr(webapp.judge, "find_official", lambda settings: Path("clap.pt"))
    menu = ModelMenu(judge)
    assert "calibrated" in menu.note(ZERO_SHOT)
    assert asked == []
    assert menu.scorer(ZERO_SHOT) is menu.scorer(ZERO_SHOT)
    assert asked == ["music-audioset"]
    assert menu.scorer(ZERO_SHOT).model_warnings()[0].code == "zero_shot"
