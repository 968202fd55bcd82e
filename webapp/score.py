"""The tab *Score*: *One clip*, which is the endpoint ``/score`` too, and *Several clips* (`webapp.batch`).

Both ways in ask the same judge, which may change between two scores; on the page a visitor may choose another
model for a clip. The page shows an error where the result would stand; the endpoint raises it.

Drawings are SVG stretched to their box (strokes keep their width); text is HTML placed in percent beside
them, so it has the page's size at every width. Scales differ in dash and lightness, not in hue alone. Numbers
are rounded where they are shown and nowhere before. The first line of each result is for those who hear the
page: it says what has happened.
"""

import base64
import json
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import gradio as gr
import numpy as np
from markupsafe import Markup

from core.audio import Samples
from core.errors import AudioError, BatchError, shown_beyond, shown_name
from core.scales import Scales
from core.scores import Score, WindowScore
from core.warnings import show_time
from webapp.batch import build_clip_list_tab, judge_menu, python_usage
from webapp.batch_view import QUIET_WARNINGS
from webapp.comparison import build_comparison
from webapp.example_clips import ReadyScores, build_examples, chosen_example
from webapp.handlers import BY_ITSELF, PRIVATE, QUIETLY, plain_errors, refusal
from webapp.html import render, static
from webapp.judge import JUDGE, Judge, ModelMenu
from webapp.kept import Kept, KeptResults
from webapp.metrics import SCORING
from webapp.retention import kept_for
from webapp.theme import banner

if TYPE_CHECKING:
    from core.scorer import Scorer

_ONE_AT_A_TIME: dict[str, Any] = {"concurrency_id": "score", "concurrency_limit": 1}  # a score uses all cores
_FOLLOW_S = 5.0  # the page asks so often which model judges
_MEGABYTE = 1_000_000
_SHOWN_PROMPT_CHARACTERS = 280
_WAVEFORM_BINS = 400
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300)
_MOST_TICKS = 5

# On a narrow screen the result may be out of sight, below the examples.
_SHOW_RESULT = """(...inputs) => {
  const result = document.querySelector("#result");
  if (result.getBoundingClientRect().top > innerHeight / 2) result.scrollIntoView({behavior: "smooth"});
  return inputs;
}"""
# One sound at a time: the result's player stops when the input's own starts.
_STOP_RESULT = "() => { document.querySelectorAll('#result audio, #compared audio').forEach((one) => one.pause()); }"
_NOTE_SCORE = "() => { window.musicEvalNote?.(true); }"
_NOTE_RECALLED = "() => { window.musicEvalNote?.(false); }"
_SCRIPTS = ("score_tab.js", "score_card.js", "score_kept.js")  # of the result, run as one
# Shows or hides the note on a result that the inputs have left behind.
_MARK_STALE = """(clip, prompt, model) => {
  const shown = document.querySelector("#result .me-result[data-clip]");
  if (!shown) return;
  const same = shown.dataset.clip === clip?.path && shown.dataset.prompt === prompt
    && shown.dataset.model === model;
  shown.classList.toggle("me-outdated", !same);
  shown.querySelector(".me-stale").hidden = same;
}"""
SNIPPET = """\
from gradio_client import Client, handle_file

client = Client("{address}")
score = client.predict(clip=handle_file("clip.wav"), prompt="A calm piano ballad in a minor key", api_name="/score")
print(score["musical_impression"], score["textual_alignment"])"""


def _gone() -> str:
    return f"This result is not kept here any more: results stay for {kept_for()}, or until the server starts anew."


# What the result shows


def empty(scales: Scales) -> Markup:
    """Show what will stand here."""
    return render("score_empty.html", scales=scales)


def failed(message: str) -> Markup:
    """Show why there is no score, and what to do."""
    return render("score_failed.html", message=message)


def done(score: Score, path: str, prompt: str, model: str = "", address: str = "", title: str = "") -> Markup:
    """Show a score, which may have an `address`.

    `path` is the upload's, which ends in the visitor's file name, `model` was chosen, and is called `title`.
    """
    cut = prompt if len(prompt) <= _SHOWN_PROMPT_CHARACTERS else f"{prompt[:_SHOWN_PROMPT_CHARACTERS]}…"
    duration_s = score.provenance.audio.duration_s
    whole = json.dumps(score.to_json(), indent=2, ensure_ascii=False)
    return render(
        "score_done.html",
        score=score,
        path=path,
        name=Path(path).name,
        stem=Path(path).stem,
        source=quote(path),
        prompt=prompt,
        shown_prompt=cut,
        model=model,
        judge=title or score.provenance.checkpoint.id,
        address=address,
        date=datetime.now(UTC).date().isoformat(),
        quiet_warnings=QUIET_WARNINGS,
        timeline=timeline(score.outline, duration_s, score.windows, score.scales),
        whole=show_time(duration_s),
        json=base64.b64encode(whole.encode()).decode(),
        details=details(score),
    )


