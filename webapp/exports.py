"""Downloads of the page *Studies*; whoever asks is to have passed the administrator's sign-in.

The tables of an export are packed into the data folder, which is not served otherwise, and their link works for
`EXPORT_LIFE_S`. With the clips, gigabytes in a large study, an export is made while it is sent.
"""

import contextlib
import re
import shutil
import tempfile
import time
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from annotation.export import export, export_as_zip
from core.errors import StudyError
from webapp.listening_api import StudyStore

EXPORTS = "/admin/export"
CLIPS = "clips.zip"
EXPORT_LIFE_S = 3_600.0
DAY_S = 86_400.0  # what a download of gigabytes may take
_EXPORT_NAME = re.compile(r"[a-z0-9-]+-\d{8}T\d{6}Z\.zip")
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
        files = Path(work) / f"{study_name}-{at:%Y%m%dT%H%M%SZ}"
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


def clips_route(store: StudyStore) -> Route:
    """Return what serves exports with the clips, each made while it is sent: no event of the page waits for it."""

    def serve(request: Request) -> Response:
        study = request.path_params["study"]
        if request.method == "HEAD":
            return Response(media_type="application/zip")
        work = store.data / "exports"
        work.mkdir(parents=True, exist_ok=True)
        try:
            name, content = export_as_zip(store.database, store.data, study, work, datetime.now(UTC))
        except StudyError as error:
            return PlainTextResponse(str(error), 404)
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(content, media_type="application/zip", headers=headers)

    return Route(f"{EXPORTS}/{{study}}/{CLIPS}", serve, methods=["GET"])
