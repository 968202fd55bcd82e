"""MuQ-MuLan: windows of audio and prompts of text in one joint space (Zhu et al. 2025, arXiv 2501.01108).

The networks are those of the package ``muq`` (MIT), which requirements-muq.txt installs; the weights,
``OpenMuQ/MuQ-MuLan-large``, are licensed CC BY-NC 4.0. Neither comes with MusicEval, and nothing is fetched:
the files are looked for in the Hugging Face hub's cache, into which `FETCH` brings them. Only tensors are read.

Beside the weights a model folder holds ``muq.json``, the three configurations that the networks are built
from, and ``tokenizer.json``. Their SHA-256 is one of the weights, so what judges is what was trained.

Conventions: embeddings, frames and tokens lie in the joint space and have unit length; a frame is 0.4 s, the
mean of ten of MuQ's; of a prompt 512 tokens are read, the marks of begin and end among them. muq 0.1.0 calls
transformers in a way that transformers 5 no longer answers, so the conformer is called here; and each prompt
is read alone, because MuQ-MuLan averages over what fills a batch up.
"""

import contextlib
import hashlib
import json
import random
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np
import soxr
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio import MODEL_SAMPLE_RATE_HZ
from core.errors import CheckpointError, shown_name
from core.files import json_text, write_atomically
from core.towers import PromptReading, Weights, Windows, waveforms

SAMPLE_RATE_HZ = 24_000
FRAMES_AT_ONCE = 10  # of MuQ's 25 a second: 25 frames a window, about as many as HTSAT's
MAX_TOKENS = 512
MAX_PROMPT_CHARACTERS = 4_000  # 512 tokens of any language end sooner; bounds the tokenizer's work
CONFIG_FILE, TOKENIZER_FILE = "muq.json", "tokenizer.json"
MULAN, MUQ, TEXT = "OpenMuQ/MuQ-MuLan-large", "OpenMuQ/MuQ-large-msd-iter", "FacebookAI/xlm-roberta-base"
FETCH = (f"hf download {MULAN}", f"hf download {MUQ} config.json", f"hf download {TEXT} config.json {TOKENIZER_FILE}")

_FILES_SHA256 = "files_sha256"
_RECOMPUTED = ("inv_freq", "position_ids")  # from the configuration; some versions of transformers store them
_BUILDING = threading.RLock()  # swaps parts of packages, and puts back the states of global generators


