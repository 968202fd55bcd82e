"""The towers that training starts from, by name, and what tells one tower from another: its weights."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from core.audio import InputPolicy
from core.checkpoint import load_checkpoint
from core.clap import ClapTower
from core.errors import CheckpointError
from core.scorer import DEMO_CHECKPOINT


@dataclass(frozen=True)
class StartingTower:
    """A tower that heads can be put on.

    Attributes
    ----------
    name : str
        A key of `TOWERS`.
    tower : ClapTower
        In eval mode, its weights frozen.
    policy : InputPolicy
        What its clips are brought to.
    sha256 : str
        Of its weights, `tower_sha256`.
    caveat : str
        What it did not learn from, as part of a sentence; empty for a tower that heard real music.
    """

    name: str
    tower: ClapTower
    policy: InputPolicy
    sha256: str
    caveat: str


def load_tower(name: str) -> StartingTower:
    """Load a tower.

    Parameters
    ----------
    name : str
        ``small``, the tower of the embedded demo model; or ``music-audioset``, the official CLAP that the
        MusicEval paper fine-tunes.

    Raises
    ------
    CheckpointError
        There is no such tower, or its weights are not on this machine; the message says what to do.
    """
    if name not in TOWERS:
        raise CheckpointError(f"There is no tower {name!r}. The towers are {', '.join(TOWERS)}.")
    return TOWERS[name]()


def tower_sha256(tower: ClapTower) -> str:
    """Hash what a tower has learned: names, types, shapes and values of its weights."""
    digest = hashlib.sha256(tower.spec.name.encode())
    for name, weight in sorted(tower.weights().items()):
        digest.update(f"\n{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _small() -> StartingTower:
    checkpoint = load_checkpoint(DEMO_CHECKPOINT)
    caveat = "its towers learned composed music only"
    return StartingTower("small", checkpoint.tower, checkpoint.policy, tower_sha256(checkpoint.tower), caveat)


def _music_audioset() -> StartingTower:
    from core.official.tower import load_official

    tower = load_official().eval().requires_grad_(False)
    return StartingTower("music-audioset", tower, InputPolicy(), tower_sha256(tower), "")


TOWERS: Mapping[str, Callable[[], StartingTower]] = {"small": _small, "music-audioset": _music_audioset}
