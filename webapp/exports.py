"""Downloads of the page *Studies*; whoever asks is to have passed the administrator's sign-in.

The tables of an export are packed into the data folder, which is not served otherwise, and their link works for
`EXPORT_LIFE_S`. With the clips, gigabytes in a large study, an export is made while it is sent, and a download that
broke off goes on where it was.

Source: RFC 9110, sections 13.1.5 and 14.
"""

import contextlib
import re
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from annotation.archive import Archive
from annotation.export import export, export_as_zip
from core.errors import StudyError
from webapp.listening_api import StudyStore

EXPORTS = "/admin/export"
CLIPS, REPORT = "clips.zip", "report.html"
EXPORT_LIFE_S = 3_600.0
DAY_S = 86_400.0  # what a download of gigabytes may take
_TIME = "%Y%m%dT%H%M%SZ"
_EXPORT_NAME = re.compile(r"[a-z0-9-]+-\d{8}T\d{6}Z\.zip")
_RANGE = re.compile(r"bytes=(?=[^-]|-[^-])(\d{0,18})-(\d{0,18})")
_GONE = "There is no such export any more. Prepare it again on the page Studies."
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Packed:
    """An export that can be downloaded; the hash is that of its manifest."""

    study: str
    name: str
    size_bytes: int
    content_sha256: str
    missing_audio: tuple[str, ...] = ()  # clips whose file is not there

    @property
    def at(self) -> str:
        """When it was packed, as addresses carry it."""
        return self.name.removesuffix(".zip").rpartition("-")[2]

    @property
    def size(self) -> str:
        """The size in words."""
        if self.size_bytes < _MEGABYTE:
            return f"{self.size_bytes / 1000:.0f} kB"
        return f"{self.size_bytes / _MEGABYTE:.1f} MB"


def pack_export(store: StudyStore, study_name: str, at: datetime) -> Packed:
    """Pack the tables of a study for `export_route`; older ones than `EXPORT_LIFE_S` are deleted."""
    folder = store.data / "exports"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # it is packed, and so moved, at this moment
            if path.stat().st_mtime < time.time() - (DAY_S if path.is_dir() else EXPORT_LIFE_S):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    with tempfile.TemporaryDirectory(dir=folder) as work:
        files = Path(work) / f"{study_name}-{at:{_TIME}}"
        manifest = export(store.database, store.data, study_name, files, at)
        packed = Path(work) / f"{files.name}.zip"
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(path for path in files.rglob("*") if path.is_file()):
                archive.write(path, path.relative_to(work))
        size_bytes = packed.stat().st_size
        packed.replace(folder / packed.name)
    return Packed(study_name, packed.name, size_bytes, manifest.content_sha256, tuple(manifest.missing_audio))


def export_route(data: Path) -> Route:
    """Return what serves the packed exports; whoever asks is to have passed the sign-in."""

    def serve(request: Request) -> Response:
        path = data / "exports" / request.path_params["name"]
        if (
            not _EXPORT_NAME.fullmatch(path.name)
            or not path.is_file()
            or path.stat().st_mtime < time.time() - EXPORT_LIFE_S
        ):
            return PlainTextResponse(_GONE, 404)
        return FileResponse(path, media_type="application/zip", filename=path.name)

    return Route(f"{EXPORTS}/{{name}}", serve, methods=["GET"])


def report_route(store: StudyStore) -> Route:
    """Return what serves the report of a study, as it is at that moment."""

    def serve(request: Request) -> Response:
        from annotation.report.document import report  # draws: a second to import

        try:
            found = report(store.database, request.path_params["study"])
        except StudyError as error:
            return PlainTextResponse(str(error), 404)
        file = f'attachment; filename="{found.name}"'
        return Response(found.html(), media_type="text/html", headers={"Content-Disposition": file})

    return Route(f"{EXPORTS}/{{study}}/{REPORT}", serve, methods=["GET"])


def clips_route(store: StudyStore) -> Route:
    """Return what serves exports with the clips, from any byte on: no event of the page waits for it.

    Under an address that carries the time of the export (``?at=``) there are the same bytes until the study changes.
    Whoever goes on with a download tells its ETag (If-Range); from others it is taken that they have what was first
    sent there, as long as that is what there is.
    """
    first: dict[str, str] = {}  # ETags by address

    def serve(request: Request) -> Response:
        at = _asked_time(request.query_params.get("at", ""))
        if at is None:
            return PlainTextResponse(_GONE, 404)
        work = store.data / "exports"
        work.mkdir(parents=True, exist_ok=True)
        try:
            archive = export_as_zip(store.database, store.data, request.path_params["study"], work, at)
        except StudyError as error:
            return PlainTextResponse(str(error), 404)
        tag, address, asked = f'"{archive.tag}"', str(request.url), request.headers.get("range")
        if asked is None and request.method == "GET":
            first.setdefault(address, tag)
        elif request.headers.get("if-range", first.get(address)) != tag:
            asked = None  # it is another file than the one that is to go on
        return _sent(archive, tag, asked, request.method == "HEAD")

    return Route(f"{EXPORTS}/{{study}}/{CLIPS}", serve, methods=["GET"])


def _asked_time(text: str) -> datetime | None:
    """Return the time that an address carries, of the last day; without one, that of now."""
    now = datetime.now(UTC)
    try:
        at = datetime.strptime(text, _TIME).replace(tzinfo=UTC) if text else now
    except ValueError:
        return None
    return at if timedelta(0) <= now - at < timedelta(seconds=DAY_S) else None


def _sent(archive: Archive, tag: str, asked: str | None, head: bool) -> Response:
    """Answer with an archive, or the one range of it that is asked for; several ranges are answered with all."""
    headers = {"accept-ranges": "bytes", "content-disposition": f'attachment; filename="{archive.name}"', "etag": tag}
    start, end, status = 0, archive.size, 200
    part = _part(asked or "", archive.size)
    if part:
        (start, end), status = part, 206
        headers["content-range"] = f"bytes {start}-{end - 1}/{archive.size}"
        if start >= end:
            return Response(status_code=416, headers={"content-range": f"bytes */{archive.size}"})
    headers["content-length"] = str(end - start)
    if head:
        return Response(None, status, headers, "application/zip")
    return StreamingResponse(archive.read(start, end), status, headers, "application/zip")


def _part(asked: str, size: int) -> tuple[int, int] | None:
    """Return where a range begins and ends, nowhere if it is behind the end; None for what is none, or several."""
    found = _RANGE.fullmatch(asked)
    if not found:
        return None
    first, last = found.groups()
    if not first:
        return max(size - int(last), 0), size
    end = int(last) + 1 if last else size
    return (int(first), min(end, size)) if not last or int(first) < end else None
