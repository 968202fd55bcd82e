"""The rater's page in Chromium: every state, keys, what is lost and what never is."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect
from sqlalchemy import select

from annotation.database import Database
from annotation.schema import Batch, Problem, Response, Trial
from annotation.session.exclusions import exclude
from core.settings import Settings
from tests.webapp.browsing import context_of, forget
from tests.webapp.rating_page import (
    ALIGNMENT,
    CLIP_S,
    IMPRESSION,
    choose,
    decide,
    hear,
    press,
    rate,
    set_up,
    sign_in,
    title,
)
from tests.webapp.studies import RemoteRater, SmallStudy, make_study

pytestmark = pytest.mark.browser

HTML = "<img src=x onerror=\"document.title='broken'\"> &amp; ${document.title='broken'}"
REMEMBER = """visit => {
  localStorage.setItem("musiceval-visit", visit);
  localStorage.setItem("musiceval-volume", 0.5);
}"""


@pytest.fixture
def look() -> tuple[int, str]:
    return 1280, "light"


@pytest.fixture
def context(browser: Browser, look: tuple[int, str]) -> Iterator[BrowserContext]:
    opened = context_of(browser, look)
    yield opened
    for page in opened.pages:
        forget(page)


@pytest.fixture
def page(context: BrowserContext, address: str) -> Iterator[Page]:
    """The listening test, open; whatever a test does, its script does not break."""
    errors: list[str] = []
    opened = context.new_page()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(f"{address}listening/")
    yield opened
    assert errors == []


@pytest.fixture(scope="module")
def slow_study(database: Database, settings: Settings) -> SmallStudy:
    """Clips of a second, many raters, no practice."""
    return make_study(
        database,
        settings.data,
        raters=40,
        raters_per_clip=1000,
        duration_s=CLIP_S,
        training=0,
        prompt=f"{HTML.replace('{', '{{').replace('}', '}}')} {{}}",
    )


@pytest.fixture
def rater(slow_study: SmallStudy, http: httpx.Client) -> RemoteRater:
    one = RemoteRater(http, slow_study.codes.pop())
    one.begin()
    return one


@pytest.fixture
def trial(page: Page, rater: RemoteRater) -> Page:
    """The page of a rater who is at the first clip."""
    page.evaluate(REMEMBER, rater.headers["Authorization"].removeprefix("Bearer "))
    page.reload()
    title(page, "Clip 1 of 6")
    expect(page.locator(".me-seek")).to_be_enabled()
    return page


def rating(database: Database, token: str) -> tuple[int, int, str] | None:
    """What is stored for a token."""
    with database.read() as session:
        found = session.scalars(select(Response).join(Trial).where(Trial.token == token)).one_or_none()
        return None if found is None else (*found.scores.values(), found.comment)


def token_of(rater: RemoteRater) -> str:
    return str(rater.place()["task"]["token"])


def fits(page: Page) -> None:
    """Nothing sticks out, and every control has a name."""
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wider) == 0
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("#rater :is(button, input, textarea)")]
          .filter((control) => control.checkVisibility() && !control.textContent.trim())
          .filter((control) => !control.ariaLabel && !control.labels?.length)
          .map((control) => control.outerHTML)"""
    )
    assert nameless == []


@pytest.mark.parametrize(
    "look", [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}"
)
def test_every_state_fits(context: BrowserContext, page: Page, slow_study: SmallStudy) -> None:
    fits(page)
    sign_in(page, "WRONG")
    expect(page.get_by_text("This code is not known. Check it for typing mistakes.")).to_be_visible()
    fits(page)
    sign_in(page, slow_study.codes.pop())
    title(page, "About you")
    fits(page)
    set_up(page)
    title(page, "Now the clips that count")
    fits(page)
    press(page, "Check the sound again")
    title(page, "Sound check")
    fits(page)
    press(page, "Play the music")
    press(page, "It sounds right")
    press(page, "Start")
    title(page, "Clip 1 of 6")
    expect(page.get_by_text("Listen to the end once and choose both ratings.")).to_be_visible()
    fits(page)
    press(page, "This clip does not play")
    fits(page)
    press(page, "Cancel")
    press(page, "Pause")
    title(page, "Paused")
    fits(page)
    press(page, "Go on")
    hear(page)
    choose(page, IMPRESSION, 3)
    expect(page.get_by_text("Rate the textual alignment.")).to_be_visible()
    choose(page, ALIGNMENT, 3)
    context.set_offline(True)
    press(page, "Next")
    expect(page.get_by_text("Not saved yet; your answer stays here.")).to_be_visible()
    fits(page)
    context.set_offline(False)
    title(page, "Clip 2 of 6")


