"""Who may administrate: whoever proves it, by the password or by a link from the server's terminal.

Where a request comes from proves nothing: behind a proxy everybody comes from the server's own machine, and so
does each of its users.

- With ``MUSICEVAL_ADMIN_PASSWORD`` the administrator signs in with it.
- Without, the server prints a link. It signs in once; when it was used the server prints the next one.
- On a Hugging Face Space, whose log others may read, there is no link; its owner signs in with Hugging Face
  (`webapp.hugging_face`), where the README has ``hf_oauth: true``. Without that and without a password nobody is the
  administrator.

A sign-in sets a cookie: 32 random bytes, of which the server keeps the hash for 12 hours (`webapp.deadlines`: where
there are several servers, all know it). `Login` asks for it at every request under `ADMIN`, whatever answers there:
Gradio's own ``auth_dependency`` leaves some of its routes open (heartbeats, cancellations, static files), and knows
nothing of ours.

Sources: OWASP Session Management, Authentication and Cross-Site Request Forgery Prevention Cheat Sheets.
"""

import asyncio
import hashlib
import hmac
import math
import secrets
import threading
from collections.abc import Awaitable, Callable
from typing import Literal
from weakref import WeakValueDictionary

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from core.errors import AccessError, BusyError, shown_name
from webapp.audit import Audit
from webapp.deadlines import Deadlines
from webapp.guard import ADMIN, WHO, SharedLimit, address_of, subscriber
from webapp.html import render
from webapp.hugging_face import BEGIN, CALLBACK, Begun, HuggingFace
from webapp.palette import style_alone

SIGN_OUT = f"{ADMIN}sign-out"
SESSION_S = 12 * 3_600
GUESS_S = 0.05  # a wrong password takes this long, one after another: 20 a second at all servers together
ADDRESS_GUESS_S = 0.1  # and this long before the next of its address is compared: 10 a second
BEGUN_S = 600  # between the beginning of a sign-in with Hugging Face and its end
_BEGUN = (20, 30.0)  # of an address at once, and seconds until one more
_MOST_PASSWORD_BYTES = 10_000  # of the form that the password comes in
_COOKIE = "musiceval-administrator"
_BEGUN_COOKIE = "musiceval-sign-in"
_EXPORTS = f"{ADMIN}export/"
_READING = ("GET", "HEAD")
_SIGN_IN = "You are not signed in, or were not for 12 hours. Reload the page and sign in."
_WRONG = "This is not the administrator's password."
_USED = "This link was used before, or is of an earlier start of the server."
_LARGE = "This is no password of this server: it is too long."
_TOO_OFTEN = "too_often"
_OFF = "There is no sign-in with Hugging Face here."
_FORGED = "This sign-in was not begun in this browser, or more than 10 minutes ago. Sign in again."
_MAY_NOT = "{name} of Hugging Face may not administrate this Space. Its owner can name you in MUSICEVAL_ADMIN_USERS."
_ELSEWHERE = "This request comes from another site, or through a proxy that does not pass on the header Host."

Way = Literal["password", "link", "none"]


