import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import TrainingError
from core.training.run_folder import RunFolder, RunProgress

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


def test_a_run_begins_once_and_goes_on(folder: RunFolder) -> None:
    assert folder.is_begun
    assert not folder.is_finished
    folder.begin(RUN | {"processes": 2, "data": {"sha256": "d", "name": "moved"}})
    assert folder.run() == RUN


def test_another_run_is_refused_with_what_differs(folder: RunFolder) -> None:
    other = RUN | {"seed": 1, "recipe": {"name": "frozen", "epochs": 5}, "data": {"sha256": "e"}}
    with pytest.raises(TrainingError) as raised:
        folder.begin(other)
    assert str(raised.value) == (
        'The folder "first" holds another run: recipe.epochs is 5, was 3; seed is 1, was 0; '
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


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r'The folder "sub" cannot be written: Not a directory\.'):
        RunFolder(tmp_path / "file" / "sub").begin(RUN)


def test_progress_is_told_once_a_second_and_at_each_phase(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("core.training.run_folder.time.monotonic", lambda: clock[0])
    told = []
    for now_s, phase, epoch in ((100, "training", 1), (100.9, "training", 2), (101.1, "training", 3)):
        clock[0] = now_s
        folder.tell(RunProgress(phase, "On it", 0.5, 2.0, epoch, 9))
        told.append(json.loads((folder.path / "progress.json").read_text())["epoch"])
    assert told == [1, 1, 3]
    folder.tell(RunProgress("done", "Ready", 1.0, 0.0, 9, 9))
    progress = json.loads((folder.path / "progress.json").read_text())
    assert progress.pop("at").endswith("+00:00")
    assert progress.pop("pid") > 0
    assert progress == {
        "phase": "done",
        "message": "Ready",
        "share": 1.0,
        "eta_s": 0.0,
        "epoch": 9,
        "epochs": 9,
    }


def test_the_log_has_a_row_an_epoch(folder: RunFolder) -> None:
    folder.write_log([{"epoch": 1, "train_l1": 0.5, "learning_rate": 0.1, "seconds": 2.5}])
    assert (folder.path / "log.csv").read_text().splitlines() == [
        "epoch,train_l1,dev_l1,dev_l1_musical_impression,dev_l1_textual_alignment,learning_rate,seconds",
        "1,0.5,,,,0.1,2.5",
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
    assert folder.read_state() is None
    assert [path.name for path in folder.path.iterdir()] == ["run.json"]


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("was_run"),)


def test_a_damaged_or_dangerous_state_is_refused(
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


def test_a_damaged_run(folder: RunFolder) -> None:
    (folder.path / "run.json").write_text("{")
    with pytest.raises(TrainingError, match=r'run\.json in "first" is missing or damaged'):
        folder.begin(RUN)
    with pytest.raises(TrainingError, match=r'metrics\.json in "first" is missing or damaged'):
        folder.metrics()