class MuqTower(nn.Module):
    """A MuQ-MuLan as a `core.towers.Tower`, with random weights, in eval mode; `folder` has its two files."""

    name = "muq"
    compiled: Collection[str] = ()  # not tried

    def __init__(self, folder: Path) -> None:
        from transformers import PreTrainedTokenizerFast

        super().__init__()
        self._files = [folder / name for name in (CONFIG_FILE, TOKENIZER_FILE)]
        try:
            content = [file.read_bytes() for file in self._files]
            config = json.loads(content[0])
            read: Any = PreTrainedTokenizerFast
            self._tokenizer = read(tokenizer_file=str(self._files[1]))
        except Exception as error:  # of a tokenizer, nothing narrower is raised
            raise CheckpointError(
                f"{CONFIG_FILE} and {TOKENIZER_FILE} of the muq tower in {shown_name(folder.name)} are missing or "
                "cannot be read. Copy the folder again."
            ) from error
        self._files_sha256 = torch.frombuffer(bytearray(hashlib.sha256(b"".join(content)).digest()), dtype=torch.uint8)
        self.mulan = build(config).eval()
        self.mulan.text._tokenizer = self._tokenizer  # otherwise torch.jit, which reads its property, asks the hub
        self.dim = self.sequence_dim = int(config["mulan"]["mulan"]["dim_latent"])

    @classmethod
    def restore(cls, weights: Weights, folder: Path) -> "MuqTower":
        """Build a tower from a folder's files with these weights."""
        tower = cls(folder)
        tower.load_weights(weights)
        return tower

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def cosine_scale(self) -> float:
        """MuQ-MuLan's temperature, inverted."""
        return float(self.mulan.contrast.temperatures.detach().exp())

    def features(self, windows: Windows) -> Tensor:
        """Return MuQ's standardised log-mel spectrograms at 24 kHz, (n, 128, 1000); ValueError for other windows."""
        channels = waveforms(windows).cpu().numpy().T  # as soxr takes several signals
        halved = np.ascontiguousarray(soxr.resample(channels, MODEL_SAMPLE_RATE_HZ, SAMPLE_RATE_HZ, quality="HQ").T)
        with torch.no_grad():
            spectra = self._muq.preprocessing(torch.from_numpy(halved).to(self.device), features=["melspec_2048"])
            return self._muq.normalize(spectra)["melspec_2048"]  # type: ignore[no-any-return]

    def hear(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Embed spectrograms as a whole, to (n, dim), and by frames, to (n, 25, dim)."""
        audio = self.mulan.audio
        hidden = self._muq.conformer(self._muq.conv(features)).last_hidden_state
        frames = audio.transformer(audio.proj(hidden))
        parts = frames.unflatten(1, (-1, FRAMES_AT_ONCE)).mean(dim=2)
        to_joint = self.mulan.audio_to_latents
        return _unit(to_joint(frames.mean(dim=1))), _unit(to_joint(parts))

    def embed_features(self, features: Tensor) -> Tensor:
        """Embed spectrograms."""
        return self.hear(features)[0]

    def embed_text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts; white space does not count."""
        return torch.stack([_unit(self.mulan.text_to_latents(self._read(prompt).mean(dim=0))) for prompt in prompts])

    def embed_tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        """Embed each token of prompts, to (n_tokens, dim) each; the marks of begin and end are among them."""
        return [_unit(self.mulan.text_to_latents(self._read(prompt))) for prompt in prompts]

    def read(self, prompt: str) -> PromptReading:
        """Every word is read in pieces, up to 512 tokens."""
        is_cut = len(_one_line(prompt)) > MAX_PROMPT_CHARACTERS or len(self._ids(prompt)) > MAX_TOKENS
        return PromptReading(is_cut=is_cut)

    def resembles(self, _: Tensor) -> str:
        """Say nothing."""
        return ""

    def tokenizer_files(self) -> list[Path]:
        """The configurations and the tokenizer."""
        return self._files

    def weights(self) -> dict[str, Tensor]:
        """The state dict without what is recomputed, and the SHA-256 of the files."""
        state = {key: value for key, value in self.mulan.state_dict().items() if not key.endswith(_RECOMPUTED)}
        return {**state, _FILES_SHA256: self._files_sha256}

    def learned_parameters(self) -> list[nn.Parameter]:
        """Return every parameter."""
        return list(self.parameters())

    def load_weights(self, weights: Weights) -> None:
        """Fill the tower; floating-point weights are converted to float32."""
        state = dict(weights)
        if not torch.equal(state.pop(_FILES_SHA256, self._files_sha256).cpu(), self._files_sha256):
            raise CheckpointError(
                f"{CONFIG_FILE} or {TOKENIZER_FILE} is not the one that this model was saved with. "
                "Copy its folder again."
            )
        try:
            result = self.mulan.load_state_dict(state, strict=False)
            wrong = [key for key in (*result.missing_keys, *result.unexpected_keys) if not key.endswith(_RECOMPUTED)]
        except RuntimeError as error:  # of another shape; torch names them all
            wrong = str(error).splitlines()[1:2] or [str(error)]
        if wrong:
            raise CheckpointError(f"These weights are not those of a 'muq' tower (first: {wrong[0].strip()}).")

    @property
    def _muq(self) -> Any:
        return self.mulan.audio.model.model

    def _ids(self, prompt: str) -> list[int]:
        given = self._tokenizer(
            _one_line(prompt)[:MAX_PROMPT_CHARACTERS], padding=False, truncation=False, verbose=False
        )
        return list(given["input_ids"])

    def _read(self, prompt: str) -> Tensor:
        """What the text network makes of each token of a prompt, (n_tokens, width)."""
        text, ids = self.mulan.text, self._ids(prompt)
        cut = ids if len(ids) <= MAX_TOKENS else [*ids[: MAX_TOKENS - 1], ids[-1]]
        given = torch.tensor([cut], device=self.device)
        hidden = text.pred_pretrained_model_hidden(input_ids=given, attention_mask=torch.ones_like(given))
        return text.transformer(text.proj(hidden))[0]  # type: ignore[no-any-return]


def start() -> MuqTower:
    """Make the tower of the weights in the hub's cache; CheckpointError where the package or a file is missing."""
    from huggingface_hub import constants

    package()
    config = {"mulan": _cached(MULAN, "config.json"), "muq": _cached(MUQ, "config.json")}
    config |= {"text": _cached(TEXT, "config.json")}
    tokenizer = _cached(TEXT, TOKENIZER_FILE)
    weights = _weights(_cached(MULAN, "pytorch_model.bin"))
    folder = Path(constants.HF_ASSETS_CACHE) / "musiceval" / "muq"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        read = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in config.items()}
        write_atomically(folder / CONFIG_FILE, json_text(read))
        write_atomically(folder / TOKENIZER_FILE, tokenizer.read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"The configurations of MuQ-MuLan cannot be read, or not written under HF_HOME ({error})."
        ) from error
    return MuqTower.restore(weights, folder)


