"""Judges by name and the workbench in Chromium, by keyboard: the administrator's page, and a visitor's choice."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from core.scorer import Scorer
from core.settings import Settings
from tests.rated import write_rated
from tests.webapp.browsing import open_page, overflow
from tests.webapp.conftest import free_port, make_app, running
from tests.webapp.test_workbench import finished

pytestmark = pytest.mark.browser

PASSWORD = "correct horse battery"
LOOKS = [(1280, "light"), (390, "dark")]


@pytest.fixture
def server(scorer: Scorer, random_checkpoint: Path, tmp_path: Path) -> Iterator[str]:
    """With two judges that were trained here."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            patch.delenv(name)
        for name, srcc in (("one", 0.5), ("two", 0.6)):
            finished(tmp_path / "data" / "models" / name, random_checkpoint, srcc)
        settings = Settings(port=free_port(), data=tmp_path / "data", admin_password=PASSWORD)
        with running(make_app(scorer, settings), settings) as address:
            yield address


def press(part: Locator, key: str = "Enter") -> None:
    """Go to a part with the keyboard's focus, and press a key."""
    part.focus()
    part.press(key)


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_by_keyboard(browser: Browser, server: str, look: tuple[int, str], tmp_path: Path) -> None:
    with open_page(browser, look) as page:
        page.goto(f"{server}admin/#training")
        page.get_by_label("Administrator’s password").fill(PASSWORD)
        press(page.get_by_role("button", name="Sign in"))
        _rename(page)
        _delete_and_bring_back(page)
        _look_at_runs(page)
        _look_at_data(page, tmp_path)
        assert overflow(page) == 0
        page.goto(f"{server}?judge=autumn%20panel")
        judge = page.locator("#model input")
        expect(judge).to_have_value("Autumn panel")
        expect(page.locator("#model-note")).to_contain_text("It learned from d, 9 clips.")
        press(page.locator("#examples button").first)
        expect(page.locator("#clip #duration")).to_have_text("0:16")
        press(page.get_by_role("button", name="Score", exact=True))
        expect(page.locator("#result")).to_contain_text("Scored by Autumn panel (random, ", timeout=60_000)
        assert overflow(page) == 0


def _rename(page: Page) -> None:
    heading = page.locator("#judge-card h2")
    expect(page.locator("#models li", has_text="two")).to_contain_text("selected")  # the newest
    for name in ("one", "two"):
        press(page.locator("#models li", has_text=name).get_by_role("button", name="Select"))
        expect(heading).to_have_text(name)
    press(page.get_by_role("button", name="Title and note"))
    title = page.locator("#judge-about").get_by_role("textbox", name="Title")
    expect(title).to_have_value("two")  # who types before the field is filled in is typed over
    title.fill("Autumn panel")
    press(page.get_by_role("button", name="Save title and note"))
    expect(heading).to_have_text("Autumn panel")
    press(page.get_by_role("button", name="Offer to visitors"))
    expect(page.get_by_role("button", name="Withhold from visitors")).to_be_visible()


def _delete_and_bring_back(page: Page) -> None:
    press(page.locator("#judge-card summary", has_text="Delete…"))
    press(page.get_by_role("button", name="Delete this judge"))
    expect(page.locator("#judge-card h2")).to_have_text("one")
    press(page.get_by_role("button", name="Bring back the judge"))
    expect(page.locator("#judge-card h2")).to_have_text("Autumn panel")


def _look_at_runs(page: Page) -> None:
    expect(page.locator("#runs-table")).to_contain_text("To beat: prompt alone")
    expect(page.locator("#runs-table")).to_contain_text("It overfits after epoch 2")
    expect(page.locator("#runs-curves figure")).to_have_count(4)
    expect(page.locator("#runs-curves circle")).to_have_count(8)
    press(page.locator("#runs-chosen input").first, "Space")
    expect(page.locator("#runs-curves circle")).to_have_count(4)


def _look_at_data(page: Page, tmp_path: Path) -> None:
    folder = page.get_by_label("Folder or CSV file")
    folder.fill(str(write_rated(tmp_path / "rated", clips=24)))
    press(page.get_by_role("button", name="Check the data"))
    expect(page.locator("#training-doubts")).to_contain_text("What to know before")
    press(page.get_by_role("button", name="Fields of the recipe, and why"))
    expect(page.locator("#recipe-fields")).to_contain_text("Against learning a small panel by heart.")
    shutil.rmtree(tmp_path / "rated")
