"""Takes the two pictures of the README: a scored clip, and a trial of the listening test. `make screenshots`.

Starts the app on a port of its own with an empty data folder, and drives Chromium (MUSICEVAL_CHROMIUM names it).
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tools.serving import ROOT, served, wait_for

FOLDER = ROOT / "docs" / "images"
MOST_BYTES = 150_000
_COLOURS = 128


def main() -> None:
    """Take both pictures."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as data, served({"MUSICEVAL_DATA": data}) as (address, app), _page() as page:
        wait_for(address, app)
        page.goto(address)
        page.locator("#examples [data-number='1']").click()
        page.locator("#result .me-time").wait_for(timeout=120_000)
        page.evaluate("scrollTo(0, 0)")
        page.wait_for_timeout(1_500)
        _save(page, "score")
        page.goto(f"{address}listening/")
        _to_a_trial(page)
        _save(page, "trial")


def _to_a_trial(page: Page) -> None:
    rater = page.locator("#rater")

    def press(name: str) -> None:
        rater.get_by_role("button", name=name, exact=True).click()

    press("Try the demo")
    page.get_by_label("I agree and take part.").check(timeout=120_000)
    press("Continue")
    press("Play the music")
    press("It sounds right")
    rater.get_by_role("button", name="Begin").or_(rater.get_by_role("button", name="Start")).first.click()
    page.locator(".me-play:visible").wait_for(timeout=30_000)
    page.wait_for_timeout(1_500)


def _save(page: Page, name: str) -> None:
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(_COLOURS)
    path = FOLDER / f"{name}.png"
    picture.save(path, optimize=True)
    size = path.stat().st_size
    if size > MOST_BYTES:
        sys.exit(f"{path.name} has {size:,} bytes; the most is {MOST_BYTES:,}.")
    print(f"{path.relative_to(ROOT)}  {size:,} bytes")


@contextmanager
def _page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        chromium = os.environ.get("MUSICEVAL_CHROMIUM", "/usr/bin/chromium")
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 960}, color_scheme="light")
        page.set_default_timeout(30_000)
        yield page
        browser.close()


if __name__ == "__main__":
    main()
