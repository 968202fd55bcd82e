"""A study's whole life from the page Studies, in Chromium, without a shell: real clips, raters, results, training."""

import csv
import re
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
import soundfile
from playwright.sync_api import Browser, Locator, Page, expect

from core.scorer import Scorer
from core.settings import Settings
from tests.webapp import rating_page as rater
from tests.webapp.browsing import open_page, overflow
from tests.webapp.conftest import free_port, make_app, running
from tests.webapp.studies import RemoteRater

pytestmark = [pytest.mark.browser, pytest.mark.reference]

RATERS = (1000, "light")  # a browser of its own: whoever closes a page forgets its cookies
PASSWORD = "correct horse battery staple"
RULES = {
    "Batches": {"Raters per clip": "2", "Batch size": "2", "Training": "1"},
    "Hidden checks": {"Anchors": "1", "Duplicates": "0"},
    # Two batches that fail are enough, so that the test is short.
    "Raters": {"Pause honest": "0.05", "Pause careless": "0.95", "Pause wrongly": "0.01"},
    "Sound": {"Excerpt start s": "3", "Excerpt length s": "1"},
}
SILENT, INVERTED, LATER = "specgen_0_0.flac", "specgen_12_10.flac", "wavegen_64_10.flac"
TWICE = "specgen_12_0.flac"
CORRECTED, PROMPT = "wavegen_43_0.flac", "Dance-pop with a male voice that repeats its melody"
ANCHORS = ("hungarian_dance_5.ogg", "lets_go_fishin.ogg", "sugar_plum_fairy.ogg")
PRACTICE, HUMAN = "vibe_ace.ogg", "Human-made music"
HEADS = ("file", "prompt", "system", "kind", "explanation")


@pytest.fixture(scope="module")
def address(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without any study."""
    settings = Settings(port=free_port(), data=tmp_path_factory.mktemp("studio"), admin_password=PASSWORD)
    with running(make_app(scorer, settings), settings) as one:
        yield one


@pytest.fixture
def material(reference_data: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two clip lists, and a ZIP of real clips: one silent where it is heard, one inverted, one in two roles."""
    audio = reference_data / "audio"
    sounds = {path.name: path for path in audio.rglob("*.*") if path.suffix in (".flac", ".ogg")}
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:

        def pack(name: str, source: str, begin_s: int) -> None:
            rate_hz = soundfile.info(sounds[source]).samplerate
            samples, _ = soundfile.read(sounds[source], 8 * rate_hz, begin_s * rate_hz, dtype="float32")
            if name == SILENT:
                samples[2 * rate_hz : 5 * rate_hz] = 0
            if name == INVERTED:
                samples = np.stack([samples, -samples], 1)
            soundfile.write(tmp_path / name, samples, rate_hz)
            archive.write(tmp_path / name, name)

        rows = []
        for clip in pd.read_csv(audio / "ttm" / "manifest.csv").itertuples():
            for begin_s in (0, 10):  # two clips of each: so many that a judge can be trained
                name = f"{Path(clip.file).stem}_{begin_s}.flac"
                pack(name, clip.file, begin_s)
                rows.append((name, clip.prompt, clip.system, "", ""))
        for name in (*ANCHORS, PRACTICE):
            pack(name, name, 0)
    rows += [(name, f"{HUMAN}, {name}", "human", "anchor", "") for name in ANCHORS]
    rows += [(PRACTICE, "Vibraphone and brushes", "human", "practice", "It swings, and it is in tune.")]
    rows += [(TWICE, "In two roles", "human", "anchor", "")]
    later = [row for row in rows if row[0] == LATER]
    now = [row for row in rows if row[0] != LATER]
    return _write(tmp_path / "now.csv", now), _write(tmp_path / "later.csv", later), tmp_path / "clips.zip"


def _write(path: Path, rows: Sequence[tuple[str, ...]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADS, *rows])
    return path


def work(address: str, link: str, strict: int) -> str:
    """Rate all that there is for the rater of a link, as the page would; return why it ended."""
    _, code = link.split("#")
    with httpx.Client(base_url=address, timeout=60) as client:
        one = RemoteRater(client, code)
        while (place := one.place())["step"] != "done" or place["message"] == "wait":
            task = place["task"] or one.begin()
            while task:
                one.hear(task).raise_for_status()
                heard = 5 if task["prompt"].startswith(HUMAN) else 1 + len(task["prompt"]) % 4
                fits = 2 + len(task["prompt"].split()) % 4
                answered = one.rate(task, max(heard - strict, 1), fits - strict).raise_for_status()
                task = answered.json()["place"]["task"]
        return str(place["message"])


def rate_carelessly(page: Page, link: str) -> None:
    """Practise, and answer 1 to everything, until the page thanks and asks to wait."""
    page.goto(link)
    rater.press(page, "Begin")
    rater.set_up(page)
    for batch, (start, trials) in enumerate((("Start practice", 1), ("Start", 3), ("Go on", 3))):
        rater.press(page, start)
        for number in range(trials):
            rater.decide(page, 1, 1)
            rater.press(page, "Next")
            if not batch:
                rater.press(page, "Next")
            elif number + 1 < trials:
                expect(page.get_by_text(f"Clip {number + 2} of {trials}")).to_be_visible()
    rater.title(page, "A pause for now")


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


def fill(page: Page, clip_list: Path, archive: Path, *found: str) -> None:
    """Add the clips of a list; the report is to say what is wrong."""
    for label, file in (("Audio files, or a ZIP", archive), ("Clip list (CSV)", clip_list)):
        named = page.locator("#desk .block:visible", has=page.get_by_text(label, exact=True))
        named.last.locator("input[type=file]").set_input_files(file)
        expect(page.get_by_text(file.stem).and_(page.locator(":visible")).first).to_be_visible()
    press(page, "Add and hear them")
    for sentence in found:
        expect(page.get_by_text(sentence)).to_be_visible(timeout=60_000)


def choose_clip(page: Page, file: str, reason: str) -> None:
    page.get_by_label("Clip", exact=True).click()
    page.get_by_role("option", name=re.compile(f"^{re.escape(file)}")).first.click()
    expect(page.locator("audio.me-heard")).to_be_attached()
    page.get_by_label("Reason, for the log").and_(page.locator(":visible")).fill(reason)


def row_of(page: Page, cell: str) -> Locator:
    return page.locator("#desk").get_by_role("row").filter(has=page.get_by_role("gridcell", name=cell)).first


def retire(page: Page, file: str) -> None:
    choose_clip(page, file, f"{file} is damaged.")
    press(page, "Retire")
    expect(row_of(page, file)).to_contain_text("retired")


def correct(page: Page, file: str, prompt: str) -> None:
    choose_clip(page, file, "The prompt had an error.")
    page.get_by_label("Another prompt").fill(prompt)
    press(page, "Give this prompt")
    expect(page.get_by_text("The clip has another prompt.")).to_be_visible()


def train(page: Page) -> None:
    """Train on the study's ratings, until the run is done."""
    press(page, "Train from this study")
    expect(page.get_by_text(re.compile("^The run .* has begun"))).to_be_visible(timeout=60_000)
    page.get_by_role("tab", name="Training", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("is trained$"))).to_be_visible(timeout=240_000)
    page.get_by_role("tab", name="Studies", exact=True).click()


