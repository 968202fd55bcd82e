"""The build of the embedded judge, from a seed.

Compose a pool of pieces, train the small CLAP on them by contrast, train the heads on a simulated panel's
ratings with the trainer of every other judge, measure on systems, pieces and raters of other seeds, and write
a checkpoint folder.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core.checkpoint import Heads, save_checkpoint
from core.embeddings import EmbeddedClips, clip_values
from core.evaluation import Predictions, error_estimate, measure, predicted
from core.metrics import METRICS
from core.scales import MUSICEVAL, keys
from core.towers.clap import ClapTower
from core.training.loop import fit_heads
from core.training.recipe import RECIPES, Recipe
from tools.demo_judge import panel
from tools.demo_judge.contrast import ContrastRecipe, train_tower
from tools.demo_judge.material import POLICY, WHOLE_BAND, mels_of_clips, pieces
from tools.demo_judge.panel import SimulatedClip

CHECKPOINT_ID = "demo-small"
DATA = "composed clips rated by a simulated panel"
AT_ONCE = 64


def _head_recipe() -> Recipe:
    # About 1,500 steps over 20,000 clips; the panel is noisier than it is large, so the decay is strong.
    return dataclasses.replace(RECIPES["frozen"], batch_size=256, weight_decay=1.0, epochs=19)


@dataclass(frozen=True)
class BuildRecipe:
    """Everything that the build depends on."""

    seed: int = 1
    pieces: int = 10_000
    contrast: ContrastRecipe = field(default_factory=ContrastRecipe)
    tuning_pieces: int = 5_000  # heard through the input policy, after the whole band
    tuning: ContrastRecipe = field(default_factory=lambda: ContrastRecipe(batches=600, learning_rate=4e-4))
    heads: Recipe = field(default_factory=_head_recipe)
    rated_systems: int = 100
    held_out_systems: int = 20
    clips_per_system: int = 50
    prompts_per_clip: int = 4  # of those rated for training: alignment is the harder one to learn


def build(recipe: BuildRecipe, folder: Path, device: torch.device | None = None) -> dict[str, Any]:
    """Build the judge into a folder, on a GPU where there is one; return the content of ``metrics.json``."""
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wide = pieces(recipe.pieces, recipe.seed, WHOLE_BAND)
    tower = train_tower(wide, recipe.contrast, recipe.seed, device)
    narrow = pieces(recipe.tuning_pieces, recipe.seed + 1)
    tower = train_tower(narrow, recipe.tuning, recipe.seed + 1, device, start=tower)
    tower.load_weights({key: _half(value) for key, value in tower.weights().items()})  # as it will be stored
    seed, each = recipe.seed + 1_000, recipe.clips_per_system
    rated = [*panel.simulate(recipe.rated_systems, each, seed, prompts_each=recipe.prompts_per_clip)]
    mos = torch.tensor([clip.mos for clip in rated])
    rows = range(len(rated))
    heads = fit_heads(embed(tower, rated), mos, rows, (), recipe.heads, recipe.seed, MUSICEVAL)
    metrics = {"held_out": _measure(heads, tower, recipe)}
    settings = dataclasses.asdict(recipe)
    save_checkpoint(
        folder,
        checkpoint_id=CHECKPOINT_ID,
        tower=tower,
        heads=heads,
        policy=POLICY,
        metrics=metrics,
        model_card=_model_card(metrics["held_out"], settings),
        demo=True,
        provenance={"data": DATA, "recipe": settings, "torch": torch.__version__, "device": device.type},
        dtype=torch.float16,
    )
    return metrics


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.half().float() if value.is_floating_point() else value


@torch.inference_mode()
def embed(tower: ClapTower, clips: Sequence[SimulatedClip]) -> EmbeddedClips:
    """Embed clips of one window each; a sound that stands with several prompts is heard once."""
    mels = mels_of_clips(clips)
    windows = torch.from_numpy(np.concatenate([*mels.values()]))[:, None]
    heard = [tower.embed_features(some.to(tower.device).float()).cpu() for some in torch.split(windows, AT_ONCE)]
    places = {seed: place for place, seed in enumerate(mels)}
    prompts = [clip.prompt for clip in clips]
    text = [tower.embed_text(prompts[n : n + AT_ONCE]).cpu() for n in range(0, len(prompts), AT_ONCE)]
    audio = torch.cat(heard)[[places[clip.seed] for clip in clips]]
    # Training needs tensors that were not made in inference mode.
    return EmbeddedClips(audio.clone(), torch.arange(len(clips)), torch.cat(text).clone())


def _measure(heads: Heads, tower: ClapTower, recipe: BuildRecipe) -> dict[str, Any]:
    """Measure errors on systems, pieces and raters that nothing was trained on."""
    clips = [*panel.simulate(recipe.held_out_systems, recipe.clips_per_system, recipe.seed + 2_000)]
    values, mos = clip_values(heads, embed(tower, clips)), np.array([clip.mos for clip in clips])
    table = pd.DataFrame({"system_id": [clip.system_id for clip in clips]})
    for column, key in enumerate(keys(MUSICEVAL)):
        table[key] = mos[:, column]
        table[predicted(key)] = np.clip(values[:, column], 1.0, 5.0)
    predictions = Predictions(table, MUSICEVAL)
    error = error_estimate(predictions, DATA, "clips of systems that the model was not trained on")
    return {**error, **measure(predictions, seed=recipe.seed).to_json()}


def _model_card(held_out: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    rows = [
        f"| {scale.title.lower()} | {level} | {held_out[level][scale.key]['n']} | "
        + " | ".join(f"{held_out[level][scale.key][metric]:.3f}" for metric in METRICS)
        + " |"
        for scale in MUSICEVAL
        for level in ("utterance", "system")
    ]
    return CARD.format(
        table="\n".join(rows),
        level=held_out["interval_level"],
        impression=held_out["absolute_error_quantile"]["musical_impression"],
        alignment=held_out["absolute_error_quantile"]["textual_alignment"],
        pieces=settings["pieces"],
        batches=settings["contrast"]["batches"],
        tuning_pieces=settings["tuning_pieces"],
        tuning_batches=settings["tuning"]["batches"],
        batch_size=settings["contrast"]["batch_size"],
        rated=settings["rated_systems"] * settings["clips_per_system"],
        systems=settings["rated_systems"],
        prompts=settings["prompts_per_clip"],
        seed=settings["seed"],
    )


CARD = """# demo-small: MusicEval's embedded demo judge

