"""Clips as a judge in training takes them in, and the judges that do.

`HeadsAlone` with `EmbeddedExamples` is a recipe that leaves the towers as they are, `WholeJudge` with
`SoundExamples` the paper's.
"""

import contextlib
import itertools
import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio import AudioLimits, InputPolicy, Samples
from core.errors import AudioError
from core.heads import EmbeddedClips, Heads
from core.rated_clips import RatedClips
from core.readers import Readers
from core.towers import Tower
from core.windows import Feed, Free, Heard, read_whole, together

_SHARE = 4  # of the memory of a GPU
_AT_ONCE = 8  # windows of which spectrograms are computed together; as many as readers leave free


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

    def __init__(self, tower: Tower, heads: Heads, compiled_for: int = 0) -> None:
        super().__init__()
        self.tower, self.heads = tower, heads
        for weight in tower.learned_parameters():
            weight.requires_grad_(True)
        self._compiled_for = compiled_for
        self._embed = torch.compile(tower.embed_features) if compiled_for else tower.embed_features
        self._reads_alike = not tower.embed_text(["music"]).requires_grad
        self._texts: dict[tuple[str, torch.dtype | None], Tensor] = {}

    def forward(self, log_mel: Tensor, owner: Tensor, prompts: Sequence[str], weight: Tensor | None = None) -> Tensor:
        """Return outputs for clips, (n, 1, n_scales, 1), from spectrograms of windows, (n_windows, 1, 1001, 64)."""
        missing = max(self._compiled_for - len(log_mel), 0)  # compiled for one size
        filled = functional.pad(log_mel, [0, 0] * (log_mel.ndim - 1) + [0, missing]) if missing else log_mel
        audio = self._embed(filled)[: len(log_mel)]
        return self.heads.outputs(EmbeddedClips(audio, owner, self._text(prompts), weight))

    def _text(self, prompts: Sequence[str]) -> Tensor:
        """Prompts' embeddings: once each where they are not learned."""
        if not self._reads_alike:
            return self.tower.embed_text(prompts)
        device = self.tower.device
        precision = torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
        if new := [prompt for prompt in dict.fromkeys(prompts) if (prompt, precision) not in self._texts]:
            self._texts |= {
                (prompt, precision): row for prompt, row in zip(new, self.tower.embed_text(new), strict=True)
            }
        return torch.stack([self._texts[prompt, precision] for prompt in prompts])


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


@dataclass(frozen=True)
class _InFile:
    """Where a clip's spectrograms lie."""

    start: int
    shape: tuple[int, ...]


class Spectrograms:
    """Spectrograms and weights of clips' windows by row, float32: nothing in a recipe changes them.

    They stay on the GPU where a quarter of what is free there holds them, and otherwise lie in a file that has no name
    and ends with the process. What the disk has no room for is not kept, and computed again each time.
    """

    def __init__(self, device: torch.device, folder: Path | None = None) -> None:
        self._free_bytes = torch.cuda.mem_get_info(device)[0] // _SHARE if device.type == "cuda" else 0
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._kept: dict[int, tuple[Tensor | _InFile, list[float]]] = {}

    def __contains__(self, row: int) -> bool:
        return row in self._kept

    def __getitem__(self, row: int) -> tuple[Tensor, list[float]]:
        kept, weights = self._kept[row]
        return (kept if isinstance(kept, Tensor) else self._read(kept)), weights

    def __setitem__(self, row: int, heard: tuple[Tensor, list[float]]) -> None:
        features, weights = heard
        if features.nbytes <= self._free_bytes:
            self._free_bytes -= features.nbytes
            self._kept[row] = heard
            return
        with contextlib.suppress(OSError):
            self._kept[row] = self._write(features), weights

    def _write(self, features: Tensor) -> _InFile:
        if self._file is None:
            if self._folder:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115  # closed with this
            weakref.finalize(self, self._file.close)
        start = self._file.seek(0, os.SEEK_END)
        content = features.cpu().numpy().tobytes()
        if self._file.write(content) < len(content):
            self._file.truncate(start)
            raise OSError("no room")
        return _InFile(start, tuple(features.shape))

    def _read(self, kept: _InFile) -> Tensor:
        assert self._file is not None
        return torch.from_numpy(np.array(np.memmap(self._file, np.float32, "r", kept.start, kept.shape)))


