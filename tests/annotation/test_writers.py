"""Writers of one process share transactions: one commit for those who wait, each on its own in all else."""

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, Engine, event, select, text
from sqlalchemy.orm import Session

from annotation import writers
from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Study
from core.errors import BusyError, StudyError
from tests.annotation.rooms import only_sqlite

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
    """Ask for all while another writes; return what each raised."""
    with database.write():
        asked = [database.soon(action) for action in actions]
    raised = (one.exception(10) for one in asked)
    return [type(error) if error else None for error in raised]


def test_who_waits_shares_a_commit(database: Database, commits: list[Connection]) -> None:
    names = [f"study {number}" for number in range(10)]
    assert together(database, [adds(name) for name in names]) == [None] * 10
    assert stored(database) == set(names)
    assert len(commits) == 2  # with the one before them


def test_some_go_before_others(database: Database) -> None:
    order: list[int] = []
    with database.write():
        asked = [database.soon(lambda _, number=number: order.append(number), first=number > 1) for number in range(4)]
    for one in asked:
        one.result(10)
    assert order == [2, 3, 0, 1]


def test_transactions_have_their_bounds(
    database: Database, commits: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "MOST_TOGETHER", 4)
    together(database, [adds(f"study {number}") for number in range(7)])
    assert len(commits) == 3
    monkeypatch.setattr(writers, "MOST_TOGETHER", 64)
    monkeypatch.setattr(writers, "TOGETHER_S", 0.0)
    commits.clear()
    together(database, [adds(f"later {number}") for number in range(7)])
    assert len(commits) == 8


def test_nobody_is_answered_before_the_commit(database: Database) -> None:
    def looks(_: Session) -> None:
        assert (first.done(), stored(database)) == (False, set())

    with database.write():
        first, second = database.soon(adds("first")), database.soon(looks)
    assert (first.result(10), second.result(10), stored(database)) == (None, None, {"first"})


def test_who_goes_before_their_turn_writes_nothing(database: Database) -> None:
    with database.write():
        gone, stays = database.soon(adds("gone")), database.soon(adds("stays"))
        assert gone.cancel()
    stays.result(10)
    assert stored(database) == {"stays"}


def test_what_one_raises_undoes_its_own_alone(database: Database) -> None:
    def fails(session: Session) -> None:
        adds("lost")(session)
        session.flush()
        raise StudyError("no")

    assert together(database, [adds("one"), fails, adds("two")]) == [None, StudyError, None]
    assert stored(database) == {"one", "two"}


@only_sqlite
def test_where_sqlite_ends_the_transaction_all_are_told(database: Database) -> None:
    """A disk that is full."""

    def fills(session: Session) -> None:
        pages = session.execute(text("PRAGMA page_count")).scalar_one()
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
        adds("x" * 10_000_000)(session)

    assert together(database, [adds("one"), fills, adds("two")]) == [BusyError, BusyError, None]
    assert stored(database) == {"two"}


def test_a_commit_that_fails_is_told_to_all(database: Database) -> None:
    def fails(_: Connection) -> None:
        if threading.current_thread().name.startswith("database-writer"):
            raise OSError("the disk is gone")

    event.listen(Engine, "commit", fails)
    try:
        assert together(database, [adds("one"), adds("two")]) == [BusyError, BusyError]
    finally:
        event.remove(Engine, "commit", fails)
    assert stored(database) == set()
    assert together(database, [adds("three")]) == [None]
    assert stored(database) == {"three"}