**Not an expert panel.** This checkpoint was trained on music composed by rule and on the ratings of simulated
raters. It makes every part of MusicEval run and respond sensibly on a fresh machine. Do not report its
scores.

- Towers: LAION-CLAP's classes at a small size (`small`), trained from scratch by contrast on {pieces}
  composed pieces of 10 s, each clean and with faults, and their captions ({batches} batches of {batch_size}),
  then on {tuning_pieces} more as the input policy lets them through ({tuning_batches} batches).
- Heads: two three-layer MLPs, L1 loss, on {rated} clips of {systems} simulated systems, each against
  {prompts} prompts, five simulated ratings each.
- Input policy: 16 kHz mono, up to 7 kHz of it, -23 LUFS.
- Made by `python -m tools.demo_judge build` (seed {seed}); weights are stored in float16.

## Held-out error

Other simulated systems, pieces and raters. For {level:.0%} of the clips the panel's mean lies within
{impression:.2f} (musical impression) and {alignment:.2f} (textual alignment) of the score.

| scale | level | n | MSE | LCC | SRCC | KTAU |
|---|---|---|---|---|---|---|
{table}

## Limits

It knows English captions in the words of its composer, some thirty instruments and twenty genres by rule,
and ten kinds of fault. Real singing, real rooms and real mixes are outside what it has heard.
"""
