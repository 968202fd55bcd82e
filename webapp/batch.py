"""*Several clips*: clips with their prompts in, a score for each out, as a job; and the endpoint ``/score_batch``.

A job has an address (``/?job=…``) and goes on without its page (`webapp.jobs`). What a job or a client needs lies with
the visitor's uploads, which are deleted after a day; what it makes is three tables among them.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio_client.utils import strip_invalid_filename_characters

from core.batch.manifest import FORMATS
from core.batch.uploads import ListLimits
from core.errors import BatchError
from webapp.batch_view import board, rows_view, state, tables
from webapp.handlers import BY_ITSELF, PRIVATE, QUIETLY, plain_errors, told
from webapp.html import render, static
from webapp.jobs import Job, Jobs, Unpacked, gone
from webapp.judge import JUDGE, Judge, ModelMenu
from webapp.list_runs import Given, ListRuns
from webapp.turns import subscriber_of

if TYPE_CHECKING:
    from core.scorer import Scorer

_EXAMPLE = Path(__file__).parent / "examples" / "several.csv"
OpenResult = Callable[["Scorer", str, str, str], str]  # of a scorer, an upload, its prompt, and what was chosen
_ANY_NUMBER: dict[str, Any] = {**QUIETLY, "concurrency_limit": None}
# Lists are read side by side and take turns in being scored, some clips each; single clips do not wait for lists.
_SOME_AT_A_TIME: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 8}
_MOST_DRAWN = 16  # ended jobs
_TITLES = {".csv": "Download CSV", ".jsonl": "Download JSON Lines", ".parquet": "Download Parquet"}
_TO_THE_STATE = """(...given) => {
  const state = document.querySelector("#batch-state");
  if (state.getBoundingClientRect().top > innerHeight / 2) state.scrollIntoView({behavior: "smooth"});
  return given;
}"""
_NOTE_NEW = "() => { window.musicEvalJob?.note(true); }"
_NOTE = "() => { window.musicEvalJob?.note(false); }"
_SHOW_RESULT = "(r) => { window.musicEvalJob.show(r); }"
_CHANGED = "Another model judges now. Have the list scored again, or the clip alone under One clip."
SNIPPET = """\
from gradio_client import Client, handle_file

client = Client("{address}")
result = client.predict(manifest=handle_file("clips.csv"), files=[handle_file("clips.zip")], api_name="/score_batch")
for row in result["rows"]:
    print(row["id"], row["status"], row["musical_impression"], row["textual_alignment"])"""


def python_usage(snippet: str) -> None:
    """Offer lines of Python, folded away; ``{address}`` in them becomes the page's own address."""
    fill_in = f"() => {json.dumps(snippet)}.replace('{{address}}', location.origin + location.pathname)"
    with gr.Accordion("Use from Python", open=False, elem_classes="me-usage") as accordion:
        shown = snippet.format(address="http://127.0.0.1:7860/")
        code = gr.Code(shown, language="python", show_label=False, show_line_numbers=False)
        accordion.expand(None, outputs=code, js=fill_in, **PRIVATE)


def judge_menu(menu: ModelMenu, elem_id: str) -> gr.Dropdown:
    """Offer what may judge, with a note on what is chosen."""
    choices = menu.choices()
    model = gr.Dropdown(choices, value=JUDGE, label="Judge", elem_id=elem_id, visible=len(choices) > 1)
    about = gr.HTML(apply_default_css=False, elem_id=f"{elem_id}-note")
    model.change(menu.note, model, about, **QUIETLY)
    return model


def build_clip_list_tab(judge: Judge, menu: ModelMenu, open_result: OpenResult) -> gr.Dropdown:
    """Lay the tab out and return its menu of judges.

    `open_result` scores a clip for its prompt, and returns the name of the result that it keeps.
    """
    runs = ListRuns(judge, menu)
    with gr.Row(elem_classes="me-columns"):
        with gr.Column(elem_classes="me-left"):
            given = _inputs(menu)
            start = gr.Button("Score all", variant="primary", size="lg", elem_id="score-all")
            example = gr.Button("Try it with an example", size="lg", elem_id="batch-example")
        with gr.Column(elem_classes="me-right"):
            shown = gr.HTML(
                _nothing(judge), elem_id="batch-state", js_on_load=static("batch_job.js"), apply_default_css=False
            )
            with gr.Row(visible=False, elem_classes="me-downloads") as links:
                files = [gr.DownloadButton(_TITLES[suffix], size="md", min_width=144) for suffix in FORMATS]
            listed = "window.musicEvalJob?.list()"  # where the state's script has run before
            gr.HTML(render("batch_history.html"), apply_default_css=False, elem_id="jobs", js_on_load=listed)
            python_usage(SNIPPET)
    systems = gr.HTML(apply_default_css=False, elem_id="leaderboard")
    rows = gr.HTML(apply_default_css=False, elem_id="batch-rows")
    page = JobsPage(judge, menu, Jobs(runs), given[1])
    _connect(page, given, (start, example), (shown, systems, rows, links, *files), open_result)
    _add_endpoint(runs, given[0:2])
    model: gr.Dropdown = given[3]
    return model


