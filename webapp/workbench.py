"""Runs beside each other on the page *Training*: one table with what each must beat, curves over each other, notes.

Curves are SVG in the page's colours; runs differ in dash, too. A ring marks the epoch whose weights are kept.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr
from markupsafe import Markup

from core.controls import TITLES
from core.errors import TrainingError
from core.evaluation import Measured
from core.scales import MUSICEVAL, Scales
from core.training.about import MOST_NOTE, About
from core.training.courses import Course
from core.training.judges import carried
from core.training.manager import Run, RunManager
from core.training.registry import Model, ModelRegistry
from webapp.handlers import QUIETLY, Shown, told
from webapp.html import html_table, render

MOST_CURVES = 6
_COLOURS = ("#1f9488", "#c2571a", "#7c6fd6", "#b8477f", "#5b8a1f", "#8f8c83")  # 3 to 1 on both backgrounds
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 4")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 200, 40, 8, 12, 26


@dataclass(frozen=True)
class Entry:
    """A run or a model trained elsewhere, of which there is at least one."""

    run: Run | None
    model: Model | None

    @property
    def of(self) -> Run | Model:
        """What there is of it."""
        found = self.model or self.run
        assert found is not None
        return found

    @property
    def title(self) -> str:
        """What it is called."""
        return About.read(self.of.folder).title or self.of.name

    @property
    def group(self) -> tuple[str, ...]:
        """What runs have in common whose figures are of the same clips."""
        facts = self.model.run if self.model else None
        if facts is None or self.model is None:
            return ("", self.of.name)
        return (facts.data_sha256, facts.split, facts.seed, self.model.part)


def entries(runs: RunManager, registry: ModelRegistry) -> list[Entry]:
    """Return runs and models with a course, the newest first."""
    models = {model.name: model for model in registry.models() if not model.problem}
    ordered = {run.name: run for run in runs.all()}
    names = dict.fromkeys([*ordered, *models])
    return [Entry(ordered.get(name), models.get(name)) for name in names if name in ordered or models[name].run]


def runs_table(found: Sequence[Entry]) -> Markup:
    """Lay out the runs, those of the same clips together, and below them what they must beat."""
    scales = next((one.model.measured.scales for one in found if one.model), MUSICEVAL)
    heads = ["Run", "State", "Order", "Epoch kept", *(f"Dev L1, {scale.short}" for scale in scales), "Dev SRCC"]
    heads += [f"{figure}, {scale.short}" for scale in scales for figure in ("SRCC", "MSE")]
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for one in found:
        groups.setdefault(one.group, []).append(one)
    rows = [row for group in groups.values() for row in _group(group, scales)]
    note = "No run yet. SRCC and MSE of a trained judge stand here beside what it must beat."
    return html_table("Runs, and what they must beat on the same clips", heads, rows, note)


def _group(group: Sequence[Entry], scales: Scales) -> Iterator[list[str]]:
    for one in group:
        course, run, model = Course.read(one.of.folder), one.run, one.model
        of_dev = [_number(course.at_kept(f"dev_l1_{scale.key}")) for scale in scales]
        kept = "–" if course.kept is None else f"{course.kept} of {len(course.log)}"
        state = run.state if run else "trained elsewhere"
        row = [one.title, state, _ordered(one), kept, *of_dev, _number(course.at_kept("dev_srcc"))]
        yield [*row, *_figures(model.measured if model else None, scales)]
    measured = {name: of for one in group if one.model for name, of in one.model.controls.measured.items()}
    for name, title in TITLES.items():
        if name in measured:
            yield [f"To beat: {title}", "–", "–", "–", *["–"] * (len(scales) + 1), *_figures(measured[name], scales)]


def _ordered(one: Entry) -> str:
    if one.model and one.model.run:
        facts = one.model.run
        return f"{facts.recipe}, {facts.tower}, {facts.split}, seed {facts.seed}"
    if one.run:
        plan = one.run.plan
        return f"{plan.recipe.name}, {plan.tower}, {plan.split.kind}, seed {plan.split.seed}"
    return "–"


def _figures(measured: Measured | None, scales: Scales) -> list[str]:
    known = measured.on("utterance") if measured else {}
    figures = [known[scale.key].figures if scale.key in known else {} for scale in scales]
    return [_number(of.get(name)) for of in figures for name in ("srcc", "mse")]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def warnings_of(found: Sequence[Entry]) -> dict[str, list[str]]:
    """Return what to know of each run, by its title; nothing of those of which there is nothing to say."""
    said = {}
    for one in found:
        doubts = [*(one.model.doubts if one.model else ()), Course.read(one.of.folder).overfits()]
        if doubts := [doubt for doubt in doubts if doubt]:
            said[one.title] = doubts
    return said


def overlaid(found: Sequence[Entry]) -> Markup:
    """Draw the courses of some runs over each other, a plot for each figure of the log."""
    some = [(one.title, Course.read(one.of.folder)) for one in found[:MOST_CURVES]]
    scales = next((one.model.measured.scales for one in found if one.model), MUSICEVAL)
    columns = {"train_l1": "L1 on the training clips"}
    columns |= {f"dev_l1_{scale.key}": f"L1 on the dev part: {scale.title.lower()}" for scale in scales}
    columns |= {"dev_srcc": "SRCC on the dev part"}
    plots = [plot for column, title in columns.items() if (plot := _plot(some, column, title))]
    legend = [
        {"title": title, "colour": colour, "dash": dash, "kept": course.kept}
        for (title, course), colour, dash in zip(some, _COLOURS, _DASHES, strict=False)
    ]
    return render("training_overlaid.html", plots=plots, legend=legend, width=_WIDTH, height=_HEIGHT)


def _plot(some: Sequence[tuple[str, Course]], column: str, title: str) -> dict[str, Any] | None:
    """Lay out one plot; None where no run has the figure."""
    points = [course.points(column) for _, course in some]
    flat = [point for each in points for point in each]
    if not flat:
        return None
    last, low, high = max(x for x, _ in flat), min(y for _, y in flat), max(y for _, y in flat)
    room = max((high - low) * 0.08, 0.005)
    low, high = low - room, high + room

    def at(point: tuple[float, float]) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (point[0] - 1) / max(last - 1, 1)
        return round(x, 1), round(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (point[1] - low) / (high - low), 1)

    lines = []
    for (name, course), own, colour, dash in zip(some, points, _COLOURS, _DASHES, strict=False):
        kept = [at(point) for point in own if point[0] == course.kept]
        path = "M" + "L".join(f"{x} {y}" for x, y in map(at, own)) if own else ""
        lines.append({"name": name, "path": path, "kept": kept, "colour": colour, "dash": dash})
    ticks = [(at((1, value))[1], f"{value:.2f}") for value in (low + room, (low + high) / 2, high - room)]
    return {"title": title, "lines": lines, "ticks": ticks, "last": f"{last:.0f}", "bottom": _HEIGHT - _BOTTOM}


class Workbench:
    """The table of runs, the curves of those that are chosen, and the note on one."""

    def __init__(self, runs: RunManager, registry: ModelRegistry) -> None:
        self._runs, self._registry = runs, registry
        self.table = gr.HTML(apply_default_css=False, elem_id="runs-table")
        self.chosen = gr.CheckboxGroup([], label="Curves of", visible=False, elem_id="runs-chosen")
        self.curves = gr.HTML(apply_default_css=False, elem_id="runs-curves")
        with gr.Accordion("Notes and files of a run", open=False, visible=False, elem_id="run-notes") as self.notes:
            self.which = gr.Dropdown([], label="Run")
            self.note = gr.Textbox(label="Note on the run", lines=2, max_lines=12, max_length=MOST_NOTE)
            self.save = gr.Button("Save the note", elem_classes="me-narrow")
            self.files = gr.HTML(apply_default_css=False, elem_id="run-files")
        self.chosen.change(told(self.draw), self.chosen, self.curves, **QUIETLY)
        self.which.change(told(self.show_run), self.which, [self.note, self.files], **QUIETLY)

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [self.table, self.chosen, self.curves, self.notes, self.which]

    def connect(self, shown: gr.State, refresh: Callable[[str], Shown], everything: list[Any]) -> None:
        """Make the button work."""

        def note_run(run: str | None, note: str, name: str) -> Shown:
            one = self._find(run)
            replace(About.read(one.of.folder), note=note.strip()).write(one.of.folder)
            return refresh(name)

        self.save.click(told(note_run), [self.which, self.note, shown], everything, **QUIETLY)

    def show(self) -> Shown:
        """Show all runs, and the curves of the newest."""
        found = entries(self._runs, self._registry)
        choices = [(one.title, one.of.name) for one in found if len(Course.read(one.of.folder).log)]
        names = [(one.title, one.of.name) for one in found]
        first = [name for _, name in choices[:2]]
        said = render("training_warnings.html", said=warnings_of(found))
        return {
            self.table: runs_table(found) + said,
            self.chosen: gr.update(choices=choices, value=first, visible=bool(choices)),
            self.curves: self.draw(first),
            self.notes: gr.update(visible=bool(names)),
            self.which: gr.update(choices=names, value=None),
        }

    def draw(self, chosen: Sequence[str]) -> Markup:
        """Draw the curves of runs, by their names."""
        found = [one for one in entries(self._runs, self._registry) if one.of.name in chosen]
        return overlaid(found) if found else Markup()

    def show_run(self, name: str | None) -> tuple[str, Markup]:
        """Return the note on a run, and its files."""
        if not name:
            return "", Markup()
        one = self._find(name)
        files = [path.name for path in carried(one.of.folder)]
        return About.read(one.of.folder).note, render("run_files.html", name=one.of.name, files=files)

    def _find(self, name: str | None) -> Entry:
        for one in entries(self._runs, self._registry):
            if one.of.name == name:
                return one
        raise TrainingError("Choose a run first.")
