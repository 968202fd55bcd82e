"""The judge that is chosen on the page *Training*: its card, its title, its files; and judges from elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from core.errors import CheckpointError, TrainingError
from core.model_files import CARD_FILE
from core.training.about import MOST_NOTE, MOST_TITLE, About
from core.training.judges import carried, describe, pack, receive
from core.training.registry import Model, ModelRegistry
from webapp.exports import EXPORTS
from webapp.fetching import Fetching
from webapp.handlers import PRIVATE, QUIETLY, Shown, explain, told
from webapp.html import render
from webapp.judge import Judge

ARCHIVE = "judge.zip"
JUDGES = f"{EXPORTS}/judges"
_UPLOAD = (
    "The ZIP that Download gives, here or on another server. It is loaded and its hashes are checked before it is "
    "listed; visitors are not offered it until you say so. A larger one than an upload may be is unpacked by hand into "
    "models/ of the data folder."
)


def judge_card(model: Model | None, is_active: bool) -> Markup:
    """Show what a judge is, and what can be done with it."""
    if model is None:
        return Markup()
    try:
        card = (model.folder / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        card = ""
    files = [path.name for path in carried(model.folder)] if not model.problem else []
    return render("judge_card.html", model=model, is_active=is_active, card=card, files=files, archive=ARCHIVE)


class JudgeDesk:
    """The parts that follow the judge that is chosen; `refresh` brings the page up to date, for a judge's name."""

    def __init__(self, judge: Judge, fetching: Fetching, buttons: str) -> None:
        self._judge, self._fetching = judge, fetching
        self.card = gr.HTML(js_on_load=buttons, apply_default_css=False, elem_id="judge-card")
        with gr.Accordion("Title and note", open=False, visible=False, elem_id="judge-about") as self.about:
            self.title = gr.Textbox(label="Title", info="What people call it, and ?judge= in an address.")
            self.note = gr.Textbox(label="Note", lines=2, max_lines=12, info="For those who administrate.")
            self.save = gr.Button("Save title and note", elem_classes="me-narrow")
        self.title.max_length, self.note.max_length = MOST_TITLE, MOST_NOTE

    def lay_out_arrivals(self) -> None:
        """Lay out how judges come from elsewhere."""
        with gr.Accordion("Upload a judge", open=False, elem_id="judge-upload"):
            explain("Upload a judge", _UPLOAD)
            self.archive = gr.File(label="Archive of a judge", file_types=[".zip"], height=140)
            self.take = gr.Button("Check and add it", elem_classes="me-narrow")
        self.official = gr.HTML(apply_default_css=False, elem_id="official-clap")
        self.fetch = gr.Button("Fetch the official CLAP", elem_classes="me-narrow", elem_id="fetch-clap")

    def connect(self, shown: gr.State, refresh: Callable[[str], Shown], everything: list[Any]) -> None:
        """Make the buttons work; `shown` has the name of the judge that is chosen."""

        def save_judge(name: str, title: str, note: str) -> Shown:
            if not name:
                raise TrainingError("There is no judge yet.")
            describe(self._judge.registry, name, title, note)
            return refresh(name)

        def upload_judge(archive: str | None) -> Shown:
            if not archive:
                raise TrainingError("There is no archive. Give the ZIP of a judge.")
            return {**refresh(receive(self._judge.registry, Path(archive))), self.archive: None}

        def fetch_clap(name: str) -> Shown:
            self._fetching.start()
            return refresh(name)

        self.save.click(told(save_judge), [shown, self.title, self.note], everything, **QUIETLY)
        self.take.click(
            told(upload_judge), self.archive, [*everything, self.archive], show_progress_on=self.archive, **PRIVATE
        )
        self.fetch.click(told(fetch_clap), shown, everything, **QUIETLY)

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [self.card, self.about, self.title, self.note, self.official, self.fetch]

    def show(self, model: Model | None) -> Shown:
        """Show a judge, and how far the official CLAP is."""
        title, note = _texts(model)
        return {
            self.card: judge_card(model, model is not None and model.name == self._judge.name),
            self.about: gr.update(visible=model is not None),
            self.title: title,
            self.note: note,
            **self.fetched(),
        }

    def is_edited(self, model: Model | None, title: str, note: str) -> bool:
        """Whether a judge's title or note was changed on the page, and not saved."""
        return (title, note) != _texts(model)

    def fetched(self) -> Shown:
        """Show how far the official CLAP is."""
        state = self._fetching.state()
        button = "Go on fetching" if state.percent and not state.is_there else "Fetch the official CLAP"
        return {
            self.official: render("judge_official.html", state=state),
            self.fetch: gr.update(value=button, visible=not (state.is_there or state.is_running)),
        }


def _texts(model: Model | None) -> tuple[str, str]:
    about = model.about if model else About()
    return about.title or (model.name if model else ""), about.note


def judge_routes(registry: ModelRegistry) -> list[Route]:
    """Return what serves the files of judges and runs; whoever asks is to have passed the sign-in."""

    def serve(request: Request) -> Response:
        name, file = request.path_params["name"], request.path_params["file"]
        try:
            folder = registry.folder_of(name)
        except CheckpointError as error:
            return PlainTextResponse(str(error), 404)
        if file == ARCHIVE:
            headers = {"Content-Disposition": f'attachment; filename="{folder.name}.zip"'}
            return StreamingResponse(pack(folder), headers=headers, media_type="application/zip")
        found = next((path for path in carried(folder) if path.name == file), None)
        if found is None:
            return PlainTextResponse("There is no such file.", 404)
        return FileResponse(found, media_type="application/octet-stream", filename=found.name)

    return [Route(f"{JUDGES}/{{name}}/{{file}}", serve, methods=["GET"])]
