"""Writers of one process share transactions: one commit for those who wait, each on its own in all else."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from annotation import writers
from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Study
from core.errors import BusyError, StudyError

Action = Callable[[Session], None]


def adds(name: str) -> Action:
    made = Study(name=name, demo=False, seed=1, protocol=Protocol(), created_at=datetime(2026, 1, 1, tzinfo=UTC))
    return lambda session: session.add(made)


def stored(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Study.name)))


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "TOGETHER_S", 60.0)


@pytest.fixture
def commits() -> Iterator[list[Connection]]:
    seen: list[Connection] = []

    def note(connection: Connection) -> None:
        seen.append(connection)

    event.listen(Engine, "commit", note)
    yield seen
    event.remove(Engine, "commit", note)


def together(database: Database, actions: Sequence[Action]) -> list[type[BaseException] | None]:
    """Let each write while the one before does, and all wait for the first; return what they raised."""
    come = threading.Event()

    def write(action: Action, first: bool) -> None:
        with database.write() as session:
            action(session)
            assert not first or come.wait(10)

    with ThreadPoolExecutor(len(actions)) as pool:
        started = []
        for action in actions:
            started.append(pool.submit(write, action, not started))
            time.sleep(0.05)
        come.set()
    raised = (one.exception() for one in started)
    return [type(error) if error else None for error in raised]


def test_who_waits_shares_a_commit(database: Database, commits: list[Connection]) -> None:
    names = [f"study {number}" for number in range(10)]
    assert together(database, [adds(name) for name in names]) == [None] * 10
    assert stored(database) == set(names)
    assert len(commits) <= 3  # and not one, if some thread was slow to come


def test_transactions_have_their_bounds(
    database: Database, commits: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_TOGETHER", 4)
    together(database, [adds(f"study {number}") for number in range(7)])
    assert len(commits) >= 2
    monkeypatch.setattr(writers, "TOGETHER_S", 0.0)
    commits.clear()
    together(database, [adds(f"later {number}") for number in range(7)])
    assert len(commits) == 7


def test_nobody_goes_on_before_the_commit(database: Database) -> None:
    first_left, second_writes, gone = threading.Event(), threading.Event(), []

    def first() -> None:
        with database.write() as session:
            adds("first")(session)
            second_comes.start()
            time.sleep(0.2)
        gone.append(stored(database))

    def second() -> None:
        with database.write():
            second_writes.set()
            first_left.wait(10)

    first_comes, second_comes = threading.Thread(target=first), threading.Thread(target=second)
    first_comes.start()
    assert second_writes.wait(10)
    time.sleep(0.2)
    assert (gone, stored(database)) == ([], set())
    first_left.set()
    first_comes.join()
    second_comes.join()
    assert gone == [{"first"}]


def test_what_one_raises_undoes_its_own_alone(database: Database) -> None:
    def fails(session: Session) -> None:
        adds("lost")(session)
        session.flush()
        raise StudyError("no")

    assert together(database, [adds("one"), fails, adds("two")]) == [None, StudyError, None]
    assert stored(database) == {"one", "two"}


def test_where_sqlite_ends_the_transaction_all_are_told(database: Database) -> None:
    """A disk that is full."""

    def fills(session: Session) -> None:
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
        adds("x" * 10_000_000)(session)

    assert together(database, [adds("one"), fills, adds("two")]) == [BusyError, OperationalError, None]
    assert stored(database) == {"two"}


def test_a_commit_that_fails_is_told_to_all(database: Database) -> None:
    def fails(_: Connection) -> None:
        raise OSError("the disk is gone")

    event.listen(Engine, "commit", fails)
    try:
        assert together(database, [adds("one"), adds("two")]) == [BusyError, OSError]
    finally:
        event.remove(Engine, "commit", fails)
    assert stored(database) == set()
    assert together(database, [adds("three")]) == [None]
    assert stored(database) == {"three"}
