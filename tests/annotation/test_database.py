"""The database as it is opened: durable, migrated, append-only where it must be."""

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.orm import Session

from annotation import database as database_module
from annotation import dialects, rules
from annotation.database import Database
from annotation.dialects import sqlite
from annotation.protocol import Protocol
from annotation.results.ratings import ratings_table
from annotation.results.scores import mos_table
from annotation.schema import Base, Rater, Study
from annotation.session import listening
from annotation.session.exclusions import change_log, possible_changes
from annotation.studies import authorise, find_study
from core.errors import BusyError, RatingError, StudyError
from core.scales import MUSICEVAL, keys
from tests.annotation.rooms import NOW, only_sqlite, said, url_of
from tests.holding import held_by_another

DATA = Path(__file__).parent / "data"
OLD: dict[str, Any] = json.loads((DATA / "old_study.json").read_text(encoding="utf-8"))


def study(name: str = "one", created_at: datetime = NOW) -> Study:
    return Study(name=name, demo=False, seed=1, protocol=Protocol(), created_at=created_at)


@pytest.mark.parametrize("durable", [True, False])
def test_pragmas(tmp_path: Path, durable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "opened", dialects.opened)  # which other tests have wait for no disk
    database = Database(f"sqlite:///{tmp_path / 'a.sqlite'}", durable)
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
    for way, reads in ((database.write, 0), (database.read, 1)):
        with way() as session:
            pragmas = [session.execute(text(f"PRAGMA {name}")).scalar() for name in names]
        assert pragmas == ["wal", 2 if durable else 0, 1, 30_000, reads]
    database.close()


def test_a_new_folder_is_its_users_alone(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path / 'new' / 'data' / 'a.sqlite'}").close()
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700


def test_the_migrations_make_the_tables_of_the_schema(database: Database) -> None:
    with database.read() as session:
        context = MigrationContext.configure(session.connection())
        assert compare_metadata(context, Base.metadata) == []
        (newest,) = ScriptDirectory(str(Path(database_module.__file__).parent / "migrations")).get_heads()
        assert context.get_current_revision() == database_module.NEWEST == newest


def test_a_database_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new folder' / 'a.sqlite'}"
    for number in range(2):
        database = Database(url)
        with database.write() as session:
            assert session.query(Study).count() == number
            session.add(study(f"study {number}"))
        database.close()


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
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(Rater(study_id=99, pseudonym="R01", invited_at=NOW))  # foreign keys are enforced
    with database.read() as session:
        assert session.query(Study).count() == session.query(Rater).count() == 0


@pytest.mark.parametrize("table", ["responses", "ratings", "problems", "exclusions", "events"])
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = 2", "DELETE FROM {}"])
def test_what_is_append_only_refuses_changes(tmp_path: Path, table: str, change: str) -> None:
    Database(f"sqlite:///{tmp_path / 'a.sqlite'}").close()
    with sqlite3.connect(tmp_path / "a.sqlite") as connection:  # foreign keys are off here
        columns = [row[1:3] for row in connection.execute(f"PRAGMA table_info({table})")]
        values = [3 if kind in ("INTEGER", "FLOAT", "DOUBLE") else "exclude" for _, kind in columns]
        connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(values))})", values)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(change.format(table, columns[0][0]))
    connection.close()


# Writers and readers


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


@pytest.mark.parametrize("how", ["the queue", "the file"])
def test_a_write_waits_for_others_only_so_long(tmp_path: Path, how: str) -> None:
    file = tmp_path / "a.sqlite"
    database = Database(f"sqlite:///{file}", waits_s=0.2)

    def write() -> None:
        with database.write() as session:
            session.add(study(str(time.monotonic())))

    write()
    with held_by_another(file, how):
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(BusyError, match=r"busy for 0\.2 s"):
                write()
            assert 0.2 <= time.monotonic() - began < 5
        assert database.look(lambda session: session.query(Study).count()) == 1  # readers do not wait
    write()
    with held_by_another(file, how):  # what waited in vain before holds nothing now
        pass
    write()
    database.close()


