"""A miniature of MuQ-MuLan as the hub's cache holds it, and a stand-in for the package ``muq``.

The configurations are as large as tests can bear; both the package and the stand-in can be built from them.
"""

import json
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.pinned import PinnedFile
from core.towers.muq import MULAN, MUQ, TEXT, build
from tests.hub import put_in_cache
from tests.officials import VOCABULARY

BEGIN, END = "<s>", "</s>"
WIDTH, DIM = 24, 16


def config() -> dict[str, Any]:
    """The three configurations, with the keys of the published ones that matter here."""
    from transformers import Wav2Vec2ConformerConfig

    conformer = Wav2Vec2ConformerConfig(intermediate_size=64, num_attention_heads=4, position_embeddings_type="rotary")
    layers = {"heads": 2, "dim_head": 8, "attn_dropout": 0, "ff_dropout": 0, "ff_mult": 4}
    return {
        "mulan": {
            "mulan": {"sr": 24_000, "clip_secs": 10, "dim_latent": DIM, "rank_contrast": True},
            "audio_model": {"name": MUQ, "model_dim": 32, "use_layer_idx": -1},
            "text_model": {"name": "xlm-roberta-base", "model_dim": None, "use_layer_idx": -1},
            "audio_transformer": {"dim": WIDTH, "tf_depth": 0, **layers},
            "text_transformer": {"dim": WIDTH, "tf_depth": 2, "max_seq_len": 1_024, **layers},
        },
        "muq": {
            "codebook_size": 16,
            "codebook_dim": 4,
            "conv_dim": 8,
            "encoder_dim": 32,
            "encoder_depth": 1,
            "stat": {"melspec_2048_mean": 6.8, "melspec_2048_std": 18.4},
            "w2v2_config": json.loads(conformer.to_json_string(use_diff=False)),
        },
        "text": {
            "model_type": "xlm-roberta",
            "vocab_size": 300,
            "hidden_size": WIDTH,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 514,
        },
    }


def tokenizer() -> str:
    """Bytes as tokens, between the marks of begin and end; no merges."""
    words = [*json.loads(VOCABULARY)][:260]  # RoBERTa's first four marks, then all bytes
    marks = {mark: {"id": mark, "ids": [words.index(mark)], "tokens": [mark]} for mark in (BEGIN, END)}
    first, last = ({"SpecialToken": {"id": mark, "type_id": 0}} for mark in marks)
    pieces = [first, {"Sequence": {"id": "A", "type_id": 0}}, last]
    special = {"special": True, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    made = {
        "version": "1.0",
        "truncation": {
            "max_length": 8,
            "strategy": "LongestFirst",
            "stride": 0,
            "direction": "Right",
        },  # not to be kept
        "added_tokens": [{"id": words.index(mark), "content": mark, **special} for mark in marks],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "post_processor": {"type": "TemplateProcessing", "single": pieces, "pair": pieces, "special_tokens": marks},
        "model": {"type": "BPE", "vocab": {word: number for number, word in enumerate(words)}, "merges": []},
    }
    return json.dumps(made)


def write_cache(home: Path, content: dict[str, Any], weights: bytes) -> None:
    """Lay all files of MuQ-MuLan where the hub's cache has them."""
    for repository, name, data in (
        (MULAN, "config.json", json.dumps(content["mulan"]).encode()),
        (MULAN, "pytorch_model.bin", weights),
        (MUQ, "config.json", json.dumps(content["muq"]).encode()),
        (TEXT, "config.json", json.dumps(content["text"]).encode()),
        (TEXT, "tokenizer.json", tokenizer().encode()),
    ):
        put_in_cache(home, PinnedFile(repository, "main", name, 0, ""), data)


def random_weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """Weights under the names of a published file; the text's tell prompts apart."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = build(content).state_dict()
    return {f"mulan.{key}": 10 * value if "embeddings.word" in key else value for key, value in state.items()}


# The stand-in


class _Ears(nn.Module):
    """What `core.towers.muq` uses of ``MuQModel``."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.stat = config["stat"]
        self.conv = _Conv(128, config["encoder_dim"])
        self.conformer = _Conformer(config["encoder_dim"])

    def preprocessing(self, waveform: Tensor, features: list[str]) -> dict[str, Tensor]:
        assert features == ["melspec_2048"]
        hann = torch.hann_window(2_048, device=waveform.device)
        power = torch.stft(waveform, 2_048, 240, window=hann, return_complex=True).abs().square()
        bands = power[:, 1:].unflatten(1, (128, 8)).mean(dim=2)
        return {"melspec_2048": 10 * bands.clamp(min=1e-10).log10()[..., :-1]}

    def normalize(self, spectra: dict[str, Tensor]) -> dict[str, Tensor]:
        mean, deviation = self.stat["melspec_2048_mean"], self.stat["melspec_2048_std"]
        return {key: (value - mean) / deviation for key, value in spectra.items()}


class _Conv(nn.Module):
    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(bands, width, kernel_size=4, stride=4)

    def forward(self, spectra: Tensor) -> Tensor:
        return self.conv(spectra).transpose(1, 2)


class _Conformer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.register_buffer("inv_freq", torch.ones(2))

    def forward(self, hidden: Tensor) -> Any:
        return types.SimpleNamespace(last_hidden_state=hidden + self.layer(hidden).tanh())


class MuQ(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = _Ears(config)

    @classmethod
    def from_pretrained(cls, *_: Any, **__: Any) -> "MuQ":
        raise AssertionError("this would ask the hub")


class _Audio(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = MuQ.from_pretrained(config["audio_model"]["name"])
        self.proj = nn.Linear(config["audio_model"]["model_dim"], config["audio_transformer"]["dim"])
        self.transformer = nn.Identity()


class _Text(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        from transformers import XLMRobertaModel

        super().__init__()
        self.model = XLMRobertaModel.from_pretrained(config["text_model"]["name"])
        self.proj = nn.Identity()
        self.transformer = nn.Linear(config["text_transformer"]["dim"], config["text_transformer"]["dim"])
        self._tokenizer: Any = None

    @property
    def tokenizer(self) -> Any:
        assert self._tokenizer is not None, "this would ask the hub"
        return self._tokenizer

    def pred_pretrained_model_hidden(self, **given: Tensor) -> Tensor:
        hidden: Tensor = self.model(**given).last_hidden_state
        return hidden


class _Contrast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.temperatures = nn.Parameter(torch.full((1, 1, 1), 10.0).log())


class _MuLan(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.audio, self.text, self.contrast = _Audio(config), _Text(config), _Contrast()
        self.audio_to_latents = nn.Linear(config["audio_transformer"]["dim"], config["mulan"]["dim_latent"])
        self.text_to_latents = nn.Linear(config["text_transformer"]["dim"], config["mulan"]["dim_latent"])


class MuQMuLan(nn.Module):
    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.mulan = _MuLan(config)


def use_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``import muq`` give the stand-in."""
    import sys

    module = types.ModuleType("muq")
    module.MuQ, module.MuQMuLan = MuQ, MuQMuLan  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "muq", module)