def details(score: Score) -> Markup:
    """Show, folded away, what a score depends on, and its windows; the player goes where one is clicked."""
    provenance = score.provenance
    clip, checkpoint, policy = provenance.audio, provenance.checkpoint, provenance.input_policy
    windows = provenance.window_policy
    layout = {1: "mono", 2: "stereo"}.get(clip.channels, f"{clip.channels} channels")
    facts = {
        "Model": f"{checkpoint.id}{f' ({checkpoint.caveat})' if checkpoint.caveat else ''}",
        "Model SHA-256": checkpoint.sha256,
        "Clip": f"{clip.duration_s:.2f} s, {clip.sample_rate_hz} Hz, {layout}",
        "Clip SHA-256": clip.sha256,
        "Heard as": f"mono, {policy.sample_rate_hz} Hz, up to {policy.bandwidth_hz:g} Hz,"
        f" {policy.loudness_lufs:g} LUFS",
        "Windows": f"{windows['grid']}; short clips {windows['short_clips']}; {windows['pooling']}",
        "Versions": ", ".join(f"{name} {version}" for name, version in provenance.versions.items()),
        "Ranges": score.intervals.source if score.intervals else f"none: {_no_range(score)}",
    }
    return render("score_details.html", score=score, facts=facts, time=show_time)


def _no_range(score: Score) -> str:
    held_out = score.provenance.held_out
    return held_out.no_range if held_out else "nothing is known of the error"


def timeline(outline: Samples, duration_s: float, windows: Sequence[WindowScore], scales: Scales) -> Markup:
    """Draw the waveform with the course of each score, as a slider whose hand the page's script moves."""
    return render(
        "score_timeline.html",
        duration_s=duration_s,
        bins=_WAVEFORM_BINS,
        waveform=_waveform(outline),
        courses=[
            "" if windows[0].values[scale.key] is None else _course(windows, scale.key, duration_s) for scale in scales
        ],
        ticks=_ticks(duration_s),
        time=show_time,
    )


def _waveform(peaks: Samples) -> str:
    """Draw a clip's peaks, relative to its loudest, as an SVG path of one closed shape."""
    peaks = np.maximum(peaks / max(float(peaks.max()), 1e-9), 0.01)
    x = (np.arange(peaks.size) + 0.5) * _WAVEFORM_BINS / peaks.size
    upper = [f"{at:.1f} {-peak:.3f}" for at, peak in zip(x, peaks, strict=True)]
    lower = [f"{at:.1f} {peak:.3f}" for at, peak in zip(x[::-1], peaks[::-1], strict=True)]
    return "M" + "L".join(upper + lower) + "Z"


def _course(windows: Sequence[WindowScore], scale: str, duration_s: float) -> str:
    """Draw a score window by window as steps; where two windows overlap they change in the middle of it."""
    borders = [(left.end_s + right.start_s) / 2 for left, right in pairwise(windows)]
    starts, ends = [0.0, *borders], [*borders, duration_s]
    steps = [
        f"{start / duration_s:.4f} {window.values[scale]:.3f}H{end / duration_s:.4f}"
        for window, start, end in zip(windows, starts, ends, strict=True)
    ]
    return "M" + "L".join(steps)


def _ticks(duration_s: float) -> list[float]:
    """Choose round times for the axis, at most six of them, the first at 0."""
    step = next((tick for tick in _TICKS_S if duration_s / tick <= _MOST_TICKS), _TICKS_S[-1])
    return [float(step * index) for index in range(math.floor(duration_s / step) + 1)]


# The page


def build_score_tab(judge: Judge, ready: ReadyScores) -> gr.HTML:
    """Lay the tab out; the files of the examples must outlive the page.

    Returns the note on the model that judges, which follows at each score.
    """
    menu, results = ModelMenu(judge), KeptResults()

    def open_result(scorer: "Scorer", path: str, prompt: str, model: str) -> str:
        title, score = menu.title(model), scorer.score(path, prompt)
        name, _ = results.keep_named(partial(keepable, score, path, prompt, model, title=title))
        if not name:
            raise BatchError("The result cannot be kept: the disk is full.")
        return name

    note = gr.HTML(banner(judge.about), apply_default_css=False)
    with gr.Tabs():
        with gr.Tab("One clip", id="one", elem_id="one-tab"):
            model = _build_clip_tab(judge, ready, note, menu, results)
        with gr.Tab("Several clips", id="several", elem_id="several-tab"):
            models = [model, build_clip_list_tab(judge, menu, open_result)]

    def offer(request: gr.Request) -> list[Any]:
        return [menu.update(menu.asked(str(request.query_params.get("judge", ""))))] * len(models)

    gr.on(None, offer, None, models, **QUIETLY)
    _follow(judge, menu, models, note)
    return note


