"""The pages. They translate clicks into calls of the other rooms, and decide nothing themselves.

`build_app` lays the pages out, `serve` puts them on the network. What `serve` passes to Gradio is complete on
purpose: an argument left out can be set by an environment variable.
"""

import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.middleware import Middleware
from starlette.routing import Mount

from core.demo.examples import write_examples
from core.errors import SettingsError
from core.scorer import Scorer
from core.settings import Settings
from core.training.runs import Runs
from core.training.shelf import ModelShelf
from webapp.admin import Administration
from webapp.batch_tab import build_batch_tab
from webapp.door import BY_ITSELF, build_door, new_token
from webapp.guard import KEPT_S, Guard, GuardedBlocks, drop_old_uploads, shut_environment
from webapp.header import banner, header
from webapp.judge import Judge
from webapp.listening_api import PREFIX, listening_app
from webapp.mcp_tool import ScoreTool
from webapp.rating_tab import build_rating_tab
from webapp.score_tab import build_score_tab
from webapp.study_tab import build_study_tab
from webapp.theme import build_theme, palette_css
from webapp.training_desk import Desk, train_from_study
from webapp.training_tab import build_training_tab
from webapp.venues import Venue, Venues

_HERE = Path(__file__).parent
_HOUR_S = 3_600
_HEAD = '<meta name="color-scheme" content="light dark">'
# The address keeps the open tab, for a reload and for invitations. The sound of the other tabs stops.
# Gradio selects the first tab once by itself: it must not take away the name of the tab that is to be opened.
_SHOW = """() => {
  const name = "%s", first = name === "score";
  if (first && !window.musicEvalTab) { window.musicEvalTab = name; return; }
  window.musicEvalTab = name;
  history.replaceState(null, "", first ? location.pathname + location.search : "#" + name);
  if (name !== "listening") document.querySelectorAll("#rater audio").forEach((audio) => audio.pause());
  if (first) return;
  document.querySelector("#result audio")?.pause();
  document.querySelector("#clip .play-pause-button[aria-label=Pause]")?.click();
}"""
TABS = {
    "score": "Score",
    "batch": "Batch",
    "listening": "Listening test",
    "training": "Training",
    "study": "Study",
}
# On a narrow window some tabs are entries of a menu, which have no names.
_OPEN_NAMED_TAB = """() => {
  const titles = {titles};
  const open = () => {
    const name = location.hash.slice(1);
    const entries = [...document.querySelectorAll(".overflow-dropdown button")];
    const tab = document.querySelector(`#${CSS.escape(name)}-tab-button`)
      ?? entries.find((entry) => entry.textContent === titles[name]);
    tab?.click();
  };
  window.addEventListener("hashchange", open);
  if (location.hash) open();
}""".replace("{titles}", json.dumps(TABS))
_TRAINING = (
    "Train a judge on the ratings of a study, or on rated clips that lie on the server; see how well it "
    "agrees with the raters; and choose which judge scores."
)
_STUDY = (
    "See how a study is getting on and what it has found, exclude and restore ratings, invite raters, and "
    "export the results."
)


def build_app(scorer: Scorer | Judge, settings: Settings) -> GuardedBlocks:
    """Lay out the pages, and open the database of the listening tests.

    Parameters
    ----------
    scorer : Scorer or Judge
        What judges for all visitors; a scorer is the one that the app begins with.
    settings : Settings
        The data folder, the database and the administrator's password.

    Returns
    -------
    GuardedBlocks
        For `serve`.

    Raises
    ------
    StudyError
        If the database cannot be used.
    """
    judge = scorer if isinstance(scorer, Judge) else Judge(scorer, ModelShelf(settings.models))
    venues = Venues(settings)
    atexit.register(venues.close)
    shut_environment(os.environ)
    drop_old_uploads()
    examples = tempfile.mkdtemp(prefix="musiceval-examples-")
    atexit.register(shutil.rmtree, examples, ignore_errors=True)
    app = GuardedBlocks(title="MusicEval", analytics_enabled=False, delete_cache=(_HOUR_S, KEPT_S))
    tool = ScoreTool(judge)
    app.own_routes = [Mount(PREFIX, listening_app(venues)), *tool.routes]
    app.own_lifespan = tool.lifespan

    def show_banner() -> str:
        return banner(judge.scorer.checkpoint)

    with app:
        gr.HTML(header(), apply_default_css=False)
        token = new_token()  # not among the tabs: Gradio would count it as one
        with gr.Tabs():
            with _tab("score"):
                note = build_score_tab(judge, write_examples(Path(examples)))
            with _tab("batch"):
                build_batch_tab(app, judge)
            with _tab("listening"):
                build_rating_tab()
            _build_administration(app, judge, settings, venues.real, token, note)
        app.load(show_banner, None, note, **BY_ITSELF)
        app.load(None, js=_OPEN_NAMED_TAB, api_visibility="private")
    app.queue(api_open=False, max_size=64)
    return app


