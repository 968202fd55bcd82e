"""Pages in a browser that note what happens behind them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from playwright.sync_api import Browser, ConsoleMessage, Page, Request

LOCAL = re.compile(r"(http://127\.0\.0\.1:\d+/|data:|blob:)")
# What Gradio's waveform says when the file that was dropped is not audio.
NO_AUDIO = "Waveform load error"
# What Gradio says when a page is left while an event is under way.
LEFT = ("AbortError: signal is aborted", "Unexpected error Connection errored out.")


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
        page.on("response", lambda answer: self.refused.append(answer.url) if answer.status >= 400 else None)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and NO_AUDIO not in message.text:
            self.errors.append(message.text)

    def _request(self, request: Request) -> None:
        if not LOCAL.match(request.url):
            self.foreign.append(request.url)


@contextmanager
def open_page(browser: Browser, look: tuple[int, str], address: str | None = None) -> Iterator[Page]:
    """Open a page of a width in pixels and a colour scheme; it must log no error and ask nobody else."""
    width, scheme = look
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen, page = Seen(), context.new_page()
    page.set_default_timeout(20_000)
    seen.watch(page)
    if address:
        page.goto(address)
    yield page
    seen.errors = [error for error in seen.errors if not error.startswith(LEFT)]
    assert seen == Seen()  # before the page closes, which cuts its requests off and complains
    context.close()


def overflow(page: Page) -> int:
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
