"""What was done as the administrator, when and by whom: lines of JSON in the data folder, only ever added.

Where `MUSICEVAL_AUDIT_DAYS` says how long they are kept, older ones go.

A file of its own and not the database: a line waits for no rater's transaction, and stays when a database is
exchanged. Failed sign-ins are noted a few a minute, with the number of those that were not, so that strangers
cannot fill the disk. Changes from the command line stand in the database alone, as far as they are of ratings.
"""

import json
import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from markupsafe import Markup

from annotation.studies import shown_time
from core.files import write_atomically
from webapp.guard import RateLimit
from webapp.html import html_table
from webapp.retention import DAY_S

FILE = "audit.jsonl"
SHOWN = 200
_FAILURES = (10, 60.0)  # noted at once, and seconds until one more
_READ_BYTES = 100_000
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One thing that was done; `done` is false where it was tried and refused."""

    at: str
    what: str
    who: str  # the session and its address, or the address alone
    about: str
    done: bool


class Audit:
    """The log of a data folder; `clock` gives seconds that never run backwards.

    With `days`, older lines go before the first line is added and, after that, once a day.
    """

    def __init__(self, data: Path, clock: Callable[[], float] = time.monotonic, days: float | None = None) -> None:
        self._path = data / FILE
        self._days, self._clock, self._drops_at_s = days, clock, -math.inf
        self._failures = RateLimit(*_FAILURES, clock)
        self._unnoted = 0
        self._lock = threading.Lock()

    def note(self, what: str, who: str, about: str = "", done: bool = True) -> None:
        """Add a line; where that fails the server's own log says so, and what was done stays done."""
        at = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps(asdict(Entry(at, what, who, about, done)))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock, FileLock(f"{self._path}.lock"):
                self._drop_old()
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(f"{line}\n")
        except OSError as error:
            _logger.error("the audit log cannot be written (%s): %s", error.strerror, line)

    def _drop_old(self) -> None:
        if self._days is None or self._clock() < self._drops_at_s or not self._path.exists():
            return
        self._drops_at_s = self._clock() + DAY_S
        oldest = (datetime.now(UTC) - timedelta(days=self._days)).isoformat(timespec="seconds")
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line)["at"] >= oldest]
        if len(kept) < len(lines):
            write_atomically(self._path, "".join(kept).encode())

    def note_failure(self, what: str, who: str) -> None:
        """Add a line of a sign-in that failed, unless there were many just now."""
        if self._failures.take(""):
            self._unnoted += 1
            return
        unnoted, self._unnoted = self._unnoted, 0
        self.note(what, who, f"{unnoted} more before that are not noted" if unnoted else "", done=False)

    def latest(self) -> list[Entry]:
        """Return the latest entries, the newest first."""
        try:
            with self._path.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - _READ_BYTES))
                lines = file.read().splitlines()
        except FileNotFoundError:
            return []
        if sum(map(len, lines)) + len(lines) >= _READ_BYTES:
            del lines[0]  # it was cut
        return [Entry(**json.loads(line)) for line in lines[: -SHOWN - 1 : -1]]

    def table(self) -> Markup:
        """Show the latest entries."""
        rows = [
            (entry.what, entry.about or "–", "done" if entry.done else "refused", entry.who, shown_time(entry.at))
            for entry in self.latest()
        ]
        heads = ("What", "About", "Outcome", "By", "When")
        return html_table(f"What was done here, the latest {SHOWN} first", heads, rows, "Nothing was done so far.")
