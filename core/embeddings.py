"""Embeddings of clips and prompts, computed once and kept in a folder (`core.embedding_files`).

What is kept is known by the SHA-256 of all that it depends on:

    audio   the file's bytes, the tower's weights, input policy, window policy, precision
    text    the prompt, the tower's weights, precision

The device is not among it: devices differ by float error only.

Windows of several clips go through the tower in one batch; a clip's embeddings are the same alone and in any
company, within 1e-6.
"""

import contextlib
import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.audio import AudioLimits, InputPolicy, condition, cut_window, read_clip, window_starts
from core.clap import ClapTower
from core.compiled_audio import CompiledAudio, is_worth_compiling
from core.devices import PRECISIONS
from core.embedding_files import EmbeddingFiles
from core.errors import DataError
from core.file_reading import clip_sha256, read_all, stop_if_any
from core.scorer import WINDOW_POLICY, Progress
from core.towers import tower_sha256

FORMAT = 1  # raised when the same names would stand for other numbers, as by another front end
BATCH = 8  # windows, or prompts; more does not help a CPU
ACCELERATED_BATCH = 64

Item = TypeVar("Item")
_Window = tuple[str, NDArray[np.float32], bool]  # its clip's SHA-256, samples, whether it is the clip's last


class EmbeddingCache:
    """Embeddings by one tower, kept in a folder.

    Parameters
    ----------
    folder : Path or None
        Made where it is missing; None to keep nothing.
    tower : ClapTower
        In eval mode, on any device. Its weights must not change while the cache is used.
    policy : InputPolicy
        What clips are brought to.
    precision : str
        One of `PRECISIONS`; bfloat16 for the networks and not for the spectrograms, by autocast or, where a
        large tower is on a CPU, by OpenVINO.
    limits : AudioLimits, optional
        What clips may be.

    Attributes
    ----------
    batch : int
        Windows, or prompts, that go through the tower at once.
    computed, found : int
        How many clips and prompts were embedded, and how many were in the folder already.

    Raises
    ------
    DataError
        An unknown precision.
    ValueError
        The tower is in training mode: it would draw random numbers.
    """

    def __init__(
        self,
        folder: Path | None,
        tower: ClapTower,
        policy: InputPolicy,
        precision: str = "float32",
        limits: AudioLimits | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise DataError(f"There is no precision {precision!r}. It is {' or '.join(PRECISIONS)}.")
        if tower.training:
            raise ValueError("embeddings are cached of towers in eval mode")
        self.computed = self.found = 0
        self._tower, self._policy, self._precision = tower, policy, precision
        self._files = EmbeddingFiles(folder, tower.dim) if folder else None
        self._limits = limits or AudioLimits()
        self._tower_sha256 = tower_sha256(tower)
        self.batch = BATCH if tower.device.type == "cpu" else ACCELERATED_BATCH

    def audio(self, paths: Sequence[Path], tell: Progress | None = None) -> list[Tensor]:
        """Embed clips.

        Parameters
        ----------
        paths : sequence of Path
        tell : callable, optional
            Called with the share done (0 to 1) and what is being done.

        Returns
        -------
        list of Tensor, (n_windows, dim) float32 on the CPU
            In the order of the paths.

        Raises
        ------
        DataError
            Clips that cannot be read, all of them with the reasons; the others are in the cache then.
        """
        unreadable: list[str] = []
        digests = read_all(clip_sha256, dict.fromkeys(paths), unreadable)
        names = {path: self._audio_name(sha256) for path, sha256 in digests}
        kept = self._kept(names.values())
        new = [path for path, name in names.items() if name not in kept]
        clips = (clip for _, clip in read_all(self._read, new, unreadable))
        for done, (sha256, rows) in enumerate(self.stream(clips), 1):
            kept[self._audio_name(sha256)] = rows
            if tell:
                tell(done / len(new), f"Embedding clip {done} of {len(new)}")
        stop_if_any(unreadable)
        return [kept[names[path]] for path in paths]

    def text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts, n of them, to (n, dim) float32 on the CPU."""
        names = {prompt: self._text_name(prompt) for prompt in prompts}
        kept = self._kept(names.values())
        for batch in _batches((prompt for prompt in names if names[prompt] not in kept), self.batch):
            with torch.no_grad(), self._autocast():
                embedded = self._tower.embed_text(batch).cpu()
            kept |= {
                names[prompt]: self._keep(names[prompt], row[None])
                for prompt, row in zip(batch, embedded, strict=True)
            }
        return torch.cat([kept[names[prompt]] for prompt in prompts])

    def find(self, sha256: str) -> Tensor | None:
        """Give the embeddings of a clip by the SHA-256 of its file; None where they are not in the folder."""
        return self._find(self._audio_name(sha256))

    def stream(self, clips: Iterable[tuple[str, NDArray[np.float32]]]) -> Iterator[tuple[str, Tensor]]:
        """Embed clips as they come, and give them in that order; no more are held than a batch needs.

        Parameters
        ----------
        clips : iterable of (str, (n,) float32)
            SHA-256 of the file, and what `core.audio.condition` gives of its samples.
        """
        rows: list[Tensor] = []
        for batch, embedded in self._embedded(_windows(clips)):
            for (sha256, _, is_last), row in zip(batch, embedded.cpu(), strict=True):
                rows.append(row)
                if is_last:
                    yield sha256, self._keep(self._audio_name(sha256), torch.stack(rows))
                    rows = []

    def _embedded(self, windows: Iterable[_Window]) -> Iterator[tuple[list[_Window], Tensor]]:
        """Batches with their embeddings; a GPU computes one while the windows of the next are waited for."""
        behind: list[tuple[list[_Window], Tensor]] = []
        for batch in _batches(windows, self.batch):
            samples = np.stack([window for _, window, _ in batch])
            behind.append((batch, self.embed(self._tower.log_mel(samples))))
            if self._tower.device.type == "cpu" or len(behind) > 1:
                yield behind.pop(0)
        yield from behind

    def embed(self, log_mel: Tensor) -> Tensor:
        """Embed spectrograms of the tower, (n, 1, 1001, 64), at the cache's precision; nothing is kept."""
        network = self._network
        with torch.no_grad(), self._autocast():
            return network(log_mel)

    def _read(self, path: Path) -> tuple[str, NDArray[np.float32]]:
        clip = read_clip(path, self._limits)
        return clip.sha256, condition(clip.samples, clip.sample_rate_hz, self._policy)

    @functools.cached_property
    def _network(self) -> Callable[[Tensor], Tensor]:
        if self._precision == "bfloat16" and is_worth_compiling(self._tower):
            return CompiledAudio(self._tower, self.batch)
        return self._tower.embed_log_mel

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        is_lower = self._precision != "float32"
        return torch.autocast(self._tower.device.type, torch.bfloat16, enabled=is_lower)

    def _audio_name(self, sha256: str) -> str:
        return self._name("audio", sha256, asdict(self._policy), dict(WINDOW_POLICY))

    def _text_name(self, prompt: str) -> str:
        return self._name("text", prompt)

    def _name(self, *depends_on: object) -> str:
        what = [FORMAT, self._tower_sha256, self._precision, *depends_on]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def _kept(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Those embeddings of the folder that are there and undamaged, by name."""
        read = {name: self._find(name) for name in {*names}}
        kept = {name: rows for name, rows in read.items() if rows is not None}
        self.found += len(kept)
        return kept

    def _find(self, name: str) -> Tensor | None:
        return self._files.read(name) if self._files else None

    def _keep(self, name: str, rows: Tensor) -> Tensor:
        if self._files:
            self._files.write(name, rows)
        self.computed += 1
        return rows


def _windows(clips: Iterable[tuple[str, NDArray[np.float32]]]) -> Iterator[_Window]:
    """Each window with its clip's hash, and whether it is the clip's last."""
    for sha256, samples in clips:
        starts = window_starts(samples.size)
        for start in starts:
            yield sha256, cut_window(samples, start), start == starts[-1]


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
