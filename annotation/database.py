"""The database of the listening tests: opened, brought to the newest tables, read and written.

SQLite and PostgreSQL differ in `annotation.dialects`; how writers wait for each other stands in `annotation.writers`.
"""

import glob
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import sqlalchemy
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import DatabaseError, DBAPIError
from sqlalchemy.orm import Session

from annotation.dialects import POSTGRESQL, Dialect, opened, parsed_url
from annotation.schema import Clock
from annotation.writers import Writers
from core.errors import BusyError, StudyError, shown_name

if TYPE_CHECKING:
    from annotation.backups.journal import Journal

T = TypeVar("T")

NEWEST = "0008"  # of ``migrations/versions``; a database that has it is opened without loading them
_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATING = threading.Lock()  # alembic has one environment for the whole process
_SET_BACK = timedelta(seconds=1)  # less is no setting of the clock
_CLOCK = select(Clock.latest, Clock.ahead_s).where(Clock.id == 1)
_SET_CLOCK = update(Clock).where(Clock.id == 1)
_FIRST_CLOCK = insert(Clock).values(id=1)


class Database:
    """An open database, brought to the newest schema; `StudyError` if it is damaged, emptied or of others.

    One that is not `durable`, for what nobody would miss, waits for no disk: after a power cut it may be damaged.
    With a `journal`, which is SQLite's, what is written is kept there before it is answered.
    A write that waits longer than `waits_s` for others ends in a `BusyError`.
    """

    def __init__(self, url: str, durable: bool = True, waits_s: float = 30.0, journal: "Journal | None" = None) -> None:
        self._dialect = opened(url, durable, waits_s)
        options = {"musiceval_pace": _Pace(), "musiceval_dialect": self._dialect}
        self._engine = self._dialect.writing.execution_options(**options)
        self._reading = self._dialect.reading.execution_options(**options, musiceval_reads=True)
        self.folder = self._dialect.folder  # of its file; None where it has none on this machine
        with ExitStack() as failed:
            failed.callback(self._dialect.close)
            self._dialect.refuse_emptied()
            self._make_ready()
            self._keep_in_mind()
            failed.pop_all()
        self._journal = journal
        self._writers = Writers(self._engine, self._dialect, waits_s, journal)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are on the disk at its end, alone among all writers (`annotation.writers`).

        The lock is held from the beginning, so times that are read inside (`now`) run in the order of the writes.
        """
        with self._writers.session() as session:
            yield session

    def soon(self, action: Callable[[Session], T], first: bool = False) -> "Future[T]":
        """Write as `write` does, in one transaction with what others ask for at the same time; `first` before others.

        The answer is there when what was changed is on the disk.
        """
        return self._writers.soon(action, first)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that sees one state of the database and changes nothing."""
        with _telling(self._dialect), Session(self._reading) as session:
            yield session

    def look(self, action: Callable[[Session], T]) -> T:
        """Do what as a rule only reads, without waiting for writers; where it has to write, do it anew as one."""
        try:
            with self.read() as session:
                return action(session)
        except DBAPIError as error:
            if not self._dialect.only_reads(error):
                raise
        with self.write() as session:
            return action(session)

    @property
    def damaged(self) -> bool:
        """Whether damage was met since it was opened."""
        return self._dialect.damaged

    @property
    def taken_over(self) -> bool:
        """Whether another server holds the journal, as far as was seen."""
        return self._journal is not None and self._journal.taken_over

    def holds_journal(self) -> bool:
        """Look whether the journal is this machine's still."""
        return self._journal is None or self._journal.look()

    def backup(self, file: Path) -> None:
        """Copy the database into a new file, whole as of one moment, while others write; SQLite's alone."""
        with _telling(self._dialect):
            self._dialect.backup(file)

    def close(self) -> None:
        """Let go of the database."""
        self._writers.close()
        self._dialect.close()

    def _keep_in_mind(self) -> None:
        try:
            self._dialect.keep_in_mind()
        except OSError as error:
            raise StudyError(self._dialect.unreachable) from error

    def _make_ready(self) -> None:
        """Look a database through, and bring its tables to the newest revision."""
        try:
            with _telling(self._dialect), self._engine.connect() as connection:
                self._dialect.look_through(connection)
                found = _revision(connection, self._dialect.name)
                connection.rollback()  # the migrations begin a transaction of their own
                if found != NEWEST:
                    upgrade(connection)
        except BusyError as away:
            raise StudyError(self._dialect.unreachable) from away
        except DatabaseError as error:
            raise StudyError(f"The database cannot be used: {error.orig}. Check MUSICEVAL_DATABASE_URL.") from error


def now(session: Session) -> datetime:
    """Return the time: never before one that an earlier write transaction read, even if the clock was set back.

    A lease that one writer saw lapse would otherwise run again for the next. From where it was set back on, the
    time goes on at its pace, for a rater too who is refused again and again, so that nothing is written: else a clip
    could not be rated before the clock has caught up. Where the clock is set right again while this process runs, the
    time is the clock's again, and no lease loses the hour.
    """
    connection = session.connection()
    options = connection.get_execution_options()
    clock = connection.execute(_CLOCK).one_or_none()
    pace: _Pace = options["musiceval_pace"]
    dialect: Dialect = options["musiceval_dialect"]
    expected, wall = pace.now(), dialect.wall(connection) or datetime.now(UTC)
    latest, ahead_s = clock or (wall, 0.0)
    if expected and wall + _SET_BACK >= expected:
        ahead_s = 0.0
    by_clock = wall + timedelta(seconds=ahead_s)
    at = max(by_clock, latest)
    if expected and (by_clock < latest or expected - at > _SET_BACK):
        at = max(at, expected)
    pace.note(at)
    if not options.get("musiceval_reads", False):
        ahead_s = (at - wall).total_seconds()
        connection.execute(_SET_CLOCK if clock else _FIRST_CLOCK, {"latest": at, "ahead_s": ahead_s})
    return at


class _Pace:
    """How the time goes on in this process, whatever the machine's clock is set to."""

    def __init__(self) -> None:
        self._latest: tuple[datetime, float] | None = None

    def now(self) -> datetime | None:
        """Return what the time has come to since it was noted; None where it was not."""
        if self._latest is None:
            return None
        at, noted_s = self._latest
        return at + timedelta(seconds=time.monotonic() - noted_s)

    def note(self, at: datetime) -> None:
        """Remember a time that was read."""
        self._latest = (at, time.monotonic())


@contextmanager
def _telling(dialect: Dialect) -> Iterator[None]:
    """Say what a person can do where the database is damaged or away."""
    try:
        yield
    except Exception as error:
        told = dialect.told(error)
        if told is None:
            raise
        raise told from error


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
    with _MIGRATING:
        command.upgrade(config, revision)


def is_postgresql(url: str) -> bool:
    """Return whether a URL names a PostgreSQL database, which several servers may write to."""
    return parsed_url(url).get_backend_name() == POSTGRESQL


def file_of(url: str) -> Path:
    """Return the file that a database's URL names; `StudyError` where it names none."""
    parsed = parsed_url(url)
    if is_postgresql(url):
        raise StudyError("The database is PostgreSQL's, which is no file. Use pg_dump and pg_restore: docs/backup.md.")
    return Path(str(parsed.database)).absolute()
