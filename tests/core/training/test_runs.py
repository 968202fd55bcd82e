"""Runs as processes, with a stand-in for training that obeys, resists or fails as its tower's name says."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import TrainingError
from core.settings import ADMIN_PASSWORD
from core.splits import Split
from core.training.run_status import BROKEN_OFF, DONE, FAILED, RUNNING, STOPPED, Run, RunOrder
from core.training.runs import Runs

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
def runs(tmp_path: Path, trainer: list[str]) -> Iterator[Runs]:
    one = Runs(tmp_path / "models", tmp_path / "cache", trainer)
    yield one
    running = one.running()
    if running is not None:
        one.stop(running, grace_s=0.2)


def order(manner: str = "obeys") -> RunOrder:
    return RunOrder(Path("data/rated.csv"), tower=manner, split=Split("systems", 7, folds=5, fold=2))


def wait_for(runs: Runs, name: str, state: str, phase: str | None = None) -> Run:
    deadline_s = time.monotonic() + WAIT_S
    while True:
        run = runs.run(name)
        if run.state == state and phase in (None, run.phase):
            return run
        assert time.monotonic() < deadline_s, run
        time.sleep(0.02)


def test_the_command_says_what_was_ordered(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADMIN_PASSWORD, "a long password")
    monkeypatch.chdir(tmp_path)
    run = runs.start(order(), "one")
    wait_for(runs, "one", RUNNING, "training")
    seen = json.loads((run.folder / "seen.json").read_text())
    assert seen["password"] is False
    assert seen["options"] == {
        "data": str(tmp_path / "data/rated.csv"),
        "recipe": "frozen",
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


def test_progress_is_what_training_tells(runs: Runs) -> None:
    assert runs.running() is None
    runs.start(order(), "one")
    run = wait_for(runs, "one", RUNNING, "training")
    told = (run.message, run.share, run.eta_s, run.epoch, run.epochs)
    assert told == ("Epoch 3 of 9", 0.5, 8.0, 3, 9)
    assert runs.running() == "one"
    assert RunOrder.from_json(run.order.to_json()) == run.order


def test_one_run_at_a_time_on_the_machine(runs: Runs, tmp_path: Path, trainer: list[str]) -> None:
    runs.start(order(), "one")
    elsewhere = Runs(tmp_path / "models", tmp_path / "cache", trainer)
    for there in (runs, elsewhere):
        with pytest.raises(TrainingError, match="one at a time"):
            there.start(order(), "two")
    assert not (tmp_path / "models/two").exists()


def test_stopping_and_going_on(runs: Runs) -> None:
    runs.start(order(), "one")
    wait_for(runs, "one", RUNNING, "training")
    assert runs.stop("one").state == STOPPED
    assert runs.running() is None
    with pytest.raises(TrainingError, match="is not running"):
        runs.stop("one")
    assert runs.resume("one").state == RUNNING
    wait_for(runs, "one", RUNNING, "training")
    runs.stop("one")
    assert [run.name for run in runs.all()] == ["one"]


def test_a_run_that_does_not_stop_is_killed(runs: Runs) -> None:
    runs.start(order("resists"), "one")
    wait_for(runs, "one", RUNNING, "training")
    run = runs.stop("one", grace_s=0.3)
    assert run.state == BROKEN_OFF
    assert run.message.startswith("It ended without a word.")


def test_a_failure_is_told(runs: Runs) -> None:
    runs.start(order("fails"), "one")
    assert wait_for(runs, "one", FAILED).message == "clip 7 is missing"
    runs.start(order("mutters"), "two")
    run = wait_for(runs, "two", BROKEN_OFF)
    assert run.message.splitlines()[1:] == ["train: --tower mutters is unknown"]


def test_a_finished_run_is_a_model_and_stays(runs: Runs) -> None:
    runs.start(order("ends"), "one")
    wait_for(runs, "one", DONE)
    with pytest.raises(TrainingError, match="finished"):
        runs.resume("one")
    with pytest.raises(TrainingError, match="is done"):
        runs.delete("one")
    with pytest.raises(TrainingError, match="Choose another name"):
        runs.start(order(), "one")


def test_what_was_deleted_can_be_brought_back_until_the_next(runs: Runs) -> None:
    for name in ("one", "two"):
        runs.start(order("fails"), name)
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
def test_a_name_stays_in_the_folder(runs: Runs, name: str) -> None:
    with pytest.raises(TrainingError, match=r"cannot be the name of a run|There is no run"):
        runs.run(name)
    if name:
        with pytest.raises(TrainingError, match="cannot be the name of a run"):
            runs.start(order(), name)
    assert not list(runs.models.parent.glob("up*"))


def test_a_run_outlives_the_server_that_started_it(runs: Runs, tmp_path: Path, trainer: list[str]) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom core.training.run_status import RunOrder\n"
        "from core.training.runs import Runs\nfolder, *trainer = sys.argv[1:]\n"
        "Runs(Path(folder), Path('cache'), trainer).start(RunOrder(Path('x'), tower='obeys'), 'one')\n"
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
        runs.start(order(), "two")
    assert runs.stop("one").state == STOPPED


def test_a_progress_file_that_cannot_be_read_says_so(runs: Runs) -> None:
    runs.start(order(), "one")
    run = wait_for(runs, "one", RUNNING, "training")
    (run.folder / "progress.json").write_text("{")
    assert runs.run("one").message == "progress.json of the run cannot be read (JSONDecodeError)."
