"""Pages in a browser that note what happens behind them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, Response

LOCAL = re.compile(r"(http://127\.0\.0\.1:\d+/|data:|blob:)")
# What Gradio's waveform says when the file that was dropped is not audio.
NO_AUDIO = "Waveform load error"
# What Gradio says when a page is left while an event is under way.
LEFT = ("AbortError: signal is aborted", "Unexpected error Connection errored out.")
# What is under way when the administrator signs out is refused like everything there.
ADMIN = "/admin/"


@dataclass
class Seen:
    """What the browser did behind the page."""

    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        refused = "status of 401" in message.text and ADMIN in message.location["url"]
        expected = NO_AUDIO in message.text or refused
        if message.type == "error" and not expected:
            self.errors.append(message.text)

    def _response(self, answer: Response) -> None:
        if answer.status >= 400 and not (answer.status == 401 and ADMIN in answer.url):
            self.refused.append(answer.url)

    def _request(self, request: Request) -> None:
        if not LOCAL.match(request.url):
            self.foreign.append(request.url)


_CONTEXTS: dict[tuple[Browser, int, str], BrowserContext] = {}


def context_of(browser: Browser, look: tuple[int, str]) -> BrowserContext:
    """A context of a width in pixels and a colour scheme: kept, so that Gradio's scripts are loaded once."""
    key = (browser, *look)
    if key not in _CONTEXTS:
        viewport = {"width": look[0], "height": 900}
        _CONTEXTS[key] = browser.new_context(viewport=viewport, color_scheme=look[1])
        _CONTEXTS[key].set_default_timeout(20_000)
    return _CONTEXTS[key]


def forget(page: Page) -> None:
    """Close a page; what it left in the browser goes, but for loaded scripts."""
    if page.url.startswith("http"):
        page.evaluate("localStorage.clear(); sessionStorage.clear()")
    page.context.clear_cookies()
    page.close()


@contextmanager
def open_page(browser: Browser, look: tuple[int, str], address: str | None = None) -> Iterator[Page]:
    """Open a page of a width in pixels and a colour scheme; it must log no error and ask nobody else."""
    seen, page = Seen(), context_of(browser, look).new_page()
    seen.watch(page)
    if address:
        page.goto(address)
    try:
        yield page
        seen.errors = [error for error in seen.errors if not error.startswith(LEFT)]
        assert seen == Seen(), seen  # before the page closes, which cuts its requests off and complains
    finally:
        forget(page)


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
