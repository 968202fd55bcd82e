"""The page *Studies*: for whoever runs listening tests. Figures first, controls below them.

It stands behind the administrator's sign-in, as its downloads do (`webapp.exports`). What is shown of a study is said
by `annotation.results`; what somebody gave (names, comments, reasons) is escaped by the templates.
"""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import gradio as gr
import pandas as pd
from markupsafe import Markup
from starlette.routing import BaseRoute

from annotation.database import now
from annotation.protocol import SCREENING, Protocol
from annotation.results import Table
from annotation.results.changes import Comparison, what_if
from annotation.results.reliability import RATER_FIGURES_MEAN
from annotation.results.rescreening import Rescreening, rescreen
from annotation.results.scores import Results
from annotation.results.status import FIGURES, Overview, overview
from annotation.session.exclusions import Change, possible_changes
from annotation.studies import find_study, shown_time, study_names
from core.audio import AudioLimits
from core.errors import StudyError
from core.readers import Readers
from core.scales import Scale
from webapp.clip_desk import ClipDesk, sound_route
from webapp.enrolling import Enrolling
from webapp.exports import CLIPS, REPORT, Packed, clips_route, export_route, pack_export, report_route
from webapp.handlers import BY_ITSELF, PRIVATE, told
from webapp.html import html_table, render
from webapp.imports import ImportDesk
from webapp.invitations import Invitations
from webapp.listening_api import StudyStore
from webapp.new_study import NewStudy
from webapp.studio import Studio
from webapp.system_plot import download, systems_plot

_AUTHOR = "administrator"
_UNDO_REASON = "The change before was undone at once."

_EXPORT = "All ratings, scores and logs as CSV files."
_TRAIN = (
    "Two small heads learn what the raters of this study said: minutes on a CPU. The tab Training shows the "
    "run, has other recipes, and makes the result the judge of this server."
)
_CHANGE = "Nothing changes until you confirm. Every change can be undone, and stays in the log."
_RULES = (
    "A study keeps its rules. Here its ratings are judged by others, so that you see whom they fall on: which batches "
    "would count, and what would become of the scores. What was done by hand stays. Nothing is changed."
)
_IN_TURN: dict[str, Any] = {"concurrency_id": "changes", "concurrency_limit": 1}  # answered as they were clicked
_VIEW = '<div class="me-desk">${value}</div>'  # what handlers return is HTML already

Shown = dict[Any, Any]  # what changes, by the part of the page


def view(name: str, found: Overview) -> Markup:
    """Show a study: its heading, or the progress, results, screening or reliability."""
    return render(
        f"study_{name}.html",
        found=found,
        status=found.status,
        figures=FIGURES,
        rater_figures_mean=RATER_FIGURES_MEAN,
        shown_time=shown_time,
        table=_table,
        tables={"signs": _signs(found), "log": found.log_table},
        plots=[_plot(found.status.study, found.results, scale) for scale in found.results.scales],
    )


def comparison(change: Change, compared: Comparison) -> Markup:
    """Show what a change would do to the systems' scores and ranks."""
    scales = compared.before.scales
    tables = [(_table(compared.table(scale)), compared.moved(scale)) for scale in scales]
    return render("study_comparison.html", offer=_offer(change), ratings=compared.ratings, tables=tables)


def rescreening(found: Rescreening) -> Markup:
    """Show what other screening rules would make of the ratings."""
    return render("study_rescreening.html", found=found, table=_table)


def _table(table: Table) -> Markup:
    return html_table(table.caption, table.heads, table.rows, table.nothing)


def _plot(study: str, results: Results, scale: Scale) -> Markup:
    if results.systems.empty:
        return Markup()
    svg = systems_plot(results.systems, scale)
    return svg + download(svg, f"{study}-{scale.key}")


def _signs(found: Overview) -> Table:
    rows = [(rater.rater, ", ".join(rater.signs)) for rater in found.status.raters if rater.signs]
    return Table("Signs of not listening; they exclude nobody", ("Rater", "Signs"), rows)


def _offer(change: Change) -> str:
    return f"{change.action.capitalize()} {change.what}"


def _note(sentence: str, packed: Packed | None = None) -> Markup:
    return render("study_note.html", sentence=sentence, packed=packed, clips=CLIPS, report=REPORT)


