"""The journal: what was acknowledged comes back on an empty disk, whatever the storage does meanwhile."""

import contextlib
import json
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import pytest
from sqlalchemy.orm import Session

from annotation.backups import durable, journal
from annotation.backups.durable import Backups, open_studies
from annotation.backups.snapshots import back_up, restore
from annotation.backups.storage import Storage
from annotation.cli import main
from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Clip, Study
from annotation.studies import clip_path
from core.errors import BusyError, StorageError, StudyError
from core.files import sha256_of
from core.settings import Settings
from tests.annotation.rooms import NOW, SMALL, Room, empty_memory
from tests.waiting import until

URL = "memory://kept"
OLD = json.loads((Path(__file__).parent / "data" / "old_journals.json").read_text(encoding="utf-8"))
OLD_BACKUP = "20260101T000000.000000Z"


class Machine:
    """A server's disk, which can be lost."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder, journal_url=URL)
        self.said: list[str] = []
        self.opened: list[Database] = []

    def start(self, begins: bool = True) -> Database:
        self.opened.append(open_studies(self.settings, self.said.append, waits_s=5.0, begins=begins))
        return self.opened[-1]

    def die(self, with_disk: bool = True) -> None:
        for database in self.opened:
            database.close()
        self.opened.clear()
        if with_disk:
            shutil.rmtree(self.settings.data)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path / "data")
    yield machine
    machine.die(with_disk=False)
    empty_memory()


def rows(file: Path) -> list[str]:
    """All rows but the clock's, with the schema."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return sorted(line for line in connection.iterdump() if not line.startswith('INSERT INTO "clock"'))


def rows_of(machine: Machine) -> list[str]:
    return rows(machine.settings.data / "musiceval.sqlite")


def titled(session: Session, title: str) -> None:
    session.get_one(Study, 1).title = title


def going_on(room: Room, database: Database) -> Room:
    return Room(database, room.study_id, room.rater_ids, room.protocol, room.at)


def test_a_lost_disk_loses_nothing(machine: Machine) -> None:
    """Killed in the middle of a batch, again and again, with the disk wiped each time."""
    room = Room.build(machine.start())
    for _ in range(3):
        room.rate_batch(0, 3)
        room.rate_batch(1, 1)
        before = rows_of(machine)
        machine.die()
        room = going_on(room, machine.start())
        assert rows_of(machine) == before
    assert "There was no database here. The backup" in machine.said[-1]
    room.finish()


@pytest.mark.parametrize("kept", ["disk", "no disk"])
def test_what_deletes_and_changes_comes_back(machine: Machine, kept: str) -> None:
    database = machine.start()
    room = Room.build(database)
    room.rate_batch(0, 2)
    with database.write() as session:
        session.add(Study(name="gone", demo=False, seed=1, protocol=room.protocol, created_at=NOW))
    with database.write() as session:
        session.delete(session.query(Study).filter_by(name="gone").one())
        session.query(Study).filter_by(name="room").one().title = 'A "title" – 标题 \x00'
    before = rows_of(machine)
    machine.die(with_disk=kept == "no disk")
    machine.start()
    assert rows_of(machine) == before


def test_what_raters_share_a_commit_in_is_one_object(machine: Machine) -> None:
    database = machine.start()
    room = Room.build(database)
    storage = Storage(URL)
    before = len(storage.sizes("journal"))
    with database.write():
        asked = [
            database.soon(lambda session, n=n: session.get_one(Study, 1).__setattr__("title", f"{n}")) for n in "ab"
        ]
    for one in asked:
        one.result(10)
    assert len(storage.sizes("journal")) == before + 1
    assert room.place(0).step == "ready"


