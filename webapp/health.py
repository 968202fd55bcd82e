"""`/health` and `/ready`, for whatever keeps the server going: a container's health check, a proxy, a monitor.

`/health` answers as long as the process does. `/ready` says of each part whether visitors and raters can be served: the
database answers, no damage of it was met and no other server has taken its journal over, its disk can be written and
has room for ratings, and the pages, a process of their own, answer. Neither tells anything of a study, nor needs a
sign-in.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Scope

from annotation.database import Database
from core.errors import StudyError

WITHIN_S = 5.0  # that a part has to answer in
LEAST_FREE_BYTES = 100_000_000  # of the database's disk: a study of the paper's size has 30 MB of ratings
_PATH = "/gradio_api/app_id"
_SCOPE: Scope = {
    **{"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "root_path": "", "query_string": b""},
    **{"client": ("127.0.0.1", 0), "server": ("127.0.0.1", 80)},
    "headers": [(b"host", b"127.0.0.1")],
}


def health_routes(database: Database, disk: Path, pages: ASGIApp) -> list[Route]:
    """Return both routes."""

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "alive"})

    async def ready(_: Request) -> JSONResponse:
        checks = (
            run_in_threadpool(_sound, _database_answers, database),
            run_in_threadpool(_sound, _has_room, disk),
            _pages_answer(pages),
        )
        found = dict(zip(("database", "disk", "pages"), await asyncio.gather(*checks), strict=True))
        every = all(found.values())
        parts = {part: "ready" if sound else "not ready" for part, sound in found.items()}
        parts |= {"database": "damaged"} if database.damaged else {}
        parts |= {"database": "taken over by another server"} if database.taken_over else {}
        return JSONResponse({"status": "ready" if every else "not ready", **parts}, 200 if every else 503)

    return [Route("/health", health, methods=["GET"]), Route("/ready", ready, methods=["GET"])]


def _sound(check: Callable[..., bool], *given: object) -> bool:
    try:
        return check(*given)
    except (OSError, StudyError, SQLAlchemyError):
        return False


def _database_answers(database: Database) -> bool:
    with database.read() as session:
        return bool(session.execute(text("SELECT 1")).scalar_one()) and not (database.damaged or database.taken_over)


def _has_room(folder: Path) -> bool:
    writable = not os.statvfs(folder).f_flag & os.ST_RDONLY
    return writable and shutil.disk_usage(folder).free >= LEAST_FREE_BYTES


async def _pages_answer(pages: ASGIApp) -> bool:
    """Ask the pages for what they answer at once, as a visitor's browser would."""
    status, _ = await ask_pages(pages, _PATH)
    return status == 200


async def ask_pages(pages: ASGIApp, path: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> tuple[int, bytes]:
    """Ask the pages for a path; return their status and answer, or 503 where none comes in `WITHIN_S`."""
    asked, told = asyncio.Event(), list[Message]()
    scope = {**_SCOPE, "path": path, "raw_path": path.encode(), "headers": [*_SCOPE["headers"], *headers]}

    async def receive() -> Message:
        if asked.is_set():
            await asyncio.Event().wait()  # this visitor stays until there is an answer
        asked.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        told.append(message)

    try:
        await asyncio.wait_for(pages(scope, receive, send), WITHIN_S)
    except Exception:  # noqa: BLE001 - whatever keeps them from answering
        return 503, b""
    return (told[0]["status"] if told else 503), b"".join(one.get("body", b"") for one in told)
