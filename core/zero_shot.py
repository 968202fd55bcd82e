"""Scores from a CLAP that no head was trained on: *zero-shot*, calibrated by no rating.

    textual alignment     cosine between a window and the prompt, from 0 (that is 1) to 0.5 (5)
    musical impression    whether a window sounds like descriptions of good music or of bad: the probability
                          of the better of two opposites at CLAP's own temperature, as in CLIP-IQA (Wang et
                          al. 2022, arXiv 2207.12396); the mean of some pairs, from 0 (1) to 1 (5)

Both ends are a choice. Such scores order clips roughly; they are no experts' scores, have no interval, and
carry the warning ``zero_shot``.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, stack

from core.checkpoint import Checkpoint, Heads
from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL
from core.scorer import Scorer
from core.towers import StartingTower, Tower, load_tower

OPPOSITES = (  # better, worse
    ("high quality music", "low quality music"),
    ("a clean, professional studio recording of music", "a noisy, distorted, amateur recording of music"),
    ("a beautiful and pleasant piece of music", "an ugly and unpleasant piece of music"),
    ("well composed music with a clear structure", "incoherent and aimless music"),
)
HIGHEST_COSINE = 0.5


class ZeroShotHeads(Heads):
    """Both values from embeddings alone; nothing in it is learned. The tower embeds the descriptions."""

    contrasts: Tensor

    def __init__(self, tower: Tower) -> None:
        super().__init__(tower.dim, ())  # without the layers of trained heads
        self.scales = MUSICEVAL
        with torch.no_grad():
            texts = tower.embed_text([text for pair in OPPOSITES for text in pair]).cpu()
            self.register_buffer("contrasts", tower.cosine_scale * (texts[0::2] - texts[1::2]))

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Return the values of each pair of embeddings, (n, dim) each, as (n, 2); not clamped."""
        better = (audio @ self.contrasts.T).sigmoid().mean(dim=-1)
        fits = (audio * text).sum(dim=-1) / HIGHEST_COSINE
        return MIN_SCORE + (MAX_SCORE - MIN_SCORE) * stack([better, fits], dim=-1)


def load_scorer(model: Path | None, zero_shot: str | None, *options: Any, **named: Any) -> Scorer:
    """Load what judges: the model of a folder, or a tower without trained heads.

    `model` and the options are those of `core.scorer.Scorer.load`; `zero_shot` names a tower of
    `core.towers.TOWERS`, and then the model is not looked at. CheckpointError where it cannot be loaded.
    """
    if zero_shot:
        return Scorer(zero_shot_checkpoint(load_tower(zero_shot)), *options, **named)
    return Scorer.load(model, *options, **named)


def zero_shot_checkpoint(start: StartingTower) -> Checkpoint:
    """Put a tower and heads that learned nothing together; it has no error estimate, so no intervals."""
    what = json.dumps([start.sha256, OPPOSITES, HIGHEST_COSINE])
    return Checkpoint(
        id=f"zero-shot {start.name}",
        sha256=hashlib.sha256(what.encode()).hexdigest(),
        demo=False,
        caveat=start.caveat,
        tower=start.tower,
        heads=ZeroShotHeads(start.tower).eval(),
        policy=start.policy,
        error_estimate=None,
        metrics={},
        config={},
    )
