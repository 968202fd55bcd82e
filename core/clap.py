"""LAION-CLAP towers: windows of audio and prompts of text into one joint space.

The networks are laion-clap's own classes (``clap_module``, Wu et al. 2023, arXiv 2211.06687; audio encoder
HTS-AT, Chen et al. 2022, arXiv 2202.00874). Two specifications exist: ``music-audioset``, the shape of the
official checkpoint that the MusicEval paper fine-tunes, and ``small``, the same classes at a size that a
laptop trains in minutes.

Conventions: a window is 480,000 float32 samples (10 s at 48 kHz), neither more (HTSAT asserts) nor less
(HTSAT silently stretches); embeddings have unit length; a tower is in eval mode unless someone trains it,
because HTSAT in training mode draws from the global random generator.

``import laion_clap`` itself downloads three tokenizers; its inner package ``clap_module`` does not, so that
is what is imported, from laion-clap's own folder.
"""

import contextlib
import functools
import importlib
import importlib.util
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.audio import WINDOW_SAMPLES
from core.errors import CheckpointError

MAX_TOKENS = 77  # both text encoders; the begin and end marks are two of them
MAX_PROMPT_CHARACTERS = 1_000  # 77 tokens of any language end sooner; bounds the tokenizer's work
ROBERTA_VOCABULARY = 50_265

# Tensors that HTSAT computes from its configuration alone: never stored, never loaded.
_RECOMPUTED = re.compile(r"spectrogram_extractor\.|logmel_extractor\.|relative_position_index$|attn_mask$")


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
            "width": 768,
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


class _Tokenizer(Protocol):
    def __call__(self, prompts: Sequence[str]) -> Any: ...

    def count(self, prompt: str) -> int: ...


class ClapTower(nn.Module):
    """A CLAP that embeds batches of windows and of prompts.

    Build one with :meth:`build`; fill it with :meth:`load_weights`.

    Attributes
    ----------
    spec : TowerSpec
    dim : int
        Length of an embedding.
    """

    def __init__(self, spec: TowerSpec, clap: nn.Module, tokenizer: _Tokenizer) -> None:
        super().__init__()
        self.spec = spec
        self.dim = spec.joint_dim
        self.clap: Any = clap
        self._tokenizer = tokenizer

    @classmethod
    def build(cls, name: str, tokenizer_folder: Path | None = None) -> "ClapTower":
        """Build a tower with random weights (from torch's global generator), in eval mode.

        Parameters
        ----------
        name : str
            A key of :data:`SPECS`.
        tokenizer_folder : Path, optional
            For ``music-audioset``: a folder with RoBERTa's ``vocab.json`` and ``merges.txt``. The small tower
            brings laion-clap's bundled byte-pair vocabulary.

        Raises
        ------
        CheckpointError
            Unknown name, or a tokenizer that is missing or not RoBERTa's.
        """
        if name not in SPECS:
            raise CheckpointError(f"Unknown tower {name!r}. Known towers: {', '.join(sorted(SPECS))}.")
        spec = SPECS[name]
        if spec.text["model_type"] == "roberta":
            tokenizer: _Tokenizer = RobertaTokens(tokenizer_folder)
        else:
            tokenizer = BytePairTokens()
        return cls(spec, _build_clap(spec), tokenizer).eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def log_mel(self, windows: Tensor | NDArray[np.float32]) -> Tensor:
        """Compute HTSAT's log-mel spectrograms: 1,001 frames of 10 ms, 64 bins from 50 Hz to 14 kHz, in dB.

        Parameters
        ----------
        windows : (n, 480000) float32 at 48 kHz

        Returns
        -------
        Tensor, (n, 1, 1001, 64)

        Raises
        ------
        ValueError
            A window of another length.
        """
        waveform = torch.as_tensor(windows, dtype=torch.float32, device=self.device)
        if waveform.ndim != 2 or waveform.shape[1] != WINDOW_SAMPLES:
            raise ValueError(f"windows have shape (n, {WINDOW_SAMPLES}), not {tuple(waveform.shape)}")
        branch = self.clap.audio_branch
        with torch.no_grad():  # the kernels are fixed
            return branch.logmel_extractor(branch.spectrogram_extractor(waveform))  # type: ignore[no-any-return]

    def embed_log_mel(self, log_mel: Tensor) -> Tensor:
        """Embed spectrograms from :meth:`log_mel`; (n, 1, 1001, 64) to (n, dim), unit length."""
        branch = self.clap.audio_branch
        normed = branch.bn0(log_mel.transpose(1, 3)).transpose(1, 3)
        latent = branch.forward_features(branch.reshape_wav2img(normed))["embedding"]
        return functional.normalize(self.clap.audio_projection(latent).float(), dim=-1)

    def embed_audio(self, windows: Tensor | NDArray[np.float32]) -> Tensor:
        """Embed windows, (n, 480000) float32 at 48 kHz, to (n, dim) of unit length."""
        return self.embed_log_mel(self.log_mel(windows))

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed n prompts to (n, dim) of unit length; nothing past 77 tokens is read (see :meth:`is_cut`)."""
        tokens = self._tokenizer([_shorten(prompt) for prompt in prompts])
        return functional.normalize(self.clap.encode_text(tokens, device=self.device).float(), dim=-1)

    def is_cut(self, prompt: str) -> bool:
        """Whether the end of a prompt is past the 77 tokens that the text encoder reads."""
        words = " ".join(prompt.split())
        return len(words) > MAX_PROMPT_CHARACTERS or self._tokenizer.count(words) > MAX_TOKENS

    def weights(self) -> dict[str, Tensor]:
        """Everything learned: the state dict without what is recomputed from the configuration."""
        return {key: value for key, value in self.clap.state_dict().items() if not _RECOMPUTED.search(key)}

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Fill the tower; floating-point weights are converted to float32.

        Raises
        ------
        CheckpointError
            A weight is missing, unknown or of another shape.
        """
        own = self.weights()
        missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
        bent = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
        if missing or unknown or bent:
            raise CheckpointError(
                f"These weights are not those of a {self.spec.name!r} tower: {len(missing)} missing, "
                f"{len(unknown)} unknown, {len(bent)} of another shape "
                f"(first: {(missing + unknown + bent)[0]})."
            )
        self.clap.load_state_dict(dict(weights), strict=False)  # what is left over is recomputed


