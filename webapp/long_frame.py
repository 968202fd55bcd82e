"""A table that sorts by any heading; of a long one the page gets a part, and what is looked for."""

from typing import Any

import gradio as gr
import pandas as pd

from webapp.handlers import Shown, on

MOST_ROWS = 500  # more take a browser seconds


class LongFrame:
    """The table, and the controls that show other rows of a long one."""

    def __init__(self, label: str, visible: bool = True) -> None:
        self.rows = gr.State()  # all of them
        with gr.Row(visible=False, elem_classes="me-bar") as self.looking:
            self.find = gr.Textbox(label="Find in all rows", max_length=200, min_width=240)
            self.order = gr.Dropdown(label="Order", choices=[], min_width=200)
            self.highest = gr.Checkbox(True, label="Highest first", min_width=160)
        self.table = gr.Dataframe(
            label=label,
            interactive=False,
            visible=visible,
            show_search="search",
            max_chars=60,
            max_height=480,
            elem_classes="me-clips",
            buttons=["fullscreen", "copy"],
        )
        asked = [self.rows, self.find, self.order, self.highest]
        for event in (self.find.submit, self.order.input, self.highest.input):
            on(event, self.look, asked, [self.table])

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [self.rows, self.looking, self.find, self.order, self.table]

    def show(self, rows: pd.DataFrame | None) -> Shown:
        """Show a table from its first row on, or none."""
        if rows is None:
            return {self.rows: None, self.looking: gr.update(visible=False), self.table: gr.update(visible=False)}
        told = f"Of {len(rows):,} rows, {MOST_ROWS} are shown; Enter looks for others."
        return {
            self.rows: rows,
            self.looking: gr.update(visible=len(rows) > MOST_ROWS),
            self.find: gr.update(value="", info=told),
            self.order: gr.update(choices=list(rows), value=None),
            self.table: gr.update(value=rows.head(MOST_ROWS), visible=True),
        }

    def look(self, rows: pd.DataFrame | None, words: str, order: str | None, highest: bool) -> Any:
        """Show the rows that have some words in any cell, in the order of a column."""
        if rows is None:
            return gr.skip()
        if words.strip():
            cells = rows.astype(str).agg(" ".join, axis=1)
            rows = rows[cells.str.contains(words.strip(), case=False, regex=False)]
        if order:
            rows = rows.sort_values(order, ascending=not highest, kind="stable", na_position="last")
        return gr.update(value=rows.head(MOST_ROWS))
