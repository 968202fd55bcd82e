"""Several clips, as a visitor meets the tab, in Chromium."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from core.batch.manifest import read_records
from core.files import Problems
from tests.clips import pluck, write_clip
from tests.manifests import manifest_rows, write_manifest
from tests.webapp.browsing import open_page, overflow

pytestmark = pytest.mark.browser

N_ROWS, N_BAD = 40, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    write_manifest(folder / "clips.csv", manifest_rows(folder, N_ROWS, N_BAD))
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        for path in folder.glob("*.wav"):
            archive.write(path, path.name)
    return folder


@pytest.fixture
def page(browser: Browser, address: str, look: tuple[int, str]) -> Iterator[Page]:
    """The tab, open and ready. Whatever a test does, the page logs no error and asks nobody else."""
    with open_page(browser, look, f"{address}#several") as opened:
        expect(opened.get_by_role("button", name="Score all")).to_be_visible()
        yield opened


def give(page: Page, manifest: Path, *files: Path) -> None:
    page.set_input_files("#manifest input[type=file]", manifest)
    page.set_input_files("#files input[type=file]", [*files])
    expect(page.locator("#manifest").get_by_role("link")).to_have_count(1)
    expect(page.locator("#files").get_by_role("link")).to_have_count(len(files))


def press(page: Page, selector: str) -> None:
    """By the keyboard."""
    page.locator(selector).focus()
    page.keyboard.press("Enter")


def state(page: Page) -> str:
    return page.locator("#batch-state").inner_text()


@pytest.mark.parametrize("look", [(1280, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}")
def test_a_clip_list_is_scored(page: Page, folder: Path, look: tuple[int, str]) -> None:
    assert "Drop audio files, or ZIPs of them." in state(page)
    assert overflow(page) == 0
    give(page, folder / "clips.csv", folder / "clips.zip")
    page.get_by_role("button", name="Score all").click()
    expect(page.get_by_role("heading", name=f"{N_ROWS - N_BAD} of {N_ROWS} rows scored")).to_be_visible()
    expect(page.locator("#leaderboard")).to_contain_text("These scores come from the demo model")
    expect(page.locator("#leaderboard svg")).to_have_count(1)  # rows without a prompt: no ranks of alignment
    expect(page.locator("#leaderboard tbody tr")).to_have_count(3)
    expect(page.locator("#batch-rows")).to_contain_text("is not among the files")
    for name, suffix in (("CSV", ".csv"), ("JSON Lines", ".jsonl"), ("Parquet", ".parquet")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download {name}").or_(
                page.get_by_role("link", name=f"Download {name}")
            ).first.click()
        path = download.value.path().with_suffix(suffix)
        download.value.save_as(path)
        assert len(list(read_records(path, Problems(path.name)))) == N_ROWS
    assert overflow(page) == 0
    expect(page.get_by_role("button", name="Score all")).to_be_enabled()


def test_a_clip_list_is_stopped(page: Page, tmp_path: Path) -> None:
    n_rows = 300  # of as many clips: each is read once
    manifest = write_manifest(tmp_path / "long.csv", manifest_rows(tmp_path, n_rows, n_clips=n_rows))
    with zipfile.ZipFile(tmp_path / "clips.zip", "w") as archive:
        for path in tmp_path.glob("clip*.wav"):
            archive.write(path, path.name)
    give(page, manifest, tmp_path / "clips.zip")
    page.get_by_role("button", name="Score all").click()
    expect(page.get_by_role("progressbar")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#batch-state")).to_contain_text("rows were not begun")
    expect(page.get_by_role("button", name="Stop")).not_to_be_visible()
    expect(page.locator("#batch-rows")).to_contain_text("row 0")


def test_why_there_are_no_scores_is_told(page: Page, folder: Path, tmp_path: Path) -> None:
    page.get_by_role("button", name="Score all").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("There are no clips")
    (tmp_path / "twice.csv").write_text("id,file,prompt\n1,<b>,x\n1,a.wav,x\n")
    give(page, tmp_path / "twice.csv", folder / "clips.zip")
    page.get_by_role("button", name="Score all").click()
    expect(page.get_by_role("alert")).to_contain_text("twice.csv, line 3: the id")
    expect(page.get_by_role("button", name="Score all")).to_be_enabled()


@pytest.mark.parametrize("look", [(1280, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}")
def test_a_list_outlives_its_page_and_a_row_opens(page: Page, tmp_path: Path, address: str) -> None:
    for number in range(2):
        write_clip(tmp_path / f"My clip {number}.wav", pluck(1.0 + number))
    (tmp_path / "My clip 1.txt").write_text("Loud drums", encoding="utf-8")
    (tmp_path / "My clip 2.wav").write_text("no sound")
    page.set_input_files("#files input[type=file]", sorted(tmp_path.iterdir()))
    expect(page.locator("#files").get_by_role("link")).to_have_count(4)
    page.get_by_label("Prompt for all").fill("A calm piano")
    press(page, "#score-all")
    page.wait_for_function("location.search.startsWith('?job=')")
    own = page.evaluate("location.href")
    page.reload()
    expect(page.get_by_role("heading", name="2 of 3 rows scored")).to_be_visible()
    assert page.evaluate("location.href") == own
    expect(page.locator("#batch-rows tbody tr").first).to_contain_text("My clip 2.wav")
    assert overflow(page) == 0
    press(page, "#batch-rows tr:has-text('My clip 1.wav') [data-row]")
    expect(page.locator("#result .me-lead")).to_have_text("My clip 1.wav for “Loud drums”")
    expect(page.locator("#result").get_by_role("button", name="Play")).to_be_visible()
    expect(page.locator("#prompt textarea")).to_have_value("Loud drums")
    page.go_back()
    expect(page.get_by_role("heading", name="2 of 3 rows scored")).to_be_visible()
    press(page, "#batch-state [data-act=again]")
    expect(page.locator("#batch-state [data-act=again]")).to_be_enabled()
    expect(page.get_by_role("heading", name="2 of 3 rows scored")).to_be_visible()
    page.goto(f"{address}#several")
    page.reload()
    press(page, "#jobs summary")
    expect(page.locator("#jobs li")).to_contain_text("3 clips for “A calm piano”")
    press(page, "#jobs [data-open]")
    expect(page.get_by_role("heading", name="2 of 3 rows scored")).to_be_visible()
    press(page, "#jobs [data-forget]")
    expect(page.locator("#batch-state")).to_contain_text("Drop audio files")
    expect(page.locator("#jobs .me-history")).to_be_hidden()
    page.goto(own)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("not kept here any more")


def test_the_example_runs_at_a_click(page: Page) -> None:
    press(page, "#batch-example")
    expect(page.get_by_role("heading", name="12 of 12 rows scored")).to_be_visible(timeout=60_000)
    expect(page.locator("#leaderboard")).to_contain_text("Systems in pairs")
