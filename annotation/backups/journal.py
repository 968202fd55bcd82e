"""A journal of commits: what a transaction changed is kept elsewhere before whoever asked hears that it is saved.

    journal/NUMBER-ATTEMPT-SHA256.json    the rows that one transaction changed, as they are at its end

Triggers of the connection note which rows a transaction touches, whatever wrote them. Before the commit their images
are put as one object; where that fails, the transaction is undone. The number of the latest commit is SQLite's
``user_version``, so it stands in the database, goes back with what is undone, and is the same for all processes. An
object of which nobody knows whether it arrived is followed by another attempt of the same number, which counts.
Attempts are counted, by all processes together, in a file beside the database: by the clock, an earlier one would count
once that was set back. Who holds the journal counts above all who held it before (`annotation.backups.holder`).
Row images by table and rowid can be replayed any number of times.

Source: https://www.sqlite.org/pragma.html#pragma_user_version, https://www.sqlite.org/lang_createtrigger.html.
"""

import contextlib
import hashlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from annotation.backups.holder import ATTEMPTS, latest_term, refuse_earlier
from annotation.backups.storage import Storage
from annotation.dialects import unwritable
from core.errors import BusyError, StorageError, StudyError, shown_name
from core.files import sha256_of

FOLDER = "journal"
WITHIN_S = 4.0  # that the storage has to keep what a transaction changed
BEGINS_WITHIN_S = 60.0  # for the first one of a server, which nobody waits for
_MOST_CLIPS = 8  # of a transaction, that are kept before it; those of a large import come with the next backup
_NAME = re.compile(r"(\d{12})-(\d{20})-([0-9a-f]{64})\.json")
_TABLES = r"SELECT name FROM main.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\'"
_CLIP_FILES = """
SELECT studies.name, clips.name, clips.wav_sha256 FROM changed JOIN clips ON clips.id = changed.id
JOIN studies ON studies.id = clips.study_id WHERE changed.name = 'clips' AND clips.wav_sha256 IS NOT NULL
"""

Say = Callable[[str], None]


