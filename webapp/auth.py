"""Who may administrate: whoever proves it, by the password or by a link from the server's terminal.

Where a request comes from proves nothing: behind a proxy everybody comes from the server's own machine, and so
does each of its users.

- With ``MUSICEVAL_ADMIN_PASSWORD`` the administrator signs in with it.
- Without, the server prints a link. It signs in once; when it was used the server prints the next one.
- Without on a Hugging Face Space, whose log others may read, nobody is the administrator.

A sign-in sets a cookie: 32 random bytes, of which the server keeps the hash, in memory, for 12 hours. `Login`
asks for it at every request under `ADMIN`, whatever answers there: Gradio's own ``auth_dependency`` leaves
some of its routes open (heartbeats, cancellations, static files), and knows nothing of ours.

Sources: OWASP Session Management, Authentication and Cross-Site Request Forgery Prevention Cheat Sheets.
"""

import asyncio
import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from webapp.audit import Audit
from webapp.guard import ADMIN, WHO, subscriber
from webapp.html import render
from webapp.palette import style_alone

SIGN_OUT = f"{ADMIN}sign-out"
SESSION_S = 12 * 3_600
GUESS_S = 0.05  # a wrong password takes this long, one after another: 20 a second in all
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


@dataclass(frozen=True)
class _Session:
    number: int  # since the server started
    end_s: float


class Administration:
    """Decides who is the administrator.

    `page` is the address of the administrator's page as the terminal is to show it, "" where others read what
    the server prints; `say` prints a line there; `clock` gives seconds that never run backwards.
    """

    def __init__(
        self, password: str, page: str, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.way: Way = "password" if password else "link" if page else "none"
        self._password = password
        self._page = page
        self._say = say
        self._clock = clock
        self._token = secrets.token_urlsafe(32)
        self._sessions: dict[str, _Session] = {}  # by the hash of their tokens
        self._begun = 0
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

    def allowed(self, request: Request) -> bool:
        """Return whether a request is the administrator's."""
        session = self._session(request)
        return session is not None and session.end_s > self._clock()

    def who(self, request: Request) -> str:
        """Return who asks: the number of the session, and the address."""
        session = self._session(request)
        return f"session {session.number}, {address_of(request)}" if session else address_of(request)

    def number(self, session: str) -> int:
        """Return the number of a session that has begun."""
        with self._lock:
            return self._sessions[_digest(session)].number

    def _session(self, request: Request) -> "_Session | None":
        with self._lock:
            return self._sessions.get(_digest(request.cookies.get(_COOKIE, "")))

    def follow(self, token: str) -> str | None:
        """Return a new session for the token of the link, and print the next link; None for any other token."""
        with self._lock:
            if self.way != "link" or not _same(token, self._token):
                return None
            self._token = secrets.token_urlsafe(32)
        self.show_link()
        return self._begin()

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
                    return self._begin()
                await asyncio.sleep(GUESS_S)
            await asyncio.sleep(ADDRESS_GUESS_S - GUESS_S)
        return None

    def sign_out(self, request: Request) -> None:
        """End the session of a request."""
        with self._lock:
            self._sessions.pop(_digest(request.cookies.get(_COOKIE, "")), None)

    def _begin(self) -> str:
        session, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._sessions = {kept: one for kept, one in self._sessions.items() if one.end_s > now}
            self._begun += 1
            self._sessions[_digest(session)] = _Session(self._begun, now + SESSION_S)
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
            answer = await self._answer(Request(scope, receive))
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
            if self._administration.allowed(request):
                self._audit.note("Sign out", self._administration.who(request))
            self._administration.sign_out(request)
            answer = RedirectResponse("./", 303)
            answer.delete_cookie(_COOKIE, ADMIN)
            return answer
        if (request.method, path) == ("GET", ADMIN) and "token" in request.query_params:
            return self._follow(request)
        if self._administration.allowed(request):
            who = self._administration.who(request)
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

    def _follow(self, request: Request) -> Response:
        session = self._administration.follow(request.query_params["token"])
        if session:
            return self._enter(request, session, "with the link")
        if self._administration.allowed(request):
            return RedirectResponse("./", 303)
        self._audit.note_failure("Sign in with a used or made-up link", address_of(request))
        return self._page(_USED, 403)

    def _enter(self, request: Request, session: str, how: str) -> Response:
        answer = RedirectResponse("./", 303)  # the browser keeps what stands after the # of the address
        # A browser names the scheme of its page in Origin, even where no proxy is trusted.
        secure = "https" in (request.url.scheme, request.headers.get("origin", "").partition(":")[0])
        answer.set_cookie(_COOKIE, session, SESSION_S, None, ADMIN, None, secure, True, "strict")
        self._audit.note("Sign in", address_of(request), f"session {self._administration.number(session)}, {how}")
        return answer

    def _page(self, said: str, status: int) -> Response:
        way = self._administration.way
        said = said if way != "none" else ""
        return HTMLResponse(render("login.html", css=style_alone(), said=said, way=way), status)


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


def _same(given: str, kept: str) -> bool:
    return hmac.compare_digest(_digest(given), _digest(kept))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
