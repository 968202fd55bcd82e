"""The rater's page in Chromium in another language, on a phone, and where the browser's own player fails."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from sqlalchemy import select

from annotation.database import Database
from annotation.schema import Answer, Consent, Rater, Response, Trial
from annotation.studies import hash_code
from core.settings import Settings
from tests.webapp.rating_page import ALIGNMENT, CLIP_S, IMPRESSION, choose, press, set_up, sign_in, title
from tests.webapp.studies import SmallStudy, make_study
from webapp.listening import locales

pytestmark = pytest.mark.browser

CHINESE = locales()["zh-CN"]
OWN_WORDS = ["Noise, as it should be."]  # of the study: shown as they are
# What is seen or read aloud, but for prompts and for what names another language.
SEEN = """() => {
  const own = ".me-prompt p, blockquote, [lang]:not(html)";
  const texts = [];
  for (const element of document.querySelectorAll("header, header *, #rater, #rater *")) {
    if (!element.checkVisibility() || element.closest(own)) continue;
    for (const node of element.childNodes) if (node.nodeType === Node.TEXT_NODE) texts.push(node.data);
    for (const name of ["aria-label", "aria-valuetext", "placeholder", "title", "alt"]) {
      if (element.hasAttribute(name)) texts.push(element.getAttribute(name));
    }
  }
  return [document.title, ...texts];
}"""
NAMES = {"MusicEval", "Tab", "XXXX"}
NO_SOURCE = """Object.defineProperty(HTMLMediaElement.prototype, "src", {
  set() { setTimeout(() => this.dispatchEvent(new Event("error"))); },
});"""
NO_PLAY = """HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException("", "NotSupportedError"));"""


@pytest.fixture(scope="module")
def study(database: Database, settings: Settings) -> SmallStudy:
    """A batch of clips of a second, and practice; one is done after it."""
    small = {"stimuli": 2, "batch_size": 2, "anchors": 1, "duplicates": 0, "raters_per_clip": 100}
    return make_study(database, settings.data, raters=12, duration_s=CLIP_S, **small)


@contextmanager
def opened(browser: Browser, address: str, script: str = "", **look: object) -> Iterator[Page]:
    """The page in a browser of its own; its script does not break."""
    context, errors = browser.new_context(**look), []  # type: ignore[arg-type, var-annotated]
    context.set_default_timeout(20_000)
    if script:
        context.add_init_script(script)
    page = context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{address}listening/")
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def chinese(browser: Browser, address: str) -> Iterator[Page]:
    with opened(browser, address, locale="zh-CN", viewport={"width": 1280, "height": 900}) as page:
        yield page


def english_left(page: Page) -> set[str]:
    texts = [text for text in page.evaluate(SEEN) if text not in OWN_WORDS]
    return {word for text in texts for word in re.findall(r"[A-Za-z]{2,}", text)} - NAMES


def rate_in_chinese(page: Page) -> None:
    """With keys alone, and no English after any."""
    expect(page.locator(".me-seek")).to_be_enabled()
    for pressed in ("Space", "4", "Tab", "3"):
        page.keyboard.press(pressed)
        assert english_left(page) == set(), pressed
    expect(page.get_by_text(CHINESE["trial.heard"])).to_be_visible()
    assert english_left(page) == set()
    page.keyboard.press("Enter")
    expect(page.get_by_text(CHINESE["saved"])).to_be_visible()
    assert english_left(page) == set()


def test_a_batch_in_chinese(chinese: Page, study: SmallStudy, database: Database) -> None:
    """From the code to the end, with Enter on every step, and no English on any."""
    page, words, code = chinese, CHINESE, study.codes.pop()

    def at(key: str, **values: object) -> None:
        title(page, words[key].format(**values))
        assert english_left(page) == set(), key

    at("code.title")
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    page.locator("#me-code").fill("WRONG")
    page.keyboard.press("Enter")
    expect(page.get_by_text(words["error.code_unknown"])).to_be_visible()
    at("code.title")
    page.locator("#me-code").fill(code)
    page.keyboard.press("Enter")
    at("about.title")
    expect(page.get_by_text(words["consent"])).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text(words["about.agree_first"])).to_be_visible()
    at("about.title")
    page.get_by_label(words["about.agree"]).check()
    page.get_by_label(words["question.training.3"]).check()
    page.keyboard.press("Enter")
    at("sound.title")
    expect(page.get_by_text(words["sound.first"])).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name=words["sound.right"])).to_be_enabled()
    at("sound.title")
    page.keyboard.press("Enter")
    at("practice.title")
    page.keyboard.press("Enter")
    title(page, words["trial.practice"].format(position=1, total=1))
    rate_in_chinese(page)
    at("feedback.title", position=1, total=1)
    page.keyboard.press("Enter")
    at("rate.title")
    expect(page.get_by_text(words["progress.of"].format(number=1, total=1))).to_be_visible()
    page.keyboard.press("Enter")
    for position in (1, 2, 3):
        at("trial.clip", position=position, total=3)
        if position == 1:
            press(page, words["trial.broken"])
            at("trial.clip", position=position, total=3)
            press(page, words["report.cancel"])
            press(page, words["trial.pause"])
            at("pause.title")
            page.keyboard.press("Enter")
        rate_in_chinese(page)
    at("done.title")
    assert stored(database, code) == ("student of music", words["consent"])
    press(page, words["sign_out"])
    at("code.title")
    expect(page.get_by_text(words["notice.left"])).to_be_visible()


def stored(database: Database, code: str) -> tuple[str, str]:
    """What a rater said of themselves, and the consent that they read."""
    with database.read() as session:
        rater = session.scalars(select(Rater).where(Rater.code_sha256 == hash_code(code))).one()
        said = session.scalars(select(Answer.answer).where(Answer.rater_id == rater.id)).one()
        return said, session.scalars(select(Consent.text).where(Consent.rater_id == rater.id)).one()


def test_what_fails_is_told_in_chinese(chinese: Page, study: SmallStudy) -> None:
    places = iter([{"step": "done", "message": "wait", "clips_rated": 3, "demo": True}])

    def answer(route: Route) -> None:
        place = next(places, None)
        if place:
            route.fulfill(json=place)
        else:
            route.fulfill(status=409, json={"error": "This is not ready.", "code": "not_ready", "values": {}})

    chinese.route("**/listening/place", answer)
    chinese.locator("#me-code").fill(study.codes.pop())
    chinese.keyboard.press("Enter")
    title(chinese, CHINESE["wait.title"])
    assert english_left(chinese) == set()
    chinese.keyboard.press("Enter")
    title(chinese, CHINESE["trouble.title"])
    expect(chinese.get_by_text(CHINESE["error.not_ready"])).to_be_visible()
    assert english_left(chinese) == set()
    chinese.unroute("**/listening/place")
    chinese.route("**/listening/place", lambda route: route.abort())
    chinese.keyboard.press("Enter")
    expect(chinese.get_by_text(CHINESE["error.unreachable"])).to_be_visible()
    assert english_left(chinese) == set()


def test_the_language_changes_at_any_time_and_is_remembered(browser: Browser, address: str, study: SmallStudy) -> None:
    with opened(browser, address, locale="fr-FR") as page:
        title(page, "Rate music by ear")
        assert {"Access", "Begin"} < english_left(page)  # which so can be seen
        sign_in(page, study.codes.pop())
        title(page, "About you")
        page.get_by_label("Which instrument").fill("viola")
        press_language(page, "简体中文")
        title(page, CHINESE["about.title"])
        expect(page.get_by_label(CHINESE["question.instrument"])).to_have_value("viola")
        press_language(page, "English")
        set_up(page)
        press(page, "Start practice")
        expect(page.locator(".me-seek")).to_be_enabled()
        choose(page, IMPRESSION, 2)
        page.get_by_label("Comment").fill("hm")
        press_language(page, "简体中文")
        title(page, CHINESE["trial.practice"].format(position=1, total=1))
        expect(page.get_by_role("radio", checked=True)).to_have_value("2")
        expect(page.locator("#me-comment")).to_have_value("hm")
        page.reload()
        title(page, CHINESE["trial.practice"].format(position=1, total=1))
        expect(page.get_by_role("radio", checked=True)).to_have_value("2")
        expect(page.locator("#me-comment")).to_have_value("hm")
        choose(page, CHINESE["scale.textual_alignment.title"], 3)
        page.locator("h2").focus()
        page.keyboard.press("Space")
        expect(page.get_by_text(CHINESE["trial.heard"])).to_be_visible()
        page.keyboard.press("Enter")
        title(page, CHINESE["feedback.title"].format(position=1, total=1))
        assert page.evaluate("sessionStorage.getItem('musiceval-draft')") is None


def press_language(page: Page, name: str) -> None:
    page.locator("header").get_by_role("button", name=name).click()


def test_a_studys_own_words_are_shown_as_they_are(chinese: Page, study: SmallStudy) -> None:
    own = {
        "key": "beauty",
        "title": "Beauty",
        "question": "How beautiful?",
        "labels": ["no", "poor", "so so", "good", "yes"],
    }

    def answer(route: Route) -> None:
        place = route.fetch().json()
        if place["step"] == "about":
            place["consent"] = {"consent": [{"tag": "p", "children": ["I take part."]}], "usual": ""}
            place["questions"][0]["options"][0] = "never"
        route.fulfill(json=place | {"scales": [own, *place.get("scales", [])[1:]]})

    chinese.route(re.compile("/listening/(place|start)$"), answer)
    chinese.locator("#me-code").fill(study.codes.pop())
    chinese.keyboard.press("Enter")
    for text in ("I take part.", "What is your musical training?", "never", "student of music"):
        expect(chinese.get_by_text(text, exact=True)).to_be_visible()
    expect(chinese.get_by_text(CHINESE["question.headphones"])).to_be_visible()
    chinese.get_by_label(CHINESE["about.agree"]).check()
    chinese.keyboard.press("Enter")
    chinese.get_by_role("button", name=CHINESE["sound.play"]).click()
    press(chinese, CHINESE["sound.right"])
    press(chinese, CHINESE["practice.go"])
    for text in ("Beauty", "How beautiful?", "poor", "good", CHINESE["scale.textual_alignment.title"]):
        expect(chinese.get_by_text(text, exact=True)).to_be_visible()


def test_next_is_in_reach_on_a_phone(browser: Browser, address: str, study: SmallStudy) -> None:
    with opened(browser, address, viewport={"width": 390, "height": 664}, has_touch=True) as page:
        sign_in(page, study.codes.pop())
        set_up(page)
        press(page, "Start practice")
        title(page, "Practice 1 of 1")
        expect(page.get_by_role("button", name="Next")).to_be_in_viewport(ratio=1)
        expect(page.locator(".me-reason")).to_be_in_viewport(ratio=1)
        page.get_by_label("Comment").focus()  # and it covers nothing that has the focus
        field = page.get_by_label("Comment").bounding_box()
        footer = page.locator(".me-trial footer").bounding_box()
        assert field is not None
        assert footer is not None
        assert field["y"] + field["height"] <= footer["y"]


@pytest.mark.parametrize("script", [NO_SOURCE, NO_PLAY], ids=["no source", "no play"])
def test_where_the_browsers_player_fails_the_clip_is_decoded(
    browser: Browser, address: str, study: SmallStudy, database: Database, script: str
) -> None:
    code = study.codes.pop()
    with opened(browser, address, script, locale="en") as page:
        sign_in(page, code)
        set_up(page)
        press(page, "Start practice")
        expect(page.locator(".me-seek")).to_be_enabled()
        choose(page, IMPRESSION, 3)
        choose(page, ALIGNMENT, 3)
        press(page, "Play")
        expect(page.get_by_role("button", name="Pause", exact=True).last).to_be_visible()
        expect(page.get_by_text("Heard to the end ✓")).to_be_visible()
        expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
        page.locator(".me-seek").focus()
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".me-seek")).to_have_attribute("aria-valuetext", "0:00 of 0:01")
        press(page, "Next")
        title(page, "Practice 1 of 1: the answer")
        press(page, "Play")  # the clip again
        expect(page.locator(".me-trial-player").get_by_role("button", name="Pause")).to_be_visible()
    with database.read() as session:
        mine = select(Rater.id).where(Rater.code_sha256 == hash_code(code)).scalar_subquery()
        response = session.scalars(select(Response).join(Trial).where(Trial.rater_id == mine)).one()
        assert response.heard_s == pytest.approx(CLIP_S, abs=0.3)


def test_where_nothing_plays_the_page_says_so(browser: Browser, address: str, study: SmallStudy) -> None:
    neither = f"{NO_SOURCE} delete window.AudioContext; delete window.webkitAudioContext;"
    with opened(browser, address, neither, locale="en") as page:
        sign_in(page, study.codes.pop())
        page.get_by_label("I agree and take part.").check()
        press(page, "Continue")
        expect(page.get_by_text("This browser cannot play the music.")).to_be_visible()
