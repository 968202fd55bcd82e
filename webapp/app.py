"""The server: the listening test at `PREFIX`, who may administrate, and everything else handed on to the pages.

Raters wait for nothing but their database. What takes time or memory (models, uploads, Gradio, figures) is in
another process; on the one port that a Space has, this one is in front.
"""

import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import RedirectResponse

from core.command import EXIT_MISTAKE, EXIT_OK
from core.errors import SettingsError, shown_name
from core.settings import Settings
from webapp import logs
from webapp.audit import Audit
from webapp.auth import Administration, Login
from webapp.bodies import Bodies, shares_disk
from webapp.connections import BoundedConnection, QuietServer, most_connections
from webapp.guard import ADMIN, Guard
from webapp.headers import SecurityHeaders
from webapp.health import health_routes
from webapp.hugging_face import HuggingFace
from webapp.listening_api import PREFIX, StudyStores, listening_app
from webapp.logs import RequestLog, Routes, UnderWay
from webapp.metrics import Metrics, metrics_route, server_registry
from webapp.pages_process import PagesProcess
from webapp.retention import DAY_S

_ANSWERS_S = 6.0  # for answers that are under way when the server ends; a journal has 4 for each
_END_S = 1  # for what else is under way then
_SWITCH_S = 0.0005  # so long the thread that writes ratings waits, after each statement, for the one that answers


def build_app(pages: Starlette, settings: Settings) -> FastAPI:
    """Put the listening test before the pages; open its database.

    Raises
    ------
    StudyError
        If the database cannot be used.
    """
    os.umask(0o077)  # folders and files are made for the server's user alone
    stores = StudyStores(settings)
    settings.data.mkdir(parents=True, exist_ok=True)  # which a database elsewhere does not make
    _name_open_folder(settings.data)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pages.router.lifespan_context(pages):
            yield
        stores.close()

    disk = stores.real.database.folder or settings.data  # the clips' alone, where PostgreSQL has the ratings
    reserve_bytes = settings.reserve_bytes if shares_disk(disk) else 0
    app = FastAPI(lifespan=lifespan, openapi_url=None)
    signs_in = HuggingFace.of_space(settings.admin_users)
    address = _admin_address(settings)
    administration = Administration(settings.admin_password, address, logs.say, stores.deadlines, signs_in)
    app.state.administration = administration
    app.state.pages = pages
    app.add_route(PREFIX, lambda _: RedirectResponse(f".{PREFIX}/"))
    listening = listening_app(stores)
    app.state.answers = UnderWay(listening)
    app.mount(PREFIX, app.state.answers)
    app.router.routes.extend(health_routes(stores.real.database, disk, pages))
    if settings.metrics_token:
        registry = server_registry(stores.real.database)
        app.router.routes.append(metrics_route(settings.metrics_token, registry, pages))
    app.mount("/", pages)
    app.add_middleware(Login, administration=administration, audit=Audit(settings.data, days=settings.audit_days))
    app.add_middleware(Guard)
    app.add_middleware(
        Bodies,
        max_bytes=settings.max_bytes,
        reserve_bytes=reserve_bytes,
        visitor_bytes=settings.visitor_bytes,
        kept_s=settings.kept_days * DAY_S,
    )
    app.add_middleware(SecurityHeaders, framed_by_spaces=_on_space())
    routes = Routes(PREFIX, listening.routes)
    if settings.metrics_token:
        app.add_middleware(Metrics, registry=registry, routes=routes)
    if settings.log == "json":
        app.add_middleware(RequestLog, routes=routes)
    return app


def _name_open_folder(data: Path) -> None:
    """Say where other users may look into a data folder that was there before; it may be anything, so it stays so."""
    if data.is_dir() and data.stat().st_mode & 0o077:
        logs.say(f"Other users of this machine may look into {shown_name(data.name)}, the data folder: chmod 700 it.")


def serve_all(settings: Settings, process: PagesProcess) -> int:
    """Serve everything until interrupted, the pages by their process; return the exit code."""
    logs.begin(settings.log)
    sys.setswitchinterval(_SWITCH_S)
    app = build_app(process.app(), settings)
    gc.freeze()
    gc.enable()
    serve(app, settings, process)
    return EXIT_MISTAKE if process.refused else EXIT_OK


def serve(app: FastAPI, settings: Settings, process: PagesProcess | None = None) -> None:
    """Serve an app until interrupted, or its pages refuse to; on a Hugging Face Space the host is always 0.0.0.0."""
    host = "0.0.0.0" if _on_space() else settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"{settings.host}:{settings.port} cannot be listened on. Is another program using the port? "
            "Set MUSICEVAL_PORT (and MUSICEVAL_HOST) to what is free."
        ) from error
    BoundedConnection.most = most_connections()
    logs.say(f"MusicEval is at {_address(settings)} (Ctrl+C stops it)")
    app.state.administration.show_link()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as after Ctrl+C: uploads go
    with listener, contextlib.suppress(KeyboardInterrupt):
        _Server(server_config(app, settings), process, app.state.answers).run(sockets=[listener])


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return what uvicorn is told; its own default believes every proxy on this machine."""
    proxies = [part.strip() for part in settings.trusted_proxies.split(",") if part]
    return uvicorn.Config(
        app,
        port=settings.port,
        log_level="warning",
        timeout_graceful_shutdown=_END_S,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        server_header=False,
        http=BoundedConnection,
        ws="none",  # the pages have no use for it, and what guards them looks at plain requests alone
        **logs.of_uvicorn(),
    )


def _on_space() -> bool:
    return "SPACE_ID" in os.environ


def _address(settings: Settings) -> str:
    """Return where the pages are, as somebody at this machine may open them."""
    host = "0.0.0.0" if _on_space() else settings.host.strip("[]")
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{settings.port}/"


def _admin_address(settings: Settings) -> str:
    """Return where the terminal may say that the administrator's page is: nowhere where its log is read by others."""
    return "" if _on_space() or settings.log == "json" else f"{_address(settings)}{ADMIN.lstrip('/')}"


class _Server(QuietServer):
    def __init__(self, config: uvicorn.Config, process: PagesProcess | None, answers: UnderWay) -> None:
        super().__init__(config)
        self._process = process
        self._answers = answers

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, finish the answers that are under way, and say how many these were."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        finished, left = await self._answers.finish(_ANSWERS_S)
        await super().shutdown(sockets)
        logs.say_ended(finished, left)

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end; called by uvicorn ten times a second."""
        return await super().on_tick(counter) or (self._process is not None and self._process.refused)
