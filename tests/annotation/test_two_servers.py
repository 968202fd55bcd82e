"""Two servers on one journal: the latest that began holds it, and the other acknowledges nothing that it would lack."""

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from annotation.backups import durable, holder, journal
from annotation.backups.durable import Backups
from annotation.backups.storage import Storage
from annotation.database import Database
from annotation.schema import Study
from core.errors import BusyError, StudyError
from tests.annotation.rooms import Room, empty_memory
from tests.annotation.test_journal import URL, Machine, going_on, rows_of


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[list[Machine]]:
    three = [Machine(tmp_path / name) for name in "abc"]
    yield three
    for machine in three:
        machine.die(with_disk=False)
    empty_memory()


def retitle(database: Database, title: str) -> None:
    with database.write() as session:
        session.get_one(Study, 1).title = title


def refused(database: Database) -> str:
    with pytest.raises(BusyError) as told:
        retitle(database, "lost")
    return told.value.code


def after_puts(monkeypatch: pytest.MonkeyPatch, does: Callable[[Storage, str, bytes], None]) -> None:
    """Do something once, when the next commit is put."""
    put, waits = Storage.put, [True]

    def puts(self: Storage, name: str, content: bytes) -> None:
        if name.startswith("journal/") and waits and waits.pop():
            does(self, name, content)
        else:
            put(self, name, content)

    monkeypatch.setattr(Storage, "put", puts)


def test_the_latest_that_began_holds_the_journal(machines: list[Machine]) -> None:
    """There and back: each has all that the other acknowledged, and the raters go on."""
    first, second, third = machines
    room = Room.build(first.start())
    for holds, was in [(second, first), (first, second), (second, first)]:
        room.rate_batch(0, 1)
        before = rows_of(was)
        if holds.opened:
            holds.die(with_disk=False)
        room = going_on(room, holds.start())
        assert rows_of(holds) == before
        assert refused(was.opened[0]) == "taken_over"
        room.rate_batch(1, 1)
        assert rows_of(was) == before
    room.finish()
    before = rows_of(second)
    third.start()
    assert rows_of(third) == before


def test_commands_hold_it_with_their_server(machines: list[Machine]) -> None:
    first, second, _ = machines
    Room.build(first.start())
    command = first.start(begins=False)
    retitle(command, "by a command")
    second.start()
    before = rows_of(first)
    assert refused(command) == "taken_over"
    for _ in range(2):
        with pytest.raises(BusyError):
            first.start(begins=False)
        assert rows_of(first) == before
        (first.settings.data / "musiceval.sqlite-attempts").unlink(missing_ok=True)  # as in a copy of the database


@pytest.mark.parametrize("arrives", ["before", "after"])
def test_a_commit_on_its_way_while_another_takes_over(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch, arrives: str
) -> None:
    """It is not acknowledged; whether the new holder has it depends on when it arrived, and what it wrote counts."""
    first, second, third = machines
    Room.build(first.start())
    late: list[tuple[str, bytes]] = []

    def takes_over(storage: Storage, name: str, content: bytes) -> None:
        if arrives == "before":
            storage.put(name, content)
        late.append((name, content))
        second.start()

    after_puts(monkeypatch, takes_over)
    assert refused(first.opened[0]) == "taken_over"
    database = second.opened[0]
    with database.read() as session:
        assert session.get_one(Study, 1).title == ("lost" if arrives == "before" else "")
    with database.write() as session:
        session.get_one(Study, 1).contact = "acknowledged"
    Storage(URL).put(*late[0])
    before = rows_of(second)
    third.start()
    assert rows_of(third) == before


def comes_late(first: Machine, second: Machine, ahead: int) -> None:
    """Let another server take over, and the first attempt its last commit again, or one that is so far `ahead`."""
    Room.build(first.start())
    retitle(first.opened[0], "seen")
    storage = Storage(URL)
    latest = list(storage.sizes("journal"))[-1]
    number, attempt, _ = latest.split("-")
    second.start()
    other = (storage.read(f"journal/{latest}") or b"").replace(b"seen", b"late")
    storage.put(journal.object_name(int(number) + ahead, int(attempt) + 1, other), other)


def test_another_attempt_of_what_was_taken_over_comes_late(machines: list[Machine]) -> None:
    """What the new holder built on stays, where even the backup that it made is torn.

    It writes nothing to the same row: a later image of it would hide what came late.
    """
    first, second, third = machines
    comes_late(first, second, ahead=0)
    before, storage = rows_of(second), Storage(URL)
    newest = list(storage.sizes("backups"))[-1]
    storage.remove(f"backups/{newest}/manifest.json")
    third.start()
    assert rows_of(third) == before


def test_what_comes_late_is_not_taken_in(machines: list[Machine]) -> None:
    """A server that has written nothing yet: a command beside it, or the server anew, would take it for a commit."""
    first, second, _ = machines
    comes_late(first, second, ahead=1)
    before = rows_of(second)
    second.start(begins=False)
    second.start()
    assert rows_of(second) == before


def test_a_server_that_cannot_begin_gives_it_back(machines: list[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, _ = machines
    Room.build(first.start())
    codes: list[str] = []

    def fails(*_: object, **__: object) -> None:
        codes.append(refused(first.opened[0]))
        raise StudyError("no room")

    with monkeypatch.context() as patch:
        patch.setattr("annotation.backups.snapshots.restore", fails)
        with pytest.raises(StudyError, match="no room"):
            second.start()
    assert codes == ["taken_over"]
    assert first.opened[0].taken_over
    retitle(first.opened[0], "on")
    assert not first.opened[0].taken_over
    before = rows_of(first)
    second.start()
    assert rows_of(second) == before


def test_a_server_of_before_makes_no_backup(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It would stand as the newest. That it was taken over it sees by itself, and says so once."""
    monkeypatch.setattr(durable, "LOOKS_S", 0.02)
    first, second, third = machines
    backups = Backups(first.settings, first.start())
    Room.build(first.opened[0])
    second.start()
    retitle(second.opened[0], "acknowledged")
    before = list(Storage(URL).sizes("backups"))
    threading.Event().wait(0.3)
    assert first.opened[0].taken_over
    backups.close()
    assert list(Storage(URL).sizes("backups")) == before
    said = [one for one in caplog.records if "and took over" in one.getMessage()]
    assert [one.levelno for one in said] == [logging.ERROR]
    third.start()
    assert rows_of(third) == rows_of(second)


def test_of_those_that_begin_in_the_same_moment_one_holds_it() -> None:
    storage, terms = Storage("memory://same"), []
    starts = threading.Barrier(8)

    def begins() -> None:
        starts.wait()
        with holder.taking_over(storage, 0) as term:
            terms.append(term)

    threads = [threading.Thread(target=begins) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(terms)) == 8
    assert holder.latest_term(storage) == max(terms)
    empty_memory()