class BytePairTokens:
    """The byte-pair vocabulary that laion-clap bundles (CLIP's), for the ``transformer`` text encoder."""

    def __init__(self) -> None:
        self._encoder = _clap_module("tokenizer").SimpleTokenizer()

    def __call__(self, prompts: Sequence[str]) -> Tensor:
        """Token ids (n, 77), zero-padded. The end mark always stands: the encoder reads the meaning there."""
        rows = torch.zeros(len(prompts), MAX_TOKENS, dtype=torch.long)
        begin, end = self._encoder.all_special_ids
        for row, prompt in zip(rows, prompts, strict=True):
            ids = [begin, *self._ids(prompt)[: MAX_TOKENS - 2], end]
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def count(self, prompt: str) -> int:
        """Tokens of a prompt with both marks, uncut."""
        return len(self._ids(prompt)) + 2

    def _ids(self, prompt: str) -> list[int]:
        marks = set(
            self._encoder.all_special_ids
        )  # a prompt that spells a mark out must not end itself there
        return [token for token in self._encoder.encode(prompt) if token not in marks]


class RobertaTokens:
    """RoBERTa's tokenizer from a local folder. transformers 5 invents a 5-token one when offline: refused."""

    def __init__(self, folder: Path | None) -> None:
        if folder is None or not (Path(folder) / "vocab.json").is_file():
            raise CheckpointError(
                "The official CLAP reads prompts with RoBERTa's tokenizer: "
                "give a folder with its vocab.json and merges.txt."
            )
        from transformers import RobertaTokenizer

        self._tokenizer = RobertaTokenizer.from_pretrained(str(folder), local_files_only=True)
        if len(self._tokenizer) != ROBERTA_VOCABULARY:
            raise CheckpointError(
                f"The tokenizer in {Path(folder).name!r} has {len(self._tokenizer)} entries; "
                f"RoBERTa's has {ROBERTA_VOCABULARY}."
            )

    def __call__(self, prompts: Sequence[str]) -> Any:
        """``input_ids`` and ``attention_mask``, each (n, 77)."""
        return self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )

    def count(self, prompt: str) -> int:
        """Tokens of a prompt with both marks, uncut."""
        return len(self._tokenizer(prompt)["input_ids"])


def _shorten(prompt: str) -> str:
    return " ".join(prompt.split())[:MAX_PROMPT_CHARACTERS]


@functools.cache
def _clap_module(name: str) -> ModuleType:
    """Import ``clap_module.<name>`` from laion-clap's folder, not through laion_clap, which downloads."""
    found = importlib.util.find_spec("laion_clap")
    if found is None or not found.submodule_search_locations:
        raise CheckpointError("laion-clap is not installed: install requirements.txt.")
    folder = next(iter(found.submodule_search_locations))
    sys.path.append(folder)
    try:
        return importlib.import_module(f"clap_module.{name}")
    finally:
        sys.path.remove(folder)


def _build_clap(spec: TowerSpec) -> nn.Module:
    model = _clap_module("model")
    audio = model.CLAPAudioCfp(model_type="HTSAT", model_name=spec.name, hop_size=480, class_num=spec.classes)
    text = model.CLAPTextCfg(context_length=MAX_TOKENS, **spec.text)
    with _our_sizes(model, spec), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
        clap: nn.Module = model.CLAP(spec.audio_dim, audio, text, joint_embed_shape=spec.joint_dim)
    return clap


@contextlib.contextmanager
def _our_sizes(model: ModuleType, spec: TowerSpec) -> Iterator[None]:
    """Have ``CLAP(...)`` build HTSAT at our size, and RoBERTa without fetching its weights."""
    htsat = _clap_module("htsat")

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

        config = RobertaConfig(vocab_size=ROBERTA_VOCABULARY, max_position_embeddings=514, type_vocab_size=1)
        built: nn.Module = RobertaModel(config)
        return built

    with (
        mock.patch.object(model, "create_htsat_model", create_htsat),
        mock.patch.object(model.RobertaModel, "from_pretrained", create_roberta),
    ):
        yield
