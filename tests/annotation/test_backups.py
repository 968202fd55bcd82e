"""Backups: whole, verified, and never over what is there."""

import contextlib
import hashlib
import itertools
import json
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from annotation.backups import snapshots
from annotation.backups.snapshots import back_up, restore, verify
from annotation.backups.storage import Storage
from annotation.cli import main
from annotation.database import Database
from annotation.schema import Clip, Study
from annotation.studies import clip_path
from core.errors import StorageError, StudyError
from core.files import sha256_of
from tests.annotation.rooms import Room, empty_memory

Said = list[str]
OLD_RATINGS = """
SELECT studies.name, COUNT(ratings.trial_id) FROM studies JOIN raters ON raters.study_id = studies.id
JOIN trials ON trials.rater_id = raters.id LEFT JOIN ratings ON ratings.trial_id = trials.id GROUP BY studies.name
"""


@pytest.fixture
def database(tmp_path: Path, empty_database: Path) -> Iterator[Database]:
    """SQLite's: PostgreSQL has backups of its own."""
    shutil.copy(empty_database, tmp_path / "musiceval.sqlite")
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}", durable=False)
    yield database
    database.close()


@pytest.fixture
def storage() -> Iterator[Storage]:
    """Storage as object stores are."""
    yield Storage("memory://kept")
    empty_memory()


@pytest.fixture
def on_disk(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "kept"))


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Room:
    """A study with files of its clips, and eight ratings."""
    room = Room.build(database, clips=4, systems=1, prompts=2)
    with database.write() as session:
        study = room.study(session)
        for number, clip in enumerate(session.query(Clip)):
            path = clip_path(tmp_path, study, clip.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"sound" * (number + 1))
            clip.wav_sha256 = sha256_of(path) if number else None  # the first is of an earlier version
    for number in range(2):
        room.rate_batch(number, 4)
    return room


def brought_back(storage: Storage, folder: Path, said: Said | None = None) -> snapshots.Backup:
    return restore(storage, folder / "musiceval.sqlite", folder, ([] if said is None else said).append)


def content(file: Path) -> list[str]:
    database = sqlite3.connect(file)
    with database:
        found = [line for line in database.iterdump() if not line.startswith('INSERT INTO "clips"')]
    database.close()
    return found


def only(storage: Storage, folder: str) -> str:
    (name,) = storage.sizes(folder)
    return name


@pytest.mark.parametrize("where", ["storage", "on_disk"])
def test_all_comes_back(room: Room, tmp_path: Path, where: str, request: pytest.FixtureRequest) -> None:
    storage: Storage = request.getfixturevalue(where)
    made = back_up(room.database, tmp_path, storage, keep=3)
    assert (made.manifest.ratings, len(made.manifest.clips), made.amiss) == ({"room": 8}, 8, ())
    assert verify(storage, print).manifest == made.manifest
    new = tmp_path / "new"
    assert brought_back(storage, new) == made
    assert content(new / "musiceval.sqlite") == content(tmp_path / "musiceval.sqlite")
    for file in (tmp_path / "studies").rglob("*.wav"):
        assert (new / file.relative_to(tmp_path)).read_bytes() == file.read_bytes()
    again = Database(f"sqlite:///{new / 'musiceval.sqlite'}", durable=False)
    with again.read() as session:
        assert None not in session.scalars(session.query(Clip.wav_sha256).statement)
    going_on = Room(again, room.study_id, room.rater_ids, room.protocol, room.at)
    assert going_on.place(0).step == "task"  # in the middle of a batch
    again.close()


def test_a_backup_is_of_one_moment(room: Room, storage: Storage, tmp_path: Path) -> None:
    """While raters go on, whose ratings stand in the -wal file."""
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            with room.database.write() as session:
                session.execute(text(f"UPDATE studies SET title = {number}"))
                session.execute(text(f"UPDATE studies SET contact = {number}"))
            number += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for number in range(3):
            back_up(room.database, tmp_path, storage, keep=1)
            brought_back(storage, tmp_path / f"new {number}")
            with sqlite3.connect(tmp_path / f"new {number}" / "musiceval.sqlite") as copy:
                title, contact = copy.execute("SELECT title, contact FROM studies").fetchone()
            copy.close()
            assert title == contact
    finally:
        stop.set()
        writing.join()


