"""The Listening test tab: one element, which the scripts beside this file fill.

The page talks to `webapp.listening_api` and not to Gradio, whose events die with the server: a request of its
own can be made again until a rating is saved. The scripts make elements from text and never from HTML. They
are served to everybody in ``/config``, so nothing of a study may stand in them, not even its scales.
"""

from pathlib import Path

import gradio as gr

# In this order they share one scope.
_SCRIPTS = ("parts", "sound", "trial", "steps")
_LOADING = '<p class="me-quiet" role="status">One moment…</p>'


def build_rating_tab() -> None:
    """Lay the tab out in the open `gr.Blocks`."""
    gr.HTML(_LOADING, elem_id="rater", js_on_load=_script(), apply_default_css=False)


def _script() -> str:
    here = Path(__file__).parent / "static"
    return "\n".join((here / f"rating_{name}.js").read_text(encoding="utf-8") for name in _SCRIPTS)
