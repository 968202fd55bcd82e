"""Who may administrate: whoever has the password or, without one, whoever sits at the machine itself.

With ``MUSICEVAL_ADMIN_PASSWORD`` the administrator signs in. Without it administration is off, unless the
server is one that only its own machine can reach and the request shows that it comes from there:

- the server listens on loopback and is no Hugging Face Space;
- the request's peer is loopback, and nothing says that it was passed on (a proxy on this machine would
  make every visitor look like the administrator);
- its Host names this machine (a page elsewhere may point its own name here: DNS rebinding), and its Origin,
  where there is one, is that host (a page elsewhere may send requests here: cross-site request forgery).

A sign-in sets a cookie: 32 random bytes, of which the server keeps the hash, in memory, for 12 hours. `Login`
asks for it at every request under `ADMIN`, whatever answers there: Gradio's own ``auth_dependency`` leaves
some of its routes open (heartbeats, cancellations, static files), and knows nothing of ours.

Source: OWASP Session Management and Cross-Site Request Forgery Prevention Cheat Sheets; RFC 7239 for the
headers of proxies.
"""

import hashlib
import hmac
import ipaddress
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import AccessError
from core.settings import Settings
from webapp.guard import ADMIN, RateLimit
from webapp.theme import login_page

SIGN_OUT = f"{ADMIN}sign-out"
SESSION_S = 12 * 3_600
_COOKIE = "musiceval-administrator"
_ATTEMPTS = (5, 30.0)  # wrong passwords at once, and seconds until one more
_FORWARDED = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "fastly-client-ip")
_FORWARDED_PREFIXES = ("x-forwarded-", "x-original-", "cf-")
_READING = ("GET", "HEAD")
_OFF = (
    "Administration is off for you. Whoever runs this server can set MUSICEVAL_ADMIN_PASSWORD and sign in "
    "here, or let it listen on its own machine only and open this page there, under 127.0.0.1 or localhost."
)
_SIGN_IN = "You are not signed in, or were not for 12 hours. Reload the page and sign in."
_WRONG = "This is not the administrator's password."
_TOO_OFTEN = "Too many attempts. Wait {} s, then try again."
_ELSEWHERE = "This request comes from another site."

Mode = Literal["open", "password", "off"]


class Administration:
    """Decides who is the administrator; `clock` gives seconds that never run backwards."""

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._password = settings.admin_password
        self._local = _is_loopback(settings.host) and "SPACE_ID" not in environment
        self._clock = clock
        self._attempts = RateLimit(*_ATTEMPTS, clock)
        self._sessions: dict[str, float] = {}  # hash of a token -> when it ends
        self._lock = threading.Lock()

    def mode(self, request: Request) -> Mode:
        """Return how the sender may be the administrator: is already, by signing in, or not at all."""
        if self._password:
            return "password"
        return "open" if self._local and _from_here(request) else "off"

    def allowed(self, request: Request) -> bool:
        """Return whether a request is the administrator's."""
        mode = self.mode(request)
        if mode != "password":
            return mode == "open"
        with self._lock:
            end = self._sessions.get(_digest(request.cookies.get(_COOKIE, "")), -math.inf)
        return end > self._clock()

    def sign_in(self, password: str, request: Request) -> str:
        """Return a new token for the password."""
        if self.mode(request) != "password":
            raise AccessError(_OFF)
        client = request.client.host if request.client else ""
        wait_s = math.ceil(self._attempts.take(client))
        if wait_s:
            raise AccessError(_TOO_OFTEN.format(wait_s))
        if not hmac.compare_digest(_digest(password), _digest(self._password)):
            raise AccessError(_WRONG)
        self._attempts.give_back(client)
        token, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._sessions = {kept: end for kept, end in self._sessions.items() if end > now}
            self._sessions[_digest(token)] = now + SESSION_S
        return token

    def sign_out(self, request: Request) -> None:
        """End the session of a request."""
        with self._lock:
            self._sessions.pop(_digest(request.cookies.get(_COOKIE, "")), None)


class Login:
    """ASGI middleware: answers every request under `ADMIN` that is not the administrator's itself."""

    def __init__(self, app: ASGIApp, administration: Administration) -> None:
        self.app = app
        self._administration = administration

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "http" and f"{scope['path']}/".startswith(ADMIN):
            answer = await self._answer(Request(scope, receive))
            if answer is not None:
                return await answer(scope, receive, send)
            if scope["path"] == ADMIN:
                send = _with_headers(send)
        return await self.app(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        path = request.scope["path"]
        if request.method not in _READING and not _same_origin(request):
            return _refused(_ELSEWHERE, 403)
        if f"{path}/" == ADMIN:
            return RedirectResponse("admin/")
        if (request.method, path) == ("POST", ADMIN):
            return await self._sign_in(request)
        if (request.method, path) == ("POST", SIGN_OUT):
            self._administration.sign_out(request)
            answer = RedirectResponse("./", 303)
            answer.delete_cookie(_COOKIE, ADMIN)
            return answer
        if self._administration.allowed(request):
            return None
        off = self._administration.mode(request) == "off"
        if request.method in _READING and path == ADMIN:
            return _page(_OFF if off else "", 403 if off else 200, off)
        return _refused(_OFF if off else _SIGN_IN, 403 if off else 401)

    async def _sign_in(self, request: Request) -> Response:
        password = (await request.form()).get("password")
        try:
            token = self._administration.sign_in(str(password), request)
        except AccessError as error:
            return _page(str(error), 403, self._administration.mode(request) == "off")
        answer = RedirectResponse("./", 303)  # the browser keeps what stands after the # of the address
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(_COOKIE, token, SESSION_S, None, ADMIN, None, secure, True, "strict")
        return answer


_PAGE_HEADERS = {"Cache-Control": "no-store", "X-Frame-Options": "DENY"}


def _page(said: str, status: int, off: bool) -> Response:
    return HTMLResponse(login_page(said, off), status, _PAGE_HEADERS)


def _refused(sentence: str, status: int) -> Response:
    return JSONResponse({"detail": sentence}, status)  # as Gradio's script reads it


def _with_headers(send: Send) -> Send:
    """Keep the page out of other sites' frames, and of what a browser shows again after the sign-out."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(_PAGE_HEADERS)
        await send(message)

    return sending


def _from_here(request: Request) -> bool:
    headers = request.headers
    passed_on = any(name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES) for name in headers)
    peer = request.client.host if request.client else ""
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        same_origin = origin is None or urlsplit(origin).netloc == host
    except ValueError:
        return False
    return not passed_on and same_origin and _is_loopback(peer) and _is_loopback(name)


def _same_origin(request: Request) -> bool:
    """Return whether a browser does not say that a page of another site sends this.

    A proxy may change Host; what it was stands in X-Forwarded-Host, which no page elsewhere can set.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site in ("same-origin", "none")
    hosts = (request.headers.get("host"), request.headers.get("x-forwarded-host"))
    return origin is None or origin.partition("://")[2] in hosts


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
