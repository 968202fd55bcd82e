"""Embeddings of clips and prompts: computed once, kept in a folder, and what heads make of them.

What is kept is known by the SHA-256 of all that it depends on:

    audio, frames   the file's bytes, the tower's weights, input policy, window policy, precision, and the
                    versions of the libraries that decode, resample, measure loudness and compute
    text, tokens    the prompt, the tower's weights, precision, torch's version

The device is not among it: devices differ by float error only. A file holds the SHA-256 of its name and
rows, then the rows, little-endian float32. It appears whole, by renaming, so several processes and machines
may share a folder: at worst two make the same. A file that is not what it was when written counts as not
there.

Windows of several clips go through the tower in one batch; a clip's embeddings are the same alone and in any
company, within 1e-6. A clip's rows are its windows' embeddings, each followed by how much the window counts
(`core.audio.window_weights`). Where heads hear sequences (`core.heads`), all numbers of the window's frames
come after these, and are kept in a file of their own; so are the words of prompts.
"""

import collections
import functools
import hashlib
import itertools
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.audio import AudioLimits, InputPolicy, Samples
from core.errors import AudioError, DataError, shown_name
from core.feed import Progress, clip_sha256, read_all, stop_if_any
from core.files import write_atomically
from core.heads import EmbeddedClips, Heads
from core.readers import readers_for
from core.settings import PRECISIONS
from core.towers import Tower, tower_sha256
from core.towers.compiled import CompiledAudio, heard
from core.towers.graphed import GraphedAudio, compiled, computing
from core.windows import Feed, Free, Heard, read_whole, together

if TYPE_CHECKING:
    from core.rated_clips import RatedClips

FORMAT = 2  # raised when the same names would stand for other numbers, as by another front end
BATCH = 8  # windows, or prompts; more does not help a CPU of as many cores
ACCELERATED_BATCH = 64
LONG_RUN = 50_000  # clips, from which on compiled code makes up for the time that it takes

_DIGEST_BYTES = 32
_MOST_WAITING = 4  # clips for each window of a batch
_REMEMBERED = 32  # clips, so that what is the same under several names is computed once

logger = logging.getLogger(__name__)

Given = TypeVar("Given")


@dataclass(frozen=True)
class Asked:
    """What is to be embedded beside windows and prompts."""

    frames: bool = False
    tokens: bool = False

    @classmethod
    def by(cls, heads: Heads) -> Self:
        """Return what heads need."""
        return cls(heads.hears_frames, heads.hears_tokens)


