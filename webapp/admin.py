"""Who may change things: the administrator, by a password or by sitting at the machine.

With ``MUSICEVAL_ADMIN_PASSWORD`` the administrator signs in. Without it administration is off, unless the
server is one that only its own machine can reach and the request shows that it comes from there:

- the server listens on loopback, is no Hugging Face Space and has no share link;
- the request's peer is loopback, and nothing says that it was passed on (a proxy on this machine would
  make every visitor look like the administrator);
- its Host names this machine (a page elsewhere may point its own name here: DNS rebinding), and its Origin,
  where there is one, is that host (a page elsewhere may send requests here: cross-site request forgery).

A sign-in gives a token: 32 random bytes, of which the server keeps the hash, in memory, for 12 hours. Every
handler of an administrator's page checks it (`Administration.guarded`), because whoever knows a handler's
number can call it, whatever the page shows. Source: OWASP Session Management Cheat Sheet; RFC 7239 for the
headers of proxies.
"""

import hashlib
import hmac
import inspect
import ipaddress
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Literal
from urllib.parse import urlsplit

import gradio as gr
from starlette.requests import Request

from core.errors import MusicEvalError
from core.settings import Settings
from webapp.rate_limit import RateLimit

_LOG = logging.getLogger(__name__)

SESSION_S = 12 * 3_600
_ATTEMPTS = (5, 30.0)  # wrong passwords at once, and seconds until one more
_FORWARDED = ("forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "fastly-client-ip")
_FORWARDED_PREFIXES = ("x-forwarded-", "x-original-", "cf-")
_OFF = (
    "Administration is off for you. Whoever runs this server can set MUSICEVAL_ADMIN_PASSWORD and sign in, "
    "or let it listen on its own machine only and open the page there, under 127.0.0.1 or localhost."
)
_SIGN_IN = "You are not signed in, or were not for 12 hours. Enter the administrator's password."
_WRONG = "This is not the administrator's password."
_TOO_OFTEN = "Too many attempts. Wait {} s, then try again."
_UNEXPECTED = "Something went wrong on the server; it has been logged there."

Mode = Literal["open", "password", "off"]
Asking = gr.Request | Request


class Administration:
    """Decides who is the administrator.

    Parameters
    ----------
    settings : Settings
        Password and host.
    environment : mapping of str to str
        To know a Hugging Face Space.
    shared : callable
        Whether the server has a share link.
    clock : callable
        Gives seconds that never run backwards.
    """

    def __init__(
        self,
        settings: Settings,
        environment: Mapping[str, str],
        shared: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._password = settings.admin_password
        self._local = _is_loopback(settings.host) and "SPACE_ID" not in environment
        self._shared = shared
        self._clock = clock
        self._attempts = RateLimit(*_ATTEMPTS, clock)
        self._sessions: dict[str, float] = {}  # hash of a token -> when it ends
        self._lock = threading.Lock()

    def mode(self, request: Asking) -> Mode:
        """Tell how whoever sends a request may become the administrator.

        Returns
        -------
        str
            "open": is the administrator; "password": by signing in; "off": not at all.
        """
        if self._password:
            return "password"
        return "open" if self._local and not self._shared() and _from_here(request) else "off"

    def sign_in(self, password: str, request: Asking) -> str:
        """Give a token for the password.

        Raises
        ------
        gradio.Error
            It is wrong, was wrong too often from this address, or there is none.
        """
        if self.mode(request) != "password":
            raise _refusal(_OFF)
        client = request.client.host if request.client else ""
        wait_s = math.ceil(self._attempts.take(client))
        if wait_s:
            raise _refusal(_TOO_OFTEN.format(wait_s))
        if not hmac.compare_digest(_digest(str(password)), _digest(self._password)):
            raise _refusal(_WRONG)
        self._attempts.give_back(client)
        token, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._sessions = {kept: end for kept, end in self._sessions.items() if end > now}
            self._sessions[_digest(token)] = now + SESSION_S
        return token

    def sign_out(self, token: object) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(str(token)), None)

    def allowed(self, token: object, request: Asking) -> bool:
        """Tell whether a request is the administrator's."""
        mode = self.mode(request)
        if mode != "password":
            return mode == "open"
        with self._lock:
            return self._sessions.get(_digest(str(token)), -math.inf) > self._clock()

    def check(self, token: object, request: Asking) -> None:
        """Refuse a request that is not the administrator's.

        Raises
        ------
        gradio.Error
        """
        if not self.allowed(token, request):
            raise _refusal(_OFF if self.mode(request) == "off" else _SIGN_IN)

    def guarded(self, function: Callable[..., Any], otherwise: Any = None) -> Callable[..., Any]:
        """Make a handler that only the administrator can call.

        Parameters
        ----------
        function : callable
            Gets the inputs but the token; may take ``gr.EventData`` or ``gr.Progress`` too.
        otherwise : optional
            What others get instead of a refusal; for what a page does by itself, again and again.

        Returns
        -------
        callable
            Its first input is the token. Errors of `function` are told in a sentence.
        """

        def handler(admin_token: Any, admin_request: gr.Request, /, *given: Any) -> Any:
            if otherwise is not None and not self.allowed(admin_token, admin_request):
                return otherwise
            self.check(admin_token, admin_request)
            try:
                return function(*given)
            except gr.Error:
                raise
            except MusicEvalError as error:
                raise _refusal(str(error)) from error
            except Exception as error:
                _LOG.exception("a handler of the administrator failed")
                raise _refusal(_UNEXPECTED) from error

        # Gradio reads from the signature what to pass; it gets that of the function, after the two of ours.
        own = list(inspect.signature(handler).parameters.values())[:2]
        signature = inspect.signature(function, eval_str=True)
        handler.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*own, *signature.parameters.values()]
        )
        handler.__annotations__ |= {
            parameter.name: parameter.annotation
            for parameter in signature.parameters.values()
            if parameter.annotation is not parameter.empty
        }
        handler.__name__ = getattr(function, "__name__", "handler")
        handler.guards = function  # type: ignore[attr-defined]
        return handler


def _from_here(request: Asking) -> bool:
    headers = {name.lower(): value for name, value in dict(request.headers).items()}
    passed_on = any(name in _FORWARDED or name.startswith(_FORWARDED_PREFIXES) for name in headers)
    peer = request.client.host if request.client else ""
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        name = urlsplit(f"//{host}").hostname or ""
        same_origin = origin is None or urlsplit(origin).netloc == host
    except ValueError:
        return False
    return not passed_on and same_origin and _is_loopback(peer) and _is_loopback(name)


def _is_loopback(name: str) -> bool:
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _refusal(sentence: str) -> gr.Error:
    return gr.Error(escape(sentence, quote=False), print_exception=False)  # the page shows it as HTML
