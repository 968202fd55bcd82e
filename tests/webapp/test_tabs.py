"""Each tab has an address, on a window that shows all tabs and on one that keeps some of them in a menu."""

import pytest
from playwright.sync_api import Browser, expect

from webapp import TABS

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1280, 390])
def test_every_tab_opens_by_its_address(browser: Browser, address: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800})
    for name in list(TABS)[1:]:
        page.goto("about:blank")
        page.goto(f"{address}#{name}")
        expect(page.locator(f"#{name}-tab")).to_be_visible()
    page.goto(address)
    menu = page.locator(".overflow-menu > button")
    expect(menu).to_be_visible(visible=width == 390)
    for name in reversed(list(TABS)[1:]):
        page.evaluate("name => { location.hash = name; }", name)
        expect(page.locator(f"#{name}-tab")).to_be_visible()
        assert page.evaluate("location.hash") == f"#{name}"
    page.close()
