"""Builds the embedded judge: material, the tower from its packages, heads by the shared trainer, card, checkpoint.

The heads that ship learned from all clips of the survey. How far they are from people on others is measured by
folds: five times heads are trained without a fifth of the survey, which they then score.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from numpy.typing import NDArray

from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.embeddings import Asked, EmbeddingCache, clip_values
from core.evaluation import error_estimate, judged
from core.heads import EmbeddedClips, Heads
from core.model_files import CONFIG_FILE
from core.people import PeopleAgreement, measure_people
from core.scales import MUSICAL_IMPRESSION, keys
from core.training.lessons import Lessons
from core.training.loop import fit_heads
from core.training.recipe import Recipe, changed_recipe
from tools.judge.lessons import lessons
from tools.judge.packages import fetch, of_the_tower
from tools.judge.start import write_start

ID = "ears-6"
CAVEAT = "its impression learned from 52 clips that 293 people rated, mostly piano, and its alignment from captions"
FOLDS = 5
# Every part off: with 52 rated clips, what is not linear learns the clips by heart.
RECIPE = changed_recipe(
    "ordinal",
    {
        **dict.fromkeys(("attention", "product", "tokens"), False),
        **{"loss": "squared", "ranking": 0.0, "dropout": 0.0, "stop_on": "l1", "batch_size": 64},
        **{"optimizer": "adam", "weight_decay": 2.5, "learning_rate": 1e-2, "epochs": 200},  # ridge regression
        **{"margin": 0.8, "pair_weight": 1.7},
    },
)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Taught:
    """Heads that ship, and how others like them agree with people whose ratings they did not learn."""

    heads: Heads
    people: PeopleAgreement
    held_out: Mapping[str, Any]
    n_pairs: Mapping[str, int]


def build(material: Path, packages: Path, people: Path, folder: Path, cache: Path, seed: int, say: Say) -> None:
    """Write the checkpoint into a folder."""
    start = material / "start"
    if not (start / CONFIG_FILE).is_file():
        say("converting the ears")
        write_start(fetch(of_the_tower(), packages), material, start)
    say("embedding what is learned from, and training")
    taught = teach(load_checkpoint(start), material, people, cache, seed)
    write(taught, load_checkpoint(start), material, folder, seed)
    say(f"{folder}: {ID}")


def teach(start: Checkpoint, material: Path, people: Path, cache: Path, seed: int, recipe: Recipe = RECIPE) -> Taught:
    """Train heads for the tower of a checkpoint."""
    survey, learned = lessons(material, people, seed)
    embedded = learned.embed(EmbeddingCache(cache, start.tower, start.policy, asked=Asked(True, False)))
    predictions = judged(survey, _by_folds(embedded, learned, len(survey), recipe, seed), survey.scales)
    assert survey.opinions is not None
    [agreement] = measure_people(predictions, survey.opinions)
    held_out = error_estimate(
        predictions,
        "a survey of music by people and by a network, rated by 293 people",
        "clips of the survey, each scored by heads that had not learned it",
    )
    pairs = learned.target.pairs
    assert pairs is not None
    n_pairs = {scale.key: int((pairs.scale == at).sum()) for at, scale in enumerate(learned.target.scales)}
    return Taught(fit_heads(embedded, learned.target, recipe, seed), agreement, held_out, n_pairs)


def _by_folds(
    embedded: EmbeddedClips, learned: Lessons, n_rated: int, recipe: Recipe, seed: int
) -> NDArray[np.float64]:
    """Impressions of the survey's clips by heads that had not learned them, (n_rated, 1)."""
    order = np.random.default_rng([seed, 4]).permutation(n_rated)
    values = np.zeros((n_rated, 1))
    column = keys(learned.target.scales).index(MUSICAL_IMPRESSION.key)
    for fold in range(FOLDS):
        held_out = sorted(order[fold::FOLDS].tolist())
        rest = [row for row in learned.target.train if row not in held_out]
        heads = fit_heads(embedded, dataclasses.replace(learned.target, train=rest), recipe, seed)
        values[held_out, 0] = clip_values(heads, embedded.take(torch.tensor(held_out)))[:, column]
    return values


def write(taught: Taught, start: Checkpoint, material: Path, folder: Path, seed: int) -> None:
    """Write the checkpoint."""
    metrics = {"held_out": taught.held_out, "people": {MUSICAL_IMPRESSION.key: taught.people.to_json()}}
    save_checkpoint(
        folder,
        checkpoint_id=ID,
        tower=start.tower,
        heads=taught.heads,
        policy=start.policy,
        metrics=metrics,
        model_card=card(taught, (material / "SOURCES.md").read_text(encoding="utf-8")),
        demo=True,
        caveat=CAVEAT,
        provenance={"embedded": True, "data": "see README.md", "recipe": RECIPE.to_json(), "seed": seed},
    )


def card(taught: Taught, sources: str) -> str:
    """Write the model card."""
    text = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    template = jinja2.Template(text, keep_trailing_newline=True, trim_blocks=True)
    written: str = template.render(id=ID, caveat=CAVEAT, taught=taught, sources=sources, people=taught.people)
    return written
