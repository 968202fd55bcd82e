"""The pages. They translate clicks into calls of the other rooms, and decide nothing themselves.

`build_app` lays the pages out, `serve` puts them on the network. What `serve` passes to Gradio is complete on
purpose: an argument left out can be set by an environment variable.
"""

import atexit
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
from webapp.guard import KEPT_S, Guard, GuardedBlocks, drop_old_uploads, shut_environment
from webapp.header import banner, header
from webapp.listening_api import PREFIX, listening_app
from webapp.rating_tab import build_rating_tab
from webapp.score_tab import build_score_tab
from webapp.theme import build_theme, palette_css
from webapp.venues import Venues

_HERE = Path(__file__).parent
_HOUR_S = 3_600
_HEAD = '<meta name="color-scheme" content="light dark">'
# The address keeps the open tab, for a reload and for invitations. The sound of the other tab stops.
# Gradio selects the first tab once by itself: as long as the other was never open, nothing is to be done.
_SHOW_SCORE = """() => {
  if (!document.querySelector("#rater")) return;
  history.replaceState(null, "", location.pathname + location.search);
  document.querySelectorAll("#rater audio").forEach((audio) => audio.pause());
}"""
_SHOW_LISTENING = """() => {
  history.replaceState(null, "", "#listening");
  document.querySelector("#result audio")?.pause();
  document.querySelector("#clip .play-pause-button[aria-label=Pause]")?.click();
}"""
_OPEN_NAMED_TAB = """() => {
  const tab = document.querySelector("#listening-tab-button");
  const open = () => location.hash === "#listening" && tab.click();
  window.addEventListener("hashchange", open);
  open();
}"""


def build_app(scorer: Scorer, settings: Settings) -> GuardedBlocks:
    """Lay out the pages, and open the database of the listening tests.

    Parameters
    ----------
    scorer : Scorer
        Loaded once, shared by all visitors.
    settings : Settings
        The data folder and the database.

    Returns
    -------
    GuardedBlocks
        For `serve`.

    Raises
    ------
    StudyError
        If the database cannot be used.
    """
    venues = Venues(settings)
    atexit.register(venues.close)
    shut_environment(os.environ)
    drop_old_uploads()
    examples = tempfile.mkdtemp(prefix="musiceval-examples-")
    atexit.register(shutil.rmtree, examples, ignore_errors=True)
    app = GuardedBlocks(title="MusicEval", analytics_enabled=False, delete_cache=(_HOUR_S, KEPT_S))
    app.own_routes = [Mount(PREFIX, listening_app(venues))]
    with app:
        gr.HTML(header(), apply_default_css=False)
        with gr.Tabs():
            with gr.Tab("Score", elem_id="score-tab") as score_tab:
                if scorer.checkpoint.demo:
                    gr.HTML(banner(), apply_default_css=False)
                build_score_tab(scorer, write_examples(Path(examples)))
            with gr.Tab("Listening test", elem_id="listening-tab") as listening_tab:
                build_rating_tab()
        score_tab.select(None, js=_SHOW_SCORE, api_visibility="private")
        listening_tab.select(None, js=_SHOW_LISTENING, api_visibility="private")
        app.load(None, js=_OPEN_NAMED_TAB, api_visibility="private")
    app.queue(api_open=False, max_size=64)
    return app


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
        "app_kwargs": {"routes": [*app.own_routes], "middleware": [Middleware(Guard, max_bytes=max_bytes)]},
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
