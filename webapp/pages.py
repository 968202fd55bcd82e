"""The pages: scoring for everybody, `ADMIN` for the administrator, and the tool for language models.

All of it runs in a process of its own (`webapp.pages_process`), with the model: the listening test is served by
`webapp.app`, and waits for nothing here. What is passed to Gradio is complete on purpose: an argument left out
may be set from outside.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from fastapi import FastAPI
from starlette.routing import BaseRoute

from annotation.backups.durable import open_studies
from annotation.durability import danger_of
from core.settings import Settings
from core.training.manager import RunManager
from webapp import logs, retention
from webapp.audit import Audit
from webapp.blocks import AuditedBlocks, GuardedBlocks
from webapp.example_clips import ReadyScores, example_route, load_examples
from webapp.guard import ADMIN
from webapp.handlers import BY_ITSELF, PRIVATE, told
from webapp.html import render, static
from webapp.judge import Judge
from webapp.judge_desk import judge_routes
from webapp.listening_api import WAITS_S, StudyStore
from webapp.mcp_tool import ScoreTool
from webapp.metrics import pages_route
from webapp.palette import STYLE, palette_css
from webapp.retention import kept_s
from webapp.score import build_score_tab
from webapp.study import StudyPage, study_routes
from webapp.temporary import drop_folders_of_the_dead, shut_environment
from webapp.theme import banner, build_theme
from webapp.training import build_training_tab, train_from_study

_HERE = Path(__file__).parent / "static"
_HOUR_S = 3_600
_OPEN_NAMED_TAB = "() => musicEvalOpen()"
_Blocks = TypeVar("_Blocks", bound=GuardedBlocks)


def build_pages(judge: Judge, settings: Settings, examples: ReadyScores | None = None) -> FastAPI:
    """Lay out the pages, with examples, and open the database of the listening tests (else `StudyError`)."""
    os.umask(0o077)  # folders and files are made for the server's user alone
    retention.begin(settings.kept_days)
    database = open_studies(settings, logs.say, WAITS_S)
    store = StudyStore(database, settings.data, danger=danger_of(settings))
    drop_folders_of_the_dead()
    shut_environment(os.environ)
    tool, ready = ScoreTool(judge), examples or ReadyScores(load_examples())
    visitors = _visitors_page(judge, ready)
    administrators, exports = _admin_page(judge, settings, store)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with tool.lifespan(app):
            yield
        ready.end()
        store.database.close()
        if judge.readers:
            judge.readers.close()

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    queues: list[Any] = [page._queue for page in (visitors, administrators)]
    measured = pages_route(lambda: sum(queue.n_waiting() for queue in queues))
    app.router.routes.extend([*tool.routes, *exports, measured, example_route()])
    theme = build_theme()
    for page, path in ((administrators, ADMIN.rstrip("/")), (visitors, "/")):
        page.has_launched = True  # as launch() says; else Gradio 6.31 opens whatever path a caller names
        gr.mount_gradio_app(app, page, path, **_mounting(settings, theme, path))
    return app


def warning(settings: Settings) -> str:
    """Tell the administrator, as HTML, where ratings may be lost."""
    danger = danger_of(settings)
    return render("not_durable.html", sentence=danger) if danger else ""


def _page(kind: type[_Blocks], title: str) -> _Blocks:
    page = kind(title=title, analytics_enabled=False, delete_cache=(_HOUR_S, int(kept_s())))
    page.api_open = False
    return page


def _tab(name: str, title: str) -> gr.Tab:
    return gr.Tab(title, id=name, elem_id=f"{name}-tab")


def _visitors_page(judge: Judge, ready: ReadyScores) -> GuardedBlocks:
    def show_banner() -> str:
        return banner(judge.about)

    page = _page(GuardedBlocks, "MusicEval")
    with page:
        gr.HTML(render("header.html", admin=False), apply_default_css=False)
        with gr.Tabs():
            with _tab("score", "Score"):
                note = build_score_tab(judge, ready)
            _tab("listening", "Listening test")  # its page is another: the script goes there
        page.load(show_banner, None, note, **BY_ITSELF)
        page.load(None, js=_OPEN_NAMED_TAB, **PRIVATE)
    return page


def _admin_page(judge: Judge, settings: Settings, store: StudyStore) -> tuple[GuardedBlocks, list[BaseRoute]]:
    """Lay out the administrator's page; also return the routes of its downloads."""
    runs, audit = RunManager(settings.models, settings.cache), Audit(settings.data)
    page = _page(AuditedBlocks, "MusicEval administration")
    page.audit = audit
    with page:
        gr.HTML(render("header.html", admin=True) + warning(settings), apply_default_css=False)
        with gr.Tabs():
            with _tab("studies", "Studies"):
                studies = StudyPage(
                    store,
                    lambda study: train_from_study(runs, store, study),
                    settings.limits,
                    judge.readers,
                    lambda: judge.keeping(settings.cache),
                )
                studies.opens(page.load, **BY_ITSELF)
            with _tab("training", "Training") as tab:
                build_training_tab([page.load, tab.select], judge, runs, store)
            with _tab("log", "Log") as tab:
                log = gr.HTML(apply_default_css=False)
                gr.on([page.load, tab.select], told(audit.table), None, log, **BY_ITSELF)
        page.load(None, js=_OPEN_NAMED_TAB, **PRIVATE)
    return page, [*study_routes(store), *judge_routes(judge.registry)]


def _mounting(settings: Settings, theme: gr.themes.Base, path: str) -> dict[str, Any]:
    """Everything that `gr.mount_gradio_app` is told."""
    script = static("shell.js", "own_list.js")
    return {
        "theme": theme,
        "css": f"{palette_css()}\n{STYLE}",
        "head": f'<meta name="color-scheme" content="light dark"><script>{script}</script>',
        "favicon_path": str(_HERE / "favicon.svg") if path == "/" else None,
        "footer_links": [],
        "max_file_size": settings.limits.max_bytes,
        "allowed_paths": [],
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