_Heard = tuple[Tensor, list[float]]  # a clip's spectrograms, and how much each counts


class SoundExamples:
    """Clips by the spectrograms of their windows: computed once, and kept.

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
        folder: Path | None = None,
    ) -> None:
        self._paths = [Path(path) for path in clips.table["audio_path"]]
        self._prompts = list(clips.table["prompt"])
        self._tower, self._chunk_windows = tower, chunk_windows
        self._feed = Feed(policy, limits or AudioLimits(), readers, tower.device)
        self._kept = Spectrograms(tower.device, folder)

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        """Whole clips, a few at a time."""
        chunk: list[int] = []
        heard: list[_Heard] = []
        for row, clip in self._heard(rows):
            n_windows = len(clip[0])
            if chunk and sum(len(of) for of, _ in heard) + n_windows > self._chunk_windows:
                yield Chunk(chunk, [(self._inputs(chunk, heard), 1.0)])
                chunk, heard = [], []
            if n_windows > self._chunk_windows:
                yield Chunk([row], list(self._pieces(row, clip)))
                continue
            chunk.append(row)
            heard.append(clip)
        if chunk:
            yield Chunk(chunk, [(self._inputs(chunk, heard), 1.0)])

    def unreadable(self, rows: Sequence[int]) -> list[str]:
        """Return what is wrong with the clips that cannot be read; the others are kept."""
        problems: list[str] = []
        for clip in read_whole(self._feed, [self._paths[row] for row in rows]):
            try:
                self._take(rows[clip.turn], clip)
            except AudioError as error:
                problems.append(str(error))
        return problems

    def _heard(self, rows: Sequence[int]) -> Iterator[tuple[int, _Heard]]:
        """Spectrograms of each clip: those that are not kept are computed, and read ahead."""
        new = [row for row in rows if row not in self._kept]
        read = read_whole(self._feed, [self._paths[row] for row in new]) if new else iter(())
        for row in rows:
            yield row, self._kept[row] if row not in new else self._take(row, next(read))

    def _take(self, row: int, clip: Heard[Path]) -> _Heard:
        """Compute a clip's spectrograms, some windows at a time, and keep them."""
        windows = clip.windows()
        parts = [self._features(some) for some in iter(lambda: list(itertools.islice(windows, _AT_ONCE)), [])]
        self._kept[row] = heard = torch.cat(parts), clip.weights
        return heard

    def _features(self, some: list[tuple[Samples, Free]]) -> Tensor:
        features = self._tower.features(together([window for window, _ in some], self._tower.device))
        if features.is_cuda:
            torch.cuda.synchronize(features.device)  # the windows are there, and their memory is free
        for _, free in some:
            free()
        return features

    def _pieces(self, row: int, heard: _Heard) -> Iterator[tuple[tuple[Any, ...], float]]:
        features, weights = heard
        for start in range(0, len(features), self._chunk_windows):
            some = slice(start, start + self._chunk_windows)
            yield self._inputs([row], [(features[some], weights[some])]), sum(weights[some]) / sum(weights)

    def _inputs(self, chunk: list[int], heard: list[_Heard]) -> tuple[Tensor, Tensor, list[str], Tensor]:
        owner = torch.repeat_interleave(torch.tensor([len(weights) for _, weights in heard]))
        log_mel = torch.cat([features for features, _ in heard]).to(self._tower.device)
        weight = torch.tensor([weight for _, weights in heard for weight in weights])
        device = log_mel.device
        return log_mel, owner.to(device), [self._prompts[row] for row in chunk], weight.to(device)


Examples = EmbeddedExamples | SoundExamples
