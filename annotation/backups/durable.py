"""The studies of the settings, opened: with their journal where one is set, brought back where the disk is empty."""

import contextlib
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from annotation.database import Database, file_of, is_postgresql
from core.errors import StudyError, counted
from core.settings import Settings

if TYPE_CHECKING:
    from annotation.backups.snapshots import Manifest
    from annotation.backups.storage import Storage

EVERY_S = 300.0  # a backup, where something was written; what came since is in the journal
LOOKS_S = 30.0  # whether another server has taken over; who writes sees it at once
KEPT = 3  # backups beside a journal
_LOG = logging.getLogger(__name__)

Say = Callable[[str], None]


def open_studies(settings: Settings, say: Say, waits_s: float = 30.0, begins: bool = False) -> Database:
    """Open the database of the settings.

    With a journal, a server, which `begins`, takes it over from who held it (`annotation.backups.holder`), brings back
    the newest whole backup and the journal after it where there is no database, and makes a backup before it takes the
    first answer. A command does none of it: in a wrong folder it would make a second database that goes on with the
    same journal.
    """
    if is_postgresql(settings.database_url):
        if settings.journal_url:
            raise StudyError(
                "The journal is SQLite's. PostgreSQL keeps what it acknowledged by itself, and archives its own log: "
                "unset MUSICEVAL_JOURNAL_URL."
            )
        return Database(settings.database_url, waits_s=waits_s)
    file = file_of(settings.database_url)
    if not settings.journal_url:
        _refuse_without_journal(file)
        return Database(settings.database_url, waits_s=waits_s)
    return _open_journaled(settings, file, say, waits_s, begins)


def _open_journaled(settings: Settings, file: Path, say: Say, waits_s: float, begins: bool) -> Database:
    from annotation.backups.holder import taking_over, term_of  # late: fsspec takes a tenth of a second
    from annotation.backups.journal import Journal, latest_attempt
    from annotation.backups.snapshots import back_up, newest_manifest
    from annotation.backups.storage import Storage

    storage = Storage(settings.journal_url)
    found = newest_manifest(storage)
    _refuse_misfit(storage, found, file, settings.data, begins)
    journal = Journal(storage, settings.data, file)
    takes = not found or begins
    # Before the journal is read: what its holder of before has acknowledged is read, and it acknowledges no more.
    with taking_over(storage, term_of(latest_attempt(storage))) if takes else contextlib.nullcontext() as term:
        _bring_up(storage, file, settings.data, say, None if takes else journal.attempt())
        Database(settings.database_url, waits_s=waits_s).close()  # there, and of the newest tables
        _begin(file, found.database if found else 0)
        database = Database(settings.database_url, waits_s=waits_s, journal=journal)
    if term is not None:  # from here on it is not given back: what is put now counts above all before it
        with database.write() as session:
            journal.begin(session.connection().connection.driver_connection, term)
        back_up(database, settings.data, storage)
    return database


def _refuse_misfit(storage: "Storage", found: "Manifest | None", file: Path, data: Path, begins: bool) -> None:
    """Refuse what can be seen to be wrong before a journal is taken over from who holds it."""
    from annotation.backups.journal import FOLDER

    if file.exists():
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(file)) as connection:
            _refuse_other(connection, found.database if found else 0)
    elif not found and storage.sizes(FOLDER):
        raise StudyError(
            "There is a journal, but no whole backup before it. Nothing was changed. Bring the backup back; or, for a "
            "new database, name an empty place with MUSICEVAL_JOURNAL_URL."
        )
    elif found and not begins:
        raise StudyError(
            f"There are no studies in {data}, but in the journal. Start the server, which brings them back, "
            "or name their folder with MUSICEVAL_DATA."
        )


def _bring_up(storage: "Storage", file: Path, data: Path, say: Say, attempt: int | None) -> None:
    """Bring a database up to the end of its journal, from its newest backup where there is none."""
    from annotation.backups.snapshots import newest_manifest, restore

    if file.exists():
        done = _replayed(storage, file, say, attempt)
        if done:
            say(f"The database lacked {counted(done, 'commit')} of its journal, and has them now.")
    elif newest_manifest(storage):
        back = restore(storage, file, data, say, journaled=True)
        say(f"There was no database here. {back.text()}")


