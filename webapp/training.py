"""The page *Training*: a run to watch, its result as Table I, the models, and what to train next.

It stands behind the administrator's sign-in. A run is a process of its own (`core.training.manager`), so the
page only reads what it has written: closing the page, or restarting the server, changes nothing about it. A
button in a list carries what it does and to what as ``data-action`` and ``data-name``; `_BUTTONS` makes an
event of its click.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from annotation.studies import study_names
from core.errors import CheckpointError, TrainingError
from core.evaluation import LEVELS
from core.metrics import METRICS
from core.splits import Split
from core.table_one import table_one
from core.training.check import check_plan
from core.training.judges import delete, deleted, offer, restore
from core.training.manager import BROKEN_OFF, DONE, FAILED, RUNNING, STOPPED, UNLEARNED, Run, RunManager
from core.training.recipe import CROSS_VALIDATED, USUAL, RunProgress, TrainingPlan
from core.training.registry import Model, ModelRegistry
from webapp.data_desk import data_shown, fields_table, on_server, receive_data, recipe_of, study_data
from webapp.fetching import Fetching
from webapp.handlers import BY_ITSELF, PRIVATE, QUIETLY, Shown, told
from webapp.html import render
from webapp.judge import Judge
from webapp.judge_desk import JudgeDesk
from webapp.listening_api import StudyStore
from webapp.training_plots import CURVES_TITLE, curves, curves_plot, kept_epoch, scatter, scatter_plot
from webapp.workbench import Workbench

FROM_STUDY, FROM_SERVER = "A study", "A folder on the server"
CALIBRATE = "calibrate"  # no recipe: the judge in use is moved
# What can be chosen, and the words for it; what is recommended first.
RECIPE_CHOICES = {
    "ordinal: heads that hear frames and words, on cached embeddings; minutes on a CPU": "ordinal",
    "frozen: heads that hear less, as small as the paper’s; a minute on a CPU": "frozen",
    "paper: the towers learn too, as in the MusicEval paper; asks for a GPU": "paper",
    "released: the same with the affine heads of the authors’ code; asks for a GPU": "released",
    "calibrate: the judge in use, moved a little toward these raters; from 20 clips on": CALIBRATE,
}
TOWER_CHOICES = {
    "ears: music taggers and word vectors; they come with MusicEval": "ears",
    "music-audioset: LAION-CLAP’s, which the paper starts from; has to be fetched first": "music-audioset",
    "muq: MuQ-MuLan; its package and weights have to be fetched first": "muq",
}
SPLIT_CHOICES = {
    "random: clips, as in the paper": "random",
    "systems: whole systems": "systems",
    "prompts: whole prompts": "prompts",
    "official: the parts that the data came with": "official",
}

_BUTTONS = """element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) trigger("select", {action: button.dataset.action, name: button.dataset.name});
});"""
# When a run has begun, and no doubts are shown instead.
_TO_THE_RUN = """() => {
  if (document.querySelector("#training-doubts .me-notice")) return;
  document.querySelector("#training-run").scrollIntoView({behavior: "smooth", block: "center"});
}"""
_PHASES = {
    "starting": "Starting",
    "embedding": "Listening to the clips",
    "training": "Training",
    "measuring": "Measuring",
}
_ENDS = {
    DONE: ("is trained", "Its result stands below; use it from the list of models."),
    STOPPED: ("was stopped", "It can go on from where it was, or be deleted."),
    FAILED: ("failed", "When the cause is gone it can go on, or it can be deleted."),
    BROKEN_OFF: ("broke off", "It can go on from where its state was saved last, or be deleted."),
}
_TICK_S = 1.0
_FEWEST_EPOCHS = 10  # on the axis, so that its marks are whole numbers
_MOST_PLOTS = 4  # that stand ready for a model's scales; more are in its scatter.svg


def run_card(run: Run | None) -> Markup:
    """Show the run that is going, or how the last one ended; None if there never was one."""
    ended, hint = _ENDS.get(run.state, ("", "")) if run else ("", "")
    if run and run.state == DONE and run.progress.phase == UNLEARNED:
        ended, hint = "has ended, and nothing was learned", "Its result below says why it is no judge."
    return render(
        "training_run.html",
        run=run,
        running=run is not None and run.state == RUNNING,
        ended=ended,
        hint=hint,
        stopped=run is not None and run.state == STOPPED,
        failed=run is not None and run.state in (FAILED, BROKEN_OFF),
        doing=_doing(run.progress) if run else "",
    )


def _doing(progress: RunProgress) -> str:
    reach = "up to" if progress.phase == "training" else "about"
    left = f", {reach} {_span(progress.eta_s)} left" if progress.eta_s else ""
    return f"{_PHASES.get(progress.phase, progress.phase)}{left}"


def _span(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, length_s in (("h", 3_600), ("min", 60)):
        if seconds >= 1.5 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{max(seconds, 1):.0f} s"


def unfinished_list(runs: Sequence[Run], deleted: str | None) -> Markup:
    """List the runs that can go on, and the one that was deleted last and can be brought back."""
    unfinished = [(run, _ENDS[run.state][0]) for run in runs if run.state not in (RUNNING, DONE)]
    return render("training_unfinished.html", unfinished=unfinished, deleted=deleted)


def model_list(
    models: Sequence[Model],
    active: str | None,
    has_previous: bool,
    base: str,
    shown: str = "",
    deleted: str | None = None,
) -> Markup:
    """List the models, the newest first, with what makes each of them judge.

    `active` is the name of the one that judges, None for the one that the app begins with, named `base`; `shown` is
    chosen on the page, and `deleted` can be brought back.
    """
    which = {"active": active, "has_previous": has_previous, "base": base, "shown": shown, "deleted": deleted}
    return render("training_models.html", models=models, **which)


def result(model: Model | None) -> Markup:
    """Show how well a model agrees with the raters: Table I, and what it was measured on."""
    return render(
        "training_result.html",
        model=model,
        facts=facts(model) if model else "",
        notes=list(_notes(model)) if model else [],
        controls=model.controls.titled() if model else {},
        levels=LEVELS,
        metric_names=list(METRICS),
        table_one=table_one,
    )


def facts(model: Model) -> str:
    """Say in a line what a model was trained on, and how."""
    run = model.run
    if run is None:
        return "trained elsewhere"
    counts = ", ".join(f"{n} {part}" for part, n in run.parts.items() if n)
    said = [
        f"data {run.data} ({run.data_sha256[:12]})",
        f"recipe {run.recipe}",
        f"tower {run.tower}",
        f"split {run.split}, seed {run.seed}",
    ]
    said += [f"clips: {counts}"] if counts else []
    return "; ".join([*said, model.kept] if model.kept else said)


def _notes(model: Model) -> Iterator[str]:
    yield from model.doubts
    if model.part:
        how = "by cross-validation" if model.part == CROSS_VALIDATED else f"on the {model.part} part"
        yield f"Measured {how}. Small figures are 95 % bootstrap intervals."
    if model.system_truth:
        yield f"System truth: {model.system_truth}."
    if model.comparison:
        yield model.comparison
    yield from model.measured.why_not()
    yield from model.controls.in_words(model.measured)
    if model.caveat:
        yield f"Not real in what it learned from: {model.caveat}."


def train_from_study(runs: RunManager, store: StudyStore, study: str) -> str:
    """Start a run on a study's ratings with the defaults; return for the page what to know of it."""
    plan = TrainingPlan(study_data(store, study))
    doubts = check_plan(plan).doubts
    run = runs.start(plan)
    return " ".join([f"The run {run.name} has begun; the tab Training shows it.", *doubts])


