"""Results side by side: the right figures where there are some, a reason where there are none."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from core.comparing import Estimate, chances_of_being_highest
from webapp.comparison import side_by_side
from webapp.kept import Kept, KeptResults

HOSTILE = "<img src=x onerror=alert(1)>"
MI, TA = "musical_impression", "textual_alignment"


@pytest.fixture
def results(tmp_path: Path) -> KeptResults:
    return KeptResults(tmp_path)


def scored(impression: float | None, reach: float | None, name: str = "clip.wav", duration_s: float = 10.0) -> Kept:
    around = None
    if impression is not None and reach is not None:
        around = {"level": 0.9, "source": "", MI: [impression - reach, impression + reach], TA: [2.0, 3.0]}
    return Kept(
        *("<p></p>", f"/uploads/0f/{name}", "Calm piano", "judge"),
        plot='<div class="me-plot"></div>',
        score={MI: impression, TA: 2.5, "intervals": around},
        titles={MI: "Musical impression", TA: "Textual alignment"},
        judge="by panel (0123456789ab)",
        duration_s=duration_s,
    )


def keep(results: KeptResults, *kept: Kept) -> list[str]:
    return [results.keep(lambda name, one=one: replace(one, model=name)).model for one in kept]  # type: ignore[misc]


def cells(html: str) -> list[list[str]]:
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<bdi>(.*?)</bdi>", row) for row in rows]


def test_scores_differences_and_chances(results: KeptResults) -> None:
    names = keep(results, scored(3.0, 0.5, "a.wav"), scored(3.6, 0.5, "b.wav"), scored(2.2, 0.4, "c.wav"))
    html = side_by_side(results, names)
    chances = chances_of_being_highest([Estimate(3.0, 0.5), Estimate(3.6, 0.5), Estimate(2.2, 0.4)], 0.9)
    assert chances is not None
    ours = [f"{100 * chance:.0f} %" for chance in chances]
    assert cells(html) == [
        ["1 a.wav", "3.0 (2.5 to 3.5)", "–", ours[0]],
        ["2 b.wav", "3.6 (3.1 to 4.1)", "+0.6 ± 0.7", ours[1]],
        ["3 c.wav", "2.2 (1.8 to 2.6)", "-0.8 ± 0.6", ours[2]],
        ["1 a.wav", "2.5 (2.0 to 3.0)", "–", "33 %"],
        ["2 b.wav", "2.5 (2.0 to 3.0)", "0.0 ± 0.7", "33 %"],
        ["3 c.wav", "2.5 (2.0 to 3.0)", "0.0 ± 0.7", "33 %"],
    ]
    assert "All for “Calm piano”, by panel (0123456789ab)." in html
    assert "Chance: how likely" in html


def test_without_a_known_error_nothing_is_said_of_a_panel(results: KeptResults) -> None:
    html = side_by_side(results, keep(results, scored(3.0, None), scored(3.6, None)))
    assert cells(html)[:2] == [["1 clip.wav", "3.0", "–"], ["2 clip.wav", "3.6", "+0.6"]]
    assert "Chance" not in html
    assert "the error of this judge is not known" in html


def test_a_score_that_is_missing_has_no_difference(results: KeptResults) -> None:
    html = side_by_side(results, keep(results, scored(3.0, 0.5), scored(None, None)))
    assert cells(html)[1][1:3] == ["–", "–"]
    assert "Chance" not in html


def test_judges_and_prompts_that_differ_stand_with_their_clips(results: KeptResults) -> None:
    other = replace(scored(3.5, 0.5), judge="by zero-shot (ba9876543210)", prompt=HOSTILE)
    html = side_by_side(results, keep(results, scored(3.0, 0.5), other))
    assert "All " not in html
    assert "for “Calm piano”; by panel (0123456789ab)" in html
    assert "&lt;img" in html
    assert HOSTILE not in html
    assert "the judges differ" in html
    assert "Chance" not in html


def test_clips_share_one_time_axis(results: KeptResults) -> None:
    html = side_by_side(results, keep(results, scored(3.0, 0.5, duration_s=5.0), scored(3.0, 0.5, duration_s=20.0)))
    assert re.findall(r'style="width:([\d.]+)%"', html) == ["25.000", "100.000"]


def test_what_cannot_be_compared_is_said(results: KeptResults) -> None:
    (one,) = keep(results, scored(3.0, 0.5))
    assert side_by_side(results, []) == ""
    for names in ([one], [one, one], [f"{n}".rjust(22, "A") for n in range(9)]):
        assert "me-lane" not in side_by_side(results, names)
    assert "Choose 2 to 8" in side_by_side(results, [one])
    assert "not kept here any more" in side_by_side(results, [one, "A" * 22])
    (other,) = keep(results, scored(3.0, 0.5))
    html = side_by_side(results, [one, "A" * 22, other])
    assert "not kept here any more" in html
    assert html.count("me-lane") == 2
