"""The Score tab: a clip and its prompt in, two scores out, on the page and as the endpoint ``/score``.

Both ways in ask the same judge, which may change between two scores; on the page a visitor may choose another
model for a clip. The page shows an error where the result
would stand; the endpoint raises it as `gr.Error`, whose message the client receives.
"""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core.audio import Clip, read_clip
from core.demo.examples import Example
from core.errors import MusicEvalError, shown_name
from core.scorer import Score, Scorer
from webapp import result
from webapp.cards import example_cards
from webapp.header import banner
from webapp.judge import Judge
from webapp.model_menu import JUDGE, ModelMenu

_LOG = logging.getLogger(__name__)
_SCRIPT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")

# What a listener is given: the page's own are no endpoints; a score uses all cores.
_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "score", "concurrency_limit": 1}

_MEGABYTE = 1_000_000
_NO_CLIP = "There is no clip. Drop a file, record one, or choose an example."
_UNEXPECTED = "Something went wrong on the server; it has been logged there. Try again, or try another clip."

_CARDS_SCRIPT = """element.addEventListener("click", (event) => {
  const card = event.target.closest("[data-number]");
  if (card) trigger("select", {number: Number(card.dataset.number)});
});"""
# On a narrow screen the result may be out of sight, below the examples.
_SHOW_RESULT = """(...inputs) => {
  const result = document.querySelector("#result");
  if (result.getBoundingClientRect().top > innerHeight / 2) result.scrollIntoView({behavior: "smooth"});
  return inputs;
}"""
# One sound at a time: the result's player stops when the input's own starts.
_STOP_RESULT = "() => { document.querySelector('#result audio')?.pause(); }"
# Shows or hides the note on a result that the inputs have left behind.
_MARK_STALE = """(clip, prompt, model) => {
  const shown = document.querySelector("#result .me-result[data-clip]");
  if (!shown) return;
  const same = shown.dataset.clip === clip?.path && shown.dataset.prompt === prompt
    && shown.dataset.model === model;
  shown.classList.toggle("me-outdated", !same);
  shown.querySelector(".me-stale").hidden = same;
}"""

_SNIPPET = """\
from gradio_client import Client, handle_file

client = Client("{address}")
score = client.predict(
    clip=handle_file("clip.wav"),
    prompt="A calm piano ballad in a minor key",
    api_name="/score",
)
print(score["musical_impression"], score["textual_alignment"])"""
_FILL_ADDRESS = f"() => {json.dumps(_SNIPPET)}.replace('{{address}}', location.origin + location.pathname)"


def build_score_tab(judge: Judge, examples: Sequence[Example]) -> gr.HTML:
    """Lay the tab out in the open `gr.Blocks`.

    Parameters
    ----------
    judge : Judge
    examples : sequence of Example
        Their files must outlive the page.

    Returns
    -------
    gradio.HTML
        The note on the model that judges. It follows at each score.
    """
    note, menu = gr.HTML(banner(judge.scorer.checkpoint), apply_default_css=False), ModelMenu(judge)
    with gr.Row(elem_classes="me-columns"):
        with gr.Column(elem_classes="me-left"):
            clip, prompt, model, button = _inputs(menu)
            _example_cards(examples, clip, prompt)
        with gr.Column(elem_classes="me-right"):
            shown = gr.HTML(
                result.empty(),
                elem_id="result",
                js_on_load=_SCRIPT,
                apply_default_css=False,
                max_bytes=judge.limits.max_bytes,
            )
            _usage()
    _wire_page(judge, menu, [clip, prompt, model], button, [shown, note])
    _add_endpoint(judge, clip, prompt)
    return note


def snippet(address: str) -> str:
    """Write the lines of Python that score a clip through the server at an address."""
    return _SNIPPET.format(address=address)


def _inputs(menu: ModelMenu) -> tuple[gr.Audio, gr.Textbox, gr.Dropdown, gr.Button]:
    def offer() -> Any:
        return gr.update(choices=menu.choices())

    clip = gr.Audio(
        label="Clip",
        sources=["upload", "microphone"],
        type="filepath",
        editable=False,
        buttons=[],
        elem_id="clip",
    )
    prompt = gr.Textbox(
        label="Prompt", placeholder="What the music was asked to be", lines=3, max_lines=8, elem_id="prompt"
    )
    model = gr.Dropdown(menu.choices(), value=JUDGE, label="Model", elem_id="model")
    about = gr.HTML(apply_default_css=False, elem_id="model-note")
    model.change(menu.note, model, about, show_progress="hidden", **_PRIVATE)
    gr.on(None, offer, None, model, show_progress="hidden", **_PRIVATE)
    return clip, prompt, model, gr.Button("Score", variant="primary", size="lg", elem_id="score")