def _build_clip_tab(
    judge: Judge, ready: ReadyScores, note: gr.HTML, menu: ModelMenu, results: KeptResults
) -> gr.Dropdown:
    """Lay out *One clip* and return its menu of judges."""
    with gr.Row(elem_classes="me-columns"):
        with gr.Column(elem_classes="me-left"):
            inputs = clip, prompt, model = _inputs(menu)
            button = gr.Button("Score", variant="primary", size="lg", elem_id="score")
            cards = build_examples(ready.examples)
        with gr.Column(elem_classes="me-right"):
            build_comparison(results)
            shown = _result(judge)
            _list_of_results()
            python_usage(SNIPPET)

    page = ClipPage(judge, menu, results, ready, clip.GRADIO_CACHE)
    asked = gr.on(
        [button.click, prompt.submit],
        page.show,
        [*inputs],
        [shown, note],
        js=_SHOW_RESULT,
        show_progress_on=shown,
        **PRIVATE,
        **_ONE_AT_A_TIME,
    )
    chosen = cards.select(
        page.show_example,
        model,
        [clip, prompt, shown],
        js=_SHOW_RESULT,
        show_progress_on=shown,
        trigger_mode="always_last",
        **PRIVATE,
    )
    for event in (asked, chosen):
        event.then(None, [*inputs], js=_MARK_STALE, **PRIVATE).then(None, js=_NOTE_SCORE, **PRIVATE)
    _recall(results, judge, menu, shown, inputs)
    gr.on([clip.change, prompt.change, model.change], None, [*inputs], js=_MARK_STALE, **PRIVATE)
    clip.play(None, js=_STOP_RESULT, **PRIVATE)
    _add_endpoint(judge, clip, prompt)
    return model


