"""The table of rated clips: checked when it is made, the same after a way through a file."""

import csv
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.errors import DataError
from core.ratings import COLUMNS, RatedClips, escape_cell, unescape_cell

ROWS: list[dict[str, Any]] = [
    {
        "clip_id": "a",
        "audio_path": "wav/a.wav",
        "prompt": "A calm piano",
        "prompt_id": "P001",
        "system_id": "S1",
        "musical_impression": 3.6,
        "textual_alignment": 10 / 3,
        "n_ratings": 3,
        "musical_impression_sd": 0.1 + 0.2,
        "textual_alignment_sd": 0.0,
        "split": "train",
    },
    {
        "clip_id": "b",
        "audio_path": "wav/b.wav",
        "prompt": "NA",
        "prompt_id": "P002",
        "system_id": "S2",
        "musical_impression": 5,
        "textual_alignment": 1,
        "n_ratings": 1,
        "musical_impression_sd": math.nan,
        "textual_alignment_sd": None,
        "split": "",
    },
]
HOSTILE = [
    "=1+1",
    "+x",
    "-calm",
    "@x",
    "\tx",
    "\rx",
    "'=x",
    "'tis",
    "a,b",
    'say "ah"',
    "two\nlines",
    "a\r\nb",
    "null",
]


def table(**changes: Any) -> pd.DataFrame:
    """The two rows, the second one changed."""
    return pd.DataFrame([ROWS[0], ROWS[1] | changes])


def test_columns_types_and_order() -> None:
    rated = RatedClips(table()[list(reversed(COLUMNS))])
    assert tuple(rated.table.columns) == COLUMNS
    assert len(rated) == 2
    assert rated.table["musical_impression"].tolist() == [3.6, 5.0]
    assert rated.table["n_ratings"].dtype == "Int64"
    assert rated.table["textual_alignment_sd"].isna().tolist() == [False, True]


def test_the_same_after_a_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rated_clips.csv"
    path.parent.mkdir()
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "x.wav").touch()
    rows = [
        ROWS[0] | {"clip_id": f"c{n}", "prompt": text, "prompt_id": f"P{n}"} for n, text in enumerate(HOSTILE)
    ]
    before = RatedClips(pd.DataFrame([*ROWS, *rows]).assign(audio_path=str(tmp_path / "wav" / "x.wav")))
    before.to_csv(path)
    after = RatedClips.from_csv(path)
    pd.testing.assert_frame_equal(
        after.table.drop(columns="audio_path"), before.table.drop(columns="audio_path"), check_exact=True
    )
    assert {Path(audio).resolve() for audio in after.table["audio_path"]} == {tmp_path / "wav" / "x.wav"}


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    RatedClips(table(audio_path=str(tmp_path / "wav" / "b.wav")).tail(1)).to_csv(tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["audio_path"] == "wav/b.wav"
    moved = tmp_path / "moved"
    (moved / "wav").mkdir(parents=True)
    (moved / "wav" / "b.wav").touch()
    (tmp_path / "t.csv").rename(moved / "t.csv")
    assert RatedClips.from_csv(moved / "t.csv").table["audio_path"].tolist() == [str(moved / "wav" / "b.wav")]


@pytest.mark.parametrize("text", HOSTILE)
def test_escaping_is_undone(text: str) -> None:
    assert unescape_cell(escape_cell(text)) == text
    assert escape_cell(text)[0] not in "=+-@\t\r"


@pytest.mark.parametrize("text", ["'tis", "calm", "2 + 2", ""])
def test_other_texts_stay(text: str) -> None:
    assert escape_cell(text) == unescape_cell(text) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clip_id": "a"}, 'row 2: the clip "a" is there twice'),
        ({"clip_id": " "}, "row 2: clip_id is ' '; it must be a text that is not empty"),
        ({"prompt": None}, "row 2: prompt is"),
        ({"prompt_id": "P001"}, 'row 2: the prompt id "P001" stands for two texts'),
        ({"musical_impression": 0.9}, "row 2: musical_impression is 0.9; it must be from 1 to 5"),
        ({"textual_alignment": math.nan}, "it must be from 1 to 5"),
        ({"textual_alignment": "five"}, "textual_alignment is 'five'; it must be a number"),
        ({"n_ratings": 0}, "it must be a whole number from 1, or empty"),
        ({"n_ratings": 2.5}, "it must be a whole number from 1, or empty"),
        ({"musical_impression_sd": -0.1}, "it must be a number from 0, or empty"),
        ({"musical_impression_sd": math.inf}, "it must be a number from 0, or empty"),
        ({"split": "valid"}, "split is 'valid'; it must be train, dev, test or empty"),
    ],
)
def test_a_bad_cell_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        RatedClips(table(**changes).astype(object))
    assert message in str(caught.value)


