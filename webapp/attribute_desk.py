"""*Systems by attribute* on the page of a study: groups of systems from a table that is uploaded, and not kept."""

from pathlib import Path
from typing import Any

import gradio as gr
from markupsafe import Markup

from annotation.results.attributes import by_attribute, read_attributes
from annotation.results.status import overview
from core.errors import StudyError
from webapp.figure_desk import drawing, files
from webapp.handlers import Shown, explain, html_part, on
from webapp.html import render, shown_table
from webapp.listening_api import StudyStore

_MEANING = (
    "A table (CSV) with the columns system and attribute, such as commercial or open: the mean of each group of "
    "systems with its 95 % interval. The table is not kept."
)


class AttributeDesk:
    """The parts, and the handler of the upload."""

    def __init__(self, store: StudyStore, study: gr.Dropdown) -> None:
        self._store = store
        with gr.Accordion("Systems by attribute", open=False):
            explain("Systems by attribute", _MEANING)
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
