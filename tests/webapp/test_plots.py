import re

import numpy as np
import pytest

from core.scales import SCALES
from webapp.plots import legend, score_track, timeline

SAMPLES = np.sin(np.linspace(0, 300, 21 * 800)).astype(np.float32)
WINDOWS = [
    {"start_s": 0.0, "end_s": 10.0, "musical_impression": 2.0, "textual_alignment": 1.0},
    {"start_s": 10.0, "end_s": 20.0, "musical_impression": 3.5, "textual_alignment": 1.5},
    {"start_s": 11.0, "end_s": 21.0, "musical_impression": 5.0, "textual_alignment": 1.25},
]


def styles(html: str, name: str) -> list[str]:
    return re.findall(rf'class="{name}" style="([^"]+)"', html)


def test_a_score_stands_on_its_place_between_1_and_5() -> None:
    track = score_track("musical_impression", 3.0, (1.0, 4.0))
    assert styles(track, "me-mark") == ["left:50.00%"]
    assert styles(track, "me-band") == ["left:0.00%;width:75.00%"]
    assert styles(track, "me-tick") == [f"left:{share:.1f}%" for share in (0, 25, 50, 75, 100)]
    assert "<span>1 no musicality</span><span>5 excellent</span>" in track


def test_the_empty_scale_has_no_mark() -> None:
    track = score_track("textual_alignment")
    assert "me-mark" not in track
    assert "me-band" not in track
    assert "<span>1 unrelated</span><span>5 strongly aligned</span>" in track


def test_courses_are_steps_that_change_amid_an_overlap() -> None:
    drawn = timeline(SAMPLES, 21.0, WINDOWS)
    impression, alignment = re.findall(r'<path class="me-\w+" d="([^"]+)"', drawn)
    assert impression == "M0.0000 2.000H0.4762L0.4762 3.500H0.7381L0.7381 5.000H1.0000"
    assert re.findall(r" (\d\.\d+)H", alignment) == ["1.000", "1.500", "1.250"]


def test_one_window_is_one_line() -> None:
    drawn = timeline(SAMPLES[:800], 1.0, WINDOWS[:1])
    assert 'd="M0.0000 2.000H1.0000"' in drawn


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
    drawn = timeline(SAMPLES, duration_s, WINDOWS[:1])
    axis = drawn[drawn.index("me-times") :]
    assert re.findall(r">(\d+:\d\d)<", axis) == times


def test_the_plot_is_a_slider_over_the_clips_time() -> None:
    drawn = timeline(SAMPLES, 21.0, WINDOWS)
    for attribute in (
        'role="slider"',
        'tabindex="0"',
        'aria-label="Position in the clip"',
        'aria-valuemin="0"',
        'aria-valuemax="21.0"',
        'aria-valuenow="0"',
        'aria-valuetext="0:00 of 0:21"',
    ):
        assert attribute in drawn


@pytest.mark.parametrize("samples", [np.zeros(1, np.float32), np.zeros(9_000, np.float32), SAMPLES], ids=len)
def test_a_waveform_is_finite_and_stays_in_its_box(samples: np.ndarray) -> None:
    outline = re.search(r'me-wave.*?<path d="M([^"]+)Z"', timeline(samples, 1.0, WINDOWS[:1]))
    assert outline
    points = np.array([point.split() for point in outline[1].split("L")], float)
    assert np.isfinite(points).all()
    assert np.abs(points[:, 1]).max() <= 1.0
    assert (points[:, 0] >= 0).all()
    assert (points[:, 0] <= 400).all()


def test_the_loudest_place_is_the_highest() -> None:
    samples = np.full(4_000, 0.1, np.float32)
    samples[3_000:3_010] = -0.4
    outline = re.search(r'me-wave.*?<path d="M([^"]+)Z"', timeline(samples, 1.0, WINDOWS[:1]))
    assert outline
    points = np.array([point.split() for point in outline[1].split("L")], float)[:400]
    assert points[300].tolist() == [300.5, -1.0]
    assert points[0].tolist() == [0.5, -0.25]


def test_the_legend_names_both_lines() -> None:
    assert re.findall(r"me-key me-(\w+)", legend()) == [scale.split("_")[1] for scale in SCALES]
    assert ">Musical impression<" in legend()
    assert ">Textual alignment<" in legend()
