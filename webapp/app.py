"""The pages behind one server: scoring and the listening test for everybody, `ADMIN` for the administrator.

Both are Gradio's; what is not (the listening test's routes, the tool for language models, downloads) stands
before them. What is passed to Gradio is complete on purpose: an argument left out may be set from outside.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute

from core.errors import SettingsError, shown_name
from core.settings import Settings
from core.training.manager import RunManager
from webapp.audit import Audit, AuditedBlocks
from webapp.auth import Administration, Login
from webapp.bodies import Bodies
from webapp.connections import BoundedConnection, most_connections
from webapp.guard import ADMIN, KEPT_S, Guard, GuardedBlocks, drop_old_uploads, shut_environment
from webapp.handlers import BY_ITSELF, PRIVATE, told
from webapp.headers import SecurityHeaders
from webapp.html import render
from webapp.judge import Judge
from webapp.listening import build_rating_tab
from webapp.listening_api import PREFIX, StudyStore, StudyStores, listening_app
from webapp.mcp_tool import ScoreTool
from webapp.score import EXAMPLES, build_score_tab, load_examples
from webapp.study import build_study_tab
from webapp.theme import STYLE, banner, build_theme, palette_css
from webapp.training import build_training_tab, train_from_study

_HERE = Path(__file__).parent / "static"
_HOUR_S = 3_600
_OPEN_NAMED_TAB = "() => musicEvalOpen()"
_Blocks = TypeVar("_Blocks", bound=GuardedBlocks)
_END_S = 1  # for what is under way when the server ends


def build_app(judge: Judge, settings: Settings) -> FastAPI:
    """Lay out the pages, and open the database of the listening tests.

    Raises
    ------
    StudyError
        If the database cannot be used.
    """
    os.umask(0o077)  # folders and files are made for the server's user alone
    stores = StudyStores(settings)
    _name_open_folder(settings.data)
    shut_environment(os.environ)
    drop_old_uploads()
    tool = ScoreTool(judge)
    visitors = _visitors_page(judge)
    administration = Administration(settings.admin_password, _admin_address(settings), _say)
    audit = Audit(settings.data)
    administrators, exports = _admin_page(judge, settings, stores.real, audit, administration)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with tool.lifespan(app):
            yield
        stores.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.mount(PREFIX, listening_app(stores))
    app.router.routes.extend([*tool.routes, *exports])
    app.state.administration = administration
    app.add_middleware(Login, administration=administration, audit=audit)
    app.add_middleware(Guard)
    app.add_middleware(Bodies, max_bytes=judge.limits.max_bytes)
    app.add_middleware(SecurityHeaders, framed_by_spaces=_on_space())
    theme = build_theme()
    for page, path in ((administrators, ADMIN.rstrip("/")), (visitors, "/")):
        page.has_launched = True  # as launch() says; else Gradio 6.31 opens whatever path a caller names
        gr.mount_gradio_app(app, page, path, **_mounting(settings, theme, path))
    return app


def _name_open_folder(data: Path) -> None:
    """Say where other users may look into a data folder that was there before; it may be anything, so it stays so."""
    if data.is_dir() and data.stat().st_mode & 0o077:
        _say(f"Other users of this machine may look into {shown_name(data.name)}, the data folder: chmod 700 it.")


def _page(kind: type[_Blocks], title: str) -> _Blocks:
    page = kind(title=title, analytics_enabled=False, delete_cache=(_HOUR_S, KEPT_S))
    page.queue(api_open=False, max_size=64)
    return page


def _tab(name: str, title: str) -> gr.Tab:
    return gr.Tab(title, id=name, elem_id=f"{name}-tab")


def _visitors_page(judge: Judge) -> GuardedBlocks:
    def show_banner() -> str:
        return banner(judge.scorer.checkpoint)

    page = _page(GuardedBlocks, "MusicEval")
    with page:
        gr.HTML(render("header.html", admin=False), apply_default_css=False)
        with gr.Tabs():
            with _tab("score", "Score"):
                note = build_score_tab(page, judge, load_examples())
            with _tab("listening", "Listening test"):
                build_rating_tab()
        page.load(show_banner, None, note, **BY_ITSELF)
        page.load(None, js=_OPEN_NAMED_TAB, **PRIVATE)
    return page


def _admin_page(
    judge: Judge, settings: Settings, store: StudyStore, audit: Audit, administration: Administration
) -> tuple[GuardedBlocks, list[BaseRoute]]:
    """Lay out the administrator's page; also return the routes of its downloads."""
    runs = RunManager(settings.models, settings.cache)
    page = _page(AuditedBlocks, "MusicEval administration")
    page.audit, page.who = audit, administration.who
    with page:
        gr.HTML(render("header.html", admin=True), apply_default_css=False)
        with gr.Tabs():
            with _tab("studies", "Studies"):
                exports = build_study_tab(page, store, lambda study: train_from_study(runs, store, study))
            with _tab("training", "Training") as tab:
                build_training_tab([page.load, tab.select], judge, runs, store)
            with _tab("log", "Log") as tab:
                log = gr.HTML(apply_default_css=False)
                gr.on([page.load, tab.select], told(audit.table), None, log, **BY_ITSELF)
        page.load(None, js=_OPEN_NAMED_TAB, **PRIVATE)
    return page, exports


def _mounting(settings: Settings, theme: gr.themes.Base, path: str) -> dict[str, Any]:
    """Everything that `gr.mount_gradio_app` is told."""
    script = (_HERE / "shell.js").read_text(encoding="utf-8")
    return {
        "theme": theme,
        "css": f"{palette_css()}\n{STYLE}",
        "head": f'<meta name="color-scheme" content="light dark"><script>{script}</script>',
        "favicon_path": str(_HERE / "favicon.svg") if path == "/" else None,
        "footer_links": [],
        "max_file_size": settings.limits.max_bytes,
        "allowed_paths": [str(EXAMPLES)],
        "blocked_paths": [],
        "root_path": "",
        "app_kwargs": {"openapi_url": None},
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "show_error": False,
    }


def serve(app: FastAPI, settings: Settings) -> None:
    """Serve the pages until interrupted; on a Hugging Face Space the host is always 0.0.0.0."""
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
    _say(f"MusicEval is at {_address(settings)} (Ctrl+C stops it)")
    app.state.administration.show_link()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as after Ctrl+C: uploads go
    with listener, contextlib.suppress(KeyboardInterrupt):
        _Server(server_config(app, settings)).run(sockets=[listener])


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
    )


def _on_space() -> bool:
    return "SPACE_ID" in os.environ


def _address(settings: Settings) -> str:
    """Return where the pages are, as somebody at this machine may open them."""
    host = "0.0.0.0" if _on_space() else settings.host.strip("[]")
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{settings.port}/"


def _admin_address(settings: Settings) -> str:
    """Return where the terminal may say that the administrator's page is: nowhere on a Space, whose log others read."""
    return "" if _on_space() else f"{_address(settings)}{ADMIN.lstrip('/')}"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: Any) -> None:
        """End; each open page has a connection that is cut off, and none of them is to be logged."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)
