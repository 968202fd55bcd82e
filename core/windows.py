"""Windows of many clips in order, read ahead of a model by readers, or by threads where there are none.

Readers lay windows in shared memory (`core.slab`), from which they go to the model's device. What cannot be read
ends nothing: the error stands in the clip's place.
"""

import collections
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from core.audio import AudioLimits, Clip, ClipSource, InputPolicy, Samples, check_whole, window_weights
from core.errors import AudioError, ReadingError, shown_name
from core.prepared import Prepared, Windows, prepare_in, prepare_windows
from core.readers import Readers, Write
from core.slab import WINDOW_BYTES, ClosedError, Slab

Given = TypeVar("Given")
Free = Callable[[], None]

_AHEAD = 2  # clips for each reader: one is read, one waits
_THREADS, _GPU_THREADS = 2, 8  # read where there are no readers, on the cores of a tower and beside a GPU
_NO_TURN = sys.maxsize
_CPU = torch.device("cpu")


def _nothing() -> None:
    """What is to be done when a window that lies in no shared memory has been taken."""


def _known_of_none(*_: object) -> None:
    """What is known of clips where nothing is kept."""


@dataclass(eq=False)
class Heard(Generic[Given]):
    """A clip that is read ahead: first it is told what it is, then its windows come."""

    given: Given  # what was to be read
    policy: InputPolicy
    turn: int = 0
    slab: Slab | None = None
    known: Callable[[Any, Prepared], Any] = _known_of_none
    found: Any = None  # what `Feed.known` said of the clip; where that was not None, there are no windows
    _clip: "Future[Prepared]" = field(default_factory=Future)
    _places: "SimpleQueue[int | BaseException | None]" = field(default_factory=SimpleQueue)

    @classmethod
    def of(cls, given: Given, clip: Prepared, policy: InputPolicy) -> "Heard[Given]":
        """A clip that has been read."""
        heard = cls(given, policy)
        heard.tell(clip)
        return heard

    def clip(self) -> Prepared:
        """Wait for what the clip is; raises what reading it raised."""
        return self._clip.result()

    @property
    def weights(self) -> list[float]:
        """How much each window counts."""
        return window_weights(self.clip().n_samples, self.policy)

    def windows(self) -> Iterator[tuple[Samples, Free]]:
        """Yield each window, and what to call when it has been copied; AudioError where its reader ended."""
        if self.slab is None:
            for window in Windows(self.clip().samples, self.policy):
                yield window, _nothing
            return
        for _ in self.weights:
            place = self._places.get()
            if not isinstance(place, int):
                self._places.put(None)
                raise place or AudioError("The clip was not read to its end.")
            yield self.slab.windows[place], lambda place=place: self._give_back(place)  # type: ignore[misc]

    def tell(self, clip: Prepared) -> None:
        """Say what the clip is."""
        try:
            self.found = self.known(self.given, clip)
        except Exception as error:  # noqa: BLE001  # told where the clip is taken
            self._clip.set_exception(error)
        else:
            self._clip.set_result(clip)

    def lay(self, clip: Prepared, write: Write) -> None:
        """Have a reader write the clip's windows to shared memory, as places become free."""
        assert self.slab is not None
        self.tell(clip)
        is_wanted = self._clip.exception() is None and self.found is None
        for _ in self.weights if is_wanted else ():
            try:
                place = self.slab.take(self.turn)
            except ClosedError:
                return
            try:
                write(place * WINDOW_BYTES)
            except BaseException:
                self.slab.give_back([place])
                raise
            self._places.put(place)

    def fail(self, error: BaseException) -> None:
        """Say why the clip, or the rest of it, cannot be read."""
        if self._clip.done():
            self._places.put(error)
        else:
            self._clip.set_exception(error)

    def end(self) -> None:
        """Say that nothing more comes."""
        self._places.put(None)

    def drop(self) -> None:
        """Free what was not taken; the turn is another's."""
        if self.slab is None:
            return
        while (place := self._places.get()) is not None:
            if isinstance(place, int):
                self._give_back(place)

    def _give_back(self, place: int) -> None:
        if self.slab:
            self.slab.give_back([place])


@dataclass(frozen=True)
class Feed:
    """How clips are read ahead.

    `known` is called in a thread with what was to be read and the clip; what it returns, unless None, takes the place
    of the windows. It may raise AudioError.
    """

    policy: InputPolicy
    limits: AudioLimits
    readers: Readers | None = None
    device: torch.device = _CPU  # where windows go
    known: Callable[[Any, Prepared], Any] = _known_of_none

    def clips(
        self,
        given: Iterable[Given],
        fetch: Callable[[Given], Clip | ClipSource],
        name: Callable[[Given], str] = lambda _: "The clip",
    ) -> Iterator[Heard[Given]]:
        """Yield clips in order, each to be taken before the next is asked for."""
        slab = self.readers.slab if self.readers and self.readers.slab and self.readers.slab.begin() else None
        count = self.readers.count if self.readers else _THREADS if self.device.type == "cpu" else _GPU_THREADS
        rest = enumerate(given)
        waiting: collections.deque[Heard[Given]] = collections.deque()
        threads = ThreadPoolExecutor(count)

        def begin(n_more: int) -> None:
            for turn, item in itertools.islice(rest, n_more):
                waiting.append(Heard(item, self.policy, turn, slab, self.known))
                threads.submit(self._read, waiting[-1], fetch, name)

        try:
            begin(_AHEAD * count)
            if slab and self.device.type == "cuda":
                slab.pin()  # while the first clips are read
            while waiting:
                heard = waiting.popleft()
                yield heard
                if slab:
                    slab.let(heard.turn + 1)
                heard.drop()
                begin(1)
        finally:
            if slab:
                slab.let(_NO_TURN)
            threads.shutdown(cancel_futures=True)
            if slab:
                slab.end()

    def _read(
        self, heard: Heard[Given], fetch: Callable[[Given], Clip | ClipSource], name: Callable[[Given], str]
    ) -> None:
        """Read a clip, in a thread or, from there, in a process of its own."""
        try:
            source, called = fetch(heard.given), name(heard.given)
            if heard.slab is None or self.readers is None:
                heard.tell(prepare_in(self.readers, source, self.policy, self.limits, called))
            else:
                self.readers.call_laying(
                    heard.lay, prepare_windows, source, self.policy, self.limits, called, name=called
                )
        except ReadingError as error:
            heard.fail(AudioError(str(error)))
        except BaseException as error:  # noqa: BLE001  # told where the clip is taken
            heard.fail(error)
        finally:
            heard.end()


def read_whole(feed: Feed, paths: Iterable[Path]) -> Iterator[Heard[Path]]:
    """Read clips of training data: AudioError, with the name, also where one was not read whole."""

    def check(path: Path, clip: Prepared) -> None:
        check_whole(clip.incomplete, shown_name(path.name))

    return replace(feed, known=check).clips(paths, lambda path: path, lambda path: shown_name(path.name))


def together(windows: Sequence[Samples], device: torch.device) -> Tensor | Samples:
    """Put windows in one batch, where the tower is; from memory that is pinned that goes on beside this process."""
    if device.type != "cuda":
        return np.stack(windows)
    batch = torch.empty(len(windows), windows[0].size, device=device)
    for place, window in zip(batch, windows, strict=True):
        place.copy_(torch.from_numpy(window), non_blocking=True)
    return batch
