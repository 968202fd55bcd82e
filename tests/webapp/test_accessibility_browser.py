"""The pages by the rules of axe-core (WCAG and good practice): no violation on any, wide and narrow, light and dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.clips import pluck, write_clip
from tests.webapp.test_kept_browser import FIRST, press, scored

pytestmark = pytest.mark.browser


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}")
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    width, scheme = request.param
    viewport = {"width": width, "height": 900}
    with browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True) as context:  # axe is a script
        yield context.new_page()


def violations(page: Page) -> list[str]:
    expect(page.locator(".loading")).to_have_count(0)  # Gradio's own, while a part is fetched
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]


def test_scoring(page: Page, address: str, tmp_path: Path) -> None:
    page.goto(address)
    expect(page.locator("#result")).to_contain_text("Two scores will stand here")
    expect(page.locator("#examples button").first).to_be_visible()
    assert violations(page) == []
    for name in ("a.wav", "b.wav"):
        if page.url != address:
            page.locator("#clip").get_by_role("button", name="Clear").click()
        scored(page, write_clip(tmp_path / name, pluck(3.0)), FIRST)
    press(page, "#result summary")
    press(page, "#history summary")
    assert violations(page) == []
    for tick in page.locator("#history input").all():
        tick.check()
    press(page, "#history [data-compare]")
    expect(page.locator(".me-lane")).to_have_count(2)
    assert violations(page) == []


@pytest.mark.parametrize(
    ("place", "shown"), [("#several", "Score all"), ("listening/", "Begin"), ("admin/", "Sign in")], ids=lambda one: one
)
def test_other_pages(page: Page, address: str, place: str, shown: str) -> None:
    page.goto(f"{address}{place}")
    expect(page.get_by_role("heading" if place == "admin/" else "button", name=shown, exact=True)).to_be_visible()
    assert violations(page) == []