def test_saving_is_tried_until_it_succeeds(
    context: BrowserContext, trial: Page, rater: RemoteRater, database: Database
) -> None:
    token = token_of(rater)
    trial.get_by_label("Comment").fill(HTML)
    decide(trial, 5, 1)
    context.set_offline(True)
    press(trial, "Next")
    expect(trial.get_by_text("Not saved yet; your answer stays here.")).to_be_visible()
    expect(trial.get_by_text("Trying again in")).to_be_visible()
    expect(trial.get_by_role("radio", checked=True)).to_have_count(2)
    expect(trial.get_by_label("Comment")).to_have_value(HTML)
    assert rating(database, token) is None
    context.set_offline(False)
    expect(trial.get_by_text("Saved ✓")).to_be_visible()
    title(trial, "Clip 2 of 6")
    assert rating(database, token) == (5, 1, HTML)


def test_an_acknowledgement_that_was_lost(trial: Page, rater: RemoteRater, database: Database) -> None:
    token = token_of(rater)
    lost: list[int] = []

    def lose_first(route: Route) -> None:
        answer = route.fetch()
        lost.append(answer.status)
        if len(lost) == 1:
            route.abort()
        else:
            route.fulfill(response=answer)

    trial.route("**/listening/rate", lose_first)
    rate(trial, 4, 2)
    title(trial, "Clip 2 of 6")
    assert lost == [200, 200]
    assert rating(database, token) == (4, 2, "")
    expect(trial.locator(".me-notice")).to_have_count(0)


def test_two_windows_make_one_rating(trial: Page, rater: RemoteRater, database: Database) -> None:
    token = token_of(rater)
    second = trial.context.new_page()
    second.goto(trial.url)
    title(second, "Clip 1 of 6")
    trial.bring_to_front()  # a page in the background is slow
    rate(trial, 2, 2)
    second.bring_to_front()
    decide(second, 5, 5)
    press(second, "Next")
    expect(second.locator(".me-notice")).to_contain_text("the first one counts")
    title(second, "Clip 2 of 6")
    assert rating(database, token) == (2, 2, "")


def test_a_double_click_makes_one_rating(trial: Page, rater: RemoteRater) -> None:
    asked: list[str] = []
    trial.on("request", lambda request: asked.append(request.url))
    decide(trial, 3, 3)
    trial.get_by_role("button", name="Next").dblclick()
    trial.keyboard.press("Enter")
    title(trial, "Clip 2 of 6")
    assert sum(url.endswith("/listening/rate") for url in asked) == 1


def test_a_clip_that_does_not_play_is_reported(trial: Page, rater: RemoteRater, database: Database) -> None:
    token = token_of(rater)
    press(trial, "This clip does not play")
    trial.get_by_label("What happens?").fill("12345 silence")
    press(trial, "Report and go on")
    expect(trial.locator(".me-notice")).to_contain_text("the clip was reported")
    with database.read() as session:
        problem = session.scalars(select(Problem).join(Trial).where(Trial.token == token)).one()
    assert problem.comment == "12345 silence"
    assert token_of(rater) != token


def test_keys_are_for_the_framed_scale_and_never_while_typing(trial: Page) -> None:
    first, second = (trial.get_by_role("group", name=scale) for scale in (IMPRESSION, ALIGNMENT))
    trial.keyboard.press("2")
    expect(first.get_by_role("radio", checked=True)).to_have_value("2")
    trial.keyboard.press("5")
    expect(first.get_by_role("radio", checked=True)).to_have_value("5")
    expect(second.get_by_role("radio", checked=True)).to_have_count(0)
    trial.get_by_label("Comment").press_sequentially("1 2 3")
    trial.get_by_label("Comment").press("Enter")
    expect(trial.get_by_label("Comment")).to_have_value("1 2 3\n")
    expect(first.get_by_role("radio", checked=True)).to_have_value("5")
    expect(trial.get_by_role("button", name="Play", exact=True)).to_be_visible()
    second.get_by_role("radio").nth(0).focus()
    for ignored in ("6", "0", "Control+3", "Alt+3"):
        trial.keyboard.press(ignored)
    expect(second.get_by_role("radio", checked=True)).to_have_count(0)
    trial.keyboard.press("4")
    expect(second.get_by_role("radio", checked=True)).to_have_value("4")
    trial.keyboard.press("Enter")
    expect(trial.get_by_text("Listen to the end once.")).to_be_visible()  # and nothing was sent
    title(trial, "Clip 1 of 6")
    trial.keyboard.press("Space")
    expect(trial.get_by_text("Heard to the end ✓")).to_be_visible()
    trial.keyboard.press("Enter")
    title(trial, "Clip 2 of 6")


def test_what_was_skipped_is_to_be_heard(trial: Page) -> None:
    choose(trial, IMPRESSION, 3)
    choose(trial, ALIGNMENT, 3)
    seek = trial.get_by_role("slider", name="Position in the clip")
    seek.evaluate("seek => { seek.value = 0.6; seek.dispatchEvent(new Event('input')); }")
    expect(seek).to_have_attribute("aria-valuetext", "0:00 of 0:01")
    hear(trial)
    expect(trial.get_by_text("Listen to the part that you skipped.")).to_be_visible()
    hear(trial)  # after its end a clip begins again
    expect(trial.get_by_text("Heard to the end ✓")).to_be_visible()


