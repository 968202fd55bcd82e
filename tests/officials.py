"""A small stand-in for the official CLAP: its classes and formats, random weights, a made-up vocabulary."""

import functools
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from core.pinned import Official
from core.towers.clap import ROBERTA_VOCABULARY, SPECS, ClapTower, TowerSpec
from tests.hub import pinned

SPEC = TowerSpec(
    name="little",
    joint_dim=32,
    patch=8,
    width=16,
    depths=(1, 1, 1, 1),
    heads=(1, 2, 4, 8),
    classes=3,
    text={"model_type": "roberta", "vocab_size": 512, "width": 768, "heads": 12, "layers": 1},
)


def vocabulary() -> bytes:
    """Bytes as tokens, RoBERTa's marks, and filling up to RoBERTa's size; no merges."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]  # are shifted past the first 256 characters
    characters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    words = ["<s>", "<pad>", "</s>", "<unk>", *characters]
    words += [f"filling{i}" for i in range(ROBERTA_VOCABULARY - len(words) - 1)]
    return json.dumps({word: i for i, word in enumerate([*words, "<mask>"])}).encode()


VOCABULARY, MERGES = vocabulary(), b"#version: 0.2\n"


@dataclass(frozen=True)
class Little:
    """The stand-in and the bytes of its files."""

    official: Official
    files: dict[str, bytes]

    def write(self, folder: Path) -> Path:
        """Write all files into a folder; give the checkpoint's path."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder / self.official.weights.name


def state_dict() -> dict[str, Tensor]:
    """The weights as laion-clap saves them: from a wrapped model, by an older transformers."""
    state = {f"module.{key}": value for key, value in random_weights().items()}
    return state | {"module.text_branch.embeddings.position_ids": torch.arange(514)[None]}


@functools.cache
def random_weights() -> dict[str, Tensor]:
    """Weights that tell prompts apart, which one layer of RoBERTa as it is initialised does not."""
    with torch.random.fork_rng(devices=[]), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        patch.setitem(SPECS, SPEC.name, SPEC)  # type: ignore[arg-type]
        patch.setattr("core.towers.clap.RobertaTokens", lambda _: None)
        state = ClapTower.build(SPEC.name).clap.state_dict()
    return {key: 10 * value if ".attention." in key else value for key, value in state.items()}


def little(content: Any, **how: Any) -> Little:
    """Make the stand-in whose checkpoint holds this, for example ``checkpoint(state_dict())``."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    files = {"little.pt": buffer.getvalue(), "vocab.json": VOCABULARY, "merges.txt": MERGES}
    weights, *tokenizer = (pinned(name, file) for name, file in files.items())
    return Little(Official(SPEC.name, weights, tuple(tokenizer), prepared_bytes=40_000_000), files)


def checkpoint(state: dict[str, Tensor]) -> dict[str, Any]:
    """What laion-clap saves around the weights: its optimiser's state has numbers of NumPy in it."""
    moments = {"step": np.float64(7.0), "rate": np.float32(0.5), "exp_avg": torch.zeros(5)}
    return {"epoch": 15, "name": "little", "state_dict": state, "optimizer": {"state": {0: moments}}}
