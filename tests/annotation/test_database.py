"""The database as it is opened: durable, migrated, append-only where it must be, SQLite alone."""

import sqlite3
import threading
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, StatementError

from annotation.database import Database
from annotation.schema import Base, Rater, Study
from core.errors import StudyError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def study(name: str = "one", created_at: datetime = NOW) -> Study:
    return Study(name=name, demo=False, seed=1, protocol={}, created_at=created_at)


def test_pragmas(database: Database) -> None:
    with database.read() as session:
        pragmas = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}


def test_the_migrations_make_the_tables_of_the_schema(database: Database) -> None:
    with database.read() as session:
        assert compare_metadata(MigrationContext.configure(session.connection()), Base.metadata) == []


def test_a_database_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new folder' / 'a.sqlite'}"
    first = Database(url)
    with first.write() as session:
        session.add(study())
    first.close()
    second = Database(url)
    with second.read() as session:
        assert session.query(Study).one().created_at == NOW
    second.close()


def test_times_are_utc(database: Database) -> None:
    with database.write() as session:
        session.add(study(created_at=NOW.astimezone(timezone(timedelta(hours=5)))))
    with database.read() as session:
        stored = session.query(Study).one().created_at
    assert (stored, stored.tzinfo) == (NOW, UTC)
    with pytest.raises(StatementError, match="no time zone"), database.write() as session:
        session.add(study("two", NOW.replace(tzinfo=None)))


def test_a_failed_write_leaves_nothing(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add_all([study(), study()])
    with database.read() as session:
        assert session.query(Study).count() == 0


def test_foreign_keys_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Rater(study_id=99, pseudonym="R01", invited_at=NOW))


@pytest.mark.parametrize("table", ["ratings", "problems", "exclusions"])
@pytest.mark.parametrize("change", ["UPDATE {} SET id = 2", "DELETE FROM {}"])
def test_what_is_append_only_refuses_changes(tmp_path: Path, table: str, change: str) -> None:
    Database(f"sqlite:///{tmp_path / 'a.sqlite'}").close()
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:  # foreign keys are off here
        columns = [row[1:4] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = [3 if kind in ("INTEGER", "FLOAT") else "exclude" for _, kind, _ in columns]
        connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(change.format(table))
    connection.close()


def test_writers_wait_for_each_other(database: Database) -> None:
    """Read, think, write in many threads at once: no increment is lost."""
    with database.write() as session:
        session.add(study())

    def increment() -> None:
        for _ in range(10):
            with database.write() as session:
                session.query(Study).one().seed += 1

    threads = [threading.Thread(target=increment) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as session:
        assert session.query(Study).one().seed == 81


def test_the_lock_is_held_before_the_first_statement(tmp_path: Path) -> None:
    """As in two processes: who enters second reads the clock after the first is done."""
    one, two = (Database(f"sqlite:///{tmp_path / 'a.sqlite'}") for _ in range(2))
    entered = []

    def write() -> None:
        with two.write():
            entered.append(time.monotonic())

    with one.write():
        waiting = threading.Thread(target=write)
        waiting.start()
        time.sleep(0.2)
        left = time.monotonic()
    waiting.join()
    assert entered[0] >= left
    one.close()
    two.close()


def test_reading_does_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writing:
        writing.add(study())
        writing.flush()
        with database.read() as reading:
            assert reading.query(Study).count() == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://localhost/x", "Only SQLite is supported"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("no url", "cannot be read"),
    ],
)
def test_other_databases_are_refused(url: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Database(url)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_text("not a database" * 100)
    with pytest.raises(StudyError, match="file is not a database"):
        Database(f"sqlite:///{tmp_path / 'a.sqlite'}")


def test_partial_indexes_hold_on_other_dialects_too() -> None:
    indexes = [index for table in Base.metadata.tables.values() for index in table.indexes if index.unique]
    for index in indexes:
        options = index.dialect_options
        assert str(options["postgresql"]["where"]) == str(options["sqlite"]["where"])
    assert {index.name for index in indexes} == {"one_open_batch", "one_stimulus_trial"}
