"""Clips as a judge in training takes them in, and the judges that do.

`HeadsAlone` with `EmbeddedExamples` is a recipe that leaves the towers as they are, `WholeJudge` with
`SoundExamples` the paper's.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.audio import AudioLimits, InputPolicy, split_windows, window_weights
from core.feed import READERS, in_order, read_all
from core.heads import EmbeddedClips, Heads
from core.prepared import Prepared, prepare_whole
from core.rated_clips import RatedClips
from core.readers import Readers
from core.towers import Tower


class HeadsAlone(nn.Module):
    """Heads on embeddings of whole clips."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, clips: EmbeddedClips) -> Tensor:
        """Return outputs for clips, (n, members, n_scales, 1 + bins)."""
        return self.heads.outputs(clips)


class WholeJudge(nn.Module):
    """Tower and heads; everything that the tower has learned goes on learning."""

    def __init__(self, tower: Tower, heads: Heads) -> None:
        super().__init__()
        self.tower, self.heads = tower, heads
        for weight in tower.learned_parameters():
            weight.requires_grad_(True)

    def forward(self, log_mel: Tensor, owner: Tensor, prompts: Sequence[str], weight: Tensor | None = None) -> Tensor:
        """Return outputs for clips, (n, 1, n_scales, 1), from spectrograms of windows, (n_windows, 1, 1001, 64)."""
        text = self.tower.embed_text(prompts)
        return self.heads.outputs(EmbeddedClips(self.tower.embed_features(log_mel), owner, text, weight))


@dataclass(frozen=True)
class Chunk:
    """Whole clips that go through together, by row: at once, or a single one in pieces.

    A piece is what the judge is called with, and its share of the clip's windows.
    """

    rows: list[int]
    pieces: Sequence[tuple[tuple[Any, ...], float]]


class EmbeddedExamples:
    """Clips by their embeddings."""

    def __init__(self, clips: EmbeddedClips, device: torch.device) -> None:
        self._clips, self._device = clips.to(device), device

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        """All rows at once: embeddings are small."""
        if len(rows):
            chosen = torch.as_tensor(np.asarray(rows, dtype=np.int64)).to(self._device)
            yield Chunk(chosen.tolist(), [((self._clips.take(chosen),), 1.0)])


_Windows = tuple[NDArray[np.float32], list[float]]  # of a clip, and how much each counts


class SoundExamples:
    """Clips decoded as they are needed, ahead of the towers: by readers, or by threads where there are none.

    A chunk, and each piece of a longer clip, has at most `chunk_windows` windows.
    """

    def __init__(
        self,
        clips: RatedClips,
        tower: Tower,
        policy: InputPolicy,
        chunk_windows: int,
        limits: AudioLimits | None = None,
        readers: Readers | None = None,
    ) -> None:
        self._paths = [Path(path) for path in clips.table["audio_path"]]
        self._prompts = list(clips.table["prompt"])
        self._tower, self._policy, self._chunk_windows = tower, policy, chunk_windows
        self._limits, self._readers = limits or AudioLimits(), readers
        self._n_reading = readers.count if readers else READERS

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        """Whole clips, a few at a time."""
        chunk: list[int] = []
        heard: list[_Windows] = []
        for row, windows in self._read_ahead(rows):
            n_windows = len(windows[0])
            if chunk and sum(len(of) for of, _ in heard) + n_windows > self._chunk_windows:
                yield Chunk(chunk, [(self._inputs(chunk, heard), 1.0)])
                chunk, heard = [], []
            if n_windows > self._chunk_windows:
                yield Chunk([row], list(self._pieces(row, windows)))
                continue
            chunk.append(row)
            heard.append(windows)
        if chunk:
            yield Chunk(chunk, [(self._inputs(chunk, heard), 1.0)])

    def unreadable(self, rows: Sequence[int]) -> list[str]:
        """Return what is wrong with the clips that cannot be read."""
        problems: list[str] = []
        for _ in read_all(self._prepare, [self._paths[row] for row in rows], problems, self._n_reading):
            pass
        return problems

    def _read_ahead(self, rows: Sequence[int]) -> Iterator[tuple[int, _Windows]]:
        """Windows of each clip; at most two clips a reader wait in memory."""
        with ThreadPoolExecutor(self._n_reading) as threads:
            yield from zip(rows, in_order(threads, self._windows, rows, 2 * self._n_reading), strict=True)

    def _pieces(self, row: int, heard: _Windows) -> Iterator[tuple[tuple[Any, ...], float]]:
        windows, weights = heard
        for start in range(0, len(windows), self._chunk_windows):
            some = slice(start, start + self._chunk_windows)
            yield self._inputs([row], [(windows[some], weights[some])]), sum(weights[some]) / sum(weights)

    def _inputs(self, chunk: list[int], heard: list[_Windows]) -> tuple[Tensor, Tensor, list[str], Tensor]:
        owner = torch.repeat_interleave(torch.tensor([len(weights) for _, weights in heard]))
        log_mel = self._tower.features(np.concatenate([windows for windows, _ in heard]))
        weight = torch.tensor([weight for _, weights in heard for weight in weights])
        device = log_mel.device
        return log_mel, owner.to(device), [self._prompts[row] for row in chunk], weight.to(device)

    def _windows(self, row: int) -> _Windows:
        samples = self._prepare(self._paths[row]).samples
        return split_windows(samples, self._policy.passes), window_weights(samples.size, self._policy)

    def _prepare(self, path: Path) -> Prepared:
        return prepare_whole(path, self._policy, self._limits, self._readers)


class Examples(Protocol):
    """Clips as a judge takes them in."""

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        """Yield whole clips in portions that memory holds."""
