"""What the tab *One clip* shows of a score: numbers, drawings, details and download; all of it escaped."""

import base64
import json
import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from core.audio import Clip, read_clip
from core.prepared import outline
from core.scales import MUSICEVAL, TEXTUAL_ALIGNMENT, Scale
from core.scorer import Scorer
from core.scores import Intervals, PreferenceRank, Score, WindowScore
from core.warnings import ScoreWarning
from tests.clips import pluck, write_clip
from webapp.example_clips import Example
from webapp.html import html_table, render
from webapp.score import done, empty, failed, timeline

PROMPT = "A calm guitar line"
PATH = "/uploads/0f3a/My song.wav"
HOSTILE = "<img src=x onerror=alert(1)>\"'&amp;"
SAMPLES = pluck(21.0)
OUTLINE = outline(SAMPLES)
WINDOWS = tuple(
    WindowScore(start, start + 10.0, {"musical_impression": impression, "textual_alignment": alignment})
    for start, impression, alignment in ((0.0, 2.0, 1.0), (10.0, 3.5, 1.5), (11.0, 5.0, 1.25))
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return read_clip(write_clip(tmp_path_factory.mktemp("result") / "clip.wav", SAMPLES))


@pytest.fixture(scope="module")
def score(scorer: Scorer, clip: Clip) -> Score:
    """A score with values that are easy to recognise."""
    bounds = {"musical_impression": (3.14, 4.36), "textual_alignment": (1.96, 2.84)}
    return replace(
        scorer.score(clip, PROMPT),
        values={"musical_impression": 3.76, "textual_alignment": 2.4},
        intervals=Intervals(0.9, "held-out error", bounds),
        windows=WINDOWS,
    )


def text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


def styles(html: str, name: str) -> list[str]:
    return re.findall(rf'class="{name}" style="([^"]+)"', html)


def test_scores_stand_with_their_words_and_ranges(score: Score) -> None:
    shown = text(done(score, PATH, PROMPT))
    assert "Musical impression 3.8 of 5 1 no musicality 5 excellent good ; 90 % of similar clips" in shown
    assert "lie between 3.1 and 4.4" in shown
    assert "Textual alignment 2.4 of 5 1 unrelated 5 strongly aligned barely fits ; 90 %" in shown
    assert (
        f"Scored by random ({score.provenance.checkpoint.sha256[:12]}). The ranges are its error on 40 clips" in shown
    )
    assert "clips that the model was not trained on (nothing:" in shown


def test_what_people_prefer_is_a_rank_and_no_score(score: Score) -> None:
    by_rank = replace(
        score, scales=(TEXTUAL_ALIGNMENT,), intervals=None, preference=PreferenceRank(0.4, 63.9, 1_040, "")
    )
    shown = text(done(by_rank, PATH, PROMPT))
    rank = "higher than 63 % of 1,040 reference clips"
    assert f"Musical impression {rank}, Textual alignment 2.4 of 5." in shown  # for those who hear the page
    assert f"Musical impression 63 % {rank} Textual alignment 2.4 of 5" in shown
    none = replace(by_rank, preference=PreferenceRank(0.4, None, 0, "There are none."))
    shown = text(done(none, PATH, PROMPT))
    assert "Musical impression has no rank, Textual" in shown
    assert "Musical impression – no reference clips to compare with Textual" in shown
    assert '"value"' not in json.dumps(none.to_json()["preference"])


def test_marks_and_bands_are_in_their_places(score: Score) -> None:
    shown = done(score, PATH, PROMPT)
    assert styles(shown, "me-mark") == ["left:69.00%", "left:35.00%"]
    assert styles(shown, "me-band") == ["left:53.50%;width:30.50%", "left:24.00%;width:22.00%"]
    assert styles(shown, "me-tick") == [f"left:{share}%" for share in (0, 25, 50, 75, 100)] * 2


def test_a_score_of_unknown_error_has_no_ranges(score: Score) -> None:
    unknown = replace(score, intervals=None, provenance=replace(score.provenance, held_out=None))
    html = done(unknown, PATH, PROMPT)
    shown = text(html)
    assert "5 excellent good Textual alignment" in shown
    assert "No ranges: nothing is known of its error." in shown
    assert "similar clips" not in shown
    assert "me-band" not in html
    assert "Ranges none: nothing is known of the error" in shown
    why = "2 held-out clips are too few."
    few = replace(score.provenance.held_out, absolute_error={}, no_range=why)
    told = (ScoreWarning("no_range", f"These scores have no range: {why}"), ScoreWarning("very_quiet", "It is quiet."))
    scored = replace(unknown, provenance=replace(score.provenance, held_out=few), warnings=told)
    shown, _, details = text(done(scored, PATH, PROMPT)).partition("Details")
    assert (shown.count(why), details.count(why)) == (1, 1)
    assert f"No ranges: {why} It is quiet." in shown
    assert "no_range" in json.dumps(scored.to_json())


def test_all_scores_are_said_in_one_sentence(score: Score) -> None:
    (said, *_) = re.findall(r'role="status">([^<]*)<', done(score, PATH, PROMPT))
    assert said == "Musical impression 3.8 of 5, Textual alignment 2.4 of 5."


def test_a_third_scale_is_shown_like_the_others(score: Score) -> None:
    mood = Scale("mood", "Mood", "How sad?", ("glad", "2", "3", "4", "sad"))
    windows = [replace(window, values={**window.values, "mood": 4.5}) for window in score.windows]
    bounds = {**score.intervals.bounds, "mood": (4.0, 5.0)}
    three = replace(
        score,
        scales=(*MUSICEVAL, mood),
        values={**score.values, "mood": 4.5},
        windows=tuple(windows),
        intervals=replace(score.intervals, bounds=bounds),
    )
    shown = done(three, PATH, PROMPT)
    assert "Textual alignment 2.4 of 5, Mood 4.5 of 5." in shown
    assert "Mood 4.5 of 5 1 glad 5 sad sad ; 90 %" in text(shown)
    assert re.findall(r'<path class="me-series-(\d)"', shown) == ["0", "1", "2"]
    assert re.findall(r'me-key me-series-\d">([^<]*)<', shown) == [scale.title for scale in three.scales]
    assert "0:00 to 0:10 2.00 1.00 4.50" in text(shown)
    assert "Three scores will stand here" in empty(three.scales)


def test_only_the_files_own_name_is_shown(score: Score) -> None:
    shown = text(done(score, PATH, PROMPT))
    assert "My song.wav for “ A calm guitar line ”" in shown
    assert "uploads" not in shown
    assert "My song.wav , without a prompt" in text(done(score, PATH, " \n"))


def test_whatever_a_visitor_gave_is_shown_literally(score: Score) -> None:
    warned = replace(score, warnings=(ScoreWarning("clipping", HOSTILE),))
    for shown in (
        done(warned, f"/uploads/{HOSTILE.replace('/', '')}.wav", HOSTILE),
        failed(HOSTILE),
        render("score_examples.html", examples=[(0, Example(HOSTILE, HOSTILE, HOSTILE, Path("clip.wav"), HOSTILE))]),
    ):
        assert "<img" not in shown
        assert HOSTILE in text(shown)


def test_a_long_prompt_is_cut_where_it_is_shown_only(score: Score) -> None:
    prompt = "piano " * 1000
    shown = done(score, PATH, prompt)
    assert f'data-prompt="{prompt}"' in shown
    assert text(shown).count("piano") < 60


def test_the_download_holds_the_whole_score(score: Score) -> None:
    link = re.search(r'download="([^"]*)" href="data:application/json;base64,([^"]*)"', done(score, PATH, PROMPT))
    assert link
    assert link[1] == "My song.score.json"
    assert json.loads(base64.b64decode(link[2])) == json.loads(json.dumps(score.to_json()))


def test_details_name_what_the_score_depends_on(score: Score) -> None:
    shown = text(done(score, PATH, PROMPT))
    provenance = score.provenance
    for fact in (
        "Model random (trained on composed music and simulated raters)",
        provenance.checkpoint.sha256,
        provenance.audio.sha256,
        "21.00 s, 16000 Hz, mono",
        "Heard as mono, 16000 Hz, up to 7000 Hz, -23 LUFS",
        "every 10 s from the first sound, the last window aligned to the end",
        f"torch {provenance.versions['torch']}",
        "0:00 to 0:10 2.00 1.00",
        "0:11 to 0:21 5.00 1.25",
    ):
        assert fact in shown


def test_the_player_asks_for_the_upload(score: Score) -> None:
    shown = done(score, "/uploads/My song #1?.wav", PROMPT)
    assert 'src="gradio_api/file=/uploads/My%20song%20%231%3F.wav"' in shown


def test_the_demo_models_warning_is_a_note(score: Score) -> None:
    warnings = (ScoreWarning("demo_model", "A demo."), ScoreWarning("clipping", "It clips."))
    shown = done(replace(score, warnings=warnings), PATH, PROMPT)
    assert '<li class="me-note">A demo.</li><li>It clips.</li>' in shown
    assert "Warnings" not in done(replace(score, warnings=()), PATH, PROMPT)


def test_before_a_score_the_scales_are_shown_empty() -> None:
    html = empty(MUSICEVAL)
    shown = text(html)
    assert "Two scores will stand here" in shown
    assert "1 no musicality 5 excellent" in shown
    assert "1 unrelated 5 strongly aligned" in shown
    assert "me-mark" not in html
    assert "me-band" not in html


def test_a_failure_shows_its_sentence_and_no_score() -> None:
    shown = failed("This clip is empty. Export it again.")
    assert "No score This clip is empty. Export it again." in text(shown)
    assert "me-value" not in shown


def test_courses_are_steps_that_change_amid_an_overlap() -> None:
    drawn = timeline(OUTLINE, 21.0, WINDOWS, MUSICEVAL)
    impression, alignment = re.findall(r'<path class="me-series-\d" d="([^"]+)"', drawn)
    assert impression == "M0.0000 2.000H0.4762L0.4762 3.500H0.7381L0.7381 5.000H1.0000"
    assert re.findall(r" (\d\.\d+)H", alignment) == ["1.000", "1.500", "1.250"]
    assert 'd="M0.0000 2.000H1.0000"' in timeline(OUTLINE, 21.0, WINDOWS[:1], MUSICEVAL)  # one window is one line


@pytest.mark.parametrize(
    ("duration_s", "times"),
    [
        (0.5, ["0:00"]),
        (4.0, ["0:00", "0:01", "0:02", "0:03", "0:04"]),
        (29.0, ["0:00", "0:10", "0:20"]),
        (600.0, ["0:00", "2:00", "4:00", "6:00", "8:00", "10:00"]),
        (3600.0, [f"{minutes}:00" for minutes in range(0, 61, 5)]),
    ],
)
def test_the_time_axis_has_few_round_ticks(duration_s: float, times: list[str]) -> None:
    drawn = timeline(OUTLINE, duration_s, WINDOWS[:1], MUSICEVAL)
    assert re.findall(r">(\d+:\d\d)<", drawn[drawn.index("me-times") :]) == times


def test_the_plot_is_a_slider_over_the_clips_time() -> None:
    drawn = timeline(OUTLINE, 21.0, WINDOWS, MUSICEVAL)
    for attribute in (
        'role="slider"',
        'tabindex="0"',
        'data-duration="21.000"',
        'aria-label="Position in the clip"',
        'aria-valuemin="0"',
        'aria-valuemax="21.0"',
        'aria-valuenow="0"',
        'aria-valuetext="0:00 of 0:21"',
    ):
        assert attribute in drawn


def drawn_points(samples: np.ndarray) -> np.ndarray:
    drawn = timeline(outline(samples), 1.0, WINDOWS[:1], MUSICEVAL)
    path = re.search(r'me-wave.*?<path d="M([^"]+)Z"', drawn, re.DOTALL)
    assert path
    return np.array([point.split() for point in path[1].split("L")], float)


@pytest.mark.parametrize("samples", [np.zeros(1, np.float32), np.zeros(9_000, np.float32), pluck(1.0)], ids=len)
def test_a_waveform_is_finite_and_stays_in_its_box(samples: np.ndarray) -> None:
    points = drawn_points(samples)
    assert np.isfinite(points).all()
    assert np.abs(points[:, 1]).max() <= 1.0
    assert points[:, 0].min() >= 0
    assert points[:, 0].max() <= 400


def test_the_loudest_place_is_the_highest() -> None:
    samples = np.full(4_000, 0.1, np.float32)
    samples[3_000:3_010] = -0.4
    points = drawn_points(samples)[:400]
    assert points[300].tolist() == [300.5, -1.0]
    assert points[0].tolist() == [0.5, -0.25]


def test_a_table_escapes_and_sets_numbers_apart() -> None:
    html = html_table("C <1>", ("A", "B", "C"), [("<x>", 3, 'y"')])
    assert '<th scope="row"><bdi>&lt;x&gt;</bdi></th>' in html
    assert '<td class="me-number">3</td><td><bdi>y&#34;</bdi></td>' in html
    assert 'aria-label="C &lt;1&gt;"' in html
    assert html_table("C", ("A",), []) == ""
    assert html_table("C", ("A",), [], "None <yet>.").strip() == '<p class="me-quiet">None &lt;yet&gt;.</p>'
