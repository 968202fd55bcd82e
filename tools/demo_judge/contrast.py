"""Contrastive training of the small CLAP on composed music and its captions.

The loss is CLAP's symmetric cross-entropy over a batch, and beside it: the piece's attributes predicted from
the audio embedding and, by the same classifiers, those that the caption names from the text embedding; the
severities of the clip's faults, and the impression that they leave, from the audio embedding. The classifiers
only teach; they are thrown away.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from core.towers.clap import ClapTower
from tools.demo_judge import captions, faults
from tools.demo_judge.captions import Caption
from tools.demo_judge.composer import DENSITIES, MOODS, SCALES, TEMPOS, Random
from tools.demo_judge.genres import GENRES, KITS
from tools.demo_judge.material import Piece
from tools.demo_judge.timbres import TIMBRES

VALUES: Mapping[str, tuple[str, ...]] = {
    "genre": tuple(GENRES),
    "lead": tuple(TIMBRES),
    "kit": tuple(KITS),
    "tempo": TEMPOS,
    "mood": MOODS,
    "backing": tuple(TIMBRES),
    "mode": tuple(SCALES),
    "bass": tuple(TIMBRES),
    "density": DENSITIES,
}
NOT_NAMED = -100  # cross_entropy's ignore_index
SHARPNESS = 8.0  # unit embeddings are stretched so that classifiers can be sure of something


@dataclass(frozen=True)
class ContrastRecipe:
    """How the towers are trained."""

    batches: int = 2500
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warm_up: int = 60
    spoiled_share: float = 0.6  # of a batch: clips with faults
    attribute_weight: float = 0.4
    text_attribute_weight: float = 0.4
    fault_weight: float = 15.0
    impression_weight: float = 2.0


class Teacher(nn.Module):
    """Readings of an embedding: one classifier an attribute, one severity a fault, one impression."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.attributes = nn.ModuleDict({name: nn.Linear(dim, len(values)) for name, values in VALUES.items()})
        self.faults = nn.Sequential(nn.Linear(dim, 128), nn.GELU(), nn.Linear(128, len(faults.NAMES) + 1))

    def attribute_loss(self, embeddings: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Mean cross-entropy over the attributes that anyone in the batch has."""
        losses = [
            functional.cross_entropy(layer(SHARPNESS * embeddings), targets[name], ignore_index=NOT_NAMED)
            for name, layer in self.attributes.items()
            if bool((targets[name] != NOT_NAMED).any())
        ]
        return torch.stack(losses).mean()

    def fault_losses(self, embeddings: Tensor, severities: Tensor, impressions: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the severities, each taken as a probability; absolute error of the impression."""
        read = self.faults(SHARPNESS * embeddings)
        severity_loss = functional.binary_cross_entropy_with_logits(read[:, :-1], severities)
        return severity_loss, functional.l1_loss(3.0 + read[:, -1], impressions)


def train_tower(
    pieces: Sequence[Piece], recipe: ContrastRecipe, seed: int, device: torch.device, start: ClapTower | None = None
) -> ClapTower:
    """Train a small tower."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tower = (start or _new_tower(pieces)).to(device).train()
        teacher = Teacher(tower.dim).to(device)
        _train(tower, teacher, pieces, recipe, np.random.default_rng([seed, 1]))
    return tower.eval().cpu()


def _train(tower: ClapTower, teacher: Teacher, pieces: Sequence[Piece], recipe: ContrastRecipe, random: Random) -> None:
    parameters = [*tower.parameters(), *teacher.parameters()]
    learned = [p for p in parameters if p.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, recipe))
    bar = tqdm(range(recipe.batches), "contrast", unit="batch")
    for _ in bar:
        losses = _losses(tower, teacher, pieces, recipe, random)
        loss = torch.stack([recipe_weight * value for recipe_weight, value in losses.values()]).sum()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        schedule.step()
        bar.set_postfix({name: f"{float(value.detach()):.3f}" for name, (_, value) in losses.items()})


def _rate(step: int, recipe: ContrastRecipe) -> float:
    """Linear warm-up, then a cosine to zero."""
    if step < recipe.warm_up:
        return (step + 1) / recipe.warm_up
    return 0.5 + 0.5 * math.cos(math.pi * (step - recipe.warm_up) / max(1, recipe.batches - recipe.warm_up))


def _losses(
    tower: ClapTower, teacher: Teacher, pieces: Sequence[Piece], recipe: ContrastRecipe, random: Random
) -> dict[str, tuple[float, Tensor]]:
    device = tower.device
    chosen = [pieces[i] for i in random.choice(len(pieces), min(recipe.batch_size, len(pieces)), replace=False)]
    spoiled = random.random(len(chosen)) < recipe.spoiled_share
    mels = np.stack([piece.mels[int(bad)] for piece, bad in zip(chosen, spoiled, strict=True)])
    severities = np.stack([piece.severities * bad for piece, bad in zip(chosen, spoiled, strict=True)])
    written = [_caption(piece, float(s.max()), random) for piece, s in zip(chosen, severities, strict=True)]
    with torch.autocast(device.type, torch.bfloat16, enabled=_fast_bfloat16(device)):
        audio = tower.embed_features(torch.from_numpy(mels).to(device).float()[:, None])
        text = tower.embed_text([caption.text for caption in written])
    similarity = audio @ text.T * tower.clap.logit_scale_a.exp().clamp(max=100.0)
    same = torch.arange(len(chosen), device=device)
    fault_loss, impression_loss = teacher.fault_losses(audio, *_quality(severities, device))
    heard = _targets([captions.labels(piece.attributes) for piece in chosen], device)
    named = _targets([caption.named for caption in written], device)
    return {
        "contrast": (0.5, functional.cross_entropy(similarity, same) + functional.cross_entropy(similarity.T, same)),
        "heard": (recipe.attribute_weight, teacher.attribute_loss(audio, heard)),
        "named": (recipe.text_attribute_weight, teacher.attribute_loss(text, named)),
        "faults": (recipe.fault_weight, fault_loss),
        "impression": (recipe.impression_weight, impression_loss),
    }


def _caption(piece: Piece, worst: float, random: Random) -> Caption:
    """A caption that sometimes speaks of the recording, too."""
    caption = captions.write(piece.attributes, random)
    if random.random() > 0.2:
        return caption
    words = captions.POOR_WORDS if worst > 0.4 else captions.GOOD_WORDS
    return Caption(f"{caption.text} {random.choice(words)}", caption.named)


def _targets(labels: Sequence[Mapping[str, str]], device: torch.device) -> dict[str, Tensor]:
    return {
        name: torch.tensor(
            [values.index(label[name]) if name in label else NOT_NAMED for label in labels], device=device
        )
        for name, values in VALUES.items()
    }


def _quality(severities: NDArray[np.float32], device: torch.device) -> tuple[Tensor, Tensor]:
    """Severities (n, n_faults) and the impressions (n,) that they leave."""
    impressions = [faults.impression(dict(zip(faults.NAMES, row, strict=True))) for row in severities]
    return torch.from_numpy(severities).to(device), torch.tensor(impressions, device=device).float()


def _new_tower(pieces: Sequence[Piece]) -> ClapTower:
    """Build a tower whose input normalisation starts from the pool's own statistics."""
    tower = ClapTower.build("small")
    sample = np.concatenate([piece.mels for piece in pieces[:200]]).astype(np.float32)
    norm = tower.clap.audio_branch.bn0
    norm.running_mean.copy_(torch.from_numpy(sample.mean(axis=(0, 1))))
    norm.running_var.copy_(torch.from_numpy(sample.var(axis=(0, 1)) + 1.0))
    return tower


def _fast_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())
