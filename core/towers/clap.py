"""LAION-CLAP: windows of audio and prompts of text into one joint space (Wu et al. 2023, arXiv 2211.06687).

The networks are laion-clap's own, ``clap_module`` (audio encoder HTS-AT, Chen et al. 2022, arXiv
2202.00874), at two shapes: ``music-audioset``, that of the official checkpoint that the MusicEval paper
fine-tunes, and ``small``, the same classes at a size that a laptop trains in minutes. Nothing is
downloaded: ``import laion_clap`` fetches three tokenizers, so its inner modules are executed alone
(`core.towers.laion`); its constructor fetches RoBERTa's weights, which every CLAP checkpoint then overwrites, so
the text encoder is built from its configuration.

Conventions: embeddings have unit length; a window has exactly 480,000 samples, neither more (HTSAT asserts)
nor less (HTSAT silently stretches); of a prompt 77 tokens are read, the begin and end marks among them, and
what is longer is cut in front of the end mark; HTSAT in training mode draws from the global random
generator.
"""

import contextlib
import json
import re
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.errors import CheckpointError, shown_name
from core.towers import PromptReading, Weights, Windows, waveforms
from core.towers.laion import clap_module

FFT_SAMPLES = 1_024
HOP_SAMPLES = 480
MAX_TOKENS = 77
MAX_PROMPT_CHARACTERS = 1_000  # 77 tokens of any language end sooner; bounds the tokenizer's work
ROBERTA_VOCABULARY = 50_265
ROBERTA_FILES = ("vocab.json", "merges.txt")

# Tensors that HTSAT computes from its configuration alone: never stored, never loaded.
RECOMPUTED = re.compile(r"spectrogram_extractor\.|logmel_extractor\.|relative_position_index$|attn_mask$")

# CUDA's default for convolutions, alone among the devices, is a float32 with 10 bits of mantissa.
torch.backends.cudnn.allow_tf32 = False

_BUILDING = threading.RLock()  # swaps parts of laion-clap, and puts back the state of the global generator


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


