"""Towers by name, and what tells them apart."""

from pathlib import Path

import pytest
import torch

from core import towers
from core.audio import InputPolicy
from core.checkpoint import load_checkpoint
from core.clap import ClapTower
from core.errors import CheckpointError
from core.official import tower as official
from core.scorer import DEMO_CHECKPOINT


def test_the_small_tower_is_the_demo_models() -> None:
    start, demo = towers.load_tower("small"), load_checkpoint(DEMO_CHECKPOINT)
    assert (start.name, start.policy) == ("small", demo.policy)
    assert start.sha256 == towers.tower_sha256(demo.tower) == towers.tower_sha256(start.tower)
    assert not start.tower.training
    assert start.caveat == "its towers learned composed music only"


def test_the_official_tower_has_no_caveat(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = load_checkpoint(random_checkpoint).tower
    monkeypatch.setattr(official, "load_official", lambda: stand_in.train().requires_grad_(True))
    start = towers.load_tower("music-audioset")
    assert (start.tower, start.policy, start.caveat) == (stand_in, InputPolicy(), "")
    assert not start.tower.training
    assert not any(weight.requires_grad for weight in start.tower.parameters())


def test_an_unknown_tower() -> None:
    expected = r"^There is no tower 'large'\. The towers are small, music-audioset\.$"
    with pytest.raises(CheckpointError, match=expected):
        towers.load_tower("large")


def test_the_hash_is_of_the_weights(random_checkpoint: Path) -> None:
    one, same = (load_checkpoint(random_checkpoint).tower for _ in range(2))
    assert towers.tower_sha256(one) == towers.tower_sha256(same)
    weight = next(weight for weight in same.parameters() if weight.requires_grad or weight.numel() > 1)
    with torch.no_grad():
        weight.view(-1)[0] = torch.nextafter(weight.view(-1)[0], torch.tensor(9.0))
    assert towers.tower_sha256(one) != towers.tower_sha256(same)
    assert isinstance(one, ClapTower)
