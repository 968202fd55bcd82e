"""Excluding and restoring batches and raters: what it would do is shown first, and it can be undone at once."""

from collections.abc import Sequence
from typing import Any

import gradio as gr
from markupsafe import Markup

from annotation.database import now
from annotation.results.changes import Comparison, what_if
from annotation.session.exclusions import Change, possible_changes
from annotation.studies import find_study
from core.errors import StudyError
from webapp.handlers import Shown, html_part, on
from webapp.html import render, shown_table
from webapp.listening_api import StudyStore

AUTHOR = "administrator"
_UNDO_REASON = "The change before was undone at once."
_CHANGE = "Nothing changes until you confirm. Every change can be undone, and stays in the log."
_IN_TURN: dict[str, Any] = {"concurrency_id": "changes", "concurrency_limit": 1}  # answered as they were clicked


def comparison(change: Change, compared: Comparison) -> Markup:
    """Show what a change would do to the systems' scores and ranks."""
    tables = []
    for scale in compared.before.scales:
        table = compared.table(scale)
        tables.append((shown_table(table), compared.moved(scale)))
    return render("study_comparison.html", offer=offer(change), ratings=compared.ratings, tables=tables)


def offer(change: Change) -> str:
    """Name a change in the menu."""
    return f"{change.action.capitalize()} {change.what}"


class Changes:
    """The controls, and their handlers; `made` is what was done last, and can be undone."""

    def __init__(self, store: StudyStore, study: gr.Dropdown, changed: gr.State) -> None:
        self._store, self.changed = store, changed
        self.waiting, self.made = gr.State(), gr.State()  # a change that was shown, and one that was made
        with gr.Row(elem_classes="me-bar"):
            self.change = gr.Dropdown(label="Batch or rater", info=_CHANGE, choices=[], min_width=240)
            look = gr.Button("Show the effect", scale=0, min_width=200)
        with gr.Column(visible=False, elem_classes="me-card") as self.effect:
            self.comparison = html_part()
            self.reason = gr.Textbox(label="Reason, for the log", max_length=500)
            author = gr.Textbox(AUTHOR, label="Your name, for the log", max_length=80)
            with gr.Row():
                self.confirmation = gr.Button("Confirm", variant="primary")
                cancel = gr.Button("Cancel")
        with gr.Row(visible=False, elem_classes="me-bar") as self.done:
            self.note = html_part()
            self.undoing = gr.Button("Undo", scale=0, min_width=112)
        compared = [self.waiting, self.effect]
        previewed = [*compared, self.comparison, self.confirmation]
        on(look.click, self.preview, [study, self.change], previewed, **_IN_TURN)
        made = [*compared, self.made, self.change, self.reason, self.note, self.done, self.undoing, changed]
        on(self.confirmation.click, self.confirm, [self.waiting, self.reason, author], made, **_IN_TURN)
        undone = [self.made, self.note, self.undoing, changed]
        on(self.undoing.click, self.undo, [self.made, author], undone, **_IN_TURN)
        for event in (cancel.click, self.change.input):
            on(event, self.cancel, [], compared, **_IN_TURN)

    @property
    def parts(self) -> list[Any]:
        """What `show` and `leave` change."""
        return [self.change, self.waiting, self.effect, self.made, self.done]

    def show(self, changes: Sequence[Change], same: bool) -> Shown:
        """Offer changes; what was chosen stays where it is of the `same` study and rater as before."""
        unchosen = {} if same else {"value": None}
        return {
            **({} if same else self.leave()),
            self.change: gr.update(choices=[offer(change) for change in changes], **unchosen),
        }

    def leave(self) -> Shown:
        """Take away what was looked at or done before."""
        return {**self.cancel(), self.made: None, self.done: gr.update(visible=False)}

    def preview(self, study: str | None, chosen: str | None) -> Shown:
        """Show what a change would do."""
        change = self._chosen(study, chosen)
        compared = what_if(self._store.database, change)
        return {
            self.waiting: change,
            self.comparison: comparison(change, compared),
            self.effect: gr.update(visible=True),
            self.confirmation: gr.update(value=offer(change)),
        }

    def confirm(self, waiting: Change | None, reason: str, author: str) -> Shown:
        """Make the change that was shown."""
        if waiting is None:
            raise StudyError("There is nothing to confirm. Choose a change and look at what it does first.")
        with self._store.database.write() as session:
            at = now(session)
            waiting.make(session, reason, author.strip() or AUTHOR, at)
        return {
            **self.cancel(),
            self.made: waiting,
            self.changed: at.isoformat(),
            self.change: gr.update(value=None),
            self.reason: "",
            self.note: render("studio_note.html", sentence=f"Done: {offer(waiting)}. It stands in the log."),
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
            at = now(session)
            made.take_back(session, _UNDO_REASON, author.strip() or AUTHOR, at)
        return {
            self.made: None,
            self.changed: at.isoformat(),
            self.note: render("studio_note.html", sentence=f"Undone: {offer(made)}. Both stand in the log."),
            self.undoing: gr.update(visible=False),
        }

    def _chosen(self, study: str | None, chosen: str | None) -> Change:
        if study is None or not chosen:
            raise StudyError("Choose what to exclude or restore first.")
        with self._store.database.read() as session:
            changes = possible_changes(session, find_study(session, study))
        for change in changes:
            if offer(change) == chosen:
                return change
        raise StudyError(f"{chosen}: this was done already, or in another study. Press Refresh.")