def package() -> ModuleType:
    """Import muq; CheckpointError where it is not installed or does not fit what is."""
    try:
        import muq
    except (ImportError, OSError) as error:
        raise CheckpointError(
            f"The tower muq needs the package muq: `pip install -r requirements-muq.txt` ({error})."
        ) from error
    return muq  # type: ignore[no-any-return]


def build(config: Mapping[str, Any]) -> Any:
    """Build the package's network with random weights from three configurations; fetches nothing.

    CheckpointError for configurations that it cannot be built from, or that ask for what is not done here.
    """
    muq = package()
    from transformers import XLMRobertaConfig, XLMRobertaModel

    try:
        if (layer := config["mulan"]["audio_model"]["use_layer_idx"]) != -1:
            raise CheckpointError(f"This MuQ-MuLan hears layer {layer} of MuQ; only its last one is read here.")
        conformer = {**config["muq"]["w2v2_config"], "_attn_implementation": "eager"}  # transformers 5 asks for it
        with _as_before():
            audio = muq.MuQ({**config["muq"], "w2v2_config": conformer})
            text = XLMRobertaModel(XLMRobertaConfig(**config["text"]))
            with (
                mock.patch.object(muq.MuQ, "from_pretrained", return_value=audio),
                mock.patch.object(XLMRobertaModel, "from_pretrained", return_value=text),
            ):
                network = muq.MuQMuLan(config["mulan"]).mulan
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise CheckpointError(f"MuQ-MuLan cannot be built from its configurations ({error!r}).") from error
    return network


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Leave the global generators as they were; muq seeds them."""
    with _BUILDING, torch.random.fork_rng(devices=[]):
        state = random.getstate()
        try:
            yield
        finally:
            random.setstate(state)


def _cached(repository: str, name: str) -> Path:
    """Find a file in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, name)
    if isinstance(found, str):
        return Path(found)
    commands = ", ".join(f"`{command}`" for command in FETCH)
    raise CheckpointError(
        f"MuQ-MuLan is not whole on this machine: {name} of {repository} is missing. "
        f"Fetch it with {commands} (2.6 GB; the weights are licensed CC BY-NC 4.0)."
    )


def _weights(path: Path) -> dict[str, Tensor]:
    """Read the weights, tensors only, under the names of the inner network."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(value, Tensor) for value in stored.values()):
            raise ValueError("it holds more than tensors")
    except Exception as error:  # of a pickle, anything may be wrong
        raise CheckpointError(f"{shown_name(path.name)} of {MULAN} cannot be read. Fetch it again.") from error
    return {key.removeprefix("mulan."): value for key, value in stored.items()}


def _unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors.float(), dim=-1)


def _one_line(prompt: str) -> str:
    return " ".join(prompt.split())
