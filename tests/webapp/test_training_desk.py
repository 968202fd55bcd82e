"""What the Training tab does, without a page and without training."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotation.database import Database
from core.errors import CheckpointError, MusicEvalError, StudyError, TrainingError
from core.scorer import Scorer
from core.splits import KINDS, Split
from core.towers import TOWERS
from core.training.recipes import RECIPES
from core.training.run_status import DONE, RunOrder
from core.training.runs import Runs
from core.training.shelf import ModelShelf
from tests.webapp.studies import make_study
from webapp.judge import Judge
from webapp.training_desk import FROM_SERVER, FROM_STUDY, Desk, curves, scatter
from webapp.training_tab import RECIPE_CHOICES, SPLIT_CHOICES, TOWER_CHOICES
from webapp.venues import Venue

NOTHING = (sys.executable, "-S", "-c", "")  # a trainer that ends at once


@pytest.fixture
def desk(tmp_path: Path, scorer: Scorer, random_checkpoint: Path) -> Iterator[Desk]:
    """With one model on the shelf."""
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    shutil.copytree(random_checkpoint, tmp_path / "models" / "one")
    judge = Judge(scorer, ModelShelf(tmp_path / "models"))
    runs = Runs(tmp_path / "models", tmp_path / "cache", NOTHING)
    yield Desk(judge, runs, Venue(database, tmp_path))
    database.close()


def test_every_choice_is_one_that_training_takes() -> None:
    assert sorted(RECIPE_CHOICES.values()) == sorted(RECIPES)
    assert sorted(TOWER_CHOICES.values()) == sorted(TOWERS)
    assert sorted(SPLIT_CHOICES.values()) == sorted(KINDS)


def test_a_run_from_a_folder_is_ordered_as_chosen(desk: Desk, tmp_path: Path) -> None:
    how = RunOrder(Path(), "paper", "music-audioset", Split("prompts", 3))
    run = desk.start(FROM_SERVER, None, f" {tmp_path} ", how, " mine ")
    assert (run.name, run.order) == (
        "mine",
        RunOrder(tmp_path, "paper", "music-audioset", Split("prompts", 3)),
    )
    assert desk.shown_run() is not None


@pytest.mark.parametrize("folder", ["", "  ", "/nowhere/at/all", "\0"])
def test_nothing_starts_from_nowhere(desk: Desk, folder: str) -> None:
    with pytest.raises(TrainingError, match="There is nothing on the server at"):
        desk.start(FROM_SERVER, None, folder, RunOrder(Path()))
    assert desk.shown_run() is None


def test_nothing_starts_from_a_study_without_ratings(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no study yet"):
        desk.start(FROM_STUDY, None, "", RunOrder(Path()))
    study = make_study(desk.venue.database, tmp_path)
    for name in (study.name, "missing"):
        with pytest.raises(StudyError):
            desk.start(FROM_STUDY, name, "", RunOrder(Path()))
    assert (desk.shown_run(), (tmp_path / "training").exists()) == (None, False)


def test_the_buttons(desk: Desk) -> None:
    assert desk.has_previous() is False
    desk.act("use", "one")
    assert (desk.judge.name, desk.has_previous()) == ("one", True)
    desk.act("base", "")
    assert desk.judge.name is None
    desk.act("back", "")
    assert desk.judge.name == "one"
    for action, name, error in (
        ("use", "../one", CheckpointError),
        ("resume", "../one", TrainingError),
        ("delete", "one", TrainingError),
        ("restore", "", TrainingError),
        ("__init__", "", TrainingError),
    ):
        with pytest.raises(error):
            desk.act(action, name)
    assert issubclass(CheckpointError, MusicEvalError)


def test_stopping_when_nothing_runs_is_no_mistake(desk: Desk) -> None:
    before = desk.runs.all()
    desk.stop()
    assert desk.runs.all() == before


def test_the_newest_model_is_shown_unless_another_is_named(desk: Desk) -> None:
    for name in ("", "gone", "one"):
        model = desk.model(name)
        assert model is not None
        assert model.name == "one"


def test_the_plots_take_what_training_wrote(desk: Desk, tmp_path: Path) -> None:
    run = desk.start(FROM_SERVER, None, str(tmp_path), RunOrder(Path()), "two")
    assert len(curves(run)) == 0
    (run.folder / "log.csv").write_text("epoch,train_l1,dev_l1\n1,0.9,0.8\n2,0.7,\n")
    assert curves(run).to_dict("list") == {
        "epoch": [1, 2, 1],
        "part": ["train", "train", "dev"],
        "L1": [0.9, 0.7, 0.8],
    }
    (tmp_path / "models/one/predictions.csv").write_text(
        "clip_id,system_id,textual_alignment,predicted_textual_alignment\nc1,S1,2.5,3.25\n"
    )
    assert scatter(desk.model("one"), "textual_alignment").to_dict("records") == [
        {"clip": "c1", "system": "S1", "rated": 2.5, "predicted": 3.25}
    ]
    assert len(scatter(desk.model("one"), "musical_impression")) == 0
    assert len(scatter(None, "textual_alignment")) == 0


def test_a_model_trained_elsewhere_is_no_run(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "models/one/run.json").write_text(json.dumps({"seed": 1}))
    assert desk.runs.all() == []
    assert DONE not in [run.state for run in desk.runs.all()]