class Administration:
    """Decides who is the administrator.

    `page` is the address of the administrator's page as the terminal is to show it, "" where others read what
    the server prints; `say` prints a line there; `deadlines` know until when sessions last.
    """

    def __init__(
        self,
        password: str,
        page: str,
        say: Callable[[str], None],
        deadlines: Deadlines,
        hugging_face: HuggingFace | None = None,
    ) -> None:
        self.way: Way = "password" if password else "link" if page else "none"
        self._password = password
        self._page = page
        self._say = say
        self._deadlines = deadlines
        self.hugging_face = hugging_face
        self._begun = SharedLimit(deadlines, "hugging-face", *_BEGUN)
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

    async def begin_elsewhere(self, address: str) -> Begun:
        """Begin to sign in with Hugging Face; `AccessError` where it is off or away, or was begun too often."""
        if self.hugging_face is None:
            raise AccessError(_OFF)
        wait_s = math.ceil(await self._begun.take(address))
        if wait_s:
            raise AccessError("Too many attempts. Wait {seconds} s, then try again.", _TOO_OFTEN, seconds=wait_s)
        begun = await self.hugging_face.begin()
        await self._deadlines.postpone(f"begun {_digest(begun.state)}", BEGUN_S)
        return begun

    async def come_back(self, state: str, kept: str, code: str) -> tuple[str, str | None]:
        """Return the name of who comes back from Hugging Face, and a session where they may have one.

        `kept` is what their browser kept since it began; what was begun ends here, once, within `BEGUN_S`.
        """
        own, _, verifier = kept.partition(".")
        begun = f"begun {_digest(state)}"
        if self.hugging_face is None or not _same(own, state) or not await self._deadlines.left_s(begun):
            raise AccessError(_FORGED)
        await self._deadlines.end(begun)
        name = await self.hugging_face.who(code, verifier)
        return name, await self._begin() if name in self.hugging_face.users else None

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
        self._own = {
            ("POST", ADMIN): self._sign_in,
            ("POST", SIGN_OUT): self._sign_out,
            ("GET", BEGIN): self._begin_elsewhere,
            ("GET", CALLBACK): self._come_back,
        }

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
        own = self._own.get((request.method, path))
        if own:
            return await own(request)
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

    async def _sign_out(self, request: Request) -> Response:
        if await self._administration.allowed(request):
            self._audit.note("Sign out", who_asks(request))
            await self._administration.sign_out(request)
        answer = RedirectResponse("./", 303)
        answer.delete_cookie(_COOKIE, ADMIN)
        return answer

    async def _sign_in(self, request: Request) -> Response:
        if int(request.headers.get("content-length", 0)) > _MOST_PASSWORD_BYTES:
            return self._page(_LARGE, 403)
        password = str((await request.form()).get("password"))
        administration = self._administration
        session = await administration.sign_in(password, address_of(request), request.is_disconnected)
        if session:
            return self._enter(request, session, "with the password", _to_the_page())
        self._audit.note_failure("Sign in with a wrong password", address_of(request))
        return self._page(_WRONG, 403)

    async def _follow(self, request: Request) -> Response:
        session = await self._administration.follow(request.query_params["token"])
        if session:
            return self._enter(request, session, "with the link", _to_the_page())
        if await self._administration.allowed(request):
            return RedirectResponse("./", 303)
        self._audit.note_failure("Sign in with a used or made-up link", address_of(request))
        return self._page(_USED, 403)

    async def _begin_elsewhere(self, request: Request) -> Response:
        try:
            begun = await self._administration.begin_elsewhere(address_of(request))
        except AccessError as error:
            return self._page(str(error), 429 if error.code == _TOO_OFTEN else 403)
        answer = RedirectResponse(begun.address, 303)
        kept = f"{begun.state}.{begun.verifier}"
        answer.set_cookie(_BEGUN_COOKIE, kept, BEGUN_S, None, CALLBACK, None, True, True, "lax")
        return answer

    async def _come_back(self, request: Request) -> Response:
        asked, kept, address = request.query_params, request.cookies.get(_BEGUN_COOKIE, ""), address_of(request)
        try:
            name, session = await self._administration.come_back(asked.get("state", ""), kept, asked.get("code", ""))
        except AccessError as error:
            self._audit.note_failure("Sign in with Hugging Face, without success", address)
            answer = self._page(str(error), 403)
        else:
            if session:
                on = HTMLResponse(render("signed_in.html", css=style_alone()))
                answer = self._enter(request, session, f"as {shown_name(name)} of Hugging Face", on)
            else:
                self._audit.note_failure(f"Sign in as {shown_name(name)} of Hugging Face, who may not", address)
                answer = self._page(_MAY_NOT.format(name=shown_name(name)), 403)
        answer.delete_cookie(_BEGUN_COOKIE, CALLBACK)
        return answer

    def _enter(self, request: Request, session: str, how: str, answer: Response) -> Response:
        # A browser names the scheme of its page in Origin, even where no proxy is trusted.
        named = request.url.scheme, request.headers.get("origin", "").partition(":")[0]
        secure = "https" in named or request.scope["path"] == CALLBACK  # which is https to Hugging Face
        answer.set_cookie(_COOKIE, session, SESSION_S, None, ADMIN, None, secure, True, "strict")
        self._audit.note("Sign in", address_of(request), f"{name_of(session)}, {how}")
        return answer

    def _page(self, said: str, status: int) -> Response:
        way, elsewhere = self._administration.way, self._administration.hugging_face is not None
        said = said if way != "none" or elsewhere else ""
        page = render("login.html", css=style_alone(), said=said, way=way, hugging_face=elsewhere)
        return HTMLResponse(page, status)


def _to_the_page() -> Response:
    return RedirectResponse("./", 303)  # the browser keeps what stands after the # of the address


def name_of(session: str) -> str:
    """Return what the log calls a session: the beginning of its hash, which tells nothing."""
    return f"session {_digest(session)[:6]}"


def who_asks(request: Request) -> str:
    """Return who asks: the session, and the address."""
    return f"{name_of(request.cookies[_COOKIE])}, {address_of(request)}"


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
