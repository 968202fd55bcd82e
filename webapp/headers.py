"""What every answer tells the browser: whom the page may talk to, who may frame it, that types are not guessed.

The content policy keeps pages to this server: no script, picture, sound or request from or to elsewhere, no form
that is sent away. Gradio's page has scripts in its text and makes functions from text (the pages' own scripts
reach it so), which the policy must allow; so it bounds what an injected script could do, and does not stop it.

On a Hugging Face Space the visitors' pages stand in a frame of huggingface.co; the administrator's never stand in one.
Source: https://www.w3.org/TR/CSP3/; OWASP HTTP Headers Cheat Sheet.
"""

from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from webapp.guard import ADMIN

_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-src 'none'"
)
_SELF = "'self'"
_SPACES = f"{_SELF} https://huggingface.co"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    # With no-referrer browsers say of a form's Origin that it is null, and a sign-in could not be told from a forgery.
    "Referrer-Policy": "same-origin",
}
_DENIED = {
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # nothing of the page is shown again after the sign-out
}
_STORED = "/admin/assets/"  # of Gradio: the same for everybody


class SecurityHeaders:
    """ASGI middleware that adds the headers; `framed_by_spaces` where the visitors' pages stand in Hugging Face's."""

    def __init__(self, app: ASGIApp, framed_by_spaces: bool) -> None:
        self.app = app
        self._ancestors = f"frame-ancestors {_SPACES if framed_by_spaces else _SELF}"
        self._visitors = {"Content-Security-Policy": f"{_POLICY}; {self._ancestors}"}
        if not framed_by_spaces:  # this older header cannot name another site
            self._visitors["X-Frame-Options"] = "SAMEORIGIN"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and add to its answer."""
        path = f"{scope.get('path', '')}/"  # a lifespan has none, and sends nothing with headers
        added = _ALWAYS | (_DENIED if path.startswith(ADMIN) else self._visitors)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                policy = headers.get("content-security-policy")  # of a page that needs less than Gradio's
                headers.update(added)
                if policy:
                    headers["content-security-policy"] = f"{policy}; {self._ancestors}"
                if "location" in headers:
                    headers["location"] = _on_this_host(headers["location"], Headers(scope=scope).get("host", ""))
                if path.startswith(_STORED):
                    del headers["cache-control"]
                # A page names the host that it was asked by, so nobody keeps it for others.
                elif headers.get("content-type", "").startswith(("text/html", "application/json")):
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, sending)


def _on_this_host(location: str, host: str) -> str:
    """Return where a redirection leads without the host that the caller named."""
    parts = urlsplit(location)
    if parts.netloc != host:
        return location
    return urlunsplit(("", "", f"/{parts.path.lstrip('/')}", parts.query, parts.fragment))
