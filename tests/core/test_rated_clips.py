"""The table of rated clips: checked when it is made, the same after a way through a file."""

import csv
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.errors import DataError
from core.rated_clips import RatedClips, columns_of, data_sha256
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL, Scale, keys
from core.splits import Split, split_clips
from core.tables import escape_cell, unescape_cell
from tests.rated import rated_table

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
HOSTILE = ["=1+1", "+x", "-calm", "@x", "\tx", "\rx", "'=x", "'tis", "a,b", 'say "ah"', "two\nlines", "a\r\nb", "NA"]


def table(**changes: Any) -> pd.DataFrame:
    """The two rows, the second one changed."""
    return pd.DataFrame([ROWS[0], ROWS[1] | changes])


def test_columns_types_and_order() -> None:
    rated = RatedClips(table()[list(reversed(columns_of(MUSICEVAL)))])
    assert tuple(rated.table.columns) == columns_of(MUSICEVAL)
    assert len(rated) == 2
    assert rated.table["musical_impression"].tolist() == [3.6, 5.0]
    assert rated.table["n_ratings"].dtype == "Int64"
    assert rated.table["textual_alignment_sd"].isna().tolist() == [False, True]


def test_the_same_after_a_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rated_clips.csv"
    path.parent.mkdir()
    (tmp_path / "wav").mkdir()
    (tmp_path / "wav" / "x.wav").touch()
    rows = [ROWS[0] | {"clip_id": f"c{n}", "prompt": text, "prompt_id": f"P{n}"} for n, text in enumerate(HOSTILE)]
    before = RatedClips(pd.DataFrame([*ROWS, *rows]).assign(audio_path=str(tmp_path / "wav" / "x.wav")))
    before.to_csv(path)
    after = RatedClips.from_csv(path)
    expected = before.table.assign(prompt=before.table["prompt"].str.strip())  # spaces around it are no part of it
    pd.testing.assert_frame_equal(
        after.table.drop(columns="audio_path"), expected.drop(columns="audio_path"), check_exact=True
    )
    assert {Path(audio).resolve() for audio in after.table["audio_path"]} == {tmp_path / "wav" / "x.wav"}


@pytest.mark.parametrize("none", ["N/A", "nan", "None", ""])
def test_a_system_that_means_that_there_is_none(tmp_path: Path, none: str) -> None:
    (tmp_path / "x.wav").touch()
    heading = "clip_id,audio_path,prompt,system_id,musical_impression\n"
    path = tmp_path / "t.csv"
    path.write_text(heading + f"a,x.wav,calm,{none},3\nb,x.wav,loud,{none},4\n")
    assert RatedClips.from_csv(path).n_systems == 0
    path.write_text(heading + f"a,x.wav,calm,{none},3\nb,x.wav,loud,S1,4\n")
    with pytest.raises(DataError, match=r"t.csv, line 2: (the system .* means that there is none|system_id is '')"):
        RatedClips.from_csv(path)


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
    with pytest.raises(DataError, match=r"has no column prompt_id, system_id\. Its columns are clip_id"):
        RatedClips(table().drop(columns=["prompt_id", "system_id"]))
    with pytest.raises(DataError, match="has an unknown column mos"):
        RatedClips(table().assign(mos=1))
    with pytest.raises(DataError, match="has no column musical_impression, textual_alignment"):
        RatedClips(table()[["clip_id", "audio_path", "prompt", "prompt_id", "system_id"]])
    with pytest.raises(DataError, match=r"unknown column textual_alignment_sd.*; one scale alone is fine"):
        RatedClips(table().drop(columns="textual_alignment"))


def test_a_file_that_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'"none.csv" cannot be read: No such file'):
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


ENERGY = Scale("energy", "Energy", "How much drive has it?", ("none", "little", "some", "much", "full"))


