"""Which clips a model is measured on, and what is said of those it knows."""

import json
from pathlib import Path

import pytest

from core import measured_clips
from core.errors import CheckpointError, DataError
from core.measured_clips import choose_clips, describe, own_parts
from core.ratings import RatedClips
from core.splits import Split
from tests.rated import rated_table

PARTS = ["train"] * 6 + ["dev"] * 2 + ["test"] * 4


@pytest.fixture(autouse=True)
def _clips_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured_clips, "data_sha256", lambda clips: f"hash of {len(clips)}")


@pytest.fixture
def clips() -> RatedClips:
    return rated_table(12)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model that was trained on these clips."""
    rows = [f'"c{n:02d}","{part}"' for n, part in enumerate(PARTS)]
    (tmp_path / "split.csv").write_text("\n".join(['"clip_id","split"', *rows]))
    (tmp_path / "run.json").write_text(json.dumps({"data": {"sha256": "hash of 12"}}))
    return tmp_path


def test_the_models_own_test_part(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(clips, model)
    assert chosen.clips.table["clip_id"].tolist() == ["c08", "c09", "c10", "c11"]
    assert chosen.part == "test"
    assert chosen.notes == (
        "Measured on the test part, 4 of 12 clips, of the model's own split.",
        "The model was trained on none of them.",
    )


@pytest.mark.parametrize(
    ("part", "n", "train", "dev"), [("train", 6, 6, 0), ("dev", 2, 0, 2), ("all", 12, 6, 2)]
)
def test_clips_that_the_model_knows(
    clips: RatedClips, model: Path, part: str, n: int, train: int, dev: int
) -> None:
    chosen = choose_clips(clips, model, part=part)
    assert (chosen.part, len(chosen.clips)) == (part, n)
    assert chosen.notes[1] == (
        f"The model was trained on {train} of these {n} clips, and its training was stopped by {dev} "
        "of them: this is not how well it judges clips that it does not know."
    )


def test_another_split(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(clips, model, Split("systems", folds=2, fold=1))
    assert set(chosen.clips.table["system_id"]) < {"S0", "S1", "S2", "S3"}
    assert chosen.notes[0] == (
        f"Measured on the test part, {len(chosen.clips)} of 12 clips, of the split: systems held out, "
        "fold 1 of 2, seed 0."
    )
    known = sum(PARTS[int(clip_id[1:])] == "train" for clip_id in chosen.clips.table["clip_id"])
    assert f"trained on {known} of these {len(chosen.clips)} clips" in chosen.notes[1]


def test_other_data_with_the_same_names(model: Path) -> None:
    chosen = choose_clips(rated_table(10), model)
    assert (chosen.part, len(chosen.clips)) == ("all", 10)
    assert chosen.notes == (
        "Measured on all 10 clips.",
        "The model was trained on other data; 8 of these 10 clips have names of clips that it was "
        "trained with.",
    )


def test_a_model_that_says_nothing(clips: RatedClips, tmp_path: Path) -> None:
    chosen = choose_clips(clips, tmp_path)
    assert (chosen.part, len(chosen.clips)) == ("all", 12)
    assert chosen.notes[1] == "The model does not say which clips it was trained on."


def test_without_a_test_part_the_dev_part(clips: RatedClips, model: Path) -> None:
    text = (model / "split.csv").read_text().replace("test", "train")
    (model / "split.csv").write_text(text)
    assert choose_clips(clips, model).part == "dev"
    with pytest.raises(DataError, match=r"^There are no clips in the test part of the model's own split\."):
        choose_clips(clips, model, part="test")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("split.csv", "clip_id\nc00\n"),
        ("split.csv", "clip_id,split\nc00,exam\n"),
        ("split.csv", "clip_id,split\nc00,train\n"),
        ("split.csv", "clip_id,split\nc00,train,2\n"),
        ("run.json", "{"),
        ("run.json", '{"data": []}'),
    ],
)
def test_damaged_folders(clips: RatedClips, model: Path, file: str, text: str) -> None:
    (model / file).write_text(text)
    with pytest.raises(CheckpointError, match=f'^"{file}" of the model folder ".*" is damaged'):
        choose_clips(clips, model)


def test_ids_that_look_like_formulas(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text('"clip_id","split"\n"\'=c","test"\n')
    assert own_parts(tmp_path) == {"=c": "test"}


def test_splits_in_words() -> None:
    assert describe(Split("official")) == "official"
    assert describe(Split("random", seed=3)) == "clips at random, seed 3"
    assert describe(Split("prompts", folds=5, fold=2)) == "prompts held out, fold 2 of 5, seed 0"
