"""A whole batch in Chromium, and every dynamic answer that the browser got: nothing hidden is in any."""

import re
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import select

from annotation.database import Database
from annotation.schema import Batch, Clip, Response, Trial
from core.settings import Settings
from tests.webapp.rating_page import (
    CLIP_S,
    IMPRESSION,
    choose,
    hear,
    press,
    rate,
    rate_by_keyboard,
    set_up,
    sign_in,
    title,
)
from tests.webapp.studies import CANARY, FIRST_CLIP_ID, SmallStudy, make_study

pytestmark = pytest.mark.browser

DYNAMIC = re.compile(r"http://[^/]+/(\?.*|config.*|listening/.*|gradio_api/.*)?$")
STREAMS = re.compile(r"/gradio_api/heartbeat/")  # never end; they say ALIVE
HIDDEN_WORDS = re.compile(rb"stimulus|anchor|duplicate|training|role|system|clip_id", re.IGNORECASE)


@dataclass
class Received:
    """The dynamic answers that a browser got."""

    answers: list[tuple[str, list[tuple[str, str]], bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route(DYNAMIC, self._record)

    def _record(self, route: Route) -> None:
        if STREAMS.search(route.request.url):
            return route.continue_()
        answer = route.fetch()
        headers = [(header["name"].lower(), header["value"]) for header in answer.headers_array]
        self.answers.append((route.request.url, headers, answer.body()))
        return route.fulfill(response=answer)

    def clips(self) -> dict[str, list[tuple[str, str]]]:
        """Headers of each clip's answer, but for the time, by the clip's address."""
        return {
            url: [header for header in headers if header[0] != "date"]
            for url, headers, _ in self.answers
            if "/listening/clip/" in url
        }


def test_a_whole_batch_from_code_to_break(
    browser: Browser, address: str, database: Database, settings: Settings
) -> None:
    study = make_study(database, settings.data, duration_s=CLIP_S)
    received = Received()
    page = browser.new_page()
    received.watch(page)
    page.set_default_timeout(20_000)
    page.goto(f"{address}listening/")
    sign_in(page, study.codes[0])
    set_up(page)
    title(page, "Practice")
    press(page, "Start practice")
    title(page, "Practice 1 of 1")
    rate(page, 2, 2)
    title(page, "Practice 1 of 1: the answer")
    expect(page.get_by_role("row", name=IMPRESSION)).to_have_text(f"{IMPRESSION}24")
    expect(page.get_by_text("Noise, as it should be.")).to_be_visible()
    expect(page.locator(".me-seek")).to_be_enabled()
    page.keyboard.press("Space")  # to hear it again
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    page.keyboard.press("Enter")
    title(page, "Now the clips that count")
    expect(page.get_by_text("Part 1 of about 2")).to_be_visible()
    press(page, "Start")
    said = []
    for number in range(1, 7):
        title(page, f"Clip {number} of 6")
        if number == 3:  # in the middle of an answer
            prompt = page.locator(".me-prompt p").inner_text()
            hear(page)
            choose(page, IMPRESSION, 1)
            page.reload()
            title(page, "Clip 3 of 6")
            expect(page.locator(".me-prompt p")).to_have_text(prompt)
            expect(page.get_by_role("radio", checked=True)).to_have_value("1")
            expect(page.get_by_text("Rate the textual alignment.")).to_be_visible()  # and it was heard
        scores = (3 + number % 2, 4 - number % 2)
        (rate_by_keyboard if number % 2 else rate)(page, *scores)
        said.append(scores)
    title(page, "Time for a break")
    expect(page.get_by_text("1 part done, 6 clips rated, all saved.")).to_be_visible()

    tokens = {url.rpartition("/")[2]: headers for url, headers in received.clips().items()}
    with database.read() as session:
        query = select(Trial).join(Batch).where(Batch.number == 1, Trial.token.in_(tokens))
        trials = session.scalars(query.order_by(Trial.position)).all()
        of_batch = Response.trial_id.in_([trial.id for trial in trials])
        given = session.scalars(select(Response).where(of_batch).order_by(Response.id)).all()
        assert [tuple(response.scores.values()) for response in given] == said
    assert [response.heard_s for response in given] == [pytest.approx(CLIP_S, abs=0.3)] * 6
    assert received.errors == []
    # The second presentation of a clip is to the browser a clip like any other.
    (again,) = (trial for trial in trials if trial.role == "duplicate")
    twice = [trial for trial in trials if trial.clip_id == again.clip_id]
    assert len({trial.token for trial in twice}) == 2
    assert tokens[twice[0].token] == tokens[twice[1].token]
    but_length = [[header for header in headers if header[0] != "content-length"] for headers in tokens.values()]
    assert but_length == but_length[:1] * len(tokens)
    assert_nothing_told(received, database, study, settings)


def assert_nothing_told(received: Received, database: Database, study: SmallStudy, settings: Settings) -> None:
    """No answer names a system, a role, a file, a folder or a clip."""
    with database.read() as session:
        names = [name.encode() for name in session.scalars(select(Clip.name))]
    known = [CANARY, str(FIRST_CLIP_ID)[:5], str(settings.data), study.name]
    canaries = [*(word.encode() for word in known), *names]
    kinds = {re.sub(r"http://[^/]+/|(?<=clip/).*", "", url) for url, *_ in received.answers}
    assert kinds >= {f"listening/{route}" for route in ("enter", "place", "start", "rate", "clip/", "")}
    for url, headers, body in received.answers:
        told = url.encode() + str(headers).encode() + body
        assert [canary for canary in canaries if canary in told] == [], url
        if re.search("/listening/.", url) and not body.startswith(b"RIFF"):
            assert not HIDDEN_WORDS.search(re.sub(rb'"(consent|questions)":.*', b"", body)), url
