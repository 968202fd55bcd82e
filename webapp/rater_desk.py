"""*Raters* of a study on its page: all of them in a table that can be sorted, their hours, and a page for each."""

from collections.abc import Callable
from typing import Any

import gradio as gr
import pandas as pd
from markupsafe import Markup

from annotation.database import now
from annotation.results.live import Live
from annotation.results.one_rater import RaterPage, rater_page
from annotation.results.ratings import ratings_table
from annotation.results.status import Overview
from annotation.session import holds
from annotation.session.exclusions import possible_changes
from annotation.studies import find_rater, find_study
from webapp.changes import AUTHOR, Changes
from webapp.handlers import Shown, explain, html_part, on
from webapp.html import csv_address, render, shown_table
from webapp.listening_api import StudyStore

_PAUSE = (
    "A paused rater gets no batch, and is told so kindly; nothing that they rated changes. Whoever is let go on is "
    "tested anew by the rule of the study."
)
_FIRST = 3  # tables of a rater above the controls: distribution, agreement, batches; what is long comes below them


class RaterDesk:
    """The parts of the tab, and the handlers of its controls."""

    def __init__(self, store: StudyStore, study: gr.Dropdown, changed: gr.State) -> None:
        self._store, self.changed = store, changed
        self.table = gr.Dataframe(
            label="Raters: choose one; a heading sorts",
            interactive=False,
            show_search="search",
            max_height=420,
            elem_classes="me-clips",
            buttons=["fullscreen", "copy"],
        )
        self.hours = html_part()
        self.rater = gr.Dropdown(label="Rater", choices=[], filterable=True)
        self.page = html_part()
        with gr.Column(visible=False) as self.acts:
            explain("Pause", _PAUSE)
            with gr.Row(elem_classes="me-bar"):
                self.reason = gr.Textbox(label="Reason, for the log", max_length=500, min_width=240)
                self.pausing = gr.Button("Pause this rater", scale=0, min_width=176)
                self.going = gr.Button("Let this rater go on", scale=0, min_width=176)
            gr.HTML("<h2>Exclude or restore</h2>", apply_default_css=False)
            self.changes = Changes(store, study, changed)
        self.more = html_part()
        chosen, looked = [study, self.rater], self.looked
        on(self.table.select, self.choose, [study], [self.rater, *looked], show_progress="hidden")
        on(self.rater.input, self.look, chosen, looked, show_progress="hidden")
        for button, act in ((self.pausing, self.pause_rater), (self.going, self.let_go_on)):
            on(button.click, act, [*chosen, self.reason], [self.reason, changed])

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [self.table, self.hours, self.rater, self.page, self.more, self.acts, *self.changes.parts]

    @property
    def looked(self) -> list[Any]:
        """What `look` changes."""
        return [self.page, self.more, self.acts, self.pausing, self.going, self.changes.change]

    def show(self, found: Overview, so_far: Live, before: str | None) -> Shown:
        """Show the raters of a study; the page of one stays where it is the study shown before."""
        hours = so_far.hours_table
        same = found.status.study == before
        names = [rater.rater for rater in found.status.raters]
        shown: Shown = {
            self.table: raters_frame(found, so_far),
            self.hours: render(
                "study_hours.html",
                address=csv_address(hours.heads, hours.rows),
                name=f"{found.status.study}-hours.csv",
                total=sum(one.hours + one.practice_hours for one in so_far.raters),
            ),
            self.rater: gr.update(choices=names, **({} if same else {"value": None})),
        }
        if same:
            return shown
        return {**shown, **self._nobody(), **self.changes.show([], same=False)}

    def choose(self, study: str | None, event: gr.SelectData) -> Shown:
        """Show the rater of the row that was clicked."""
        name = str(event.row_value[0])
        return {self.rater: name, **self.look(study, name)}

    def look(self, study: str | None, rater: str | None) -> Shown:
        """Show all that is known of a rater."""
        if not study or not rater:
            return self._nobody()
        with self._store.database.read() as session:
            found = find_study(session, study)
            page = rater_page(session, found, rater, ratings_table(session, found))
            changes = [change for change in possible_changes(session, found) if change.rater == rater]
        return {
            self.page: render("study_rater.html", page=page, tables=_tables(page)[:_FIRST]),
            self.more: Markup().join(_tables(page)[_FIRST:]),
            self.acts: gr.update(visible=True),
            self.pausing: gr.update(visible=not page.paused),
            self.going: gr.update(visible=page.paused),
            self.changes.change: self.changes.show(changes, same=True)[self.changes.change],
        }

    def look_again(self, study: str, rater: str | None) -> Any:
        """Show the rater who is chosen as they are now; if nobody is, who is chosen meanwhile stays."""
        if not rater:
            return gr.skip()
        return self.look(study, rater) | {self.acts: gr.skip()}  # shown anew, a field would lose what is being typed

    def _nobody(self) -> Shown:
        return {self.page: "", self.more: "", self.acts: gr.update(visible=False)}

    def pause_rater(self, study: str | None, rater: str | None, reason: str) -> Shown:
        """Give a rater no further batch."""
        return self._act(holds.pause, study, rater, reason)

    def let_go_on(self, study: str | None, rater: str | None, reason: str) -> Shown:
        """Give a paused rater batches again."""
        return self._act(holds.resume, study, rater, reason)

    def _act(self, act: Callable[..., None], study: str | None, rater: str | None, reason: str) -> Shown:
        with self._store.database.write() as session:
            at = now(session)
            act(session, find_rater(session, find_study(session, study or ""), rater or ""), reason, AUTHOR, at)
        return {self.reason: "", self.changed: at.isoformat()}


def _tables(page: RaterPage) -> list[Markup]:
    return [shown_table(table) for table in page.tables]


def raters_frame(found: Overview, so_far: Live) -> pd.DataFrame:
    """Lay out the raters, a row each; what so few ratings cannot tell is empty."""
    checks = {row["rater"]: row for row in found.screening.raters.to_dict("records")}
    pace = {one.rater: one for one in so_far.raters}
    rows = []
    for rater in found.status.raters:
        seen, hours = checks.get(rater.rater, {}), pace[rater.rater]
        rows.append(
            {
                "Rater": rater.rater,
                "Where": rater.where,
                "Hours": round(hours.hours + hours.practice_hours, 2),
                "Ratings": rater.ratings,
                "Valid batches": rater.batches_valid,
                "Excluded": rater.batches_excluded,
                "Failed checks": hours.batches_failed,
                "Mean": _two_digits(seen.get("mean")),
                "Above others": _two_digits(seen.get("bias")),
                "Anchors too low": seen.get("anchors_failed"),
                "Repeats too far apart": seen.get("repeats_failed"),
                "Signs": ", ".join(rater.signs),
                "Last rating": (rater.last_rating_at or "")[:16].replace("T", " "),
            }
        )
    return pd.DataFrame(rows)


def _two_digits(value: float | None) -> float | None:
    return None if value is None or pd.isna(value) else round(value, 2)
