"""The database: one SQLite file, opened so that a rating which was acknowledged is there after a power cut.

WAL lets readers read while one writes; ``synchronous=FULL`` makes a commit reach the disk before it is
acknowledged; ``BEGIN IMMEDIATE`` takes the write lock before the first read of a transaction, so that what a
decision was based on cannot change under it. How writers wait for each other stands in `annotation.writers`.

Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/pragma.html#pragma_synchronous.
"""

import contextlib
import glob
import math
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import Session

from annotation.schema import Clock
from annotation.writers import Writers
from core.errors import StudyError, shown_name

if TYPE_CHECKING:
    from annotation.backups.journal import Journal

T = TypeVar("T")

NEWEST = "0007"  # of ``migrations/versions``; a database that has it is opened without loading them
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
    With a `journal`, what is written is kept there before it is answered.
    A write that waits longer than `waits_s` for others ends in a `BusyError`.
    """

    def __init__(self, url: str, durable: bool = True, waits_s: float = 30.0, journal: "Journal | None" = None) -> None:
        pace = _Pace()
        synchronous = f"synchronous={'FULL' if durable else 'OFF'}"
        pragmas = ("journal_mode=WAL", synchronous, "foreign_keys=ON", "secure_delete=ON")  # what is erased is gone
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
        self._writers = Writers(self._engine, Path(f"{file}-queue"), waits_s, journal)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are on the disk at its end, alone among all writers (`annotation.writers`).

        The lock is held from the beginning, so times that are read inside (`now`) run in the order of the writes.
        """
        with _telling_damage(self._name), self._writers.session() as session:
            yield session

    def soon(self, action: Callable[[Session], T], first: bool = False) -> "Future[T]":
        """Write as `write` does, in one transaction with what others ask for at the same time; `first` before others.

        The answer is there when what was changed is on the disk.
        """

        def told(session: Session) -> T:
            with _telling_damage(self._name):
                return action(session)

        return self._writers.soon(told, first)

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
        self._writers.close()
        self._engine.dispose()
        self._reading.dispose()


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
    if not is_known(found):
        raise StudyError(
            f"The database {shown_name(name)} is of a newer version of MusicEval (tables of {shown_name(found)}; this "
            f"version knows up to {NEWEST}). Nothing was changed. Update MusicEval."
        )
    return str(found)


def is_known(revision: str) -> bool:
    """Return whether this version knows a revision of the tables; one that it does not know is newer."""
    return any((_MIGRATIONS / "versions").glob(f"{glob.escape(revision)}_*.py"))


def upgrade(connection: Connection, revision: str = NEWEST) -> None:
    """Bring the tables to a revision of ``annotation/migrations/versions``, in one transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def file_of(url: str) -> Path:
    """Return the file that a database's URL names; `StudyError` where it names none."""
    return Path(str(_parsed(url).database)).absolute()


def _parsed(url: str) -> URL:
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
    return parsed


def _connect(url: str, pragmas: Sequence[str], waits_s: float) -> Engine:
    parsed, path = _parsed(url), file_of(url)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StudyError(f"The folder of the database cannot be made: {error.strerror}.") from error
    engine = sqlalchemy.create_engine(
        parsed.set(database=str(path)),
        connect_args={"timeout": waits_s},
        pool_size=32,
        max_overflow=32,
        hide_parameters=True,  # an error that is logged says nothing of raters
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
