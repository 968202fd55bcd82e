"""The Study tab: the desk of whoever runs listening tests. Figures first, controls below them.

Here stand the parts and which of them a handler reads and writes; what the handlers do is
`webapp.study_desk.StudyDesk`. Until an administrator comes in, nothing of a study is in the page: not in its
layout, which everybody is sent, and not in a component's choices.
"""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from starlette.routing import BaseRoute

from webapp.admin import Administration
from webapp.door import BY_ITSELF
from webapp.study_desk import StudyDesk
from webapp.study_export import Exports
from webapp.study_views import no_study
from webapp.venues import Venue

_INVITE = "Codes are shown once. Give each rater theirs, for the tab Listening test."
_RENEW = "The rater’s old code ends, and so does every sign-in made with it. Ratings stay."
_EXPORT = "All ratings, scores and logs as CSV files, and the clips in the layout of the MusicEval release."
_TRAIN = (
    "Two small heads learn what the raters of this study said: minutes on a CPU. The tab Training shows the "
    "run, has other recipes, and makes the result the judge of this page."
)
_CHANGE = "Nothing changes until you confirm. Every change can be undone, and stays in the log."

_VIEW = '<div class="me-desk">${value}</div>'  # what handlers give is HTML already

Listen = Callable[..., Any]


def build_study_tab(
    admin: Administration,
    token: gr.BrowserState,
    venue: Venue,
    looks: Sequence[Any],
    train: Callable[[str], str],
) -> list[BaseRoute]:
    """Lay the desk out in the open `gr.Blocks`, where only an administrator sees it.

    Parameters
    ----------
    admin : Administration
    token : gradio.BrowserState
        Of the administrator's session: the first input of every handler.
    venue : Venue
        Where the studies are.
    looks : sequence of gradio.events.Dependency
        Of `webapp.door.Door`.
    train : callable
        Starts a training run from the study of a name, and says so in a sentence.

    Returns
    -------
    list of BaseRoute
        To be served beside the page: the downloads.
    """
    exports = Exports(venue)
    desk = StudyDesk(venue, exports, train)

    def listen(event: Listen, handler: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Any:
        given = {"api_visibility": "private", "show_progress": "minimal", **options}
        return event(admin.guarded(handler), [token, *inputs], outputs, **given)

    with gr.Row(elem_classes="me-bar"):
        study = gr.Dropdown(label="Study", choices=[], min_width=240)
        refresh = gr.Button("Refresh", elem_id="refresh", scale=0, min_width=112)
    nothing = gr.HTML(no_study(), visible=False, apply_default_css=False)
    with gr.Column(visible=False, elem_id="desk") as column:
        heading = _html()
        with gr.Tabs():
            with gr.Tab("Progress"):
                progress = _html()
                rater, codes, invited = _invitations(listen, desk, study)
            with gr.Tab("Results"):
                results = _html()
                clips = _clips_table()
                notes = _uses(listen, desk, study)
            with gr.Tab("Screening"):
                screening = _html()
                change, done = _changes(listen, desk, study)
            with gr.Tab("Reliability"):
                reliability = _html()
    shown = [study, nothing, column, heading, progress, results, clips, screening, reliability, change, rater]
    for look in looks:
        look.then(admin.guarded(desk.open, gr.skip()), [token, study], shown, **BY_ITSELF)
    listen(done.change, desk.open, [study], shown, **BY_ITSELF)
    for event in (refresh.click, invited):
        listen(event, desk.open, [study], shown)
    switched = listen(study.input, desk.open, [study], shown, trigger_mode="always_last")
    listen(switched.then, lambda: ("", "", ""), [], [*notes, codes])
    return [exports.route]


def _html() -> gr.HTML:
    return gr.HTML("", html_template=_VIEW, apply_default_css=False, elem_classes="me-view")


def _clips_table() -> gr.Dataframe:
    return gr.Dataframe(
        label="Clips: MOS and reach of its 95 % interval",
        interactive=False,
        show_search="search",
        max_chars=70,
        max_height=480,
        elem_classes="me-clips",
        buttons=["fullscreen", "copy"],
    )


def _invitations(listen: Listen, desk: StudyDesk, study: gr.Dropdown) -> tuple[gr.Dropdown, gr.HTML, Listen]:
    """Lay out what gives out codes; give its choice of a rater, where codes are shown, and what follows."""
    gr.HTML("<h3>Invite</h3>", apply_default_css=False)
    with gr.Row(elem_classes="me-bar"):
        count = gr.Number(1, label="New raters", info=_INVITE, precision=0, minimum=1, min_width=240)
        add = gr.Button("Invite", scale=0, min_width=160)
    with gr.Row(elem_classes="me-bar"):
        rater = gr.Dropdown(label="New code for a rater", info=_RENEW, choices=[], min_width=240)
        again = gr.Button("Give a new code", scale=0, min_width=200)
    codes = _html()
    invited = listen(add.click, desk.invite, [study, count], [codes])
    listen(again.click, desk.renew, [study, rater], [codes])
    return rater, codes, invited.success


def _uses(listen: Listen, desk: StudyDesk, study: gr.Dropdown) -> list[gr.HTML]:
    """Lay out what can be done with the results; give where its outcomes are shown."""
    notes = []
    with gr.Row(elem_classes="me-uses"):
        for title, meaning, name, handler in (
            ("Train from this study", _TRAIN, "Train from this study", desk.train),
            ("Export", _EXPORT, "Prepare the export", desk.export),
        ):
            with gr.Column(min_width=280):
                gr.HTML(f"<h3>{title}</h3><p>{meaning}</p>", apply_default_css=False)
                button = gr.Button(name)
                notes.append(_html())
                listen(button.click, handler, [study], [notes[-1]])
    return notes


def _changes(listen: Listen, desk: StudyDesk, study: gr.Dropdown) -> tuple[gr.Dropdown, gr.State]:
    """Lay out what excludes and restores; give its choice, and a state that changes when a change is made."""
    waiting, made = gr.State(), gr.State()
    gr.HTML("<h3>Exclude or restore</h3>", apply_default_css=False)
    with gr.Row(elem_classes="me-bar"):
        change = gr.Dropdown(label="Batch or rater", info=_CHANGE, choices=[], min_width=240)
        look = gr.Button("Show the effect", scale=0, min_width=200)
    with gr.Column(visible=False, elem_classes="me-card") as compared:
        comparison = _html()
        reason = gr.Textbox(label="Reason, for the log", max_length=500)
        author = gr.Textbox("administrator", label="Your name, for the log", max_length=80)
        with gr.Row():
            confirm = gr.Button("Confirm", variant="primary")
            cancel = gr.Button("Cancel")
    with gr.Row(visible=False, elem_classes="me-bar") as row:
        note = _html()
        undo = gr.Button("Undo", scale=0, min_width=112)
    listen(look.click, desk.preview, [study, change], [waiting, comparison, compared, confirm])
    done = [waiting, made, compared, reason, note, row, undo]
    listen(confirm.click, desk.confirm, [waiting, reason, author], done)
    listen(undo.click, desk.undo, [made, author], [made, note, undo])
    for event in (cancel.click, change.input, study.input):
        listen(event, lambda: (None, gr.update(visible=False)), [], [waiting, compared])
    listen(study.input, lambda: (None, gr.update(visible=False)), [], [made, row])
    return change, made