class ClapTower(nn.Module):
    """A CLAP as a `core.towers.Tower`; made by :meth:`build` or :meth:`restore`."""

    def __init__(self, spec: TowerSpec, clap: nn.Module, tokenizer: "BytePairTokens | RobertaTokens") -> None:
        super().__init__()
        self.compiled: Collection[str] = ("bfloat16",) if spec.joint_dim >= 512 else ()  # smaller ones gain nothing
        self.spec, self.name, self.dim = spec, spec.name, spec.joint_dim
        self.sequence_dim = spec.joint_dim
        self.clap: Any = clap
        self._tokenizer = tokenizer

    @classmethod
    def build(cls, name: str, tokenizer_folder: Path | None = None) -> "ClapTower":
        """Build a tower with random weights (from torch's global generator), in eval mode.

        ``music-audioset`` needs a folder with RoBERTa's ``vocab.json`` and ``merges.txt``; the small tower
        uses the vocabulary that laion-clap brings. CheckpointError for an unknown name and a wrong
        tokenizer.
        """
        if name not in SPECS:
            raise CheckpointError(f"Unknown tower {name!r}. Known towers: {', '.join(sorted(SPECS))}.")
        spec = SPECS[name]
        is_roberta = spec.text["model_type"] == "roberta"
        tokenizer = RobertaTokens(tokenizer_folder) if is_roberta else BytePairTokens()
        return cls(spec, build_clap(spec), tokenizer).eval()

    @classmethod
    def restore(cls, name: str, weights: Weights, tokenizer_folder: Path | None = None) -> "ClapTower":
        """Build a tower with these weights, in eval mode; the global generator is left as it was."""
        with _BUILDING, torch.random.fork_rng(devices=[]):  # random weights are drawn, then overwritten
            tower = cls.build(name, tokenizer_folder)
        tower.load_weights(weights)
        return tower

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def cosine_scale(self) -> float:
        """CLAP's temperature, inverted."""
        return float(self.clap.logit_scale_a.detach().exp())

    def features(self, windows: Windows) -> Tensor:
        """Return HTSAT's log-mel spectrograms, (n, 1, 1001, 64), in dB; ValueError for other windows.

        Frames are 10 ms apart; the bins reach from 50 Hz to 14 kHz.
        """
        waveform = waveforms(windows)
        to_gpu = self.device.type == "cuda" and waveform.device.type == "cpu"
        if to_gpu:
            waveform = waveform.pin_memory()  # then it is sent while both sides do other work
        waveform = waveform.to(self.device, non_blocking=to_gpu)
        hann = torch.hann_window(FFT_SAMPLES, device=self.device)
        with torch.no_grad():  # laion-clap multiplies with a matrix of sines instead: 4 times as slow, equal
            spectrum = torch.stft(waveform, FFT_SAMPLES, HOP_SAMPLES, window=hann, return_complex=True)
            power = (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)
            return self.clap.audio_branch.logmel_extractor(power[:, None])  # type: ignore[no-any-return]

    def embed_features(self, features: Tensor) -> Tensor:
        """Embed spectrograms."""
        return self._project(self._hear(features)["embedding"])

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Embed spectrograms, and HTSAT's frames, each projected as a window's embedding is."""
        heard = self._hear(features)
        frames = heard["fine_grained_embedding"][:, :: 8 * self.spec.patch]  # laion-clap repeats each so often
        return self._project(heard["embedding"]), self._project(frames)

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts; white space does not count."""
        return functional.normalize(self.clap.encode_text(self._tokens(prompts), device=self.device).float(), dim=-1)

    def embed_tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        """Embed tokens, with both marks, as the text encoder leaves them, each projected as a prompt is."""
        tokens = self._tokens(prompts)
        if isinstance(tokens, Tensor):
            states, counts = self._token_states(tokens.to(self.device)), tokens.argmax(dim=-1) + 1  # the end mark
        else:
            tokens = tokens.to(self.device)
            states = self.clap.text_branch(**tokens)["last_hidden_state"]
            counts = tokens["attention_mask"].sum(dim=-1)
        projected = functional.normalize(self.clap.text_projection(states).float(), dim=-1)
        return [row[:count] for row, count in zip(projected, counts.tolist(), strict=True)]

    def read(self, prompt: str) -> PromptReading:
        """Every word is read in pieces, up to 77 tokens."""
        words = " ".join(prompt.split())
        return PromptReading(is_cut=len(words) > MAX_PROMPT_CHARACTERS or self._tokenizer.count(words) > MAX_TOKENS)

    def resembles(self, _: Tensor) -> str:
        """Say nothing."""
        return ""

    def tokenizer_files(self) -> list[Path]:
        """RoBERTa's two files; none for the small tower."""
        return list(self._tokenizer.files)

    def weights(self) -> dict[str, Tensor]:
        """The state dict without what is recomputed from the configuration."""
        return {key: value for key, value in self.clap.state_dict().items() if not RECOMPUTED.search(key)}

    def learned_parameters(self) -> list[nn.Parameter]:
        """Those parameters that `weights` has."""
        return [weight for key, weight in self.clap.named_parameters() if not RECOMPUTED.search(key)]

    def load_weights(self, weights: Weights) -> None:
        """Fill the tower; floating-point weights are converted to float32."""
        own = self.weights()
        missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
        bent = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
        if missing or unknown or bent:
            raise CheckpointError(
                f"These weights are not those of a {self.name!r} tower: {len(missing)} missing, "
                f"{len(unknown)} unknown, {len(bent)} of another shape "
                f"(first: {(missing + unknown + bent)[0]})."
            )
        self.clap.load_state_dict(dict(weights), strict=False)  # what is left over is recomputed

    def _tokens(self, prompts: Sequence[str]) -> Any:
        return self._tokenizer([" ".join(prompt.split())[:MAX_PROMPT_CHARACTERS] for prompt in prompts])

    def _token_states(self, tokens: Tensor) -> Tensor:
        """What ``encode_text`` of the ``transformer`` text encoder has of all tokens before it takes one."""
        states = (self.clap.token_embedding(tokens) + self.clap.positional_embedding).permute(1, 0, 2)
        states = self.clap.text_branch(states, attn_mask=self.clap.attn_mask).permute(1, 0, 2)
        return self.clap.ln_final(states)  # type: ignore[no-any-return]

    def _hear(self, features: Tensor) -> dict[str, Tensor]:
        branch = self.clap.audio_branch
        normed = branch.bn0(features.transpose(1, 3)).transpose(1, 3)
        return branch.forward_features(branch.reshape_wav2img(normed))  # type: ignore[no-any-return]

    def _project(self, latent: Tensor) -> Tensor:
        return functional.normalize(self.clap.audio_projection(latent).float(), dim=-1)


