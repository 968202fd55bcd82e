"""Files of others, read in processes with limits: what breaks a decoder, or fills the memory, costs one file.

    readers = Readers(2)
    clip = readers.call(prepare, path, policy, limits, name="a.wav")

A process that only imports what reading needs is forked for each reader. A reader takes a function with its
arguments, and answers what it returns or raises, as pickles through a socket; arrays go beside them as they are
(PEP 574), or, where many clips are read ahead (`core.feed`), to memory that is shared (`core.slab`). A reader that dies
or is late is replaced at the next call. All of them end with the process that asks, however it ends: their sockets
close.
"""

import contextlib
import importlib
import itertools
import math
import mmap
import os
import pickle
import queue
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.errors import MusicEvalError, ReadingError
from core.settings import environment

if TYPE_CHECKING:
    from core.slab import Slab

Result = TypeVar("Result")

_MEGABYTE = 1_000_000
_LENGTH = struct.Struct("<Q")
_NURSERY = "import sys; from core import readers; readers.fork_readers(*map(int, sys.argv[1:]))"
_IMPORTED = ("core.prepared",)  # what readers are asked for, once for all of them
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_START_S = 60.0
_LEAST_FILES = 16  # take as long here as the beginning of readers
_CGROUP_CORES = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class ReadLimits:
    """What reading one file may take."""

    memory_bytes: int = 2_000 * _MEGABYTE
    time_s: float = 60.0
    written_bytes: int = 1_000 * _MEGABYTE  # to any one file


