"""*Several clips*: a clip list and its clips in, a score for each row out; and the endpoint ``/score_batch``.

A visitor (a page that is open, or a client) has one list at a time, which ends early by its button or when
the page is closed. What it needs lies with the visitor's uploads, which are deleted after a day; what it
makes is three tables among them. Numbers are rounded where they are shown and nowhere before.
"""

import itertools
import json
import math
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from markupsafe import Markup

from core.audio import ClipSource
from core.batch.leaderboard import LEAST_CLIPS, LEAST_SHARE, leaderboard
from core.batch.manifest import FORMATS, OK, Cells, Row, score_columns, table_columns, write_records
from core.batch.paired import LEAST_PROMPTS, Comparison, Pair, compare_systems
from core.batch.run import score_rows
from core.batch.uploads import ClipFiles, ListLimits, UploadedList, read_list
from core.errors import AudioError, BatchError, shown_name
from core.scales import MAX_SCORE, MIN_SCORE, Scales, keys
from core.scorer import Scorer, facts_of
from core.warnings import show_time
from webapp.handlers import PRIVATE, QUIETLY, plain_errors
from webapp.html import csv_address, html_table, render
from webapp.judge import Judge
from webapp.metrics import SCORING
from webapp.system_plot import download, systems_plot
from webapp.turns import Turns, address_of, caller_left

CLIPS_AT_ONCE = 8  # are scored together: progress is shown, a stop heard, and others have a turn between them
_MOST_LISTS = 3  # of one address at a time
QUIET_WARNINGS = ("demo_model", "no_range")  # the page says it already: told, but not as an alarm

_NO_LIST = "There is no clip list. Give a CSV, JSON Lines or Parquet file with the columns file and prompt."
_ANY_NUMBER: dict[str, Any] = {**QUIETLY, "concurrency_limit": None}
# Lists take turns, some clips each; others wait in line; single clips do not wait for lists.
_SOME_AT_A_TIME: dict[str, Any] = {"concurrency_id": "batch", "concurrency_limit": 8}
_TITLES = {".csv": "Download CSV", ".jsonl": "Download JSON Lines", ".parquet": "Download Parquet"}
_TO_THE_STATE = """(...given) => {
  const state = document.querySelector("#batch-state");
  if (state.getBoundingClientRect().top > innerHeight / 2) state.scrollIntoView({behavior: "smooth"});
  return given;
}"""
_SNIPPET = """\
from gradio_client import Client, handle_file

client = Client("{address}")
result = client.predict(manifest=handle_file("clips.csv"), files=[handle_file("clips.zip")], api_name="/score_batch")
for row in result["rows"]:
    print(row["id"], row["status"], row["musical_impression"], row["textual_alignment"])"""


def batch_snippet(address: str) -> str:
    """Return the lines of Python that score a clip list through the server at an address."""
    return _SNIPPET.format(address=address)


def python_usage(snippet: str) -> None:
    """Offer lines of Python, folded away; ``{address}`` in them becomes the page's own address."""
    fill_in = f"() => {json.dumps(snippet)}.replace('{{address}}', location.origin + location.pathname)"
    with gr.Accordion("Use from Python", open=False, elem_classes="me-usage") as accordion:
        shown = snippet.format(address="http://127.0.0.1:7860/")
        code = gr.Code(shown, language="python", show_label=False, show_line_numbers=False)
        accordion.expand(None, outputs=code, js=fill_in, **PRIVATE)


@dataclass(frozen=True)
class ListRun:
    """How far a clip list is: its finished records, the seconds since it was begun, and whether it ended.

    `n_unused` files are asked for by no row. The judge of the beginning, `scorer`, scores it to its end. `notes` say
    what of the list was taken otherwise than it is written.
    """

    n_rows: int
    others: tuple[str, ...]
    scorer: Scorer
    n_unused: int
    records: list[Cells]
    took_s: float = 0.0
    ended: bool = False
    notes: tuple[str, ...] = ()

    @property
    def scales(self) -> Scales:
        """What is predicted."""
        return self.scorer.checkpoint.scales

    @property
    def systems(self) -> pd.DataFrame:
        """The leaderboard of the finished rows."""
        return leaderboard(self.records, self.scales)


