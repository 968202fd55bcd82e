"""Training of the two heads on rated clips, with the towers frozen: L1 on both scales, as in the paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.clap import ClapTower
from core.demo.material import Mels
from core.demo.panel import SimulatedClip
from core.heads import Heads


@dataclass(frozen=True)
class HeadRecipe:
    """How the heads are trained."""

    steps: int = 3000
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05


@dataclass(frozen=True)
class EmbeddedClips:
    """Rated clips as the heads see them.

    Attributes
    ----------
    audio : Tensor, (n, dim)
        Of each clip's one window.
    text : Tensor, (n, dim)
    mos : Tensor, (n, 2)
    """

    audio: Tensor
    text: Tensor
    mos: Tensor


@torch.inference_mode()
def embed(
    tower: ClapTower, clips: Sequence[SimulatedClip], mels: Sequence[Mels], batch_size: int = 64
) -> EmbeddedClips:
    """Embed clips of one window each."""
    stacked = torch.from_numpy(np.concatenate(mels))[:, None]
    audio = [
        tower.embed_log_mel(batch.to(tower.device).float()) for batch in torch.split(stacked, batch_size)
    ]
    prompts = [clip.prompt for clip in clips]
    text = [tower.embed_text(prompts[i : i + batch_size]) for i in range(0, len(prompts), batch_size)]
    mos = torch.tensor([clip.mos for clip in clips])
    return EmbeddedClips(torch.cat(audio).cpu(), torch.cat(text).cpu(), mos)


def train_heads(clips: EmbeddedClips, recipe: HeadRecipe, seed: int) -> Heads:
    """Train both heads together.

    Parameters
    ----------
    clips : EmbeddedClips
    recipe : HeadRecipe
    seed : int
        Seeds a fork of torch's generator.

    Returns
    -------
    Heads
        In eval mode.
    """
    audio, text, mos = clips.audio.clone(), clips.text.clone(), clips.mos.clone()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = Heads(audio.shape[1])
        optimiser = torch.optim.AdamW(
            heads.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, recipe.steps)
        for _ in range(recipe.steps):
            rows = torch.randint(len(mos), (recipe.batch_size,))
            loss = (heads(audio[rows], text[rows]) - mos[rows]).abs().mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    return heads.eval()
