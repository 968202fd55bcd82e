"""Windows in memory that reading processes share with the process that asks for them.

The memory is anonymous, so no file system has to hold it: a container's ``/dev/shm`` of 64 MB, or a full one, is no
matter, and nothing is left of it when the processes end. It has a fixed number of places, so however fast files are
read, memory does not grow.

Clips are taken in order, and each has a turn. Whose turn it is may take any free place; the others leave a reserve,
so that clips that are read ahead never keep the one that is waited for from coming.
"""

import contextlib
import mmap
import os
import tempfile
import threading
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.audio import WINDOW_SAMPLES

WINDOW_BYTES = 4 * WINDOW_SAMPLES
_BATCHES = 5  # of which two are on their way to the device, and two kept for whose turn it is
_RESERVED = 2


class ClosedError(Exception):
    """Nobody takes windows any more."""


class Slab:
    """Places for windows, of batches of some size; OSError where there is no such memory."""

    def __init__(self, batch: int) -> None:
        self.n_places, self._reserve = _BATCHES * batch, _RESERVED * batch
        self.n_bytes = self.n_places * WINDOW_BYTES
        self.descriptor = _anonymous(self.n_bytes)
        memory = mmap.mmap(self.descriptor, self.n_bytes)
        self.windows: NDArray[np.float32] = np.frombuffer(memory, np.float32).reshape(self.n_places, WINDOW_SAMPLES)
        self._free: list[int] = [*range(self.n_places)]
        self._turn, self.is_open = 0, True
        self._changed = threading.Condition()
        self._in_use = threading.Lock()
        self._is_pinned = False

    def begin(self) -> bool:
        """Begin to number turns from 0, all places free; False where another feed does so now."""
        if not self.is_open or not self._in_use.acquire(blocking=False):
            return False
        self._free, self._turn = [*range(self.n_places)], 0
        return True

    def end(self) -> None:
        """Let another feed begin; nobody waits for a place any more."""
        self._in_use.release()

    def take(self, turn: int) -> int:
        """Wait for a place; ClosedError where none will come."""
        with self._changed:
            self._changed.wait_for(lambda: not self.is_open or self._has_place(turn))
            if not self.is_open or turn < self._turn:
                raise ClosedError
            return self._free.pop()

    def give_back(self, places: Iterable[int]) -> None:
        """Free places."""
        with self._changed:
            self._free.extend(places)
            self._changed.notify_all()

    def let(self, turn: int) -> None:
        """Say whose turn it is; those before take nothing any more."""
        with self._changed:
            self._turn = turn
            self._changed.notify_all()

    def pin(self) -> None:
        """Have a GPU copy from here while both sides do other work; where that cannot be, copies take longer."""
        if not self._is_pinned and torch.cuda.is_available():
            self._is_pinned = not int(_cuda().cudaHostRegister(self.windows.ctypes.data, self.n_bytes, 0))

    def close(self) -> None:
        """Let go of the memory; whoever waits for a place is told."""
        with self._changed:
            if not self.is_open:
                return
            self.is_open = False
            self._changed.notify_all()
        if self._is_pinned:
            torch.cuda.synchronize()  # a copy may be under way
            _cuda().cudaHostUnregister(self.windows.ctypes.data)
        os.close(self.descriptor)

    def _has_place(self, turn: int) -> bool:
        return turn < self._turn or len(self._free) > (0 if turn == self._turn else self._reserve)


def _anonymous(n_bytes: int) -> int:
    """Return memory as an open file without a name."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("musiceval")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, n_bytes)
        if not hasattr(os, "memfd_create") and hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, n_bytes)  # a full disk is told now, and not by a signal later
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _cuda() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def slab_for(batch: int) -> Slab | None:
    """Return memory for windows; None where the system has none, and they come another way."""
    with contextlib.suppress(OSError, ValueError):
        return Slab(batch)
    return None
