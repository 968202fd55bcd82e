"""The page as a visitor meets it, in Chromium: two widths, light and dark, mouse and keyboard."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from gradio_client import Client, handle_file
from playwright.sync_api import Browser, Page, expect

from core.scales import TEXTUAL_ALIGNMENT
from core.scorer import Scorer
from tests.bad_inputs import BAD_INPUTS
from tests.clips import pluck, write_clip
from tests.webapp.browsing import open_page, overflow
from webapp.palette import DARK, LIGHT
from webapp.score import SNIPPET

pytestmark = pytest.mark.browser

PROMPT = "A calm guitar line, plucked"


@pytest.fixture
def page(browser: Browser, address: str, look: tuple[int, str]) -> Iterator[Page]:
    """The page, open and ready. Whatever a test does, the page logs no error and asks nobody else."""
    with open_page(browser, look, address) as opened:
        expect(opened.get_by_role("button", name="Score", exact=True)).to_be_visible()
        yield opened


def upload(page: Page, clip: Path) -> None:
    page.set_input_files("#clip input[type=file]", clip)
    expect(page.locator("#clip").get_by_role("button", name="Clear")).to_be_visible()


def score(page: Page, clip: Path, prompt: str = PROMPT) -> None:
    """Upload a clip, write its prompt, press the button and wait for the result."""
    upload(page, clip)
    page.get_by_label("Prompt").fill(prompt)
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator("#result .me-value b")).to_have_count(2)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "My clip & I.wav", pluck(23.0))


@pytest.mark.parametrize(
    "look", [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")], ids=lambda look: f"{look[0]} {look[1]}"
)
def test_a_clip_from_disk_is_scored(page: Page, clip: Path, scorer: Scorer, look: tuple[int, str]) -> None:
    assert overflow(page) == 0
    expect(page.locator("#result")).to_contain_text("Two scores will stand here")
    score(page, clip)
    expected = scorer.score(clip, PROMPT)
    values = (expected["musical_impression"], expected["textual_alignment"])
    assert page.locator("#result .me-value b").all_inner_texts() == [f"{value:.1f}" for value in values]
    low, high = expected.intervals.bounds["textual_alignment"]
    word = TEXTUAL_ALIGNMENT.describe(expected["textual_alignment"])
    expect(page.locator("#result .me-range").last).to_have_text(
        f"{word}; 90\u202f% of similar clips lie between {low:.1f} and {high:.1f}"
    )
    expect(page.locator("#result .me-lead")).to_have_text(f"My clip & I.wav for “{PROMPT}”")
    expect(page.locator("#result .me-warnings")).to_contain_text("These scores come from the demo model")
    page.locator("#result summary").click()
    page.get_by_role("button", name="Use from Python").click()
    expect(page.get_by_role("table")).to_be_visible()
    assert overflow(page) == 0
    palette = {"light": LIGHT, "dark": DARK}[look[1]]
    background = page.evaluate("getComputedStyle(document.querySelector('.me-result')).backgroundColor")
    assert background == f"rgb({', '.join(str(int(palette.surface[at : at + 2], 16)) for at in (1, 3, 5))})"


@pytest.mark.parametrize("look", [(1280, "light"), (390, "light")], ids=str)
def test_the_address_names_the_open_tab(page: Page, address: str) -> None:
    tabs = {name: page.get_by_role("tab", name=name) for name in ("Score", "Several clips")}
    for name, url, shown in (("Score", "", "#one-tab"), ("Several clips", "#several", "#several-tab")):
        tabs[name].click()
        expect(page).to_have_url(f"{address}{url}")
        expect(page.locator(shown)).to_be_visible()
    page.reload()
    expect(page.locator("#several-tab")).to_be_visible()
    tabs["Score"].click()
    page.evaluate("location.hash = 'batch'")  # as it was called once
    expect(page.locator("#several-tab")).to_be_visible()
    expect(page).to_have_url(f"{address}#several")
    page.get_by_role("tab", name="Listening test").click()
    expect(page).to_have_url(f"{address}listening/")
    page.go_back()
    expect(page.locator("#several-tab")).to_be_visible()


def test_the_link_of_the_terminal_keeps_the_tab(page: Page, app: FastAPI, address: str) -> None:
    page.goto(f"{app.state.administration.link}#training")
    expect(page).to_have_url(f"{address}admin/#training")
    expect(page.get_by_role("tab", name="Training")).to_have_attribute("aria-selected", "true")


def test_old_links_lead_to_the_administrators_page(page: Page, app: FastAPI, address: str) -> None:
    page.goto(app.state.administration.link)
    for name, url, title in (("study", "admin/", "Studies"), ("training", "admin/#training", "Training")):
        page.goto("about:blank")
        page.goto(f"{address}#{name}")
        expect(page).to_have_url(f"{address}{url}")
        expect(page.get_by_role("tab", name=title)).to_have_attribute("aria-selected", "true")


@pytest.mark.parametrize("look", [(1280, "light"), (390, "light")], ids=str)
def test_an_invited_rater_sees_the_listening_test_alone(page: Page, address: str) -> None:
    page.goto("about:blank")
    page.goto(f"{address}#listening")  # as invitations said once
    expect(page).to_have_url(f"{address}listening/")
    expect(page.locator("#rater")).to_be_visible()
    expect(page.get_by_role("tab")).to_have_count(0)
    for text in ("Demo judge:", "How would experts rate this music"):
        expect(page.get_by_text(text)).to_have_count(0)
    page.get_by_role("link", name="All of MusicEval").click()
    expect(page.get_by_role("tab", name="Score")).to_be_visible()
    expect(page).to_have_url(address)


def test_the_banner_tells_of_the_demo_model(page: Page) -> None:
    banner = page.get_by_role("complementary", name="Demo model")
    expect(banner).to_contain_text("Demo judge: trained on composed music and simulated raters.")
    expect(banner.get_by_text("MUSICEVAL_MODEL=DIR")).to_be_hidden()
    banner.get_by_text("How to get the real one").click()
    expect(banner.get_by_text("MUSICEVAL_MODEL=DIR")).to_be_visible()


def test_the_keyboard_is_enough(page: Page) -> None:
    def press_until(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"Tab does not reach {selector}")

    press_until("#examples [data-number]")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Prompt")).not_to_have_value("")
    press_until("#prompt textarea")
    page.keyboard.press("Control+A")
    page.keyboard.type("A slow piano")
    press_until("#score")
    page.keyboard.press("Enter")
    expect(page.locator("#result .me-lead")).to_contain_text("for “A slow piano”")
    press_until(".me-plot")
    plot = page.get_by_role("slider", name="Position in the clip")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    for key, place in (("ArrowRight", "1.0"), ("PageUp", "11.0"), ("ArrowLeft", "10.0"), ("Home", "0.0")):
        page.keyboard.press(key)
        expect(plot).to_have_attribute("aria-valuenow", place)
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
    page.keyboard.press("Space")
    page.get_by_label("Prompt").press_sequentially(" and strings")
    page.keyboard.press("Shift+Enter")
    expect(page.locator("#result .me-lead")).to_contain_text("for “A slow piano and strings”")
    press_until("#result .me-foot a")
    press_until("#result summary")
    page.keyboard.press("Enter")
    press_until("#result [data-seek]")
    page.keyboard.press("Enter")
    expect(page.get_by_role("table")).to_be_visible()


def test_a_click_in_the_plot_goes_there(page: Page, clip: Path) -> None:
    score(page, clip)
    plot = page.get_by_role("slider", name="Position in the clip")
    box = plot.bounding_box()
    assert box
    plot.click(position={"x": box["width"] / 2, "y": 20})
    expect(plot).to_have_attribute("aria-valuetext", "0:11 of 0:23")
    expect(page.locator(".me-clock")).to_have_text("0:11 / 0:23")
    assert page.evaluate("document.querySelector('#result audio').currentTime") == pytest.approx(11.5, abs=0.1)
    page.locator("#result summary").click()
    page.get_by_role("button", name="0:13 to 0:23").click()
    expect(plot).to_have_attribute("aria-valuenow", "13.0")


def test_the_sound_plays_and_the_hand_moves(page: Page, clip: Path) -> None:
    score(page, clip)
    page.locator(".me-play").click()
    page.wait_for_function("document.querySelector('.me-plot').ariaValueNow > 0.2")
    page.get_by_role("button", name="Pause", exact=True).click()
    assert page.evaluate("document.querySelector('#result audio').paused")


def test_a_clip_that_the_browser_cannot_play_is_scored_all_the_same(page: Page, tmp_path: Path) -> None:
    score(page, write_clip(tmp_path / "clip.aiff"))
    expect(page.locator(".me-hint")).to_have_text("This browser cannot play clips of this format.")
    page.locator(".me-play").click()
    expect(page.locator(".me-play")).to_have_attribute("aria-label", "Play")


def test_one_sound_plays_at_a_time(page: Page, clip: Path) -> None:
    score(page, clip)
    ours, theirs = page.locator(".me-play"), page.locator("#clip .play-pause-button")
    theirs.click()
    expect(theirs).to_have_attribute("aria-label", "Pause")
    ours.click()
    expect(ours).to_have_attribute("aria-label", "Pause")
    expect(theirs).to_have_attribute("aria-label", "Play")
    theirs.click()
    expect(ours).to_have_attribute("aria-label", "Play")


def test_each_example_fills_in_clip_and_prompt(page: Page) -> None:
    cards = page.locator("#examples > * ul").first.locator("[data-number]")
    assert cards.count() >= 6
    for number in range(cards.count()):
        prompt = cards.nth(number).locator("span").inner_text().strip("“”")
        cards.nth(number).click()
        expect(page.get_by_label("Prompt")).to_have_value(prompt)
        expect(page.locator("#clip #duration")).to_have_text("0:16")
        expect(page.locator("#result .me-lead")).to_contain_text(prompt)


def test_a_result_that_its_inputs_left_behind_says_so(page: Page, clip: Path, tmp_path: Path) -> None:
    note = page.get_by_text("The clip, the prompt or the model has changed.")
    score(page, clip)
    expect(note).to_be_hidden()
    page.get_by_label("Prompt").fill("Another prompt")
    expect(note).to_be_visible()
    page.get_by_label("Prompt").fill(PROMPT)
    expect(note).to_be_hidden()
    page.locator("#clip").get_by_role("button", name="Clear").click()
    expect(note).to_be_visible()
    upload(page, write_clip(tmp_path / "other.wav"))
    expect(note).to_be_visible()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(page.locator("#result .me-lead")).to_have_text(f"other.wav for “{PROMPT}”")
    expect(note).to_be_hidden()


def test_an_error_stands_where_the_result_stood(page: Page, clip: Path, tmp_path: Path) -> None:
    score(page, clip)
    text = tmp_path / "no <b>audio.wav"
    text.write_text("Dear reader,")
    page.locator("#clip").get_by_role("button", name="Clear").click()
    upload(page, text)
    page.get_by_role("button", name="Score", exact=True).click()
    result = page.locator("#result")
    expect(result).to_contain_text("cannot be read as audio")
    expect(result).to_contain_text("No score")
    expect(result.locator(".me-value, .me-plot, audio, b")).to_have_count(0)
    page.locator("#clip").get_by_role("button", name="Clear").click()
    page.get_by_role("button", name="Score", exact=True).click()
    expect(result).to_contain_text("There is no clip. Drop a file, record one, or choose an example.")


def test_a_file_over_the_limit_is_turned_away_at_once(page: Page, clip: Path, tmp_path: Path) -> None:
    (case,) = (case for case in BAD_INPUTS if case.name == "200 MB")
    large, _ = case.build(tmp_path)
    page.set_input_files("#clip input[type=file]", large)
    expect(page.locator("#result")).to_contain_text(f'No score. "{large.name}" has {case.error}')
    score(page, clip)
    expect(page.locator("#clip #duration")).to_have_text("0:23")


@pytest.mark.parametrize(
    "prompt",
    [
        "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script> &amp; piano",
        "{{value}} ${document.title='broken'} `piano` {{#each value}}x{{/each}}",
        "🎹🔥 upbeat 👩‍👩‍👧 dance 🇯🇵",
        "بيانو هادئ \u202eפסנתר שקט",
        "' onmouseover=alert(1) x=\" y",
    ],
    ids=["HTML", "template", "emoji", "right to left", "attribute"],
)
def test_a_prompt_is_shown_as_it_was_written(page: Page, tmp_path: Path, prompt: str) -> None:
    score(page, write_clip(tmp_path / "clip.wav"), prompt)
    assert page.locator("#result .me-lead").text_content() == f"clip.wav for “{prompt}”"
    assert page.locator("#result").get_by_role("img").count() == 0
    assert page.title() == "MusicEval"
    expect(page.get_by_text("The clip, the prompt or the model has changed.")).to_be_hidden()


def test_the_download_is_the_endpoints_json(page: Page, clip: Path, client: Client) -> None:
    score(page, clip)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download JSON").click()
    assert download.value.suggested_filename == "My clip & I.score.json"
    saved = json.loads(Path(download.value.path()).read_text(encoding="utf-8"))
    assert saved == client.predict(clip=handle_file(clip), prompt=PROMPT, api_name="/score")


def test_the_snippet_names_this_server(page: Page, address: str) -> None:
    page.get_by_role("button", name="Use from Python").click()
    shown = page.locator(".me-usage .cm-content")
    expect(shown).to_contain_text(address)
    assert shown.locator(".cm-line").all_text_contents() == SNIPPET.format(address=address).splitlines()


def test_every_control_has_a_name(page: Page, clip: Path) -> None:
    score(page, clip)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, textarea, a, [role=slider]")]
          .filter((control) => control.checkVisibility() && !control.textContent.trim())
          .filter((control) => !control.ariaLabel && !control.title && !control.labels?.length)
          .map((control) => control.outerHTML)"""
    )
    assert nameless == []
    assert [heading.inner_text() for heading in page.get_by_role("heading", level=1).all()] == ["MusicEval"]
    expect(page.locator("#result [role=status]").first).to_contain_text("Musical impression")
