import dataclasses
import json
import os

import numpy as np
import pytest
import torch

from core.checkpoint import load_checkpoint
from core.training.recipe import RECIPES
from tools.demo_judge import cores
from tools.demo_judge.__main__ import main
from tools.demo_judge.build import BuildRecipe, build
from tools.demo_judge.contrast import ContrastRecipe, Teacher, train_tower
from tools.demo_judge.faults import NAMES
from tools.demo_judge.material import log_mels, pieces

MINIATURE = BuildRecipe(
    seed=5,
    pieces=8,
    contrast=ContrastRecipe(batches=2, batch_size=4, warm_up=1),
    tuning_pieces=4,
    tuning=ContrastRecipe(batches=1, batch_size=4, warm_up=1),
    heads=dataclasses.replace(RECIPES["frozen"], epochs=2, batch_size=8),
    rated_systems=3,
    held_out_systems=5,
    clips_per_system=2,
    prompts_per_clip=2,
)


def test_a_miniature_build_gives_a_checkpoint_that_says_what_it_is(tmp_path):
    result = build(MINIATURE, tmp_path, torch.device("cpu"))
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.demo
    assert checkpoint.config["provenance"]["recipe"]["contrast"]["batches"] == 2
    assert checkpoint.error_estimate.n_clips == 10
    assert result == json.loads((tmp_path / "metrics.json").read_text())
    assert "Not an expert panel" in (tmp_path / "README.md").read_text()


def test_the_command_takes_a_budget(tmp_path, monkeypatch, capsys):
    asked = {}

    def record(recipe, folder):
        asked["recipe"] = recipe
        (folder / "README.md").write_text("card")

    monkeypatch.setattr("tools.demo_judge.build.build", record)
    code = main(["build", "-o", str(tmp_path), "--pieces", "100", "--batches", "7", "--seed", "3"])
    assert code == 0
    recipe = asked["recipe"]
    assert (recipe.pieces, recipe.tuning_pieces, recipe.seed) == (100, 50, 3)
    assert (recipe.contrast.batches, recipe.tuning.batches) == (7, 1)
    assert "card" in capsys.readouterr().out


def test_training_learns_and_repeats():
    pool = pieces(12, seed=9)
    assert pool[0].mels.shape == (2, 1001, 64)
    assert pool[0].severities.shape == (len(NAMES),)
    recipe = ContrastRecipe(batches=3, batch_size=12, warm_up=1)
    state = torch.get_rng_state()
    first, second = (train_tower(pool, recipe, 4, torch.device("cpu")) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first.weights().values(), second.weights().values(), strict=True))
    untrained = train_tower(pool, ContrastRecipe(batches=0), 4, torch.device("cpu"))
    assert not torch.equal(first.weights()["logit_scale_a"], untrained.weights()["logit_scale_a"])


def test_classifiers_ignore_what_a_caption_does_not_name():
    teacher = Teacher(4)
    embeddings = torch.eye(4)[:2]
    named = {name: torch.tensor([-100, -100]) for name in teacher.attributes}
    named["tempo"] = torch.tensor([2, -100])
    loss = teacher.attribute_loss(embeddings, named)
    alone = torch.nn.functional.cross_entropy(teacher.attributes["tempo"](8 * embeddings[:1]), torch.tensor([2]))
    torch.testing.assert_close(loss, alone)


def test_spectrograms_do_not_depend_on_loudness():
    random = np.random.default_rng(0)
    sound = (0.1 * random.standard_normal(160_000)).astype(np.float32)
    assert log_mels(sound).shape == (1, 1001, 64)
    assert np.abs(log_mels(sound).astype(float) - log_mels(sound / 8).astype(float)).max() < 0.05


def test_work_in_processes_of_their_own_comes_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "TASKS_WORTH_A_PROCESS", 4)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert list(cores.on_all_cores(str, list(range(20)), "counting")) == [str(n) for n in range(20)]


def test_a_little_work_is_done_here() -> None:
    assert list(cores.on_all_cores(lambda n: n * n, [1, 2, 3], "squaring")) == [1, 4, 9]