def cores() -> int:
    """Return how many cores this process may use: of its container, and not of the whole machine."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = _CGROUP_CORES.read_text().split()
        return max(1, min(allowed, math.ceil(int(quota) / int(period))))  # the quota may be "max"
    return allowed


@dataclass(frozen=True)
class Laid:
    """What a function returns whose arrays, all of one size, go to shared memory one after the other."""

    result: Any
    arrays: Sequence[NDArray[np.float32]]


Write = Callable[[int], None]  # have a reader write its next array to shared memory, from this byte on


@contextlib.contextmanager
def readers_for(n_files: int, processes: int = 1, batch: int = 0) -> Iterator["Readers | None"]:
    """Yield a reader for each core that one of several processes has; none where few files are not worth a start.

    With a batch they share memory for windows with this process.
    """
    if n_files < _LEAST_FILES:
        yield None
        return
    with Readers.sharing(max(1, cores() // processes), batch) as readers:
        yield readers


class Readers:
    """A number of reading processes, each begun when it is first needed; calls wait for a free one."""

    def __init__(self, count: int, limits: ReadLimits | None = None, slab: "Slab | None" = None) -> None:
        self.count, self.slab = count, slab
        self._nursery = _Nursery(limits or ReadLimits(), slab)
        self._readers = [_Reader(self._nursery) for _ in range(count)]
        self._free: queue.LifoQueue[_Reader] = queue.LifoQueue()  # where one is enough, one is begun
        for reader in self._readers:
            self._free.put(reader)

    @classmethod
    def sharing(cls, count: int, batch: int) -> "Readers":
        """Make readers that share memory for batches of so many windows; 0 for none."""
        from core.slab import slab_for  # late: it needs torch, and readers do not

        return cls(count, slab=slab_for(batch) if batch else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, function: Callable[..., Result], *given: object, name: str = "The file", **named: object) -> Result:
        """Call a function of a module in a reader; it, what it takes and what it returns can be pickled.

        Raises
        ------
        ReadingError
            The reader died, or went over its limits; the message begins with `name`.
        MusicEvalError
            As the function does.
        RuntimeError
            The function raised something else; the message is its traceback.
        """
        return self._call(function, given, named, name)  # type: ignore[no-any-return]  # by the function's own type

    def call_laying(
        self, lay: Callable[[Any, Write], None], function: Callable[..., Laid], *given: object, name: str = "The file"
    ) -> None:
        """Call a function whose arrays go to shared memory; `lay` takes the result and says where each is to go.

        Arrays that it does not ask for are not written. Errors as of `call`.
        """
        self._call(function, given, {}, name, lay)

    def _call(self, *call: Any) -> Any:
        reader = self._free.get()
        try:
            return reader.call(*call)
        finally:
            self._free.put(reader)

    def begin(self) -> None:
        """Begin to import what reading needs, so that the first call waits less."""
        self._nursery.begin()

    def close(self) -> None:
        """End all readers; calls under way raise ReadingError, and later ones begin new readers."""
        if self.slab:
            self.slab.close()
        for reader in self._readers:
            reader.end()
        self._nursery.end()


class _Nursery:
    """The process from which readers are forked; begun again where it died."""

    def __init__(self, limits: ReadLimits, slab: "Slab | None") -> None:
        self.limits, self._slab = limits, slab
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: socket.socket | None = None

    def reader(self) -> socket.socket:
        """Fork a reader; return the socket to it when it waits for calls."""
        for _ in range(2):
            ours, its = socket.socketpair()
            try:
                with its:
                    socket.send_fds(self.begin(), [b"."], [its.fileno()])
                _receive(ours, time.monotonic() + _START_S)
                return ours
            except (OSError, EOFError):  # the nursery was killed
                ours.close()
                self.end()
        raise ReadingError("No process for reading files can be begun; the memory may have run out.")

    def begin(self) -> socket.socket:
        with self._lock:
            if self._asked is None:
                self._asked, its = socket.socketpair()
                with its:
                    self._process = self._start(its.fileno())
            return self._asked

    def end(self) -> None:
        """End the process; those that it forked end with their sockets."""
        with self._lock:
            if self._asked is not None and self._process is not None:
                self._asked.close()
                self._process.wait()
                self._asked = None

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        limits = self.limits
        shared = [(self._slab.descriptor, self._slab.n_bytes)] if self._slab and self._slab.is_open else []
        numbers = map(str, (number, limits.memory_bytes, limits.written_bytes, *itertools.chain(*shared)))
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _NURSERY, *numbers],  # nothing is imported from the current folder
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # decoders write notes on odd files
            env=environment() | _ONE_THREAD,
            pass_fds=[number, *(descriptor for descriptor, _ in shared)],
            start_new_session=True,  # Ctrl+C is for the process that asks
        )
        threading.Thread(target=process.wait, daemon=True).start()  # whoever starts a process buries it
        return process


class _Reader:
    def __init__(self, nursery: _Nursery) -> None:
        self._nursery = nursery
        self._socket: socket.socket | None = None

    def end(self) -> None:
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes a call that waits
            connection.close()

    def call(
        self,
        function: Callable[..., Any],
        given: Any,
        named: Any,
        name: str,
        lay: Callable[[Any, Write], None] | None = None,
    ) -> Any:
        limits = self._nursery.limits
        if self._socket is not None and _is_closed(self._socket):
            self.end()  # it was killed while it had nothing to do
        connection = self._socket = self._socket or self._nursery.reader()
        try:
            answer = self._ask(connection, (function, given, named))
            if isinstance(answer, Laid):
                assert lay is not None
                lay(answer.result, lambda place: self._ask(connection, place))
                _send(connection, None)
                return None
        except BaseException as error:
            self.end()  # what it would still answer belongs to no call
            if isinstance(error, TimeoutError):
                why = f"takes longer than {limits.time_s:g} s to read"
            elif isinstance(error, OSError | EOFError):
                why = "ended the process that read it"
            else:
                raise
            raise ReadingError(f"{name} {why}. Convert it to WAV or FLAC, or cut it.") from error
        if isinstance(answer, _Returned):
            return answer.result
        if isinstance(answer, MusicEvalError):
            raise answer
        if answer is None:
            self.end()
            allowed = limits.memory_bytes // _MEGABYTE
            raise ReadingError(f"{name} takes more than {allowed:,} MB of memory to read. Convert or cut it.")
        raise RuntimeError(answer)

    def _ask(self, connection: socket.socket, call: Any) -> Any:
        until_s = time.monotonic() + self._nursery.limits.time_s
        connection.settimeout(self._nursery.limits.time_s)
        _send(connection, call)
        return _receive(connection, until_s)


@dataclass(frozen=True)
class _Returned:
    result: Any


def _is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _send(connection: socket.socket, message: object) -> None:
    arrays: list[pickle.PickleBuffer] = []
    content = pickle.dumps(message, protocol=5, buffer_callback=arrays.append)
    pieces = [memoryview(content), *(array.raw() for array in arrays)]
    connection.sendall(b"".join(_LENGTH.pack(length) for length in (len(pieces), *map(len, pieces))))
    for piece in pieces:
        connection.sendall(piece)


def _receive(connection: socket.socket, until_s: float | None = None) -> Any:
    """Return the next message; EOFError where there is none, TimeoutError where it is late."""

    def take(n_bytes: int) -> bytearray:
        taken = bytearray(n_bytes)
        left = memoryview(taken)
        while left:
            if until_s is not None:
                connection.settimeout(max(until_s - time.monotonic(), 1e-3))
            n_new = connection.recv_into(left)
            if not n_new:
                raise EOFError
            left = left[n_new:]
        return taken

    (n_pieces,) = _LENGTH.unpack(take(_LENGTH.size))
    lengths = [length for (length,) in _LENGTH.iter_unpack(take(n_pieces * _LENGTH.size))]
    content, *arrays = [take(length) for length in lengths]
    return pickle.loads(content, buffers=arrays)  # of a process of ours


# In the nursery, and in the readers that are forked from it


_shared: mmap.mmap | None = None  # of a reader


def fork_readers(number: int, memory_bytes: int, written_bytes: int, shared: int = -1, shared_bytes: int = 0) -> None:
    """Fork a reader for every socket that comes through the socket `number`, until its other end is closed.

    `shared` is an open file of shared memory.
    """
    global _shared
    asked = socket.socket(fileno=number)
    if shared_bytes:
        _shared = mmap.mmap(shared, shared_bytes)
        os.close(shared)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # readers leave nothing behind
    for module in _IMPORTED:
        importlib.import_module(module)
    while True:
        message, sockets, _, _ = socket.recv_fds(asked, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            asked.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ffmpeg is waited for
            _limit(memory_bytes, written_bytes)
            _serve(socket.socket(fileno=sockets[0]))
            os._exit(0)
        os.close(sockets[0])


def _limit(memory_bytes: int, written_bytes: int) -> None:
    """Bound this process and what it starts; where the system does not know a limit, there is none."""
    has_bytes = 0
    with contextlib.suppress(OSError):
        has_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    bounds = {
        resource.RLIMIT_AS: has_bytes + memory_bytes,
        resource.RLIMIT_FSIZE: written_bytes,
        resource.RLIMIT_CORE: 0,
    }
    for kind, most in bounds.items():
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(kind, (most, most))


def _serve(connection: socket.socket) -> None:
    """Answer calls until the other end is closed."""
    threading.Thread(target=_end_with, args=[connection.fileno()], daemon=True).start()
    with contextlib.suppress(OSError, EOFError):
        _send(connection, "ready")
        while True:
            answer = _answer(*_receive(connection))
            laid = answer.result if isinstance(answer, _Returned) and isinstance(answer.result, Laid) else None
            _send(connection, Laid(laid.result, ()) if laid else answer)
            if laid:
                _lay(connection, laid.arrays)
            if answer is None:
                return


def _lay(connection: socket.socket, arrays: Sequence[NDArray[np.float32]]) -> None:
    """Write arrays to shared memory, each where it is asked for, until no more are."""
    assert _shared is not None
    left = iter(arrays)
    while (place := _receive(connection)) is not None:
        array = next(left)
        np.frombuffer(_shared, array.dtype, array.size, place)[:] = array
        _send(connection, True)


def _answer(function: Callable[..., Any], given: Any, named: Any) -> _Returned | MusicEvalError | str | None:
    """What a function returns or raises; None where the memory did not suffice."""
    try:
        return _Returned(function(*given, **named))
    except MusicEvalError as error:
        return error
    except MemoryError:
        return None
    except Exception:  # noqa: BLE001  # told to whoever asks
        return traceback.format_exc()


def _end_with(number: int) -> None:
    """End this process, whatever it does, when the other end of its socket closes."""
    poll = select.poll()
    poll.register(number, select.POLLHUP)
    poll.poll()
    os._exit(1)
