"""The pages by the rules of axe-core (WCAG and good practice): no violation on any, wide and narrow, light and dark."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from annotation.database import Database
from core.scorer import Scorer
from core.settings import Settings
from tests.annotation.rooms import Room
from tests.clips import pluck, write_clip
from tests.webapp.conftest import free_port, make_app, running
from tests.webapp.test_kept_browser import FIRST, press, scored
from tests.webapp.test_study_browser import PASSWORD, STUDY, TABS, choose, open_tab
from tests.webapp.test_workbench import finished

pytestmark = pytest.mark.browser


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}")
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    width, scheme = request.param
    viewport = {"width": width, "height": 900}
    with browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True) as context:  # axe is a script
        yield context.new_page()


# What is Gradio's own: the field that searches one of its tables, and the place for files once it holds some.
GRADIOS = ("label-title-only", "nested-interactive: ['button[aria-label=\"common.upload\"]']")


def violations(page: Page) -> list[str]:
    expect(page.locator(".loading")).to_have_count(0)  # Gradio's own, while a part is fetched
    found = Axe().run(page).response["violations"]
    said = [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
    return [one for one in said if not one.startswith(GRADIOS)]


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


def test_several_clips(page: Page, address: str, tmp_path: Path) -> None:
    good, silent = write_clip(tmp_path / "a.wav", pluck(3.0)), write_clip(tmp_path / "b.wav", 0 * pluck(3.0))
    page.goto(f"{address}#several")
    expect(page.get_by_role("button", name="Score all")).to_be_visible()
    page.set_input_files("#files input[type=file]", [good, silent])
    expect(page.locator("#files").get_by_role("link")).to_have_count(2)
    page.get_by_label("Prompt for all").fill(FIRST)
    press(page, "#score-all")
    expect(page.get_by_role("heading", name="1 of 2 rows scored")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize(
    ("place", "shown"), [("#several", "Score all"), ("listening/", "Begin"), ("admin/", "Sign in")], ids=lambda one: one
)
def test_other_pages(page: Page, address: str, place: str, shown: str) -> None:
    page.goto(f"{address}{place}")
    expect(page.get_by_role("heading" if place == "admin/" else "button", name=shown, exact=True)).to_be_visible()
    assert violations(page) == []


@pytest.fixture(scope="module")
def desk(scorer: Scorer, random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a password, a study with ratings and two judges."""
    data = tmp_path_factory.mktemp("desk")
    settings = Settings(port=free_port(), data=data, admin_password=PASSWORD)
    database = Database(settings.database_url)
    room = Room.build(database, clips=8, raters=3, raters_per_clip=2, name=STUDY)
    for number in range(2):
        room.rate_batch(number)
    database.close()
    for name, srcc in (("one", 0.5), ("two", 0.6)):
        finished(data / "models" / name, random_checkpoint, srcc)
    with running(make_app(scorer, settings), settings) as address:
        yield address


def test_the_administrators_pages(page: Page, desk: str) -> None:
    page.goto(f"{desk}admin/")
    page.get_by_label("Administrator’s password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#desk")).to_be_visible()
    choose(page, STUDY)
    found = []
    for tab in (*TABS, "Set up"):
        open_tab(page, tab)
        expect(page.locator(".wrap.generating, .wrap.pending")).to_have_count(0)
        found += [f"{tab}: {one}" for one in violations(page)]
    page.goto(f"{desk}admin/#training")
    expect(page.locator("#runs-table")).to_contain_text("two")
    found += [f"Training: {one}" for one in violations(page)]
    page.goto(f"{desk}admin/#log")
    found += [f"Log: {one}" for one in violations(page)]
    assert not found, "\n".join(found)