def test_clips_are_put_once(room: Room, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put: list[str] = []
    monkeypatch.setattr(
        Storage, "put", lambda self, name, content, to=Storage.put: put.append(name) or to(self, name, content)
    )
    back_up(room.database, tmp_path, storage, keep=3)
    assert len([name for name in put if name.startswith("clips/")]) == 8
    assert put[-1].endswith("manifest.json")
    put.clear()
    shutil.rmtree(tmp_path / "studies")  # what is kept need not be here any more
    assert back_up(room.database, tmp_path, storage, keep=3).amiss == (f"room/{first_clip(room)}",)
    assert len(put) == 2


def first_clip(room: Room) -> str:
    with room.database.read() as session:
        return f"{session.query(Clip).first().name}.wav"  # type: ignore[union-attr]


def test_the_newest_are_kept(room: Room, storage: Storage, tmp_path: Path) -> None:
    back_up(room.database, tmp_path, storage, keep=2)
    clips = storage.sizes("clips")
    with room.database.write() as session:
        dropped = session.query(Clip).filter(Clip.kind == "stimulus").all()[-1]
        dropped.wav_sha256 = "0" * 64
    names = [back_up(room.database, tmp_path, storage, keep=2).name for _ in range(2)]
    assert list(storage.sizes("backups")) == names
    assert len(clips) - len(storage.sizes("clips")) == 1
    assert verify_amiss(storage) == (f"room/{dropped.name}.wav",)


def verify_amiss(storage: Storage) -> tuple[str, ...]:
    found = verify(storage, print)
    with pytest.raises(StudyError, match="Clips whose audio is missing"):
        found.refuse_amiss()
    return found.amiss


def unfinished(storage: Storage, name: str) -> None:
    storage.remove(f"{name}/manifest.json")


def torn(storage: Storage, name: str) -> None:
    storage.put(f"{name}/manifest.json", (storage.read(f"{name}/manifest.json") or b"")[:-20])


def cut(storage: Storage, name: str) -> None:
    storage.put(f"{name}/musiceval.sqlite", (storage.read(f"{name}/musiceval.sqlite") or b"")[:-4096])


def without_database(storage: Storage, name: str) -> None:
    storage.remove(f"{name}/musiceval.sqlite")


def spoilt(storage: Storage, name: str) -> None:
    """A database that was damaged before its hash was taken."""
    database = bytearray(storage.read(f"{name}/musiceval.sqlite") or b"")
    database[4096 : len(database) // 2] = bytes(len(database) // 2 - 4096)
    manifest = json.loads(storage.read(f"{name}/manifest.json") or b"")
    manifest["database_sha256"] = hashlib.sha256(database).hexdigest()
    storage.put(f"{name}/musiceval.sqlite", bytes(database))
    storage.put(f"{name}/manifest.json", json.dumps(manifest).encode())


@pytest.mark.parametrize("tear", [unfinished, torn, cut, without_database, spoilt])
def test_a_backup_that_is_not_whole_is_passed_over(
    room: Room, storage: Storage, tmp_path: Path, tear: Callable[[Storage, str], None]
) -> None:
    whole = back_up(room.database, tmp_path, storage, keep=3)
    room.rate_batch(0)
    newer = back_up(room.database, tmp_path, storage, keep=3)
    tear(storage, f"backups/{newer.name}")
    said: Said = []
    assert brought_back(storage, tmp_path / "new", said) == whole
    assert [newer.name in sentence for sentence in said] == [True]
    tear(storage, f"backups/{whole.name}")
    with pytest.raises(StudyError, match="There is no whole backup"):
        verify(storage, print)


def test_a_clip_that_is_amiss_does_not_keep_ratings_back(room: Room, storage: Storage, tmp_path: Path) -> None:
    back_up(room.database, tmp_path, storage, keep=3)
    one, two, *_ = storage.sizes("clips")
    storage.put(f"clips/{one}", b"other")
    storage.remove(f"clips/{two}")
    assert set(verify_amiss(storage)) == {one.removesuffix(".wav"), two.removesuffix(".wav")}
    found = brought_back(storage, tmp_path / "new")
    assert (len(found.amiss), len(list((tmp_path / "new").rglob("*.wav")))) == (2, 6)
    back_up(room.database, tmp_path, storage, keep=3)  # heals what is there at the wrong length, or not at all
    assert verify(storage, print).amiss == ()


@pytest.mark.parametrize("there", ["musiceval.sqlite", "musiceval.sqlite-wal", "musiceval.sqlite-queue", "notes.txt"])
def test_nothing_is_overwritten(room: Room, storage: Storage, tmp_path: Path, there: str) -> None:
    back_up(room.database, tmp_path, storage, keep=3)
    new = tmp_path / "new"
    new.mkdir()
    (new / there).write_text("mine")
    with pytest.raises(StudyError, match="Nothing was changed"):
        brought_back(storage, new)
    assert [path.name for path in new.rglob("*")] == [there]
    assert (new / there).read_text() == "mine"


def test_a_restoration_that_was_broken_off_goes_on(
    room: Room, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(room.database, tmp_path, storage, keep=3)
    new, read, clips = tmp_path / "new", Storage.read, itertools.count()

    def fails(self: Storage, name: str) -> bytes | None:
        if name.startswith("clips/") and next(clips) >= 3:
            raise StorageError("gone")
        return read(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "read", fails)
        with pytest.raises(StorageError):
            brought_back(storage, new)
    assert not (new / "musiceval.sqlite").exists()
    brought_back(storage, new)
    clip = next(new.rglob("*.wav"))
    (new / "musiceval.sqlite").unlink()
    clip.write_bytes(b"another")
    with pytest.raises(StudyError, match="has something in it"):
        brought_back(storage, new)
    assert clip.read_bytes() == b"another"


def test_a_backup_of_a_newer_version_is_refused(room: Room, storage: Storage, tmp_path: Path) -> None:
    """An older one beside it is not taken in its place: its ratings would be fewer."""
    back_up(room.database, tmp_path, storage, keep=3)
    name = f"backups/{back_up(room.database, tmp_path, storage, keep=3).name}/manifest.json"
    manifest = json.loads(storage.read(name) or b"") | {"revision": "9999", "version": "9.0"}
    storage.put(name, json.dumps(manifest).encode())
    with pytest.raises(StudyError, match=r'newer version of MusicEval \("9\.0"\).*Update'):
        brought_back(storage, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_backup_of_an_earlier_version_comes_back(storage: Storage, tmp_path: Path) -> None:
    old = tmp_path / "old.sqlite"
    with contextlib.closing(sqlite3.connect(old)) as connection:
        connection.executescript((Path(__file__).parent / "data" / "old_study.sql").read_text(encoding="utf-8"))
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        ratings = dict(connection.execute(OLD_RATINGS))
    manifest = {"version": "0.2.0", "revision": revision, "database_sha256": sha256_of(old)}
    storage.put("backups/20260101T000000.000000Z/musiceval.sqlite", old)
    whole = json.dumps(manifest | {"clips": {}, "missing": [], "ratings": ratings}).encode()
    storage.put("backups/20260101T000000.000000Z/manifest.json", whole)
    brought_back(storage, tmp_path / "new")
    database = Database(f"sqlite:///{tmp_path / 'new' / 'musiceval.sqlite'}", durable=False)
    with database.read() as session:
        assert {study.name for study in session.query(Study)} == ratings.keys()
    database.close()


def test_storage_that_fails_leaves_what_was_there(
    room: Room, on_disk: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it fails, the newest whole backup is the one before."""
    whole = back_up(room.database, tmp_path, on_disk, keep=1)
    room.rate_batch(0)
    put, left = Storage.put, [0]

    def fails(self: Storage, name: str, content: bytes | Path) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StorageError("full")
        put(self, name, content)

    for n in range(2):
        left[0] = n
        with monkeypatch.context() as patch:
            patch.setattr(Storage, "put", fails)
            with pytest.raises(StorageError):
                back_up(room.database, tmp_path, on_disk, keep=1)
        assert verify(on_disk, print).name == whole.name
    back_up(room.database, tmp_path, on_disk, keep=1)
    assert only(on_disk, "backups") != whole.name


@pytest.mark.parametrize("url", ["nosuch://place", "nosuch+file://place"])
def test_a_url_that_nobody_opens(url: str) -> None:
    with pytest.raises(StudyError, match="cannot be opened"):
        Storage(url)


def test_a_disk_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        Storage(str(tmp_path / "file")).put("clips/a.wav", b"")


def test_the_commands(
    room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path))
    url = (tmp_path.parent / f"{tmp_path.name}-kept").as_uri()
    assert main(("backup", "--to", url, "--keep", "2")) == 0
    assert main(("verify-backup", url)) == 0
    assert main(("restore-backup", url)) == 2
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "new"))
    assert main(("restore-backup", url)) == 0
    said = capsys.readouterr()
    assert said.out.count("8 ratings and 8 clips.\n  room: 8 ratings\n") == 3
    assert '"musiceval.sqlite" is there already' in said.err
    storage = Storage(url)
    for clip in storage.sizes("clips"):
        storage.remove(f"clips/{clip}")
    assert main(("verify-backup", url)) == 2


def test_what_is_no_backup_stays(room: Room, storage: Storage, tmp_path: Path) -> None:
    storage.put("backups/20200101-by-hand/notes.txt", b"mine")
    with room.database.write() as session:
        session.query(Study).one().title = "t"
    for _ in range(3):
        back_up(room.database, tmp_path, storage, keep=1)
    assert storage.read("backups/20200101-by-hand/notes.txt") == b"mine"
    assert verify(storage, print).manifest.ratings == {"room": 8}
