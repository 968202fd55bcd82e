"""Who writes to the database: one at a time, the threads of a process in shared transactions.

A commit waits for the disk, some milliseconds each; at thirty ratings a second that alone would fill the time. So
whoever comes while another thread of the process writes goes on in the same transaction, in a savepoint of
its own, and one commit makes all of it last: nobody goes on before it has. What one of them raises undoes what that
one did, and nothing else.

Processes wait for each other on a lock of a file beside the database. SQLite's own way to wait is to sleep and try
again, and who comes first is luck: with 56 raters in 4 processes the slowest twentieth of calls for the next trial then
took 2 to 3 s, with the lock 0.4 to 0.7 s.
"""

import contextlib
import fcntl
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.errors import BusyError

MOST_TOGETHER = 64  # writers in one transaction
TOGETHER_S = 0.1  # from its beginning on others may join a transaction; other processes wait for its end


@dataclass
class _Shared:
    """A transaction of several writers, one after the other."""

    connection: Connection
    joins_until: float
    writers: int = 1
    ended: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None  # why nothing of it was kept

    @property
    def lives(self) -> bool:
        """Return whether SQLite has it still: a full disk, for one, ends all of a transaction."""
        return bool(self.connection.connection.driver_connection.in_transaction)  # type: ignore[union-attr]


@dataclass(eq=False)
class _Waiter:
    called: threading.Event = field(default_factory=threading.Event)
    shared: _Shared | None = None  # to join; None: it begins one


class Writers:
    """The writers of one process; each ends in a `BusyError` if its turn does not come within `waits_s`."""

    def __init__(self, engine: Engine, lock: Path, waits_s: float) -> None:
        self._engine = engine
        self._lock = _Lock(lock)
        self._waits_s = waits_s
        self._mutex = threading.Lock()
        self._waiting: deque[_Waiter] = deque()
        self._writes = False

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session, alone among all writers; at its end what it changed is on the disk."""
        shared = self._enter()
        try:
            with (
                Session(shared.connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session,
                session.begin(),
            ):
                yield session
        except BaseException as error:
            self._leave(shared, error)
            raise
        self._leave(shared)

    def close(self) -> None:
        """Let go of the file."""
        self._lock.close()

    def _enter(self) -> _Shared:
        ends, waiter = time.monotonic() + self._waits_s, _Waiter()
        with self._mutex:
            if self._writes:
                self._waiting.append(waiter)
            else:
                self._writes = True
                waiter.called.set()
        if not waiter.called.wait(self._waits_s):
            with self._mutex:
                if waiter in self._waiting:  # else it was called at the last moment
                    self._waiting.remove(waiter)
                    raise self._busy()
        return waiter.shared or self._begin(ends)

    def _begin(self, ends: float) -> _Shared:
        with contextlib.ExitStack() as failed:
            failed.callback(self._call_next)
            if not self._lock.take(ends - time.monotonic()):
                raise self._busy()
            failed.callback(self._lock.give)
            connection = failed.enter_context(self._engine.connect())
            try:
                connection.begin()  # BEGIN IMMEDIATE
            except OperationalError as error:
                raise self._busy() from error  # another program writes, and does not queue
            failed.pop_all()
        return _Shared(connection, time.monotonic() + TOGETHER_S)

    def _leave(self, shared: _Shared, raised: BaseException | None = None) -> None:
        if not shared.lives:
            shared.error = raised or RuntimeError("SQLite ended the transaction")
            self._end(shared)
        elif self._hand_on(shared):
            shared.ended.wait()
        else:
            self._end(shared)
        if shared.error and shared.error is not raised:
            raise BusyError("What was to be written could not be kept. Try again in a moment.") from shared.error

    def _hand_on(self, shared: _Shared) -> bool:
        """Let the next writer join a transaction; return whether there is one."""
        with self._mutex:
            if not self._waiting or shared.writers == MOST_TOGETHER or time.monotonic() > shared.joins_until:
                return False
            shared.writers += 1
            waiter = self._waiting.popleft()
            waiter.shared = shared
        waiter.called.set()
        return True

    def _end(self, shared: _Shared) -> None:
        try:
            if shared.error is None:
                shared.connection.commit()
        except BaseException as error:
            shared.error = error
            raise
        finally:
            if shared.error:
                shared.connection.invalidate()  # else the pool would take it back with the transaction still open
            shared.connection.close()
            self._lock.give()
            self._call_next()
            shared.ended.set()

    def _call_next(self) -> None:
        with self._mutex:
            if self._waiting:
                self._waiting.popleft().called.set()
            else:
                self._writes = False

    def _busy(self) -> BusyError:
        return BusyError(
            f"Others kept the database busy for {self._waits_s:g} s. Nothing was changed; try again in a moment."
        )


class _Lock:
    """Which process writes: a file's lock.

    Not by `filelock`, which asks again every so many milliseconds where the system wakes who waits: with 12
    raters in 2 processes the slowest twentieth of calls then took up to twice as long. The system's call knows no
    deadline; where another process holds the lock, a thread of its own makes it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")
        weakref.finalize(self, self._file.close)
        self._changed = threading.Condition()
        self._waiting = False  # the thread is
        self._wanted = False  # what it waits for is still wanted
        self._held = False

    def take(self, within_s: float) -> bool:
        """Return whether it could be had in time."""
        with self._changed:
            if not self._waiting:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._held = True
                    return True
                self._waiting = True
                threading.Thread(target=self._wait, name="database-lock", daemon=True).start()
            self._wanted = True
            held = self._changed.wait_for(lambda: self._held, within_s)
            self._wanted = False
            return held

    def give(self) -> None:
        """Let another process have it."""
        self._held = False
        fcntl.flock(self._file, fcntl.LOCK_UN)

    def _wait(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)
        with self._changed:
            self._waiting = False
            self._held = self._wanted
            if self._held:
                self._changed.notify()
            elif not self._file.closed:
                fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