def test_reading_changes_nothing(database: Database) -> None:
    with database.read() as session:
        session.add(study())
        with pytest.raises(DBAPIError, match=r"read-?only"):
            session.flush()


def test_what_has_to_write_after_all_does_so_once(database: Database) -> None:
    seen = []

    def action(session: Session) -> int:
        seen.append(session.query(Study).count())
        session.add(study())
        session.flush()
        return session.query(Study).count()

    assert (database.look(action), seen) == (1, [0, 0])
    with database.read() as session:
        assert session.query(Study).count() == 1


class Clock(datetime):
    """The machine's clock, which somebody sets."""

    shown = NOW

    @classmethod
    def now(cls, _zone: Any = None) -> datetime:
        return cls.shown


@pytest.fixture
def clock(database: Database, monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    """Time by this machine, whose clock is set; PostgreSQL's own would hold."""
    monkeypatch.setattr(type(database._dialect), "wall", lambda *_: None)
    monkeypatch.setattr(database_module, "datetime", Clock)
    return Clock


def test_time_never_runs_back(database: Database, clock: type[Clock]) -> None:
    """A clock that is set back by an hour goes on from where it was, at its pace; readers read the same.

    Once it is set right, it is the time.
    """
    read = []
    for minutes in (0, 10, -50, -49, -45, 200):
        clock.shown = NOW + timedelta(minutes=minutes)
        with database.write() as session:
            read.append(database_module.now(session))
        with database.read() as session:
            assert abs(database_module.now(session) - read[-1]) < timedelta(seconds=1)
    assert [(at - NOW) // timedelta(minutes=1) for at in read] == [0, 10, 10, 11, 15, 200]


def test_time_goes_on_where_nothing_is_written(
    database: Database, clock: type[Clock], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a rater who is refused again and again, after the clock was set back by an hour."""
    passed_s = 1000.0
    monkeypatch.setattr(database_module, "time", SimpleNamespace(monotonic=lambda: passed_s))
    clock.shown = NOW
    with database.write() as session:
        first = database_module.now(session)
    read = []
    for seconds in (2, 5, 11):
        clock.shown = NOW - timedelta(hours=1) + timedelta(seconds=seconds)
        passed_s = 1000.0 + seconds
        with contextlib.suppress(RatingError), database.write() as session:
            read.append(database_module.now(session))
            raise RatingError("not yet")
    assert [(at - first).total_seconds() for at in read] == [2, 5, 11]
    again = Database(url_of(database))  # another process, which knows the clock and the database alone
    with again.write() as session:
        assert database_module.now(session) == first
    passed_s, clock.shown = 1020.0, NOW - timedelta(hours=1) + timedelta(seconds=20)
    with database.write() as session:  # what the other wrote does not count twice
        assert (database_module.now(session) - first).total_seconds() == 20
    again.close()


@only_sqlite
def test_a_backup_is_whole_while_others_write(database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        session.add(study())
    with database.write() as session:
        session.add(study("not committed"))
        session.flush()
        database.backup(tmp_path / "copy.sqlite")
    copy = Database(f"sqlite:///{tmp_path / 'copy.sqlite'}")
    with copy.read() as session:
        assert [found.name for found in session.query(Study)] == ["one"]
    copy.close()
    for place in ("copy.sqlite", "none/copy.sqlite"):
        with pytest.raises(StudyError):
            database.backup(tmp_path / place)


def test_reading_does_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writing:
        writing.add(study())
        writing.flush()
        with database.read() as reading:
            assert reading.query(Study).count() == 0


# What is no database of ours


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://localhost/x", "SQLite and PostgreSQL are supported"),
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


def full(file: Path, n_bytes: int = 2_000_000) -> Path:
    """Make a database of about so many bytes."""
    database = Database(f"sqlite:///{file}")
    with database.write() as session:
        session.add_all(study(f"{number}{'x' * 1000}") for number in range(n_bytes // 2200))
    database.close()
    return file


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = bytes(third)
    file.write_bytes(content)


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    file = full(tmp_path / "a.sqlite")
    damage(file)
    before = file.read_bytes()
    with pytest.raises(StudyError, match=r'"a\.sqlite" is damaged.*backup'):
        Database(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_database_that_is_cut_short_is_told(tmp_path: Path) -> None:
    file = full(tmp_path / "a.sqlite")
    with file.open("r+b") as content:
        content.truncate(file.stat().st_size // 2)
    with pytest.raises(StudyError, match=r'"a\.sqlite" is damaged'):
        Database(f"sqlite:///{file}")


def test_a_large_database_is_looked_through_for_so_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who meets damage that was not come to says the same."""
    monkeypatch.setattr(sqlite, "CHECKED_S", 0.0)
    monkeypatch.setattr(sqlite, "_STEPS", 1)
    file = full(tmp_path / "a.sqlite")
    damage(file)
    database = Database(f"sqlite:///{file}")
    for way in (database.read, database.write):
        with pytest.raises(StudyError, match="is damaged"), way() as session:
            session.query(Study).all()
    with pytest.raises(StudyError, match="is damaged"):
        database.backup(tmp_path / "copy.sqlite")
    assert not list(tmp_path.glob("copy*"))
    database.close()


def test_an_emptied_database_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    file = full(tmp_path / "a.sqlite", 10_000)
    file.write_bytes(b"")
    with pytest.raises(StudyError, match="is an empty file"):
        Database(f"sqlite:///{file}")
    assert file.stat().st_size == 0
    file.unlink()
    with pytest.raises(StudyError, match="was here and is gone"):
        Database(f"sqlite:///{file}")
    assert not file.exists()
    for path in tmp_path.glob("a.sqlite-*"):
        path.unlink()
    Database(f"sqlite:///{file}").close()


def test_a_database_that_another_process_makes_is_waited_for(tmp_path: Path) -> None:
    file = full(tmp_path / "a.sqlite", 10_000)
    whole, place = file.read_bytes(), tmp_path / "b.sqlite"
    place.write_bytes(b"")
    making = threading.Timer(0.2, lambda: place.write_bytes(whole))
    making.start()
    database = Database(f"sqlite:///{place}")
    with database.read() as session:
        assert session.query(Study).count() > 0
    database.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE alembic_version SET version_num = '0099'", "of a newer version of MusicEval"),
        ("UPDATE alembic_version SET version_num = '*'", "of a newer version of MusicEval"),
        ("DELETE FROM alembic_version", "of another program"),
        ("DROP TABLE alembic_version", "of another program"),
    ],
)
def test_a_database_of_others_is_left_alone(tmp_path: Path, change: str, message: str) -> None:
    file = full(tmp_path / "a.sqlite", 10_000)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(change)
        before = list(connection.iterdump())
    with pytest.raises(StudyError, match=message):
        Database(f"sqlite:///{file}")
    with contextlib.closing(sqlite3.connect(file)) as connection:
        assert list(connection.iterdump()) == before


def test_partial_indexes_hold_on_other_dialects_too() -> None:
    indexes = [index for table in Base.metadata.tables.values() for index in table.indexes if index.unique]
    for index in indexes:
        options = index.dialect_options
        assert str(options["postgresql"]["where"]) == str(options["sqlite"]["where"])
    assert {index.name for index in indexes} == {"one_open_batch", "one_stimulus_trial"}


# A database of the first release, of two studies; the figures are what that release said of them


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Database]:
    connection = sqlite3.connect(tmp_path / "old.sqlite")
    connection.executescript((DATA / "old_study.sql").read_text(encoding="utf-8"))
    connection.close()
    database = Database(f"sqlite:///{tmp_path / 'old.sqlite'}")
    yield database
    database.close()