def test_the_picture_shows_nothing_before_the_clip_was_played(trial: Page) -> None:
    highest = """() => {
      const canvas = document.querySelector(".me-moving");
      const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const rows = Array.from({length: canvas.height}, (_, row) => 4 * row * canvas.width);
      return rows.filter((from) => data.slice(from, from + 4 * canvas.width).some(Boolean)).length;
    }"""
    assert trial.evaluate(highest) <= 2
    hear(trial)
    assert trial.evaluate(highest) > 10


def test_a_prompt_is_shown_as_it_was_written(trial: Page, rater: RemoteRater) -> None:
    assert trial.locator(".me-prompt p").text_content() == rater.place()["task"]["prompt"]
    assert HTML in (trial.locator(".me-prompt p").text_content() or "")
    assert trial.title() == "MusicEval listening test"
    expect(trial.locator("#rater img")).to_have_count(0)


def test_pausing_keeps_what_was_chosen(trial: Page) -> None:
    choose(trial, IMPRESSION, 4)
    trial.get_by_role("button", name="Play", exact=True).click()
    trial.locator("header").get_by_role("button", name="Pause").click()
    title(trial, "Paused")
    assert trial.evaluate("document.querySelector('#rater audio').paused")
    trial.get_by_label("Volume").fill("20")
    press(trial, "Go on")
    title(trial, "Clip 1 of 6")
    expect(trial.get_by_role("radio", checked=True)).to_have_value("4")
    assert trial.evaluate("document.querySelector('#rater audio').volume") == pytest.approx(0.2)
    rate(trial)
    title(trial, "Clip 2 of 6")
    assert trial.evaluate("document.querySelector('#rater audio').volume") == pytest.approx(0.2)


def test_leaving_and_coming_back(trial: Page, rater: RemoteRater) -> None:
    trial.locator("header").get_by_role("button", name="Pause").click()
    press(trial, "Leave for now")
    title(trial, "Rate music by ear")
    assert trial.evaluate("localStorage.getItem('musiceval-visit')") is None
    assert rater.get("place").status_code == 401
    sign_in(trial, rater.code)
    title(trial, "Clip 1 of 6")


def test_a_visit_that_has_ended_elsewhere(trial: Page, rater: RemoteRater) -> None:
    rater.post("leave").raise_for_status()
    decide(trial, 3, 3)
    press(trial, "Next")
    title(trial, "Rate music by ear")
    expect(trial.locator(".me-notice")).to_contain_text("Enter your access code to go on where you were.")


def test_a_batch_that_was_taken_out_meanwhile(trial: Page, rater: RemoteRater, database: Database) -> None:
    token = token_of(rater)
    with database.write() as session:
        batch = session.scalars(select(Batch).join(Trial).where(Trial.token == token)).one()
        exclude(session, batch, "A trial.", "tester", datetime.now(UTC))
    decide(trial, 3, 3)
    press(trial, "Next")
    title(trial, "Time for a break")
    expect(trial.locator(".me-notice")).to_contain_text("not yours to rate any more")


def test_a_server_that_is_away_when_the_page_opens(trial: Page) -> None:
    away = [True]
    trial.route("**/listening/place", lambda route: route.abort() if away[0] else route.continue_())
    trial.reload()
    expect(trial.get_by_text("The server cannot be reached.")).to_be_visible()
    away[0] = False
    trial.get_by_role("button", name="Try now").click()
    title(trial, "Clip 1 of 6")


def test_a_clip_that_comes_late(trial: Page) -> None:
    away = [True]
    trial.route("**/listening/clip/**", lambda route: route.abort() if away[0] else route.continue_())
    trial.reload()
    expect(trial.get_by_text("The clip is not here yet. The server cannot be reached.")).to_be_visible()
    expect(trial.get_by_text("The clip is loading.")).to_be_visible()
    away[0] = False
    trial.locator(".me-link", has_text="Try now").dispatch_event("click")  # the page tries by itself, too
    hear(trial)


def test_the_demo_is_one_click_away(page: Page) -> None:
    press(page, "Try the demo")
    set_up(page)
    title(page, "Practice")
    expect(page.locator(".me-demo")).to_have_text("Demo: composed clips, and nothing that you answer counts.")
    press(page, "Start practice")
    title(page, "Practice 1 of 2")
    page.evaluate("localStorage.setItem('musiceval-visit', 'demo.of-another-run')")
    page.reload()
    title(page, "Rate music by ear")
    expect(page.locator(".me-notice")).to_contain_text("The demo was started anew")
