"""What PostgreSQL alone has to show: processes that wait for each other, are killed, or find no server."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy
from sqlalchemy import text

from annotation.database import Database
from annotation.imports.store import import_ratings
from annotation.plans import StressPlan
from annotation.schema import Study
from annotation.stress import _let_loose, set_up
from core.errors import BusyError, StudyError
from tests.annotation.rooms import NOW
from tests.annotation.test_database import study

pytestmark = pytest.mark.postgresql
HOLDS = """
import sys
from annotation.database import Database
with Database(sys.argv[1]).write() as session:
    session.connection()
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(url: str) -> Iterator[subprocess.Popen[bytes]]:
    call = [sys.executable, "-c", HOLDS, url]
    with subprocess.Popen(call, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_write_waits_for_another_process_only_so_long(postgresql_url: str) -> None:
    database = Database(postgresql_url, waits_s=0.3)
    with held_by_another(postgresql_url) as process:
        began = time.monotonic()
        with pytest.raises(BusyError, match=r"busy for 0\.3 s"), database.write():
            pass
        assert 0.3 <= time.monotonic() - began < 5
        assert database.look(lambda session: session.query(Study).count()) == 0  # readers do not wait
        process.kill()
        process.wait()
    with database.write() as session:  # what was held went with its process
        session.add(study())
    database.close()


def test_who_waits_goes_on_when_the_other_is_killed(postgresql_url: str) -> None:
    database = Database(postgresql_url, waits_s=20)
    with held_by_another(postgresql_url) as process:
        waiting = database.soon(lambda session: session.add(study()))
        time.sleep(0.2)
        assert not waiting.done()
        process.kill()
        waiting.result(10)
    database.close()


def test_a_server_that_is_away_is_told(postgresql_url: str) -> None:
    away = "postgresql+psycopg://nobody:secret@127.0.0.1:1/none"
    with pytest.raises(StudyError, match="cannot be reached") as said:
        Database(away, waits_s=2.0)
    assert "secret" not in str(said.value)


def test_a_connection_that_is_lost_is_told_and_made_anew(postgresql_url: str) -> None:
    database = Database(postgresql_url)

    def loses() -> None:
        with database.read() as reading:
            number = reading.connection().exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with database.write() as writing:
                writing.connection().exec_driver_sql(f"SELECT pg_terminate_backend({number})")
            reading.query(Study).all()

    with pytest.raises(BusyError, match="cannot be reached"):
        loses()
    with database.read() as session:
        assert session.query(Study).count() == 0
    database.close()


def test_processes_at_once_keep_the_ledger(postgresql_url: str) -> None:
    plan = StressPlan(processes=2, threads=6, clips=10, most_s=60)
    database = Database(postgresql_url)
    visits = set_up(database, plan)
    watched, notes = _let_loose(database, postgresql_url, visits, plan)
    database.close()
    assert notes.errors == []
    assert (watched.done, watched.claims_max, watched.valid_min, watched.valid_max) == (True, 5, 5, 5)
    assert watched.different_raters


def test_what_many_rows_brought_is_counted_before_it_is_read(postgresql_url: str, tmp_path: Path) -> None:
    """What was planned for empty tables took minutes after a large import."""
    database = Database(postgresql_url)
    with database.write() as session:
        session.execute(text("ANALYZE"))
    file = tmp_path / "found.csv"
    file.write_text("clip,rater,score\n" + "".join(f"c{clip},r{rater},3\n" for clip in range(9) for rater in range(4)))
    import_ratings(database, tmp_path, "found", file, NOW)
    with database.read() as session:
        found = session.execute(text("SELECT reltuples FROM pg_class WHERE relname = 'ratings'")).scalar_one()
    assert found == 36
    database.close()


def test_two_begin_on_an_empty_database_at_once(postgresql_url: str) -> None:
    server = sqlalchemy.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    name = f"musiceval_test_{os.getpid()}_at_once"
    url = server.url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        try:
            with ThreadPoolExecutor(2) as pool:
                both = list(pool.map(Database, [url, url]))
            for database in both:
                with database.read() as session:
                    assert session.query(Study).count() == 0
                database.close()
        finally:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    server.dispose()
