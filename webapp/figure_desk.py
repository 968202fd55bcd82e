"""The paper's figures of a study on its page, drawn when they are asked for: to look at, to point at, to download.

Groups of systems are of a table that is uploaded, and not kept.
"""

from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from markupsafe import Markup

from annotation.results.attributes import by_attribute, read_attributes
from annotation.results.scores import Results
from annotation.results.status import overview
from core.errors import StudyError
from core.scales import MAX_SCORE, MIN_SCORE, Scale
from webapp.handlers import Shown, explain, html_part, on
from webapp.html import csv_address, file_address, render, shown_table
from webapp.listening_api import StudyStore

_BY_ATTRIBUTE = (
    "A table (CSV) with the columns system and attribute, such as commercial or open: the mean of each group of "
    "systems with its 95 % interval. The table is not kept."
)


class FigureDesk:
    """The parts, and the handler of the button."""

    def __init__(self, store: StudyStore, study: gr.Dropdown) -> None:
        self._store = store
        with gr.Accordion("Figures of the paper", open=False):
            draw = gr.Button("Draw the figures", elem_classes="me-narrow")
            self.systems = gr.ScatterPlot(visible=False, height=420)
            self.view = html_part()
        on(draw.click, self.draw, [study], self.parts)

    @property
    def parts(self) -> list[Any]:
        """What `leave` and `draw` change."""
        return [self.view, self.systems]

    def leave(self) -> Shown:
        """Take away the figures of another study."""
        return {self.view: "", self.systems: gr.update(visible=False)}

    def draw(self, study: str | None) -> Shown:
        """Show the figures for which there are valid ratings."""
        from annotation.report.figures import figures  # draws: a second to import

        found = overview(self._store.database, study or "")
        plots = figures(found.ratings, found.results)
        if not plots:
            return {**self.leave(), self.view: render("studio_note.html", sentence="No rating is valid yet.")}
        shown = [
            {"drawing": drawing(plot.svg), "caption": plot.caption, "files": files(f"{study}-{plot.name}", plot)}
            for plot in plots
        ]
        return {self.view: render("study_figures.html", plots=shown), self.systems: _systems(found.results)}


def drawing(svg: str) -> Markup:
    """Return the part of an SVG file that stands in a page."""
    return Markup(svg[svg.index("<svg") :])


def files(name: str, plot: Any) -> list[tuple[str, str, str]]:
    """Return the files of a figure: what kind, their names and their addresses."""
    table = csv_address(list(plot.table), plot.table.itertuples(index=False))
    return [
        ("SVG", f"{name}.svg", file_address(plot.svg.encode(), "image/svg+xml")),
        ("PNG", f"{name}.png", file_address(plot.png, "image/png")),
        ("CSV", f"{name}.csv", table),
    ]


def _systems(results: Results) -> Any:
    """Show the systems on the first two scales, so that each can be pointed at."""
    if len(results.scales) < 2:
        return gr.update(visible=False)
    across, up = results.scales[:2]
    table = results.systems
    rows = pd.DataFrame(
        {
            "system": table["system"],
            **{scale.title: table[scale.key].round(2) for scale in (across, up)},
            **{f"95 % ({scale.short})": _ends(table, scale) for scale in (across, up)},
            "clips": table["n_clips"],
        }
    )
    limits: list[float | None] = [MIN_SCORE, MAX_SCORE]
    return gr.ScatterPlot(
        rows,
        x=across.title,
        y=up.title,
        tooltip="all",
        x_lim=limits,
        y_lim=limits,
        title=f"{up.title} against {across.title.lower()}: point at a system",
        visible=True,
    )


def _ends(table: pd.DataFrame, scale: Scale) -> list[str]:
    ends = zip(table[f"{scale.key}_low"], table[f"{scale.key}_high"], strict=True)
    return ["none" if pd.isna(low) else f"{low:.2f} to {high:.2f}" for low, high in ends]


class AttributeDesk:
    """The parts, and the handler of the upload."""

    def __init__(self, store: StudyStore, study: gr.Dropdown) -> None:
        self._store = store
        with gr.Accordion("Systems by attribute", open=False):
            explain("Systems by attribute", _BY_ATTRIBUTE)
            self.file = gr.File(label="Systems and attributes (CSV)", file_types=[".csv", ".tsv", ".txt"], height=120)
            self.view = html_part()
        on(self.file.upload, self.show_groups, [study, self.file], [self.view])

    @property
    def parts(self) -> list[Any]:
        """What `leave` changes."""
        return [self.file, self.view]

    def leave(self) -> Shown:
        """Take away what was said of another study."""
        return {self.file: None, self.view: ""}

    def show_groups(self, study: str | None, file: str | None) -> Markup:
        """Show the groups of a table."""
        from annotation.report.figures import attribute_figure  # draws: a second to import

        if not file:
            raise StudyError("Give a table with the columns system and attribute.")
        groups = by_attribute(overview(self._store.database, study or "").results, read_attributes(Path(file)))
        plot, table = attribute_figure(groups), groups.shown
        return render(
            "study_attributes.html",
            table=shown_table(table),
            plot=plot,
            drawing=drawing(plot.svg) if plot else "",
            files=files(f"{study}-{plot.name}", plot) if plot else [],
        )
