"""*Judge beside panel* of a study on its page: the judge in use scores the clips when asked, beside their ratings."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

from core.errors import MusicEvalError, StudyError
from webapp.figure_desk import drawing
from webapp.follow import Done, Report, follow
from webapp.handlers import Shown, explain, html_part, on
from webapp.html import render, shown_table
from webapp.listening_api import StudyStore
from webapp.long_frame import LongFrame

if TYPE_CHECKING:
    from annotation.results.judged import JudgedPanel, LoadedJudge

_MEANING = (
    "The judge of this server scores the rated clips: where it agrees with the panel, and on which clips it does not. "
    "The first time takes as long as scoring does; what it heard is kept."
)


class PanelDesk:
    """The parts, and the handlers of their controls.

    `judge` returns the judge in use, and `hear` shows a clip of a study with its player.
    """

    def __init__(
        self,
        store: StudyStore,
        judge: Callable[[], "LoadedJudge"],
        hear: Callable[[str | None, str | None], Markup],
        study: gr.Dropdown,
    ) -> None:
        self._store, self._judge, self._hear = store, judge, hear
        self._one_at_a_time = threading.Lock()
        explain("Judge beside panel", _MEANING)
        ask = gr.Button("Set the judge beside the panel", elem_classes="me-narrow")
        self.view = html_part()
        self.clips = LongFrame(
            "Clips on which judge and panel disagree most first: choose one to hear it; a heading sorts", visible=False
        )
        self.heard = html_part()
        on(ask.click, self.compare, [study], self.parts, show_progress="hidden")
        on(self.clips.table.select, self.choose, [study], [self.heard], show_progress="hidden")

    @property
    def parts(self) -> list[Any]:
        """What `leave` and `compare` change."""
        return [self.view, *self.clips.parts, self.heard]

    def leave(self) -> Shown:
        """Take away what was said of another study."""
        return {self.view: "", **self.clips.show(None), self.heard: ""}

    def compare(self, study: str | None) -> Iterator[Shown]:
        """Score the clips, and show how far that is, then what came of it; it goes on when the page is closed."""
        yield {**self.leave(), self.view: render("studio_note.html", sentence="The judge is being asked.")}
        try:
            for step in follow(partial(self._compare, study or "")):
                yield self._show(step.value) if isinstance(step, Done) else self._going_on(*step)
        except MusicEvalError as error:  # it stands in place of the figures
            yield {**self.leave(), self.view: render("studio_note.html", sentence=str(error))}

    def _compare(self, study: str, report: Report) -> "JudgedPanel":
        from annotation.results.judged import judge_beside_panel

        if not self._one_at_a_time.acquire(blocking=False):
            raise StudyError("The judge is being asked already. Try again when it is done.")
        try:
            return judge_beside_panel(self._store.database, self._store.data, study, self._judge(), report)
        finally:
            self._one_at_a_time.release()

    def _going_on(self, done: int, total: int) -> Shown:
        sentence = f"{done:,} of {total:,} clips scored." if total else "The clips are being read."
        return {self.view: render("studio_note.html", sentence=sentence)}

    def _show(self, found: "JudgedPanel") -> Shown:
        svg, table = found.scatter, found.agreement_table
        view = render("study_judged.html", found=found, scatter=drawing(svg), table=shown_table(table))
        return {self.view: view, **self.clips.show(found.clips), self.heard: ""}

    def choose(self, study: str | None, event: gr.SelectData) -> Markup:
        """Show the clip of the row that was clicked, with its player."""
        return self._hear(study, event.row_value[-1])
