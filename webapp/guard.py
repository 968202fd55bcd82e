"""What the server refuses, so that nothing of the machine can be read or reached through the pages.

Gradio serves more than these pages use, and can be opened further from outside the code. What closes it:

- `shut_environment` takes away the ``GRADIO_*`` variables, some of which (``GRADIO_ALLOWED_PATHS``) win over
  the arguments of ``launch()``. Uploads get a private folder; Gradio shares one among all apps on a machine.
- `Guard` lets through only those of Gradio's routes that the pages need, and only bodies within the size
  limit: an upload may hold several files, each at most as large as the largest clip. Refused are, among
  others, the routes that fetch a URL for the caller, run ffmpeg on a posted file, show statistics of all
  calls, or write a visitor's state to disk.
- `GuardedBlocks` takes a clip as an upload only: an address is not fetched, a path not opened.
- `drop_old_uploads` deletes what a killed server left behind; a running one deletes its uploads by itself.

Source: ``gradio/routes.py`` and ``Blocks.launch`` of Gradio 6.31.
"""

import atexit
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

_LOG = logging.getLogger(__name__)

KEPT_S = 86_400  # uploads live for a day
_UPLOADS_PREFIX = "musiceval-uploads-"
_FILES_AT_ONCE = 5  # that an upload may hold of the largest size
_FORM_OVERHEAD_BYTES = 1_000_000  # what a request may have beside the clip: form boundaries, a long prompt
_MISFIT = (
    "This call does not fit. Give the clip as an uploaded file (with gradio_client: clip=handle_file(path)) "
    "and the prompt as text."
)
_ADDRESS = "The clip is given as an address, and addresses are not fetched. Download it and upload the file."
_REFUSED = re.compile(r"/(monitoring|login|logout|svelte)\b")
_UPLOAD = "/gradio_api/upload"
# Below /gradio_api/: what the browser, gradio_client and callers of `webapp.mcp_tool` ask for. A file is
# named by a path, never by a URL.
_API = re.compile(
    r"/gradio_api/((app_id|call|cancel|heartbeat|info|login_check|queue|reset|startup-events|theme\.css"
    r"|upload|upload_progress|user)(/.*)?|mcp/?|run/predict|file=(?![a-z0-9+.-]*:)[^\\]*)",
    re.IGNORECASE,
)


def shut_environment(environ: MutableMapping[str, str]) -> None:
    """Take away what could reopen the server, and name the folder for uploads.

    Parameters
    ----------
    environ : mutable mapping
        ``os.environ``. Every ``GRADIO_*`` variable is removed, then ``GRADIO_TEMP_DIR`` is set.
    """
    for name in [name for name in environ if name.startswith("GRADIO_")]:
        del environ[name]
    environ["GRADIO_TEMP_DIR"] = _uploads_folder()


@cache
def _uploads_folder() -> str:
    """Make this process's folder; it goes when the process ends."""
    folder = tempfile.mkdtemp(prefix=_UPLOADS_PREFIX)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def drop_old_uploads() -> None:
    """Delete the folders of this user's earlier servers that have taken no upload for a day."""
    oldest_s = time.time() - KEPT_S
    for folder in Path(tempfile.gettempdir()).glob(f"{_UPLOADS_PREFIX}*"):
        status = folder.stat()
        if status.st_uid == os.getuid() and status.st_mtime < oldest_s:
            shutil.rmtree(folder, ignore_errors=True)


class Guard:
    """ASGI middleware that answers refused requests itself and hands on the others.

    Parameters
    ----------
    app : ASGI application
    max_bytes : int
        The largest clip; a request may be a little larger, an upload of several files `_FILES_AT_ONCE` times.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self.app = app
        self.max_body_bytes = max_bytes + _FORM_OVERHEAD_BYTES
        self.max_upload_bytes = _FILES_AT_ONCE * max_bytes + _FORM_OVERHEAD_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self.app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        path = scope["path"]
        if _REFUSED.match(path) or (path.startswith("/gradio_api") and not _API.fullmatch(path)):
            return PlainTextResponse("This address is not served.", 404)
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            return PlainTextResponse("Send the length of the request's body with it.", 411)
        largest = self.max_upload_bytes if path == _UPLOAD else self.max_body_bytes
        if int(headers.get("content-length", 0)) > largest:
            return PlainTextResponse("The request is larger than what can be scored at once.", 413)
        return None


class GuardedBlocks(gr.Blocks):
    """Gradio's Blocks, which answers a call that does not fit with a sentence and fetches no address.

    Attributes
    ----------
    own_routes : sequence of starlette.routing.BaseRoute
        What is served beside Gradio's routes, and found before them.
    own_lifespan : callable or None
        Makes the context in which the server runs, as Starlette takes it.
    """

    own_routes: Sequence[BaseRoute] = ()
    own_lifespan: Callable[[Any], AbstractAsyncContextManager[None]] | None = None

    async def preprocess_data(self, block_fn: Any, inputs: list[Any], *state: Any) -> Any:
        """Turn what a client sent into the arguments of a function; called by Gradio.

        Raises
        ------
        gradio.Error
            If the inputs are not what the page or `gradio_client` would send.
        """
        try:
            traverse(inputs, _refuse_address, is_file_obj_with_meta)
            return await super().preprocess_data(block_fn, inputs, *state)
        except gr.Error:
            raise
        except Exception as error:
            _LOG.info("a call was refused: %r", error)
            raise gr.Error(_MISFIT, print_exception=False) from error


def _refuse_address(file: dict[str, Any]) -> None:
    if is_http_url_like(file["path"]):
        raise gr.Error(_ADDRESS, print_exception=False)
