"""SQLite: one file, opened so that a rating which was acknowledged is there after a power cut.

WAL lets readers read while one writes; ``synchronous=FULL`` makes a commit reach the disk before it is
acknowledged; ``BEGIN IMMEDIATE`` takes the write lock before the first read of a transaction, so that what a
decision was based on cannot change under it.

Processes wait for each other on a lock of a file beside the database. SQLite's own way to wait is to sleep and try
again, and who comes first is luck: with 56 raters in 4 processes the slowest twentieth of calls for the next trial then
took 2 to 3 s, with the lock 0.4 to 0.7 s.

Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

import contextlib
import fcntl
import math
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DBAPIError

from annotation.dialects import unwritable
from core.errors import BusyError, DamagedError, MusicEvalError, StudyError, shown_name

CHECKED_S = 0.5  # that looking a database through may take when it is opened
_STEPS = 10_000  # of SQLite's machine, between two looks at the time
_BEING_MADE_S = 1.0  # that the file of a new database may be empty in another process
_UNUSABLE = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


class Sqlite:
    """An SQLite database; `annotation.dialects.Dialect` says what each part does."""

    def __init__(self, url: URL, durable: bool, waits_s: float) -> None:
        self._file = Path(str(url.database)).absolute()
        self.name, self.folder = self._file.name, self._file.parent
        self.damaged = False
        self.unreachable = (
            f"The database {shown_name(self.name)} cannot be opened and written. Is its disk full, mounted read-only, "
            "or another user's? Then start again; nothing was changed."
        )
        synchronous = f"synchronous={'FULL' if durable else 'OFF'}"
        pragmas = ("journal_mode=WAL", synchronous, "foreign_keys=ON", "secure_delete=ON")  # what is erased is gone
        self.writing = _engine(url, self._file, pragmas, waits_s, "BEGIN IMMEDIATE")
        self.reading = _engine(url, self._file, (*pragmas, "query_only=ON"), waits_s, "BEGIN DEFERRED")
        self._queue = Path(f"{self._file}-queue")
        self._lock: _Lock | None = None

    def take_turn(self, within_s: float) -> bool:
        return self._waiting().take(within_s)

    def pass_turn(self) -> None:
        self._waiting().give()

    def _waiting(self) -> "_Lock":
        self._lock = self._lock or _Lock(self._queue)
        return self._lock

    def refuse_emptied(self) -> None:
        file, queue, ends = self._file, self._queue, time.monotonic() + _BEING_MADE_S
        if not file.exists():
            if queue.exists():
                raise StudyError(
                    f"The database {shown_name(file.name)} was here and is gone. Put it or a backup in its place; or, "
                    f"for a new one, delete {shown_name(queue.name)}, and what else begins with its name."
                )
            return
        while file.stat().st_size == 0:
            if time.monotonic() > ends:
                raise StudyError(
                    f"The database {shown_name(file.name)} is an empty file. Put a backup in its place; or, if there "
                    "never was a study in it, delete the file."
                )
            time.sleep(0.05)

    def keep_in_mind(self) -> None:
        self._waiting()

    def look_through(self, connection: Connection) -> None:
        self._look_through(connection.connection.driver_connection, CHECKED_S)

    def wall(self, _: Connection) -> None:
        return None

    def goes_on(self, connection: Connection) -> bool:
        return bool(connection.connection.driver_connection.in_transaction)  # type: ignore[union-attr]

    def only_reads(self, error: Exception) -> bool:
        return _code(error) == sqlite3.SQLITE_READONLY

    def told(self, error: Exception) -> MusicEvalError | None:
        code = _code(error) & 0xFF
        if code == sqlite3.SQLITE_CORRUPT:
            return self._damaged()
        if code == sqlite3.SQLITE_FULL:
            return BusyError(
                "The disk on which answers are kept is full. Nothing was changed; try again in a moment.", "disk_full"
            )
        return unwritable() if code in _UNUSABLE else None

    def backup(self, file: Path) -> None:
        """Copy the database as of one moment (SQLite's online backup); a copy that is damaged is not kept.

        The file of the database alone is no copy: the latest ratings may stand in the ``-wal`` file beside it.
        """
        if file.exists():
            raise StudyError(f"{shown_name(file.name)} is there already. Give a new file.")
        unfinished = file.with_name(f"{file.name}.part")
        try:
            with contextlib.closing(sqlite3.connect(unfinished)) as target, self.writing.connect() as connection:
                connection.connection.driver_connection.backup(target)  # type: ignore[union-attr]
                target.execute("PRAGMA journal_mode=DELETE")
                self._look_through(target, math.inf)
            unfinished.replace(file)
        except (OSError, sqlite3.Error) as error:
            raise StudyError(f"{shown_name(file.name)} cannot be written: {error}. Choose another place.") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _look_through(self, driver: Any, within_s: float) -> None:
        """Raise `DamagedError` where a database is damaged, as far as it is looked through in that time."""
        ends = time.monotonic() + within_s
        driver.set_progress_handler(lambda: time.monotonic() > ends, _STEPS)
        try:
            (found,) = driver.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            found = "ok"
        finally:
            driver.set_progress_handler(None, 0)
        if found != "ok":
            raise self._damaged()

    def _damaged(self) -> DamagedError:
        self.damaged = True
        return DamagedError(
            f"The database {shown_name(self.name)} is damaged. Nothing was changed. Stop the server and move the file "
            "away, with those whose names begin with its name. Where there is a journal, start the server, which "
            "brings all back; where there is none, put the latest backup in its place: docs/deploy.md, When something "
            "is wrong."
        )

    def close(self) -> None:
        if self._lock:
            self._lock.close()
        self.writing.dispose()
        self.reading.dispose()


@contextmanager
def migrating(connection: Connection) -> Iterator[None]:
    """Change tables in one transaction.

    SQLite changes a table by making it anew, which its foreign keys would forbid; the driver is asked before the
    transaction begins, because inside one it would not listen.
    """
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")
    try:
        with connection.begin():
            yield
            if connection.exec_driver_sql("PRAGMA foreign_key_check").first():
                raise StudyError("The database cannot be upgraded: rows refer to others that are not there.")
    finally:
        driver.execute("PRAGMA foreign_keys=ON")


def _engine(url: URL, file: Path, pragmas: Sequence[str], waits_s: float, begin: str) -> Engine:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # by a command too, before there was a server
    except OSError as error:
        raise StudyError(f"The folder of the database cannot be made: {error.strerror}.") from error
    engine = sqlalchemy.create_engine(
        url.set(database=str(file)),
        connect_args={"timeout": waits_s},
        pool_size=32,
        max_overflow=32,
        hide_parameters=True,  # an error that is logged says nothing of raters
    )
    event.listen(engine, "connect", lambda connection, _: _prepare(connection, pragmas))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _prepare(connection: Any, pragmas: Sequence[str]) -> None:
    """Set a new connection up; Python's driver is kept from opening transactions of its own."""
    connection.isolation_level = None
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")


def _code(error: Exception) -> int:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return int(getattr(cause, "sqlite_errorcode", 0))


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
