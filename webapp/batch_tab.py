"""The Batch tab: a manifest and its clips in, a score for each row out; and the endpoint ``/score_batch``.

The page shows progress, then a leaderboard of the systems, the rows and three tables to download. The
endpoint gives the same as JSON.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from core.errors import MusicEvalError
from core.many.batch import BatchLimits
from core.many.leaderboard import leaderboard
from core.many.records import FORMATS
from core.scales import MAX_SCORE, MIN_SCORE
from webapp import batch_views as views
from webapp.batch_run import Batches, Course, tables
from webapp.judge import Judge

logger = logging.getLogger(__name__)
_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
_AT_ONCE: dict[str, Any] = {**_PRIVATE, "concurrency_limit": None}
# Two batches at a time on the machine, others wait in line; single clips do not wait for batches.
_TWO_AT_A_TIME: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 2}
_UNEXPECTED = "Something went wrong on the server; it has been logged there. Try again, or with fewer rows."
_TITLES = {".csv": "Download CSV", ".jsonl": "Download JSON Lines", ".parquet": "Download Parquet"}
_WIDTHS = ("90px", "220px", "180px", "110px", "110px", "80px", "260px")
_TO_THE_STATE = """(...given) => {
  const state = document.querySelector("#batch-state");
  if (state.getBoundingClientRect().top > innerHeight / 2) state.scrollIntoView({behavior: "smooth"});
  return given;
}"""

_SNIPPET = """\
from gradio_client import Client, handle_file

