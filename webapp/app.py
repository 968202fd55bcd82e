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
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.routing import BaseRoute

from core.errors import SettingsError
from core.settings import Settings
from core.training.manager import RunManager
from webapp.auth import Administration, Login
from webapp.guard import ADMIN, KEPT_S, Guard, GuardedBlocks, drop_old_uploads, shut_environment
from webapp.handlers import BY_ITSELF, PRIVATE
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
_END_S = 1  # for what is under way when the server ends


def build_app(judge: Judge, settings: Settings) -> FastAPI:
    """Lay out the pages, and open the database of the listening tests.

    Raises
    ------
    StudyError
        If the database cannot be used.
    """
    stores = StudyStores(settings)
    shut_environment(os.environ)
    drop_old_uploads()
    tool = ScoreTool(judge)
    visitors = _visitors_page(judge)
    administrators, exports = _admin_page(judge, settings, stores.real)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with tool.lifespan(app):
            yield
        stores.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.mount(PREFIX, listening_app(stores))
    app.router.routes.extend([*tool.routes, *exports])
    app.add_middleware(Login, administration=Administration(settings, os.environ))
    app.add_middleware(Guard, max_bytes=judge.limits.max_bytes)
    theme = build_theme()
    for page, path in ((administrators, ADMIN.rstrip("/")), (visitors, "/")):
        page.has_launched = True  # as launch() says; else Gradio 6.31 opens whatever path a caller names
        gr.mount_gradio_app(app, page, path, **_mounting(settings, theme, path))
    return app


def _page(title: str) -> GuardedBlocks:
    page = GuardedBlocks(title=title, analytics_enabled=False, delete_cache=(_HOUR_S, KEPT_S))
    page.queue(api_open=False, max_size=64)
    return page


def _tab(name: str, title: str) -> gr.Tab:
    return gr.Tab(title, id=name, elem_id=f"{name}-tab")


def _visitors_page(judge: Judge) -> GuardedBlocks:
    def show_banner() -> str:
        return banner(judge.scorer.checkpoint)

    page = _page("MusicEval")
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


def _admin_page(judge: Judge, settings: Settings, store: StudyStore) -> tuple[GuardedBlocks, list[BaseRoute]]:
    """Lay out the administrator's page; also return the routes of its downloads."""
    runs = RunManager(settings.models, settings.cache)
    with _page("MusicEval administration") as page:
        gr.HTML(render("header.html", admin=True, sign_out=bool(settings.admin_password)), apply_default_css=False)
        with gr.Tabs():
            with _tab("studies", "Studies"):
                exports = build_study_tab(page, store, lambda study: train_from_study(runs, store, study))
            with _tab("training", "Training") as tab:
                build_training_tab([page.load, tab.select], judge, runs, store)
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
    host = "0.0.0.0" if "SPACE_ID" in os.environ else settings.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsError(
            f"{settings.host}:{settings.port} cannot be listened on. Is another program using the port? "
            "Set MUSICEVAL_PORT (and MUSICEVAL_HOST) to what is free."
        ) from error
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_END_S)
    shown = "localhost" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
    sys.stdout.write(f"MusicEval is at http://{shown}:{settings.port}/ (Ctrl+C stops it)\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as after Ctrl+C: uploads go
    with listener, contextlib.suppress(KeyboardInterrupt):
        _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    def handle_exit(self, sig: int, frame: Any) -> None:
        """End; each open page has a connection that is cut off, and none of them is to be logged."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)
