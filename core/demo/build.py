"""The build of the embedded default checkpoint, from a seed.

Compose a pool of pieces, train the small CLAP on them by contrast, train the heads on a simulated panel's
ratings, measure on systems, pieces and raters of other seeds, and write a checkpoint folder.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core import metrics
from core.checkpoint import save_checkpoint
from core.clap import ClapTower
from core.demo import panel
from core.demo.contrast import ContrastRecipe, train_tower
from core.demo.headwork import EmbeddedClips, HeadRecipe, embed, train_heads
from core.demo.material import POLICY, WHOLE_BAND, mels_of_clips, pieces
from core.heads import Heads
from core.measuring import held_out, measure_all
from core.predictions import predicted
from core.scales import SCALES

CHECKPOINT_ID = "demo-small"
DATA = "composed clips rated by a simulated panel"


@dataclass(frozen=True)
class BuildRecipe:
    """Everything that the build depends on; the defaults made the committed checkpoint."""

    seed: int = 1
    pieces: int = 10_000
    contrast: ContrastRecipe = field(default_factory=ContrastRecipe)
    tuning_pieces: int = 5_000  # heard through the input policy, after the whole band
    tuning: ContrastRecipe = field(default_factory=lambda: ContrastRecipe(batches=600, learning_rate=4e-4))
    heads: HeadRecipe = field(default_factory=HeadRecipe)
    rated_systems: int = 100
    held_out_systems: int = 20
    clips_per_system: int = 50
    prompts_per_clip: int = 4  # of those rated for training: alignment is the harder one to learn


def build(recipe: BuildRecipe, folder: Path, device: torch.device | None = None) -> dict[str, Any]:
    """Build the demo checkpoint.

    Parameters
    ----------
    recipe : BuildRecipe
    folder : Path
        Where the checkpoint goes.
    device : torch.device, optional
        A GPU where there is one, otherwise the CPU.

    Returns
    -------
    dict
        The content of ``metrics.json``.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wide = pieces(recipe.pieces, recipe.seed, WHOLE_BAND)
    tower = train_tower(wide, recipe.contrast, recipe.seed, device)
    narrow = pieces(recipe.tuning_pieces, recipe.seed + 1)
    tower = train_tower(narrow, recipe.tuning, recipe.seed + 1, device, start=tower)
    tower.load_weights({key: _half(value) for key, value in tower.weights().items()})  # as it will be stored
    rated = _rated(tower, recipe, recipe.rated_systems, 1_000, recipe.prompts_per_clip)
    heads = train_heads(rated, recipe.heads, recipe.seed)
    measured = _measure(heads, tower, recipe)
    settings = dataclasses.asdict(recipe)
    save_checkpoint(
        folder,
        checkpoint_id=CHECKPOINT_ID,
        tower=tower,
        heads=heads,
        policy=POLICY,
        metrics={"held_out": measured},
        model_card=_model_card(measured, settings),
        demo=True,
        provenance={"data": DATA, "recipe": settings, "torch": torch.__version__, "device": device.type},
        dtype=torch.float16,
    )
    return {"held_out": measured}


def _half(value: torch.Tensor) -> torch.Tensor:
    return value.half().float() if value.is_floating_point() else value


def _rated(
    tower: ClapTower, recipe: BuildRecipe, systems: int, seed_offset: int, prompts_each: int = 1
) -> EmbeddedClips:
    seed = recipe.seed + seed_offset
    clips = list(panel.simulate(systems, recipe.clips_per_system, seed, prompts_each=prompts_each))
    return embed(tower, clips, mels_of_clips(clips))


@torch.inference_mode()
def _measure(heads: Heads, tower: ClapTower, recipe: BuildRecipe) -> dict[str, Any]:
    """Errors on systems, pieces and raters that nothing was trained on."""
    clips = _rated(tower, recipe, recipe.held_out_systems, 2_000)
    values = heads(clips.audio, clips.text).clamp(1, 5).numpy().astype(np.float64)
    truth = clips.mos.numpy().astype(np.float64)
    table = pd.DataFrame({"system_id": [f"S{i // recipe.clips_per_system:03d}" for i in range(len(truth))]})
    for i, scale in enumerate(SCALES):
        table[scale], table[predicted(scale)] = truth[:, i], values[:, i]
    return {**held_out(table, DATA), **measure_all(table, recipe.seed)[0]}


def _model_card(held_out: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    rows = [
        f"| {scale.replace('_', ' ')} | {level} | {held_out[level][scale]['n']} | "
        + " | ".join(f"{held_out[level][scale][metric]:.3f}" for metric in metrics.METRICS)
        + " |"
        for scale in SCALES
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
- Made by `python -m core demo build` (seed {seed}); weights are stored in float16.

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