client = Client("{address}")
result = client.predict(
    manifest=handle_file("clips.csv"),
    files=[handle_file("clips.zip")],
    api_name="/score_batch",
)
for row in result["rows"]:
    print(row["id"], row["status"], row["musical_impression"], row["textual_alignment"])"""
_FILL_ADDRESS = f"() => {json.dumps(_SNIPPET)}.replace('{{address}}', location.origin + location.pathname)"


def build_batch_tab(app: gr.Blocks, judge: Judge) -> None:
    """Lay the tab out in the open `gr.Blocks`.

    Parameters
    ----------
    app : gradio.Blocks
        The page, whose closing ends a batch.
    judge : Judge
    """
    batches = Batches(judge)
    with gr.Row(elem_classes="me-columns"):
        with gr.Column(elem_classes="me-left"):
            manifest, files, start, stop = _inputs()
        with gr.Column(elem_classes="me-right"):
            empty = views.empty(BatchLimits().max_rows, judge.limits.max_bytes)
            state = gr.HTML(empty, elem_id="batch-state", apply_default_css=False)
            with gr.Row(visible=False, elem_classes="me-downloads") as row:
                downloads = [
                    gr.DownloadButton(_TITLES[suffix], size="md", min_width=144) for suffix in FORMATS
                ]
            _usage()
    board = gr.HTML(apply_default_css=False, elem_id="leaderboard")
    table = _table()
    results = [board, table, row, *downloads]
    handlers = _Handlers(batches)
    start.click(handlers.begin, None, [state, start, stop, *results], js=_TO_THE_STATE, **_AT_ONCE).then(
        handlers.run_batch,
        [manifest, files],
        [state, start, stop, *results],
        **_PRIVATE,
        **_TWO_AT_A_TIME,
    )
    stop.click(handlers.stop_batch, None, stop, **_AT_ONCE)
    app.unload(handlers.leave)
    output = gr.JSON(label="Scores", visible=False)
    gr.Button(visible=False).click(
        handlers.score_batch, [manifest, files], output, api_name="score_batch", **_TWO_AT_A_TIME
    )


def batch_snippet(address: str) -> str:
    """Write the lines of Python that score a batch through the server at an address."""
    return _SNIPPET.format(address=address)


class _Handlers:
    """What the page and the endpoint call."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def begin(self) -> list[Any]:
        """Show that the batch is taken, before its turn comes."""
        hidden = gr.update(visible=False)
        return [
            views.waiting(),
            gr.update(interactive=False),
            gr.update(visible=False),
            "",
            hidden,
            hidden,
            *[gr.skip()] * len(FORMATS),
        ]

    def run_batch(
        self, manifest: str | None, files: list[str] | None, request: gr.Request
    ) -> Iterator[list[Any]]:
        """Score a batch on the page."""
        idle = [gr.update(interactive=True), gr.update(visible=False)]
        busy = [gr.skip(), gr.update(visible=True)]
        nothing: list[Any] = [gr.skip()] * (3 + len(FORMATS))
        course = None
        try:
            for course in self._batches.run(str(request.session_hash), manifest, files):
                if not course.ended:
                    shown = views.working(course.records, len(course.batch.rows), course.took_s)
                    yield [shown, *busy, *nothing]
            if course is not None:
                yield from self._results(course, idle)
        except MusicEvalError as error:
            yield [views.failed(str(error)), *idle, *nothing]
        except Exception:
            logger.exception("a batch could not be scored")
            yield [views.failed(_UNEXPECTED), *idle, *nothing]

    def _results(self, course: Course, idle: Sequence[Any]) -> Iterator[list[Any]]:
        shown = views.ended(course.records, len(course.batch.rows), course.n_unused, course.scorer)
        systems = leaderboard(course.records)
        with tables(course.batch, course.records) as paths:
            yield [
                shown,
                *idle,
                views.board(systems, course.scorer),
                gr.update(value=views.rows_table(course.records), visible=True),
                gr.update(visible=True),
                *(str(paths[suffix]) for suffix in FORMATS),
            ]

    def stop_batch(self, request: gr.Request) -> Any:
        """End the visitor's batch."""
        self._batches.stop(str(request.session_hash))
        return gr.update(visible=False)

    def leave(self, request: gr.Request) -> None:
        """End the batch of a page that was closed."""
        self._batches.stop(str(request.session_hash))

    def score_batch(
        self,
        manifest: str | None,
        files: list[str] | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> dict[str, Any]:
        """Score the clips of a manifest: a row for each of its rows, and the means of the systems."""
        course = None
        try:
            for course in self._batches.run(str(request.session_hash), manifest, files):
                progress((len(course.records), len(course.batch.rows)), unit="rows")
        except MusicEvalError as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            logger.exception("a batch could not be scored")
            raise gr.Error(_UNEXPECTED, print_exception=False) from error
        return _to_json(course)


def _to_json(course: Course | None) -> dict[str, Any]:
    if course is None:
        raise gr.Error(_UNEXPECTED, print_exception=False)
    systems = leaderboard(course.records)
    return {
        "rows": course.records,
        "systems": systems.astype(object).where(systems.notna(), None).to_dict("records"),
        "warnings": [vars(warning) for warning in course.scorer.model_warnings()],
    }


def _inputs() -> tuple[gr.File, gr.File, gr.Button, gr.Button]:
    manifest = gr.File(label="Manifest", file_types=list(FORMATS), elem_id="manifest", height=144, buttons=[])
    files = gr.File(
        label="Clips: audio files, or ZIPs of them",
        file_count="multiple",
        elem_id="files",
        height=160,
        buttons=[],
    )
    start = gr.Button("Score all", variant="primary", size="lg", elem_id="score-all")
    stop = gr.Button("Stop", visible=False, size="lg", elem_id="stop-batch")
    return manifest, files, start, stop


def _table() -> gr.Dataframe:
    return gr.Dataframe(
        headers=list(views.TABLE_HEADS),
        label=f"Rows; scores from {MIN_SCORE:g} to {MAX_SCORE:g}",
        visible=False,
        interactive=False,
        show_search="search",
        wrap=True,
        column_widths=list(_WIDTHS),
        max_height=480,
        elem_id="batch-rows",
        elem_classes="me-clips",
        buttons=["fullscreen"],
    )


def _usage() -> None:
    with gr.Accordion("Use from Python", open=False, elem_classes="me-usage") as accordion:
        code = gr.Code(
            batch_snippet("http://127.0.0.1:7860/"),
            language="python",
            show_label=False,
            show_line_numbers=False,
        )
        accordion.expand(None, outputs=code, js=_FILL_ADDRESS, **_PRIVATE)
