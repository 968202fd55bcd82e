"""The database: one SQLite file, opened so that a rating which was acknowledged is there after a power cut.

WAL lets readers read while one writes; ``synchronous=FULL`` makes a commit reach the disk before it is
acknowledged; ``BEGIN IMMEDIATE`` takes the write lock before the first read of a transaction, so that what a
decision was based on cannot change under it. Writers of all processes wait for each other on a lock of a file
beside the database. SQLite's own way to wait is to sleep and try again, and who comes first is luck: with 56
raters in 4 processes the slowest twentieth of calls for the next trial then took 2 to 3 s, with the lock 0.4
to 0.7 s.

Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

import contextlib
import fcntl
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError
from sqlalchemy.orm import Session

from annotation.schema import Clock
from core.errors import StudyError, shown_name

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_TIMEOUT_S = 30.0
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")


class Database:
    """An open database, brought to the newest schema."""

    def __init__(self, url: str) -> None:
        self._writing = threading.Lock()
        self._engine = _connect(url)
        try:
            with self._engine.connect() as connection:
                upgrade(connection)
        except DatabaseError as error:
            self._engine.dispose()
            raise StudyError(f"The database cannot be used: {error.orig}. Check MUSICEVAL_DATABASE_URL.") from error
        self._queue = Path(f"{self._engine.url.database}-queue").open("wb")  # noqa: SIM115

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are committed at the end, alone among all writers.

        The lock is held from the beginning, so times that are read inside (`now`) run in the order of the writes.
        """
        with (
            self._writing,
            _locked(self._queue),
            Session(self._engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            session.connection()  # BEGIN IMMEDIATE now, and not at the first statement
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one state of the database and changes nothing."""
        with (
            self._engine.connect().execution_options(musiceval_reads=True) as connection,
            Session(connection) as session,
        ):
            yield session

    def backup(self, file: Path) -> None:
        """Copy the database into a new file, whole as of one moment, while others write (SQLite's online backup).

        The file of the database alone is no copy: the latest ratings may stand in the ``-wal`` file beside it.
        """
        if file.exists():
            raise StudyError(f"{shown_name(file.name)} is there already. Give a new file.")
        unfinished = file.with_name(f"{file.name}.part")
        try:
            with contextlib.closing(sqlite3.connect(unfinished)) as target, self._engine.connect() as connection:
                connection.connection.driver_connection.backup(target)  # type: ignore[union-attr]
                target.execute("PRAGMA journal_mode=DELETE")
            unfinished.replace(file)
        except (OSError, sqlite3.Error) as error:
            raise StudyError(f"{shown_name(file.name)} cannot be written: {error}. Choose another place.") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
        self._queue.close()


def now(session: Session) -> datetime:
    """Return the time: never before one that an earlier write transaction read, even if the clock was set back.

    A lease that one writer saw lapse would otherwise run again for the next. From where it was set back on, the
    time goes on at its pace.
    """
    wall = datetime.now(UTC)
    clock = session.get(Clock, 1) or Clock(id=1, latest=wall, ahead_s=0.0)
    at = wall + timedelta(seconds=clock.ahead_s)
    if at < clock.latest:
        at, clock.ahead_s = clock.latest, (clock.latest - wall).total_seconds()
    clock.latest = at
    if not session.connection().get_execution_options().get("musiceval_reads", False):
        session.add(clock)
    return at


@contextmanager
def _locked(queue: BinaryIO) -> Iterator[None]:
    """Wait until no other process writes.

    Not by `filelock`, which asks again every so many milliseconds where the system wakes who waits: with 12
    raters in 2 processes the slowest twentieth of calls then took up to twice as long.
    """
    fcntl.flock(queue, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(queue, fcntl.LOCK_UN)


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Bring the tables to a revision of ``annotation/migrations/versions``, in one transaction."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _connect(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StudyError("The database URL cannot be read. Give one like sqlite:///data/musiceval.sqlite.") from error
    if parsed.get_backend_name() != "sqlite":
        raise StudyError(
            f"The database URL is one of {parsed.get_backend_name()}. Only SQLite is supported: there the "
            "listening test was proven exact. Give a URL like sqlite:///data/musiceval.sqlite."
        )
    if not parsed.database or parsed.database == ":memory:":
        raise StudyError("The database URL names no file. Give one like sqlite:///data/musiceval.sqlite.")
    path = Path(parsed.database).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"The folder of the database cannot be made: {error.strerror}.") from error
    engine = sqlalchemy.create_engine(
        parsed.set(database=str(path)), connect_args={"timeout": _BUSY_TIMEOUT_S}, pool_size=32, max_overflow=32
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _record: object) -> None:
    """Set a new connection up; Python's driver is kept from opening transactions of its own."""
    connection.isolation_level = None
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("musiceval_reads", False)
    connection.exec_driver_sql("BEGIN DEFERRED" if reads else "BEGIN IMMEDIATE")
