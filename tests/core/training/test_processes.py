"""Processes of training: one that is killed goes on to the same bits, and two end where one does."""

import dataclasses
import multiprocessing
import subprocess
import sys
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from core.splits import Split
from core.training.folder import RunFolder
from core.training.recipe import RECIPES, TrainingPlan
from tests.core.training import on_random_tower
from tests.core.training.test_run import same_model
from tests.rated import write_rated

ROOT = Path(__file__).parents[3]
MOST_S = 300

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * MOST_S)]


@dataclass(frozen=True)
class Case:
    """A plan, and the folder of its run."""

    plan: TrainingPlan
    output: Path

    @property
    def arguments(self) -> list[str]:
        places = [f"--output={self.output}", f"--cache={self.output.with_name('cache')}", "--device=cpu"]
        return ["train", *self.plan.arguments(), *places]

    def started(self) -> BaseProcess:
        """A process of the command, forked from one that has imported all of it."""
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload([on_random_tower.__name__])
        process = processes.Process(target=on_random_tower.run, args=(self.arguments,))
        process.start()
        return process

    def to_the_end(self) -> None:
        process = self.started()
        process.join(MOST_S)
        assert process.exitcode == 0


def two_cases(folder: Path, recipe: str, **changes: int) -> list[Case]:
    """The same plan twice."""
    data, split = write_rated(folder / "data", clips=14), Split("random", seed=2, test_share=0.4)
    plan = TrainingPlan(data, dataclasses.replace(RECIPES[recipe], **changes), "ears", split)  # type: ignore[arg-type]
    return [Case(plan, folder / name) for name in ("one", "other")]


@pytest.mark.parametrize("recipe", ["frozen", "paper"])
def test_two_processes_end_where_one_does(recipe: str, tmp_path: Path) -> None:
    one, two = two_cases(tmp_path, recipe, epochs=2)
    one.to_the_end()
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [sys.executable, *launch, "-m", on_random_tower.__name__, *two.arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=MOST_S)
    assert RunFolder(two.output).run()["processes"] == 2
    mine, theirs = (RunFolder(of.output).measured()[0].agreement for of in (one, two))
    for at, agreement in mine.items():
        assert theirs[at].figures == pytest.approx(agreement.figures, abs=1e-3)
    alone, shared = (safetensors.torch.load_file(of.output / "model.safetensors") for of in (one, two))
    assert all(torch.allclose(alone[key].float(), shared[key].float(), atol=1e-4) for key in alone)


@pytest.mark.parametrize(("recipe", "epochs"), [("frozen", 30), ("paper", 3)])
def test_killing_makes_no_difference(recipe: str, epochs: int, tmp_path: Path) -> None:
    whole, killed = two_cases(tmp_path, recipe, epochs=epochs, batch_size=4)
    whole.to_the_end()
    state = killed.output / "state.pt"
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = killed.started()
        while not state.exists() or state.stat().st_mtime_ns == before:
            assert process.is_alive()
            time.sleep(0.02)
        process.kill()
        process.join()
        assert not (killed.output / "config.json").exists()
    killed.to_the_end()
    assert same_model(whole.output, killed.output)