def _connect(
    page: "JobsPage",
    given: Sequence[Any],
    buttons: tuple[gr.Button, gr.Button],
    outputs: Sequence[Any],
    open_result: OpenResult,
) -> None:
    """Let the buttons and the page's script ask for what they show."""
    shown, opened = outputs[0], gr.Textbox(visible=False)

    def open_row(chosen: gr.EventData) -> str:
        return page.open_row(str(getattr(chosen, "job", "")), getattr(chosen, "row", None), open_result)

    for button, begin, inputs in ((buttons[0], page.begin, given), (buttons[1], page.begin_example, given[3:])):
        begun = button.click(page.waiting, None, outputs, js=_TO_THE_STATE, **_ANY_NUMBER)
        begun = begun.then(begin, inputs, outputs, **QUIETLY, **_SOME_AT_A_TIME)
        begun.then(None, js=_NOTE_NEW, **PRIVATE)
    recalled = shown.recall(page.recall_job, None, outputs, trigger_mode="multiple", **BY_ITSELF)
    recalled.then(None, js=_NOTE, **PRIVATE)
    shown.follow(page.follow, None, outputs, **BY_ITSELF).then(None, js=_NOTE, **PRIVATE)
    shown.act(page.act, given[1], outputs, **QUIETLY, **_SOME_AT_A_TIME).then(None, js=_NOTE, **PRIVATE)
    one = {"concurrency_id": "score", "concurrency_limit": 1}  # as a clip alone
    opening = shown.reveal(told(open_row), None, opened, **QUIETLY, **one)
    opening.success(None, opened, js=_SHOW_RESULT, **PRIVATE)


