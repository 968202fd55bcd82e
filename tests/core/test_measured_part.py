"""Which clips a model is measured on, and how many of them it knows."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from core import measured_part
from core.errors import CheckpointError, DataError
from core.measured_part import choose_clips, own_split, parts_of_audio
from core.rated_clips import RatedClips
from core.splits import Split
from tests.core.test_evaluation import write
from tests.rated import rated_table

PARTS = ["train"] * 6 + ["dev"] * 2 + ["test"] * 4


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> RatedClips:
    monkeypatch.setattr(measured_part, "data_sha256", lambda clips: f"hash of {len(clips)}")
    monkeypatch.setattr(measured_part, "audio_sha256", lambda clips: ("audio of " + clips.table["clip_id"]).tolist())
    return rated_table(12)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model that was trained on these clips."""
    write_parts(tmp_path, PARTS)
    (tmp_path / "run.json").write_text(json.dumps({"data": {"sha256": "hash of 12"}}))
    return tmp_path


def write_parts(folder: Path, parts: Sequence[str]) -> None:
    rows = [f'"c{n:02d}","{part}"' for n, part in enumerate(parts)]
    write(folder / "split.csv", '"clip_id","split"', *rows)


def test_the_models_own_test_part(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(clips, model)
    assert chosen.clips.table["clip_id"].tolist() == ["c08", "c09", "c10", "c11"]
    assert chosen.part == "test"
    assert chosen.notes == (
        "Measured on the test part, 4 of 12 clips, of the model's own split.",
        "The model was trained on the audio of none of them.",
    )


@pytest.mark.parametrize(("part", "n", "train", "dev"), [("train", 6, 6, 0), ("dev", 2, 0, 2), ("all", 12, 6, 2)])
def test_clips_that_the_model_knows(clips: RatedClips, model: Path, part: str, n: int, train: int, dev: int) -> None:
    chosen = choose_clips(clips, model, part=part)
    assert (chosen.part, len(chosen.clips)) == (part, n)
    assert chosen.notes[1] == (
        f"The model was trained on the audio of {train} of these {n} clips, and its training was stopped by {dev} "
        "of them: this is not how well it judges clips that it does not know."
    )


def test_another_split(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(clips, model, Split("systems", folds=2, fold=1))
    assert set(chosen.clips.table["system_id"]) < {"S0", "S1", "S2", "S3"}
    n = len(chosen.clips)
    assert chosen.notes[0].endswith(f"{n} of 12 clips, of the split: systems held out, fold 1 of 2, seed 0.")
    known = sum(PARTS[int(clip_id[1:])] == "train" for clip_id in chosen.clips.table["clip_id"])
    assert f"trained on the audio of {known} of these {n} clips" in chosen.notes[1]


def test_other_data_with_the_same_names(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(rated_table(10), model)
    assert (chosen.part, len(chosen.clips)) == ("all", 10)
    assert chosen.notes == (
        "Measured on all 10 clips.",
        "The model was trained on other data; 8 of these 10 clips have names of clips that it was trained with.",
    )


def test_the_same_audio_under_other_names(clips: RatedClips, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each clip of the data has the audio of one that the model was trained on, tested on or stopped by."""
    rows = [f'"c{n:02d}","{part}","audio of {n}"' for n, part in enumerate(PARTS)]
    write(model / "split.csv", '"clip_id","split","audio_sha256"', *rows)
    assert own_split(model).audio == {f"audio of {n}": part for n, part in enumerate(PARTS)}
    audio = ["audio of 0", "audio of 1", "audio of 7", "audio of 9", "audio of 9"]
    monkeypatch.setattr(measured_part, "audio_sha256", lambda _: audio)
    chosen = choose_clips(rated_table(5), model)
    assert "trained on the audio of 2 of these 5 clips, and its training was stopped by 1 of them" in chosen.notes[1]


def test_audio_in_two_parts_counts_as_what_was_learned_from() -> None:
    assert parts_of_audio(["a", "a", "b", "b"], ["test", "train", "dev", "test"]) == {"a": "train", "b": "dev"}


def test_a_model_that_says_nothing(clips: RatedClips, tmp_path: Path) -> None:
    chosen = choose_clips(clips, tmp_path)
    assert (chosen.part, len(chosen.clips)) == ("all", 12)
    assert chosen.notes[1] == "The model does not say which clips it was trained on."


def test_without_a_test_part_the_dev_part(clips: RatedClips, model: Path) -> None:
    write_parts(model, [part.replace("test", "train") for part in PARTS])
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
    assert own_split(tmp_path).clips == {"=c": "test"}
