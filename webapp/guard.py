"""What the server refuses, so that nothing of the machine can be read or reached through the pages.

Gradio serves more than these pages use, and can be opened further from outside the code. What closes it:

- `shut_environment` takes away the ``GRADIO_*`` variables, some of which win over the arguments that Gradio
  is given. Uploads get a private folder; Gradio shares one among all apps on a machine.
- `Guard` lets through only those of Gradio's routes that the pages need. Refused are, among others, the routes
  that fetch a URL for the caller, run ffmpeg on a posted file, show statistics of all calls, or write a
  visitor's state to disk. It takes away the headers from which Gradio learns another address of this server than
  the one that was asked for; the scheme that a trusted proxy tells stands in the request already.
- `GuardedBlocks` takes a clip as an upload only: an address is not fetched, a path not opened.
- `drop_old_uploads` deletes what a killed server left behind; a running one deletes its uploads by itself.

`RateLimit` is the generic cell rate algorithm: all that is kept of a client is the time at which its attempts
will have been paid off. It is kept in memory, so a restart forgives.

Sources: ``gradio/routes.py`` of Gradio 6.31; ITU-T I.371, Annex A.
"""

import atexit
import ipaddress
import logging
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, MutableMapping
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from gradio_client.utils import is_file_obj_with_meta, is_http_url_like, traverse
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

ADMIN = "/admin/"
KEPT_S = 86_400  # uploads live for a day
_UPLOADS_PREFIX = "musiceval-uploads-"
_SHARED_PREFIX_BITS = 64  # of IPv6: what one subscriber has
_MISFIT = (
    "This call does not fit. Give the clip as an uploaded file (with gradio_client: clip=handle_file(path)) "
    "and the prompt as text."
)
_ADDRESS = "The clip is given as an address, and addresses are not fetched. Download it and upload the file."
_REFUSED = re.compile(r"/(monitoring|login|logout|svelte)\b")
_BELIEVED_BY_GRADIO = (b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server")
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE)
# Below /gradio_api/: what the browser, gradio_client and callers of `webapp.mcp_tool` ask for. A file is
# named by a path, never by a URL.
_API = re.compile(
    r"/gradio_api/((app_id|call|cancel|heartbeat|info|login_check|queue|reset|startup-events|theme\.css"
    r"|upload|upload_progress|user)(/.*)?|mcp/?|run/predict|file=(?![a-z0-9+.-]*:)[^\\]*)",
    re.IGNORECASE,
)
logger = logging.getLogger(__name__)


def shut_environment(environ: MutableMapping[str, str]) -> None:
    """Take away what could reopen the server, every ``GRADIO_*`` variable; name the folder for uploads."""
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
    """Delete the folders of earlier servers that have taken no upload for a day; other users' stay."""
    oldest_s = time.time() - KEPT_S
    for folder in Path(tempfile.gettempdir()).glob(f"{_UPLOADS_PREFIX}*"):
        if folder.stat().st_mtime < oldest_s and os.access(folder, os.W_OK):
            shutil.rmtree(folder, ignore_errors=True)


class Guard:
    """ASGI middleware that answers refused requests itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        refusal = None
        if scope["type"] == "http":
            refusal = _refusal(scope)
            scope = {**scope, "headers": [one for one in scope["headers"] if one[0] not in _BELIEVED_BY_GRADIO]}
        await (refusal or self.app)(scope, receive, send)


def _refusal(scope: Scope) -> PlainTextResponse | None:
    path = scope["path"].removeprefix(ADMIN.rstrip("/"))
    if _REFUSED.match(path) or (path.startswith("/gradio_api") and not _API.fullmatch(path)):
        return PlainTextResponse("This address is not served.", 404)
    if not _HOST.fullmatch(Headers(scope=scope).get("host", "")):
        return PlainTextResponse("The header Host names no host.", 400)
    return None


class GuardedBlocks(gr.Blocks):
    """Gradio's Blocks, which answers a call that does not fit with a sentence and fetches no address."""

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
    if not Path(file["path"]).resolve().is_relative_to(Path(_uploads_folder()).resolve()):
        raise gr.Error(_MISFIT, print_exception=False)


class RateLimit:
    """A limit on the attempts of each client: `burst` at once, then one more every `refill_s` seconds.

    `clock` gives seconds that never run backwards. With more than `most_clients` known, those that owe
    nothing are forgotten.
    """

    def __init__(
        self, burst: int, refill_s: float, clock: Callable[[], float] = time.monotonic, most_clients: int = 10_000
    ) -> None:
        self._refill_s = refill_s
        self._most_owed_s = (burst - 1) * refill_s
        self._clock = clock
        self._most_clients = most_clients
        self._paid_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._paid_at)

    def take(self, client: str) -> float:
        """Make an attempt from an address; return 0 if it is allowed, else the seconds to wait."""
        with self._lock:
            now = self._clock()
            if len(self._paid_at) > self._most_clients:
                self._paid_at = {who: at for who, at in self._paid_at.items() if at > now}
            key = subscriber(client)
            owed_s = max(self._paid_at.get(key, now) - now, 0.0)
            if owed_s > self._most_owed_s:
                return owed_s - self._most_owed_s
            self._paid_at[key] = now + owed_s + self._refill_s
            return 0.0


def subscriber(client: str) -> str:
    """Return what stands for a client: its IPv4 address, or the network of its IPv6 address."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network(f"{client.partition('%')[0]}/{_SHARED_PREFIX_BITS}", strict=False))
