"""Results at their addresses, in Chromium: Back, Forward, reload, the list of one's own, sharing and deleting."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.clips import pluck, write_clip
from tests.webapp.browsing import open_page, overflow
from tests.webapp.rating_page import until
from tests.webapp.test_browser import score

pytestmark = [
    pytest.mark.browser,
    pytest.mark.parametrize("look", [(1280, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}"),
]
FIRST, SECOND = "A calm guitar line, plucked", "平静的吉他旋律"


@pytest.fixture
def page(browser: Browser, address: str, look: tuple[int, str]) -> Iterator[Page]:
    with open_page(browser, look, address) as opened:
        expect(opened.get_by_role("button", name="Score", exact=True)).to_be_visible()
        yield opened


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "My clip & I.wav", pluck(12.0))


def press(page: Page, selector: str) -> None:
    """By the keyboard."""
    page.locator(selector).focus()
    page.keyboard.press("Enter")


def expect_result(page: Page, clip: Path, prompt: str) -> None:
    expect(page.locator("#result .me-lead")).to_have_text(f"{clip.name} for “{prompt}”")
    expect(page.get_by_label("Prompt")).to_have_value(prompt)
    expect(page.locator("#clip").get_by_role("button", name="Clear")).to_be_visible()
    expect(page.locator("#result .me-stale")).to_be_hidden()


def scored(page: Page, clip: Path, prompt: str) -> str:
    """Score a clip; return the result's address."""
    before = page.url
    score(page, clip, prompt)
    page.wait_for_function(f"location.href !== {json.dumps(before)}")
    expect_result(page, clip, prompt)
    return page.url


def test_back_forward_and_reload_lose_nothing(page: Page, clip: Path, tmp_path: Path, address: str) -> None:
    other = write_clip(tmp_path / "other.wav", pluck(2.0))
    first = scored(page, clip, FIRST)
    page.locator("#clip").get_by_role("button", name="Clear").click()
    second = scored(page, other, SECOND)
    assert first != second
    page.go_back()
    expect_result(page, clip, FIRST)
    assert page.url == first
    page.go_back()
    expect(page.locator("#result")).to_contain_text("Two scores will stand here")
    assert page.url == address
    page.go_forward()
    page.go_forward()
    expect_result(page, other, SECOND)
    page.reload()
    expect_result(page, other, SECOND)
    assert overflow(page) == 0


def test_a_result_is_opened_from_the_list_and_deleted_there(page: Page, clip: Path) -> None:
    first = scored(page, clip, FIRST)
    page.goto(first.partition("?")[0])
    press(page, "#history summary")
    expect(page.locator("#history li")).to_have_count(1)
    expect(page.locator("#history li")).to_contain_text("Musical impression")
    assert overflow(page) == 0
    press(page, "#history [data-open]")
    expect_result(page, clip, FIRST)
    assert page.url == first
    press(page, "#history [data-forget]")
    expect(page.locator("#result")).to_contain_text("Two scores will stand here")
    expect(page.locator("#history .me-history")).to_be_hidden()
    page.goto(first)
    expect(page.locator("#result")).to_contain_text("This result is not kept here any more")


def test_whoever_has_the_address_sees_the_result_until_it_is_deleted(
    page: Page, clip: Path, browser: Browser, look: tuple[int, str]
) -> None:
    shared = scored(page, clip, FIRST)
    with browser.new_context(viewport={"width": look[0], "height": 900}) as elsewhere:
        visitor = elsewhere.new_page()
        visitor.goto(shared.partition("?")[0])
        expect(visitor.get_by_role("button", name="Score", exact=True)).to_be_visible()
        expect(visitor.locator("#history .me-history")).to_be_hidden()
        visitor.goto(shared)
        expect_result(visitor, clip, FIRST)
        press(page, "#result [data-forget]")
        expect(page.locator("#result")).to_contain_text("Two scores will stand here")
        visitor.reload()
        expect(visitor.locator("#result")).to_contain_text("This result is not kept here any more")


def test_a_result_is_saved_as_a_picture(page: Page, clip: Path, tmp_path: Path) -> None:
    scored(page, clip, SECOND)
    with page.expect_download() as download:
        press(page, "#result [data-card]")
    assert download.value.suggested_filename == "My clip & I.score.png"
    download.value.save_as(tmp_path / "card.png")
    with Image.open(tmp_path / "card.png") as card:
        assert card.size == (1200, 630)
        assert len(card.convert("RGB").getcolors(1 << 20)) > 20  # drawn, and not one colour


def test_the_address_can_carry_a_prompt(page: Page, address: str) -> None:
    page.goto(f"{address}?prompt=A%20slow%20%22waltz%22%20%3Cb%3E")
    expect(page.get_by_label("Prompt")).to_have_value('A slow "waltz" <b>')


def test_clips_stand_side_by_side_and_one_is_heard(page: Page, clip: Path, tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.wav", pluck(6.0))
    scored(page, clip, FIRST)
    page.locator("#clip").get_by_role("button", name="Clear").click()
    scored(page, other, FIRST)
    press(page, "#history summary")
    compare = page.locator("#history [data-compare]")
    page.get_by_label(f"Compare {clip.name}").check()
    expect(compare).to_be_disabled()
    page.get_by_label(f"Compare {other.name}").check()
    press(page, "#history [data-compare]")
    lanes = page.locator("#compared .me-lane")
    expect(lanes).to_have_count(2)
    expect(page.get_by_role("table", name="Musical impression").get_by_role("row")).to_have_count(3)
    expect(page.locator("#compared")).to_contain_text("Chance: how likely")
    assert overflow(page) == 0
    press(page, "#compared .me-play")
    until(page, "document.querySelectorAll('#compared audio')[0].currentTime > 0.2")
    page.keyboard.press("2")
    expect(lanes.nth(1).locator("button")).to_have_attribute("aria-pressed", "true")
    until(page, "!document.querySelectorAll('#compared audio')[1].paused")
    first, second = page.evaluate("[...document.querySelectorAll('#compared audio')].map((one) => one.currentTime)")
    assert second > first - 0.001  # set to a microsecond
    assert first > 0.2
    assert page.evaluate("document.querySelector('#compared audio').paused")
    page.reload()
    expect(lanes).to_have_count(2)
    page.go_back()
    expect(lanes).to_have_count(0)
    page.go_forward()
    expect(lanes).to_have_count(2)
    press(page, "#compared [data-close]")
    expect(lanes).to_have_count(0)
