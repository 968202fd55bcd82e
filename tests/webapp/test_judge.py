import dataclasses
import shutil
from pathlib import Path

import pytest
import torch

from core.errors import CheckpointError, TrainingError
from core.scorer import Scorer
from core.settings import Settings
from core.training.shelf import ModelShelf
from webapp.judge import Judge


@pytest.fixture
def settings(tmp_path: Path, random_checkpoint: Path) -> Settings:
    """A data folder with two models; the app begins with a third."""
    for name in ("first", "second"):
        shutil.copytree(random_checkpoint, tmp_path / "models" / name)
    return Settings(data=tmp_path, model=random_checkpoint)


@pytest.fixture
def judge(settings: Settings, scorer: Scorer) -> Judge:
    return Judge(scorer, ModelShelf(settings.models))


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
    for weights in (judge.shelf.folder / "second").glob("model*.safetensors"):
        weights.write_bytes(b"damaged")
    for name in ("second", "missing"):
        with pytest.raises(CheckpointError):
            judge.activate(name)
    assert (judge.name, judge.scorer, judge.shelf.active()) == ("first", before, "first")


def test_the_models_run_where_the_settings_say(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    judge = Judge.open(dataclasses.replace(settings, device="cpu"))
    assert judge.device == torch.device("cpu")
    with pytest.raises(TrainingError, match="There is no device 'cuda' here"):
        Judge.open(dataclasses.replace(settings, device="cuda"))


def test_the_last_model_judges_after_a_restart(
    settings: Settings, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.scorer.DEMO_CHECKPOINT", random_checkpoint)
    ModelShelf(settings.models).activate("second")
    judge = Judge.open(Settings(data=settings.data))
    assert judge.name == "second"
    assert judge.base == "random"


def test_the_named_model_comes_first_and_the_last_one_is_one_click_away(settings: Settings) -> None:
    shelf = ModelShelf(settings.models)
    shelf.activate("second")
    judge = Judge.open(settings)
    assert (judge.name, shelf.active()) == (None, None)
    judge.back()
    assert judge.name == "second"


def test_a_last_model_that_is_gone_is_told(
    settings: Settings,
    random_checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("core.scorer.DEMO_CHECKPOINT", random_checkpoint)
    ModelShelf(settings.models).activate("second")
    shutil.rmtree(settings.models / "second")
    judge = Judge.open(Settings(data=settings.data))
    assert judge.name is None
    assert capsys.readouterr().err == (
        "The model that judged last is not used; the demo model judges. "
        'There is no model "second". It may have been deleted.\n'
    )
