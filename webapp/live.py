"""How a study goes on, on top of its page: it follows by itself, and nothing below it is built anew."""

from datetime import datetime
from typing import Any

import gradio as gr

from annotation.database import now
from annotation.results.live import Answers, Live, count_on, live
from annotation.studies import find_study
from core.errors import BusyError, StudyError
from webapp.handlers import BY_ITSELF, Shown, html_part, on
from webapp.html import render
from webapp.listening_api import StudyStore

EACH_S = 5.0


class LiveView:
    """The view, and the clock that lets it follow."""

    def __init__(self, store: StudyStore, shown: gr.State) -> None:
        self._store = store
        self._answers: dict[tuple[int, datetime], Answers] = {}  # by the study's id and its birth
        self.view = html_part()
        self.seen = gr.State("")  # what the page shows, so that it is not put there again
        clock = gr.Timer(EACH_S)
        # Not the menu: what it holds may be of a moment ago, and Gradio refuses a study that is gone.
        on(clock.tick, self.follow, [shown, self.seen], self.parts, **BY_ITSELF)

    @property
    def parts(self) -> list[Any]:
        """What `show` and `follow` change."""
        return [self.view, self.seen]

    def look(self, name: str) -> Live:
        """Count what has come since the last look."""
        with self._store.database.read() as session:
            study = find_study(session, name)
            known = (study.id, study.created_at)
            answers = count_on(session, study, self._answers.get(known))
            self._answers[known] = answers
            return live(session, study, now(session), answers)

    def show(self, found: Live) -> Shown:
        """Show how a study goes on."""
        html = render("study_live.html", found=found)
        return {self.view: html, self.seen: str(html)}

    def follow(self, study: str | None, seen: str) -> Shown:
        """Show what has changed; nothing where nothing has, or the study is gone."""
        try:
            shown = self.show(self.look(study or ""))
        except (StudyError, BusyError):
            return dict.fromkeys(self.parts, gr.skip())
        return dict.fromkeys(self.parts, gr.skip()) if shown[self.seen] == seen else shown
