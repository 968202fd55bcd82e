"""How errors of handlers reach the page."""

from collections.abc import Iterator

import gradio as gr
import pytest

from core.errors import StudyError
from webapp.handlers import UNEXPECTED, told


def _refuses() -> None:
    raise StudyError("There is no <b>.")


def _fails() -> None:
    raise ZeroDivisionError


def _fails_late() -> Iterator[int]:
    yield 1
    raise StudyError("Later.")


def test_a_sentence_is_told_and_escaped() -> None:
    with pytest.raises(gr.Error) as raised:
        told(_refuses)()
    assert raised.value.message == "There is no &lt;b&gt;."


def test_what_nobody_foresaw_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(gr.Error) as raised:
        told(_fails)()
    assert raised.value.message == UNEXPECTED
    assert "ZeroDivisionError" in caplog.text


def test_a_generator_is_told_too() -> None:
    values = told(_fails_late)()
    assert next(values) == 1
    with pytest.raises(gr.Error, match="Later"):
        next(values)
