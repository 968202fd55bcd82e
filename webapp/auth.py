"""Who may administrate: whoever proves it, by the password or by a link from the server's terminal.

Where a request comes from proves nothing: behind a proxy everybody comes from the server's own machine, and so
does each of its users.

- With ``MUSICEVAL_ADMIN_PASSWORD`` the administrator signs in with it.
- Without, the server prints a link. It signs in once; when it was used the server prints the next one.
- Without on a Hugging Face Space, whose log others may read, nobody is the administrator.

A sign-in sets a cookie: 32 random bytes, of which the server keeps the hash for 12 hours (`webapp.deadlines`: where
there are several servers, all know it). `Login` asks for it at every request under `ADMIN`, whatever answers there:
Gradio's own ``auth_dependency`` leaves some of its routes open (heartbeats, cancellations, static files), and knows
nothing of ours.

Sources: OWASP Session Management, Authentication and Cross-Site Request Forgery Prevention Cheat Sheets.
"""

import asyncio
import hashlib
import hmac
import secrets
import threading
from collections.abc import Awaitable, Callable
from typing import Literal
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import BusyError
from webapp.audit import Audit
from webapp.deadlines import Deadlines
from webapp.guard import ADMIN, WHO, subscriber
from webapp.html import render
from webapp.palette import style_alone

SIGN_OUT = f"{ADMIN}sign-out"
SESSION_S = 12 * 3_600
GUESS_S = 0.05  # a wrong password takes this long, one after another: 20 a second at all servers together
ADDRESS_GUESS_S = 0.1  # and this long before the next of its address is compared: 10 a second
_MOST_PASSWORD_BYTES = 10_000  # of the form that the password comes in
_COOKIE = "musiceval-administrator"
_EXPORTS = f"{ADMIN}export/"
_READING = ("GET", "HEAD")
_SIGN_IN = "You are not signed in, or were not for 12 hours. Reload the page and sign in."
_WRONG = "This is not the administrator's password."
_USED = "This link was used before, or is of an earlier start of the server."
_LARGE = "This is no password of this server: it is too long."
_ELSEWHERE = "This request comes from another site, or through a proxy that does not pass on the header Host."

Way = Literal["password", "link", "none"]


class Administration:
    """Decides who is the administrator.

    `page` is the address of the administrator's page as the terminal is to show it, "" where others read what
    the server prints; `say` prints a line there; `deadlines` know until when sessions last.
    """

    def __init__(self, password: str, page: str, say: Callable[[str], None], deadlines: Deadlines) -> None:
        self.way: Way = "password" if password else "link" if page else "none"
        self._password = password
        self._page = page
        self._say = say
        self._deadlines = deadlines
        self._token = secrets.token_urlsafe(32)
        self._lock = threading.Lock()
        self._comparing = asyncio.Lock()
        self._comparing_for: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @property
    def link(self) -> str:
        """The link that signs in next, "" where there is none."""
        return f"{self._page}?token={self._token}" if self.way == "link" else ""

    def show_link(self) -> None:
        """Print the link that signs in next, where there is one."""
        if self.link:
            self._say(f"To administrate, open this link; it works once: {self.link}")

    async def allowed(self, request: Request) -> bool:
        """Return whether a request is the administrator's."""
        session = request.cookies.get(_COOKIE, "")
        return bool(session) and await self._deadlines.left_s(_kept(session)) > 0

    async def follow(self, token: str) -> str | None:
        """Return a new session for the token of the link, and print the next link; None for any other token."""
        with self._lock:
            if self.way != "link" or not _same(token, self._token):
                return None
            self._token = secrets.token_urlsafe(32)
        self.show_link()
        return await self._begin()

    async def sign_in(self, password: str, address: str, gone: Callable[[], Awaitable[bool]]) -> str | None:
        """Return a new session for the password; None for a wrong one, which takes a while.

        Every password is compared, so that whoever has the right one is never kept out by those who guess; they
        are compared one after another, the addresses in turn, so that guesses stay few. What nobody waits for
        any more (`gone`) is not compared, so that a right one waits only for the connections that are open.
        """
        line = self._comparing_for.setdefault(subscriber(address), asyncio.Lock())
        async with line:
            async with self._comparing:
                if self.way != "password" or await gone():
                    return None
                if _same(password, self._password):
                    return await self._begin()
                own_s = await self._deadlines.postpone(f"guess {subscriber(address)}", ADDRESS_GUESS_S)
                all_s = await self._deadlines.postpone("guess", GUESS_S)
                await asyncio.sleep(all_s)
            await asyncio.sleep(max(own_s - all_s, 0))
        return None

    async def sign_out(self, request: Request) -> None:
        """End the session of a request, at all servers."""
        await self._deadlines.end(_kept(request.cookies.get(_COOKIE, "")))

    async def _begin(self) -> str:
        session = secrets.token_urlsafe(32)
        await self._deadlines.postpone(_kept(session), SESSION_S)
        return session