class ListRuns:
    """The clip lists that a server is scoring, one for each visitor and few for each address; they take turns."""

    def __init__(self, judge: Judge, limits: ListLimits | None = None) -> None:
        self._judge, self._limits = judge, limits or ListLimits()
        self._running: dict[str, tuple[str, threading.Event]] = {}
        self._lock = threading.Lock()
        self._turns = Turns()

    def run(self, visitor: str, address: str, clip_list: str | None, files: Sequence[str] | None) -> Iterator[ListRun]:
        """Score an uploaded list; yields at the beginning, whenever rows are finished, and at the end."""
        if clip_list is None:
            raise BatchError(_NO_LIST)
        if not files:
            raise BatchError("There are no clips. Give the audio files, or a ZIP of them.")
        scorer = self._judge.scorer
        with self._one_a_visitor(visitor, address) as stopped:
            given = self._read(Path(clip_list), scorer)
            rows = given.rows
            others = tuple(dict.fromkeys(column for row in rows for column in row.others))
            asked = [row.file for row in rows]
            with ClipFiles([Path(file) for file in files], asked, scorer.limits) as clips:
                start_s = time.monotonic()
                begun = ListRun(len(rows), others, scorer, clips.n_unused, [], notes=given.notes)
                yield begun
                done: dict[int, Cells] = {}
                for finished in self._score(scorer, rows, clips, address):
                    done |= finished
                    ended = stopped.is_set() or caller_left() or len(done) == len(rows)
                    records = [done[number] for number in sorted(done)]
                    yield replace(begun, records=records, took_s=time.monotonic() - start_s, ended=ended)
                    if ended:
                        return

    def _read(self, path: Path, scorer: Scorer) -> UploadedList:
        taken = [*score_columns(scorer.checkpoint.scales)]
        if scorer.readers is None:
            return read_list(path, taken, self._limits)
        return scorer.readers.call(read_list, path, taken, self._limits, name=shown_name(path.name))

    def _score(self, scorer: Scorer, rows: Sequence[Row], clips: ClipFiles, address: str) -> Iterator[dict[int, Cells]]:
        """Score rows, those of one file together, and yield them by their places in the list, some clips at a time."""
        heard_s = worked_s = 0.0

        def find(row: Row) -> ClipSource:
            if heard_s > self._limits.max_audio_s or worked_s > self._limits.max_work_s:
                hours = self._limits.max_audio_s / 3600
                raise AudioError(f"The list has more than {hours:g} hours of audio, or takes too long. Split it.")
            return clips.find(row.file)

        of_file: dict[str, list[int]] = defaultdict(list)
        for number, row in enumerate(rows):
            of_file[row.file].append(number)
        files = iter(of_file.values())
        while some := list(itertools.chain.from_iterable(itertools.islice(files, CLIPS_AT_ONCE))):
            with self._turns.turn(address), SCORING.labels("list").time():
                start_s = time.monotonic()
                finished = dict(zip(some, score_rows(scorer, [rows[number] for number in some], find), strict=True))
                worked_s += time.monotonic() - start_s
            heard_s += sum({record["file"]: record["duration_s"] or 0.0 for record in finished.values()}.values())
            yield finished

    def stop(self, visitor: str) -> None:
        """End a visitor's list after the rows that are being scored, if there is one."""
        with self._lock:
            if visitor in self._running:
                self._running[visitor][1].set()

    @contextmanager
    def _one_a_visitor(self, visitor: str, address: str) -> Iterator[threading.Event]:
        stopped = threading.Event()
        with self._lock:
            if visitor in self._running:
                raise BatchError("A clip list of yours is being scored already. Wait for it, or stop it.")
            if sum(other == address for other, _ in self._running.values()) >= _MOST_LISTS:
                raise BatchError(f"{_MOST_LISTS} clip lists of your address are being scored. Wait for one of them.")
            self._running[visitor] = address, stopped
        try:
            yield stopped
        finally:
            with self._lock:
                del self._running[visitor]


@contextmanager
def tables(run: ListRun) -> Iterator[Mapping[str, Path]]:
    """Write the tables of a list, by suffix; they are there until the block ends."""
    with tempfile.TemporaryDirectory(prefix="musiceval-batch-") as folder:
        paths = {suffix: Path(folder) / f"scores{suffix}" for suffix in FORMATS}
        for path in paths.values():
            write_records(path, table_columns(run.scales, run.others), run.records)
        yield paths


# What the page shows


