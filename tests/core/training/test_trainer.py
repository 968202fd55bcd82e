"""Whole runs: what they leave, and that stopping, killing and processes make no difference to it."""

import copy
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from core.checkpoint import load_checkpoint
from core.embedded_clips import data_sha256, embed_clips
from core.embeddings import EmbeddingCache
from core.errors import DataError, TrainingError
from core.predictions import LEVELS, measure, predicted, read_predictions
from core.scales import SCALES
from core.scorer import Scorer
from core.sources import read_source
from core.splits import Split, split_clips
from core.towers import StartingTower, load_tower, tower_sha256
from core.training import trainer as training
from core.training.recipes import RECIPES
from core.training.run_folder import LOG_COLUMNS, RunFolder, RunProgress
from core.training.stopping import StopAsked
from core.training.trainer import Plan, fit_heads, train
from tests.rated import write_rated

ROOT = Path(__file__).parents[3]
FROZEN = dataclasses.replace(RECIPES["frozen"], epochs=4, batch_size=6)
PAPER = dataclasses.replace(RECIPES["paper"], epochs=2, batch_size=6, micro_batch=2, learning_rate=0.01)
MODEL_FILES = {
    *("README.md", "config.json", "curves.svg", "log.csv", "metrics.json", "model.safetensors"),
    *("predictions.csv", "progress.json", "run.json", "scatter.svg", "split.csv"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated(tmp_path_factory.mktemp("data"), clips=14)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def starting() -> StartingTower:
    return load_tower("small")


@pytest.fixture(scope="module", autouse=True)
def _fast(starting: StartingTower) -> Iterator[None]:
    """The tower is read from the disk once, and intervals are made of few resamples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.measuring.RESAMPLES", 20)
        patch.setattr("core.training.trained_model.load_tower", lambda _: copy.deepcopy(starting))
        yield


def plan_of(data: Path, cache: Path, output: Path) -> Plan:
    split = Split("random", seed=2, test_share=0.4)
    return Plan(data, FROZEN, "small", split, seed=2, output=output, cache=cache, device="cpu")


@pytest.fixture
def plan(data: Path, cache: Path, tmp_path: Path) -> Plan:
    return plan_of(data, cache, tmp_path / "model")


@pytest.fixture(scope="module")
def frozen_told(
    data: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Plan, list[RunProgress]]:
    """A finished run of the frozen recipe, and what it told."""
    told: list[RunProgress] = []
    plan = plan_of(data, cache, tmp_path_factory.mktemp("models") / "frozen")
    train(plan, told.append)
    return plan, told


@pytest.fixture(scope="module")
def frozen(frozen_told: tuple[Plan, list[RunProgress]]) -> Plan:
    return frozen_told[0]


@pytest.fixture(scope="module")
def paper(frozen: Plan) -> Plan:
    """A finished run of the paper's recipe."""
    plan = elsewhere(frozen, "paper", recipe=PAPER)
    train(plan)
    return plan


@pytest.fixture
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    for draw in ("draw_curves", "draw_scatter"):
        monkeypatch.setattr(f"core.training.trained_model.{draw}", lambda _: "")


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def same_model(one: Path, other: Path) -> bool:
    """Equal to the bit; only times may differ."""
    log, other_log = (pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (one, other))
    pairs = [(one / name, other / name) for name in ("model.safetensors", "predictions.csv", "split.csv")]
    return log.equals(other_log) and all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def elsewhere(plan: Plan, name: str, **changes: Any) -> Plan:
    return dataclasses.replace(plan, output=plan.output.with_name(name), **changes)


def at_epoch(epoch: int, do: Callable[[], object]) -> Callable[[RunProgress], None]:
    def tell(progress: RunProgress) -> None:
        if progress.phase == "training" and progress.epoch == epoch:
            do()

    return tell


def test_progress_is_told(frozen_told: tuple[Plan, list[RunProgress]]) -> None:
    plan, told = frozen_told
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases == ["embedding", "training", "measuring", "done"]
    steps = [progress for progress in told if progress.phase == "training"]
    assert [progress.epoch for progress in steps] == [0, 1, 1, 2, 2, 3, 3, 4]
    assert [progress.share for progress in steps] == [n / 8 for n in range(1, 9)]
    assert steps[-1].eta_s == 0.0
    assert steps[0].message == "Epoch 1 of at most 4"
    log = pd.read_csv(plan.output / "log.csv")
    first = f"train L1 {log['train_l1'][0]:.3f}, dev L1 {log['dev_l1'][0]:.3f}"
    assert steps[1].message == f"Epoch 2 of at most 4, {first}"
    assert list(log) == list(LOG_COLUMNS)
    assert list(log["epoch"]) == [1, 2, 3, 4]


def test_a_run_leaves_a_model(frozen: Plan, starting: StartingTower) -> None:
    plan, folder = frozen, RunFolder(frozen.output)
    assert files(folder.path) == MODEL_FILES
    checkpoint = load_checkpoint(folder.path)
    assert (checkpoint.id, checkpoint.demo) == ("frozen", False)
    assert checkpoint.caveat == "its towers learned composed music only"
    assert tower_sha256(checkpoint.tower) == starting.sha256
    run, metrics = folder.run(), folder.metrics()
    clips = read_source(plan.data)
    assert run["data"]["sha256"] == metrics["data_sha256"] == data_sha256(clips)
    assert run["data"]["parts"] == {"train": 7, "dev": 1, "test": 6}
    assert (run["processes"], run["device"], run["precision"]) == (1, "cpu", "float32")
    assert Split.from_json(run["split"]) == plan.split
    assert run["recipe"] == FROZEN.to_json()
    parts = pd.read_csv(folder.path / "split.csv")
    assert dict(zip(parts["clip_id"], parts["split"], strict=True)) == dict(
        zip(clips.table["clip_id"], split_clips(clips, plan.split).table["split"], strict=True)
    )


@pytest.mark.parametrize("recipe", ["frozen", "paper"])
def test_predictions_are_what_the_scorer_says(recipe: str, request: pytest.FixtureRequest) -> None:
    plan: Plan = request.getfixturevalue(recipe)
    folder = RunFolder(plan.output)
    table = read_predictions(folder.path / "predictions.csv")
    scorer = Scorer.load(folder.path)
    clips = read_source(plan.data).table.set_index("clip_id")
    for row in table.head(2).to_dict("records"):
        score = scorer.score(clips.loc[row["clip_id"], "audio_path"], clips.loc[row["clip_id"], "prompt"])
        for scale in SCALES:
            assert getattr(score, scale) == pytest.approx(row[predicted(scale)], abs=1e-5)
    metrics = folder.metrics()
    assert metrics["part"] == "test"
    assert {level: metrics[level] for level in LEVELS} == measure(table, resamples=20)
    errors = (table[SCALES[0]] - table[predicted(SCALES[0])]).abs()
    assert scorer.checkpoint.held_out.absolute_error[SCALES[0]] == pytest.approx(np.quantile(errors, 0.9))


def test_heads_in_memory_are_those_of_a_run(frozen: Plan, starting: StartingTower) -> None:
    plan = frozen
    clips = split_clips(read_source(plan.data), plan.split)
    embedded = embed_clips(clips, EmbeddingCache(plan.cache, starting.tower, starting.policy))
    parts = [[n for n, of in enumerate(clips.table["split"]) if of == part] for part in ("train", "dev")]
    mos = torch.tensor(clips.table[list(SCALES)].to_numpy())
    heads = fit_heads(embedded, mos, *parts, FROZEN, plan.seed)
    trained = load_checkpoint(plan.output).heads.state_dict()
    assert all(torch.equal(weight, trained[name]) for name, weight in heads.state_dict().items())
    assert not any(weight.requires_grad for weight in heads.parameters())


def test_a_finished_run_is_left_as_it_is(frozen: Plan) -> None:
    plan = frozen
    before = {path: path.stat().st_mtime_ns for path in plan.output.iterdir()}
    told: list[RunProgress] = []
    assert train(plan, told.append).is_finished
    assert told == []
    with pytest.raises(TrainingError, match=r"holds another run: seed is 3, was 2\. Give the same options"):
        train(dataclasses.replace(plan, seed=3))
    assert {path: path.stat().st_mtime_ns for path in plan.output.iterdir()} == before


@pytest.mark.usefixtures("_no_plots")
def test_a_stopped_run_goes_on_to_the_same_bits(plan: Plan, frozen: Plan) -> None:
    with pytest.raises(StopAsked) as raised:
        train(plan, at_epoch(2, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert raised.value.exit_code == 143
    assert json.loads((plan.output / "progress.json").read_text())["phase"] == "stopped"
    assert files(plan.output) == {"log.csv", "progress.json", "run.json", "state.pt"}
    assert same_model(train(plan).path, frozen.output)


class Killed(BaseException):
    """As if the process ended here."""


def kill() -> None:
    raise Killed


@pytest.mark.usefixtures("_no_plots")
@pytest.mark.parametrize("recipe", ["frozen", "paper"])
def test_a_run_that_breaks_off_within_an_epoch_goes_on_to_the_same_bits(
    recipe: str, plan: Plan, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Plan = request.getfixturevalue(recipe)
    plan = dataclasses.replace(plan, recipe=whole.recipe)
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    steps: list[RunProgress] = []

    def tell(progress: RunProgress) -> None:
        steps.extend([progress] if progress.phase == "training" else [])
        if len(steps) == 4:  # the step after the last state that was saved
            kill()

    with pytest.raises(Killed):
        train(plan, tell)
    state = RunFolder(plan.output).read_state()
    assert state is not None
    assert (state["state"]["epoch"], state["state"]["batch"]) == (1, 1)
    assert same_model(train(plan).path, whole.output)


def test_the_papers_recipe_trains_the_tower_too(paper: Plan, starting: StartingTower) -> None:
    checkpoint = load_checkpoint(paper.output)
    run = RunFolder(paper.output).run()
    assert run["tower"]["sha256"] == starting.sha256 != tower_sha256(checkpoint.tower)
    assert not any(weight.requires_grad for weight in checkpoint.tower.parameters())


@pytest.mark.usefixtures("_no_plots")
def test_bfloat16_stays_near_float32(plan: Plan, paper: Plan) -> None:
    folders = [paper.output, plan.output]
    train(dataclasses.replace(plan, recipe=dataclasses.replace(PAPER, precision="bfloat16")))
    tables = [
        read_predictions(folder / "predictions.csv")[list(map(predicted, SCALES))] for folder in folders
    ]
    differences = (tables[0] - tables[1]).abs().to_numpy()
    assert 0 < differences.max() < 0.05


@pytest.mark.usefixtures("_no_plots")
def test_what_fails_before_it_begins_is_told_where_there_is_a_folder(plan: Plan, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train(dataclasses.replace(plan, data=tmp_path / "gone.csv"))
    assert not plan.output.exists()
    plan.output.mkdir()
    (plan.output / "order.json").write_text("{}")
    with pytest.raises(DataError):
        train(dataclasses.replace(plan, data=tmp_path / "gone.csv"))
    progress = json.loads((plan.output / "progress.json").read_text())
    assert (progress["phase"], progress["message"][:10]) == ("failed", '"gone.csv"')
    assert train(plan).is_finished
    assert files(plan.output) == MODEL_FILES | {"order.json"}


def test_clips_that_cannot_be_read_are_told_before_training(plan: Plan, tmp_path: Path) -> None:
    data = write_rated(tmp_path / "broken", clips=8)
    for name in ("c01.wav", "c05.wav"):
        (data.parent / name).write_bytes(b"no sound")
    for recipe in (FROZEN, PAPER):
        with pytest.raises(DataError, match=r'^2 clips cannot be read:\n  "c0[15]\.wav".*\n  "c0[15]\.wav"'):
            train(elsewhere(plan, recipe.name, data=data, recipe=recipe))
        progress = json.loads((plan.output.with_name(recipe.name) / "progress.json").read_text())
        assert progress["phase"] == "failed"


@pytest.mark.usefixtures("_no_plots")
def test_simulated_ratings_are_never_forgotten(plan: Plan, tmp_path: Path) -> None:
    data = write_rated(tmp_path / "composed")
    (data.parent / "SIMULATED").touch()
    checkpoint = load_checkpoint(train(dataclasses.replace(plan, data=data)).path)
    assert checkpoint.demo
    assert checkpoint.caveat == "trained on simulated ratings; its towers learned composed music only"
    assert "with simulated ratings" in checkpoint.held_out.data
    card = (plan.output / "README.md").read_text()
    assert (
        "**Not an expert panel: trained on simulated ratings; its towers learned composed music only" in card
    )


def test_devices_that_are_not_here(plan: Plan) -> None:
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(TrainingError, match=f"There is no device '{missing}' here"):
        train(dataclasses.replace(plan, device=missing))


def command(plan: Plan, *options: str) -> list[str]:
    fields = [f"--epochs={plan.recipe.epochs}", f"--batch-size={plan.recipe.batch_size}"]
    places = [f"--data={plan.data}", f"--output={plan.output}", f"--cache={plan.cache}", "--device=cpu"]
    return [
        "-m",
        "core",
        "train",
        f"--recipe={plan.recipe.name}",
        "--seed=2",
        "--test-share=0.4",
        *fields,
        *places,
        *options,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frozen", "paper"])
@pytest.mark.timeout(600)
def test_two_processes_end_where_one_does(name: str, plan: Plan) -> None:
    recipe = dataclasses.replace(RECIPES[name], epochs=2)
    one, two = (elsewhere(plan, folder, recipe=recipe) for folder in ("one", "two"))
    assert recipe.batch_size == 64
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([sys.executable, *command(one)], cwd=ROOT, check=True, capture_output=True, timeout=200)
    subprocess.run(
        [sys.executable, *torchrun, *command(two)], cwd=ROOT, check=True, capture_output=True, timeout=300
    )
    metrics, others = (RunFolder(of.output).metrics() for of in (one, two))
    assert RunFolder(two.output).run()["processes"] == 2
    for scale, figures in metrics["utterance"].items():
        for figure in ("mse", "lcc", "srcc", "ktau"):
            assert others["utterance"][scale][figure] == pytest.approx(figures[figure], abs=1e-3)
    mine, theirs = weights(one.output), weights(two.output)
    assert all(torch.allclose(mine[key].float(), theirs[key].float(), atol=1e-4) for key in mine)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["frozen", "paper"])
@pytest.mark.timeout(900)
def test_killing_makes_no_difference(name: str, plan: Plan) -> None:
    epochs = {"frozen": 200, "paper": 4}[name]
    recipe = dataclasses.replace(RECIPES[name], epochs=epochs, batch_size=4)
    whole, killed = (elsewhere(plan, folder, recipe=recipe) for folder in ("whole", "killed"))
    subprocess.run([sys.executable, *command(whole)], cwd=ROOT, check=True, capture_output=True, timeout=300)
    state = killed.output / "state.pt"
    for _ in range(2):
        before = state.stat().st_mtime_ns if state.exists() else 0
        process = subprocess.Popen(
            [sys.executable, *command(killed)], cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        while not state.exists() or state.stat().st_mtime_ns == before:
            assert process.poll() is None
            time.sleep(0.02)
        process.kill()
        process.wait()
        assert not (killed.output / "config.json").exists()
    subprocess.run([sys.executable, *command(killed)], cwd=ROOT, check=True, capture_output=True, timeout=300)
    assert same_model(whole.output, killed.output)
