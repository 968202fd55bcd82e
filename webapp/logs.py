"""The server's log: text, or with ``MUSICEVAL_LOG=json`` one JSON object a line, for a program that collects them.

As JSON it has a line for each request too, and nothing personal: no address, token, prompt, file name or comment. So of
a request it has the route and not the path; of a message its fixed words, not what was put in; of an error its kind and
where in the code it was raised, not what it says; of other programs' messages where they come from. Source:
https://docs.python.org/3/howto/logging-cookbook.html#implementing-structured-logging.
"""

import asyncio
import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import counted
from webapp.guard import ADMIN

Kind = Literal["text", "json"]

NOTED = "musiceval.noted"  # of a request's scope: what its route adds to the line
_FIELDS = ("study", "trial", "method", "route", "status", "duration_s", "answers", "left", "details")
_OURS = ("app", "webapp", "annotation", "core", "uvicorn")  # whose messages have fixed words
_PUT_IN = re.compile(r"%[-#0-9.]*[a-z]")
_PLACES = 12  # of an error, the innermost
_METHODS = ("GET", "HEAD", "POST")
_OWN_ROUTES = ("/health", "/ready", "/metrics")
_log = logging.getLogger(__name__)


class JsonLines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at, "level": record.levelname.lower(), "event": _event(record)}
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0]:
            line |= {"error": record.exc_info[0].__name__, "where": _where(record.exc_info[2])}
        return json.dumps(line, ensure_ascii=False)


def _event(record: logging.LogRecord) -> str:
    if record.name.partition(".")[0] not in _OURS:
        return f"a message of {record.name}, {Path(record.pathname).name} line {record.lineno}"
    return " ".join(_PUT_IN.sub("…", str(record.msg)).split())


def _where(trace: Any) -> list[str]:
    frames = traceback.extract_tb(trace)[-_PLACES:]
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def begin(kind: Kind) -> None:
    """Let every logger of this process write so, warnings too."""
    if kind == "json":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
        logging.basicConfig(handlers=[handler], level="WARNING", force=True)
        logging.captureWarnings(True)
        for name in _OURS:
            logging.getLogger(name).setLevel("INFO")
        for name in ("uvicorn", "uvicorn.error"):  # where an earlier server of the process has given them handlers
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True


def is_json() -> bool:
    """Return whether this process logs as JSON."""
    return any(isinstance(handler.formatter, JsonLines) for handler in logging.getLogger().handlers)


def of_uvicorn() -> dict[str, Any]:
    """Return what uvicorn is told: with JSON its loggers have no handlers of their own."""
    return {"log_config": None} if is_json() else {}


def say(line: str) -> None:
    """Say something to whoever started the server."""
    if is_json():
        _log.info("said", extra={"details": line})
    else:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def say_ended(finished: int, left: int) -> None:
    """Say that the server has ended, how many answers under way it finished, and how many not."""
    if is_json():
        _log.info("ended", extra={"answers": finished, "left": left})
        return
    unfinished = f" {left} could not be finished, and will be sent again by the page." if left else ""
    say(f"MusicEval has ended, and finished {counted(finished, 'answer')} that raters had under way.{unfinished}")


class Routes:
    """What paths count as; `raters` are the routes at `prefix`."""

    def __init__(self, prefix: str, raters: Iterable[BaseRoute]) -> None:
        self._prefix = prefix
        self._raters = [route for route in raters if isinstance(route, Route)]

    def of(self, path: str) -> str:
        """Return what a path counts as: one of few words, whatever is asked for."""
        if path.startswith(f"{self._prefix}/"):
            inner = path.removeprefix(self._prefix)
            found = (route.path for route in self._raters if route.path_regex.match(inner))
            return f"{self._prefix}{next(found, '/other')}"
        if path in _OWN_ROUTES:
            return path
        return "/admin" if f"{path}/".startswith(ADMIN) else "pages"


def shown_method(method: str) -> str:
    """Return a request's method, one of few words."""
    return method if method in _METHODS else "other"


class RequestLog:
    """ASGI middleware that logs each request when its answer is whole, or it ended without one."""

    def __init__(self, app: ASGIApp, routes: Routes) -> None:
        self.app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began_s, status, noted = time.perf_counter(), 0, dict[str, int]()

        async def sending(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app({**scope, NOTED: noted}, receive, sending)
        finally:
            seen: dict[str, Any] = {"method": shown_method(scope["method"]), "route": self._routes.of(scope["path"])}
            seen |= {"status": status, "duration_s": round(time.perf_counter() - began_s, 4), **noted}
            _log.info("request", extra=seen)


class UnderWay:
    """ASGI middleware that counts what is under way: the answers of raters, before the server ends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count it if it is to change something."""
        counts = scope["type"] == "http" and scope["method"] == "POST"
        self._count += counts
        try:
            await self.app(scope, receive, send)
        finally:
            self._count -= counts

    async def finish(self, within_s: float) -> tuple[int, int]:
        """Wait for what is under way; return how many were finished, and how many were not."""
        begun, ends = self._count, time.monotonic() + within_s
        while self._count and time.monotonic() < ends:
            await asyncio.sleep(0.05)
        return max(begun - self._count, 0), self._count