def state(name: str, run: ListRun | None = None, **more: Any) -> Markup:
    """Show how far a list is: *empty*, *waiting*, *scoring*, *ended* or *failed*."""
    if run is not None:
        n_done = len(run.records)
        left_s = run.took_s * (run.n_rows - n_done) / n_done if n_done else 0.0
        more |= {
            "n_done": n_done,
            "n_rows": run.n_rows,
            "n_failed": sum(record["status"] != OK for record in run.records),
            "n_unused": run.n_unused,
            "notes": run.notes,
            "percent": round(100 * n_done / run.n_rows),
            "left": show_time(left_s) if n_done else "",
            "checkpoint": run.scorer.checkpoint,
        }
    return render("batch_state.html", state=name, **more)


def board(run: ListRun) -> Markup:
    """Show the systems, a plot for each scale and one table; and what to know of the model that scored."""
    systems = run.systems
    plots = []
    for scale in run.scales:
        ranked = systems[systems[f"{scale.key}_rank"].notna()]
        if len(ranked):
            svg = systems_plot(ranked, scale, "Predicted score")
            plots.append(svg + download(svg, f"leaderboard-{scale.key}"))
    rows = [
        (row["system"], _clips(row), *(_standing(row, key) for key in keys(run.scales)), row["reason"])
        for row in systems.to_dict("records")
    ]
    heads = ("System", "Clips with scores", *(scale.title for scale in run.scales), "What is missing")
    table = html_table("Systems: mean predicted score [95 % interval] rank", heads, rows)
    n_outside = sum(not record["system"] for record in run.records)
    return render(
        "batch_board.html",
        plots=plots,
        table=table,
        warnings=run.scorer.model_warnings(),
        checkpoint=run.scorer.checkpoint,
        n_outside=n_outside,
        pairs=pairs_table(run),
        least_share=LEAST_SHARE,
        least_clips=LEAST_CLIPS,
    )


def pairs_table(run: ListRun) -> Markup:
    """Show in one table how far systems differ on the prompts that they share, or why that is not known."""
    found = {scale.title: compare_systems(run.records, scale.key) for scale in run.scales}
    heads = ["Systems", "Scale", "Difference", "95 % interval", "p, corrected", "Higher, tied, lower"]
    rows = [(title, pair) for title, one in found.items() for pair in one.pairs]
    return render(
        "batch_pairs.html",
        table=html_table("Pairs of systems on shared prompts", heads, [_pair_row(*row) for row in rows]),
        csv=csv_address(
            ["scale", *Pair.__dataclass_fields__], [(title, *asdict(pair).values()) for title, pair in rows]
        ),
        said=[f"{title}: {_groups(one)}" for title, one in found.items()],
        has_pairs=bool(rows),
        least=LEAST_PROMPTS,
    )


def _pair_row(title: str, pair: Pair) -> list[str]:
    return [
        f"{pair.one} – {pair.other}",
        title,
        f"{pair.difference:+.2f}",
        f"{pair.low:+.2f} to {pair.high:+.2f}",
        "< 0.001" if pair.p < 0.001 else f"{pair.p:.3f}",
        f"{pair.n_higher}, {pair.n_ties}, {pair.n_lower}",
    ]


def _groups(found: Comparison) -> str:
    if found.reason:
        return found.reason
    groups = "; ".join(", ".join(group) for group in found.groups)
    return f"no difference is known between {groups}." if groups else "all pairs that were compared differ."


def _clips(row: dict[str, Any]) -> str:
    return f"{row['n_clips']:,}" if not row["n_failed"] else f"{row['n_clips']:,} of {row['n_rows']:,}"


def _standing(row: dict[str, Any], scale: str) -> str:
    score, low, high = row[scale], row[f"{scale}_low"], row[f"{scale}_high"]
    if math.isnan(score):
        return "–"
    around = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    rank = row[f"{scale}_rank"]
    return f"{score:.2f}{around} {'–' if pd.isna(rank) else f'{rank}.'}"


def rows_table(run: ListRun) -> pd.DataFrame:
    """Lay the rows out for the page; downloads have more columns and all digits."""
    shown = []
    for record in run.records:
        values = [record[key] for key in keys(run.scales)]
        scores = [None if value is None else round(value, 2) for value in values]
        codes = [code for code in (record["warnings"] or "").split(";") if code not in QUIET_WARNINGS]
        know = record["reason"] or ", ".join(codes).replace("_", " ")
        shown.append([record["id"], record["file"], record["system"], *scores, record["status"], know])
    return pd.DataFrame(shown, columns=_table_heads(run.scales))


def _table_heads(scales: Scales) -> list[str]:
    return ["Row", "File", "System", *(scale.title for scale in scales), "Status", "What to know"]


# The page


