"""The study link on the page *Studies*: who joins by themselves, and what they get at the end."""

from typing import Any

import gradio as gr

from annotation.database import now
from annotation.enrolment import CODE, LONGEST, Enrolment, enrolment_of, joined_table, set_enrolment
from annotation.studies import find_study, shown_time
from webapp.handlers import Shown, html_part, on
from webapp.html import csv_address, html_table, render
from webapp.invitations import address_of_server, link_of
from webapp.listening_api import StudyStore

_LINK = "Whoever opens it becomes a new rater, up to the limit, while the study is open."
_END = "Raters who have done enough see the code, and a button that leads to the address."
_PARAMETERS = "With commas between; what the link carries under these names is kept for you alone: PROLIFIC_PID."


class Enrolling:
    """The controls, and their handlers."""

    def __init__(self, store: StudyStore, study: gr.Dropdown) -> None:
        self._store = store
        with gr.Accordion("Study link: raters join by themselves", open=False, elem_id="study-link"):
            with gr.Row(elem_classes="me-bar"):
                self.limit = gr.Number(100, label="Most raters", info=_LINK, precision=0, minimum=1, min_width=240)
                self.on = gr.Checkbox(True, label="Takes raters", min_width=160)
            with gr.Row(elem_classes="me-bar"):
                self.code = gr.Textbox(label="Completion code", info=_END, max_length=LONGEST["code"], min_width=240)
                self.after = gr.Number(0, label="After so many batches; 0: all", precision=0, minimum=0, min_width=160)
            self.parameters = gr.Textbox(label="Parameters of the link", info=_PARAMETERS, max_length=500)
            self.address = gr.Textbox(
                label="Address to return to",
                info=f"https://…; after its ? may stand {{{CODE}}} and names of parameters in braces.",
                max_length=LONGEST["address"],
            )
            with gr.Row(elem_classes="me-bar"):
                save = gr.Button("Save the study link", scale=0, min_width=200)
                new = gr.Button("Save with a new link; the old one ends", scale=0, min_width=240)
            self.link = gr.Textbox(label="Study link", buttons=["copy"], interactive=False, visible=False)
            self.joined = html_part()
        given = [study, self.limit, self.on, self.code, self.address, self.parameters, self.after]
        self.saved = on(save.click, self.save, [*given, gr.State(False)], [self.link]).success
        on(new.click, self.save, [*given, gr.State(True)], [self.link])

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        fields = [self.limit, self.on, self.code, self.after, self.parameters, self.address]
        return [*fields, self.link, self.joined]

    def show(self, name: str, before: str | None) -> Shown:
        """Show who joined; of another study than before, its settings too."""
        with self._store.database.read() as session:
            study = find_study(session, name)
            found, table = enrolment_of(study), joined_table(session, study)
        rows = [
            tuple(shown_time(cell.isoformat()) if hasattr(cell, "isoformat") else str(cell) for cell in row)
            for row in table.fillna("").itertuples(index=False, name=None)
        ]
        shown: Shown = {self.joined: ""}
        if rows:
            heads = [str(head).replace("_", " ") for head in table.columns]
            joined = html_table("Who joined by the link; for you alone, in no export", heads, rows)
            shown[self.joined] = joined + render("studio_joined.html", csv=csv_address(heads, rows))
        if name == before:
            return shown
        usual = found or Enrolment()
        return {
            **shown,
            self.limit: usual.limit,
            self.on: usual.on,
            self.code: usual.code,
            self.after: usual.after_batches,
            self.parameters: ", ".join(usual.parameters),
            self.address: usual.address,
            self.link: gr.update(value="", visible=False),
        }

    def save(
        self,
        study: str | None,
        limit: float | None,
        on: bool,
        code: str,
        address: str,
        parameters: str,
        after: float | None,
        new_link: bool,
        request: gr.Request,
    ) -> Shown:
        """Set who may join, and show the link."""
        names = tuple(name.strip() for name in parameters.split(",") if name.strip())
        wanted = Enrolment(int(limit or 0), on, code.strip(), address.strip(), names, int(after or 0))
        with self._store.database.write() as session:
            made = set_enrolment(session, find_study(session, study or ""), wanted, now(session), new_link)
        more = "".join(f"&{name}=…" for name in made.parameters)
        link = f"{link_of(address_of_server(request), f'join-{made.key}')}{more}"
        return {self.link: gr.update(value=link, visible=True)}
