import base64
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest

from core.audio import Clip, read_clip
from core.demo.examples import Example
from core.faults import ScoreWarning
from core.scorer import Intervals, Score, Scorer, WindowScore
from webapp import result
from webapp.cards import example_cards

PROMPT = "A calm guitar line"
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    from tests.clips import pluck, write_clip

    return read_clip(write_clip(tmp_path_factory.mktemp("result") / "clip.wav", pluck(23.0)))


@pytest.fixture(scope="module")
def score(scorer: Scorer, clip: Clip) -> Score:
    """A score with values that are easy to recognise."""
    windows = (WindowScore(0.0, 10.0, 3.5, 2.25), WindowScore(10.0, 20.0, 4.5, 2.5))
    intervals = Intervals(0.9, "held-out error", (3.14, 4.36), (1.96, 2.84))
    return replace(
        scorer.score(clip, PROMPT),
        musical_impression=3.76,
        textual_alignment=2.4,
        intervals=intervals,
        windows=windows,
    )


def text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


def test_scores_stand_with_their_words_and_ranges(score: Score, clip: Clip) -> None:
    shown = text(result.done(score, clip, "/uploads/clip.wav", PROMPT))
    assert "Musical impression 3.8 of 5 1 no musicality 5 excellent good ; 90 % of similar clips" in shown
    assert "lie between 3.1 and 4.4" in shown
    assert "Textual alignment 2.4 of 5 1 unrelated 5 strongly aligned barely fits ; 90 %" in shown
    assert "The ranges are this judge’s error on 40 clips that it was not trained on (nothing:" in shown


def test_a_score_of_unknown_error_has_no_ranges(score: Score, clip: Clip) -> None:
    unknown = replace(score, intervals=None, provenance={**score.provenance, "held_out": None})
    html = result.done(unknown, clip, "/uploads/clip.wav", PROMPT)
    shown = text(html)
    assert "5 excellent good Textual alignment" in shown
    assert "No ranges: nothing is known of this judge’s error." in shown
    assert "similar clips" not in shown
    assert "me-band" not in html
    assert "Ranges none: nothing is known of the error" in shown


def test_both_scores_are_said_in_one_sentence(score: Score, clip: Clip) -> None:
    shown = result.done(score, clip, "/uploads/clip.wav", PROMPT)
    said = re.search(r'role="status">([^<]*)<', shown)
    assert said
    assert said[1] == "Musical impression 3.8 of 5, Textual alignment 2.4 of 5."


def test_only_the_files_own_name_is_shown(score: Score, clip: Clip) -> None:
    shown = text(result.done(score, clip, "/uploads/0f3a/My song.wav", PROMPT))
    assert "My song.wav for “ A calm guitar line ”" in shown
    assert "uploads" not in shown


def test_whatever_a_visitor_gave_is_shown_literally(score: Score, clip: Clip) -> None:
    warned = replace(score, warnings=(ScoreWarning("clipping", HOSTILE),))
    for shown in (
        result.done(warned, clip, f"/uploads/{HOSTILE.replace('/', '')}.wav", HOSTILE),
        result.failed(HOSTILE),
        example_cards([Example(HOSTILE, HOSTILE, HOSTILE, Path("clip.wav"))]),
    ):
        assert "<img" not in shown
        assert HOSTILE in text(shown)


def test_a_long_prompt_is_cut_where_it_is_shown_only(score: Score, clip: Clip) -> None:
    prompt = "piano " * 1000
    shown = result.done(score, clip, "/uploads/clip.wav", prompt)
    assert f'data-prompt="{prompt}"' in shown
    assert text(shown).count("piano") < 60


def test_without_a_prompt_it_says_so(score: Score, clip: Clip) -> None:
    assert "clip.wav , without a prompt" in text(result.done(score, clip, "/uploads/clip.wav", " \n"))


def test_the_download_holds_the_whole_score(score: Score, clip: Clip) -> None:
    shown = result.done(score, clip, "/uploads/My song.wav", PROMPT)
    link = re.search(r'download="([^"]*)" href="data:application/json;base64,([^"]*)"', shown)
    assert link
    assert link[1] == "My song.score.json"
    assert json.loads(base64.b64decode(link[2])) == score.to_json()


def test_details_name_what_the_score_depends_on(score: Score, clip: Clip) -> None:
    shown = text(result.done(score, clip, "/uploads/clip.wav", PROMPT))
    provenance = score.provenance
    for fact in (
        "Model random (demo)",
        provenance["checkpoint"]["sha256"],
        provenance["audio"]["sha256"],
        "23.00 s, 16000 Hz, mono",
        "Heard as mono, 16000 Hz, up to 7000 Hz, -23 LUFS",
        "every 10 s from the start, the last window aligned to the end",
        f"torch {provenance['versions']['torch']}",
        "0:00 to 0:10 3.50 2.25",
        "0:10 to 0:20 4.50 2.50",
    ):
        assert fact in shown


def test_the_player_asks_for_the_upload(score: Score, clip: Clip) -> None:
    shown = result.done(score, clip, "/uploads/My song #1?.wav", PROMPT)
    assert 'src="gradio_api/file=/uploads/My%20song%20%231%3F.wav"' in shown


def test_the_demo_models_warning_is_a_note(score: Score, clip: Clip) -> None:
    warnings = (ScoreWarning("demo_model", "A demo."), ScoreWarning("clipping", "It clips."))
    shown = result.done(replace(score, warnings=warnings), clip, "/uploads/clip.wav", PROMPT)
    assert "<li class=me-note>A demo.</li><li>It clips.</li>" in shown
    assert "Warnings" not in result.done(replace(score, warnings=()), clip, "/uploads/clip.wav", PROMPT)


def test_before_a_score_the_scales_are_shown_empty() -> None:
    shown = text(result.empty())
    assert "Two scores will stand here" in shown
    assert "1 no musicality 5 excellent" in shown
    assert "1 unrelated 5 strongly aligned" in shown


def test_a_failure_shows_its_sentence_and_no_score() -> None:
    shown = result.failed("This clip is empty. Export it again.")
    assert "No score This clip is empty. Export it again." in text(shown)
    assert "me-value" not in shown
