"""The examples: what is shown of them, made once; one that fails for each reason; heard before they are chosen."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from core.audio import read_clip
from core.errors import AudioError, SilenceError
from core.scorer import Scorer
from core.scores import Score
from webapp.example_clips import ReadyScores, load_examples

WARNED = {
    "Breaks off": "incomplete",
    "Mains hum": "no_music",
    "Words unknown": "prompt_unknown",
    "Words of something else": "prompt_little_music",
    "Another language": "prompt_not_english",
}
REFUSED = {"Silence": SilenceError, "Too short": AudioError, "No sound file": AudioError}


class Counting:
    """A scorer that counts what it was asked."""

    def __init__(self, scorer: Scorer) -> None:
        self.checkpoint, self._scorer, self.asked = scorer.checkpoint, scorer, 0

    def score(self, path: Path, prompt: str) -> Score:
        self.asked += 1
        return self._scorer.score(path, prompt)


def test_music_can_be_heard_and_the_examples_say_what_to_listen_for() -> None:
    examples = load_examples()
    music = [example for example in examples if not example.is_fault]
    assert len(music) >= 6
    assert all(example.address and read_clip(example.path).duration_s >= 10 for example in music)
    assert all(example.title and example.prompt and example.note for example in examples)
    assert {example.title for example in examples if example.is_fault} == {*WARNED, *REFUSED}


def test_each_fault_has_its_reason_from_the_embedded_judge() -> None:
    scorer = Scorer.load()
    for example in load_examples():
        if example.title in REFUSED:
            with pytest.raises(REFUSED[example.title]):
                scorer.score(example.path, example.prompt)
        elif example.is_fault:
            codes = [warning.code for warning in scorer.score(example.path, example.prompt).warnings]
            assert WARNED[example.title] in codes


def test_an_example_is_scored_once_by_each_judge_and_so_is_one_that_fails(scorer: Scorer) -> None:
    examples = {example.title: example for example in load_examples()}
    ready, judge = ReadyScores([examples["Calm morning"], examples["Silence"]]), Counting(scorer)
    first = ready.score(0, judge)  # type: ignore[arg-type]
    assert ready.score(0, judge) is first  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(SilenceError):
            ready.score(1, judge)  # type: ignore[arg-type]
    assert judge.asked == 2


def test_they_are_scored_beforehand(scorer: Scorer) -> None:
    silence = next(example for example in load_examples() if example.title == "Silence")
    ready, judge, began = ReadyScores([silence] * 3), Counting(scorer), threading.active_count()
    ready.begin(lambda: judge, after_s=0.0)  # type: ignore[arg-type,return-value]
    while threading.active_count() > began:
        threading.Event().wait(0.01)
    assert judge.asked == 3


@pytest.fixture(params=[1280, 390])
def page(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    one = context.new_page()
    one.goto(address)
    yield one
    context.close()


@pytest.mark.browser
def test_an_example_is_heard_and_then_shown_with_its_result_by_keyboard(page: Page) -> None:
    example = load_examples()[0]
    hear = page.get_by_role("button", name=f"Hear {example.title}")
    hear.press("Enter")
    expect(hear).to_have_attribute("aria-pressed", "true")
    page.locator("#examples [data-number]").first.press("Enter")
    expect(hear).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#result .me-lead")).to_contain_text(example.path.name)
    expect(page.get_by_label("Prompt")).to_have_value(example.prompt)
    expect(page.locator("#result .me-stale")).to_be_hidden()
    page.wait_for_url("**/?r=*")


@pytest.mark.browser
def test_an_example_without_a_score_says_why(page: Page) -> None:
    page.locator("#examples summary").press("Enter")
    page.locator("#examples [data-number]", has_text="No sound file").press("Enter")
    expect(page.locator("#result")).to_contain_text("cannot be read as audio")
    assert page.get_by_role("button", name="Hear No sound file").count() == 0
