import json
import os
import shutil
from pathlib import Path

import pytest

from core.errors import CheckpointError
from core.training.shelf import ModelShelf


@pytest.fixture
def shelf(tmp_path: Path, random_checkpoint: Path) -> ModelShelf:
    """Two models, the older one named b."""
    for age_s, name in enumerate(("a", "b")):
        folder = Path(shutil.copytree(random_checkpoint, tmp_path / "models" / name))
        (folder / "run.json").write_text(json.dumps({"recipe": {"name": "frozen"}, "seed": 3}))
        os.utime(folder / "config.json", (1e9 - age_s, 1e9 - age_s))
    return ModelShelf(tmp_path / "models")


def test_models_come_newest_first_with_what_their_folders_say(shelf: ModelShelf) -> None:
    first, second = shelf.models()
    assert (first.name, second.name) == ("a", "b")
    assert (first.demo, first.problem, first.run["seed"]) == (True, "", 3)
    assert first.metrics["held_out"]["n_clips"] == 40
    assert first.trained_at.year == 2001
    assert shelf.model("b") == second


def test_a_folder_without_config_is_no_model(shelf: ModelShelf) -> None:
    (shelf.folder / "unfinished").mkdir()
    shutil.copytree(shelf.folder / "a", shelf.folder / ".deleted")
    assert [model.name for model in shelf.models()] == ["a", "b"]
    with pytest.raises(CheckpointError, match=r'^There is no model "unfinished"\.'):
        shelf.model("unfinished")


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_damaged_model_is_listed_with_its_problem(shelf: ModelShelf, name: str, content: str) -> None:
    (shelf.folder / "a" / name).write_text(content, errors="surrogateescape")
    assert name in next(model.problem for model in shelf.models() if model.name == "a")


def test_a_model_without_its_weights_is_damaged(shelf: ModelShelf) -> None:
    weights = next((shelf.folder / "a").glob("model*.safetensors"))
    weights.unlink()
    assert weights.name in shelf.model("a").problem


def test_going_back_takes_the_model_before(shelf: ModelShelf) -> None:
    assert shelf.active() is None
    with pytest.raises(CheckpointError, match="no earlier model"):
        shelf.back()
    for name in ("a", "b", None, "a"):
        shelf.activate(name)
    passed = []
    for _ in range(4):
        passed.append(shelf.active())
        shelf.back()
    assert passed == ["a", None, "b", "a"]
    assert shelf.active() is None


def test_the_ledger_only_grows(shelf: ModelShelf) -> None:
    ledger = shelf.folder / "activations.jsonl"
    shelf.activate("a")
    before = ledger.read_text()
    shelf.back()
    assert ledger.read_text().startswith(before)
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(row["model"], row.get("back", False)) for row in rows] == [("a", False), (None, True)]
    assert ModelShelf(shelf.folder).active() is None


def test_a_damaged_ledger_says_where(shelf: ModelShelf) -> None:
    shelf.activate("a")
    with (shelf.folder / "activations.jsonl").open("a") as ledger:
        ledger.write("nothing\n")
    with pytest.raises(CheckpointError, match=r"^Line 2 of activations\.jsonl is damaged"):
        shelf.active()
