"""Models, and runs as processes: a stand-in for training obeys, resists or fails as its tower's name says."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import CheckpointError, TrainingError
from core.scales import MUSICEVAL
from core.settings import ADMIN_PASSWORD
from core.splits import Split
from core.training.manager import BROKEN_OFF, DONE, FAILED, RUNNING, STOPPED, Run, RunManager
from core.training.recipe import RunProgress, TrainingPlan
from core.training.registry import ModelRegistry, RunFacts

WAIT_S = 20.0
TRAINER = """
import json, os, pathlib, signal, sys, time
options = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv[1:])
folder, manner = pathlib.Path(options["output"]), options["tower"]
def tell(phase, message=""):
    told = dict(phase=phase, message=message, share=0.5, eta_s=8.0, epoch=3, epochs=9)
    (folder / "part").write_text(json.dumps(told))
    (folder / "part").replace(folder / "progress.json")
def stop(*_):
    tell("stopped", "Stopped")
    sys.exit(143)
seen = dict(options=options, password="MUSICEVAL_ADMIN_PASSWORD" in os.environ)
(folder / "seen.json").write_text(json.dumps(seen))
if manner == "fails":
    tell("failed", "clip 7 is missing")
    sys.exit(2)
if manner == "mutters":
    sys.stderr.write("  3%|   | going\\rtrain: --tower mutters is unknown\\n")
    sys.exit(2)
if manner == "ends":
    (folder / "config.json").write_text("{}")
    sys.exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if manner == "resists" else stop)
tell("training", "Epoch 3 of 9")
while True:
    time.sleep(0.02)
