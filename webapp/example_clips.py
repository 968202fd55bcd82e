"""The examples: a click fills in a clip with its prompt and shows its result; each can be heard before.

What the page's judge says of them is made beforehand, in a thread, so that nobody waits; what another judge says
is made when it is asked for first.
"""

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from core.errors import MusicEvalError
from core.scores import Score
from webapp.handlers import refusal
from webapp.html import render, static

if TYPE_CHECKING:
    from core.scorer import Scorer

FOLDER = Path(__file__).parent / "examples"
_ADDRESS = "examples"
_BEGIN_S, _END_S = 5.0, 3.0  # after the start, and for what is under way at the end
_NO_SOUND = "faults/no-sound.wav"


@dataclass(frozen=True)
class Example:
    """A clip on disk, the prompt it stands with, and what to listen for.

    `address` is where a browser hears it, "" for what is no sound; of a fault there is no score, or a warning.
    """

    title: str
    prompt: str
    note: str
    path: Path
    address: str = ""
    is_fault: bool = False


def load_examples() -> list[Example]:
    """Read the examples that come with the program: music, then what gets no score, or a warning."""
    examples = []
    for one in json.loads((FOLDER / "examples.json").read_text(encoding="utf-8")):
        path, is_fault = FOLDER / one["file"], one["is_fault"]
        address = "" if one["file"] == _NO_SOUND else f"{_ADDRESS}/{one['file']}"
        examples.append(Example(one["title"], one["prompt"], one["note"], path, address, is_fault))
    return examples


def example_route() -> Mount:
    """Return the route at which the examples are heard."""
    return Mount(f"/{_ADDRESS}", StaticFiles(directory=FOLDER))


class ReadyScores:
    """What judges say of the examples, each once."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples
        self._known: dict[tuple[str, int], Score | MusicEvalError] = {}
        self._scoring = threading.Lock()
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()

    def begin(self, judging: Callable[[], "Scorer"], after_s: float = _BEGIN_S) -> None:
        """Score all by a judge, in a thread, once whoever came first has got the page."""
        self._thread = threading.Thread(target=self._score_all, args=[judging, after_s], daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Score no more; waits for the one under way, because a process whose model is at work ends badly."""
        self._ended.set()
        if self._thread:
            self._thread.join(_END_S)

    def score(self, number: int, scorer: "Scorer") -> Score:
        """Return what a judge says of an example; raises what scoring raises."""
        key = scorer.checkpoint.sha256, number
        if key not in self._known:
            with self._scoring:
                if key not in self._known:
                    self._known[key] = _said(self.examples[number], scorer)
        known = self._known[key]
        if isinstance(known, MusicEvalError):
            raise known
        return known

    def _score_all(self, judging: Callable[[], "Scorer"], after_s: float) -> None:
        self._ended.wait(after_s)
        try:
            for number in range(len(self.examples)):
                if self._ended.is_set():
                    return
                with contextlib.suppress(MusicEvalError):
                    self.score(number, judging())
        except Exception:
            logging.getLogger(__name__).exception("the examples are scored when they are asked for")


def _said(example: Example, scorer: "Scorer") -> Score | MusicEvalError:
    try:
        return scorer.score(example.path, example.prompt)
    except MusicEvalError as error:
        return error


def build_examples(examples: Sequence[Example]) -> gr.HTML:
    """Lay out the cards of examples; `select` is told the `number` of the one that is clicked."""
    return gr.HTML(
        render("score_examples.html", examples=[*enumerate(examples)]),
        js_on_load=static("score_examples.js"),
        apply_default_css=False,
        elem_id="examples",
    )


def chosen_example(examples: Sequence[Example], number: object, cache: str) -> tuple[int, str]:
    """Return the place of an example, and its file among the uploads: Gradio serves none of the program's."""
    for place, example in enumerate(examples):
        if place == number and not isinstance(number, bool):
            return place, save_file_to_cache(example.path, cache)
    raise refusal("There is no such example.")
