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
import glob
import math
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import Session

from annotation.schema import Clock
from core.errors import BusyError, StudyError, shown_name

T = TypeVar("T")

NEWEST = "0005"  # of ``migrations/versions``; a database that has it is opened without loading them
CHECKED_S = 0.5  # that looking a database through may take when it is opened
_MIGRATIONS = Path(__file__).parent / "migrations"
_STEPS = 10_000  # of SQLite's machine, between two looks at the time
_BEING_MADE_S = 1.0  # that the file of a new database may be empty in another process
_SET_BACK_S = 1.0  # less is no setting of the clock
_CLOCK = select(Clock.latest, Clock.ahead_s).where(Clock.id == 1)
_SET_CLOCK = update(Clock).where(Clock.id == 1)
_FIRST_CLOCK = insert(Clock).values(id=1)


class Database:
    """An open database, brought to the newest schema; `StudyError` if the file is damaged, emptied or of others.

    One that is not `durable`, for what nobody would miss, waits for no disk: after a power cut it may be damaged.
    A write that waits longer than `waits_s` for others ends in a `BusyError`.
    """

    def __init__(self, url: str, durable: bool = True, waits_s: float = 30.0) -> None:
        self._waits_s = waits_s
        pace = _Pace()
        pragmas = ("journal_mode=WAL", f"synchronous={'FULL' if durable else 'OFF'}", "foreign_keys=ON")
        self._engine = _connect(url, pragmas, waits_s).execution_options(musiceval_pace=pace)
        self._reading = _connect(url, (*pragmas, "query_only=ON"), waits_s).execution_options(
            musiceval_pace=pace, musiceval_reads=True
        )
        file = Path(str(self._engine.url.database))
        self.folder = file.absolute().parent
        self._name = file.name
        with contextlib.ExitStack() as failed:
            failed.callback(self._engine.dispose)
            _refuse_emptied(file)
            _make_ready(self._engine, file.name)
            failed.pop_all()
        self._turn = _Turn(Path(f"{file}-queue"))

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are committed at the end, alone among all writers.

        The lock is held from the beginning, so times that are read inside (`now`) run in the order of the writes.
        """
        with (
            self._turn.taken(self._waits_s),
            _telling_damage(self._name),
            Session(self._engine, expire_on_commit=False) as session,
            session.begin(),
        ):
            try:
                session.connection()  # BEGIN IMMEDIATE now, and not at the first statement
            except OperationalError as error:
                raise _busy(self._waits_s) from error  # another program writes, and does not queue
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one state of the database and changes nothing."""
        with _telling_damage(self._name), Session(self._reading) as session:
            yield session

    def look(self, action: Callable[[Session], T]) -> T:
        """Do what as a rule only reads, without waiting for writers; where it has to write, do it anew as one."""
        try:
            with self.read() as session:
                return action(session)
        except OperationalError as error:
            if not _failed(error, sqlite3.SQLITE_READONLY):
                raise
        with self.write() as session:
            return action(session)

    def backup(self, file: Path) -> None:
        """Copy the database into a new file, whole as of one moment, while others write (SQLite's online backup).

        A copy that is damaged is not kept. The file of the database alone is no copy: the latest ratings may stand in
        the ``-wal`` file beside it.
        """
        if file.exists():
            raise StudyError(f"{shown_name(file.name)} is there already. Give a new file.")
        unfinished = file.with_name(f"{file.name}.part")
        try:
            with contextlib.closing(sqlite3.connect(unfinished)) as target, self._engine.connect() as connection:
                connection.connection.driver_connection.backup(target)  # type: ignore[union-attr]
                target.execute("PRAGMA journal_mode=DELETE")
                _look_through(target, self._name, math.inf)
            unfinished.replace(file)
        except (OSError, sqlite3.Error) as error:
            raise StudyError(f"{shown_name(file.name)} cannot be written: {error}. Choose another place.") from error
        finally:
            unfinished.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()
        self._reading.dispose()
        self._turn.close()


def now(session: Session) -> datetime:
    """Return the time: never before one that an earlier write transaction read, even if the clock was set back.

    A lease that one writer saw lapse would otherwise run again for the next. From where it was set back on, the
    time goes on at its pace, for a rater too who is refused again and again, so that nothing is written: else a clip
    could not be rated before the clock has caught up.
    """
    connection = session.connection()
    options = connection.get_execution_options()
    clock = connection.execute(_CLOCK).one_or_none()
    pace: _Pace = options["musiceval_pace"]
    expected, wall = pace.now(), datetime.now(UTC)
    latest, ahead_s = clock or (wall, 0.0)
    at = max(wall + timedelta(seconds=ahead_s), latest)
    if expected - at > timedelta(seconds=_SET_BACK_S):
        at = expected
    pace.note(at)
    if not options.get("musiceval_reads", False):
        ahead_s = max(ahead_s, (at - wall).total_seconds())
        connection.execute(_SET_CLOCK if clock else _FIRST_CLOCK, {"latest": at, "ahead_s": ahead_s})
    return at