def newest(runs: Sequence[Run]) -> Run | None:
    """Return the run that is going, else the newest."""
    return next((run for run in runs if run.state == RUNNING), runs[0] if runs else None)


def find_model(registry: ModelRegistry, name: str) -> Model | None:
    """Return the model of a name; without one, or if it is gone, the newest; None if there is none."""
    models = registry.models()
    return next((model for model in models if model.name == name), models[0] if models else None)


def has_previous(registry: ModelRegistry) -> bool:
    """Return whether there is a model to go back to."""
    try:
        registry.previous()
    except CheckpointError:
        return False
    return True


def act(judge: Judge, runs: RunManager, action: str, name: str) -> None:
    """Do what a button in a list says."""
    actions: dict[str, Callable[[], object]] = {
        "use": lambda: judge.activate(name),
        "base": lambda: judge.activate(None),
        "back": judge.back,
        "resume": lambda: runs.resume(name),
        "delete": lambda: runs.delete(name),
        "restore": runs.restore,
        "offer": lambda: offer(judge.registry, name, True),
        "withhold": lambda: offer(judge.registry, name, False),
        "delete-judge": lambda: delete(judge.registry, name),
        "restore-judge": lambda: restore(judge.registry),
        "show": lambda: None,
    }
    if action not in actions:
        raise TrainingError("There is no such button.")
    actions[action]()


