"""The page *Studies*: for whoever runs listening tests. Figures first, controls below them.

It stands behind the administrator's sign-in, as its downloads do (`webapp.exports`). What is shown of a study is said
by `annotation.results`; what somebody gave (names, comments, reasons) is escaped by the templates.
"""

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup
from starlette.routing import BaseRoute

from annotation.protocol import SCREENING
from annotation.results import Table
from annotation.results.ratings import ratings_table
from annotation.results.reliability import RATER_FIGURES_MEAN, Reliability, reliability
from annotation.results.rescreening import rescreen
from annotation.results.scores import Results
from annotation.results.status import FIGURES, Overview, log_table, overview
from annotation.session.exclusions import change_log
from annotation.studies import find_study, shown_time, study_names
from core.audio import AudioLimits
from core.errors import StudyError
from core.readers import Readers
from core.scales import Scale
from webapp.changes import Changes
from webapp.clip_desk import ClipDesk, sound_route
from webapp.enrolling import Enrolling
from webapp.exports import CLIPS, REPORT, Packed, clips_route, export_route, pack_export, report_route
from webapp.figure_desk import AttributeDesk, FigureDesk
from webapp.handlers import BY_ITSELF, Shown, explain, html_part, on
from webapp.html import render, shown_table
from webapp.imports import ImportDesk
from webapp.invitations import Invitations
from webapp.listening_api import StudyStore
from webapp.live import LiveView
from webapp.new_study import NewStudy, filled, rule_field
from webapp.paged import PagedTable
from webapp.panel_desk import PanelDesk
from webapp.rater_desk import RaterDesk
from webapp.studio import Studio
from webapp.system_plot import download, systems_plot

if TYPE_CHECKING:
    from annotation.results.judged import LoadedJudge

_EXPORT = "All ratings, scores and logs as CSV files."
_TRAIN = (
    "Two small heads learn what the raters of this study said: minutes on a CPU. The tab Training shows the "
    "run, has other recipes, and makes the result the judge of this server."
)
_RULES = (
    "A study keeps its rules. Here its ratings are judged by others, so that you see whom they fall on: which batches "
    "would count, and what would become of the scores. What was done by hand stays. Nothing is changed."
)


def view(name: str, found: Overview) -> Markup:
    """Show a study: its heading, or the progress, results or screening."""
    return render(
        f"study_{name}.html",
        found=found,
        status=found.status,
        figures=FIGURES,
        shown_time=shown_time,
        table=shown_table,
        tables={"signs": _signs(found)},
        plots=[_plot(found.status.study, found.results, scale) for scale in found.results.scales],
    )


def reliability_view(found: Reliability) -> Markup:
    """Show how far ratings can be trusted."""
    return render("study_reliability.html", found=found, figures_mean=RATER_FIGURES_MEAN, table=shown_table)


def _plot(study: str, results: Results, scale: Scale) -> Markup:
    if results.systems.empty:
        return Markup()
    svg = systems_plot(results.systems, scale)
    return svg + download(svg, f"{study}-{scale.key}")


def _signs(found: Overview) -> Table:
    rows = [(rater.rater, ", ".join(rater.signs)) for rater in found.status.raters if rater.signs]
    return Table("Signs of not listening; they exclude nobody", ("Rater", "Signs"), rows)


def _note(sentence: str, packed: Packed | None = None) -> Markup:
    return render("study_note.html", sentence=sentence, packed=packed, clips=CLIPS, report=REPORT)


def study_routes(store: StudyStore) -> list[BaseRoute]:
    """Return the routes of the page's downloads and sounds."""
    return [export_route(store.data), clips_route(store), report_route(store), sound_route(store)]


@dataclasses.dataclass
class Turn:
    """The latest opening of a study in one browser's page; what was found for one before it comes too late."""

    number: int = 0
    study: str | None = None


