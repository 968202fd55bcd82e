"""The release in its official layout, with its oddities, and with everything that can be wrong."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import DataError
from core.musiceval import WavName, is_published, is_simulated, read_release, read_source
from core.musiceval import write_release as write_layout
from core.scales import MUSICEVAL
from tests.releases import DEV, FILES, RATINGS, TEST, TRAIN, write_release

PREFIX = "audiomos2025-track1-"


def refusal(folder: Path) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_release(folder)
    return [line.strip() for line in str(caught.value).splitlines()]


def test_the_official_layout(tmp_path: Path) -> None:
    table = read_release(write_release(tmp_path)).table.set_index("clip_id")
    ids = ["S002_P001", "S013_P001", "S003_P001", "S002_P044"]
    assert not is_published(read_release(tmp_path))
    assert list(table.index) == [PREFIX + name for name in ids]
    assert table["system_id"].tolist() == ["S002", "S013", "S003", "S002"]
    assert table["split"].tolist() == ["train", "train", "dev", "test"]
    assert table["musical_impression"].tolist() == [4.2, 1.0, 2.5, 3.0]
    assert table["textual_alignment"].tolist() == [3.4, 5.0, 3.0, 3.5]
    assert table["audio_path"].iloc[0] == str(tmp_path / "wav" / f"{PREFIX}S002_P001.wav")


def test_a_demo_systems_prompt_is_its_own(tmp_path: Path) -> None:
    table = read_release(write_release(tmp_path)).table
    assert table["prompt_id"].tolist() == ["P001", "S013_P001", "P001", "P044"]
    assert table["prompt"].tolist() == ["A calm piano", "Happy rock", "A calm piano", 'A "big" band']


def test_ratings_are_counted_where_there_are_any(tmp_path: Path) -> None:
    table = read_release(write_release(tmp_path)).table
    assert table["n_ratings"].fillna(0).tolist() == [0, 1, 2, 0]
    assert table["musical_impression_sd"].iloc[2] == pytest.approx(math.sqrt(0.5))
    assert table["textual_alignment_sd"].iloc[2] == pytest.approx(math.sqrt(2.0))
    assert table["musical_impression_sd"].isna().tolist() == [True, True, False, True]


def test_ratings_in_files_of_the_parts_are_not_counted_twice(tmp_path: Path) -> None:
    parts = {"person_mos/dev_person_mos.txt": RATINGS[:2], "person_mos/train_person_mos.txt": RATINGS[2:]}
    whole = read_release(write_release(tmp_path / "a", parts)).table["n_ratings"]
    alone = {**parts, "person_mos/total_person_mos.txt": None}
    assert whole.equals(read_release(write_release(tmp_path / "b", alone)).table["n_ratings"])


@pytest.mark.parametrize(
    ("changes", "splits"),
    [
        ({"sets/train_mos_list.txt": None, "sets/dev_mos_list.txt": None}, ["", "", "", ""]),
        ({"sets/total_mos_list.txt": None}, ["train", "train", "dev"]),
        ({"sets/test_mos_list.txt": TEST}, ["train", "train", "dev", "test"]),
        ({"sets/dev_mos_list.txt": None}, ["train", "train", "", ""]),
        ({"person_mos/total_person_mos.txt": None}, ["train", "train", "dev", "test"]),
    ],
)
def test_lists_and_ratings_may_be_missing(changes, splits, tmp_path: Path) -> None:
    assert read_release(write_release(tmp_path, changes)).table["split"].tolist() == splits


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    write_release(tmp_path)
    for name, lines in FILES.items():
        (tmp_path / name).write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    assert len(read_release(tmp_path)) == 4


def test_everything_wrong_is_told_together_with_file_and_line(tmp_path: Path) -> None:
    changes = {
        "sets/train_mos_list.txt": [
            *TRAIN,
            "",
            TRAIN[0],
            f"{PREFIX}S004_P001.wav,5.2,3.0",
            f"{PREFIX}S004_P002.wav,3.0",
            f"{PREFIX}S004_P003.wav,three,3.0",
            "clip.wav,3.0,3.0",
            f"{PREFIX}S006_P001.wav,3.0,3.0",
            f"{PREFIX}S004_P777.wav,3.0,3.0",
        ],
        "sets/dev_mos_list.txt": [*DEV, TRAIN[0]],
        "sets/total_mos_list.txt": None,
        "person_mos/total_person_mos.txt": [
            *RATINGS,
            f"{PREFIX}S002_P001.wav,R1,4,6",
            RATINGS[0].replace("2,2", "5,2"),
        ],
        "prompt_info.txt": [*FILES["prompt_info.txt"], "P100", "P001\tAnother"],
    }
    lines = refusal(write_release(tmp_path / "full", changes))
    train, dev, person = (
        f"{name}.txt, line" for name in ("sets/train_mos_list", "sets/dev_mos_list", "person_mos/total_person_mos")
    )
    assert lines[0] == '"full" cannot be used, it has 15 problems:'
    assert sorted(lines[1:]) == sorted(
        [
            f"{train} 4: the clip is in {train} 1 already",
            f"{train} 5: the score 5.2 is not from 1 to 5",
            f"{train} 6: 2 instead of 3 cells",
            f'{train} 7: "three" is not a number',
            f'{train} 8: "clip.wav" is not a name such as S002_P051.wav',
            f'{train} 9: there is no audio file "wav/{PREFIX}S006_P001.wav"',
            f'{train} 9: demo_prompt_info.txt has no prompt "{PREFIX}S006_P001.wav"',
            f'{train} 10: there is no audio file "wav/{PREFIX}S004_P777.wav"',
            f'{train} 10: prompt_info.txt has no prompt "P777"',
            f"{dev} 2: the clip is in {train} 1 as well",
            f"{person} 4: the score 6 is not from 1 to 5",
            f"{dev} 1: musical_impression is 2.5, but the mean of 3 ratings in person_mos is 3.33",
            f"{dev} 1: textual_alignment is 3, but the mean of 3 ratings in person_mos is 2.67",
            "prompt_info.txt, line 5: this is not an id, a tab and a text",
            'prompt_info.txt, line 6: "P001" has another text above',
        ]
    )  # fmt: skip


def test_scores_rounded_to_one_decimal_are_taken_and_said(tmp_path: Path) -> None:
    rating = RATINGS[0].rsplit(",", 2)[0]
    ratings = [f"{rating},{mi},{ta}" for mi, ta in ((2, 2), (3, 4), (2, 3), (3, 3), (3, 3), (2, 3), (2, 3))]
    dev = [DEV[0].replace("2.5,3.0", "2.4,3.0")]  # the mean is 2.43
    changes = {
        "sets/dev_mos_list.txt": dev,
        "sets/total_mos_list.txt": None,
        "person_mos/total_person_mos.txt": ratings,
    }
    assert read_release(write_release(tmp_path / "a", changes)).notes == (
        f"The listed scores of 1 clips are rounded, and not quite the means of their ratings: {PREFIX}S003_P001.wav.",
    )
    far = {**changes, "sets/dev_mos_list.txt": [dev[0].replace("2.4", "2.3")]}
    assert "the mean of 7 ratings in person_mos is 2.43" in refusal(write_release(tmp_path / "b", far))[1]
    assert read_release(write_release(tmp_path / "c")).notes == ()


def test_lists_that_a_spreadsheet_has_saved(tmp_path: Path) -> None:
    write_release(tmp_path)
    for name in ("sets/train_mos_list.txt", "sets/total_mos_list.txt", "person_mos/total_person_mos.txt"):
        text = "\r\n".join(FILES[name]).replace(",", ";").replace("4.2", "4,2").replace("3.4", "3,4")
        (tmp_path / name).write_bytes(f"{text}\r\n;;\r\n".encode("utf-16"))
    table = read_release(tmp_path).table
    assert table["musical_impression"].tolist() == [4.2, 1.0, 2.5, 3.0]
    assert table["n_ratings"].fillna(0).tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("prompt", ["- slow ballad", "'=x", '"Rock"', 'A "big" band', '"', '""', "=1+1", "'tis"])
def test_a_prompt_is_in_a_release_as_it_is(tmp_path: Path, prompt: str) -> None:
    clips = pd.DataFrame({"wav": ["S002_P001.wav"], "prompt": [prompt]})
    scores = {"musical_impression": [3.0], "textual_alignment": [2.0]}
    ratings = pd.DataFrame({"wav": ["S002_P001.wav"], "rater": ["R1"], **scores})
    systems = pd.DataFrame({"system": ["S002"], **scores})
    write_layout(tmp_path / "layout", clips.assign(**scores), ratings, systems, MUSICEVAL)
    (tmp_path / "layout" / "wav" / "S002_P001.wav").touch()
    assert read_release(tmp_path / "layout").table["prompt"].tolist() == [prompt]
    first = (tmp_path / "layout" / "prompt_info.txt").read_text().splitlines()[1]
    assert first == f"P001\t{prompt}" or prompt in ('"Rock"', '""')


def test_lists_that_disagree(tmp_path: Path) -> None:
    changes = {"sets/total_mos_list.txt": [TRAIN[0].replace("4.2", "4.4"), *DEV, *TEST]}
    assert refusal(write_release(tmp_path, changes))[1:] == [
        "sets/train_mos_list.txt, line 2: the clip is not in sets/total_mos_list.txt",
        "sets/total_mos_list.txt, line 1: the scores are others than in sets/train_mos_list.txt, line 1",
    ]


def test_of_many_problems_the_first_are_shown(tmp_path: Path) -> None:
    write_release(tmp_path, {"sets/total_mos_list.txt": [f"S002_P{n:03d}.wav,0,0" for n in range(50)]})
    lines = refusal(tmp_path)
    assert "it has 50 problems" in lines[0]
    assert (len(lines), lines[-1]) == (22, "and 30 more like these")


def test_files_that_are_missing_or_unreadable(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no sets/total_mos_list\.txt"):
        read_release(tmp_path / "nowhere")
    write_release(tmp_path / "a", {"prompt_info.txt": None})
    assert "prompt_info.txt: this file is missing" in refusal(tmp_path / "a")
    write_release(tmp_path / "b", {"prompt_info.txt": FILES["prompt_info.txt"][1:]})
    assert "prompt_info.txt, line 1: the heading id<TAB>text is missing" in refusal(tmp_path / "b")
    write_release(tmp_path / "c")
    (tmp_path / "c" / "prompt_info.txt").write_bytes(b"id\ttext\nP001\t\xff\n")
    assert any("it is not UTF-8 text" in line for line in refusal(tmp_path / "c"))


@pytest.mark.parametrize("name", [f"{PREFIX}S002_P051.wav", "S002_P051", "x-S002_P051.wav"])
def test_names(name: str) -> None:
    assert WavName.parse(name) == WavName("S002", "P051")


@pytest.mark.parametrize("name", ["../S002_P051.wav", "S002_P051.mp3", "S002P051.wav", "a/x-S002_P051.wav", ""])
def test_other_names(name: str) -> None:
    assert WavName.parse(name) is None


@pytest.mark.reference
def test_the_real_labels(reference_data: Path, tmp_path: Path) -> None:
    labels = (reference_data / "musiceval" / "train_mos_list.txt").read_text().splitlines()
    wavs = [line.split(",")[0] for line in labels]
    demo = [f"{wav}\tprompt of {wav}" for wav in wavs]
    keys = sorted({wav[-8:-4] for wav in wavs})
    (tmp_path / "wav").mkdir()
    (tmp_path / "sets").mkdir()
    for wav in wavs:
        (tmp_path / "wav" / wav).touch()
    (tmp_path / "sets" / "train_mos_list.txt").write_text("\n".join(labels))
    (tmp_path / "demo_prompt_info.txt").write_text("\n".join(["id\ttext", *(d for d in demo if "S002" not in d)]))
    (tmp_path / "prompt_info.txt").write_text("\n".join(["id\ttext", *(f"{key}\tprompt {key}" for key in keys)]))
    rated = read_release(tmp_path)
    assert is_published(rated)
    table = rated.table
    assert (len(table), table["clip_id"].nunique()) == (1923, 1923)
    assert sorted(table["system_id"].unique()) == [f"S{n:03d}" for n in range(1, 34) if n not in (5, 25)]
    assert table["musical_impression"].mean() == pytest.approx(3.293, abs=0.0005)
    assert table["textual_alignment"].mean() == pytest.approx(3.445, abs=0.0005)
    assert np.corrcoef(table["musical_impression"], table["textual_alignment"])[0, 1] == pytest.approx(
        0.789, abs=0.0005
    )
    assert ((table["musical_impression"] * 5).round(9) % 1 == 0).all()


def test_a_release_and_its_table_are_the_same_clips(tmp_path: Path) -> None:
    release = read_source(write_release(tmp_path / "release"))
    export = tmp_path / "export"
    export.mkdir()
    release.to_csv(export / "rated_clips.csv")
    for path in (export, export / "rated_clips.csv"):
        again = read_source(path).table
        assert again.drop(columns="audio_path").equals(release.table.drop(columns="audio_path"))
        assert all(Path(audio).is_file() for audio in again["audio_path"])


def test_what_holds_no_clips(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for name in ("folder", "nowhere"):
        with pytest.raises(DataError, match=f'"{name}" is not rated clips. Give a release folder'):
            read_source(tmp_path / name)
    read_source(write_release(tmp_path / "release")).table.head(0).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r'"t.csv" holds no rated clips'):
        read_source(tmp_path / "t.csv")


def test_simulated_ratings_are_known_by_what_lies_beside_them(tmp_path: Path) -> None:
    table = tmp_path / "rated_clips.csv"
    table.touch()
    assert not is_simulated(tmp_path)
    for text, expected in (('{"demo": true}', True), ('{"demo": false}', False), ("{}", False), ("[]", False)):
        (tmp_path / "manifest.json").write_text(text)
        assert is_simulated(tmp_path) is is_simulated(table) is expected
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"^manifest\.json beside the rated clips is damaged\. Export the study"):
        is_simulated(table)
    (tmp_path / "SIMULATED").touch()
    assert is_simulated(tmp_path) is is_simulated(table) is True
