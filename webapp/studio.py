"""*Set up* of a study on its page: its state, its texts, its rules, a preview, its log, and its end."""

from typing import Any

import gradio as gr
from markupsafe import Markup

from annotation.database import now
from annotation.durability import KNOWN, refuse_unknown
from annotation.life import MOVES, delete, describe, has_answers, log, move, moves_from
from annotation.preview import make_preview
from annotation.results import Table
from annotation.schema import Event, Study
from annotation.studies import find_study, imported_from, shown_time
from annotation.wording import as_text
from core.errors import StudyError
from webapp.handlers import Shown, explain, html_part, on
from webapp.html import html_table, render
from webapp.listening_api import PREFIX, StudyStore
from webapp.new_study import TEXTS, text_fields
from webapp.paged import PagedTable

_WORDS = {
    "draft": "A draft: no rater can work in it before it is opened.",
    "open": "Open: whoever is invited can rate.",
    "paused": "Paused: raters are told to look again later, and go on where they were.",
    "closed": "Closed: raters are told that it has ended.",
    "archived": "Archived: it stays as it is. It can be taken out of the archive, or deleted.",
}
_BUTTONS = {
    "open": "Open", "pause": "Pause", "close": "Close", "archive": "Archive", "unarchive": "Take out of the archive",
}  # fmt: skip
_ACTIONS = {
    **{"open": "Opened", "pause": "Paused", "close": "Closed", "archive": "Archived", "unarchive": "Taken out"},
    **{"describe": "Texts changed", "withdraw": "Rater withdrawn", "retire": "Clip retired"},
    **{"pause_rater": "Rater paused", "resume_rater": "Rater let go on"},
    **{
        "enrol": "Study link set",
        "erase": "Answers erased",
        "import": "Ratings imported",
        "reprompt": "Clip given another prompt",
        "replace": "Clip replaced",
    },
}
_PREVIEW = "The test as raters meet it, in another tab, from the first step on. Nothing that you answer there is kept."
_DELETE = (
    "Takes the study out of the database, with all that raters said: nothing brings it back but a backup. With answers "
    "it must be archived first. Its sound files stay in its folder. Export it before."
)


class Studio:
    """The parts of *Set up*, and the handlers of its controls."""

    def __init__(self, store: StudyStore, study: gr.Dropdown, changed: gr.State) -> None:
        self._store, self.changed = store, changed
        self.state = html_part()
        self.reason = gr.Textbox(label="Reason for the log (may be empty)", max_length=500)
        self.known = gr.Checkbox(False, label=KNOWN, info=store.danger, visible=bool(store.danger))
        with gr.Row(elem_classes="me-bar"):
            self.moves = {
                name: gr.Button(label, visible=False, scale=0, min_width=144, elem_id=f"study-{name}")
                for name, label in _BUTTONS.items()
            }
        for name, button in self.moves.items():
            on(button.click, self.move, [study, gr.State(name), self.reason, self.known], [self.reason, changed])
        explain("Preview", _PREVIEW)
        look = gr.Button("Make a preview", elem_classes="me-narrow")
        self.link = html_part()
        on(look.click, self.preview_study, [study], [self.link])
        with gr.Accordion("Texts that raters see", open=False):
            self.texts = text_fields()
            save = gr.Button("Save the texts", elem_classes="me-narrow")
        on(save.click, self.save_texts, [study, *self.texts], [changed])
        with gr.Accordion("Rules", open=False):
            self.rules = html_part()
        with gr.Accordion("Log", open=False):
            self.log = PagedTable(study, self._log)
        with gr.Accordion("Delete", open=False):
            explain("Delete the study", _DELETE)
            with gr.Row(elem_classes="me-bar"):
                self.typed = gr.Textbox(label="Type the name of the study", max_length=64, min_width=240)
                end = gr.Button("Delete", variant="stop", scale=0, min_width=144)
        on(end.click, self.delete_study, [study, self.typed], [self.typed, changed])

    @property
    def parts(self) -> list[Any]:
        """What `show` changes."""
        return [
            self.state,
            self.known,
            *self.moves.values(),
            self.link,
            *self.texts,
            self.rules,
            *self.log.parts,
            self.typed,
        ]

    def show(self, name: str, before: str | None) -> Shown:
        """Show a study; what was typed stays where it is the one that was shown before."""
        with self._store.database.read() as session:
            study = find_study(session, name)
            said = has_answers(session, study)
        allowed = moves_from(study.state)
        follows = [(_BUTTONS[move], MOVES[move].follows) for move in allowed]
        shown: Shown = {
            self.state: render("studio_state.html", words=_WORDS[study.state], follows=follows, answered=said),
            self.known: gr.update(visible=bool(self._store.danger) and "open" in allowed),
            self.rules: _rules(study),
            **self.log.show(name),
            **{button: gr.update(visible=name in allowed) for name, button in self.moves.items()},
        }
        if name == before:
            return shown
        texts = {part: as_text(study, key) for part, key in zip(self.texts, TEXTS, strict=True)}
        return {**shown, **texts, self.link: "", self.typed: ""}

    def _log(self, name: str) -> Table:
        with self._store.database.read() as session:
            return _log_table(log(session, find_study(session, name)))

    def move(self, study: str | None, name: str, reason: str, known: bool = False) -> Shown:
        """Bring the study to another state; with `known`, whoever opens it says that its ratings may be lost."""
        refuse_unknown(self._store.danger if MOVES[name].to == "open" else "", known)
        with self._store.database.write() as session:
            at = now(session)
            move(session, find_study(session, study or ""), name, at, reason)
        return {self.reason: "", self.changed: at.isoformat()}

    def save_texts(self, study: str | None, *texts: str) -> Shown:
        """Set the texts that raters see."""
        with self._store.database.write() as session:
            at = now(session)
            describe(session, find_study(session, study or ""), dict(zip(TEXTS, texts, strict=True)), at)
        return {self.changed: at.isoformat()}

    def preview_study(self, study: str | None) -> Markup:
        """Make a preview; return the link to it."""
        code = make_preview(self._store.database, self._store.data, study or "")
        return render("studio_preview.html", link=f"..{PREFIX}/#{code}")

    def delete_study(self, study: str | None, typed: str) -> Shown:
        """Delete the study whose name was typed."""
        if not study or typed.strip() != study:
            raise StudyError("Type the name of the study as it is shown above, so that it is surely the right one.")
        with self._store.database.write() as session:
            delete(session, find_study(session, study), with_answers=True)
            at = now(session)
        return {self.typed: "", self.changed: at.isoformat()}


def _rules(study: Study) -> Markup:
    rows = [(name.replace("_", " "), str(value), meaning) for name, value, meaning in study.protocol.described()]
    scales = html_table(
        "Scales",
        ("Title", "Question", "Labels"),
        [(one.title, one.question, ", ".join(one.labels)) for one in study.scales],
    )
    if not study.has_batches:
        rows = [("none", "–", imported_from(study))]
    return render("studio_fixed.html", scales=scales, rules=html_table("Rules", ("Rule", "Value", "Meaning"), rows))


def _log_table(events: list[Event]) -> Table:
    rows = [
        (
            _ACTIONS.get(event.action, event.action),
            event.about or "–",
            event.reason or "–",
            "; ".join(f"{key}: {value}" for key, value in event.details.items()) or "–",
            event.author,
            shown_time(event.at.isoformat()),
        )
        for event in events
    ]
    heads = ("What", "About", "Reason", "Details", "By", "When")
    return Table("What was done, the latest first", heads, rows, "Nothing was done so far.")
