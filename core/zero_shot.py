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

import torch
from torch import Tensor, nn, stack

from core.audio import AudioLimits
from core.checkpoint import Checkpoint
from core.clap import ClapTower
from core.heads import Heads
from core.scales import MAX_SCORE, MIN_SCORE
from core.scorer import Scorer
from core.towers import StartingTower, load_tower

OPPOSITES = (  # better, worse
    ("high quality music", "low quality music"),
    ("a clean, professional studio recording of music", "a noisy, distorted, amateur recording of music"),
    ("a beautiful and pleasant piece of music", "an ugly and unpleasant piece of music"),
    ("well composed music with a clear structure", "incoherent and aimless music"),
)
HIGHEST_COSINE = 0.5


class ZeroShotHeads(Heads):
    """Both values from embeddings alone; nothing in it is learned.

    Parameters
    ----------
    tower : ClapTower
        It embeds the descriptions.
    """

    contrasts: Tensor

    def __init__(self, tower: ClapTower) -> None:
        nn.Module.__init__(self)  # without the layers of trained heads
        self.dim = tower.dim
        with torch.no_grad():
            texts = tower.embed_text([text for pair in OPPOSITES for text in pair])
            steepness = tower.clap.logit_scale_a.exp() * (texts[0::2] - texts[1::2])
        self.register_buffer("contrasts", steepness)

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Values of each pair of embeddings, (n, dim) each, to (n, 2), as of trained heads; not clamped."""
        better = (audio @ self.contrasts.T).sigmoid().mean(dim=-1)
        fits = (audio * text).sum(dim=-1) / HIGHEST_COSINE
        return MIN_SCORE + (MAX_SCORE - MIN_SCORE) * stack([better, fits], dim=-1)


def load_scorer(
    model: Path | None,
    zero_shot: str | None,
    limits: AudioLimits | None = None,
    device: torch.device | None = None,
) -> Scorer:
    """Load what judges.

    Parameters
    ----------
    model : Path or None
        As :meth:`core.scorer.Scorer.load` takes it; not looked at for a zero-shot scorer.
    zero_shot : str or None
        The tower that judges without trained heads, as `core.towers.load_tower` takes it.
    limits, device
        As `core.scorer.Scorer` takes them.

    Raises
    ------
    CheckpointError
        The model cannot be loaded, or the tower is unknown or not on this machine.
    """
    if zero_shot:
        return Scorer(zero_shot_checkpoint(load_tower(zero_shot)), limits, device)
    return Scorer.load(model, limits, device)


def zero_shot_checkpoint(start: StartingTower) -> Checkpoint:
    """Put a tower and heads that learned nothing together; it has no held-out error."""
    what = json.dumps([start.sha256, OPPOSITES, HIGHEST_COSINE])
    return Checkpoint(
        id=f"zero-shot {start.name}",
        sha256=hashlib.sha256(what.encode()).hexdigest(),
        demo=False,
        caveat=start.caveat,
        tower=start.tower,
        heads=ZeroShotHeads(start.tower).eval(),
        policy=start.policy,
        held_out=None,
        metrics={},
        config={},
    )