def report_of(page: Page, folder: Path) -> str:
    press(page, "Prepare the export")
    with page.expect_download() as download:
        page.get_by_role("link", name="The report").click()
    download.value.save_as(folder / "report.html")
    return (folder / "report.html").read_text()


def test_a_study_lives_and_ends_without_a_shell(
    browser: Browser, address: str, material: tuple[Path, Path, Path], look: tuple[int, str], tmp_path: Path
) -> None:
    clips, later, archive = material
    with open_page(browser, look, f"{address}admin/") as page:
        page.get_by_label("Administrator’s password").fill(PASSWORD)
        press(page, "Sign in")
        create(page)
        open_tab(page, "Clips")
        unfold(page, "Add clips")
        two_roles = f'{TWICE}" is a clip to rate of this study already'
        fill(page, clips, archive, two_roles, f"Silent: {SILENT}", f"cancel each other: {INVERTED}")
        for file in (SILENT, INVERTED):
            retire(page, file)
        open_tab(page, "Set up")
        expect(page.get_by_text("A draft: no rater can work in it")).to_be_visible()
        press(page, "Make a preview")
        preview = page.get_by_role("link", name="Open the preview").get_attribute("href")
        press(page, "Open")
        expect(page.get_by_text("Open: whoever is invited can rate.")).to_be_visible()
        open_tab(page, "Progress")
        field(page, "New raters").fill("3")
        press(page, "Invite")
        expect(page.locator(".me-codes code")).to_have_count(3)
        links = page.locator(".me-codes code").all_inner_texts()
        assert overflow(page) == 0
        with open_page(browser, RATERS, f"{address}admin/{preview}") as seen:
            rater.press(seen, "Begin")
            expect(seen.get_by_text("Nothing that you answer is kept.")).to_be_visible()
            expect(seen.get_by_text("Autumn <b>listening</b>")).to_be_visible()
        with open_page(browser, RATERS) as careless:
            rate_carelessly(careless, links[2])
        expect(page.get_by_role("alert", name="Alarms")).to_contain_text("R03")  # nobody pressed Refresh
        assert work(address, links[0], 0) in ("wait", "complete")
        progress = page.get_by_role("progressbar", name="Clips")
        expect(progress).to_have_attribute("aria-valuenow", "0")
        open_tab(page, "Clips")
        correct(page, CORRECTED, PROMPT)
        fill(page, later, archive, "Added: 1 clip.")
        with ThreadPoolExecutor() as pool:
            ends = list(pool.map(work, [address] * 2, links[:2], (0, 1)))
        assert ends == ["complete"] * 2
        expect(progress).to_have_attribute("aria-valuenow", "22")
        open_tab(page, "Raters")
        expect(row_of(page, "R03")).to_contain_text("paused")
        row_of(page, "R03").get_by_role("gridcell").first.click()
        page.get_by_label("Reason, for the log").and_(page.locator(":visible")).fill("We talked.")
        press(page, "Let this rater go on")
        expect(row_of(page, "R03")).not_to_contain_text("paused")
        open_tab(page, "Set up")
        press(page, "Close")
        expect(page.get_by_text("Closed: raters are told that it has ended.")).to_be_visible()
        with open_page(browser, RATERS, links[2]) as late:
            rater.press(late, "Begin")
            rater.title(late, "This listening test has ended")
        open_tab(page, "Results")
        expect(page.locator("#desk").get_by_role("row", name=re.compile("wavegen")).first).to_be_visible()
        unfold(page, "Figures of the paper")
        press(page, "Draw the figures")
        expect(page.locator(".me-paper svg")).to_have_count(5, timeout=60_000)
        press(page, "Set the judge beside the panel")
        expect(page.locator("#desk").get_by_text("Predicted against rated").first).to_be_visible(timeout=60_000)
        report = report_of(page, tmp_path)
        assert PROMPT in report
        train(page)
        open_tab(page, "Set up")
        press(page, "Archive")
        expect(page.get_by_text("Archived: it stays as it is.")).to_be_visible()
        unfold(page, "Delete")
        page.get_by_label("Type the name of the study").fill("autumn")
        press(page, "Delete")
        expect(page.get_by_text("There is no study yet")).to_be_visible()
