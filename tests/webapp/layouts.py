"""Pages of Gradio whose handlers a test calls; nobody asks them by HTTP."""

import functools
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio import component_meta
from gradio.routes import App

INSPECT = SimpleNamespace(**{**vars(inspect), "getfullargspec": functools.cache(inspect.getfullargspec)})


@contextmanager
def laid_out() -> Iterator[gr.Blocks]:
    """Lay a page out, without the two web apps that Gradio makes of each, which take longer than all the rest.

    Nor is it told to a browser, and of each kind of component the arguments are looked up once.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "create_app", lambda *_, **__: None)
        patch.setattr(gr.Blocks, "get_config_file", lambda _: {})
        patch.setattr(component_meta, "inspect", INSPECT)
        with gr.Blocks() as page:
            yield page
