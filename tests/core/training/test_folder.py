"""The folder of a run: it begins once, tells how far it is, and uses nothing that is damaged or of others."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from core.errors import TrainingError
from core.scales import MUSICEVAL
from core.training.folder import RunFolder
from core.training.loop import FitState
from core.training.recipe import RunProgress

RUN: dict[str, Any] = {
    "recipe": {"name": "frozen", "epochs": 3},
    "tower": {"name": "small", "sha256": "a"},
    "split": {"kind": "random"},
    "seed": 0,
    "data": {"sha256": "d", "name": "music"},
    "processes": 1,
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    begun = RunFolder(tmp_path / "models" / "first")
    begun.begin(RUN)
    return begun


def progress_of(folder: RunFolder) -> dict[str, Any]:
    return dict(json.loads((folder.path / "progress.json").read_text()))


def test_a_run_begins_once_and_goes_on(folder: RunFolder) -> None:
    assert (folder.is_begun, folder.is_finished) == (True, False)
    folder.begin(RUN | {"processes": 2, "data": {"sha256": "d", "name": "moved"}})
    assert folder.run() == RUN


def test_another_run_is_refused_with_what_differs(folder: RunFolder) -> None:
    other = RUN | {"seed": 1, "recipe": {"name": "frozen", "epochs": 5}, "data": {"sha256": "e"}}
    with pytest.raises(TrainingError) as raised:
        folder.begin(other)
    assert str(raised.value) == (
        'The folder "first" holds another run: seed is 1, was 0; recipe.epochs is 5, was 3; '
        "data.sha256 is 'e', was 'd'. Give the same options to continue it, or a new folder."
    )
    assert folder.run() == RUN


def test_nothing_of_others_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(TrainingError, match=r"has a README\.md that is not of a training run"):
        RunFolder(tmp_path).begin(RUN)
    (tmp_path / "README.md").rename(tmp_path / "notes.md")
    RunFolder(tmp_path).begin(RUN)
    assert (tmp_path / "notes.md").read_text() == "mine"
    with pytest.raises(TrainingError, match=r'The folder "sub" cannot be written: Not a directory\.'):
        RunFolder(tmp_path / "notes.md" / "sub").begin(RUN)


def test_progress_is_written_once_a_second_and_at_each_phase(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("core.training.folder.time", SimpleNamespace(monotonic=lambda: clock[0]))
    epochs = []
    for now_s, epoch in ((100, 1), (100.9, 2), (101.1, 3)):
        clock[0] = now_s
        folder.report(RunProgress("training", "On it", 0.5, 2.0, epoch, 9))
        epochs.append(progress_of(folder)["epoch"])
    assert epochs == [1, 1, 3]
    folder.report(RunProgress("done", "Ready", 1.0, 0.0, 9, 9))
    progress = progress_of(folder)
    assert progress.pop("at").endswith("+00:00")
    assert progress.pop("pid") > 0
    assert progress == dataclasses.asdict(RunProgress("done", "Ready", 1.0, 0.0, 9, 9))


def test_the_log_has_a_row_an_epoch(folder: RunFolder) -> None:
    row = {"epoch": 1, "train_l1": 0.5, "learning_rate": 0.1, "seconds": 2.5}
    folder.write_log(FitState(log=[row, row | {"epoch": 2}], best_epoch=1), MUSICEVAL)
    assert (folder.path / "log.csv").read_text().splitlines() == [
        "epoch,train_l1,dev_l1,dev_l1_musical_impression,dev_l1_textual_alignment,dev_srcc,learning_rate,seconds,kept",
        "1,0.5,,,,,0.1,2.5,1",
        "2,0.5,,,,,0.1,2.5,0",
    ]


def test_the_state_is_kept_until_the_end(folder: RunFolder) -> None:
    assert folder.read_state() is None
    folder.save_state({"epoch": 2, "weights": {"a": torch.ones(2)}})
    state = folder.read_state()
    assert state is not None
    assert state["epoch"] == 2
    assert torch.equal(state["weights"]["a"], torch.ones(2))
    folder.end()
    folder.end()
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_run"),)


def test_damaged_and_dangerous_files_are_refused(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    folder.save_state({"epoch": 2})
    content = (folder.path / "state.pt").read_bytes()
    torch.save({"epoch": Malicious()}, folder.path / "other.pt")
    for damage in (b"", content[:100], b"x" * 100, (folder.path / "other.pt").read_bytes()):
        (folder.path / "state.pt").write_bytes(damage)
        with pytest.raises(TrainingError, match=r'state\.pt in "first" is damaged, so the run cannot go on'):
            folder.read_state()
    assert not (tmp_path / "was_run").exists()
    (folder.path / "run.json").write_text("{")
    with pytest.raises(TrainingError, match=r'run\.json in "first" is missing or damaged'):
        folder.begin(RUN)
    with pytest.raises(TrainingError):
        folder.metrics()
