"""Clips as the two kinds of judge take them in: embeddings computed before, or sound.

`HeadsAlone` with `EmbeddedExamples` is the frozen recipe, `WholeJudge` with `SoundExamples` the paper's. Both
judges give a clip the mean of what its windows get, as `core.scorer` does.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.audio import AudioLimits, InputPolicy, condition, read_clip, split_windows
from core.clap import ClapTower
from core.embedded_clips import EmbeddedClips, pool
from core.file_reading import in_order, read_all
from core.heads import Heads
from core.ratings import RatedClips

_MAX_READERS = 8  # threads that decode; more only hold more clips in memory


class HeadsAlone(nn.Module):
    """Heads on embeddings of whole clips."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, audio: Tensor, owner: Tensor, text: Tensor) -> Tensor:
        """Values of clips, (n, 2); the parameters are those of `core.embedded_clips.EmbeddedClips`."""
        return pool(self.heads(audio, text[owner]), owner, len(text))


class WholeJudge(nn.Module):
    """Tower and heads; everything that the tower has learned goes on learning."""

    def __init__(self, tower: ClapTower, heads: Heads) -> None:
        super().__init__()
        self.tower, self.heads = tower, heads
        learned = tower.weights()
        for name, weight in tower.clap.named_parameters():
            weight.requires_grad_(name in learned)

    def forward(self, log_mel: Tensor, owner: Tensor, prompts: Sequence[str]) -> Tensor:
        """Values of clips, (n, 2), from spectrograms of their windows, (n_windows, 1, 1001, 64)."""
        text = self.tower.embed_text(prompts)
        return pool(self.heads(self.tower.embed_log_mel(log_mel), text[owner]), owner, len(prompts))


class EmbeddedExamples:
    """Clips by their embeddings."""

    def __init__(self, clips: EmbeddedClips, device: torch.device) -> None:
        self._audio, self._text = clips.audio.to(device), clips.text.to(device)
        self._counts = torch.bincount(clips.owner, minlength=len(clips.text))
        self._starts = self._counts.cumsum(0) - self._counts
        self._device = device

    def chunks(self, rows: Sequence[int]) -> Iterator[tuple[list[int], tuple[Tensor, Tensor, Tensor]]]:
        """All rows at once: embeddings are small."""
        if not len(rows):
            return
        chosen = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        counts = self._counts[chosen]
        owner = torch.repeat_interleave(counts)
        place_in_clip = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
        windows = self._starts[chosen][owner] + place_in_clip
        device = self._device
        yield (
            chosen.tolist(),
            (self._audio[windows.to(device)], owner.to(device), self._text[chosen.to(device)]),
        )


class SoundExamples:
    """Clips decoded as they are needed, by threads that read ahead while the towers work.

    Parameters
    ----------
    clips : RatedClips
    tower : ClapTower
        Makes the spectrograms, on its device.
    policy : InputPolicy
    chunk_windows : int
        A chunk ends with the clip that brings it to so many windows.
    limits : AudioLimits, optional
        What clips may be.
    """

    def __init__(
        self,
        clips: RatedClips,
        tower: ClapTower,
        policy: InputPolicy,
        chunk_windows: int,
        limits: AudioLimits | None = None,
    ) -> None:
        self._paths = [Path(path) for path in clips.table["audio_path"]]
        self._prompts = list(clips.table["prompt"])
        self._tower, self._policy, self._chunk_windows = tower, policy, chunk_windows
        self._limits = limits or AudioLimits()
        self._readers = min(_MAX_READERS, os.cpu_count() or 1)

    def chunks(self, rows: Sequence[int]) -> Iterator[tuple[list[int], tuple[Tensor, Tensor, list[str]]]]:
        """Whole clips, a few at a time."""
        chunk: list[int] = []
        heard: list[NDArray[np.float32]] = []
        for row, windows in self._read_ahead(rows):
            chunk.append(row)
            heard.append(windows)
            if sum(map(len, heard)) >= self._chunk_windows:
                yield self._inputs(chunk, heard)
                chunk, heard = [], []
        if chunk:
            yield self._inputs(chunk, heard)

    def unreadable(self, rows: Sequence[int]) -> list[str]:
        """What is wrong with the clips that cannot be read."""
        problems: list[str] = []
        for _ in read_all(self._check, [self._paths[row] for row in rows], problems):
            pass
        return problems

    def _read_ahead(self, rows: Sequence[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Windows of each clip; at most two clips a thread wait in memory."""
        with ThreadPoolExecutor(self._readers) as readers:
            yield from zip(rows, in_order(readers, self._windows, rows, 2 * self._readers), strict=True)

    def _inputs(
        self, chunk: list[int], heard: list[NDArray[np.float32]]
    ) -> tuple[list[int], tuple[Tensor, Tensor, list[str]]]:
        owner = torch.repeat_interleave(torch.tensor([len(windows) for windows in heard]))
        log_mel = self._tower.log_mel(np.concatenate(heard))
        return chunk, (log_mel, owner.to(log_mel.device), [self._prompts[row] for row in chunk])

    def _windows(self, row: int) -> NDArray[np.float32]:
        clip = read_clip(self._paths[row], self._limits)
        return split_windows(condition(clip.samples, clip.sample_rate_hz, self._policy))[1]

    def _check(self, path: Path) -> None:
        read_clip(path, self._limits)
