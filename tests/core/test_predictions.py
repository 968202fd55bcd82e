"""Predictions read from tables and answers, and measured."""

from pathlib import Path

import pandas as pd
import pytest

from core.errors import DataError, MetricError
from core.musiceval import read_release
from core.predictions import measure, read_answer, read_predictions, read_system_scores
from tests.releases import write_release

HEADING = "clip_id,system_id,musical_impression,predicted_musical_impression"
# means of A (2, 2), of B (4, 3), of C (3, 5); per clip (1, 1), (3, 3), (4, 2), (4, 4), (3, 5)
ROWS = ["a,A,1,1", "b,A,3,3", "c,B,4,2", "d,B,4,4", "e,C,3,5"]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def refusal(path: Path, *lines: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_predictions(write(path, *lines))
    return [line.strip() for line in str(caught.value).splitlines()]


def test_one_scale_worked_by_hand(tmp_path: Path) -> None:
    measured = measure(read_predictions(write(tmp_path / "t.csv", HEADING, *ROWS)), resamples=0)
    assert {level: list(scales) for level, scales in measured.items()} == {
        "utterance": ["musical_impression"],
        "system": ["musical_impression"],
    }
    utterance, system = (measured[level]["musical_impression"] for level in ("utterance", "system"))
    assert (utterance["n"], utterance["mse"]) == (5, pytest.approx((4 + 4) / 5))
    # ranks (1, 2.5, 4.5, 4.5, 2.5) and (1, 3, 2, 4, 5), both of mean 3
    assert utterance["srcc"] == pytest.approx(3 / (9 * 10) ** 0.5)
    # of 10 pairs 5 agree, 3 disagree, 2 are tied in the truth
    assert utterance["ktau"] == pytest.approx((5 - 3) / (8 * 10) ** 0.5)
    assert (system["n"], system["mse"]) == (3, pytest.approx((0 + 1 + 4) / 3))
    assert (system["srcc"], system["ktau"]) == (pytest.approx(0.5), pytest.approx(1 / 3))


def test_both_scales_and_other_columns(tmp_path: Path) -> None:
    heading = f"note,{HEADING},predicted_textual_alignment,textual_alignment"
    rows = [f"x,{row},-0.5,{1 + n}" for n, row in enumerate(ROWS)]
    table = read_predictions(write(tmp_path / "t.csv", heading, *rows))
    assert list(table.columns) == [
        "clip_id",
        "system_id",
        "musical_impression",
        "predicted_musical_impression",
        "textual_alignment",
        "predicted_textual_alignment",
    ]
    assert table["predicted_textual_alignment"].tolist() == [-0.5] * 5
    with pytest.raises(MetricError, match="Textual alignment: At utterance level: All scores of one side"):
        measure(table)


def test_intervals_hold_the_figure(tmp_path: Path) -> None:
    rows = [f"c{n},S{n // 6},{1 + n % 5},{1 + n % 5 + n % 3}" for n in range(60)]
    table = read_predictions(write(tmp_path / "t.csv", HEADING, *rows))
    measured = measure(table, resamples=200)
    assert measured == measure(table, resamples=200)
    for scales in measured.values():
        for metric in ("mse", "lcc", "srcc", "ktau"):
            low, high = scales["musical_impression"][f"{metric}_ci95"]
            assert low <= scales["musical_impression"][metric] <= high


def test_all_that_is_wrong_with_a_table(tmp_path: Path) -> None:
    assert refusal(tmp_path / "t.csv", HEADING, "a,A,0.5,1", "a,,2,x", "b,B,nan,", "c,C,3") == [
        '"t.csv" cannot be used, it has 7 problems:',
        "t.csv, line 5: 3 instead of 4 cells",
        "t.csv, line 2: musical_impression: the score 0.5 is not from 1 to 5",
        "t.csv, line 3: system_id: it is empty",
        't.csv, line 3: predicted_musical_impression: "x" is not a number',
        't.csv, line 3: the clip "a" is there twice',
        "t.csv, line 4: musical_impression: nan is not a finite number",
        't.csv, line 4: predicted_musical_impression: "" is not a number',
    ]


@pytest.mark.parametrize(
    ("heading", "missing"),
    [
        ("clip_id,musical_impression,predicted_musical_impression", "system_id"),
        ("clip_id,system_id,musical_impression", "predicted_musical_impression"),
        (f"{HEADING},predicted_textual_alignment", "textual_alignment"),
        ("clip_id,system_id", "musical_impression, textual_alignment"),
    ],
)
def test_a_missing_column(heading: str, missing: str, tmp_path: Path) -> None:
    assert refusal(tmp_path / "t.csv", heading)[0].startswith(
        f"The table has no column {missing}. Its columns"
    )


def test_what_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"none.csv" cannot be read as a table'):
        read_predictions(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="it is not UTF-8 text"):
        read_predictions(tmp_path / "b.csv")


def test_an_answer_beside_the_ratings_of_its_clips(tmp_path: Path) -> None:
    clips = read_release(write_release(tmp_path / "release"))
    lines = ["audiomos2025-track1-S013_P001,1.5,4.5", "audiomos2025-track1-S002_P001.wav, 4, 3", ""]
    table = read_answer(write(tmp_path / "answer.txt", *lines), clips)
    expected = pd.DataFrame(
        {
            "clip_id": ["audiomos2025-track1-S013_P001", "audiomos2025-track1-S002_P001"],
            "system_id": ["S013", "S002"],
            "musical_impression": [1.0, 4.2],
            "textual_alignment": [5.0, 3.4],
            "predicted_musical_impression": [1.5, 4.0],
            "predicted_textual_alignment": [4.5, 3.0],
        }
    )
    pd.testing.assert_frame_equal(table, expected)


def test_all_that_is_wrong_with_an_answer(tmp_path: Path) -> None:
    clips = read_release(write_release(tmp_path / "release"))
    one = "audiomos2025-track1-S013_P001"
    path = write(
        tmp_path / "answer.txt", f"{one},1,2", f"{one}.wav,1,2", "other,1,2", f"{one},1", "wav,MI,TA"
    )
    with pytest.raises(DataError) as caught:
        read_answer(path, clips)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        f'answer.txt, line 2: the clip "{one}.wav" is there twice',
        'answer.txt, line 3: there is no rated clip "other"',
        "answer.txt, line 4: 2 instead of 3 cells",
        'answer.txt, line 5: "MI" is not a number',
    ]


def test_given_system_scores(tmp_path: Path) -> None:
    scores = read_system_scores(write(tmp_path / "s.csv", "A,2.0,1", "B,4.5,1", "C,3,1"))
    assert scores["musical_impression"] == {"A": 2.0, "B": 4.5, "C": 3.0}
    table = read_predictions(write(tmp_path / "t.csv", HEADING, *ROWS))
    system = measure(table, scores, resamples=0)["system"]["musical_impression"]
    assert system["mse"] == pytest.approx((0 + 1.5**2 + 4) / 3)
    with pytest.raises(DataError, match='line 2: the system "A" is there twice'):
        read_system_scores(write(tmp_path / "s.csv", "A,2.0,1", "A,4.5,1"))