def _tab(name: str) -> gr.Tab:
    tab = gr.Tab(TABS[name], id=name, elem_id=f"{name}-tab")
    tab.select(None, js=_SHOW % name, api_visibility="private")
    return tab


def _build_administration(
    app: GuardedBlocks,
    judge: Judge,
    settings: Settings,
    venue: Venue,
    token: gr.BrowserState,
    note: gr.HTML,
) -> None:
    """Lay out the tabs of the administrator."""
    administration = Administration(settings, os.environ, lambda: app.share)
    runs = Runs(settings.models, settings.cache)
    with _tab("training") as tab:
        door = build_door(tab, administration, token, "Training", _TRAINING)
        with door.inside:
            build_training_tab(administration, token, door.looks, Desk(judge, runs, venue), note)
    with _tab("study") as tab:
        door = build_door(tab, administration, token, "Study", _STUDY)
        with door.inside:
            routes = build_study_tab(
                administration, token, venue, door.looks, lambda study: train_from_study(runs, venue, study)
            )
    app.own_routes = [*app.own_routes, *routes]


def serve(app: GuardedBlocks, settings: Settings, *, block: bool = True) -> str:
    """Serve the pages.

    Parameters
    ----------
    app : GuardedBlocks
    settings : Settings
        Host and port; on a Hugging Face Space the host is always 0.0.0.0.
    block : bool
        Whether to return only when interrupted.

    Returns
    -------
    str
        The address.

    Raises
    ------
    SettingsError
        If the port cannot be had.
    """
    try:
        _, address, _ = app.launch(**launch_arguments(app, settings))
    except OSError as error:
        raise SettingsError(
            f"{settings.host}:{settings.port} cannot be listened on. Is another program using the port? "
            "Set MUSICEVAL_PORT (and MUSICEVAL_HOST) to what is free."
        ) from error
    sys.stdout.write(f"MusicEval is at {address} (Ctrl+C stops it)\n")
    sys.stdout.flush()
    if block:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as after Ctrl+C: uploads go
        app.block_thread()
    return address


def launch_arguments(app: GuardedBlocks, settings: Settings) -> dict[str, Any]:
    """Everything that `gr.Blocks.launch` is told."""
    max_bytes = settings.limits.max_bytes
    return {
        "server_name": "0.0.0.0" if "SPACE_ID" in os.environ else settings.host,
        "server_port": settings.port,
        "max_file_size": max_bytes,
        "app_kwargs": {
            "routes": [*app.own_routes],
            "middleware": [Middleware(Guard, max_bytes=max_bytes)],
            "lifespan": app.own_lifespan,
        },
        "theme": build_theme(),
        "css": palette_css(),
        "css_paths": [_HERE / "style.css"],
        "head": _HEAD,
        "favicon_path": _HERE / "favicon.svg",
        "footer_links": [],
        "allowed_paths": None,
        "blocked_paths": None,
        "root_path": "",
        "num_workers": 0,
        "ssr_mode": False,
        "share": False,
        "pwa": False,
        "mcp_server": False,
        "run_history": False,
        "enable_monitoring": False,
        "strict_cors": True,
        "debug": False,
        "show_error": False,
        "inbrowser": False,
        "prevent_thread_lock": True,
        "quiet": True,
    }