"""


@pytest.fixture
def trainer(tmp_path: Path) -> list[str]:
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    return [sys.executable, "-S", str(script)]


@pytest.fixture
def runs(tmp_path: Path, trainer: list[str]) -> Iterator[RunManager]:
    one = RunManager(tmp_path / "models", tmp_path / "cache", trainer)
    yield one
    running = one.running()
    if running is not None:
        one.stop(running, grace_s=0.2)


def plan(manner: str = "obeys") -> TrainingPlan:
    return TrainingPlan(Path("data/rated.csv"), tower=manner, split=Split("systems", 7, folds=5, fold=2))


def wait_for(runs: RunManager, name: str, state: str, phase: str | None = None) -> Run:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        run = runs.run(name)
        if run.state == state and phase in (None, run.progress.phase):
            return run
        assert time.monotonic() < deadline_s, run
        time.sleep(0.02)


def test_the_command_says_what_was_ordered(runs: RunManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADMIN_PASSWORD, "a long password")
    monkeypatch.chdir(tmp_path)
    run = runs.start(plan(), "one")
    wait_for(runs, "one", RUNNING, "training")
    seen = json.loads((run.folder / "seen.json").read_text())
    assert seen["password"] is False
    assert seen["options"] == {
        "data": str(tmp_path / "data/rated.csv"),
        "recipe": "ordinal",
        "tower": "obeys",
        "split": "systems",
        "seed": "7",
        "test-share": "0.15",
        "dev-share": "0.1",
        "folds": "5",
        "fold": "2",
        "output": str(tmp_path / "models/one"),
        "cache": str(tmp_path / "cache"),
    }


def test_progress_is_what_training_tells(runs: RunManager) -> None:
    assert runs.running() is None
    runs.start(plan(), "one")
    run = wait_for(runs, "one", RUNNING, "training")
    assert run.progress == RunProgress("training", "Epoch 3 of 9", 0.5, 8.0, 3, 9)
    assert runs.running() == "one"
    assert run.plan.split == plan().split


def test_one_run_at_a_time_on_the_machine(runs: RunManager, tmp_path: Path, trainer: list[str]) -> None:
    runs.start(plan(), "one")
    elsewhere = RunManager(tmp_path / "models", tmp_path / "cache", trainer)
    for there in (runs, elsewhere):
        with pytest.raises(TrainingError, match="one at a time"):
            there.start(plan(), "two")
    assert not (tmp_path / "models/two").exists()


def test_stopping_and_going_on(runs: RunManager) -> None:
    runs.start(plan(), "one")
    wait_for(runs, "one", RUNNING, "training")
    assert runs.stop("one").state == STOPPED
    assert runs.running() is None
    with pytest.raises(TrainingError, match="is not running"):
        runs.stop("one")
    assert runs.resume("one").state == RUNNING
    wait_for(runs, "one", RUNNING, "training")
    runs.stop("one")
    assert [run.name for run in runs.all()] == ["one"]


def test_a_run_that_does_not_stop_is_killed(runs: RunManager) -> None:
    runs.start(plan("resists"), "one")
    wait_for(runs, "one", RUNNING, "training")
    run = runs.stop("one", grace_s=0.3)
    assert run.state == BROKEN_OFF
    assert run.progress.message.startswith("It ended without a word.")


def test_a_failure_is_told(runs: RunManager) -> None:
    runs.start(plan("fails"), "one")
    assert wait_for(runs, "one", FAILED).progress.message == "clip 7 is missing"
    runs.start(plan("mutters"), "two")
    run = wait_for(runs, "two", BROKEN_OFF)
    assert run.progress.message.splitlines()[1:] == ["train: --tower mutters is unknown"]


def test_a_finished_run_is_a_model_and_stays(runs: RunManager) -> None:
    runs.start(plan("ends"), "one")
    wait_for(runs, "one", DONE)
    with pytest.raises(TrainingError, match="finished"):
        runs.resume("one")
    with pytest.raises(TrainingError, match="is done"):
        runs.delete("one")
    with pytest.raises(TrainingError, match="Choose another name"):
        runs.start(plan(), "one")


def test_what_was_deleted_can_be_brought_back_until_the_next(runs: RunManager) -> None:
    for name in ("one", "two"):
        runs.start(plan("fails"), name)
        wait_for(runs, name, FAILED)
    runs.delete("one")
    assert ([run.name for run in runs.all()], runs.deleted()) == (["two"], "one")
    assert runs.restore().state == FAILED
    runs.delete("one")
    runs.delete("two")
    assert (runs.all(), runs.deleted()) == ([], "two")
    runs.restore()
    with pytest.raises(TrainingError, match="no deleted run"):
        runs.restore()


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "-x", "", "a b", "x" * 65, "a\n"])
def test_a_name_stays_in_the_folder(runs: RunManager, name: str) -> None:
    with pytest.raises(TrainingError, match=r"cannot be the name of a run|There is no run"):
        runs.run(name)
    if name:
        with pytest.raises(TrainingError, match="cannot be the name of a run"):
            runs.start(plan(), name)
    assert not list(runs.models.parent.glob("up*"))


def test_a_run_outlives_the_server_that_started_it(runs: RunManager, tmp_path: Path, trainer: list[str]) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom core.training.recipe import TrainingPlan\n"
        "from core.training.manager import RunManager\nfolder, *trainer = sys.argv[1:]\n"
        "runs = RunManager(Path(folder), Path('cache'), trainer)\n"
        "runs.start(TrainingPlan(Path('x'), tower='obeys'), 'one')\n"
        "print('started', flush=True)\ntime.sleep(60)\n"
    )
    server = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "models"), *trainer],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline() == b"started\n"
        os.kill(server.pid, signal.SIGKILL)
    server.wait()
    wait_for(runs, "one", RUNNING, "training")
    with pytest.raises(TrainingError, match="one at a time"):
        runs.start(plan(), "two")
    assert runs.stop("one").state == STOPPED


def test_a_progress_file_that_cannot_be_read_says_so(runs: RunManager) -> None:
    runs.start(plan(), "one")
    run = wait_for(runs, "one", RUNNING, "training")
    (run.folder / "progress.json").write_text("{")
    assert runs.run("one").progress.message == "progress.json of the run cannot be read (JSONDecodeError)."


@pytest.fixture
def registry(tmp_path: Path, random_checkpoint: Path) -> ModelRegistry:
    """Two models, the older one named b."""
    for age_s, name in enumerate(("a", "b")):
        folder = Path(shutil.copytree(random_checkpoint, tmp_path / "models" / name))
        (folder / "run.json").write_text(json.dumps({"recipe": {"name": "frozen"}, "seed": 3}))
        os.utime(folder / "config.json", (1e9 - age_s, 1e9 - age_s))
    return ModelRegistry(tmp_path / "models")


def test_models_come_newest_first_with_what_their_folders_say(registry: ModelRegistry) -> None:
    first, second = registry.models()
    assert (first.name, second.name) == ("a", "b")
    assert (first.problem, first.measured.scales) == ("", MUSICEVAL)
    assert first.run == RunFacts("frozen", "?", "?", "3", "?", "?", {})
    assert first.trained_at.year == 2001
    assert registry.model("b") == second


def test_a_folder_without_config_is_no_model(registry: ModelRegistry) -> None:
    (registry.folder / "unfinished").mkdir()
    shutil.copytree(registry.folder / "a", registry.folder / ".deleted")
    assert [model.name for model in registry.models()] == ["a", "b"]
    with pytest.raises(CheckpointError, match=r'^There is no model "unfinished"\.'):
        registry.model("unfinished")


@pytest.mark.parametrize("name", ["config.json", "metrics.json"])
@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_damaged_model_is_listed_with_its_problem(registry: ModelRegistry, name: str, content: str) -> None:
    (registry.folder / "a" / name).write_text(content, errors="surrogateescape")
    assert name in next(model.problem for model in registry.models() if model.name == "a")


def test_metrics_that_were_edited_are_a_problem(registry: ModelRegistry) -> None:
    path = registry.folder / "a" / "metrics.json"
    path.write_text(path.read_text().replace("0.75", "0.01"))
    assert "metrics.json" in registry.model("a").problem


def test_what_stands_against_a_model_is_read(registry: ModelRegistry) -> None:
    for name, changes in (("a", {"doubts": ["Too few."], "best_epoch": 3, "epochs": 9}), ("b", {})):
        folder = registry.folder / name
        config = json.loads((folder / "config.json").read_text())
        del config["metrics_sha256"]  # a folder from before
        (folder / "config.json").write_text(json.dumps(config))
        held_out = json.loads((folder / "metrics.json").read_text())["held_out"] | {"n_clips": 2}
        (folder / "metrics.json").write_text(json.dumps({"held_out": held_out, **changes}))
    assert (registry.model("a").doubts, registry.model("a").kept) == (("Too few.",), "epoch 3 of 9 is kept")
    few = "Its scores have no range: 2 clips of 10 systems are too few; a range needs 40 clips of 10 systems."
    assert (registry.model("b").doubts, registry.model("b").kept) == ((few,), "")


def test_a_model_without_its_weights_is_damaged(registry: ModelRegistry) -> None:
    weights = next((registry.folder / "a").glob("model*.safetensors"))
    weights.unlink()
    assert weights.name in registry.model("a").problem


def test_going_back_takes_the_model_before(registry: ModelRegistry) -> None:
    assert registry.active() is None
    with pytest.raises(CheckpointError, match="no earlier model"):
        registry.back()
    for name in ("a", "b", None, "a"):
        registry.activate(name)
    passed = []
    for _ in range(4):
        passed.append(registry.active())
        registry.back()
    assert passed == ["a", None, "b", "a"]
    assert registry.active() is None


def test_the_ledger_only_grows(registry: ModelRegistry) -> None:
    ledger = registry.folder / "activations.jsonl"
    registry.activate("a")
    before = ledger.read_text()
    registry.back()
    assert ledger.read_text().startswith(before)
    rows = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(row["model"], row.get("back", False)) for row in rows] == [("a", False), (None, True)]
    assert ModelRegistry(registry.folder).active() is None


def test_a_damaged_ledger_says_where(registry: ModelRegistry) -> None:
    registry.activate("a")
    with (registry.folder / "activations.jsonl").open("a") as ledger:
        ledger.write("nothing\n")
    with pytest.raises(CheckpointError, match=r"^Line 2 of activations\.jsonl is damaged"):
        registry.active()
