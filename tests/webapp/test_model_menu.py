"""The models that a visitor may choose: the judge, and the official CLAP zero-shot."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.audio import AudioLimits
from core.errors import CheckpointError
from core.scorer import Scorer
from core.training.shelf import ModelShelf
from core.zero_shot import load_scorer
from webapp import model_menu
from webapp.judge import Judge
from webapp.model_menu import JUDGE, ZERO_SHOT, ModelMenu


@pytest.fixture
def judge(scorer: Scorer, tmp_path: Path) -> Judge:
    return Judge(scorer, ModelShelf(tmp_path))


@pytest.fixture(autouse=True)
def _no_official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has, there is no official CLAP."""
    monkeypatch.setattr("core.official.tower.prepared_folder", lambda official: tmp_path / "none")
    monkeypatch.setattr("core.official.tower.in_hub_cache", lambda pin: None)


def test_the_judge_comes_first_and_is_named(judge: Judge, scorer: Scorer) -> None:
    menu = ModelMenu(judge)
    assert menu.choices() == [
        ("The judge of this page: random", JUDGE),
        ("Official CLAP, zero-shot (uncalibrated)", ZERO_SHOT),
    ]
    assert menu.scorer(JUDGE) is menu.scorer(None) is scorer
    assert menu.note(JUDGE) == ""


def test_a_judge_on_the_official_tower_takes_the_place_of_zero_shot(judge: Judge, scorer: Scorer) -> None:
    tower: Any = SimpleNamespace(spec=SimpleNamespace(name="music-audioset"))
    judge.scorer = Scorer(replace(scorer.checkpoint, tower=tower))
    assert [name for _, name in ModelMenu(judge).choices()] == [JUDGE]


def test_what_is_missing_is_told_with_its_size(judge: Judge) -> None:
    menu = ModelMenu(judge)
    with pytest.raises(CheckpointError, match=r"2\.35 GB.*python -m core fetch-clap"):
        menu.scorer(ZERO_SHOT)
    assert "2.35 GB" in menu.note(ZERO_SHOT)
    assert "python -m core fetch-clap" in menu.note(ZERO_SHOT)


def test_the_official_clap_is_loaded_once(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(model: None, zero_shot: str, limits: AudioLimits, device: torch.device) -> Scorer:
        asked.append(zero_shot)
        return load_scorer(model, "small", limits, device)

    monkeypatch.setattr(model_menu, "load_scorer", load)
    monkeypatch.setattr(model_menu, "find_official", lambda settings: Path("clap.pt"))
    menu = ModelMenu(judge)
    assert "calibrated" in menu.note(ZERO_SHOT)
    assert asked == []
    assert menu.scorer(ZERO_SHOT) is menu.scorer(ZERO_SHOT)
    assert asked == ["music-audioset"]
    assert menu.scorer(ZERO_SHOT).model_warnings()[0].code == "zero_shot"
