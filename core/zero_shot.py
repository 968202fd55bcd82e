"""Scores from a CLAP that no head was trained on: *zero-shot*, calibrated by no rating.

    textual alignment     cosine between a window and the prompt, from 0 (that is 1) to 0.5 (5)
    musical impression    whether a window sounds like descriptions of good music or of bad: the probability
                          of the better of two opposites at CLAP's own temperature, as in CLIP-IQA (Wang et
                          al. 2022, arXiv 2207.12396); the mean of some pairs, from 0 (1) to 1 (5)

Where the head of `core.preference` was fetched for the official CLAP, it takes the place of the opposites:
then there is no value of musical impression, but a rank among reference clips.

Both ends are a choice. Such scores order clips roughly; they are no experts' scores, have no interval, and
carry the warning ``zero_shot``.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, stack

from core.audio import AudioLimits
from core.batch.manifest import AUDIO_SUFFIXES
from core.checkpoint import Checkpoint
from core.errors import CheckpointError, shown_name
from core.heads import Heads
from core.scales import MAX_SCORE, MIN_SCORE, MUSICAL_IMPRESSION, MUSICEVAL, TEXTUAL_ALIGNMENT, Scales
from core.scorer import Item, Scorer
from core.scores import Unscored
from core.towers import StartingTower, Tower, load_tower

if TYPE_CHECKING:
    from core.preference import Preference

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

    def __init__(self, tower: Tower, scales: Scales = MUSICEVAL) -> None:
        super().__init__(tower.dim, ())  # without the layers of trained heads
        self.scales = scales
        with torch.no_grad():
            texts = tower.embed_text([text for pair in OPPOSITES for text in pair]).cpu()
            self.register_buffer("contrasts", tower.cosine_scale * (texts[0::2] - texts[1::2]))

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Return the values of each pair of embeddings, (n, dim) each, as (n, n_scales); not clamped."""
        better = (audio @ self.contrasts.T).sigmoid().mean(dim=-1)
        fits = (audio * text).sum(dim=-1) / HIGHEST_COSINE
        shares = {MUSICAL_IMPRESSION.key: better, TEXTUAL_ALIGNMENT.key: fits}
        return MIN_SCORE + (MAX_SCORE - MIN_SCORE) * stack([shares[scale.key] for scale in self.scales], dim=-1)


def load_scorer(model: Path | None, zero_shot: str | None, *options: Any, **named: Any) -> Scorer:
    """Load what judges: the model of a folder, or a tower without trained heads.

    `model` and the options are those of `core.scorer.Scorer.load`; `zero_shot` names a tower of
    `core.towers.TOWERS`, and then the model is not looked at. CheckpointError where it cannot be loaded.
    """
    if not zero_shot:
        return Scorer.load(model, *options, **named)
    from core.pinned import OFFICIAL
    from core.preference import load_preference

    start = load_tower(zero_shot)
    named["preference"] = load_preference(start, OFFICIAL) if zero_shot == OFFICIAL.tower else None
    return Scorer(zero_shot_checkpoint(start, named["preference"]), *options, **named)


def zero_shot_checkpoint(start: StartingTower, preference: "Preference | None" = None) -> Checkpoint:
    """Put a tower and heads that learned nothing together; it has no error estimate, so no intervals."""
    scales = (TEXTUAL_ALIGNMENT,) if preference else MUSICEVAL
    what = json.dumps([start.sha256, preference.sha256 if preference else OPPOSITES, HIGHEST_COSINE])
    return Checkpoint(
        id=f"zero-shot {start.name}{' with TuneJury A1' if preference else ''}",
        sha256=hashlib.sha256(what.encode()).hexdigest(),
        demo=False,
        caveat=start.caveat,
        tower=start.tower,
        heads=ZeroShotHeads(start.tower, scales).eval(),
        policy=start.policy,
        scales=scales,
        error_estimate=None,
        metrics={},
        config={},
    )


def measure_references(folder: Path, limits: AudioLimits, device: torch.device, report: Callable[[str], None]) -> None:
    """Have the preference head hear the clips of a folder, and keep what it makes of them.

    `report` is told of each clip that cannot be heard. CheckpointError where too few can be.
    """
    from core.pinned import OFFICIAL
    from core.preference import keep_references, load_preference

    start = load_tower(OFFICIAL.tower)
    preference = load_preference(start, OFFICIAL)
    if preference is None:
        raise CheckpointError("There is no preference head. Give `python -m core fetch-clap --preference`.")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    report(f"Hearing {len(paths):,} reference clips.")
    scorer = Scorer(zero_shot_checkpoint(start, preference), limits, device, preference=preference)
    values = {}
    for path, result in zip(paths, scorer.score_many(Item(path, "") for path in paths), strict=True):
        if isinstance(result, Unscored):
            report(f"{shown_name(path.name)} is left out: {result.reason}")
        elif result.preference:
            values[result.provenance.audio.sha256] = result.preference.value
    keep_references(OFFICIAL, start, preference.head_sha256, values)
    report(f"A clip is now ranked among {len(values):,} reference clips.")
