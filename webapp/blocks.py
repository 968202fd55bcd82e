"""Gradio's Blocks, closed further than Gradio closes them, and noting what administrators do.

- `GuardedBlocks` takes a clip as an upload only: an address is not fetched, a path not opened.
- `AuditedBlocks` notes each of `ACTIONS` in the audit log.
"""

import logging
from pathlib import Path
from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse

from webapp.audit import Audit
from webapp.guard import WHO
from webapp.temporary import uploads_folder
from webapp.turns import FairQueue

_MOST_SIGNS = 80
_MOST_WAITING = 64  # events of a page
_MISFIT = (
    "This call does not fit. Give the clip as an uploaded file (with gradio_client: clip=handle_file(path)) "
    "and the prompt as text."
)
_ADDRESS = "The clip is given as an address, and addresses are not fetched. Download it and upload the file."
logger = logging.getLogger(__name__)

# Handlers of the administrator's pages that change or give out something, by the names of their functions.
ACTIONS = {
    "create_study": "Create a study",
    "fill": "Add clips to a study",
    "move": "Open, pause, close or archive a study",
    "save_texts": "Change the texts of a study",
    "preview_study": "Preview a study",
    "delete_study": "Delete a study",
    "retire_clip": "Retire a clip",
    "reprompt_clip": "Give a clip another prompt",
    "replace_clip": "Replace a clip",
    "invite": "Invite raters",
    "renew": "Give a rater a new code",
    "withdraw": "Withdraw a rater",
    "give_out": "Give out personal data",
    "erase": "Erase personal answers",
    "export": "Prepare an export",
    "pause_rater": "Pause a rater",
    "let_go_on": "Let a rater go on",
    "confirm": "Exclude or restore",
    "undo": "Undo a change",
    "train": "Train from a study",
    "start": "Start a training",
    "stop": "Stop a training",
    "act": "Act on a model or run",
    "save_judge": "Rename a judge, or note something on it",
    "upload_judge": "Upload a judge",
    "upload_data": "Upload a data set",
    "note_run": "Note something on a run",
    "fetch_clap": "Fetch the official CLAP",
}
# Of these only the first inputs are noted: what follows is about people, or long.
_SAID = {"invite": 3, "erase": 2, "save_texts": 1, "create_study": 2, "save_judge": 2, "note_run": 1}


class GuardedBlocks(gr.Blocks):
    """Gradio's Blocks, which answers a call that does not fit with a sentence and fetches no address."""

    def queue(self, *_: Any, **__: Any) -> "GuardedBlocks":
        """Take a queue of ours; called by Gradio, whose own method also makes a web app that nobody serves."""
        self._queue = FairQueue(True, self.max_threads, 1, _MOST_WAITING, self, "not_set")
        return self

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *state: Any) -> Any:
        """Turn what a client sent into the arguments of a function; called by Gradio."""
        try:
            traverse(inputs, _check_file, is_file_obj_with_meta)
            return await super().preprocess_data(block_fn, inputs, *state)
        except gr.Error as error:
            error.print_exception = False  # the log would repeat all that was sent
            raise
        except Exception as error:
            logger.info("a call was refused: %r", error)
            raise gr.Error(_MISFIT, print_exception=False) from error


def _check_file(file: dict[str, Any]) -> None:
    """Refuse what is not an upload; Gradio does too, but only once it takes itself for launched."""
    if is_http_url_like(file["path"]):
        raise gr.Error(_ADDRESS, print_exception=False)
    if not Path(file["path"]).resolve().is_relative_to(uploads_folder().resolve()):
        raise gr.Error(_MISFIT, print_exception=False)


class AuditedBlocks(GuardedBlocks):
    """A page whose `ACTIONS` are noted in `audit`."""

    audit: Audit

    async def process_api(self, block_fn: Any, inputs: list[Any], *given: Any, **named: Any) -> Any:
        """Run a handler; called by Gradio."""
        run = super().process_api(block_fn, inputs, *given, **named)
        name = getattr(block_fn.fn, "__name__", "")
        request: Any = named.get("request")
        chosen = getattr(named.get("event_data"), "_data", None)
        goes_on = named.get("iterator") is not None  # a generator's later steps are of the same action
        if name not in ACTIONS or goes_on or (isinstance(chosen, dict) and chosen.get("action") == "show"):
            return await run
        said = inputs[: _SAID.get(name, len(inputs))]
        about = ", ".join(_said([*said, *(chosen.values() if isinstance(chosen, dict) else ())]))
        done = False
        try:
            answer = await run
            done = True
        finally:
            self.audit.note(ACTIONS[name], request.headers.get(WHO, ""), about, done)
        return answer


def _said(values: list[Any]) -> list[str]:
    """Return the texts and numbers among what a handler was given."""
    return [str(value)[:_MOST_SIGNS] for value in values if isinstance(value, str | int | float) and value != ""]
