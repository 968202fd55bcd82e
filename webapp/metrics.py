"""`/metrics`, for Prometheus: how much is asked, rated and scored, and how long it takes.

There only where `MUSICEVAL_METRICS_TOKEN` is set, for whoever sends it. Labels are routes, methods and statuses:
nothing of a rater, a study or a visitor. The pages, a process of their own, count in `PAGES`; the server asks them for
it, with a header that nobody else can send.
"""

import secrets
import time
from collections.abc import Callable, Iterable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from annotation.database import Database, now
from annotation.schema import Batch
from annotation.schema import Response as Rated
from webapp.guard import OWN
from webapp.health import ask_pages
from webapp.logs import Routes, shown_method

PATH = "/metrics"
_INSIDE = f"{OWN}metrics"

PAGES = CollectorRegistry()
SCORING = Histogram(
    "musiceval_scoring_seconds",
    "Time in which one clip, or a list, was read and scored",
    ["what"],
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800),
    registry=PAGES,
)
WAITING = Gauge("musiceval_waiting_events", "Events of the pages that wait for their turn", registry=PAGES)
ProcessCollector(namespace="musiceval_pages", registry=PAGES)


class Metrics:
    """ASGI middleware that times requests until their answers begin."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry, routes: Routes) -> None:
        self.app = app
        self._routes = routes
        self._seconds = Histogram(
            "musiceval_request_seconds",
            "Time until the answer to a request began",
            ["method", "route", "status"],
            registry=registry,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and time it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began_s = time.perf_counter()
        labels = shown_method(scope["method"]), self._routes.of(scope["path"])

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._seconds.labels(*labels, message["status"]).observe(time.perf_counter() - began_s)
            await send(message)

        await self.app(scope, receive, sending)


class _Studies(Collector):
    """What stands in the database, counted when it is asked for."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterable[Metric]:
        counted = select(func.count()).select_from
        with self._database.read() as session:
            ratings = session.scalar(counted(Rated))
            opened = counted(Batch).where(Batch.state == "open")
            running = session.scalar(opened.where(Batch.lease_until > now(session)))
            every = session.scalar(opened)
        yield GaugeMetricFamily("musiceval_ratings", "Clips rated by raters, in all studies", ratings)
        batches = GaugeMetricFamily("musiceval_open_batches", "Batches that raters have in hand", labels=["lease"])
        batches.add_metric(["running"], running or 0)
        batches.add_metric(["lapsed"], (every or 0) - (running or 0))
        yield batches


def server_registry(database: Database) -> CollectorRegistry:
    """Return what the server counts, but for requests."""
    registry = CollectorRegistry()
    registry.register(_Studies(database))
    ProcessCollector(namespace="musiceval_server", registry=registry)
    return registry


def metrics_route(token: str, registry: CollectorRegistry, pages: ASGIApp) -> Route:
    """Return the route of the server, which adds what the pages count, while they answer."""

    async def metrics(request: Request) -> Response:
        given = request.headers.get("authorization", "")
        if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return PlainTextResponse("Send the token of MUSICEVAL_METRICS_TOKEN.", 401, {"WWW-Authenticate": "Bearer"})
        own = await run_in_threadpool(generate_latest, registry)
        status, theirs = await ask_pages(pages, PATH, [(_INSIDE.encode(), b"1")])
        return _told(own + (theirs if status == 200 else b""))

    return Route(PATH, metrics, methods=["GET"])


def pages_route(waiting: Callable[[], float]) -> Route:
    """Return the route of the pages, for the server alone; `waiting` counts the events that wait."""
    WAITING.set_function(waiting)

    async def metrics(request: Request) -> Response:
        if _INSIDE not in request.headers:
            return PlainTextResponse("This address is not served.", 404)
        return _told(generate_latest(PAGES))

    return Route(PATH, metrics, methods=["GET"])


def _told(text: bytes) -> Response:
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})