class Login:
    """ASGI middleware: answers every request under `ADMIN` that is not the administrator's itself."""

    def __init__(self, app: ASGIApp, administration: Administration, audit: Audit) -> None:
        self.app = app
        self._administration = administration
        self._audit = audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        answer = None
        if scope["type"] == "http" and f"{scope['path']}/".startswith(ADMIN):
            try:
                answer = await self._answer(Request(scope, receive))
            except BusyError as error:
                answer = _refused(str(error), 503)
        await (answer or self.app)(scope, receive, send)

    async def _answer(self, request: Request) -> Response | None:
        path = request.scope["path"]
        if not _from_our_page(request):
            return _refused(_ELSEWHERE, 403)
        if f"{path}/" == ADMIN:
            return RedirectResponse("admin/")
        if (request.method, path) == ("POST", ADMIN):
            return await self._sign_in(request)
        if (request.method, path) == ("POST", SIGN_OUT):
            if await self._administration.allowed(request):
                self._audit.note("Sign out", who_asks(request))
                await self._administration.sign_out(request)
            answer = RedirectResponse("./", 303)
            answer.delete_cookie(_COOKIE, ADMIN)
            return answer
        if (request.method, path) == ("GET", ADMIN) and "token" in request.query_params:
            return await self._follow(request)
        if await self._administration.allowed(request):
            who = who_asks(request)
            if path.startswith(_EXPORTS):
                self._audit.note("Download an export", who, path.removeprefix(_EXPORTS))
            request.scope["headers"].append((WHO.encode(), who.encode()))
            return None
        if request.method in _READING and path == ADMIN:
            return self._page("", 200)
        return _refused(_SIGN_IN, 401)

    async def _sign_in(self, request: Request) -> Response:
        if int(request.headers.get("content-length", 0)) > _MOST_PASSWORD_BYTES:
            return self._page(_LARGE, 403)
        password = str((await request.form()).get("password"))
        administration = self._administration
        session = await administration.sign_in(password, address_of(request), request.is_disconnected)
        if session:
            return self._enter(request, session, "with the password")
        self._audit.note_failure("Sign in with a wrong password", address_of(request))
        return self._page(_WRONG, 403)

    async def _follow(self, request: Request) -> Response:
        session = await self._administration.follow(request.query_params["token"])
        if session:
            return self._enter(request, session, "with the link")
        if await self._administration.allowed(request):
            return RedirectResponse("./", 303)
        self._audit.note_failure("Sign in with a used or made-up link", address_of(request))
        return self._page(_USED, 403)

    def _enter(self, request: Request, session: str, how: str) -> Response:
        answer = RedirectResponse("./", 303)  # the browser keeps what stands after the # of the address
        # A browser names the scheme of its page in Origin, even where no proxy is trusted.
        secure = "https" in (request.url.scheme, request.headers.get("origin", "").partition(":")[0])
        answer.set_cookie(_COOKIE, session, SESSION_S, None, ADMIN, None, secure, True, "strict")
        self._audit.note("Sign in", address_of(request), f"{name_of(session)}, {how}")
        return answer

    def _page(self, said: str, status: int) -> Response:
        way = self._administration.way
        said = said if way != "none" else ""
        return HTMLResponse(render("login.html", css=style_alone(), said=said, way=way), status)


def name_of(session: str) -> str:
    """Return what the log calls a session: the beginning of its hash, which tells nothing."""
    return f"session {_digest(session)[:6]}"


def who_asks(request: Request) -> str:
    """Return who asks: the session, and the address."""
    return f"{name_of(request.cookies[_COOKIE])}, {address_of(request)}"


def address_of(request: Request) -> str:
    """Return the address that a request comes from."""
    return request.client.host if request.client else ""


def _refused(sentence: str, status: int) -> Response:
    return JSONResponse({"detail": sentence}, status)  # as Gradio's script reads it


def _from_our_page(request: Request) -> bool:
    """Return whether a browser does not say that a page of another site sends this.

    Links from elsewhere may be followed; they bring no cookie.
    """
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site in ("same-origin", "none"):
        return True
    if site is None:  # older browsers, and addresses without TLS
        return origin is None or origin.partition("://")[2] == headers.get("host")
    return request.method in _READING and origin is None and headers.get("sec-fetch-mode") == "navigate"


def _kept(session: str) -> str:
    return f"session {_digest(session)}"


def _same(given: str, kept: str) -> bool:
    return hmac.compare_digest(_digest(given), _digest(kept))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