class Journal:
    """The journal of a database, for its writers, who call it one at a time."""

    def __init__(self, storage: Storage, data: Path, file: Path) -> None:
        self._storage = storage
        self._attempts = Path(f"{file}-attempts")
        self._data = data
        self._threads = ThreadPoolExecutor(8, "journal")  # what hangs keeps a thread for as long
        # A journal of before has no holder, and may have no file: it goes on. Else who has no file holds nothing.
        self._latest = 0 if latest_term(storage) else latest_attempt(storage)
        self._clips: set[str] | None = None
        self._begins = False
        self.taken_over = False  # as far as was seen

    def watch(self, driver: Any) -> None:
        """Note from now on which rows change on a connection, outside of a transaction."""
        driver.execute("CREATE TEMP TABLE changed (name TEXT, id INTEGER, PRIMARY KEY (name, id)) WITHOUT ROWID")
        for (table,) in driver.execute(_TABLES).fetchall():
            for event, rows in {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}.items():
                notes = "".join(f"INSERT OR IGNORE INTO changed VALUES ('{table}', {row}.rowid);" for row in rows)
                driver.execute(
                    f'CREATE TEMP TRIGGER "{event}_{table}" AFTER {event} ON main."{table}" BEGIN {notes} END'
                )

    def keep(self, driver: Any) -> None:
        """Keep what a transaction changed, before its commit; `BusyError` where the storage does not."""
        changed = driver.execute("SELECT name, id FROM changed WHERE name != 'clock' LIMIT 1").fetchone()
        if changed is not None:  # the clock alone can be read anew
            number = driver.execute("PRAGMA user_version").fetchone()[0] + 1
            driver.execute(f"PRAGMA user_version = {number}")
            content = json.dumps(_images(driver), ensure_ascii=False).encode()
            clips = driver.execute(_CLIP_FILES).fetchall()
            attempt = self._next_attempt()  # not when it is put: what hangs and comes late is an earlier one
            name = object_name(number, attempt, content)
            within_s = BEGINS_WITHIN_S if self._begins else WITHIN_S
            self._within_time(lambda: self._put(name, content, clips, attempt), within_s)
            self._begins = False
        driver.execute("DELETE FROM changed")

    def begin(self, driver: Any, term: int) -> None:
        """Go on in a new term, with a commit of its own, in whose number an earlier holder may put another late.

        The commit before it is put anew: it may be one that its holder did not acknowledge, and would attempt again.
        """
        self._note_attempt(term * ATTEMPTS)
        self._begins = True
        number = position(driver)
        latest = _later(self._storage, number - 1).get(number, "")
        content = self._storage.read(f"{FOLDER}/{latest}") if latest else None
        if content and hashlib.sha256(content).hexdigest() in latest:
            self._storage.put(object_name(number, term * ATTEMPTS, content), content)
        driver.execute("INSERT INTO changed SELECT 'alembic_version', rowid FROM alembic_version")

    def look(self) -> bool:
        """Return whether this machine holds the journal still."""
        with contextlib.suppress(BusyError):
            self._refuse_taken_over(self.attempt())
        return not self.taken_over

    def close(self) -> None:
        """Wait for nothing that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _next_attempt(self) -> int:
        """Return a number above all before it; whoever writes does so alone."""
        attempt = self.attempt() + 1
        self._note_attempt(attempt)
        return attempt

    def _note_attempt(self, attempt: int) -> None:
        try:
            self._attempts.write_text(f"{attempt}")
        except OSError as error:
            raise unwritable() from error

    def attempt(self) -> int:
        """Return the number of the latest attempt of this machine, which says in which term it is."""
        with contextlib.suppress(OSError, ValueError):
            self._latest = max(self._latest, int(self._attempts.read_text()))
        return self._latest

    def _refuse_taken_over(self, attempt: int) -> None:
        try:
            refuse_earlier(self._storage, attempt)
        except BusyError:
            self.taken_over = True
            raise
        self.taken_over = False  # who began after it may have failed, and the journal is this machine's again

    def _put(self, name: str, content: bytes, clips: "list[tuple[str, str, str]]", attempt: int) -> None:
        if self.taken_over:
            self._refuse_taken_over(attempt)  # nothing is put that nobody would count
        if len(clips) <= _MOST_CLIPS:
            for study, clip, sha256 in clips:
                self._put_clip(self._data / "studies" / study / "clips" / f"{clip}.wav", sha256)
        self._storage.put(name, content)
        self._refuse_taken_over(attempt)  # after it: who began before is seen, and who begins now reads it

    def _put_clip(self, path: Path, sha256: str) -> None:
        if self._clips is None:
            self._clips = {name.removesuffix(".wav") for name in self._storage.sizes("clips")}
        if sha256 not in self._clips and path.is_file() and sha256_of(path) == sha256:
            self._storage.put(f"clips/{sha256}.wav", path)
            self._clips.add(sha256)

    def _within_time(self, put: Callable[[], None], within_s: float) -> None:
        asked = self._threads.submit(put)
        try:
            asked.result(within_s)
        except (TimeoutError, StorageError) as error:
            asked.cancel()
            raise BusyError(
                "The place where answers are kept cannot be reached. Nothing was changed; try again in a moment.",
                "storage_away",
            ) from error


def object_name(number: int, attempt: int, content: bytes) -> str:
    """Return what a commit is kept as, by its number and the attempt to put it."""
    return f"{FOLDER}/{number:012}-{attempt:020}-{hashlib.sha256(content).hexdigest()}.json"


def _images(driver: Any) -> dict[str, Any]:
    """Return the rows that changed, by table and rowid; None where there is none any more."""
    tables: dict[str, Any] = {}
    for table in [name for (name,) in driver.execute("SELECT DISTINCT name FROM changed").fetchall()]:
        query = (
            f'SELECT changed.id, t.rowid IS NULL, t.* FROM changed LEFT JOIN main."{table}" t ON t.rowid = changed.id'
        )
        found = driver.execute(f"{query} WHERE changed.name = ?", (table,))
        columns = [column[0] for column in found.description][2:]
        rows = {f"{rowid}": None if gone else row for rowid, gone, *row in found.fetchall()}
        tables[table] = {"columns": columns, "rows": rows}
    (revision,) = driver.execute("SELECT version_num FROM alembic_version").fetchone()
    return {"revision": revision, "database": identity(driver), "tables": tables}


def identity(driver: Any) -> int:
    """Return the number by which a database and its journal know each other; 0: it has none."""
    return int(driver.execute("PRAGMA application_id").fetchone()[0])


def position(driver: Any) -> int:
    """Return the number of the latest commit that was kept."""
    return int(driver.execute("PRAGMA user_version").fetchone()[0])


def replay(storage: Storage, file: Path, say: Say, attempt: int | None = None) -> int:
    """Bring a database up to the end of its journal, in one transaction; return how many commits it lacked.

    Whoever has not taken the journal over says with which attempt it writes there; `BusyError` where it was taken over.
    """
    with contextlib.closing(sqlite3.connect(file, timeout=30.0, isolation_level=None)) as connection:
        if not _later(storage, position(connection)):
            return 0
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("BEGIN IMMEDIATE")
        entries = _lacking(storage, position(connection), say)
        if entries:
            with _without_triggers(connection):
                for entry in entries:
                    _apply(connection, entry)
            if connection.execute("PRAGMA foreign_key_check").fetchone():
                raise StudyError("The journal does not fit its backup: rows refer to others that are not there.")
            connection.execute(f"PRAGMA user_version = {position(connection) + len(entries)}")
            if attempt is not None:
                refuse_earlier(storage, attempt)  # what came late from here does not count, and is not taken in
        connection.execute("COMMIT")
    return len(entries)


def latest_attempt(storage: Storage) -> int:
    """Return the highest number of an attempt that is kept; 0 where there is none."""
    found = filter(None, map(_NAME.fullmatch, storage.sizes(FOLDER)))
    return max((int(name[2]) for name in found), default=0)


def drop_before(storage: Storage, number: int) -> None:
    """Delete the commits that every backup has."""
    found = filter(None, map(_NAME.fullmatch, storage.sizes(FOLDER)))
    storage.remove_each(f"{FOLDER}/{name[0]}" for name in found if int(name[1]) <= number)


def _later(storage: Storage, done: int) -> dict[int, str]:
    """Return the latest attempt of each commit after one."""
    names = [name for name in storage.sizes(FOLDER) if name.endswith(".json")]
    for name in names:
        if not _NAME.fullmatch(name):
            raise StudyError(
                f"The journal has an object that this version of MusicEval does not know ({shown_name(name)}). Nothing "
                "was changed. Update MusicEval, or move away what is no part of the journal."
            )
    found = filter(None, map(_NAME.fullmatch, names))
    return {int(name[1]): name[0] for name in found if int(name[1]) > done}


def _lacking(storage: Storage, done: int, say: Say) -> list[dict[str, Any]]:
    """Return the commits after one, in their order."""
    latest = _later(storage, done)
    numbers = sorted(latest)
    contents = storage.read_each(f"{FOLDER}/{latest[number]}" for number in numbers)
    entries: list[dict[str, Any]] = []
    for number, content in zip(numbers, contents, strict=True):
        entry = _entry(latest[number], content or b"")
        if entry is None and number == max(latest):  # nobody was told that it is saved, or it was damaged since
            say(f"! Commit {number} of the journal is not whole and is passed over.")
            break
        lacks = done + len(entries) + 1
        if entry is None or number != lacks:
            raise StudyError(
                f"Of the journal, commit {lacks} is missing or damaged, and there are later ones. Nothing was changed. "
                "Bring its object back, or restore a backup into another folder."
            )
        entries.append(entry)
    return entries


def _entry(name: str, content: bytes) -> dict[str, Any] | None:
    return dict(json.loads(content)) if hashlib.sha256(content).hexdigest() in name else None


@contextlib.contextmanager
def _without_triggers(connection: sqlite3.Connection) -> Iterator[None]:
    """Let rows change that triggers keep as they are, within a transaction."""
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f'DROP TRIGGER "{name}"')
    yield
    for _, sql in triggers:
        connection.execute(sql)


def _apply(connection: sqlite3.Connection, entry: dict[str, Any]) -> None:
    """Make the rows what they were."""
    if entry["database"] != identity(connection):
        raise StudyError("The journal is of another database. Nothing was changed. Check MUSICEVAL_JOURNAL_URL.")
    (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if entry["revision"] != revision:
        raise StudyError(
            f"The journal has commits of other tables ({entry['revision']}) than the backup before them ({revision}). "
            "Nothing was changed. Use the version of MusicEval that wrote them."
        )
    for table, images in entry["tables"].items():
        connection.executemany(f'DELETE FROM "{table}" WHERE rowid = ?', [(int(rowid),) for rowid in images["rows"]])
    for table, images in entry["tables"].items():
        columns = ", ".join(f'"{column}"' for column in ("rowid", *images["columns"]))
        places = ", ".join("?" * (len(images["columns"]) + 1))
        rows = [(int(rowid), *row) for rowid, row in images["rows"].items() if row is not None]
        connection.executemany(f'INSERT INTO "{table}" ({columns}) VALUES ({places})', rows)
