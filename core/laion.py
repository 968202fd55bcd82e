"""laion-clap's own networks, at the shape that we ask for and without the downloads that it starts.

The classes are ``clap_module``'s (Wu et al. 2023, arXiv 2211.06687; audio encoder HTS-AT, Chen et al. 2022,
arXiv 2202.00874). ``import laion_clap`` fetches three tokenizers; its inner package does not, so that is what
is imported, from laion-clap's own folder. Its constructor fetches RoBERTa's weights, which every CLAP
checkpoint then overwrites: here the text encoder is built from its configuration.
"""

import contextlib
import functools
import importlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

from torch import nn

from core.errors import CheckpointError

MAX_TOKENS = 77  # both text encoders; the begin and end marks are two of them
ROBERTA_VOCABULARY = 50_265

_BUILDING = threading.Lock()  # building swaps parts of laion-clap


@dataclass(frozen=True)
class TowerSpec:
    """The shape of a CLAP: enough to build it with random weights."""

    name: str
    joint_dim: int
    patch: int
    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    classes: int  # AudioSet's classifier, unused here but part of the official checkpoint
    text: Mapping[str, Any]

    @property
    def audio_dim(self) -> int:
        """Width of HTSAT's output before the projection into the joint space."""
        return int(self.width * 2 ** (len(self.depths) - 1))


SPECS: Mapping[str, TowerSpec] = {
    "music-audioset": TowerSpec(
        name="music-audioset",
        joint_dim=512,
        patch=4,
        width=128,
        depths=(2, 2, 12, 2),
        heads=(4, 8, 16, 32),
        classes=527,
        text={
            "model_type": "roberta",
            "vocab_size": ROBERTA_VOCABULARY,
            "width": 768,  # the only one that clap_module projects from
            "heads": 12,
            "layers": 12,
        },
    ),
    "small": TowerSpec(
        name="small",
        joint_dim=256,
        patch=8,  # a quarter of the official one's tokens: six times as fast to train
        width=48,
        depths=(2, 2, 2, 2),
        heads=(2, 4, 8, 16),
        classes=1,
        text={"model_type": "transformer", "vocab_size": 49_408, "width": 64, "heads": 4, "layers": 3},
    ),
}


@functools.cache
def clap_module(name: str) -> ModuleType:
    """Import ``clap_module.<name>`` from laion-clap's folder, not through laion_clap, which downloads.

    Raises
    ------
    CheckpointError
        laion-clap is not installed.
    """
    found = importlib.util.find_spec("laion_clap")
    if found is None or not found.submodule_search_locations:
        raise CheckpointError("laion-clap is not installed: install requirements.txt.")
    folder = next(iter(found.submodule_search_locations))
    sys.path.append(folder)
    try:
        return importlib.import_module(f"clap_module.{name}")
    finally:
        sys.path.remove(folder)


def build_clap(spec: TowerSpec) -> nn.Module:
    """Build laion-clap's ``CLAP`` with random weights from torch's global generator; fetches nothing."""
    model = clap_module("model")
    audio = model.CLAPAudioCfp(model_type="HTSAT", model_name=spec.name, hop_size=480, class_num=spec.classes)
    text = model.CLAPTextCfg(context_length=MAX_TOKENS, **spec.text)
    with _BUILDING, _our_sizes(model, spec), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
        clap: nn.Module = model.CLAP(spec.audio_dim, audio, text, joint_embed_shape=spec.joint_dim)
    return clap


@contextlib.contextmanager
def _our_sizes(model: ModuleType, spec: TowerSpec) -> Iterator[None]:
    """Have ``CLAP(...)`` build HTSAT at our size, and RoBERTa without fetching its weights."""
    htsat = clap_module("htsat")

    def create_htsat(config: Any, *_: Any) -> nn.Module:
        built: nn.Module = htsat.HTSAT_Swin_Transformer(
            patch_size=spec.patch,
            patch_stride=(spec.patch, spec.patch),
            num_classes=spec.classes,
            embed_dim=spec.width,
            depths=list(spec.depths),
            num_heads=list(spec.heads),
            config=config,
        )
        return built

    def create_roberta(_: str) -> nn.Module:
        from transformers import RobertaConfig, RobertaModel

        config = RobertaConfig(
            vocab_size=spec.text["vocab_size"],
            hidden_size=spec.text["width"],
            num_attention_heads=spec.text["heads"],
            num_hidden_layers=spec.text["layers"],
            max_position_embeddings=514,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        )
        built: nn.Module = RobertaModel(config)
        return built

    with (
        mock.patch.object(model, "create_htsat_model", create_htsat),
        mock.patch.object(model.RobertaModel, "from_pretrained", create_roberta),
    ):
        yield
