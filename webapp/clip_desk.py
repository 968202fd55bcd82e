"""*Clips* of a study on its page: adding them with a report of what is wrong, hearing each, and what becomes of one."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from annotation.database import now
from annotation.material.clip_life import find_by_name, replace, reprompt, retire
from annotation.material.files import ClipFile
from annotation.material.ingest import IngestReport, ingest
from annotation.material.sound import FINDINGS, read_normalised
from annotation.results.clips import KINDS, clip_page, clip_rows, clips_table
from annotation.results.ratings import ratings_table
from annotation.studies import find_study
from core.audio import AudioLimits
from core.batch.uploads import ClipFiles, ListLimits
from core.errors import StudyError, shown_name
from core.files import Problems
from core.readers import Readers
from core.tables import open_table
from webapp.follow import Done, Report, follow
from webapp.handlers import Shown, explain, html_part, on
from webapp.html import render, shown_table
from webapp.listening_api import StudyStore
from webapp.long_frame import LongFrame

SOUNDS = "/admin/sound"
LIMITS = ListLimits(max_rows=20_000)
_FILL = (
    "A clip list has the columns file, prompt and system, and may have kind (stimulus, anchor, practice), explanation "
    "and expected scores. Give it with its audio, alone or in a ZIP; or name a list that lies on the server beside its "
    "audio. What the study has already is not added again."
)
_LIFE = (
    "Another prompt or recording is another clip: the old one is retired and keeps its ratings, which do not count any "
    "more. Nobody gets a retired clip again."
)


class ClipDesk:
    """The parts of the tab, and the handlers of its controls."""

    def __init__(
        self, store: StudyStore, limits: AudioLimits, readers: Readers | None, study: gr.Dropdown, changed: gr.State
    ) -> None:
        self._store, self._limits, self.changed = store, limits, changed
        self._read = partial(readers.call, read_normalised) if readers else read_normalised
        self.overview = LongFrame("Clips, those on which raters disagree most first: choose one; a heading sorts")
        self._lay_out_filling(study)
        self._lay_out_life(study)

    def _lay_out_filling(self, study: gr.Dropdown) -> None:
        with gr.Accordion("Add clips", open=False):
            explain("Add clips", _FILL)
            with gr.Row(elem_classes="me-columns"):
                self.list = gr.File(label="Clip list (CSV)", file_types=[".csv", ".tsv", ".txt"], height=140)
                self.files = gr.File(label="Audio files, or a ZIP", file_count="multiple", height=140)
            self.path = gr.Textbox(
                label="Or a clip list on the server", placeholder="/data/autumn/clips.csv", max_length=1000
            )
            add = gr.Button("Add and hear them", variant="primary", elem_classes="me-narrow")
            self.report = html_part()
        given = [study, self.list, self.files, self.path]
        on(add.click, self.fill, given, [self.report, self.list, self.files, self.changed], show_progress="hidden")

    def _lay_out_life(self, study: gr.Dropdown) -> None:
        explain("One clip", _LIFE)
        self.clip = gr.Dropdown(label="Clip", choices=[], filterable=True)
        self.heard = html_part()
        why = gr.Textbox(label="Reason, for the log", max_length=500)
        with gr.Row(elem_classes="me-bar"):
            prompt = gr.Textbox(label="Another prompt", lines=2, max_length=5_000, min_width=280)
            again = gr.Button("Give this prompt", scale=0, min_width=176)
        with gr.Row(elem_classes="me-bar"):
            source = gr.File(label="Another recording", height=120, min_width=280)
            other = gr.Button("Replace", scale=0, min_width=144)
            end = gr.Button("Retire", variant="stop", scale=0, min_width=144)
        done = [self.changed, why, self.heard]
        on(self.overview.table.select, self.choose, [study], [self.clip, self.heard], show_progress="hidden")
        on(self.clip.input, self.hear, [study, self.clip], [self.heard], show_progress="hidden")
        on(again.click, self.reprompt_clip, [study, self.clip, prompt, why], [*done, prompt])
        on(other.click, self.replace_clip, [study, self.clip, source, why], [*done, source])
        on(end.click, self.retire_clip, [study, self.clip, why], done)
        self._why, self._prompt, self._source = why, prompt, source

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [*self.overview.parts, self.clip, self.heard, self.report]

    def show(self, name: str, before: str | None, ratings: pd.DataFrame, scores: pd.DataFrame) -> Shown:
        """Show what a study has, and what is to be known of it before and after raters hear it."""
        with self._store.database.read() as session:
            study = find_study(session, name)
            rows = clip_rows(session, study)
            table = clips_table(rows, study.scales, ratings, scores, FINDINGS)
        shown: Shown = {
            **self.overview.show(table),
            self.clip: gr.update(
                choices=[(_offer(row), row.name) for row in rows if row.retired_at is None], value=None
            ),
        }
        return shown if name == before else {**shown, self.heard: "", self.report: ""}

    def choose(self, study: str | None, event: gr.SelectData) -> Shown:
        """Show the clip of the row that was clicked; one that is retired can be heard, and changes no more."""
        *_, name = event.row_value
        retired = event.row_value[1] == "retired"
        return {self.clip: None if retired else name, self.heard: self.hear(study, name)}

    def fill(self, study: str | None, clip_list: str | None, files: Sequence[str] | None, path: str) -> Iterator[Shown]:
        """Add the clips of a list, and report what was found; it goes on when the page is closed."""
        for step in follow(partial(self._fill, study or "", clip_list, files or (), (path or "").strip())):
            if isinstance(step, Done):
                lines = str(step.value).splitlines()
                yield {
                    self.report: render("studio_report.html", first=lines[0], lines=[one[2:] for one in lines[1:]]),
                    **dict.fromkeys((self.list, self.files), None),
                    self.changed: datetime.now(UTC).isoformat(),
                }
            else:
                yield {self.report: render("studio_filling.html", done=step[0], total=step[1])}

    def _fill(self, study: str, clip_list: str | None, files: Sequence[str], path: str, report: Report) -> IngestReport:
        at = datetime.now(UTC)
        add = partial(
            ingest, self._store.database, self._store.data, study, limits=self._limits, progress=report, read=self._read
        )
        if path:
            return add(_list_on_server(path), at)
        if clip_list is None or not files:
            raise StudyError("Give a clip list and its audio, or name a clip list on the server.")
        asked = _files_of(Path(clip_list))
        with ClipFiles([Path(file) for file in files], asked, self._limits) as clips:
            return add(Path(clip_list), at, find=clips.find)

    def hear(self, study: str | None, clip: str | None) -> Markup:
        """Show a clip with its player."""
        if not study or not clip:
            return Markup()
        with self._store.database.read() as session:
            of_study = find_study(session, study)
            (row,) = [row for row in clip_rows(session, of_study) if row.name == clip] or [None]
            if row is None:
                raise StudyError("There is no such clip any more. Press Refresh.")
            page = clip_page(of_study, ratings_table(session, of_study), clip)
        return render(
            "studio_heard.html",
            clip=row,
            found=[FINDINGS[code] for code in row.findings if code in FINDINGS],
            address=f"sound/{study}/{clip}.wav",
            sentences=page.sentences,
            tables=[shown_table(table) for table in page.tables],
        )

    def retire_clip(self, study: str | None, clip: str | None, reason: str) -> Shown:
        """Take a clip out of use."""
        with self._store.database.write() as session:
            retire(session, find_study(session, study or ""), _chosen(clip), reason, now(session))
        return self._done("The clip is retired.")

    def reprompt_clip(self, study: str | None, clip: str | None, prompt: str, reason: str) -> Shown:
        """Give a clip another prompt."""
        reprompt(self._store.database, self._store.data, study or "", _chosen(clip), prompt, reason)
        return {**self._done("The clip has another prompt. Earlier ratings are kept apart."), self._prompt: ""}

    def replace_clip(self, study: str | None, clip: str | None, source: str | None, reason: str) -> Shown:
        """Put another recording in the place of a clip."""
        if source is None:
            raise StudyError("Give the recording that takes the place of this one.")
        path, read = Path(source), partial(self._read, limits=self._limits)
        sound = replace(
            self._store.database, self._store.data, study or "", _chosen(clip), path, path.name, reason, read=read
        )
        found = "".join(f" {FINDINGS[code]}." for code in sound.findings)
        return {**self._done(f"The recording is replaced.{found}"), self._source: None}

    def _done(self, sentence: str) -> Shown:
        note = render("studio_note.html", sentence=sentence)
        return {self.changed: datetime.now(UTC).isoformat(), self._why: "", self.heard: note}


def _offer(row: Any) -> str:
    return f"{row.source_file} – {KINDS[row.kind]}, {row.system}: {row.prompt[:60]}"


def _chosen(clip: str | None) -> str:
    if not clip:
        raise StudyError("Choose a clip first.")
    return clip


def _list_on_server(given: str) -> Path:
    path = Path(given).expanduser().absolute()
    if not path.is_file():
        raise StudyError(f"There is no clip list on the server at {shown_name(path.name)}. Give its path.")
    return path


def _files_of(clip_list: Path) -> list[str]:
    """Return what a clip list asks for; `StudyError` where it is larger than one may be."""
    if clip_list.stat().st_size > LIMITS.max_bytes:
        raise StudyError(f"The clip list has more than {LIMITS.max_bytes / 1e6:g} MB. Split it.")
    problems = Problems(clip_list.name)
    table = open_table(clip_list, ["file"], [])
    rows = list(table.rows(problems))
    if len(rows) > LIMITS.max_rows:
        raise StudyError(f"The clip list has more than {LIMITS.max_rows:,} rows. Split it.")
    return [row.cells.get("file", "") for row in rows]


def sound_route(store: StudyStore) -> Route:
    """Return what plays the clips of studies to the administrator; whoever asks is to have passed the sign-in."""

    def serve(request: Request) -> Response:
        try:
            with store.database.read() as session:
                study = find_study(session, request.path_params["study"])
                clip = find_by_name(session, study, request.path_params["name"])
                file = ClipFile.of(store.data, study, clip.name, clip.wav_sha256, clip.duration_s)
            return Response(file.read()[0], media_type="audio/wav", headers={"Cache-Control": "no-store"})
        except StudyError as error:
            return PlainTextResponse(str(error), 404)

    return Route(f"{SOUNDS}/{{study}}/{{name}}.wav", serve, methods=["GET"])
