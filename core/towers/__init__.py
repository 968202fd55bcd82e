"""Towers: what turns windows of audio and prompts of text into vectors that heads can judge.

`Tower` says what the rest of the project asks of one; `TOWERS` is the registry. A new tower is one new file
and one line of `TOWERS`: how it starts, how a checkpoint brings it back, what its clips must be like, and
what has to be said wherever its scores are shown.

Conventions: a window is 480,000 float32 samples (10 s at 48 kHz, `core.audio`), whatever the tower makes of
it; embeddings are float32; a tower in eval mode draws no random number, and gives a window the same
embedding alone and in a batch, within 1e-6.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from core.audio import WINDOW_SAMPLES, InputPolicy, Samples
from core.errors import CheckpointError

Windows = Tensor | Samples  # (n, 480000)
Weights = Mapping[str, Tensor]


class Tower(Protocol):
    """A torch module that embeds audio and text.

    `training`, `to`, `eval` and `requires_grad_` are those of any module.
    """

    name: str  # its key in `TOWERS`
    dim: int  # length of an embedding
    sequence_dim: int  # length of what is heard in a frame
    training: bool

    @property
    def compiled(self) -> Collection[str]:
        """Precisions in which OpenVINO is faster on a CPU."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        ...

    @property
    def cosine_scale(self) -> float:
        """What its training multiplied cosines with before a softmax: zero-shot scores need it."""
        ...

    def features(self, windows: Windows) -> Tensor:
        """Return what is computed of windows without anything learned, batch first; no gradient."""
        ...

    def embed_features(self, features: Tensor) -> Tensor:
        """Embed what `features` returned, to (n, dim)."""
        ...

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `embed_features` does, and each moment of it, (n, frames, sequence_dim), in one pass.

        Frames are evenly spaced, and as many in each window.
        """
        ...

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed n prompts, to (n, dim)."""
        ...

    def embed_tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        """Embed the words, or parts of words, of each of n prompts, to (n_tokens, dim)."""
        ...

    def read(self, prompt: str) -> "PromptReading":
        """Say how a prompt is read."""
        ...

    def resembles(self, windows: Tensor) -> str:
        """Name what is no music and nearer to most of the windows, (n, dim), than any music that the tower knows.

        Empty for music, and where the tower does not know.
        """
        ...

    def weights(self) -> dict[str, Tensor]:
        """Return everything learned: what a checkpoint stores."""
        ...

    def load_weights(self, weights: Weights) -> None:
        """Take weights as of `weights()`; CheckpointError where they are of another tower."""
        ...

    def learned_parameters(self) -> list[nn.Parameter]:
        """Return what fine-tuning may change."""
        ...

    def tokenizer_files(self) -> list[Path]:
        """Return the files that a checkpoint must hold beside the weights."""
        ...

    def to(self, device: torch.device | str) -> Any: ...  # noqa: D102

    def eval(self) -> Any: ...  # noqa: D102

    def requires_grad_(self, requires_grad: bool = True) -> Any: ...  # noqa: D102


@dataclass(frozen=True)
class PromptReading:
    """How a tower reads a prompt."""

    unknown: Sequence[str] = ()  # words that are not read because they are not known
    is_cut: bool = False  # whether its end is not read
    of_music: Literal["enough", "little", "nothing"] = "enough"  # what the words that are read say of it


@dataclass(frozen=True)
class TowerEntry:
    """How a tower is made; the errors of both functions are CheckpointError."""

    start: Callable[[], Tower]  # with the weights that training starts from
    restore: Callable[[Weights, Path], Tower]  # with the weights of a checkpoint, and its folder
    policy: InputPolicy = field(default_factory=InputPolicy)  # what its clips are brought to
    caveat: str = ""  # what it did not learn from, as part of a sentence; empty if it heard real music


@dataclass(frozen=True)
class StartingTower:
    """A tower that heads can be put on: in eval mode, its weights frozen and hashed."""

    name: str
    tower: Tower
    policy: InputPolicy
    sha256: str
    caveat: str


def waveforms(windows: Windows) -> Tensor:
    """Return windows as a tensor of float32; ValueError for another shape than (n, 480000)."""
    given = torch.as_tensor(windows, dtype=torch.float32)
    if given.ndim != 2 or given.shape[1] != WINDOW_SAMPLES:
        raise ValueError(f"windows have shape (n, {WINDOW_SAMPLES}), not {tuple(given.shape)}")
    return given


def load_tower(name: str) -> StartingTower:
    """Load a tower of `TOWERS` to start from; CheckpointError where it is unknown or not on this machine."""
    entry = _entry(name)
    tower = entry.start().eval().requires_grad_(False)
    return StartingTower(name, tower, entry.policy, tower_sha256(tower), entry.caveat)


def restore_tower(name: str, weights: Weights, folder: Path) -> Tower:
    """Bring a tower back from a checkpoint's weights and folder, in eval mode and frozen."""
    tower: Tower = _entry(name).restore(weights, folder).eval().requires_grad_(False)
    return tower


def tower_sha256(tower: Tower) -> str:
    """Hash what a tower has learned: names, types, shapes and values of its weights."""
    digest = hashlib.sha256(tower.name.encode())
    for name, weight in sorted(tower.weights().items()):
        digest.update(f"\n{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _entry(name: str) -> TowerEntry:
    if name not in TOWERS:
        raise CheckpointError(f"There is no tower {name!r}. The towers are {', '.join(TOWERS)}.")
    return TOWERS[name]


# The imports are late: a tower's file may need a checkpoint, and a checkpoint needs this module.


def _clap(name: str) -> Callable[[Weights, Path], Tower]:
    def restore(weights: Weights, folder: Path) -> Tower:
        from core.towers.clap import ClapTower

        return ClapTower.restore(name, weights, folder)

    return restore


def _embedded() -> Tower:
    from core.checkpoint import load_checkpoint
    from core.model_files import EMBEDDED_JUDGE

    return load_checkpoint(EMBEDDED_JUDGE).tower


def _official() -> Tower:
    from core.towers.official import load_official

    return load_official()


def _muq() -> Tower:
    from core.towers.muq import start

    return start()


def _muq_again(weights: Weights, folder: Path) -> Tower:
    from core.towers.muq import MuqTower

    return MuqTower.restore(weights, folder)


def _ears_again(weights: Weights, folder: Path) -> Tower:
    from core.towers.ears import EarsTower

    return EarsTower.restore(weights, folder)


def _no_longer() -> Tower:
    raise CheckpointError(
        "The tower small no longer comes with MusicEval: a model that has it scores, and no new one is trained on it. "
        "Take ears."
    )


TOWERS: dict[str, TowerEntry] = {
    "ears": TowerEntry(_embedded, _ears_again),  # the embedded judge's
    "music-audioset": TowerEntry(_official, _clap("music-audioset")),  # the CLAP that the MusicEval paper fine-tunes
    "muq": TowerEntry(_muq, _muq_again),  # MuQ-MuLan
    "small": TowerEntry(_no_longer, _clap("small"), caveat="its towers learned composed music only"),  # of before
}