@pytest.mark.parametrize("name", OLD["studies"])
def test_an_old_study_says_the_same(old: Database, name: str) -> None:
    expected = OLD["studies"][name]
    with old.read() as session:
        found = find_study(session, name)
        assert found.scales == MUSICEVAL
        ratings, log = ratings_table(session, found), change_log(session, found)
        assert ratings["status"].value_counts().to_dict() == expected["statuses"]
        table = mos_table(ratings, keys(found.scales)).set_index("clip")
        scores = ["n_ratings", "musical_impression", "textual_alignment"]
        rated = {clip: said for clip, said in expected["clips"].items() if said[0]}
        assert table[scores].T.to_dict("list") == {clip: pytest.approx(said) for clip, said in rated.items()}
        entries = log.drop(columns="at").assign(evidence=log["evidence"].map(json.loads))
        assert entries.to_numpy().tolist() == expected["log"]
        changes = possible_changes(session, found)
        assert [[one.action, one.rater, one.batch] for one in changes] == expected["changes"]
        for _, entry in entries.iterrows():  # old figures can be said
            assert bool(rules.words(entry["evidence"], found.scales)) == (entry["author"] == "protocol")


def test_an_old_rater_goes_on_in_the_middle_of_a_batch(old: Database) -> None:
    expected = OLD["open"]
    with old.write() as session:
        at = datetime.fromisoformat(expected["at"])
        step = listening.current_step(session, authorise(session, expected["visit"], at), at)
        assert step.task == listening.Task(**expected["task"])
    for now in expected["steps"]:
        answered_at = datetime.fromisoformat(now["answered_at"])
        with old.write() as session:
            rater = authorise(session, expected["visit"], answered_at)
            assert step.task is not None
            assert [step.task.token, step.task.position] == [now["token"], now["position"]]
            shown_at = answered_at - timedelta(seconds=step.task.duration_s + 5)
            listening.current_step(session, rater, shown_at)
            listening.serve(session, rater, now["token"], shown_at)
            done = listening.submit(session, rater, now["token"], said(*now["answer"], played_s=4.0), answered_at)
            assert done.outcome == now["outcome"]
            step = done.place
    assert step == listening.RaterStep("done", batches_done=1, clips_rated=9, message="complete")