def test_nobody_is_told_saved_before_it_is_kept(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Storage that is away: a sentence in time, and neither the disk nor the journal has anything of it."""
    database = machine.start()
    room = Room.build(database)
    before = rows_of(machine)
    monkeypatch.setattr("annotation.backups.storage._WAITS_S", ())

    def away(*_: Any) -> None:
        raise OSError("no route")

    with monkeypatch.context() as patch:
        patch.setattr(fsspec.filesystem("memory").__class__, "pipe_file", away)
        with pytest.raises(BusyError) as told:
            room.start(0)
        with pytest.raises(BusyError) as soon:
            database.soon(partial(titled, title="x")).result(10)
    assert told.value.code == soon.value.code == "storage_away"
    assert rows_of(machine) == before
    room.rate_batch(0, 1)
    before = rows_of(machine)
    machine.die()
    machine.start()
    assert rows_of(machine) == before


def test_a_server_that_begins_is_patient(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for its first commit: a store that answers slowly does not end it; raters are told as ever."""
    put, under_way = Storage.put, set[str]()

    def slow(self: Storage, name: str, content: bytes | Path) -> None:
        under_way.add(name)
        time.sleep(0.4 if name.startswith("journal/") else 0.0)
        put(self, name, content)
        under_way.remove(name)

    monkeypatch.setattr(Storage, "put", slow)
    monkeypatch.setattr(journal, "WITHIN_S", 0.1)
    database = machine.start()
    with pytest.raises(BusyError):
        Room.build(database)
    until(lambda: not under_way)


@pytest.mark.parametrize("processes", [1, 2])
def test_what_comes_late_does_not_count(machine: Machine, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    """A put that hangs is given up; the object lands after another of the same number was acknowledged.

    So it is where another process writes that one, after the clock was set back by an hour.
    """
    database = machine.start()
    Room.build(database)
    other = machine.start(begins=False)
    put, hangs = Storage.put, [True]

    def slow(self: Storage, name: str, content: bytes | Path) -> None:
        if hangs.pop() if hangs else False:
            time.sleep(0.6)
        put(self, name, content)

    monkeypatch.setattr(Storage, "put", slow)
    with monkeypatch.context() as patch:
        patch.setattr(journal, "WITHIN_S", 0.2)
        with pytest.raises(BusyError), database.write() as session:
            session.get_one(Study, 1).title = "never acknowledged"
    wall = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: wall() - 3_600 * 10**9)
    with (database if processes == 1 else other).write() as session:
        session.get_one(Study, 1).contact = "acknowledged"
    before = rows_of(machine)
    time.sleep(0.8)
    machine.die()
    machine.start()
    assert rows_of(machine) == before


def test_storage_that_fails_one_time_in_five(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raters ask again until it is said to be saved; the disk is wiped after each batch."""
    files, draw = fsspec.filesystem("memory").__class__, random.Random(1)
    monkeypatch.setattr("annotation.backups.storage._WAITS_S", (0.0,))
    room = Room.build(machine.start())
    for name in ("pipe_file", "cat_file", "ls", "info"):
        monkeypatch.setattr(files, name, sometimes(getattr(files, name), draw))
    refused = 0
    for number in (0, 1, 2):
        for _ in range(20):
            try:
                if room.rate_batch(number).step != "task":
                    break
            except BusyError:
                refused += 1
        before = rows_of(machine)
        machine.die()
        while not machine.opened:
            with contextlib.suppress(StorageError, BusyError):
                machine.start()
        room = going_on(room, machine.opened[0])
        assert rows_of(machine) == before
    assert refused > 0


def sometimes(does: Any, draw: random.Random) -> Any:
    def fails(*given: Any, **named: Any) -> Any:
        if draw.random() < 0.2:
            raise OSError("503 slow down")
        return does(*given, **named)

    return fails


def test_commands_and_servers_share_a_journal(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room.build(machine.start())
    monkeypatch.setenv("MUSICEVAL_DATA", str(machine.settings.data))
    monkeypatch.setenv("MUSICEVAL_JOURNAL_URL", URL)
    assert main(("list",)) == 0
    assert main(("describe", "room", "--title", "By a command")) == 0
    room.rate_batch(0, 1)
    assert main(("describe", "room", "--contact", "By another")) == 0
    before = rows_of(machine)
    machine.die()
    assert main(("list",)) == main(("create", "new")) == 2  # in what may be a wrong folder
    assert not machine.settings.data.exists()
    machine.start()
    assert rows_of(machine) == before


def test_clips_are_there_before_their_rows(machine: Machine) -> None:
    database, data = machine.start(), machine.settings.data
    room = Room.build(database)
    with database.write() as session:
        clip = session.query(Clip).first()
        assert clip
        path = clip_path(data, room.study(session), clip.name)
        path.parent.mkdir(parents=True)
        path.write_bytes(b"sound")
        clip.wav_sha256 = sha256_of(path)
    machine.die()
    machine.start()
    assert path.read_bytes() == b"sound"


def test_backups_make_the_journal_short(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "EVERY_S", 0.05)
    database = machine.start()
    backups = Backups(machine.settings, database)
    room = Room.build(database)
    for _ in range(4):
        room.rate_batch(0, 1)
        time.sleep(0.3)
    backups.close()
    storage = Storage(URL)
    assert len(storage.sizes("backups")) == durable.KEPT
    with contextlib.closing(sqlite3.connect(machine.settings.data / "musiceval.sqlite")) as connection:
        assert len(storage.sizes("journal")) < journal.position(connection)
    before = rows_of(machine)
    machine.die()
    newest = list(storage.sizes("backups"))[-1]
    storage.remove(f"backups/{newest}/manifest.json")  # torn: the one before, and the journal after it
    machine.start()
    assert rows_of(machine) == before
    assert f"The backup {newest} is not whole" in machine.said[0]


def test_what_is_not_needed_any_more_goes_beside_the_work(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits that every backup has, old backups and old holders: a server that begins waits for none of it."""
    room = Room.build(machine.start())
    room.rate_batch(0, 1)
    for _ in range(durable.KEPT):
        machine.die()
        machine.start()
    storage = Storage(URL)
    folders = ("backups", "journal", "holders")
    before = {folder: len(storage.sizes(folder)) for folder in folders}
    assert before["backups"] == before["holders"] == 1 + durable.KEPT
    backups = Backups(machine.settings, machine.opened[0])
    until(lambda: len(storage.sizes("holders")) == 1)
    assert len(storage.sizes("backups")) == durable.KEPT
    assert len(storage.sizes("journal")) < before["journal"]
    backups.close()
    before_it = rows_of(machine)
    machine.die()
    machine.start()
    assert rows_of(machine) == before_it


def test_a_journal_with_a_hole_is_told(machine: Machine) -> None:
    room = Room.build(machine.start())
    room.rate_batch(0, 2)
    storage = Storage(URL)
    _, second, *_, last = storage.sizes("journal")
    storage.put(f"journal/{last}", b"{}")
    machine.die()
    machine.start()  # the last one may have been broken off
    assert "is not whole and is passed over" in machine.said[0]
    machine.die()
    for name in list(storage.sizes("backups"))[1:]:
        storage.remove(f"backups/{name}")
    storage.remove(f"journal/{second}")
    with pytest.raises(StudyError, match="commit 2 is missing or damaged"):
        machine.start()
    assert not machine.settings.data.exists() or not list(machine.settings.data.rglob("*.sqlite"))


def test_a_journal_of_another_database_is_refused(machine: Machine, tmp_path: Path) -> None:
    Room.build(machine.start())
    other = Settings(data=tmp_path / "other")
    open_studies(other, print).close()
    with pytest.raises(StudyError, match="is of another database"):
        open_studies(Settings(data=tmp_path / "other", journal_url=URL), print, begins=True)
    with pytest.raises(StudyError, match="has a journal"):
        open_studies(Settings(data=machine.settings.data), print)


def test_a_backup_that_is_restored_goes_its_own_way(machine: Machine, tmp_path: Path) -> None:
    room = Room.build(machine.start())
    back_up(room.database, machine.settings.data, Storage(URL), 3)
    room.rate_batch(0, 1)
    restore(Storage(URL), tmp_path / "new" / "musiceval.sqlite", tmp_path / "new", print)
    assert rows(tmp_path / "new" / "musiceval.sqlite") == rows_of(machine)
    open_studies(Settings(data=tmp_path / "new"), print).close()


def test_a_journal_without_a_backup_is_not_taken_for_a_new_one(machine: Machine) -> None:
    Room.build(machine.start())
    machine.die()
    Storage(URL).remove("backups")
    with pytest.raises(StudyError, match="no whole backup before it"):
        machine.start()
    assert not machine.settings.data.exists()


def test_what_one_of_many_undoes_is_not_kept(machine: Machine) -> None:
    database = machine.start()
    Room.build(database)

    def fails(session: Session) -> None:
        titled(session, "undone")
        session.flush()
        raise StudyError("no")

    with database.write():
        asked = [
            database.soon(fails),
            database.soon(lambda session: setattr(session.get_one(Study, 1), "contact", "x")),
        ]
    assert [type(one.exception(10)) for one in asked] == [StudyError, type(None)]
    before = rows_of(machine)
    machine.die()
    with machine.start().read() as session:
        assert (session.get_one(Study, 1).title, session.get_one(Study, 1).contact) == ("", "x")
    assert rows_of(machine) == before


def test_a_damaged_database_is_told(machine: Machine) -> None:
    Room.build(machine.start())
    machine.die(with_disk=False)
    (machine.settings.data / "musiceval.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(StudyError, match="cannot be used"):
        machine.start()


# Journals as versions of before wrote them, on the tables of then: attempts by the clock, and counted; nobody held them


@pytest.fixture(params=OLD)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What a machine left that was lost in the middle of a batch: a backup, and the journal after it."""
    kept: dict[str, Any] = OLD[request.param]
    with contextlib.closing(sqlite3.connect(tmp_path / "old.sqlite")) as connection:
        connection.executescript(kept["sql"])
        connection.execute(f"PRAGMA application_id = {kept['database']}")
        connection.execute(f"PRAGMA user_version = {kept['commit']}")
    storage = Storage(URL)
    storage.put(f"backups/{OLD_BACKUP}/musiceval.sqlite", tmp_path / "old.sqlite")
    manifest = kept["manifest"] | {"database_sha256": sha256_of(tmp_path / "old.sqlite")}
    storage.put(f"backups/{OLD_BACKUP}/manifest.json", json.dumps(manifest).encode())
    for name, content in kept["journal"].items():
        storage.put(f"journal/{name}", content.encode())
    return kept


def test_an_old_journal_comes_back_and_goes_on(machine: Machine, old: dict[str, Any]) -> None:
    database = machine.start()
    assert set(old["rows"]) <= set(rows_of(machine))
    room = Room(database, 1, [1], Protocol(**{**SMALL, "batch_size": 3}), NOW + timedelta(minutes=5))
    assert room.rate_batch(0, 1).step == "task"
    before = rows_of(machine)
    machine.die()
    machine.start()
    assert rows_of(machine) == before


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [(None, {"revision": "9999"}, "commits of other tables"), ("000000000099-A-next.json", {}, "does not know")],
    ids=["tables", "names"],
)
def test_a_newer_journal_is_refused(
    machine: Machine, old: dict[str, Any], name: str | None, content: dict[str, Any], said: str
) -> None:
    latest = max(old["journal"])
    newer = json.dumps(json.loads(old["journal"][latest]) | content).encode()
    number = int(latest.split("-")[0]) + 1
    Storage(URL).put(f"journal/{name}" if name else journal.object_name(number, 1, newer), newer)
    before = dict(fsspec.filesystem("memory").store)
    with pytest.raises(StudyError, match=f"{said}.*Nothing was changed"):
        machine.start()
    assert dict(fsspec.filesystem("memory").store) == before
    assert not list(machine.settings.data.rglob("*.sqlite"))
