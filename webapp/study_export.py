"""Downloads of a study's export: packed for an administrator, and given out once.

A browser downloads by an address alone and sends no sign-in with it. So the address holds a ticket: long and
random, made only for a signed-in administrator, good for one download within `LIFE_S`. The packed file lies
in the data folder, which is not served otherwise, and is deleted with its ticket.
"""

import atexit
import secrets
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from annotation.output.export import export
from webapp.venues import Venue

PREFIX = "/study/export"
LIFE_S = 600.0
_TICKET_BYTES = 32
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_GONE = "This download has been used, or has expired. Prepare the export again on the Study tab."


@dataclass(frozen=True)
class Ticket:
    """A download that waits.

    Attributes
    ----------
    address : str
        Relative to the page.
    name : str
        Of the file.
    size_bytes : int
    content_sha256 : str
        Of the export, as its manifest has it.
    """

    address: str
    name: str
    size_bytes: int
    content_sha256: str


class Exports:
    """The downloads of a server.

    Parameters
    ----------
    venue : Venue
        Where the studies are.
    clock : callable
        Gives seconds that never run backwards.
    """

    def __init__(self, venue: Venue, clock: Callable[[], float] = time.monotonic) -> None:
        self._venue = venue
        self._clock = clock
        self._waiting: dict[str, tuple[float, Path]] = {}
        self._lock = threading.Lock()
        self._folder = venue.data / "exports"
        _drop_old(self._folder)
        atexit.register(self.close)

    @property
    def route(self) -> Route:
        """What serves the downloads, each once."""
        return Route(f"{PREFIX}/{{ticket}}", self._serve, methods=["GET"])

    def prepare(self, study_name: str, at: datetime) -> Ticket:
        """Pack an export.

        Raises
        ------
        StudyError
            If there is no such study, or it cannot be written.
        """
        self._forget_expired()
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            name = f"{study_name}-{at:%Y%m%dT%H%M%SZ}"
            manifest = export(self._venue.database, self._venue.data, study_name, Path(work) / name, at)
            secret = secrets.token_urlsafe(_TICKET_BYTES)
            packed = self._folder / f"{secrets.token_hex(16)}-{name}.zip"
            try:
                _pack(Path(work) / name, packed)
            except BaseException:
                packed.unlink(missing_ok=True)
                raise
        with self._lock:
            self._waiting[secret] = (self._clock() + LIFE_S, packed)
        size_bytes = packed.stat().st_size
        return Ticket(f"{PREFIX[1:]}/{secret}", f"{name}.zip", size_bytes, manifest["content_sha256"])

    def close(self) -> None:
        """Delete what nobody has fetched."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        for _, packed in waiting.values():
            packed.unlink(missing_ok=True)

    def _serve(self, request: Request) -> Response:
        if request.method == "HEAD":  # a look at the headers is no download
            return PlainTextResponse(_GONE, 405, headers=_HEADERS)
        self._forget_expired()
        with self._lock:
            _, packed = self._waiting.pop(request.path_params["ticket"], (0.0, None))
        if packed is None:
            return PlainTextResponse(_GONE, 404, headers=_HEADERS)
        name = packed.name.partition("-")[2]
        done = BackgroundTask(packed.unlink, missing_ok=True)
        return FileResponse(packed, 200, _HEADERS, "application/zip", done, name)

    def _forget_expired(self) -> None:
        now = self._clock()
        with self._lock:
            expired = {ticket: packed for ticket, (end, packed) in self._waiting.items() if end <= now}
            for ticket in expired:
                del self._waiting[ticket]
        for packed in expired.values():
            packed.unlink(missing_ok=True)


def _pack(folder: Path, packed: Path) -> None:
    """Clips hardly shrink, so they are stored as they are."""
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            method = zipfile.ZIP_STORED if path.suffix == ".wav" else zipfile.ZIP_DEFLATED
            archive.write(path, Path(folder.name) / path.relative_to(folder), method)


def _drop_old(folder: Path) -> None:
    """Delete what a killed server left behind, and nothing that another may be giving out."""
    oldest_s = time.time() - LIFE_S
    for path in folder.glob("*"):
        if path.stat().st_mtime >= oldest_s:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
