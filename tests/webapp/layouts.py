"""Pages of Gradio whose handlers a test calls; nobody asks them by HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr
import pytest
from gradio.routes import App


@contextmanager
def laid_out() -> Iterator[gr.Blocks]:
    """Lay a page out, without the two web apps that Gradio makes of each, which take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "create_app", lambda *_, **__: None)
        with gr.Blocks() as page:
            yield page