def test_nothing_of_an_old_database_is_lost(old: Database, tmp_path: Path) -> None:
    before = sqlite3.connect(":memory:")
    before.executescript((DATA / "old_study.sql").read_text(encoding="utf-8"))
    after = sqlite3.connect(tmp_path / "old.sqlite")

    def rows(connection: sqlite3.Connection, query: str) -> list[Any]:
        return connection.execute(query).fetchall()

    tables = {name for (name,) in rows(before, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert set(rows(after, "SELECT state FROM studies")) == {("open",)}
    same = "id, study_id, pseudonym, code_sha256, invited_at"
    assert rows(after, f"SELECT {same} FROM raters") == rows(before, f"SELECT {same} FROM raters")
    for table in tables - {"alembic_version", "studies", "clips", "raters", "batches", "trials", "ratings"}:
        kept = ", ".join(column for _, column, *_ in rows(before, f"PRAGMA table_info({table})"))
        assert rows(after, f"SELECT {kept} FROM {table}") == rows(before, f"SELECT {kept} FROM {table}"), table
    same = "id, trial_id, comment, played, heard_s, given_at"
    assert rows(after, f"SELECT {same} FROM responses") == rows(before, f"SELECT {same} FROM ratings")
    same = "id, study_id, rater_id, number, short, opened_at, lease_until, closed_at"
    assert rows(after, f"SELECT {same} FROM batches") == rows(before, f"SELECT {same} FROM batches")
    states = "SELECT id, replace(state, 'empty', 'valid') FROM batches"
    assert rows(after, states) == rows(before, states)
    flat = "SELECT {} AS scale, trial_id, {} FROM ratings"
    scores = " UNION ALL ".join(flat.format(f"'{scale.key}'", scale.key) for scale in MUSICEVAL)
    assert sorted(rows(after, "SELECT scale, trial_id, score FROM ratings")) == sorted(rows(before, scores))
    for table in ("clips", "trials"):
        kind = "kind" if table == "clips" else "role"
        words = dict(rows(before, f"SELECT id, {kind} FROM {table}"))
        renamed = {key: "practice" if word == "training" else word for key, word in words.items()}
        assert dict(rows(after, f"SELECT id, {kind} FROM {table}")) == renamed
    told = "SELECT expected ->> 'musical_impression', expected ->> 'textual_alignment' FROM clips"
    flat = "SELECT expected_musical_impression, expected_textual_alignment FROM clips"
    assert rows(after, told) == rows(before, flat)
    for connection in (before, after):
        connection.close()
