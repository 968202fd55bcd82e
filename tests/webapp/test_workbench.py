"""Runs beside each other: what they must beat in the same table, curves over each other, warnings, notes."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from core.errors import TrainingError
from core.files import sha256_of
from core.training.about import About
from core.training.courses import Course
from core.training.judges import describe
from core.training.manager import RunManager
from core.training.recipe import TrainingPlan
from core.training.registry import ModelRegistry
from tests.webapp.layouts import laid_out
from webapp.workbench import Workbench, entries, overlaid, runs_table, warnings_of

HOSTILE = "<img src=x onerror=alert(1)>"
LOG = (
    "epoch,train_l1,dev_l1,dev_l1_musical_impression,dev_l1_textual_alignment,dev_srcc,kept\n"
    "1,0.9,0.8,0.7,0.9,0.1,0\n2,0.5,0.5,0.4,0.6,0.4,1\n3,0.2,0.6,0.5,0.7,0.3,0\n"
)


def finished(folder: Path, checkpoint: Path, srcc: float, seed: int = 0) -> None:
    """A model that was trained, with its controls."""
    shutil.copytree(checkpoint, folder)
    figures = {"n": 12, "mse": 0.4, "srcc": srcc, "lcc": srcc, "ktau": srcc}
    control = {"utterance": {"musical_impression": {"n": 12, "mse": 0.777}}}
    blind = {"utterance": {"musical_impression": figures | {"srcc": 0.111}}}
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics |= {"utterance": {"musical_impression": figures}, "part": "test", "doubts": ["It may learn little."]}
    metrics |= {"controls": {"mean": control, "prompt": blind}, "best_epoch": 2, "epochs": 3}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    config = json.loads((folder / "config.json").read_text()) | {"metrics_sha256": sha256_of(folder / "metrics.json")}
    (folder / "config.json").write_text(json.dumps(config))
    run = {"data": {"name": "d", "sha256": "0" * 64, "parts": {"train": 9}}, "recipe": {"name": "frozen"}, "seed": seed}
    (folder / "run.json").write_text(json.dumps(run | {"split": {"kind": "random"}, "tower": {"name": "ears"}}))
    (folder / "log.csv").write_text(LOG)


@pytest.fixture
def models(tmp_path: Path, random_checkpoint: Path) -> Path:
    """Two finished models of the same clips, and a run that broke off."""
    for name, srcc in (("one", 0.5), ("two", 0.6)):
        finished(tmp_path / "models" / name, random_checkpoint, srcc)
    broken = tmp_path / "models" / "broken"
    broken.mkdir()
    (broken / "order.json").write_text(json.dumps(TrainingPlan(Path("/data")).to_json()))
    return tmp_path / "models"


@pytest.fixture
def runs(models: Path) -> RunManager:
    return RunManager(models, models / "cache", (sys.executable, "-S", "-c", ""))


def test_runs_of_the_same_clips_stand_above_what_they_must_beat(runs: RunManager, models: Path) -> None:
    describe(ModelRegistry(models), "one", HOSTILE, "")
    found = entries(runs, ModelRegistry(models))
    shown = runs_table(found)
    assert {one.of.name for one in found} == {"one", "two", "broken"}
    assert shown.count("To beat: training mean") == shown.count("To beat: prompt alone") == 1
    assert max(shown.index("0.500"), shown.index("0.600")) < shown.index("To beat: training mean")
    for said in ("0.777", "0.111", "2 of 3", "broken off", "frozen, ears, random, seed 0"):
        assert said in shown
    assert "<img" not in shown
    assert "No run yet" in runs_table([])


def test_curves_are_drawn_by_scale_with_the_epoch_that_is_kept(runs: RunManager, models: Path) -> None:
    describe(ModelRegistry(models), "one", HOSTILE, "")
    shown = overlaid([one for one in entries(runs, ModelRegistry(models)) if one.of.name != "broken"])
    for title in ("training clips", "dev part: musical impression", "dev part: textual alignment", "SRCC on the dev"):
        assert title in shown
    assert shown.count("<circle") == 2 * 4
    assert shown.count("epoch 2 is kept") == 2
    assert "<img" not in shown


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (LOG, True),
        (LOG.replace("3,0.2,0.6", "3,0.2,0.54"), False),  # rose less than a tenth
        (LOG.replace("3,0.2,0.6", "3,0.6,0.6"), False),  # learned less of its clips, too
        (LOG.splitlines(keepends=True)[0], False),
        ("epoch,train_l1\n1,0.5\n2,0.4\n", False),
        ("\0", False),
    ],
)
def test_overfitting_is_told(tmp_path: Path, log: str, said: bool) -> None:
    (tmp_path / "log.csv").write_text(log)
    assert ("It overfits after epoch 2" in Course.read(tmp_path).overfits()) == said


def test_what_to_know_stands_by_the_run(runs: RunManager, models: Path) -> None:
    said = warnings_of(entries(runs, ModelRegistry(models)))
    assert {*said} == {"one", "two"}
    assert said["one"][0] == "It may learn little."
    assert said["one"][1].startswith("It overfits after epoch 2: until epoch 3 its error on the training clips fell")


def test_a_note_stays_with_its_run(runs: RunManager, models: Path) -> None:
    with laid_out():
        bench = Workbench(runs, ModelRegistry(models))
        handlers: dict[str, Any] = {}
        bench.save.click = lambda function, *_, **__: handlers.update(note=function)  # type: ignore[method-assign]
        bench.connect(gr.State(""), lambda name: {"name": name}, [])
    assert handlers["note"]("broken", " The disk was full. ", "one") == {"name": "one"}
    assert About.read(models / "broken").note == "The disk was full."
    note, files = bench.show_run("broken")
    assert note == "The disk was full."
    assert "about.json" in files
    assert bench.show_run(None) == ("", "")
    assert "log.csv" in bench.show_run("one")[1]
    with pytest.raises(TrainingError, match="Choose a run"):
        bench.show_run("../one")
    shown = bench.show()
    assert sorted(shown[bench.chosen]["value"]) == ["one", "two"]
    assert bench.draw([]) == ""