class Backups:
    """Backups of a server's studies every `EVERY_S` and at its end; none without a journal, or once it is another's.

    What they make unnecessary is deleted beside the raters' work: where a store fails now and then that takes minutes,
    for which no server waits that begins or ends.
    """

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._done = -1
        self._held = True
        self._closed = threading.Event()
        if settings.journal_url:
            threading.Thread(target=self._go_on, name="backups", daemon=True).start()

    def close(self) -> None:
        """Make the last one."""
        self._closed.set()
        if self._settings.journal_url:
            self._back_up()

    def _go_on(self) -> None:
        self._drop_old()
        due_s = time.monotonic() + EVERY_S
        while not self._closed.wait(min(LOOKS_S, EVERY_S)):
            if time.monotonic() < due_s:
                self._holds()
            else:
                self._back_up()
                self._drop_old()
                due_s = time.monotonic() + EVERY_S

    def _holds(self) -> bool:
        """Return whether the journal is this server's still, and say so once where it is not."""
        try:
            held = self._database.holds_journal()
        except StudyError:
            return False  # the storage is away: who answers says so
        if self._held and not held:
            _LOG.error(
                "another server began with the same MUSICEVAL_JOURNAL_URL and took over: this one keeps no answers any "
                "more, and has lost none. End it; or, if it is the one to go on, end the other and start this one"
            )
        self._held = held
        return held

    def _back_up(self) -> None:
        if not self._holds():
            return  # a backup of before would stand as the newest
        from annotation.backups.snapshots import back_up
        from annotation.backups.storage import Storage

        try:
            with self._database.read() as session:
                latest = session.execute(text("PRAGMA user_version")).scalar_one()
            if latest != self._done:
                back_up(self._database, self._settings.data, Storage(self._settings.journal_url))
                self._done = latest
        except (StudyError, OSError, SQLAlchemyError):
            _LOG.exception("the studies could not be backed up; what was answered is in the journal")

    def _drop_old(self) -> None:
        if not self._holds():
            return
        from annotation.backups.holder import drop_earlier
        from annotation.backups.snapshots import drop_old
        from annotation.backups.storage import Storage

        try:
            storage = Storage(self._settings.journal_url)
            drop_old(storage, KEPT)
            drop_earlier(storage)
        except StudyError:
            _LOG.exception("old backups could not be deleted; it is tried again")


def _replayed(storage: "Storage", file: Path, say: Say, attempt: int | None) -> int:
    """Replay before the tables are brought to a newer version: the journal is of the tables as they were."""
    from annotation.backups.journal import replay

    try:
        return replay(storage, file, say, attempt)
    except sqlite3.OperationalError as error:
        raise StudyError(f"The database cannot be brought up to its journal: {error}.") from error
    except sqlite3.DatabaseError:
        return 0  # it is damaged, or none: whoever opens it says so


def _begin(file: Path, known: int) -> None:
    """Let a database and its journal know each other."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        if not _refuse_other(connection, known):
            connection.execute(f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}")


def _refuse_other(connection: sqlite3.Connection, known: int) -> int:
    """Return by which number a database knows its journal, 0: none yet; raise `StudyError` where it is another's."""
    (own,) = connection.execute("PRAGMA application_id").fetchone()
    if known and known != own:
        raise StudyError(
            "The journal is of another database than the one that is here. Nothing was changed. Check "
            "MUSICEVAL_JOURNAL_URL and MUSICEVAL_DATA; to begin a new journal, name an empty place."
        )
    return int(own)


def _refuse_without_journal(file: Path) -> None:
    if not file.exists() or not file.stat().st_size:
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as connection:
        if connection.execute("PRAGMA application_id").fetchone()[0]:
            raise StudyError(
                "This database has a journal, which would lack what is written now. Set MUSICEVAL_JOURNAL_URL as it "
                "was; or, to go on without, restore a backup into another folder."
            )
