"""What a rater does on the page, for tests in a browser."""

import re
import time

from playwright.sync_api import Page, expect

CLIP_S = 1.0  # clips that are played take as long
IMPRESSION, ALIGNMENT = "Musical impression", "Textual alignment"


def title(page: Page, text: str | re.Pattern[str]) -> None:
    expect(page.locator(".me-stage h2:visible")).to_have_text(text)


def press(page: Page, name: str) -> None:
    page.locator("#rater").get_by_role("button", name=name, exact=True).click()


def sign_in(page: Page, code: str) -> None:
    page.get_by_label("Access code").fill(code)
    press(page, "Begin")


def set_up(page: Page) -> None:
    """Answer the questions and set the volume."""
    title(page, "About you")
    page.get_by_label("I agree and take part.").check()
    page.get_by_label("student of music").check()
    press(page, "Continue")
    title(page, "Sound check")
    expect(page.get_by_role("button", name="It sounds right")).to_be_disabled()
    press(page, "Play the music")
    press(page, "It sounds right")


_NOTE_THE_END = """(button) => {
  window.heardToTheEnd = false;
  const audio = button.closest(".me-trial-player").querySelector("audio");
  audio.addEventListener("ended", () => { window.heardToTheEnd = true; }, {once: true});
}"""


def until(page: Page, true: str) -> None:
    """Wait for an expression; the page's own policy refuses Playwright's way, which makes a function from text."""
    deadline_s = time.monotonic() + 60
    while not page.evaluate(true):
        assert time.monotonic() < deadline_s, true
        page.wait_for_timeout(50)


def hear(page: Page) -> None:
    """Play the clip to its end."""
    expect(page.locator(".me-seek:visible")).to_be_enabled()  # it is loaded
    play = page.locator(".me-play:visible")
    play.evaluate(_NOTE_THE_END)  # what is left may be too short to be seen playing
    play.click()
    until(page, "window.heardToTheEnd === true")
    expect(play).to_have_attribute("aria-label", "Play")


def choose(page: Page, scale: str, point: int) -> None:
    page.get_by_role("group", name=scale).get_by_role("radio").nth(point - 1).check()


def decide(page: Page, impression: int = 3, alignment: int = 4) -> None:
    """Hear the clip and choose, with the mouse."""
    hear(page)
    choose(page, IMPRESSION, impression)
    choose(page, ALIGNMENT, alignment)


def rate(page: Page, impression: int = 3, alignment: int = 4) -> None:
    decide(page, impression, alignment)
    expect(page.get_by_text("Heard to the end ✓")).to_be_visible()
    press(page, "Next")
    expect(page.get_by_text("Saved ✓")).to_be_visible()


def rate_by_keyboard(page: Page, impression: int = 4, alignment: int = 3) -> None:
    """With keys alone: play, a digit, Tab to the other scale, a digit, Enter."""
    expect(page.locator(".me-seek")).to_be_enabled()
    page.keyboard.press("Space")
    page.keyboard.press(str(impression))
    page.keyboard.press("Tab")
    expect(page.get_by_role("group", name=ALIGNMENT)).to_have_class(re.compile("me-framed"))
    page.keyboard.press(str(alignment))
    expect(page.get_by_text("Heard to the end ✓")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Saved ✓")).to_be_visible()
