"""The door of an administrator's tab: strangers see what the tab is for and how to get in, nothing else.

What stands behind it is laid out for everybody and shown to the administrator only; it must be empty until
a handler fills it after one of `Door.looks`. The door keeps nobody out by itself: that is what
`webapp.admin.Administration.guarded` does, at every handler.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from webapp.admin import Administration

_PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# What a page asks for by itself goes past Gradio's queue. The queue's stream of answers closes after the last
# one, and a click just then is never answered (Gradio 6.31: the page takes the stream for open).
BY_ITSELF: dict[str, Any] = {**_PRIVATE, "queue": False}
# The key only keeps the browser's store tidy: it stands in /config. What is stored is a token that expires.
_STORED_AS = ("musiceval-administrator", "not-a-secret")
_ABOUT = (
    '<section class="me-card me-door"><h2>{title}</h2><p>{about}</p><p class="me-quiet">{how}</p></section>'
)
_HOW = {
    "open": "",
    "password": "This tab is the administrator’s. Sign in with the password of this server.",
    "off": "Administration is off for you. Whoever runs this server can set "
    "<code>MUSICEVAL_ADMIN_PASSWORD</code> and sign in here, or let it listen on its own machine only and "
    "open the page there, under <code>127.0.0.1</code> or <code>localhost</code>.",
}


@dataclass(frozen=True)
class Door:
    """The parts of a door.

    Attributes
    ----------
    inside : gradio.Column
        Lay the tab out in it.
    looks : sequence of gradio.events.Dependency
        What shows who stands there what they may see; then the tab is to be filled, for the administrator.
    """

    inside: gr.Column
    looks: Sequence[Any]


def new_token() -> gr.BrowserState:
    """Make the place of the administrator's token; one for all doors of a page."""
    key, secret = _STORED_AS
    return gr.BrowserState("", storage_key=key, secret=secret)


def build_door(
    tab: gr.Tab, administration: Administration, token: gr.BrowserState, title: str, about: str
) -> Door:
    """Lay out a door in the open tab.

    Parameters
    ----------
    tab : gradio.Tab
    administration : Administration
    token : gradio.BrowserState
        Of `new_token`.
    title, about : str
        What the tab is for.
    """
    with gr.Column(elem_classes="me-outside") as outside:
        sign = gr.HTML(_ABOUT.format(title=title, about=about, how=""), apply_default_css=False)
        with gr.Row(visible=False, elem_classes="me-sign-in") as form:
            password = gr.Textbox(label="Administrator’s password", type="password", max_lines=1)
            button = gr.Button("Sign in", variant="primary", scale=0)
        wrong = gr.HTML(visible=False, apply_default_css=False)
    with gr.Column(visible=False) as inside, gr.Row(visible=False, elem_classes="me-sign-out") as leave:
        sign_out = gr.Button("Sign out", size="sm", scale=0)
    keeper = _Keeper(administration, title, about)
    seen = [outside, sign, form, inside, leave]
    entered = gr.on(
        [button.click, password.submit], keeper.enter, password, [token, password, wrong], **_PRIVATE
    )
    left = sign_out.click(keeper.go, token, token, **_PRIVATE)
    events = (tab.select, entered.then, left.then)
    return Door(inside, [event(keeper.look, token, seen, **BY_ITSELF) for event in events])


class _Keeper:
    """What happens at the door."""

    def __init__(self, administration: Administration, title: str, about: str) -> None:
        self._administration = administration
        self._words = {"title": title, "about": about}

    def look(self, token: str, request: gr.Request) -> list[Any]:
        """Show who stands there what they may see."""
        mode, allowed = self._administration.mode(request), self._administration.allowed(token, request)
        return [
            gr.update(visible=not allowed),
            _ABOUT.format(**self._words, how=_HOW[mode]),
            gr.update(visible=mode == "password"),
            gr.update(visible=allowed),
            gr.update(visible=mode == "password"),
        ]

    def enter(self, password: str, request: gr.Request) -> list[Any]:
        """Sign in; what is wrong is said beside the form."""
        try:
            return [self._administration.sign_in(password, request), "", gr.update(visible=False)]
        except gr.Error as error:
            said = f'<p class="me-wrong" role="alert">{error.message}</p>'
            return [gr.skip(), "", gr.update(value=said, visible=True)]

    def go(self, token: str) -> str:
        """Sign out."""
        self._administration.sign_out(token)
        return ""
