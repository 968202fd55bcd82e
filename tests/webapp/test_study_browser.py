"""The page Studies as an administrator meets it, in Chromium: from the figures to the download."""

import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from annotation.database import Database
from core.scorer import Scorer
from core.settings import Settings
from tests.annotation.rooms import Room, deaf
from tests.webapp.browsing import open_page, overflow
from tests.webapp.conftest import free_port, make_app, running
from tests.webapp.studies import make_study

pytestmark = pytest.mark.browser

STUDY, LIVE = "quiet-hall", "live-hall"
PASSWORD = "correct horse battery staple"
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
TABS = ("Progress", "Raters", "Clips", "Results", "Screening", "Reliability")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(scope="module")
def desk(scorer: Scorer, data: Path) -> Iterator[str]:
    """The address of a server with a password, and two studies: one with ratings, one with files."""
    settings = Settings(port=free_port(), data=data, admin_password=PASSWORD)
    database = Database(settings.database_url)
    room = Room.build(database, clips=8, raters=3, raters_per_clip=2, name=STUDY)
    for number in range(2):
        room.rate_batch(number)
    make_study(database, data, stimuli=2, raters=1)
    with running(make_app(scorer, settings), settings) as address:
        yield address
    database.close()


@pytest.fixture(scope="module")
def rooms(desk: str, data: Path) -> Iterator[Room]:
    """A study of that server in which raters are at work."""
    database = Database(Settings(data=data).database_url)
    room = Room.build(database, clips=40, raters=3, raters_per_clip=2, name=LIVE)
    room.at = datetime.now(UTC) - timedelta(hours=1)
    yield room
    database.close()


@pytest.fixture
def page(browser: Browser, desk: str, look: tuple[int, str]) -> Iterator[Page]:
    """The page Studies, as who signed in finds it. Whatever a test does, the page logs no error."""
    with open_page(browser, look, f"{desk}admin/") as opened:
        opened.get_by_label("Administrator’s password").fill(PASSWORD)
        opened.get_by_role("button", name="Sign in").click()
        expect(opened.locator("#desk")).to_be_visible()
        yield opened


def choose(page: Page, study: str) -> None:
    page.get_by_label("Study", exact=True).click()
    page.get_by_role("option", name=study, exact=True).click()
    expect(page.locator("#desk .me-announce")).to_contain_text(f"{study}: ")


def open_tab(page: Page, name: str) -> None:
    """On a narrow screen the last ones stand in a menu."""
    desk = page.locator("#desk")
    tab = desk.get_by_role("tab", name=name)
    if not tab.is_visible():
        desk.locator(".overflow-menu > button").click()
        tab = desk.locator(".overflow-dropdown button", has_text=name)
    tab.click()


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]} {look[1]}")
def test_each_view_fits_the_screen(page: Page) -> None:
    choose(page, STUDY)
    shown = {
        "Progress": "not signed in yet",
        "Raters": "for payment",
        "Clips": "Add clips",
        "Results": "Systems: MOS",
        "Screening": "Nothing was excluded so far.",
        "Reliability": "Krippendorff’s alpha, ordinal kind",
    }
    for name in TABS:
        open_tab(page, name)
        expect(page.get_by_text(shown[name]).locator("visible=true").first).to_be_visible()
        assert overflow(page) == 0, name


def test_a_change_is_seen_before_it_is_made_and_can_be_undone(page: Page) -> None:
    choose(page, STUDY)
    ratings = page.get_by_role("progressbar", name="Ratings")
    expect(ratings).to_have_attribute("aria-valuenow", "8")
    open_tab(page, "Screening")
    page.get_by_label("Batch or rater").click()
    page.get_by_role("option", name="Exclude batch 1 of R02").click()
    page.get_by_role("button", name="Show the effect").click()
    expect(page.get_by_text("Valid ratings: 8 before, 4 after. Nothing is changed yet.")).to_be_visible()
    confirm = page.get_by_role("button", name="Exclude batch 1 of R02")
    confirm.click()
    expect(page.get_by_text("needs a reason")).to_be_visible()
    page.get_by_label("Reason, for the log").fill("A <b>cold</b>.")
    confirm.click()
    expect(page.get_by_text("Done: Exclude batch 1 of R02.")).to_be_visible()
    expect(ratings).to_have_attribute("aria-valuenow", "4")
    expect(page.get_by_role("cell", name="A <b>cold</b>.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Undone: Exclude batch 1 of R02.")).to_be_visible()
    expect(ratings).to_have_attribute("aria-valuenow", "8")


def test_codes_and_exports_are_given_out(page: Page, tmp_path: Path) -> None:
    study = page.get_by_label("Study", exact=True).input_value()
    page.get_by_label("New raters").fill("2")
    page.get_by_role("button", name="Invite").click()
    codes = page.get_by_role("table", name="Codes, shown only now")
    expect(codes).to_have_text(re.compile(r"R02\S{14}\s*R03\S{14}\s*$"))
    raters = page.get_by_role("table", name="Raters")
    expect(raters.get_by_role("row", name="R03")).to_contain_text("not signed in yet")
    open_tab(page, "Results")
    page.get_by_role("button", name="Train from this study").click()
    expect(page.get_by_text("has a valid rating yet")).to_be_visible()
    page.get_by_role("button", name="Prepare the export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name=".zip").click()
    download.value.save_as(tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert any(name.startswith(study) and name.endswith("ratings.csv") for name in archive.namelist())


@pytest.mark.parametrize("look", [(1280, "light")], ids=["wide"])
def test_the_page_follows_the_raters_and_leaves_what_is_typed(page: Page, rooms: Room) -> None:
    choose(page, LIVE)
    ratings = page.get_by_role("progressbar", name="Ratings")
    expect(ratings).to_have_attribute("aria-valuenow", "0")
    page.get_by_label("Notes").fill("A name, half typed")
    rooms.answers[0] = deaf
    rooms.rate_batch(1)
    for _ in range(6):
        rooms.rate_batch(0)
    alarms = page.get_by_role("alert", name="Alarms")
    expect(alarms).to_have_text("R01 is paused: 6 of the last 6 batches failed.", timeout=20_000)
    expect(ratings).to_have_attribute("aria-valuenow", "4")
    expect(page.get_by_label("Notes")).to_have_value("A name, half typed")


@pytest.mark.parametrize("look", [(1280, "light")], ids=["wide"])
def test_a_rater_is_let_go_on_from_the_row(page: Page, rooms: Room) -> None:
    choose(page, LIVE)
    open_tab(page, "Raters")
    desk = page.locator("#desk")
    desk.get_by_role("gridcell", name="R01").click()
    expect(page.get_by_text("This rater is paused and gets no batch.")).to_be_visible()
    page.get_by_label("Reason, for the log").locator("visible=true").fill("We spoke.")
    page.get_by_role("button", name="Let this rater go on").click()
    expect(page.get_by_text("This rater is paused and gets no batch.")).to_be_hidden()
    expect(page.get_by_role("button", name="Pause this rater")).to_be_visible()
    expect(page.get_by_role("heading", name="R01")).to_be_visible()
    expect(page.get_by_role("alert", name="Alarms")).to_be_hidden()
    open_tab(page, "Clips")
    desk.get_by_role("gridcell", name=f"{LIVE}-anchor-42").click()
    expect(page.get_by_role("table", name="Ratings, the latest first")).to_be_visible()
