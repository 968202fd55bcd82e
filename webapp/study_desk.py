"""What the Study tab does: each method is the handler of one control, and gives what the page then shows.

None of them checks who asks: `webapp.study_tab` wires all of them through `Administration.guarded`.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from typing import Any

import gradio as gr
import pandas as pd

from annotation.results.changes import Change, possible_changes
from annotation.results.desk import overview, study_names
from annotation.results.ratings import what_if
from annotation.studies import find_study, invite, renew
from core.errors import StudyError
from core.scales import SCALE_TITLES, SCALES
from webapp import study_views
from webapp.html_table import html_table
from webapp.study_export import Exports
from webapp.venues import Venue

_PREVIEW_REASON = "what if"
_MEGABYTE = 1_000_000

Shown = tuple[Any, ...]


class StudyDesk:
    """The desk of whoever runs listening tests.

    Parameters
    ----------
    venue : Venue
        Where the studies are.
    exports : Exports
    train : callable
        Starts a training run from the study of a name, and says so in a sentence.
    """

    def __init__(self, venue: Venue, exports: Exports, train: Callable[[str], str]) -> None:
        self._venue = venue
        self._exports = exports
        self._train = train

    def open(self, current: str | None) -> Shown:
        """Show the study that was chosen; the newest where none was, or it is gone.

        Returns
        -------
        tuple
            Updates of: the choice of a study, the note that there is none, the desk; the heading, the views
            of progress, results, clips, screening and reliability; the choices of a change and of a rater.
        """
        names = study_names(self._venue.database)
        if not names:
            desk = gr.update(visible=False)
            return (gr.update(choices=[], value=None), gr.update(visible=True), desk, *[gr.skip()] * 8)
        name = current if current in names else names[0]
        found = overview(self._venue.database, name, datetime.now(UTC))
        raters = [rater["rater"] for rater in found.status["raters"]]
        return (
            gr.update(choices=names, value=name),
            gr.update(visible=False),
            gr.update(visible=True),
            study_views.heading(found),
            study_views.progress(found),
            study_views.results(found),
            _clips(found.results.clips),
            study_views.screening(found),
            study_views.reliability(found),
            gr.update(choices=[_offer(change) for change in found.changes], value=None),
            gr.update(choices=raters, value=None),
        )

    def preview(self, study: str | None, offer: str | None) -> Shown:
        """Show what a change would do.

        Returns
        -------
        tuple
            The change that waits for its confirmation; updates of: the comparison, the column that it stands
            in, the button that confirms.
        """
        change = self._change(study, offer)

        def make(session: Any) -> None:
            change.make(session, _PREVIEW_REASON, _PREVIEW_REASON, datetime.now(UTC))

        before, after = what_if(self._venue.database, change.study, make)
        shown = study_views.comparison(change, before, after)
        return change, shown, gr.update(visible=True), gr.update(value=_offer(change))

    def confirm(self, waiting: Change | None, reason: str, author: str) -> Shown:
        """Make the change that was shown.

        Returns
        -------
        tuple
            None, for nothing waits any more; the change that was made; updates of: the column with the
            comparison, the reason, the note, the row that it stands in, the button that undoes.
        """
        if waiting is None:
            raise StudyError("There is nothing to confirm. Choose a change and look at what it does first.")
        self._make(waiting, reason, author)
        note = f"Done: {_offer(waiting)}. It stands in the log."
        shown, hidden = gr.update(visible=True), gr.update(visible=False)
        return None, waiting, hidden, "", _note(note), shown, shown

    def undo(self, made: Change | None, author: str) -> Shown:
        """Take the last change back.

        Returns
        -------
        tuple
            None, for nothing can be taken back any more; updates of: the note, the button.
        """
        if made is None:
            raise StudyError("There is nothing to undo here. The log lists every change.")
        self._make(made.undo, "The change before was undone at once.", author)
        return None, _note(f"Undone: {_offer(made)}. Both stand in the log."), gr.update(visible=False)

    def invite(self, study: str | None, count: float | None) -> str:
        """Add raters; give their codes, which are shown only now."""
        with self._venue.database.write() as session:
            found = find_study(session, study or "")
            invited = invite(session, found, int(count or 0), datetime.now(UTC))
        return _codes(invited)

    def renew(self, study: str | None, rater: str | None) -> str:
        """Give a rater a new code; the old one ends."""
        with self._venue.database.write() as session:
            found = find_study(session, study or "")
            code = renew(session, found, rater or "", datetime.now(UTC))
        return _codes([(str(rater), code)])

    def export(self, study: str | None) -> str:
        """Pack an export; give the link to it."""
        ticket = self._exports.prepare(study or "", datetime.now(UTC))
        link = f'<a href="{ticket.address}" download="{escape(ticket.name)}">{escape(ticket.name)}</a>'
        life = f"{link} ({_size(ticket.size_bytes)}). The link works once, within ten minutes."
        return _note(f"{life}<br>Content {ticket.content_sha256}")

    def train(self, study: str | None) -> str:
        """Start a run on the ratings of the study."""
        return _note(escape(self._train(study or "")))

    def _change(self, study: str | None, offer: str | None) -> Change:
        if study is None or not offer:
            raise StudyError("Choose what to exclude or restore first.")
        with self._venue.database.read() as session:
            changes = possible_changes(session, find_study(session, study))
        for change in changes:
            if _offer(change) == offer:
                return change
        raise StudyError(f"{offer}: this was done already, or in another study. Press Refresh.")

    def _make(self, change: Change, reason: str, author: str) -> None:
        with self._venue.database.write() as session:
            change.make(session, reason, author.strip() or "administrator", datetime.now(UTC))


def _offer(change: Change) -> str:
    return f"{change.action.capitalize()} {change.what}"


def _note(html: str) -> str:
    return f'<p class="me-notice" role="status">{html}</p>'


def _size(size_bytes: int) -> str:
    if size_bytes < _MEGABYTE:
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / _MEGABYTE:.1f} MB"


def _codes(invited: list[tuple[str, str]]) -> str:
    return html_table("Codes, shown only now", ("Rater", "Code"), invited)


def _clips(mos: pd.DataFrame) -> pd.DataFrame:
    """The clips' scores as they are shown: two digits, intervals as their reach."""
    columns = {"System": mos["system"]}
    for scale, short in zip(SCALES, ("MI", "TA"), strict=True):
        columns[SCALE_TITLES[scale]] = mos[scale].round(2)
        columns[f"± ({short})"] = (mos[f"{scale}_high"] - mos[scale]).round(2)
    columns |= {"Ratings": mos["n_ratings"], "Prompt": mos["prompt"], "Clip": mos["clip"]}
    return pd.DataFrame(columns)