def build_clip_list_tab(app: gr.Blocks, judge: Judge) -> None:
    """Lay the tab out in the open `app`, whose closing ends a visitor's list."""
    runs = ListRuns(judge)
    with gr.Row(elem_classes="me-columns"):
        with gr.Column(elem_classes="me-left"):
            given = _inputs()
            start = gr.Button("Score all", variant="primary", size="lg", elem_id="score-all")
            stop = gr.Button("Stop", visible=False, size="lg", elem_id="stop-batch")
        with gr.Column(elem_classes="me-right"):
            empty = state("empty", limits=ListLimits(), max_bytes=judge.limits.max_bytes)
            shown = gr.HTML(empty, elem_id="batch-state", apply_default_css=False)
            with gr.Row(visible=False, elem_classes="me-downloads") as links:
                files = [gr.DownloadButton(_TITLES[suffix], size="md", min_width=144) for suffix in FORMATS]
            python_usage(_SNIPPET)
    systems = gr.HTML(apply_default_css=False, elem_id="leaderboard")
    outputs = [shown, start, stop, systems, _table(judge.scorer.checkpoint.scales), links, *files]

    def begin() -> list[Any]:
        wait, hidden = gr.update(interactive=False), gr.update(visible=False)
        return [state("waiting"), wait, hidden, "", hidden, hidden, *[gr.skip()] * len(FORMATS)]

    def run_batch(clip_list: str | None, files: list[str] | None, request: gr.Request) -> Iterator[list[Any]]:
        yield from _course(runs.run(str(request.session_hash), address_of(request), clip_list, files))

    def stop_batch(request: gr.Request) -> Any:
        runs.stop(str(request.session_hash))
        return gr.update(visible=False)

    def leave(request: gr.Request) -> None:
        runs.stop(str(request.session_hash))

    begun = start.click(begin, None, outputs, js=_TO_THE_STATE, **_ANY_NUMBER)
    begun.then(run_batch, given, outputs, **QUIETLY, **_SOME_AT_A_TIME)
    stop.click(stop_batch, None, stop, **_ANY_NUMBER)
    app.unload(leave)
    _add_endpoint(runs, given)


def _course(course: Iterator[ListRun]) -> Iterator[list[Any]]:
    """What the page shows while a list is scored, at its end, and where it cannot be."""
    ready = gr.update(interactive=True)
    hidden, visible = gr.update(visible=False), gr.update(visible=True)
    nothing = [gr.skip()] * (3 + len(FORMATS))
    try:
        with plain_errors():
            for run in course:
                if not run.ended:
                    yield [state("scoring", run), gr.skip(), visible, *nothing]
                    continue
                table = gr.update(value=rows_table(run), visible=True)
                with tables(run) as paths:
                    results = [board(run), table, visible, *map(str, paths.values())]
                    yield [state("ended", run), ready, hidden, *results]
    except gr.Error as error:
        yield [state("failed", message=error.message), ready, hidden, *nothing]


def _inputs() -> list[gr.File]:
    label = "Clips: audio files, or ZIPs of them"
    return [
        gr.File(label="Clip list", file_types=list(FORMATS), elem_id="manifest", height=144, buttons=[]),
        gr.File(label=label, file_count="multiple", elem_id="files", height=160, buttons=[]),
    ]


def _table(scales: Scales) -> gr.Dataframe:
    return gr.Dataframe(
        headers=_table_heads(scales),
        label=f"Rows; scores from {MIN_SCORE:g} to {MAX_SCORE:g}",
        visible=False,
        interactive=False,
        show_search="search",
        wrap=True,
        column_widths=["90px", "220px", "180px", *["110px"] * len(scales), "80px", "260px"],
        max_height=480,
        elem_id="batch-rows",
        elem_classes="me-clips",
        buttons=["fullscreen"],
    )


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
            for run in runs.run(str(request.session_hash), address_of(request), manifest, files):
                progress((len(run.records), run.n_rows), unit="rows")
            systems = run.systems
            return {
                "rows": run.records,
                "systems": systems.astype(object).where(systems.notna(), None).to_dict("records"),
                "warnings": [asdict(warning) for warning in run.scorer.model_warnings()],
                "checkpoint": asdict(facts_of(run.scorer.checkpoint)),
                "notes": list(run.notes),
            }

    output = gr.JSON(label="Scores", visible=False)
    gr.Button(visible=False).click(score_batch, given, output, api_name="score_batch", **_SOME_AT_A_TIME)
