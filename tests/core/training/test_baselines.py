"""Controls: the recipe hears what is in the audio, the others do not."""

import dataclasses

import numpy as np
import pytest
import torch

from core.heads import EmbeddedClips
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL, keys
from core.splits import Split
from core.training.baselines import METHODS, compare
from core.training.recipe import RECIPES
from tests.rated import rated_table

CLIPS, DIM = 60, 8
MI, TA = keys(MUSICEVAL)


@pytest.fixture
def clips() -> RatedClips:
    return rated_table(CLIPS)


@pytest.fixture
def embedded(clips: RatedClips) -> EmbeddedClips:
    """Two windows a clip whose first number tells the impression; prompts tell nothing."""
    random = torch.Generator().manual_seed(0)
    audio = torch.randn(2 * CLIPS, DIM, generator=random)
    owner = torch.arange(CLIPS).repeat_interleave(2)
    audio[:, 0] = torch.tensor(clips.table["musical_impression"].to_numpy(), dtype=torch.float32)[owner] - 3
    return EmbeddedClips(audio, owner, torch.randn(CLIPS, DIM, generator=random))


def test_only_the_recipe_hears(clips: RatedClips, embedded: EmbeddedClips) -> None:
    told: list[float] = []
    split, recipe = Split("random", folds=3), dataclasses.replace(RECIPES["frozen"], epochs=20, batch_size=16)
    measured = compare(clips, embedded, split, recipe, lambda share, _: told.append(share), resamples=20)
    assert tuple(measured) == METHODS
    assert told == pytest.approx([n / 18 for n in range(1, 19)])
    cosine = measured.pop("cosine")
    assert cosine.agreement.keys() == {("utterance", TA), ("system", TA)}
    assert cosine.agreement["utterance", TA].figures.keys() == {"lcc", "srcc", "ktau"}
    errors = {method: of.agreement["utterance", MI].figures["mse"] for method, of in measured.items()}
    variance = float(np.var(clips.table[MI]))
    assert errors["mean"] == pytest.approx(variance, rel=0.1)
    assert errors["recipe"] < 0.3 * min(error for method, error in errors.items() if method != "recipe")
    assert errors["system"] == pytest.approx(errors["mean"], rel=0.2)  # four systems that are about equally good
    for of in measured.values():
        assert {at: figures.n for at, figures in of.agreement.items()} == {
            (level, key): n for level, n in (("utterance", CLIPS), ("system", 4)) for key in (MI, TA)
        }
    assert measured["mean"].agreement["system", MI].figures.keys() == {"mse"}
    assert "srcc" in measured["system"].agreement["utterance", MI].figures
    assert measured["recipe"].no_intervals.keys() == {"utterance", "system"}  # of four systems


def test_on_held_out_systems_the_system_control_is_the_mean(clips: RatedClips, embedded: EmbeddedClips) -> None:
    split, recipe = Split("systems", folds=4), dataclasses.replace(RECIPES["frozen"], epochs=1)
    measured = compare(clips, embedded, split, recipe, lambda *_: None, resamples=0)
    assert measured["system"] == measured["mean"]
    assert measured["system"].agreement["utterance", MI].figures.keys() == {"mse"}


def test_without_folds_the_test_part_alone(clips: RatedClips, embedded: EmbeddedClips) -> None:
    split, recipe = Split("random", test_share=0.2), dataclasses.replace(RECIPES["frozen"], epochs=2)
    measured = compare(clips, embedded, split, recipe, lambda *_: None, resamples=0)
    assert measured["recipe"].agreement["utterance", MI].n == 12
    assert measured["mean"].agreement["utterance", MI].n == 12
    assert compare(clips, embedded, split, recipe, lambda *_: None, resamples=0) == measured


def test_clips_without_prompts_and_systems(clips: RatedClips, embedded: EmbeddedClips) -> None:
    table = clips.table.drop(columns=[TA, f"{TA}_sd"]).assign(prompt="", prompt_id="", system_id="")
    alone = RatedClips(table, clips.scales)
    split, recipe = Split("random", folds=3), dataclasses.replace(RECIPES["frozen"], epochs=20, batch_size=16)
    measured = compare(alone, embedded, split, recipe, lambda *_: None, resamples=20)
    assert tuple(measured) == ("recipe", "mean", "system", "shuffled")
    assert {at for of in measured.values() for at in of.agreement} == {("utterance", MI)}
    assert measured["recipe"].agreement["utterance", MI].figures["srcc"] > 0.7
    assert measured["recipe"].agreement["utterance", MI].intervals.keys() == {
        "mse",
        "lcc",
        "srcc",
        "ktau",
    }  # over clips
