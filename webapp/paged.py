"""A long table of the administrator's page, shown in parts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr

from annotation.results import Table
from webapp.handlers import Shown, html_part, on
from webapp.html import shown_table

ROWS = 25


class PagedTable:
    """The part that is shown, and the buttons that show others; `read` gives the table of a study."""

    def __init__(self, study: gr.Dropdown, read: Callable[[str], Table]) -> None:
        self._read = read
        self.table = html_part()
        self.page = gr.State(0)
        with gr.Row(visible=False, elem_classes="me-bar") as self.turning:
            later = gr.Button("Later", scale=0, min_width=112)
            earlier = gr.Button("Earlier", scale=0, min_width=112)
        for button, step in ((later, -1), (earlier, 1)):
            on(button.click, self.turn, [study, self.page, gr.State(step)], self.parts)

    @property
    def parts(self) -> list[Any]:
        """What `show` and `turn` change."""
        return [self.table, self.page, self.turning]

    def show(self, study: str, page: int = 0) -> Shown:
        """Show a part, or the last where there are fewer."""
        table = self._read(study)
        last = max(len(table.rows) - 1, 0) // ROWS
        page = min(max(page, 0), last)
        begin = page * ROWS
        rows = table.rows[begin : begin + ROWS]
        part = f" ({begin + 1} to {begin + len(rows)} of {len(table.rows)})" if last else ""
        return {
            self.table: shown_table(replace(table, caption=table.caption + part, rows=rows)),
            self.page: page,
            self.turning: gr.update(visible=last > 0),
        }

    def turn(self, study: str | None, page: int, step: int) -> Shown:
        """Show the part before or after."""
        return self.show(study or "", page + step)