class ClipPage:
    """What *One clip* answers with a result, which is kept; `cache` is where Gradio keeps uploads."""

    def __init__(self, judge: Judge, menu: ModelMenu, results: KeptResults, ready: ReadyScores, cache: str) -> None:
        self._judge, self._menu, self._results, self._ready, self._cache = judge, menu, results, ready, cache

    def show(
        self,
        clip: str | None,
        prompt: str | None,
        model: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[str]:
        """Score an upload; show the result, and the note on the model that judges."""

        def scoring() -> Score:
            return _score(lambda: self._menu.scorer(model), clip, prompt, progress)

        return [self._result(clip, prompt or "", model, scoring), banner(self._judge.about)]

    def show_example(self, model: str | None, chosen: gr.EventData) -> list[str]:
        """Fill in an example, and show its result."""
        examples = self._ready.examples
        place, file = chosen_example(examples, getattr(chosen, "number", None), self._cache)
        asked = examples[place].prompt
        return [
            file,
            asked,
            self._result(file, asked, model, lambda: self._ready.score(place, self._menu.scorer(model))),
        ]

    def _result(self, clip: str | None, prompt: str, model: str | None, scoring: Callable[[], Score]) -> str:
        try:
            with plain_errors():
                title, score = self._menu.title(model), scoring()
            return self._results.keep(partial(keepable, score, str(clip), prompt, model or JUDGE, title=title)).html
        except gr.Error as error:
            return failed(error.message)


def _list_of_results() -> None:
    shown = "window.musicEvalList?.()"  # where the result's script has run before
    gr.HTML(render("score_history.html"), apply_default_css=False, elem_id="history", js_on_load=shown)


def keepable(score: Score, path: str, prompt: str, model: str, address: str, title: str = "") -> Kept:
    """Return what is kept of a score at an address; `title` is what its judge is called."""
    checkpoint, duration_s = score.provenance.checkpoint, score.provenance.audio.duration_s
    return Kept(
        done(score, path, prompt, model, address, title),
        path,
        prompt,
        model,
        plot=timeline(score.outline, duration_s, score.windows, score.scales),
        score=score.to_json(),
        titles={scale.key: scale.title for scale in score.scales},
        judge=f"by {title or checkpoint.id} ({checkpoint.sha256[:12]})",
        duration_s=duration_s,
    )


def _recall(results: KeptResults, judge: Judge, menu: ModelMenu, shown: gr.HTML, inputs: Sequence[Any]) -> None:
    """Let the page show a result again, with what was asked, or delete it; its script asks by the result's name."""

    def recall(chosen: gr.EventData) -> list[Any]:
        name = str(getattr(chosen, "r", ""))
        kept = results.find(name)
        if kept is None:
            gone = failed(_gone()) if name else empty(judge.about.scales)
            return [gone, *[gr.skip()] * len(inputs)]
        there = kept.model if kept.model in dict(menu.choices()).values() else JUDGE
        clip = kept.clip if Path(kept.clip).is_file() else None
        return [kept.html, clip, kept.prompt, there]

    def forget(chosen: gr.EventData) -> Any:
        results.forget(str(getattr(chosen, "r", "")))
        return empty(judge.about.scales) if getattr(chosen, "shown", False) else gr.skip()

    recalled = shown.recall(recall, None, [shown, *inputs], trigger_mode="multiple", **QUIETLY)
    recalled.then(None, js=_NOTE_RECALLED, **PRIVATE)
    shown.forget(forget, None, shown, **QUIETLY)


def _follow(judge: Judge, menu: ModelMenu, models: list[gr.Dropdown], note: gr.HTML) -> None:
    shown_judge = gr.State("")  # its SHA-256; another may judge by now

    def follow(known: str, *chosen: str) -> list[Any]:
        return follow_judge(judge, menu, known, *chosen)

    gr.Timer(_FOLLOW_S).tick(follow, [shown_judge, *models], [*models, note, shown_judge], **BY_ITSELF)


def _result(judge: Judge) -> gr.HTML:
    """Lay out what shows a score, or why an upload is refused before it is sent."""

    def refuse(file: gr.EventData) -> str:
        name, size = getattr(file, "name", ""), getattr(file, "bytes", None)
        if not isinstance(size, int | float):
            raise refusal("There is no such file.")
        allowed = judge.limits.max_bytes / _MEGABYTE
        given = shown_beyond(size / _MEGABYTE, allowed, 1)
        sentence = f"has {given} MB; the limit is {allowed:g} MB. Cut it or save it as FLAC."
        return failed(f"{shown_name(str(name))} {sentence}")

    shown = gr.HTML(
        empty(judge.about.scales),
        elem_id="result",
        js_on_load=static(*_SCRIPTS),
        apply_default_css=False,
        max_bytes=judge.limits.max_bytes,
    )
    shown.too_large(refuse, None, shown, **QUIETLY)
    return shown


def _add_endpoint(judge: Judge, clip: gr.Audio, prompt: gr.Textbox) -> None:
    """Offer ``/score``; its button and its output are never shown, for nobody clicks it."""

    def score(
        clip: str | None,
        prompt: str | None,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> dict[str, Any]:
        """Score a clip against its prompt: musical impression and textual alignment, each from 1 to 5."""
        return _score(lambda: judge.scorer, clip, prompt, progress).to_json()

    output = gr.JSON(label="Score", visible=False)
    gr.Button(visible=False).click(score, [clip, prompt], output, api_name="score", **_ONE_AT_A_TIME)


def follow_judge(judge: Judge, menu: ModelMenu, known: str, *chosen: str) -> list[Any]:
    """Return each menu, the note and the SHA-256 of the model that judges, to be skipped while that is `known`."""
    now = judge.about
    if now.sha256 == known:
        return [gr.skip()] * (len(chosen) + 2)
    return [*(menu.update(one) for one in chosen), banner(now), now.sha256]


def _inputs(menu: ModelMenu) -> tuple[gr.Audio, gr.Textbox, gr.Dropdown]:
    clip = gr.Audio(
        label="Clip", sources=["upload", "microphone"], type="filepath", editable=False, buttons=[], elem_id="clip"
    )
    prompt = gr.Textbox(
        label="Prompt",
        info="Shift+Enter scores",
        placeholder="What the music was asked to be",
        lines=3,
        max_lines=8,
        elem_id="prompt",
    )
    return clip, prompt, judge_menu(menu, "model")


def _score(judging: Callable[[], "Scorer"], path: str | None, prompt: str | None, progress: gr.Progress) -> Score:
    """Score an upload; every error becomes a `gr.Error` with a plain sentence."""
    with plain_errors():
        if path is None:
            raise AudioError("There is no clip. Drop a file, record one, or choose an example.")
        progress(0.0, desc="Waiting for the model")
        scorer = judging()  # this score's, whichever takes its place meanwhile
        with SCORING.labels("clip").time():
            return scorer.score(path, prompt or "", lambda share, doing: progress(share, desc=doing))