class JobsPage:
    """What the tab answers; `files` is where uploads are given, and their folder is found."""

    def __init__(self, judge: Judge, menu: ModelMenu, jobs: Jobs, files: gr.File) -> None:
        self._judge, self._menu, self._jobs, self._files = judge, menu, jobs, files
        self._unpacked = Unpacked()
        self._drawn = OrderedDict[str, tuple[float, list[Any]]]()
        self._drawing = threading.Lock()

    def waiting(self) -> list[Any]:
        """Show that what was given is being read."""
        return self._with_nothing(state("waiting"))

    def begin(
        self, clip_list: str | None, files: list[str] | None, prompt: str | None, judge: str | None, request: gr.Request
    ) -> Any:
        """Begin a job."""
        return self._begin(request, Given(tuple(files or ()), clip_list, prompt or "", judge or JUDGE))

    def begin_example(self, judge: str | None, request: gr.Request) -> Any:
        """Begin a job with clips that come with the program."""
        clips = sorted({line.split(",")[0] for line in _EXAMPLE.read_text(encoding="utf-8").splitlines()[1:]})
        # Among the uploads: Gradio serves no file from where the program is installed.
        paths = [save_file_to_cache(_EXAMPLE.parent / name, self._files.GRADIO_CACHE) for name in clips]
        clip_list = save_file_to_cache(_EXAMPLE, self._files.GRADIO_CACHE)
        return self._begin(request, Given(tuple(paths), clip_list, judge=judge or JUDGE))

    def recall_job(self, chosen: gr.EventData) -> list[Any]:
        """Show a job again, by its name."""
        name = str(getattr(chosen, "job", ""))
        job = self._jobs.find(name)
        if job:
            return self.show(job)
        return self._with_nothing(state("failed", message=gone()) if name else _nothing(self._judge))

    def follow(self, chosen: gr.EventData) -> list[Any]:
        """Show a job where it has gone on since it was seen."""
        name, seen = str(getattr(chosen, "job", "")), str(getattr(chosen, "seen", ""))
        job = self._jobs.find(name)
        if job and self._version(job) == seen:
            return [gr.skip()] * (4 + len(FORMATS))
        return self.recall_job(chosen)

    def act(self, files: list[str] | None, chosen: gr.EventData, request: gr.Request) -> list[Any]:
        """Stop, try again or delete a job; return what the page shows of the one that it showed."""
        name, action = str(getattr(chosen, "job", "")), str(getattr(chosen, "action", ""))
        try:
            with plain_errors():
                if action == "again":
                    return self.show(self._jobs.again(name, subscriber_of(request), tuple(files or ())))
        except gr.Error as error:
            job = self._jobs.find(name)
            return self.show(job, error.message) if job else self.recall_job(chosen)
        if action == "stop":
            self._jobs.stop(name)
        if action == "forget":
            self._jobs.forget(name)
            self._drawn.pop(name, None)
            if getattr(chosen, "shown", False):
                return self._with_nothing(_nothing(self._judge))
        return [gr.skip()] * (4 + len(FORMATS))

    def show(self, job: Job, message: str = "") -> list[Any]:
        """Show a job."""
        run = job.run
        about = {
            "job": job.name,
            "title": job.title,
            "seen": self._version(job),
            "n_before": self._jobs.n_before(job),
            "message": job.error or message,
            "may_try_again": job.ended and (run.n_failed > 0 or len(run.done) < run.n_rows),
        }
        if not job.ended:
            return [state("scoring", run, **about), "", rows_view(run), gr.update(visible=False), *self._no_files()]
        return [state("ended", run, **about), *self._ended(job)]

    def open_row(self, name: str, row: object, open_result: OpenResult) -> str:
        """Return the name of the result of a row, which is scored once more to be shown whole."""
        job = self._jobs.get(name)
        if type(row) is not int or row not in job.run.done:
            raise BatchError("There is no such row.")
        record, scorer = job.run.done[row], self._menu.scorer(job.given.judge)
        if record["model_sha256"] != scorer.checkpoint.sha256:
            raise BatchError(_CHANGED)
        found = job.clip_of(row, self._judge.limits)
        if not isinstance(found, Path):
            name = strip_invalid_filename_characters(Path(record["file"].replace("\\", "/")).name)
            found = Path(self._unpacked.save(found, name, self._files.GRADIO_CACHE))
        return open_result(scorer, str(found), record["prompt"], job.given.judge)

    def _ended(self, job: Job) -> list[Any]:
        """What is shown of an ended job beside its state; drawn once, for it may be asked for again and again."""
        with self._drawing:
            began_s, drawn = self._drawn.get(job.name, (0.0, []))
            if began_s != job.began_s:
                with tables(job.run) as paths:
                    files = [gr.update(value=self._among_uploads(paths[suffix])) for suffix in FORMATS]
                has_rows = bool(job.run.done)
                drawn = [board(job.run) if has_rows else "", rows_view(job.run), gr.update(visible=has_rows), *files]
                self._drawn[job.name] = job.began_s, drawn
                if len(self._drawn) > _MOST_DRAWN:
                    self._drawn.popitem(last=False)
            return drawn

    def _begin(self, request: gr.Request, given: Given) -> list[Any]:
        try:
            with plain_errors():
                return self.show(self._jobs.start(subscriber_of(request), given))
        except gr.Error as error:
            return self._with_nothing(state("failed", message=error.message))

    def _version(self, job: Job) -> str:
        return f"{job.began_s}-{len(job.run.done)}-{job.ended}-{self._jobs.n_before(job)}"

    def _among_uploads(self, path: Path) -> str:
        saved: str = save_file_to_cache(path, self._files.GRADIO_CACHE)
        return saved

    def _with_nothing(self, shown: str) -> list[Any]:
        return [shown, "", "", gr.update(visible=False), *self._no_files()]

    def _no_files(self) -> list[Any]:
        return [gr.skip()] * len(FORMATS)


def _nothing(judge: Judge) -> str:
    return state("empty", limits=ListLimits(), max_bytes=judge.limits.max_bytes)


def _inputs(menu: ModelMenu) -> list[Any]:
    label = "Clips, their prompts as .txt files, or ZIPs of them"
    files = gr.File(label=label, file_count="multiple", elem_id="files", height=176, buttons=[])
    prompt = gr.Textbox(
        label="Prompt for all",
        info="Of clips that have no prompt of their own",
        placeholder="What the music was asked to be",
        lines=2,
        max_lines=6,
        elem_id="batch-prompt",
    )
    label = "Clip list, if there is one"
    clip_list = gr.File(label=label, file_types=list(FORMATS), elem_id="manifest", height=144, buttons=[])
    return [clip_list, files, prompt, judge_menu(menu, "batch-model")]


def _add_endpoint(runs: ListRuns, given: Sequence[gr.File]) -> None:
    """Offer ``/score_batch``; its button and its output are never shown, for nobody clicks it."""

    def score_batch(
        manifest: str | None,
        files: list[str] | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> dict[str, Any]:
        """Score the clips of a clip list: a row for each of its rows, and the means of the systems."""
        with plain_errors():
            for run in runs.run(str(request.session_hash), subscriber_of(request), Given(tuple(files or ()), manifest)):
                progress((len(run.done), run.n_rows), unit="rows")
            systems = run.systems
            return {
                "rows": run.records,
                "systems": systems.astype(object).where(systems.notna(), None).to_dict("records"),
                "warnings": [asdict(warning) for warning in run.judge.warnings],
                "checkpoint": asdict(run.judge.facts),
                "notes": list(run.notes),
            }

    output = gr.JSON(label="Scores", visible=False)
    gr.Button(visible=False).click(score_batch, given, output, api_name="score_batch", **_SOME_AT_A_TIME)
