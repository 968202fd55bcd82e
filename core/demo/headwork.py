"""Training of the two heads on rated clips, with the towers frozen: L1 on both scales, as in the paper."""

from collections.abc import Mapping, Sequence
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

    steps: int = 1500
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 1.0  # strong: the panel is noisier than it is large


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
    tower: ClapTower,
    clips: Sequence[SimulatedClip],
    mels: Mapping[tuple[int, ...], Mels],
    batch_size: int = 64,
) -> EmbeddedClips:
    """Embed clips of one window each; ``mels`` holds the windows by the clips' seeds."""
    windows = torch.from_numpy(np.concatenate(list(mels.values())))[:, None]
    heard = [
        tower.embed_log_mel(batch.to(tower.device).float()) for batch in torch.split(windows, batch_size)
    ]
    places = {seed: place for place, seed in enumerate(mels)}
    audio = torch.cat(heard)[[places[clip.seed] for clip in clips]]
    prompts = [clip.prompt for clip in clips]
    text = [tower.embed_text(prompts[i : i + batch_size]) for i in range(0, len(prompts), batch_size)]
    mos = torch.tensor([clip.mos for clip in clips])
    return EmbeddedClips(audio.cpu(), torch.cat(text).cpu(), mos)


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
        for head, mean in zip((heads.musical_impression, heads.textual_alignment), mos.mean(0), strict=True):
            torch.nn.init.constant_(head[-1].get_parameter("bias"), float(mean))
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