class _Pace:
    """How the time goes on in this process, whatever the machine's clock is set to."""

    def __init__(self) -> None:
        self._latest = (datetime.min.replace(tzinfo=UTC), 0.0)

    def now(self) -> datetime:
        """Return what the time has come to since it was noted."""
        at, noted_s = self._latest
        return at + timedelta(seconds=time.monotonic() - noted_s)

    def note(self, at: datetime) -> None:
        """Remember a time that was read."""
        self._latest = (at, time.monotonic())


class _Turn:
    """Whose turn it is to write, among all threads and processes: a file's lock, and one among the threads here.

    Not by `filelock`, which asks again every so many milliseconds where the system wakes who waits: with 12
    raters in 2 processes the slowest twentieth of calls then took up to twice as long. The system's call knows no
    deadline; where another process holds the lock, a thread of its own makes it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.open("wb")
        weakref.finalize(self, self._file.close)
        self._threads = threading.Lock()
        self._changed = threading.Condition()
        self._waiting = False  # the thread is
        self._wanted = False  # what it waits for is still wanted
        self._held = False

    @contextmanager
    def taken(self, within_s: float) -> Iterator[None]:
        """Hold it; `BusyError` if it cannot be had in time."""
        ends = time.monotonic() + within_s
        if not self._threads.acquire(timeout=within_s):
            raise _busy(within_s)
        try:
            if not self._lock(ends - time.monotonic()):
                raise _busy(within_s)
            try:
                yield
            finally:
                self._held = False
                fcntl.flock(self._file, fcntl.LOCK_UN)
        finally:
            self._threads.release()

    def _lock(self, within_s: float) -> bool:
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


def _busy(waited_s: float) -> BusyError:
    return BusyError(f"Others kept the database busy for {waited_s:g} s. Nothing was changed; try again in a moment.")


def _failed(error: OperationalError, code: int) -> bool:
    return isinstance(error.orig, sqlite3.Error) and error.orig.sqlite_errorcode == code


def _refuse_emptied(file: Path) -> None:
    """Raise `StudyError` where there was a database and is none: a new one would hide that its ratings are lost."""
    queue, ends = Path(f"{file}-queue"), time.monotonic() + _BEING_MADE_S
    if not file.exists():
        if queue.exists():
            raise StudyError(
                f"The database {shown_name(file.name)} was here and is gone. Put it or a backup in its place; or, for "
                f"a new one, delete {shown_name(queue.name)}, and what else begins with its name."
            )
        return
    while file.stat().st_size == 0:
        if time.monotonic() > ends:
            raise StudyError(
                f"The database {shown_name(file.name)} is an empty file. Put a backup in its place; or, if there never "
                "was a study in it, delete the file."
            )
        time.sleep(0.05)


def _make_ready(engine: Engine, name: str) -> None:
    """Look a database through, and bring its tables to the newest revision."""
    try:
        with _telling_damage(name), engine.connect() as connection:
            _look_through(connection.connection.driver_connection, name, CHECKED_S)
            found = _revision(connection, name)
            connection.rollback()  # the migrations begin a transaction of their own
            if found != NEWEST:
                upgrade(connection)
    except DatabaseError as error:
        raise StudyError(f"The database cannot be used: {error.orig}. Check MUSICEVAL_DATABASE_URL.") from error


def _look_through(driver: Any, name: str, within_s: float) -> None:
    """Raise `StudyError` where a database is damaged, as far as it is looked through in that time."""
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
        raise _damaged(name)


@contextmanager
def _telling_damage(name: str) -> Iterator[None]:
    try:
        yield
    except (DatabaseError, sqlite3.DatabaseError) as error:
        cause = error.orig if isinstance(error, DatabaseError) else error
        if getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_CORRUPT:
            raise _damaged(name) from error
        raise


def _damaged(name: str) -> StudyError:
    return StudyError(
        f"The database {shown_name(name)} is damaged. Nothing was changed. Stop the server, move the file away with "
        "those whose names begin with its name, and put the latest backup in its place."
    )


def _revision(connection: Connection, name: str) -> str | None:
    tables = sqlalchemy.inspect(connection).get_table_names()
    if not tables:
        return None
    found = None
    if "alembic_version" in tables:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    if found is None:
        raise StudyError(f"{shown_name(name)} is a database of another program. Check MUSICEVAL_DATABASE_URL.")
    if not any((_MIGRATIONS / "versions").glob(f"{glob.escape(found)}_*.py")):
        raise StudyError(
            f"The database {shown_name(name)} is of a newer version of MusicEval (tables of {shown_name(found)}; this "
            f"version knows up to {NEWEST}). Nothing was changed. Update MusicEval."
        )
    return str(found)


def upgrade(connection: Connection, revision: str = NEWEST) -> None:
    """Bring the tables to a revision of ``annotation/migrations/versions``, in one transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _connect(url: str, pragmas: Sequence[str], waits_s: float) -> Engine:
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
        parsed.set(database=str(path)), connect_args={"timeout": waits_s}, pool_size=32, max_overflow=32
    )
    event.listen(engine, "connect", lambda connection, _: _prepare(connection, pragmas))
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, pragmas: Sequence[str]) -> None:
    """Set a new connection up; Python's driver is kept from opening transactions of its own."""
    connection.isolation_level = None
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    reads = connection.get_execution_options().get("musiceval_reads", False)
    connection.exec_driver_sql("BEGIN DEFERRED" if reads else "BEGIN IMMEDIATE")