class EmbeddingCache:
    """Embeddings by one tower, kept in a folder; without a folder none are.

    The tower is in eval mode (in training it would draw random numbers), on any device, and its weights must
    not change. bfloat16 is for its networks and not for its features, by autocast or, where a large tower is
    on a CPU, by OpenVINO. `batch` windows, or prompts, go through it at once; `computed` and `found` count
    clips and prompts. DataError for an unknown precision and for a folder that cannot be used.

    A clip's rows, float32 on the CPU, are (n_windows, dim + 1), or longer by all frames where they are asked for.
    """

    def __init__(
        self,
        folder: Path | None,
        tower: Tower,
        policy: InputPolicy,
        precision: str = "float32",
        limits: AudioLimits | None = None,
        asked: Asked | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise DataError(f"There is no precision {precision!r}. It is {' or '.join(PRECISIONS)}.")
        if tower.training:
            raise ValueError("embeddings are cached of towers in eval mode")
        self.computed = self.found = 0
        self._expected = 1  # clip
        is_cpu = tower.device.type == "cpu"
        self.batch = max(BATCH, torch.get_num_threads()) if is_cpu else ACCELERATED_BATCH
        self._folder, self._tower, self._policy, self._precision = folder, tower, policy, precision
        self._limits, self._asked = limits or AudioLimits(), asked or Asked()

    def audio(self, paths: Sequence[Path], progress: Progress | None = None) -> list[Tensor]:
        """Embed clips, in the order of the paths.

        DataError for clips that cannot be read whole or of which nothing can be heard, all of them with the
        reasons; the others are kept then.
        """
        unreadable: list[str] = []
        digests = dict(read_all(clip_sha256, dict.fromkeys(paths), unreadable))
        kept = {sha256: rows for sha256 in {*digests.values()} if (rows := self.find(sha256)) is not None}
        self.found += len(kept)
        new = [path for path, sha256 in digests.items() if sha256 not in kept]
        self.expect(len(new))
        with readers_for(len(new), batch=self.batch) as readers:
            feed = Feed(self._policy, self._limits, readers, self._tower.device)
            for done, (heard, found) in enumerate(self.stream(read_whole(feed, new)), 1):
                if isinstance(found, AudioError):
                    unreadable.append(str(found))
                elif isinstance(found, Exception):
                    raise found
                else:
                    kept[heard.clip().facts.sha256] = found
                if progress:
                    progress(done / len(new), f"Embedding clip {done} of {len(new)}")
        stop_if_any(unreadable)
        return [kept[digests[path]] for path in paths]

    def text(self, prompts: Sequence[str]) -> Tensor:
        """Embed prompts, n of them, to (n, dim) float32 on the CPU."""
        return torch.cat(self._read_prompts("text", prompts, lambda some: self._tower.embed_text(some)[:, None]))

    def tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        """Embed the words of prompts, to (n_tokens, dim) each, float32 on the CPU."""
        return self._read_prompts("tokens", prompts, self._tower.embed_tokens)

    def together(self, clips: Sequence[Tensor], prompts: Sequence[str]) -> EmbeddedClips:
        """Put clips, by their rows, and their prompts together as heads hear them; where no clip has one, zeros."""
        nothing = torch.zeros(1, self._tower.dim)
        text = self.text(prompts) if any(prompts) else nothing.repeat(len(prompts), 1)
        tokens = None
        if self._asked.tokens:
            tokens = self.tokens(prompts) if any(prompts) else [nothing] * len(prompts)
        return EmbeddedClips.of(clips, text, tokens, self._tower.sequence_dim if self._asked.frames else 0)

    def find(self, sha256: str) -> Tensor | None:
        """Return a clip's rows by the SHA-256 of its file; None where they are not in the folder."""
        rows = self._read(self._audio_name("audio", sha256), self._tower.dim + 1)
        if rows is None or not self._asked.frames:
            return rows
        frames = self._read(self._audio_name("frames", sha256), self._tower.sequence_dim)
        return None if frames is None else torch.cat([rows, frames.reshape(len(rows), -1)], dim=1)

    def stream(
        self, clips: Iterable[Heard[Given]], progress: Progress | None = None
    ) -> Iterator[tuple[Heard[Given], Tensor | Exception]]:
        """Embed clips as they come and yield them in that order; no more are held than some batches need.

        With each come its rows; where something was found for it, that; and where it cannot be read, the error.
        """
        batches, waiting = _Batches(self), collections.deque[_Embedded[Given]]()
        recent = collections.deque[_Known](maxlen=_REMEMBERED)
        for clip in clips:
            waiting.append(_Embedded(clip))
            batches.take(waiting[-1], recent, progress)
            recent.append(waiting[-1].known)
            if len(waiting) > _MOST_WAITING * self.batch:
                batches.finish()  # what is known of the others fills no batch
            yield from self._whole(waiting)
        batches.finish()
        yield from self._whole(waiting)

    def _whole(self, waiting: "collections.deque[_Embedded[Given]]") -> Iterator[tuple[Heard[Given], Any]]:
        """Those clips of which everything has come, from the first on."""
        while waiting and waiting[0].is_whole:
            clip = waiting.popleft()
            if clip.known.result is None:
                clip.known.result = self._keep_clip(clip.known.name, clip.rows_with_weights(self._tower.dim))
            yield clip.heard, clip.known.result

    def embed(self, features: Tensor) -> Tensor:
        """Embed features of the tower at the cache's precision, with their frames if asked; nothing is kept."""
        network = self._network
        with torch.no_grad(), computing(self._tower.device, self._precision):
            return network(features).float()

    def expect(self, n_clips: int) -> None:
        """Say how many clips are to be embedded, before the first: it decides how the network is compiled."""
        self._expected = n_clips

    def embed_windows(self, windows: Sequence[Samples]) -> Tensor:
        """Embed windows, at most a batch, on the tower's device, where they may still be computed.

        Where its memory does not hold them the batch is halved from then on.
        """
        try:
            return self.embed(self._tower.features(together(windows, self._tower.device)))
        except torch.OutOfMemoryError:
            if len(windows) == 1:
                raise
        self.batch = half = len(windows) // 2
        logger.warning("The memory of the GPU does not hold %d windows: %d go through at once.", len(windows), half)
        self.__dict__.pop("_network", None)
        torch.cuda.empty_cache()
        return torch.cat([self.embed_windows(windows[at : at + half]) for at in range(0, len(windows), half)])

    @property
    def is_behind(self) -> bool:
        """Whether a batch is computed while the windows of the next come."""
        return self._tower.device.type != "cpu"

    @functools.cached_property
    def _network(self) -> Callable[[Tensor], Tensor]:
        tower, precision = self._tower, self._precision
        if tower.device.type == "cpu":
            precision = "float32" if precision == "tf32" else precision
            if precision in tower.compiled:
                at_once = torch.get_num_threads() if self._expected > 1 else 1
                return CompiledAudio(tower, self._asked.frames, precision, at_once)

        def compute(features: Tensor) -> Tensor:
            return heard(tower, features, self._asked.frames)

        if tower.device.type != "cuda":
            return compute
        return compiled(compute, self.batch) if self._expected >= LONG_RUN else GraphedAudio(compute)

    @functools.cached_property
    def _tower_sha256(self) -> str:
        return tower_sha256(self._tower)

    def _read_prompts(
        self, kind: str, prompts: Sequence[str], embed: Callable[[list[str]], Iterable[Tensor]]
    ) -> list[Tensor]:
        """Rows of prompts: those that are not kept are computed."""
        names = {prompt: self._name(kind, prompt, version("torch")) for prompt in prompts}
        kept = {name: rows for name in {*names.values()} if (rows := self._read(name, self._tower.dim)) is not None}
        self.found += len(kept)
        for batch in _batches((prompt for prompt, name in names.items() if name not in kept), self.batch):
            with torch.no_grad(), computing(self._tower.device, self._precision):
                embedded = [rows.float().cpu() for rows in embed(batch)]
            for prompt, rows in zip(batch, embedded, strict=True):
                kept[names[prompt]] = rows
                self._keep(names[prompt], rows)
        return [kept[names[prompt]] for prompt in prompts]

    def _keep_clip(self, sha256: str, rows: Tensor) -> Tensor:
        width = self._tower.dim + 1
        if self._asked.frames:
            frames = rows[:, width:].reshape(-1, self._tower.sequence_dim)
            self._write(self._audio_name("frames", sha256), frames)
        self._keep(self._audio_name("audio", sha256), rows[:, :width])
        return rows

    def _audio_name(self, kind: str, sha256: str) -> str:
        return self._name(kind, sha256, asdict(self._policy), self._policy.window_policy, _audio_versions())

    def _name(self, *depends_on: object) -> str:
        tower = self._tower_sha256 if self._folder else ""  # hashing a large tower takes a second
        what = [FORMAT, tower, self._precision, *depends_on]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()

    def _read(self, name: str, width: int) -> Tensor | None:
        if not self._folder:
            return None
        try:
            content = (self._folder / name[:2] / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unusable(error) from error
        digest, rows = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if digest != _digest(name, rows):
            return None
        return torch.from_numpy(np.frombuffer(rows, "<f4").astype(np.float32).reshape(-1, width))

    def _keep(self, name: str, rows: Tensor) -> None:
        self.computed += 1
        self._write(name, rows)

    def _write(self, name: str, rows: Tensor) -> None:
        if not self._folder:
            return
        content, path = rows.numpy().astype("<f4").tobytes(), self._folder / name[:2] / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _digest(name, content) + content)
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> DataError:
        name = self._folder.name if self._folder else ""
        why = f"The folder of embeddings {shown_name(name)} cannot be used: {error.strerror}."
        return DataError(f"{why} Give another one.")


def embed_clips(clips: "RatedClips", cache: EmbeddingCache, progress: Progress | None = None) -> EmbeddedClips:
    """Embed rated clips and their prompts, in the order of the table; DataError as `EmbeddingCache.audio`."""
    audio = cache.audio([Path(path) for path in clips.table["audio_path"]], progress)
    embedded = cache.together(audio, list(clips.table["prompt"]))
    return embedded if clips.has_prompts else replace(embedded, text=torch.zeros_like(embedded.text))


def clip_values(heads: Heads, clips: EmbeddedClips) -> NDArray[np.float64]:
    """Return what heads say of clips on their device, (n_clips, n_scales), not clamped."""
    with torch.no_grad():
        return heads.judge(clips).cpu().numpy()


@dataclass(eq=False)
class _Known:
    """What clips of the same audio have in common."""

    name: str = ""  # what its embeddings go by, where it was read
    result: Any = None  # the rows, what was found instead, or the error


@dataclass(eq=False)
class _Embedded(Generic[Given]):
    """A clip of which windows are on their way through the tower."""

    heard: Heard[Given]
    rows: list[Tensor] = field(default_factory=list)
    n_windows: int = 0
    known: _Known = field(default_factory=lambda: _Known())

    @property
    def is_whole(self) -> bool:
        return self.known.result is not None or len(self.rows) == self.n_windows

    def rows_with_weights(self, dim: int) -> Tensor:
        """Each window's embedding, how much it counts, and its frames."""
        rows = torch.stack(self.rows)
        weights = rows.new_tensor(self.heard.weights)[:, None]
        return torch.cat([rows[:, :dim], weights, rows[:, dim:]], dim=1)


class _Batches:
    """Windows of several clips on their way through a tower; a GPU computes a batch while the next one comes."""

    def __init__(self, cache: EmbeddingCache) -> None:
        self._cache = cache
        self._batch: list[tuple[_Embedded[Any], Samples, Free]] = []
        self._behind: collections.deque[tuple[list[tuple[_Embedded[Any], Samples, Free]], Tensor]]
        self._behind = collections.deque()

    def take(self, clip: _Embedded[Any], recent: Iterable[_Known], progress: Progress | None) -> None:
        """Take a clip's windows, unless those of the same audio were taken a short time ago."""
        for number, (window, free) in enumerate(_windows(clip, recent)):
            if progress:
                progress(number / clip.n_windows, f"Listening: window {number + 1} of {clip.n_windows}")
            self._batch.append((clip, window, free))
            if len(self._batch) >= self._cache.batch:
                self._send()

    def finish(self) -> None:
        """Have everything computed."""
        if self._batch:
            self._send()
        while self._behind:
            self._fetch()

    def _send(self) -> None:
        batch, self._batch = self._batch, []
        self._behind.append((batch, self._cache.embed_windows([window for _, window, _ in batch])))
        if not self._cache.is_behind or len(self._behind) > 1:
            self._fetch()

    def _fetch(self) -> None:
        batch, rows = self._behind.popleft()
        for (clip, _, free), row in zip(batch, rows.cpu(), strict=True):
            clip.rows.append(row)
            free()


def _windows(clip: _Embedded[Any], recent: Iterable[_Known]) -> Iterator[tuple[Samples, Free]]:
    """A clip's windows where nothing is known of it; what cannot be read of it is its error."""
    try:
        known = _Known(clip.heard.clip().kept_as, clip.heard.found)
        alike = next((other for other in recent if other.name == known.name), None)
        clip.known = alike or known
        if clip.known.result is None and not alike:
            clip.n_windows = len(clip.heard.weights)
            yield from clip.heard.windows()
    except Exception as error:  # noqa: BLE001  # told with the clip
        clip.known.result = error


@functools.cache
def _audio_versions() -> Mapping[str, str]:
    """What else the numbers depend on."""
    packages = {package: version(package) for package in ("soxr", "numpy", "torch")}
    return {**packages, "libsndfile": soundfile.__libsndfile_version__}


def _batches(items: Iterable[Given], size: int) -> Iterator[list[Given]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _digest(name: str, rows: bytes) -> bytes:
    return hashlib.sha256(name.encode() + rows).digest()