def test_missing_and_unknown_columns_are_named() -> None:
    with pytest.raises(DataError, match=r"has no column prompt_id, split\. Its columns are clip_id"):
        RatedClips(table().drop(columns=["prompt_id", "split"]))
    with pytest.raises(DataError, match="has an unknown column mos"):
        RatedClips(table().assign(mos=1))


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"none.csv" cannot be read as a table'):
        RatedClips.from_csv(tmp_path / "none.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r'"bytes.csv" cannot be read'):
        RatedClips.from_csv(tmp_path / "bytes.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match=r'"empty.csv" cannot be read'):
        RatedClips.from_csv(tmp_path / "empty.csv")


def test_all_problems_of_a_file_are_told_together(tmp_path: Path) -> None:
    rows = [
        ROWS[0] | {"audio_path": "none.wav", "musical_impression": 0.5},
        ROWS[0] | {"audio_path": "here.wav", "prompt": "two\nlines"},
        ROWS[1] | {"audio_path": "here.wav", "textual_alignment": "good"},
    ]
    (tmp_path / "here.wav").touch()
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False)
    with (tmp_path / "t.csv").open("a") as file:
        file.write("c,here.wav\n")
    with pytest.raises(DataError) as caught:
        RatedClips.from_csv(tmp_path / "t.csv")
    assert str(caught.value).splitlines() == [
        '"t.csv" cannot be used, it has 6 problems:',
        "  t.csv, line 6: 2 instead of 11 cells",
        '  t.csv, line 2: there is no audio file "none.wav"',
        "  t.csv, line 2: musical_impression is '0.5'; it must be from 1 to 5",
        '  t.csv, line 3: the clip "a" is there twice',
        '  t.csv, line 3: the prompt id "P001" stands for two texts',
        "  t.csv, line 5: textual_alignment is 'good'; it must be a number",
    ]


def test_a_table_written_by_hand_needs_few_columns(tmp_path: Path) -> None:
    (tmp_path / "x.wav").touch()
    lines = ["a,x.wav,calm,A,1,2", "b,x.wav,loud,A,3,4", "c,x.wav,calm,B,5,5"]
    heading = "clip_id,audio_path,prompt,system_id,musical_impression,textual_alignment"
    (tmp_path / "t.csv").write_text("\n".join([heading, *lines]), encoding="utf-8-sig")
    rated = RatedClips.from_csv(tmp_path / "t.csv").table
    assert rated["prompt_id"].tolist() == ["P001", "P002", "P001"]
    assert rated["musical_impression"].tolist() == [1, 3, 5]
    assert rated["n_ratings"].isna().all()
    assert rated["split"].tolist() == ["", "", ""]
    RatedClips(rated).to_csv(tmp_path / "again.csv")
    pd.testing.assert_frame_equal(RatedClips.from_csv(tmp_path / "again.csv").table, rated)


def test_an_empty_table_is_one(tmp_path: Path) -> None:
    RatedClips(table().head(0)).to_csv(tmp_path / "t.csv")
    assert len(RatedClips.from_csv(tmp_path / "t.csv")) == 0
