"""Splits: disjoint, whole, the same by seed, and clear about what they cannot do."""

import json

import pandas as pd
import pytest

from core.errors import DataError
from core.ratings import COLUMNS, RatedClips
from core.splits import Split, split_clips


def clips(systems: int = 20, prompts: int = 10, split: str = "") -> RatedClips:
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
    return RatedClips(pd.DataFrame(rows, columns=list(COLUMNS)))


def parts_of(rated: RatedClips, column: str) -> dict[str, set[str]]:
    return {part: set(rows[column]) for part, rows in rated.table.groupby("split")}


def test_the_papers_two_parts() -> None:
    counts = split_clips(clips(), Split(dev_share=0)).table["split"].value_counts()
    assert counts.to_dict() == {"train": 170, "test": 30}


def test_a_dev_part_comes_from_the_rest() -> None:
    with_dev, without = (split_clips(clips(), Split(dev_share=share)).table for share in (0.1, 0.0))
    assert with_dev["split"].value_counts().to_dict() == {"train": 153, "test": 30, "dev": 17}
    assert ((with_dev["split"] == "test") == (without["split"] == "test")).all()


@pytest.mark.parametrize(
    ("kind", "column", "held_out"), [("systems", "system_id", 3), ("prompts", "prompt", 2)]
)
def test_what_is_held_out_is_in_one_part(kind: str, column: str, held_out: int) -> None:
    parts = parts_of(split_clips(clips(), Split(kind)), column)
    assert len(parts["test"]) == held_out
    assert not parts["train"] & (parts["test"] | parts["dev"])
    assert not parts["dev"] & parts["test"]


@pytest.mark.parametrize("kind", ["random", "systems", "prompts"])
def test_each_is_tested_in_one_fold(kind: str) -> None:
    tested = []
    for fold in range(4):
        table = split_clips(clips(), Split(kind, seed=7, folds=4, fold=fold)).table
        assert set(table["split"]) == {"train", "dev", "test"}
        tested += table.loc[table["split"] == "test", "clip_id"].tolist()
    assert sorted(tested) == sorted(clips().table["clip_id"])


def test_the_seed_decides_and_not_the_order() -> None:
    backwards = RatedClips(clips().table.iloc[::-1])
    for kind in ("random", "systems", "prompts"):
        first = parts_of(split_clips(clips(), Split(kind, seed=3)), "clip_id")
        assert parts_of(split_clips(backwards, Split(kind, seed=3)), "clip_id") == first
        assert parts_of(split_clips(clips(), Split(kind, seed=4)), "clip_id") != first


def test_the_official_split_stays() -> None:
    table = clips().table.assign(split=["train"] * 180 + ["dev"] * 10 + ["test"] * 10)
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
        (clips(systems=2), Split("systems"), "2 systems are too few for this split. It needs 3"),
        (clips(systems=3), Split("systems", folds=4), "3 systems are too few for this split. It needs 4"),
        (clips(prompts=1), Split("prompts", dev_share=0), "1 prompts are too few"),
        (clips(), Split("systems", test_share=0.97), "20 systems leave none to train on"),
        (clips(), Split("official"), "came without a split"),
        (clips(split="train"), Split("official"), "has no dev and no test part"),
        (clips(split="test"), Split("official"), "has no train and no dev part"),
    ],
)
def test_too_few(rated: RatedClips, split: Split, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        split_clips(rated, split)


def test_clips_outside_the_official_split() -> None:
    table = clips(2, 2).table.assign(split=["train", "dev", "", "test"])
    with pytest.raises(DataError, match="1 of 4 clips are in no part"):
        split_clips(RatedClips(table), Split("official"))
