"""What SQLite and PostgreSQL do each in its own way: a class each, with what `Dialect` asks for."""

from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from core.errors import BusyError, MusicEvalError, StudyError

POSTGRESQL = "postgresql"
_LIKE = "Give one like sqlite:///data/musiceval.sqlite or postgresql+psycopg://name@host/musiceval."


class Dialect(Protocol):
    """A database of one kind, opened for writers and for readers."""

    name: str  # as messages show it
    writing: Engine  # a transaction begins alone among all writers of all processes
    reading: Engine  # a transaction sees one state and changes nothing
    unreachable: str  # what whoever starts a program is to do where it cannot be opened
    damaged: bool  # damage was met

    @property
    def folder(self) -> Path | None:
        """The folder of its file, where it has one on this machine."""

    def take_turn(self, within_s: float) -> bool:
        """Return whether this process may begin to write, where that is decided before a transaction begins."""

    def pass_turn(self) -> None:
        """Let another process write."""

    def refuse_emptied(self) -> None:
        """Raise `StudyError` where there was a database and is none."""

    def keep_in_mind(self) -> None:
        """Leave what tells from now on that there is a database."""

    def look_through(self, connection: Connection) -> None:
        """Raise `StudyError` where the database is damaged."""

    def wall(self, connection: Connection) -> datetime | None:
        """Return the time by the database's machine, where several write to it; None: this machine's holds."""

    def goes_on(self, connection: Connection) -> bool:
        """Return whether a transaction that has begun can still be committed."""

    def only_reads(self, error: Exception) -> bool:
        """Return whether something failed because a reader wrote."""

    def told(self, error: Exception) -> MusicEvalError | None:
        """Return what is to be said of a database that is damaged, full or cannot be reached; None of all else."""

    def backup(self, file: Path) -> None:
        """Copy the database into a new file, while others write."""

    def close(self) -> None:
        """Let go of the database."""


def unwritable() -> BusyError:
    """Return what is to be said of a disk that lets nothing be written, or read."""
    return BusyError(
        "The disk on which answers are kept cannot be written. Nothing was changed; try again in a moment.",
        "disk_unwritable",
    )


def parsed_url(url: str) -> URL:
    """Return a database's URL in its parts; `StudyError` where it is none that can be used."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StudyError(f"The database URL cannot be read. {_LIKE}") from error
    kind = parsed.get_backend_name()
    if kind == POSTGRESQL:
        return parsed.set(drivername=f"{POSTGRESQL}+psycopg")
    if kind != "sqlite":
        raise StudyError(f"The database URL is one of {kind}. SQLite and PostgreSQL are supported. {_LIKE}")
    if not parsed.database or parsed.database == ":memory:":
        raise StudyError(f"The database URL names no file. {_LIKE}")
    return parsed


def opened(url: str, durable: bool, waits_s: float) -> Dialect:
    """Open the database that a URL names."""
    parsed = parsed_url(url)
    if parsed.get_backend_name() == POSTGRESQL:
        try:
            from annotation.dialects.postgresql import Postgresql  # late: most have SQLite, and not the driver
        except ModuleNotFoundError as error:
            raise StudyError("PostgreSQL needs its driver: pip install -r requirements-postgres.txt.") from error
        return Postgresql(parsed, durable, waits_s)
    from annotation.dialects.sqlite import Sqlite

    return Sqlite(parsed, durable, waits_s)


def after_many_rows(connection: Connection) -> None:
    """Have PostgreSQL count what its tables hold, so that it plans for no empty ones; by itself it does in a minute."""
    if connection.dialect.name == POSTGRESQL:
        connection.exec_driver_sql("ANALYZE")


def migrating(connection: Connection) -> AbstractContextManager[Any]:
    """Return the one transaction in which the tables of a database are changed."""
    if connection.dialect.name == POSTGRESQL:
        from annotation.dialects import postgresql

        return postgresql.migrating(connection)
    from annotation.dialects import sqlite

    return sqlite.migrating(connection)