def build_clap(spec: TowerSpec) -> nn.Module:
    """Build laion-clap's ``CLAP`` with random weights from torch's global generator; fetches nothing."""
    model = clap_module("model")
    audio = model.CLAPAudioCfp(model_type="HTSAT", model_name=spec.name, hop_size=HOP_SAMPLES, class_num=spec.classes)
    text = model.CLAPTextCfg(context_length=MAX_TOKENS, **spec.text)
    with _BUILDING, _our_sizes(model, spec), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
        clap: nn.Module = model.CLAP(spec.audio_dim, audio, text, joint_embed_shape=spec.joint_dim)
    return clap


@contextlib.contextmanager
def _our_sizes(model: ModuleType, spec: TowerSpec) -> Iterator[None]:
    """Have ``CLAP(...)`` build HTSAT at our size, and RoBERTa without fetching its weights."""

    def create_htsat(config: Any, *_: Any) -> Any:
        return clap_module("htsat").HTSAT_Swin_Transformer(
            patch_size=spec.patch,
            patch_stride=(spec.patch, spec.patch),
            num_classes=spec.classes,
            embed_dim=spec.width,
            depths=list(spec.depths),
            num_heads=list(spec.heads),
            config=config,
        )

    def create_roberta(_: str) -> Any:
        from transformers import RobertaConfig, RobertaModel

        return RobertaModel(
            RobertaConfig(
                vocab_size=spec.text["vocab_size"],
                hidden_size=spec.text["width"],
                num_attention_heads=spec.text["heads"],
                num_hidden_layers=spec.text["layers"],
                max_position_embeddings=514,
                type_vocab_size=1,
                layer_norm_eps=1e-5,
            )
        )

    with (
        mock.patch.object(model, "create_htsat_model", create_htsat),
        mock.patch.object(model, "RobertaModel", SimpleNamespace(from_pretrained=create_roberta)),
    ):
        yield


class BytePairTokens:
    """The byte-pair vocabulary that laion-clap brings (CLIP's), for the ``transformer`` text encoder."""

    files: tuple[Path, ...] = ()

    def __init__(self) -> None:
        self._encoder = clap_module("tokenizer").SimpleTokenizer()

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
        marks = set(self._encoder.all_special_ids)  # spelt out in a prompt, a mark must not end it there
        return [token for token in self._encoder.encode(prompt) if token not in marks]


class RobertaTokens:
    """RoBERTa's tokenizer from a folder with its two files; CheckpointError where it is not there or another.

    transformers 5 invents a 5-token one when offline: what has another vocabulary than RoBERTa's is refused.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder is None or not all((folder / name).is_file() for name in ROBERTA_FILES):
            raise CheckpointError(
                "The official CLAP reads prompts with RoBERTa's tokenizer: give a folder with its "
                f"{' and '.join(ROBERTA_FILES)} (`python -m core fetch-clap` fetches them)."
            )
        from transformers import RobertaTokenizer

        self.files = tuple(folder / name for name in ROBERTA_FILES)
        try:
            entries = len(json.loads(self.files[0].read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            name = shown_name(self.files[0].name)
            raise CheckpointError(f"{name} of the tokenizer cannot be read. Copy it again.") from error
        if entries == ROBERTA_VOCABULARY:
            self._tokenizer = RobertaTokenizer.from_pretrained(str(folder), local_files_only=True)
            entries = len(self._tokenizer)
        if entries != ROBERTA_VOCABULARY:
            raise CheckpointError(
                f"The tokenizer in {shown_name(folder.name)} has {entries:,} entries; "
                f"RoBERTa's has {ROBERTA_VOCABULARY:,}. Copy its files again."
            )

    def __call__(self, prompts: Sequence[str]) -> Any:
        """``input_ids`` and ``attention_mask``, each (n, 77)."""
        return self._tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )

    def count(self, prompt: str) -> int:
        """Tokens of a prompt with both marks, uncut."""
        return len(self._tokenizer(prompt)["input_ids"])
