"""The Training tab: a run to watch, its result, the models, and what to train next.

Every handler is the administrator's. A run is a process of its own (`core.training.runs`), so the page only
reads what it has written: closing the page, or restarting the server, changes nothing about it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from annotation.results.desk import study_names
from core.scales import MAX_SCORE, MIN_SCORE, SCALE_TITLES, SCALES
from core.splits import Split
from core.training.run_status import RUNNING, Run, RunOrder
from core.training.shelf import Model
from webapp import training_views as views
from webapp.admin import Administration
from webapp.door import BY_ITSELF
from webapp.header import banner
from webapp.training_desk import FROM_SERVER, FROM_STUDY, Desk, curves, scatter

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}
_QUIETLY: dict[str, Any] = {**_PRIVATE, "show_progress": "hidden"}
_TICK_S = 1.0
_FEWEST_EPOCHS = 10  # on the axis, so that its marks are whole numbers
# What can be chosen, and the words for it; what is recommended first.
RECIPE_CHOICES = {
    "frozen: only the heads learn, on cached embeddings; minutes on a CPU": "frozen",
    "paper: the towers learn too, as in the MusicEval paper; asks for a GPU": "paper",
}
TOWER_CHOICES = {
    "small: comes with MusicEval; learned composed music only": "small",
    "music-audioset: LAION-CLAP’s, which the paper starts from; has to be fetched first": "music-audioset",
}
SPLIT_CHOICES = {
    "random: clips, as in the paper": "random",
    "systems: whole systems": "systems",
    "prompts: whole prompts": "prompts",
    "official: the parts that the data came with": "official",
}
_TO_THE_TOP = """(...given) => {
  document.querySelector("#training-run").scrollIntoView({behavior: "smooth", block: "center"});
  return given;
}"""
_COLOURS = {"train": "#8f8c83", "dev": "#1f9488"}  # 3 to 1 on the backgrounds of both modes


class _Parts:
    """The components of the tab, in the order of the page."""

    def __init__(self) -> None:
        self.run = gr.HTML(apply_default_css=False, elem_id="training-run")
        self.stop = gr.Button("Stop", visible=False, size="sm", elem_classes="me-narrow")
        self.curves = gr.LinePlot(
            visible=False,
            x="epoch",
            y="L1",
            color="part",
            color_map=_COLOURS,
            title="Mean absolute error by epoch",
            x_title="Epoch",
            y_title="L1",
            color_title="Part",
            height=260,
            buttons=["export"],
            elem_id="training-curves",
        )
        self.unfinished = gr.HTML(js_on_load=views.BUTTONS, apply_default_css=False, elem_id="unfinished")
        self.result = gr.HTML(apply_default_css=False, elem_id="training-result")
        with gr.Row(elem_classes="me-scatters"):
            self.scatter = [_scatter(scale) for scale in SCALES]
        self.models = gr.HTML(js_on_load=views.BUTTONS, apply_default_css=False, elem_id="models")
        self.timer = gr.Timer(_TICK_S, active=False)
        self.seen = gr.State("")  # what the curves show
        self.shown = gr.State("")  # name of the model whose result is shown

    @property
    def watched(self) -> list[Any]:
        """What a running run changes."""
        return [self.run, self.stop, self.curves, self.seen, self.timer]

    @property
    def all(self) -> list[Any]:
        """What everything else changes."""
        return [*self.watched, self.unfinished, self.result, *self.scatter, self.models, self.shown]


def build_training_tab(
    administration: Administration, token: gr.BrowserState, looks: Sequence[Any], desk: Desk, note: gr.HTML
) -> None:
    """Lay the tab out behind its door.

    Parameters
    ----------
    administration : Administration
    token : gradio.BrowserState
    looks : sequence of gradio.events.Dependency
        Of `webapp.door.Door`.
    desk : Desk
    note : gradio.HTML
        What the Score tab says of the model that judges.
    """
    guarded = administration.guarded
    parts = _Parts()
    handlers = _Handlers(desk, len(parts.all))
    controls, start = _controls()
    source, study, folder, *_ = controls
    enter, filled = guarded(handlers.enter, gr.skip()), [*parts.all, study, source]
    for look in looks:
        look.then(enter, [token, study], filled, **BY_ITSELF)
    signed_out = [gr.Timer(active=False) if part is parts.timer else gr.skip() for part in parts.all]
    parts.timer.tick(guarded(handlers.watch, signed_out), [token, parts.seen], parts.all, **BY_ITSELF)
    gr.on(
        [parts.models.select, parts.unfinished.select],
        guarded(handlers.act),
        [token, parts.shown],
        [*parts.all, note],
        show_progress_on=parts.models,
        **_PRIVATE,
    )
    source.change(guarded(handlers.choose_source), [token, source], [study, folder], **_QUIETLY)
    start.click(guarded(handlers.start), [token, *controls], parts.all, js=_TO_THE_TOP, **_QUIETLY)
    parts.stop.click(guarded(handlers.stop), token, parts.all, show_progress_on=parts.run, **_PRIVATE)


class _Handlers:
    """What the page calls; each gives new values of components."""

    def __init__(self, desk: Desk, n_parts: int) -> None:
        self._desk, self._n_parts = desk, n_parts

    def refresh(self) -> list[Any]:
        """Bring everything up to date."""
        return _everything(self._desk, "")

    def enter(self, study: str | None) -> list[Any]:
        """Bring everything up to date, the studies too."""
        names = study_names(self._desk.venue.database)
        chosen = study if study in names else next(iter(names), None)
        source = gr.skip() if names else FROM_SERVER
        return [*self.refresh(), gr.update(choices=names, value=chosen), source]

    def choose_source(self, source: str) -> list[Any]:
        """Show the control that goes with a source."""
        return [gr.update(visible=source == FROM_STUDY), gr.update(visible=source == FROM_SERVER)]

    def watch(self, seen: str) -> list[Any]:
        """Follow the run; bring everything up to date when it has ended."""
        run = self._desk.shown_run()
        if run is None or run.state != RUNNING:
            return self.refresh()
        watched = _watched(run, seen)
        return [*watched, *[gr.skip()] * (self._n_parts - len(watched))]

    def act(self, shown: str, chosen: gr.EventData) -> list[Any]:
        """Do what a button in a list says."""
        action, name = str(getattr(chosen, "action", "")), str(getattr(chosen, "name", ""))
        self._desk.act(action, name)
        shown = name if action == "show" else shown
        return [*_everything(self._desk, shown), banner(self._desk.judge.scorer.checkpoint)]

    def start(self, source: str, study: str | None, folder: str, *how: Any) -> list[Any]:
        """Start a run of what the controls say."""
        recipe, tower, kind, seed, name = how
        order = RunOrder(Path(), recipe, tower, Split(kind, int(seed or 0)))
        self._desk.start(source, study, folder or "", order, name or "")
        return self.refresh()

    def stop(self) -> list[Any]:
        """Stop the run that is going."""
        self._desk.stop()
        return self.refresh()


def _everything(desk: Desk, shown: str) -> list[Any]:
    """All that the tab shows, as `_Parts.all` lists it; `shown` names the model whose result is shown."""
    runs, model = desk.runs.all(), desk.model(shown)
    return [
        *_watched(desk.shown_run(), ""),
        views.unfinished_list(runs, desk.runs.deleted()),
        views.result(model),
        *(_points(model, scale) for scale in SCALES),
        views.model_list(desk.judge.shelf.models(), desk.judge.name, desk.has_previous(), desk.judge.base),
        model.name if model else "",
    ]


def _watched(run: Run | None, seen: str) -> list[Any]:
    """What `_Parts.watched` lists; the curves only if they show something else than what was seen."""
    running = run is not None and run.state == RUNNING
    now = f"{run.name} {run.epoch} {run.state}" if run else ""
    course = gr.skip()
    if run is None:
        course = gr.update(visible=False)
    elif now != seen:
        rows = curves(run)
        course = gr.update(value=rows, x_lim=[0, max(_FEWEST_EPOCHS, run.epoch)], visible=len(rows) > 0)
    return [views.run_card(run), gr.update(visible=running), course, now, gr.Timer(active=running)]


def _points(model: Model | None, scale: str) -> Any:
    points = scatter(model, scale)
    title = f"{SCALE_TITLES[scale]}, {len(points)} clips"
    return gr.update(value=points, title=title, visible=len(points) > 0)


def _scatter(scale: str) -> gr.ScatterPlot:
    return gr.ScatterPlot(
        visible=False,
        x="rated",
        y="predicted",
        x_title="Rated (MOS)",
        y_title="Predicted",
        x_lim=[MIN_SCORE, MAX_SCORE],
        y_lim=[MIN_SCORE, MAX_SCORE],
        tooltip="all",
        height=320,
        buttons=["export"],
        elem_id=f"scatter-{scale}",
    )


def _controls() -> tuple[list[Any], gr.Button]:
    """Lay out what to train next: the controls in order, and the button."""
    gr.HTML("<h2>Train a judge</h2>", apply_default_css=False, elem_classes="me-heading")
    with gr.Row():
        with gr.Column():
            source = gr.Radio([FROM_STUDY, FROM_SERVER], value=FROM_STUDY, label="Rated clips")
            study = gr.Dropdown([], label="Study", info="Its valid ratings, as they are now.")
            folder = gr.Textbox(
                label="Folder or CSV file on the server",
                placeholder="/data/MusicEval-full",
                info="The MusicEval release, the export of a study, or a table of rated clips.",
                visible=False,
            )
            name = gr.Textbox(label="Name of the new model", placeholder="time and recipe")
        with gr.Column():
            recipe = gr.Radio([*RECIPE_CHOICES.items()], value="frozen", label="Recipe")
            tower = gr.Radio([*TOWER_CHOICES.items()], value="small", label="Tower")
            split = gr.Dropdown([*SPLIT_CHOICES.items()], value=Split.kind, label="Held out to measure")
            seed = gr.Number(0, label="Seed", precision=0, minimum=0)
    start = gr.Button("Start training", variant="primary", elem_classes="me-narrow")
    return [source, study, folder, recipe, tower, split, seed, name], start