def test_a_file_with_one_scale_alone(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    text = "clip_id,audio_path,prompt,system_id,musical_impression\nx,a.wav,calm,S1,3.5\n"
    (tmp_path / "t.csv").write_text(text)
    rated = RatedClips.from_csv(tmp_path / "t.csv")
    assert (rated.scales, rated.mos.tolist()) == ((MUSICAL_IMPRESSION,), [[3.5]])
    assert tuple(rated.table.columns) == columns_of(rated.scales)
    rated.to_csv(tmp_path / "again.csv")
    assert not (tmp_path / "scales.json").exists()
    pd.testing.assert_frame_equal(RatedClips.from_csv(tmp_path / "again.csv").table, rated.table)


def with_energy(folder: Path) -> RatedClips:
    (folder / "a.wav").write_bytes(b"sound")
    rows = table(audio_path=str(folder / "a.wav")).tail(1)
    return RatedClips(rows.assign(energy=2.5), (*MUSICEVAL, ENERGY))


def test_other_scales_are_named_beside_the_table(tmp_path: Path) -> None:
    rated = with_energy(tmp_path)
    rated.to_csv(tmp_path / "t.csv")
    again = RatedClips.from_csv(tmp_path / "t.csv")
    assert keys(again.scales) == ["musical_impression", "textual_alignment", "energy"]
    assert again.scales == rated.scales
    assert again.mos.tolist() == [[5.0, 1.0, 2.5]]
    stored = json.loads((tmp_path / "scales.json").read_text())
    (tmp_path / "scales.json").unlink()
    with pytest.raises(DataError, match="has an unknown column energy"):
        RatedClips.from_csv(tmp_path / "t.csv")
    (tmp_path / "manifest.json").write_text(json.dumps({"study": "x", "scales": stored}))
    assert RatedClips.from_csv(tmp_path / "t.csv").scales == rated.scales


@pytest.mark.parametrize("content", ["{", "[1]", '[{"key": "x"}]', "3"])
def test_scales_that_cannot_be_read(content: str, tmp_path: Path) -> None:
    with_energy(tmp_path).to_csv(tmp_path / "t.csv")
    (tmp_path / "scales.json").write_text(content)
    with pytest.raises(DataError, match=r'^The scales beside "t\.csv" cannot be read'):
        RatedClips.from_csv(tmp_path / "t.csv")


@pytest.mark.parametrize("key", ["prompt", "split"])
def test_a_scale_cannot_be_named_as_another_column(key: str, tmp_path: Path) -> None:
    with_energy(tmp_path).to_csv(tmp_path / "t.csv")
    (tmp_path / "scales.json").write_text(json.dumps([dataclasses.replace(ENERGY, key=key).to_json()]))
    with pytest.raises(DataError, match="have a key that is taken"):
        RatedClips.from_csv(tmp_path / "t.csv")


def test_the_hash_of_data_tells_scales_apart(tmp_path: Path) -> None:
    rated = with_energy(tmp_path)
    rows = rated.table.drop(columns=[name for name in rated.table if name.startswith("energy")])
    two = RatedClips(rows)
    # of the two scales it is what it was before there were others
    assert data_sha256(two) == "96157fc68c39cbc90fb94822f5cfd5c79dba86a86c307cb6cb9b9602471fe702"
    one, other = (
        RatedClips(rows.drop(columns=[key, f"{key}_sd"]).assign(**{left: 3.0}))
        for key, left in (keys(MUSICEVAL), keys(MUSICEVAL)[::-1])
    )
    assert len({data_sha256(of) for of in (rated, two, one, other)}) == 4


def test_the_same_audio_under_two_ids_is_said(tmp_path: Path) -> None:
    for name, content in (("a", b"1"), ("b", b"2"), ("c", b"1"), ("d", b"1"), ("e", b"22"), ("f", b""), ("g", b"")):
        (tmp_path / f"{name}.wav").write_bytes(content)
    files = zip("abcdefgh", "abcdefgb", strict=True)
    rows = [ROWS[0] | {"clip_id": name, "audio_path": str(tmp_path / f"{file}.wav")} for name, file in files]
    rated = RatedClips(pd.DataFrame(rows))
    assert rated.same_audio() == ["5 clips have the audio of another one: a = c = d, b = h."]
    assert rated.take([0, 1, 4, 5, 6]).same_audio() == []
    assert len({*rated.audio_ids()}) == 5


def many(systems: int = 20, prompts: int = 10, split: str = "") -> RatedClips:
    rows = [
        {
            "clip_id": f"S{s}_P{p}",
            "audio_path": "x.wav",
            "prompt": f"prompt {p}",
            "prompt_id": f"P{p}",
            "system_id": f"S{s}",
            "musical_impression": 3.0,
            "textual_alignment": 3.0,
            "split": split,
        }
        for s in range(systems)
        for p in range(prompts)
    ]
    return RatedClips(pd.DataFrame(rows))


def parts_of(rated: RatedClips, column: str) -> dict[str, set[str]]:
    return {part: set(rows[column]) for part, rows in rated.table.groupby("split")}


def test_the_papers_two_parts() -> None:
    counts = split_clips(many(), Split(dev_share=0)).table["split"].value_counts()
    assert counts.to_dict() == {"train": 170, "test": 30}


def test_a_dev_part_comes_from_the_rest() -> None:
    with_dev, without = (split_clips(many(), Split(dev_share=share)).table for share in (0.1, 0.0))
    assert with_dev["split"].value_counts().to_dict() == {"train": 153, "test": 30, "dev": 17}
    assert ((with_dev["split"] == "test") == (without["split"] == "test")).all()


@pytest.mark.parametrize(("kind", "column", "held_out"), [("systems", "system_id", 3), ("prompts", "prompt", 2)])
def test_what_is_held_out_is_in_one_part(kind: str, column: str, held_out: int) -> None:
    parts = parts_of(split_clips(many(), Split(kind)), column)
    assert len(parts["test"]) == held_out
    assert not parts["train"] & (parts["test"] | parts["dev"])
    assert not parts["dev"] & parts["test"]


@pytest.mark.parametrize("kind", ["random", "systems", "prompts"])
def test_each_is_tested_in_one_fold(kind: str) -> None:
    tested = []
    for fold in range(4):
        table = split_clips(many(), Split(kind, seed=7, folds=4, fold=fold)).table
        assert set(table["split"]) == {"train", "dev", "test"}
        tested += table.loc[table["split"] == "test", "clip_id"].tolist()
    assert sorted(tested) == sorted(many().table["clip_id"])


def test_the_seed_decides_and_not_the_order() -> None:
    backwards = RatedClips(many().table.iloc[::-1])
    for kind in ("random", "systems", "prompts"):
        first = parts_of(split_clips(many(), Split(kind, seed=3)), "clip_id")
        assert parts_of(split_clips(backwards, Split(kind, seed=3)), "clip_id") == first
        assert parts_of(split_clips(many(), Split(kind, seed=4)), "clip_id") != first


@pytest.fixture
def twins(tmp_path: Path) -> RatedClips:
    """Every clip is there under two ids, of another system and another prompt; files of half of them are equal."""
    clips = rated_table(48, tmp_path)
    for n, path in enumerate(clips.table["audio_path"]):
        Path(path).write_bytes(bytes([n // 2 if n % 4 < 2 else n]) * 100)
    return RatedClips(
        clips.table.assign(
            system_id=[f"S{n}" for n in range(48)],
            prompt=[f"P{n}" for n in range(48)],
            prompt_id=[f"P{n}" for n in range(48)],
        )
    )


@pytest.mark.parametrize("kind", ["random", "systems", "prompts"])
def test_the_same_audio_is_in_one_part(kind: str, twins: RatedClips) -> None:
    for seed in range(5):
        parts = split_clips(twins, Split(kind, seed, test_share=0.3, dev_share=0.3)).table["split"].tolist()
        pairs = [(parts[n], parts[n + 1]) for n in range(0, 48, 4)]
        assert all(one == other for one, other in pairs)
        assert {one for one, _ in pairs} == {"train", "dev", "test"}
        assert any(parts[n + 2] != parts[n + 3] for n in range(0, 48, 4))  # whose audio differs


def test_systems_that_share_audio_by_a_third_stay_together(tmp_path: Path) -> None:
    clips = rated_table(12, tmp_path)
    for n, path in enumerate(clips.table["audio_path"]):  # S0 and S1 share a file, S1 and S2 another
        Path(path).write_bytes(bytes([{1: 0, 6: 5}.get(n, n)]) * 9)
    groups = split_clips(clips, Split("systems", dev_share=0, folds=2)).table.groupby("split")["system_id"].agg(set)
    assert {"S0", "S1", "S2"} in list(groups)
    with pytest.raises(DataError, match="2 systems that share no audio are too few for this split"):
        split_clips(clips, Split("systems"))


def test_the_official_split_stays() -> None:
    table = many().table.assign(split=["train"] * 180 + ["dev"] * 10 + ["test"] * 10)
    assert split_clips(RatedClips(table), Split("official")).table.equals(table)


def test_a_split_can_be_stored() -> None:
    split = Split("systems", seed=5, folds=3, fold=2)
    assert Split.from_json(json.loads(json.dumps(split.to_json()))) == split
    with pytest.raises(DataError, match=r"A split has no colour\. It has kind, seed, test_share"):
        Split.from_json({"colour": "blue"})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": "raters"}, "There is no split 'raters'. The splits are official, random, systems, prompts"),
        ({"test_share": 0.0}, "lie between 0 and 1"),
        ({"dev_share": 1.0}, "lie between 0 and 1"),
        ({"seed": -1}, "The seed of a split is -1"),
        ({"folds": 1}, "There is no fold 0 of 1"),
        ({"folds": 5, "fold": 5}, "There is no fold 5 of 5"),
        ({"fold": 1}, "There is no fold 1 of 0"),
        ({"kind": "official", "folds": 5}, "has no folds"),
    ],
)
def test_what_is_no_split(wrong, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        Split(**wrong)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("rated", "split", "sentence"),
    [
        (many(systems=2), Split("systems"), "2 systems are too few for this split. It needs 3"),
        (many(systems=3), Split("systems", folds=4), "3 systems are too few for this split. It needs 4"),
        (many(prompts=1), Split("prompts", dev_share=0), "1 prompts are too few"),
        (many(), Split("systems", test_share=0.97), "20 systems leave none to train on"),
        (many(), Split("official"), "came without a split"),
        (many(split="train"), Split("official"), "has no dev and no test part"),
        (many(split="test"), Split("official"), "has no train and no dev part"),
    ],
)
def test_too_few(rated: RatedClips, split: Split, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        split_clips(rated, split)


def test_clips_outside_the_official_split() -> None:
    table = many(2, 2).table.assign(split=["train", "dev", "", "test"])
    with pytest.raises(DataError, match="1 of 4 clips are in no part"):
        split_clips(RatedClips(table), Split("official"))


def test_splits_in_words() -> None:
    assert Split("official").in_words() == "official"
    assert Split("random", seed=3).in_words() == "clips at random, seed 3"
    assert Split("prompts", folds=5, fold=2).in_words() == "prompts held out, fold 2 of 5, seed 0"
