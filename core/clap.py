"""LAION-CLAP towers: windows of audio and prompts of text into one joint space.

Two specifications exist (`core.laion`): ``music-audioset``, the shape of the official checkpoint that the
MusicEval paper fine-tunes, and ``small``, the same classes at a size that a laptop trains in minutes.

Conventions: a window is 480,000 float32 samples (10 s at 48 kHz), neither more (HTSAT asserts) nor less
(HTSAT silently stretches); embeddings have unit length; a tower is in eval mode unless someone trains it,
because HTSAT in training mode draws from the global random generator.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.audio import WINDOW_SAMPLES
from core.errors import CheckpointError
from core.laion import MAX_TOKENS, SPECS, TowerSpec, build_clap
from core.tokens import BytePairTokens, RobertaTokens, Tokenizer

FFT_SAMPLES = 1_024
HOP_SAMPLES = 480
MAX_PROMPT_CHARACTERS = 1_000  # 77 tokens of any language end sooner; bounds the tokenizer's work

# Tensors that HTSAT computes from its configuration alone: never stored, never loaded.
RECOMPUTED = re.compile(r"spectrogram_extractor\.|logmel_extractor\.|relative_position_index$|attn_mask$")

# CUDA's default for convolutions, alone among the devices, is a float32 with 10 bits of mantissa.
torch.backends.cudnn.allow_tf32 = False

_RESTORING = threading.Lock()  # the global generator's state is put back: by one thread at a time


class ClapTower(nn.Module):
    """A CLAP that embeds batches of windows and of prompts.

    Build one with :meth:`build`; fill it with :meth:`load_weights`.

    Attributes
    ----------
    spec : TowerSpec
    dim : int
        Length of an embedding.
    """

    def __init__(self, spec: TowerSpec, clap: nn.Module, tokenizer: Tokenizer) -> None:
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
            A key of `core.laion.SPECS`.
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
            tokenizer: Tokenizer = RobertaTokens(tokenizer_folder)
        else:
            tokenizer = BytePairTokens()
        return cls(spec, build_clap(spec), tokenizer).eval()

    @classmethod
    def restore(
        cls, name: str, weights: Mapping[str, Tensor], tokenizer_folder: Path | None = None
    ) -> "ClapTower":
        """Build a tower with these weights, in eval mode; the global generator is left as it was.

        Parameters
        ----------
        name, tokenizer_folder
            As in :meth:`build`.
        weights : mapping of str to Tensor
            As :meth:`weights` gives them.

        Raises
        ------
        CheckpointError
            As :meth:`build` and :meth:`load_weights`.
        """
        with _RESTORING, torch.random.fork_rng(devices=[]):  # random weights are drawn, then overwritten
            tower = cls.build(name, tokenizer_folder)
        tower.load_weights(weights)
        return tower

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
        waveform = torch.as_tensor(windows, dtype=torch.float32)
        if waveform.ndim != 2 or waveform.shape[1] != WINDOW_SAMPLES:
            raise ValueError(f"windows have shape (n, {WINDOW_SAMPLES}), not {tuple(waveform.shape)}")
        to_gpu = self.device.type == "cuda" and waveform.device.type == "cpu"
        if to_gpu:
            waveform = waveform.pin_memory()  # then it is sent while both sides do other work
        waveform = waveform.to(self.device, non_blocking=to_gpu)
        hann = torch.hann_window(FFT_SAMPLES, device=self.device)
        with torch.no_grad():  # laion-clap multiplies with a matrix of sines instead: 4 times as slow, equal
            spectrum = torch.stft(waveform, FFT_SAMPLES, HOP_SAMPLES, window=hann, return_complex=True)
            power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
            return self.clap.audio_branch.logmel_extractor(power[:, None])  # type: ignore[no-any-return]

    def embed_log_mel(self, log_mel: Tensor) -> Tensor:
        """Embed spectrograms from :meth:`log_mel`; (n, 1, 1001, 64) to (n, dim), unit length."""
        return embed_log_mel(self.clap, log_mel)

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

    def tokenizer_files(self) -> list[Path]:
        """The files that a checkpoint of this tower must hold beside its weights; none for the small one."""
        return list(self._tokenizer.files)

    def weights(self) -> dict[str, Tensor]:
        """Everything learned: the state dict without what is recomputed from the configuration."""
        return {key: value for key, value in self.clap.state_dict().items() if not RECOMPUTED.search(key)}

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


def embed_log_mel(clap: Any, log_mel: Tensor) -> Tensor:
    """Embed spectrograms, (n, 1, 1001, 64), to (n, dim) of unit length.

    Parameters
    ----------
    clap : nn.Module
        laion-clap's ``CLAP``, or its ``audio_branch`` and ``audio_projection`` alone.
    log_mel : Tensor
        As :meth:`ClapTower.log_mel` gives it.
    """
    branch = clap.audio_branch
    normed = branch.bn0(log_mel.transpose(1, 3)).transpose(1, 3)
    latent = branch.forward_features(branch.reshape_wav2img(normed))["embedding"]
    return functional.normalize(clap.audio_projection(latent).float(), dim=-1)


def _shorten(prompt: str) -> str:
    return " ".join(prompt.split())[:MAX_PROMPT_CHARACTERS]