class StudyPage:
    """The parts of the page, and the handlers of its controls, which return what changes by part.

    `train` starts a training run from the study of a name, and says so in a sentence; clips are read within `limits`,
    in `readers` where there are any. `judge` returns the judge in use, where one can be set beside a panel.
    """

    def __init__(
        self,
        store: StudyStore,
        train: Callable[[str], str],
        limits: AudioLimits | None = None,
        readers: Readers | None = None,
        judge: "Callable[[], LoadedJudge] | None" = None,
    ) -> None:
        self._store = store
        self._train = train
        self.shown = gr.State()  # the study that the page shows
        self.turn = gr.State(Turn())
        self.changed = gr.State()  # when something was done; in a tab, it would report a change when that is opened
        with gr.Row(elem_classes="me-bar"):
            self.study = gr.Dropdown(label="Study", choices=[], min_width=240)
            refresh = gr.Button("Refresh", elem_id="refresh", scale=0, min_width=112)
        self.creation = NewStudy(store)
        self.imports = ImportDesk(store, limits, readers)
        self.nothing = gr.HTML(render("study_none.html"), visible=False, apply_default_css=False)
        with gr.Column(visible=False, elem_id="desk") as self.desk:
            self.live = LiveView(store, self.shown)
            self.views = {"heading": html_part()}
            with gr.Tabs():
                self._lay_out_work(limits or AudioLimits(), readers)
                self._lay_out_findings(judge)
        self._listen(refresh)

    def _lay_out_work(self, limits: AudioLimits, readers: Readers | None) -> None:
        store, study = self._store, self.study
        with gr.Tab("Progress"):
            self.views["progress"] = html_part()
            self.invitations = Invitations(store, study)
            self.enrolling = Enrolling(store, study)
        with gr.Tab("Raters"):
            self.raters = RaterDesk(store, study, self.changed)
        with gr.Tab("Set up"):
            self.studio = Studio(store, study, self.changed)
        with gr.Tab("Clips"):
            self.clip_desk = ClipDesk(store, limits, readers, study, self.changed)

    def _lay_out_findings(self, judge: "Callable[[], LoadedJudge] | None") -> None:
        store, study = self._store, self.study
        with gr.Tab("Results"):
            self.views["results"] = html_part()
            self._lay_out_uses()
            self.figures = FigureDesk(store, study)
            self.attributes = AttributeDesk(store, study)
            self.panel = PanelDesk(store, judge, self.clip_desk.hear, study) if judge else None
        with gr.Tab("Screening"):
            self.views["screening"] = html_part()
            gr.HTML("<h2>Exclude or restore</h2>", apply_default_css=False)
            self.changes = Changes(store, study, self.changed)
            self._lay_out_rules()
            self.log = PagedTable(study, self._log)
        with gr.Tab("Reliability"):
            self.views["reliability"] = html_part()

    def _listen(self, refresh: gr.Button) -> None:
        """Let whatever changes a study, or chooses one, show it anew."""
        self.asked = [self.study, self.shown, self.turn]
        self._rooms = (self.invitations, self.enrolling, self.studio)
        rooms = (*self._rooms, self.clip_desk, self.raters, self.changes, self.live, self.log)
        of_results = [*self.figures.parts, *self.attributes.parts, *(self.panel.parts if self.panel else ())]
        self.opened = [
            *(self.study, self.nothing, self.desk, self.shown),
            *(part for room in rooms for part in room.parts),
            *self.views.values(),
            *(self.training_note, self.export_note, self.invitations.codes, self.rescreened),
            *self.rules,
            *of_results,
        ]
        self.opens(self.changed.change, **BY_ITSELF)
        on(self.changed.change, str, [], [self.creation.note], **BY_ITSELF)  # what was to do next is being done
        people = (self.invitations.invited, self.invitations.left, self.invitations.wiped, self.enrolling.saved)
        for done in (refresh.click, *people):
            self.opens(done)
        for new in (self.creation, self.imports):
            self.opens(new.made, [new.created, self.shown, self.turn])
        self.opens(self.study.input, trigger_mode="always_last")

    def opens(self, event: Callable[..., Any], inputs: Any = None, **options: Any) -> None:
        """Let an event show the study anew; what takes longer follows."""
        shown = on(event, self.open, inputs or self.asked, self.opened, **options)
        on_page = [self.turn, self.shown]
        on(shown.then, self.show_rater, [*on_page, self.raters.rater], self.raters.looked, **BY_ITSELF)
        on(shown.then, self.show_reliability, on_page, [self.views["reliability"]], **BY_ITSELF)

    def _lay_out_uses(self) -> None:
        with gr.Row(elem_classes="me-uses"):
            self.training_note = self._use("Train from this study", _TRAIN, "Train from this study", self.train)
            self.export_note = self._use("Export", _EXPORT, "Prepare the export", self.export)

    def _use(self, title: str, meaning: str, name: str, handler: Callable[..., Any]) -> gr.HTML:
        with gr.Column(min_width=280):
            explain(title, meaning)
            button = gr.Button(name)
            note = html_part()
        on(button.click, handler, [self.study], [note])
        return note

    def _lay_out_rules(self) -> None:
        explain("Other rules", _RULES)
        with gr.Row(elem_classes="me-bar"):
            self.rules = [rule_field(rule, rule.metadata["meaning"], 240) for rule in SCREENING]
        judge = gr.Button("Show what these rules would do")
        self.rescreened = html_part()
        on(judge.click, self.rescreen, [self.study, *self.rules], [self.rescreened])

    def open(self, current: str | None, before: str | None = None, turn: Turn | None = None) -> Shown:
        """Show the study that was chosen; the newest where none was, or it is gone.

        What was chosen and said on the page stays where it is the study shown before: an answer that comes
        late takes nothing back.
        """
        turn = turn or Turn()
        turn.number += 1
        names = study_names(self._store.database)
        turn.study = current if current in names else names[0] if names else None
        shown: Shown = {
            self.study: gr.update(choices=names, value=turn.study),
            self.nothing: gr.update(visible=not names),
            self.desk: gr.update(visible=bool(names)),
        }
        if turn.study is None:
            return shown
        try:
            return shown | self._show(turn.study, before)
        except StudyError:
            if turn.study in study_names(self._store.database):
                raise
            return self.open(None, before, turn)  # it was deleted meanwhile

    def _show(self, name: str, before: str | None) -> Shown:
        found, so_far = overview(self._store.database, name, data=self._store.data), self.live.look(name)
        return {
            self.shown: name,
            **self.live.show(so_far),
            **{part: view(part_name, found) for part_name, part in self.views.items() if part_name != "reliability"},
            **({} if name == before else {**self.leave(), **self._own_rules(found)}),
            **{part: value for room in self._rooms for part, value in room.show(name, before).items()},
            **self.clip_desk.show(name, before, found.ratings, found.results.clips),
            **self.raters.show(found, so_far, before),
            **self.changes.show(found.changes, same=name == before),
            **self.log.show(name),
        }

    def show_reliability(self, turn: Turn, study: str | None) -> Any:
        """Show how far the ratings can be trusted, which takes as long as all else."""
        return self._in_turn(turn, study, self.trust)

    def show_rater(self, turn: Turn, study: str | None, rater: str | None) -> Any:
        """Show the rater who is chosen as they are now."""
        return self._in_turn(turn, study, lambda study: self.raters.look_again(study, rater))

    def _in_turn(self, turn: Turn, study: str | None, find: Callable[[str], Any]) -> Any:
        """Find something for the study on the page; show nothing if a study is being opened, or this one is gone."""
        number = turn.number
        if study is None or study != turn.study:
            return gr.skip()
        try:
            found = find(study)
        except StudyError:
            if study in study_names(self._store.database):
                raise
            return gr.skip()
        return found if turn.number == number else gr.skip()

    def trust(self, study: str) -> Markup:
        """Count how well raters agree."""
        with self._store.database.read() as session:
            found = find_study(session, study)
            ratings = ratings_table(session, found)
        return reliability_view(reliability(ratings, found.scales))

    def _log(self, name: str) -> Table:
        with self._store.database.read() as session:
            study = find_study(session, name)
            return log_table(change_log(session, study), study.scales)

    def rescreen(self, study: str | None, *values: Any) -> Markup:
        """Show what other rules would make of the ratings."""
        found = rescreen(self._store.database, study or "", filled(SCREENING, values))
        return render("study_rescreening.html", found=found, table=shown_table)

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

    def leave(self) -> Shown:
        """Take away what was said of another study."""
        said = (self.training_note, self.export_note, self.invitations.codes, self.rescreened)
        return {
            **dict.fromkeys((*said, self.views["reliability"]), ""),
            **self.figures.leave(),
            **self.attributes.leave(),
            **(self.panel.leave() if self.panel else {}),
        }

    def export(self, study: str | None) -> Markup:
        """Pack the tables; return the links to them and to the export with the clips."""
        return _note("", pack_export(self._store, study or "", datetime.now(UTC)))

    def train(self, study: str | None) -> Markup:
        """Start a run on the ratings of the study."""
        return _note(self._train(study or ""))
