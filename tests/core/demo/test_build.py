import json

import numpy as np
import torch

from core.__main__ import main
from core.checkpoint import load_checkpoint
from core.demo import headwork
from core.demo.build import BuildRecipe, build
from core.demo.contrast import ContrastRecipe, Teacher, train_tower
from core.demo.faults import NAMES
from core.demo.headwork import EmbeddedClips, HeadRecipe
from core.demo.material import log_mels, pieces
from core.heads import Heads

MINIATURE = BuildRecipe(
    seed=5,
    pieces=8,
    contrast=ContrastRecipe(batches=2, batch_size=4, warm_up=1),
    tuning_pieces=4,
    tuning=ContrastRecipe(batches=1, batch_size=4, warm_up=1),
    heads=HeadRecipe(steps=5, batch_size=8),
    rated_systems=3,
    held_out_systems=3,
    clips_per_system=2,
    prompts_per_clip=2,
)


def test_a_miniature_build_gives_a_checkpoint_that_says_what_it_is(tmp_path):
    result = build(MINIATURE, tmp_path, torch.device("cpu"))
    checkpoint = load_checkpoint(tmp_path)
    assert checkpoint.demo
    assert checkpoint.config["provenance"]["recipe"]["contrast"]["batches"] == 2
    assert checkpoint.held_out.n_clips == 6
    assert result == json.loads((tmp_path / "metrics.json").read_text())
    assert "Not an expert panel" in (tmp_path / "README.md").read_text()


def test_the_command_takes_a_budget(tmp_path, monkeypatch, capsys):
    asked = {}

    def record(recipe, folder):
        asked["recipe"] = recipe
        (folder / "README.md").write_text("card")

    monkeypatch.setattr("core.demo.build.build", record)
    code = main(["demo", "build", "-o", str(tmp_path), "--pieces", "100", "--batches", "7", "--seed", "3"])
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
    assert all(
        torch.equal(a, b) for a, b in zip(first.weights().values(), second.weights().values(), strict=True)
    )
    untrained = train_tower(pool, ContrastRecipe(batches=0), 4, torch.device("cpu"))
    assert not torch.equal(first.weights()["logit_scale_a"], untrained.weights()["logit_scale_a"])


def test_classifiers_ignore_what_a_caption_does_not_name():
    teacher = Teacher(4)
    embeddings = torch.eye(4)[:2]
    named = {name: torch.tensor([-100, -100]) for name in teacher.attributes}
    named["tempo"] = torch.tensor([2, -100])
    loss = teacher.attribute_loss(embeddings, named)
    alone = torch.nn.functional.cross_entropy(
        teacher.attributes["tempo"](8 * embeddings[:1]), torch.tensor([2])
    )
    torch.testing.assert_close(loss, alone)


def test_heads_learn_a_rule():
    random = torch.Generator().manual_seed(0)
    audio, text = (
        torch.nn.functional.normalize(torch.randn(400, 16, generator=random), dim=1) for _ in range(2)
    )
    mos = torch.stack([3 + 4 * audio[:, 0], 3 + 4 * text[:, 1]], dim=1)
    heads = headwork.train_heads(EmbeddedClips(audio, text, mos), HeadRecipe(steps=400), seed=1)
    assert isinstance(heads, Heads)
    with torch.inference_mode():
        assert float((heads(audio, text) - mos).abs().mean()) < 0.15 * float((mos - 3).abs().mean())


def test_spectrograms_do_not_depend_on_loudness():
    random = np.random.default_rng(0)
    sound = (0.1 * random.standard_normal(160_000)).astype(np.float32)
    assert log_mels(sound).shape == (1, 1001, 64)
    assert np.abs(log_mels(sound).astype(float) - log_mels(sound / 8).astype(float)).max() < 0.05