def _example_cards(examples: Sequence[Example], clip: gr.Audio, prompt: gr.Textbox) -> None:
    def fill_in(chosen: gr.EventData) -> tuple[str, str]:
        for number, example in enumerate(examples):
            if number == getattr(chosen, "number", None):
                return str(example.path), example.prompt
        raise gr.Error("There is no such example.", print_exception=False)

    gr.HTML(
        example_cards(examples), js_on_load=_CARDS_SCRIPT, apply_default_css=False, elem_id="examples"
    ).select(fill_in, None, [clip, prompt], show_progress="hidden", **_PRIVATE)


def _usage() -> None:
    with gr.Accordion("Use from Python", open=False, elem_classes="me-usage") as accordion:
        code = gr.Code(
            snippet("http://127.0.0.1:7860/"), language="python", show_label=False, show_line_numbers=False
        )
        accordion.expand(None, outputs=code, js=_FILL_ADDRESS, **_PRIVATE)


def _wire_page(
    judge: Judge, menu: ModelMenu, inputs: list[Any], button: gr.Button, outputs: list[gr.HTML]
) -> None:
    """Show a score, or why there is none, in the result's place; and the note on the model that judges."""
    (clip, prompt, model), (shown, _) = inputs, outputs

    def show(
        clip: str | None,
        prompt: str | None,
        model: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[str]:
        try:
            score, heard = _judge(lambda: menu.scorer(model), clip, prompt, progress)
            said = result.done(score, heard, str(clip), prompt or "", model or JUDGE)
        except gr.Error as error:
            said = result.failed(error.message)
        return [said, banner(judge.scorer.checkpoint)]

    def refuse(file: gr.EventData) -> str:
        name, size = getattr(file, "name", ""), getattr(file, "bytes", None)
        if not isinstance(size, int | float):
            raise gr.Error("There is no such file.", print_exception=False)
        given, allowed = size / _MEGABYTE, judge.limits.max_bytes / _MEGABYTE
        sentence = f"has {given:.1f} MB; the limit is {allowed:g} MB. Cut it or save it as FLAC."
        return result.failed(f"{shown_name(str(name))} {sentence}")

    scoring = [button.click, prompt.submit]
    gr.on(
        scoring, show, inputs, outputs, js=_SHOW_RESULT, show_progress_on=shown, **_PRIVATE, **_ONE_AT_A_TIME
    ).then(None, inputs, js=_MARK_STALE, **_PRIVATE)
    gr.on([clip.change, prompt.change, model.change], None, inputs, js=_MARK_STALE, **_PRIVATE)
    shown.too_large(refuse, None, shown, show_progress="hidden", **_PRIVATE)
    clip.play(None, js=_STOP_RESULT, **_PRIVATE)


def _add_endpoint(judge: Judge, clip: gr.Audio, prompt: gr.Textbox) -> None:
    """Offer ``/score``. Its button and its output are never shown: clients call it, nobody clicks it."""

    def score(clip: str | None, prompt: str | None, progress: gr.Progress = gr.Progress()) -> dict[str, Any]:  # noqa: B008
        """Score a clip against its prompt: musical impression and textual alignment, each from 1 to 5."""
        return _judge(lambda: judge.scorer, clip, prompt, progress)[0].to_json()

    output = gr.JSON(label="Score", visible=False)
    gr.Button(visible=False).click(score, [clip, prompt], output, api_name="score", **_ONE_AT_A_TIME)


def _judge(
    judging: Callable[[], Scorer], path: str | None, prompt: str | None, progress: gr.Progress
) -> tuple[Score, Clip]:
    """Score an upload; every error becomes a `gr.Error` with a plain sentence."""
    if path is None:
        raise gr.Error(_NO_CLIP, print_exception=False)
    try:
        progress(0.0, desc="Waiting for the model")
        scorer = judging()  # this score's, whichever takes its place meanwhile
        clip = read_clip(path, scorer.limits)
        return scorer.score(clip, prompt or "", lambda share, doing: progress(share, desc=doing)), clip
    except MusicEvalError as error:
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:
        _LOG.exception("a clip could not be scored")
        raise gr.Error(_UNEXPECTED, print_exception=False) from error
