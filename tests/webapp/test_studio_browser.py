"""A study's whole life from the page Studies, in Chromium and without a shell."""

import csv
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from playwright.sync_api import Browser, Locator, Page, expect

from core.scorer import Scorer
from core.settings import Settings
from tests.clips import pluck
from tests.webapp import rating_page as rater
from tests.webapp.browsing import open_page, overflow
from tests.webapp.conftest import free_port, make_app, running

pytestmark = pytest.mark.browser

RATERS = (1000, "light")  # a browser of its own: whoever closes a page forgets its cookies
PASSWORD = "correct horse battery staple"
RULES = {
    "Batches": {"Raters per clip": "1", "Batch size": "2", "Training": "1"},
    "Hidden checks": {"Anchors": "1", "Duplicates": "0"},
}


@pytest.fixture(scope="module")
def address(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without any study."""
    settings = Settings(port=free_port(), data=tmp_path_factory.mktemp("studio"), admin_password=PASSWORD)
    with running(make_app(scorer, settings), settings) as one:
        yield one


@pytest.fixture
def material(tmp_path: Path) -> tuple[Path, Path]:
    """A clip list and a ZIP: three clips, an anchor, practice; one silent, one inverted, one in two roles."""
    sound = pluck(1.0)
    sounds = {
        f"{name}.wav": np.roll(sound, 1000 * number) for number, name in enumerate(("a", "b", "anchor", "practice"))
    }
    sounds |= {"silent.wav": 0 * sound, "inverted.wav": np.stack([sound, -sound], 1)}
    rows = [(name, f"Prompt of {name}", "S1", kind, "") for name, kind in zip(sounds, ["", "", "anchor"], strict=False)]
    rows += [("practice.wav", "A practice prompt", "S1", "practice", "It is in tune.")]
    rows += [(name, "Another prompt", "S2", "", "") for name in ("silent.wav", "inverted.wav")]
    rows += [("a.wav", "In two roles", "human", "anchor", "")]
    with (tmp_path / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("file", "prompt", "system", "kind", "explanation"), *rows])
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        for name, samples in sounds.items():
            soundfile.write(tmp_path / name, samples, 16_000)
            archive.write(tmp_path / name, name)
    return tmp_path / "clips.csv", tmp_path / "clips.zip"


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def open_tab(page: Page, name: str) -> None:
    page.locator("#desk").get_by_role("tab", name=name).click()


def unfold(page: Page, *names: str) -> None:
    for name in names:
        page.locator("button.label-wrap:visible", has_text=re.compile(f"^{name}")).click()


def field(page: Page, label: str) -> Locator:
    """The visible field of a label, whatever stands below the label."""
    named = page.locator("span[data-testid=block-info]:visible", has_text=re.compile(rf"^\s*{label}\s*$"))
    return page.locator("label:visible, .block:visible", has=named).last.locator("input, textarea").first


def create(page: Page) -> None:
    unfold(page, "New study")
    field(page, "Name").fill("autumn")
    field(page, "Title").fill("Autumn <b>listening</b>")
    field(page, "Contact").fill("ada@example.org")
    for part, rules in RULES.items():
        unfold(page, part)
        for label, value in rules.items():
            field(page, label).fill(value)
    expect(page.get_by_text("by chance a good rater fails")).to_be_visible()
    unfold(page, "Plan it")
    for label, value in {"Clips to rate": "8", "Systems": "2", "Raters": "3", "Anchors in all": "4"}.items():
        field(page, label).fill(value)
    press(page, "Simulate the study")
    expect(page.locator("#planned")).to_contain_text("3 raters: ", timeout=60_000)
    press(page, "Create the draft")
    expect(page.get_by_text("The draft autumn is made.")).to_be_visible()
    expect(page.get_by_label("Study", exact=True)).to_have_value("autumn")


def fill(page: Page, clip_list: Path, archive: Path) -> None:
    open_tab(page, "Clips")
    unfold(page, "Add clips")
    for label, file in (("Audio files, or a ZIP", archive), ("Clip list (CSV)", clip_list)):
        named = page.locator("#desk .block:visible", has=page.get_by_text(label, exact=True))
        named.last.locator("input[type=file]").set_input_files(file)
        expect(page.get_by_text(file.stem).and_(page.locator(":visible")).first).to_be_visible()
    press(page, "Add and hear them")
    report = page.get_by_role("list", name="Report")
    for found in (
        'a.wav" is a clip to rate of this study already',
        "Silent: silent.wav",
        "cancel each other: inverted.wav",
    ):
        expect(report).to_contain_text(found, timeout=60_000)
    expect(page.locator("#desk").get_by_role("gridcell", name="inverted.wav").first).to_be_visible()


def retire(page: Page, file: str) -> None:
    page.get_by_label("Clip", exact=True).click()
    page.get_by_role("option", name=re.compile(f"^{re.escape(file)}")).click()
    expect(page.locator("audio.me-heard")).to_be_attached()
    page.get_by_label("Reason, for the log").first.fill(f"{file} is damaged.")
    press(page, "Retire")
    row = page.locator("#desk").get_by_role("row").filter(has=page.get_by_role("gridcell", name=file))
    expect(row.first).to_contain_text("retired")


def test_a_study_lives_and_ends_without_a_shell(
    browser: Browser, address: str, material: tuple[Path, Path], look: tuple[int, str]
) -> None:
    with open_page(browser, look, f"{address}admin/") as page:
        page.get_by_label("Administrator’s password").fill(PASSWORD)
        press(page, "Sign in")
        create(page)
        fill(page, *material)
        for file in ("silent.wav", "inverted.wav"):
            retire(page, file)
        open_tab(page, "Set up")
        expect(page.get_by_text("A draft: no rater can work in it")).to_be_visible()
        press(page, "Make a preview")
        preview = page.get_by_role("link", name="Open the preview").get_attribute("href")
        press(page, "Open")
        expect(page.get_by_text("Open: whoever is invited can rate.")).to_be_visible()
        open_tab(page, "Progress")
        page.get_by_label("Notes").fill("Grace, piano")
        press(page, "Invite")
        link = page.locator(".me-codes code").inner_text()
        assert overflow(page) == 0
        with open_page(browser, RATERS, f"{address}admin/{preview}") as seen:
            rater.press(seen, "Begin")
            expect(seen.get_by_text("Nothing that you answer is kept.")).to_be_visible()
            expect(seen.get_by_text("Autumn <b>listening</b>")).to_be_visible()
        with open_page(browser, RATERS, link) as listening:
            rater.press(listening, "Begin")
            rater.set_up(listening)
            for start, trials in (("Start practice", 1), ("Start", 3)):
                rater.press(listening, start)
                for number in range(trials):
                    rater.decide(listening, 4, 4)
                    rater.press(listening, "Next")
                    if start == "Start practice":
                        rater.press(listening, "Next")
                    elif number + 1 < trials:
                        expect(listening.get_by_text(f"Clip {number + 2} of {trials}")).to_be_visible()
            rater.title(listening, "Done. Thank you!")
            press(page, "Refresh")
            expect(page.get_by_role("progressbar", name="Ratings")).to_have_attribute("aria-valuenow", "2")
            open_tab(page, "Set up")
            press(page, "Close")
            expect(page.get_by_text("Closed: raters are told that it has ended.")).to_be_visible()
            listening.reload()
            rater.title(listening, "This listening test has ended")
        press(page, "Archive")
        expect(page.get_by_text("Archived: it stays as it is.")).to_be_visible()
        unfold(page, "Delete")
        page.get_by_label("Type the name of the study").fill("autumn")
        press(page, "Delete")
        expect(page.get_by_text("There is no study yet")).to_be_visible()