def build_training_tab(opened: Sequence[Any], judge: Judge, runs: RunManager, store: StudyStore) -> None:
    """Lay the page out; the events of `opened` fill it."""
    page = TrainingPage(judge, runs, store)
    gr.on(opened, told(page.open), page.study, [*page.everything, page.study, page.source], **BY_ITSELF)


class TrainingPage:
    """The parts of the page, and the handlers of its controls, which return what changes by part."""

    def __init__(self, judge: Judge, runs: RunManager, store: StudyStore) -> None:
        self._judge, self._runs, self._store, self._fetching = judge, runs, store, Fetching()
        self.run = gr.HTML(apply_default_css=False, elem_id="training-run")
        self.stopping = gr.Button("Stop", visible=False, size="sm", elem_classes="me-narrow")
        self.curves = curves_plot()
        self.unfinished = gr.HTML(js_on_load=_BUTTONS, apply_default_css=False, elem_id="unfinished")
        self.bench = Workbench(runs, judge.registry)
        self.models = gr.HTML(js_on_load=_BUTTONS, apply_default_css=False, elem_id="models")
        self.desk = JudgeDesk(judge, self._fetching, _BUTTONS)
        self.result = gr.HTML(apply_default_css=False, elem_id="training-result")
        with gr.Row(elem_classes="me-scatters"):
            self.plots = [scatter_plot(n) for n in range(_MOST_PLOTS)]
        self.desk.lay_out_arrivals()
        self.timer = gr.Timer(_TICK_S, active=False)
        self.seen = gr.State("")  # what the curves show
        self.shown = gr.State("")  # name of the model whose result is shown
        watched = [self.run, self.stopping, self.curves, self.seen, self.timer]
        results = [
            self.unfinished,
            self.result,
            *self.plots,
            self.models,
            self.shown,
            *self.desk.parts,
            *self.bench.parts,
        ]
        self.everything = [*watched, *results]
        start = self._lay_out_controls()
        typed = [self.desk.title, self.desk.note]
        self.timer.tick(told(self.watch), [self.seen, self.shown, *typed], self.everything, **BY_ITSELF)
        self.desk.connect(self.shown, self.refresh, self.everything)
        self.bench.connect(self.shown, self.refresh, self.everything)
        gr.on(
            [self.models.select, self.unfinished.select, self.desk.card.select],
            told(self.act),
            self.shown,
            self.everything,
            show_progress_on=self.models,
            **PRIVATE,
        )
        self.source.change(told(self.choose_source), self.source, [self.study, self.folder], **QUIETLY)
        everything = [*self.everything, self.doubts, self.doubted]
        start.click(told(self.start), [*self.controls, self.doubted], everything, **QUIETLY).then(
            None, js=_TO_THE_RUN, **PRIVATE
        )
        self.stopping.click(told(self.stop), None, self.everything, show_progress_on=self.run, **PRIVATE)

    def _lay_out_controls(self) -> gr.Button:
        gr.HTML("<h2>Train a judge</h2>", apply_default_css=False, elem_classes="me-heading")
        with gr.Row():
            with gr.Column():
                self.source = gr.Radio([FROM_STUDY, FROM_SERVER], value=FROM_STUDY, label="Rated clips")
                self.study = gr.Dropdown([], label="Study", info="Its valid ratings, as they are now.")
                self.folder = gr.Textbox(
                    label="Folder or CSV file on the server",
                    placeholder="/data/MusicEval-full",
                    info="The MusicEval release, the export of a study, or a table of rated clips.",
                    visible=False,
                )
                name = gr.Textbox(label="Name of the new model", placeholder="time and recipe")
            with gr.Column():
                recipe = gr.Radio([*RECIPE_CHOICES.items()], value=USUAL, label="Recipe")
                self.tower = gr.Radio([*TOWER_CHOICES.items()], value="ears", label="Tower")
                self.split = gr.Dropdown([*SPLIT_CHOICES.items()], value=Split.kind, label="Held out to measure")
                seed = gr.Number(0, label="Seed", precision=0, minimum=0)
        with gr.Accordion("Fields of the recipe, and why", open=False, elem_id="recipe-fields"):
            changes = gr.Textbox(
                label="Other values (may be empty)", placeholder="epochs=20, learning_rate=0.0003", max_length=1000
            )
            self.fields = gr.HTML(fields_table(USUAL), apply_default_css=False)
        self._lay_out_upload()
        recipe.change(told(self.choose_recipe), recipe, [self.tower, self.split, self.fields], **QUIETLY)
        self.controls = [self.source, self.study, self.folder, name, recipe, self.tower, self.split, seed, changes]
        self.doubts = gr.HTML(apply_default_css=False, elem_id="training-doubts")
        self.doubted = gr.State(None)  # the order whose doubts are shown: what was chosen, and the plan
        with gr.Row(elem_classes="me-bar"):
            look = gr.Button("Check the data", scale=0, min_width=192)
            start = gr.Button("Start training", variant="primary", scale=0, min_width=192)
        look.click(told(self.check), self.controls, self.doubts, show_progress_on=self.doubts, **PRIVATE)
        return start

    def _lay_out_upload(self) -> None:
        with gr.Accordion("Upload a data set", open=False, elem_id="data-upload"):
            with gr.Row(elem_classes="me-columns"):
                table = gr.File(label="Table of rated clips", file_types=[".csv", ".tsv", ".txt"], height=140)
                audio = gr.File(label="Its audio files, or a ZIP", file_count="multiple", height=140)
            name = gr.Textbox(label="Name of the data set", placeholder="data", max_length=48)
            take = gr.Button("Upload the data set", elem_classes="me-narrow")
        parts = [name, table, audio]

        def upload_data(name: str, table: str | None, audio: list[str] | None) -> Shown:
            path = receive_data(self._store.data, name or "", table, audio or [], self._judge.limits)
            return {**self.choose_source(FROM_SERVER, str(path)), self.source: FROM_SERVER, **dict.fromkeys(parts[1:])}

        outputs = [self.source, self.study, self.folder, table, audio]
        take.click(told(upload_data), parts, outputs, show_progress_on=table, **PRIVATE)

    def open(self, study: str | None) -> Shown:
        """Bring everything up to date, the studies too."""
        names = study_names(self._store.database)
        chosen = study if study in names else next(iter(names), None)
        shown = self.refresh() | {self.study: gr.update(choices=names, value=chosen)}
        return shown if names else shown | {self.source: FROM_SERVER}

    def refresh(self, name: str = "") -> Shown:
        """Bring everything up to date; `name` is that of the model whose result is shown."""
        runs, model, registry = self._runs.all(), find_model(self._judge.registry, name), self._judge.registry
        shown, first = model.name if model else "", self._judge.base
        models = model_list(
            registry.models(), self._judge.name, has_previous(registry), first, shown, deleted(registry)
        )
        return {
            **self._watched(newest(runs), ""),
            **self.desk.show(model),
            **self.bench.show(),
            self.unfinished: unfinished_list(runs, self._runs.deleted()),
            self.result: result(model),
            **dict(zip(self.plots, self._plots(model), strict=True)),
            self.models: models,
            self.shown: shown,
        }

    def watch(self, seen: str, shown: str, title: str, note: str) -> Shown:
        """Follow the run, and what is fetched; bring everything up to date when both have ended.

        A judge whose title or note is being typed stays, with what is typed.
        """
        run = newest(self._runs.all())
        if self._fetching.is_running or (run and run.state == RUNNING):
            return {**self._watched(run, seen), **self.desk.fetched()}
        if self.desk.is_edited(find_model(self._judge.registry, shown), title, note):
            return self.refresh(shown) | dict.fromkeys((self.desk.title, self.desk.note), gr.skip())
        return self.refresh("" if run and seen != _seen(run) else shown)

    def act(self, shown: str, chosen: gr.EventData) -> Shown:
        """Do what a button in a list says."""
        action, name = str(getattr(chosen, "action", "")), str(getattr(chosen, "name", ""))
        act(self._judge, self._runs, action, name)
        return self.refresh(name if action in ("show", "restore-judge") else shown)

    def choose_source(self, source: str, path: str | None = None) -> Shown:
        """Show the control that goes with a source, and fill in a path where there is one."""
        filled = {} if path is None else {"value": path}
        return {
            self.study: gr.update(visible=source == FROM_STUDY),
            self.folder: gr.update(visible=source == FROM_SERVER, **filled),
        }

    def choose_recipe(self, recipe: str) -> Shown:
        """Show the tower and what is held out where they can be chosen: a calibrated judge is cross-validated."""
        can_choose = gr.update(visible=recipe != CALIBRATE)
        return {self.tower: can_choose, self.split: can_choose, self.fields: fields_table(recipe)}

    def check(self, *chosen: Any) -> Shown:
        """Show what the data is, and what stands against training on it."""
        return {self.doubts: data_shown(self._plan(*chosen))}

    def start(self, *given: Any) -> Shown:
        """Start a run of what the controls say; where there are doubts, show them first, and start when asked again."""
        *chosen, doubted = given
        name = chosen[3]
        if doubted is not None and doubted[0] == chosen:
            plan = doubted[1]
        else:
            plan = self._plan(*chosen)
            if doubts := check_plan(plan).doubts:
                return {self.doubts: render("training_doubts.html", doubts=doubts), self.doubted: (chosen, plan)}
        self._runs.start(plan, (name or "").strip() or None)
        return self.refresh() | {self.doubts: "", self.doubted: None}

    def _plan(self, *chosen: Any) -> TrainingPlan:
        """What the controls order."""
        source, study, folder, _, recipe, tower, kind, seed, changes = chosen
        made = None if recipe == CALIBRATE else recipe_of(recipe, changes or "")
        data = study_data(self._store, study) if source == FROM_STUDY else on_server(folder or "")
        if made is None:
            return TrainingPlan(data, split=Split(seed=int(seed or 0)), judge=self._judge.folder)
        return TrainingPlan(data, made, tower, Split(kind, int(seed or 0)))

    def stop(self) -> Shown:
        """Stop the run that is going, if one is."""
        running = self._runs.running()
        if running is not None:
            self._runs.stop(running)
        return self.refresh()

    def _watched(self, run: Run | None, seen: str) -> Shown:
        """What a run changes while it is going; the curves only if they show something else than before."""
        running = run is not None and run.state == RUNNING
        now = _seen(run)
        shown: Shown = {
            self.run: run_card(run),
            self.stopping: gr.update(visible=running),
            self.seen: now,
            self.timer: gr.Timer(active=running or self._fetching.is_running),
        }
        if run is None:
            shown[self.curves] = gr.update(visible=False)
        elif now != seen:
            rows, limits = curves(run), [0, max(_FEWEST_EPOCHS, run.progress.epoch)]
            title = f"{CURVES_TITLE}{kept_epoch(run)}"
            shown[self.curves] = gr.update(value=rows, x_lim=limits, title=title, visible=len(rows) > 0)
        return shown

    def _plots(self, model: Model | None) -> Iterator[Any]:
        scales = model.measured.scales if model else ()
        for n in range(_MOST_PLOTS):
            if n < len(scales) and len(points := scatter(model, scales[n].key)):
                title = f"{scales[n].title}, {len(points)} clips"
                yield gr.update(value=points, title=title, visible=True)
            else:
                yield gr.update(visible=False)


def _seen(run: Run | None) -> str:
    """What there is to see of a run."""
    return f"{run.name} {run.progress.epoch} {run.state}" if run else ""
