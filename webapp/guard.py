"""What the server refuses, so that nothing of the machine can be read or reached through the pages.

Gradio serves more than these pages use. `webapp.blocks` has what closes Gradio from within.

`Guard` lets through only those of Gradio's routes that the pages need. Refused are, among others, the routes
that fetch a URL for the caller, run ffmpeg on a posted file, show statistics of all calls, or write a visitor's
state to disk. It takes away the headers from which Gradio learns another address of this server than the one that
was asked for, and those that this server's parts tell each other; the scheme that a trusted proxy tells stands in
the request already.

`RateLimit` is the generic cell rate algorithm: all that is kept of a client is the time at which its attempts
will have been paid off. It is kept in memory, so a restart forgives; what `SharedLimit` keeps, all servers of one
database know.

Sources: ``gradio/routes.py`` of Gradio 6.31; ITU-T I.371, Annex A.
"""

import ipaddress
import re
import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from webapp.deadlines import Deadlines, InMemory

ADMIN = "/admin/"
OWN = "x-musiceval-"  # begins the headers that parts of this server tell each other
WHO = f"{OWN}who"  # the administrator's session and address
_SHARED_PREFIX_BITS = 64  # of IPv6: what one subscriber has
_REFUSED = re.compile(r"/(monitoring|login|logout|svelte)\b")
_BELIEVED = (b"x-forwarded-host", b"x-forwarded-proto", b"x-gradio-server", OWN.encode())
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:\d{1,5})?", re.IGNORECASE)
# Below /gradio_api/: what the browser, gradio_client and callers of `webapp.mcp_tool` ask for. A file is
# named by a path, never by a URL.
_API = re.compile(
    r"/gradio_api/((app_id|call|cancel|heartbeat|info|login_check|queue|reset|startup-events|theme\.css"
    r"|upload|upload_progress|user)(/.*)?|mcp/?|run/predict|file=(?![a-z0-9+.-]*:)[^\\]*)",
    re.IGNORECASE,
)


class Guard:
    """ASGI middleware that answers refused requests itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        refusal = None
        if scope["type"] == "http":
            refusal = _refusal(scope)
            scope = {**scope, "headers": [one for one in scope["headers"] if not one[0].startswith(_BELIEVED)]}
        await (refusal or self.app)(scope, receive, send)


def _refusal(scope: Scope) -> PlainTextResponse | None:
    path = scope["path"].removeprefix(ADMIN.rstrip("/"))
    if _REFUSED.match(path) or (path.startswith("/gradio_api") and not _API.fullmatch(path)):
        return PlainTextResponse("This address is not served.", 404)
    if not _HOST.fullmatch(Headers(scope=scope).get("host", "")):
        return PlainTextResponse("The header Host names no host.", 400)
    return None


class RateLimit:
    """A limit on the attempts of each client: `burst` at once, then one more every `refill_s` seconds.

    What counts for several, or for a part of one, costs as much. `clock` and `most_clients` are those of `InMemory`.
    """

    def __init__(
        self, burst: int, refill_s: float, clock: Callable[[], float] = time.monotonic, most_clients: int = 10_000
    ) -> None:
        self._refill_s = refill_s
        self._most_owed_s = burst * refill_s
        self._paid = InMemory(clock, most_clients)

    def __len__(self) -> int:
        return len(self._paid)

    def take(self, client: str, cost: float = 1.0) -> float:
        """Make an attempt from an address; return 0 if it is allowed, else the seconds to wait."""
        owed_s = self._paid.postpone(subscriber(client), cost * self._refill_s, self._most_owed_s)
        return max(owed_s - self._most_owed_s, 0.0)

    def correct(self, client: str, cost: float) -> None:
        """Let an attempt that was allowed have cost so much more, or less than nothing more."""
        self._paid.postpone(subscriber(client), cost * self._refill_s)


class SharedLimit:
    """A `RateLimit` of all servers together, `what` it is on."""

    def __init__(self, deadlines: Deadlines, what: str, burst: int, refill_s: float) -> None:
        self._deadlines = deadlines
        self._what = what
        self._refill_s = refill_s
        self._most_owed_s = burst * refill_s

    async def take(self, client: str) -> float:
        """Make an attempt from an address; return 0 if it is allowed, else the seconds to wait."""
        name = f"{self._what} {subscriber(client)}"
        owed_s = await self._deadlines.postpone(name, self._refill_s, self._most_owed_s)
        return max(owed_s - self._most_owed_s, 0.0)


def address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else ""


def subscriber(client: str) -> str:
    """Return what stands for a client: its IPv4 address, or the network of its IPv6 address."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network(f"{client.partition('%')[0]}/{_SHARED_PREFIX_BITS}", strict=False))
