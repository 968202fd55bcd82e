"""What handlers of the pages share: how their events are registered, and how their errors reach the page."""

import contextlib
import errno
import functools
import html
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from core.errors import MusicEvalError
from webapp.html import render

logger = logging.getLogger(__name__)

PRIVATE: dict[str, Any] = {"api_visibility": "private"}  # the page's own: no endpoint
QUIETLY: dict[str, Any] = {**PRIVATE, "show_progress": "hidden"}
# What a page asks for by itself goes past Gradio's queue. The queue's stream of answers closes after the last
# one, and a click just then is never answered (Gradio 6.31: the page takes the stream for open).
BY_ITSELF: dict[str, Any] = {**QUIETLY, "queue": False}
NO_ROOM = "The server's disk is full, or cannot be written. Nothing was kept of this; make room, and try again."
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_VIEW = '<div class="me-desk">${value}</div>'  # what handlers return is HTML already
UNEXPECTED = "Something went wrong on the server; it has been logged there. Try again."

Shown = dict[Any, Any]  # what a handler returns: what changes, by the part of the page


def on(event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Any:
    """Let an event of the administrator's page call a handler."""
    return event(told(handler), inputs, outputs, **{**PRIVATE, "show_progress": "minimal", **options})


def html_part() -> gr.HTML:
    """Lay out a part of the administrator's page that handlers fill."""
    return gr.HTML("", html_template=_VIEW, apply_default_css=False, elem_classes="me-view")


def explain(title: str, meaning: str) -> None:
    """Lay out a heading, and what stands below it is for."""
    gr.HTML(render("study_use.html", title=title, meaning=meaning), apply_default_css=False)


def refusal(sentence: str) -> gr.Error:
    """Return an error that the page shows as it is; Gradio takes its text for HTML."""
    return gr.Error(html.escape(sentence), print_exception=False)


def sentence_of(error: Exception) -> str:
    """Return what to say of an error; what is not the caller's is logged and says no more."""
    if isinstance(error, MusicEvalError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return NO_ROOM
    logger.error("a handler failed", exc_info=error)
    return UNEXPECTED


@contextlib.contextmanager
def plain_errors(shown: Callable[[str], gr.Error] | None = None) -> Iterator[None]:
    """Raise every error as a `gr.Error`, with its sentence as it is for endpoints and templates."""
    try:
        yield
    except gr.Error:
        raise
    except Exception as error:
        sentence = sentence_of(error)
        raise (shown(sentence) if shown else gr.Error(sentence, print_exception=False)) from error


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a handler whose errors are told in a sentence."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)  # Gradio reads the signature
        def generator(*given: Any, **named: Any) -> Any:
            with plain_errors(refusal):
                yield from function(*given, **named)

        return generator

    return plain_errors(refusal)(function)