def _clips(results: Results) -> pd.DataFrame:
    """The clips' scores as they are shown: two digits, and the interval or why there is none."""
    mos = results.clips
    columns = {"System": mos["system"]}
    for scale in results.scales:
        columns[scale.title] = mos[scale.key].round(2)
        ends = zip(mos[f"{scale.key}_low"], mos[f"{scale.key}_high"], mos["no_interval"], strict=True)
        columns[f"95 % interval ({scale.short})"] = [
            f"– ({lacking})" if lacking else f"{low:.2f} to {high:.2f}" for low, high, lacking in ends
        ]
    return pd.DataFrame(columns | {"Ratings": mos["n_ratings"], "Prompt": mos["prompt"], "Clip": mos["clip"]})


def build_study_tab(
    app: gr.Blocks,
    store: StudyStore,
    train: Callable[[str], str],
    limits: AudioLimits | None = None,
    readers: Readers | None = None,
) -> list[BaseRoute]:
    """Lay the page out in the open `gr.Blocks`; return the routes of its downloads and sounds."""
    page = StudyPage(store, train, limits, readers)
    app.load(told(page.open), page.asked, page.opened, **BY_ITSELF)
    return [export_route(store.data), clips_route(store), report_route(store), sound_route(store)]


class StudyPage:
    """The parts of the page, and the handlers of its controls, which return what changes by part.

    `train` starts a training run from the study of a name, and says so in a sentence; clips are read within `limits`,
    in `readers` where there are any.
    """

    def __init__(
        self,
        store: StudyStore,
        train: Callable[[str], str],
        limits: AudioLimits | None = None,
        readers: Readers | None = None,
    ) -> None:
        self._store = store
        self._train = train
        self.waiting, self.made = gr.State(), gr.State()  # a change that was shown, and one that was made
        self.shown = gr.State()  # the study that the page shows
        with gr.Row(elem_classes="me-bar"):
            self.study = gr.Dropdown(label="Study", choices=[], min_width=240)
            refresh = gr.Button("Refresh", elem_id="refresh", scale=0, min_width=112)
        self.creation = NewStudy(store)
        self.imports = ImportDesk(store, limits, readers)
        self.nothing = gr.HTML(render("study_none.html"), visible=False, apply_default_css=False)
        with gr.Column(visible=False, elem_id="desk") as self.desk:
            self.views = {"heading": _html()}
            with gr.Tabs():
                with gr.Tab("Progress"):
                    self.views["progress"] = _html()
                    self.invitations = Invitations(store, self.study, self._on, _html)
                    self.enrolling = Enrolling(store, self.study, self._on, _html)
                with gr.Tab("Set up"):
                    self.studio = Studio(store, self.study, self._on, _html)
                with gr.Tab("Clips"):
                    limits = limits or AudioLimits()
                    self.clip_desk = ClipDesk(store, limits, readers, self.study, self._on, _html)
                with gr.Tab("Results"):
                    self.views["results"] = _html()
                    self._lay_out_uses()
                with gr.Tab("Screening"):
                    self.views["screening"] = _html()
                    self._lay_out_changes()
                    self._lay_out_rules()
                with gr.Tab("Reliability"):
                    self.views["reliability"] = _html()
        self.asked = [self.study, self.shown]
        self._rooms = (self.invitations, self.enrolling, self.studio, self.clip_desk)
        controls = [self.study, self.nothing, self.desk, self.clips, self.change, self.shown]
        controls += [part for room in self._rooms for part in room.parts]
        notes = [self.training_note, self.export_note, self.invitations.codes, self.rescreened]
        left = [*notes, *self.compared, self.made, self.done, *self.rules]
        self.opened = [*controls, *self.views.values(), *left]
        self._on(refresh.click, self.open, self.asked, self.opened)
        for done in (self.invitations.invited, self.invitations.left, self.invitations.wiped, self.enrolling.saved):
            self._on(done, self.open, self.asked, self.opened)
        for changed in (self.studio.moved, self.clip_desk.changed):
            self._on(changed.change, self.open, self.asked, self.opened, **BY_ITSELF)
            self._on(changed.change, str, [], [self.creation.note], **BY_ITSELF)  # what was to do next is being done
        for new in (self.creation, self.imports):
            self._on(new.made, self.open, [new.created, self.shown], self.opened)
        self._on(self.made.change, self.open, self.asked, self.opened, **BY_ITSELF)
        self._on(self.study.input, self.open, self.asked, self.opened, trigger_mode="always_last")

    def _on(
        self, event: Callable[..., Any], handler: Callable[..., Any], inputs: Any, outputs: Any, **options: Any
    ) -> Any:
        return event(told(handler), inputs, outputs, **{**PRIVATE, "show_progress": "minimal", **options})

    def _lay_out_uses(self) -> None:
        self.clips = gr.Dataframe(
            label="Clips: MOS and its 95 % interval",
            interactive=False,
            show_search="search",
            max_chars=70,
            max_height=480,
            elem_classes="me-clips",
            buttons=["fullscreen", "copy"],
        )
        with gr.Row(elem_classes="me-uses"):
            self.training_note = self._use("Train from this study", _TRAIN, "Train from this study", self.train)
            self.export_note = self._use("Export", _EXPORT, "Prepare the export", self.export)

    def _use(self, title: str, meaning: str, name: str, handler: Callable[..., Any]) -> gr.HTML:
        with gr.Column(min_width=280):
            gr.HTML(render("study_use.html", title=title, meaning=meaning), apply_default_css=False)
            button = gr.Button(name)
            note = _html()
        self._on(button.click, handler, [self.study], [note])
        return note

    def _lay_out_changes(self) -> None:
        gr.HTML("<h3>Exclude or restore</h3>", apply_default_css=False)
        with gr.Row(elem_classes="me-bar"):
            self.change = gr.Dropdown(label="Batch or rater", info=_CHANGE, choices=[], min_width=240)
            look = gr.Button("Show the effect", scale=0, min_width=200)
        with gr.Column(visible=False, elem_classes="me-card") as self.effect:
            self.comparison = _html()
            self.reason = gr.Textbox(label="Reason, for the log", max_length=500)
            author = gr.Textbox(_AUTHOR, label="Your name, for the log", max_length=80)
            with gr.Row():
                self.confirmation = gr.Button("Confirm", variant="primary")
                cancel = gr.Button("Cancel")
        with gr.Row(visible=False, elem_classes="me-bar") as self.done:
            self.note = _html()
            self.undoing = gr.Button("Undo", scale=0, min_width=112)
        self.compared = [self.waiting, self.effect]
        previewed = [*self.compared, self.comparison, self.confirmation]
        self._on(look.click, self.preview, [self.study, self.change], previewed, **_IN_TURN)
        changed = [*self.compared, self.made, self.change, self.reason, self.note, self.done, self.undoing]
        self._on(self.confirmation.click, self.confirm, [self.waiting, self.reason, author], changed, **_IN_TURN)
        undone = [self.made, self.note, self.undoing]
        self._on(self.undoing.click, self.undo, [self.made, author], undone, **_IN_TURN)
        for event in (cancel.click, self.change.input):
            self._on(event, self.cancel, [], self.compared, **_IN_TURN)

    def _lay_out_rules(self) -> None:
        gr.HTML(render("study_use.html", title="Other rules", meaning=_RULES), apply_default_css=False)
        with gr.Row(elem_classes="me-bar"):
            self.rules = [_rule(rule) for rule in SCREENING]
        judge = gr.Button("Show what these rules would do")
        self.rescreened = _html()
        self._on(judge.click, self.rescreen, [self.study, *self.rules], [self.rescreened])

    def open(self, current: str | None, before: str | None = None) -> Shown:
        """Show the study that was chosen; the newest where none was, or it is gone.

        What was chosen and said on the page stays where it is the study shown before: an answer that comes
        late takes nothing back.
        """
        names = study_names(self._store.database)
        shown: Shown = {
            self.study: gr.update(choices=names, value=None),
            self.nothing: gr.update(visible=not names),
            self.desk: gr.update(visible=bool(names)),
        }
        if not names:
            return shown
        name = current if current in names else names[0]
        found = overview(self._store.database, name, data=self._store.data)
        unchosen = {} if name == before else {"value": None}
        return {
            **shown,
            **{part: view(part_name, found) for part_name, part in self.views.items()},
            self.study: gr.update(choices=names, value=name),
            **({} if name == before else {**self.leave(), **self._own_rules(found)}),
            self.shown: name,
            self.clips: _clips(found.results),
            self.change: gr.update(choices=[_offer(change) for change in found.changes], **unchosen),
            **{part: value for room in self._rooms for part, value in room.show(name, before).items()},
        }

    def preview(self, study: str | None, offer: str | None) -> Shown:
        """Show what a change would do."""
        change = self._chosen(study, offer)
        compared = what_if(self._store.database, change)
        return {
            self.waiting: change,
            self.comparison: comparison(change, compared),
            self.effect: gr.update(visible=True),
            self.confirmation: gr.update(value=_offer(change)),
        }

    def rescreen(self, study: str | None, *values: Any) -> Markup:
        """Show what other rules would make of the ratings."""
        rules = {rule.name: value for rule, value in zip(SCREENING, values, strict=True)}
        lacking = [rule.metadata["meaning"] for rule in SCREENING if rules[rule.name] is None]
        if lacking:
            raise StudyError(f"Fill in every rule. Empty is: {', '.join(lacking)}.")
        return rescreening(rescreen(self._store.database, study or "", rules))

    def _own_rules(self, found: Overview) -> Shown:
        """Show the rules of a study, to be exchanged for others."""
        rules, scales = found.status.protocol, [(scale.title, scale.key) for scale in found.results.scales]
        shown: Shown = {}
        for part, rule in zip(self.rules, SCREENING, strict=True):
            value = getattr(rules, rule.name)
            if rule.name == "anchor_scale":
                # Without anchors it may be a scale that the study does not have, which a menu would refuse.
                known = value if value in dict(scales).values() else scales[0][1]
                shown[part] = gr.update(value=known, choices=scales)
            else:
                shown[part] = gr.update(value=value)
        return shown

    def confirm(self, waiting: Change | None, reason: str, author: str) -> Shown:
        """Make the change that was shown."""
        if waiting is None:
            raise StudyError("There is nothing to confirm. Choose a change and look at what it does first.")
        with self._store.database.write() as session:
            waiting.make(session, reason, author.strip() or _AUTHOR, now(session))
        return {
            **self.cancel(),
            self.made: waiting,
            self.change: gr.update(value=None),
            self.reason: "",
            self.note: _note(f"Done: {_offer(waiting)}. It stands in the log."),
            self.done: gr.update(visible=True),
            self.undoing: gr.update(visible=True),
        }

    def cancel(self) -> Shown:
        """Make nothing of the change that was shown."""
        return {self.waiting: None, self.effect: gr.update(visible=False)}

    def undo(self, made: Change | None, author: str) -> Shown:
        """Take the last change back."""
        if made is None:
            raise StudyError("There is nothing to undo here. The log lists every change.")
        with self._store.database.write() as session:
            made.take_back(session, _UNDO_REASON, author.strip() or _AUTHOR, now(session))
        return {
            self.made: None,
            self.note: _note(f"Undone: {_offer(made)}. Both stand in the log."),
            self.undoing: gr.update(visible=False),
        }

    def leave(self) -> Shown:
        """Take away what was said of another study."""
        notes = dict.fromkeys((self.training_note, self.export_note, self.invitations.codes, self.rescreened), "")
        return {**self.cancel(), **notes, self.made: None, self.done: gr.update(visible=False)}

    def export(self, study: str | None) -> Markup:
        """Pack the tables; return the links to them and to the export with the clips."""
        return _note("", pack_export(self._store, study or "", datetime.now(UTC)))

    def train(self, study: str | None) -> Markup:
        """Start a run on the ratings of the study."""
        return _note(self._train(study or ""))

    def _chosen(self, study: str | None, offer: str | None) -> Change:
        if study is None or not offer:
            raise StudyError("Choose what to exclude or restore first.")
        with self._store.database.read() as session:
            changes = possible_changes(session, find_study(session, study))
        for change in changes:
            if _offer(change) == offer:
                return change
        raise StudyError(f"{offer}: this was done already, or in another study. Press Refresh.")


def _rule(rule: "dataclasses.Field[Any]") -> gr.Dropdown | gr.Number:
    name, value = rule.name.replace("_", " ").capitalize(), getattr(Protocol(), rule.name)
    shown: dict[str, Any] = {"value": value, "label": name, "info": rule.metadata["meaning"], "min_width": 240}
    choices = list(rule.metadata["choices"])
    return gr.Dropdown(choices, **shown) if choices else gr.Number(**shown)


def _html() -> gr.HTML:
    return gr.HTML("", html_template=_VIEW, apply_default_css=False, elem_classes="me-view")
