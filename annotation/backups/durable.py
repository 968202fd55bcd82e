"""The studies of the settings, opened: with their journal where one is set, brought back where the disk is empty."""

import contextlib
import logging
import secrets
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from annotation.database import Database, file_of, is_postgresql
from core.errors import StudyError, counted
from core.settings import Settings

if TYPE_CHECKING:
    from annotation.backups.storage import Storage

EVERY_S = 300.0  # a backup, where something was written; what came since is in the journal
KEPT = 3  # backups beside a journal
_LOG = logging.getLogger(__name__)

Say = Callable[[str], None]


def open_studies(settings: Settings, say: Say, waits_s: float = 30.0, begins: bool = False) -> Database:
    """Open the database of the settings.

    With a journal, a server, which `begins`, brings back the newest whole backup and the journal after it where there
    is no database, and makes a backup before it takes the first answer. A command does neither: in a wrong folder it
    would make a second database that goes on with the same journal.
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
    from annotation.backups.journal import FOLDER, Journal  # late: fsspec takes a tenth of a second to import
    from annotation.backups.snapshots import back_up, newest_manifest, restore
    from annotation.backups.storage import Storage

    storage = Storage(settings.journal_url)
    found = newest_manifest(storage)
    done = 0
    if file.exists():
        done = _replayed(storage, file, say)
    elif not found and storage.sizes(FOLDER):
        raise StudyError(
            "There is a journal, but no whole backup before it. Nothing was changed. Bring the backup back; or, for a "
            "new database, name an empty place with MUSICEVAL_JOURNAL_URL."
        )
    elif found and not begins:
        raise StudyError(
            f"There are no studies in {settings.data}, but in the journal. Start the server, which brings them back, "
            "or name their folder with MUSICEVAL_DATA."
        )
    elif found:
        back = restore(storage, file, settings.data, say, journaled=True)
        say(f"There was no database here. {back.text()}")
    if done:
        say(f"The database lacked {counted(done, 'commit')} of its journal, and has them now.")
    Database(settings.database_url, waits_s=waits_s).close()  # there, and of the newest tables
    new = _begin(file, found.database if found else 0)
    database = Database(settings.database_url, waits_s=waits_s, journal=Journal(storage, settings.data, file))
    if new or begins:
        back_up(database, settings.data, storage, KEPT)
    return database


class Backups:
    """Backups of a server's studies every `EVERY_S` and at its end; none without a journal."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._done = -1
        self._closed = threading.Event()
        if settings.journal_url:
            threading.Thread(target=self._go_on, name="backups", daemon=True).start()

    def close(self) -> None:
        """Make the last one."""
        self._closed.set()
        if self._settings.journal_url:
            self._back_up()

    def _go_on(self) -> None:
        while not self._closed.wait(EVERY_S):
            self._back_up()

    def _back_up(self) -> None:
        from annotation.backups.snapshots import back_up
        from annotation.backups.storage import Storage

        try:
            with self._database.read() as session:
                latest = session.execute(text("PRAGMA user_version")).scalar_one()
            if latest != self._done:
                back_up(self._database, self._settings.data, Storage(self._settings.journal_url), KEPT)
                self._done = latest
        except (StudyError, OSError, SQLAlchemyError):
            _LOG.exception("the studies could not be backed up; what was answered is in the journal")


def _replayed(storage: "Storage", file: Path, say: Say) -> int:
    """Replay before the tables are brought to a newer version: the journal is of the tables as they were."""
    from annotation.backups.journal import replay

    try:
        return replay(storage, file, say)
    except sqlite3.OperationalError as error:
        raise StudyError(f"The database cannot be brought up to its journal: {error}.") from error
    except sqlite3.DatabaseError:
        return 0  # it is damaged, or none: whoever opens it says so


def _begin(file: Path, known: int) -> bool:
    """Let a database and its journal know each other; return whether the journal begins."""
    with contextlib.closing(sqlite3.connect(file)) as connection:
        (own,) = connection.execute("PRAGMA application_id").fetchone()
        if known and known != own:
            raise StudyError(
                "The journal is of another database than the one that is here. Nothing was changed. Check "
                "MUSICEVAL_JOURNAL_URL and MUSICEVAL_DATA; to begin a new journal, name an empty place."
            )
        if not own:
            connection.execute(f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}")
    return not known


def _refuse_without_journal(file: Path) -> None:
    if not file.exists() or not file.stat().st_size:
        return
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(file)) as connection:
        if connection.execute("PRAGMA application_id").fetchone()[0]:
            raise StudyError(
                "This database has a journal, which would lack what is written now. Set MUSICEVAL_JOURNAL_URL as it "
                "was; or, to go on without, restore a backup into another folder."
            )
