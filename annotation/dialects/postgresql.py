"""PostgreSQL: one database that several servers, on several machines, write to.

Who writes has an advisory lock from the beginning of the transaction to its end, whatever machine it is on. So
transactions that write follow each other, as with SQLite, and what a decision was based on cannot change under it; a
row has no need of a lock of its own, and no row is skipped. Who waits is woken in turn. The lock goes with its
connection: at once where a process is killed, after `_SILENT_S` where its machine is gone.

Source: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import URL, Connection, Engine, ExceptionContext, event
from sqlalchemy.exc import DBAPIError

from core.errors import BusyError, DamagedError, MusicEvalError, StudyError, shown_name

_LOCK = 0x4D75736963  # of all who write to a database, of which there may be others on the same server
_SILENT_S = 25  # until a machine that says nothing is taken to be gone
_KEEPALIVE = {"tcp_keepalives_idle": 10, "tcp_keepalives_interval": 5, "tcp_keepalives_count": 3}
_READS = {"default_transaction_read_only": "on", "default_transaction_isolation": r"repeatable\ read"}
_CONNECTIONS = 8  # of each kind, and as many again where more is asked at once; a server's usual limit is 100
_READ_ONLY = "25006"
_DAMAGED = ("XX001", "XX002")
_AWAY = ("", "08", "53", "57")  # classes of errors: no connection, none to be had, the server ends or starts
_BYTES_ORDER = """
SELECT table_name, column_name FROM information_schema.columns JOIN information_schema.tables
USING (table_schema, table_name) WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'
AND data_type = 'character varying' AND collation_name IS NULL
"""


class Postgresql:
    """A PostgreSQL database; `annotation.dialects.Dialect` says what each part does."""

    folder = None
    unreachable = "The database cannot be reached. Check MUSICEVAL_DATABASE_URL, and its server."

    def __init__(self, url: URL, durable: bool, waits_s: float) -> None:
        self.name = str(url.database)
        self.damaged = False
        safe = {"synchronous_commit": "on" if durable else "off", "timezone": "UTC", **_KEEPALIVE}
        self.writing = _engine(url, safe, waits_s)
        self.reading = _engine(url, safe | _READS, waits_s)
        event.listen(self.writing, "begin", lambda connection: _wait_for_turn(connection, waits_s))

    def take_turn(self, _: float) -> bool:
        return True  # the transaction waits for it

    def pass_turn(self) -> None:
        pass

    def refuse_emptied(self) -> None:
        pass

    def keep_in_mind(self) -> None:
        pass

    def look_through(self, connection: Connection) -> None:
        pass

    def wall(self, connection: Connection) -> datetime:
        found: datetime = connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
        return found

    def goes_on(self, connection: Connection) -> bool:
        driver: Any = connection.connection.driver_connection
        return bool(driver.info.transaction_status.name == "INTRANS")

    def only_reads(self, error: Exception) -> bool:
        return _state(error) == _READ_ONLY

    def told(self, error: Exception) -> MusicEvalError | None:
        state = _state(error)
        if state in _DAMAGED:
            self.damaged = True
            return DamagedError(
                f"PostgreSQL says that its database {shown_name(self.name)} is damaged. Bring the latest dump back "
                "with pg_restore: docs/backup.md."
            )
        if state is None or state[:2] not in _AWAY:
            return None
        return BusyError(
            "The place where answers are kept cannot be reached. Nothing was changed; try again in a moment.",
            "storage_away",
        )

    def backup(self, _: Path) -> None:
        raise StudyError("A copy into a file is SQLite's. Back a PostgreSQL database up with pg_dump: docs/backup.md.")

    def close(self) -> None:
        self.writing.dispose()
        self.reading.dispose()


@contextmanager
def migrating(connection: Connection) -> Iterator[None]:
    """Change tables in one transaction, while no other process does; texts are in the order of their code points."""
    with connection.begin():
        yield
        for table, column in connection.exec_driver_sql(_BYTES_ORDER).all():
            connection.exec_driver_sql(f'ALTER TABLE "{table}" ALTER "{column}" TYPE varchar COLLATE "C"')


def _engine(url: URL, parameters: dict[str, Any], waits_s: float) -> Engine:
    given = url.query.get("options", "")
    options = " ".join([str(given), *(f"-c {name}={value}" for name, value in parameters.items())])
    engine = sqlalchemy.create_engine(
        url,
        connect_args={"options": options.strip(), "connect_timeout": max(int(waits_s), 2)},
        pool_size=_CONNECTIONS,
        max_overflow=_CONNECTIONS,
        pool_timeout=waits_s,
        pool_pre_ping=True,  # the server may have started anew
        hide_parameters=True,  # an error that is logged says nothing of raters
    )
    event.listen(engine, "connect", lambda connection, _: connection.adapters.register_dumper(str, _Text))
    event.listen(engine, "handle_error", _without_rows)
    return engine


class _Text(StrDumperUnknown):
    """Texts as PostgreSQL can hold them: without NUL, which nobody types."""

    def dump(self, text: str) -> Buffer | None:
        return super().dump(text.replace("\x00", "\ufffd"))


def _without_rows(context: ExceptionContext) -> None:
    """Take what a row holds out of a message, which may be logged."""
    error, shown = context.original_exception, context.sqlalchemy_exception
    brief, whole = getattr(getattr(error, "diag", None), "message_primary", None), str(error)
    if brief and shown:
        error.args = (brief,)
        shown.args = (str(shown.args[0]).replace(whole, brief), *shown.args[1:])


def _wait_for_turn(connection: Connection, waits_s: float) -> None:
    within = f"{max(int(waits_s * 1000), 1)}"
    connection.exec_driver_sql(f"SELECT set_config('lock_timeout', '{within}', true), pg_advisory_xact_lock({_LOCK})")


def _state(error: Exception) -> str | None:
    """Return the SQLSTATE of an error, empty where there is no connection; None of what is none of the database's."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return None
    state = getattr(error.orig, "sqlstate", None)
    lost = error.connection_invalidated or type(error.orig).__name__ == "OperationalError"
    return str(state) if state else "" if lost else None
