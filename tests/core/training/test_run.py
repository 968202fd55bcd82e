"""Whole runs: what they leave, and that stopping, killing and processes make no difference to it."""

import dataclasses
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from core.checkpoint import load_checkpoint
from core.controls import Controls, measure_controls
from core.embeddings import EmbeddingCache, embed_clips
from core.errors import DataError, DeviceError, TrainingError
from core.evaluation import LEVELS, measure, predicted, read_predictions
from core.measured_part import own_split
from core.musiceval import read_source
from core.rated_clips import RatedClips, audio_sha256, data_sha256
from core.scales import MUSICEVAL, Scale, keys
from core.scorer import Scorer
from core.splits import Split, split_clips
from core.towers import StartingTower, tower_sha256
from core.training import run as training
from core.training.cross import WHICH
from core.training.folder import RunFolder, log_columns
from core.training.loop import fit_heads
from core.training.objective import Target
from core.training.recipe import RECIPES, RunProgress, TrainingPlan
from core.training.report import draw_curves, draw_scatter
from core.training.run import StopAsked, StopSignals, train
from tests.rated import write_rated
from tests.towers import random_tower

FROZEN = dataclasses.replace(RECIPES["frozen"], epochs=4, batch_size=6, learning_rate=0.01, weight_decay=0.0)
PAPER = dataclasses.replace(RECIPES["paper"], epochs=2, batch_size=6, micro_batch=2, learning_rate=0.01, start="mean")
PLOTS = {"draw_curves": draw_curves, "draw_scatter": draw_scatter}
MODEL_FILES = {
    *("README.md", "config.json", "curves.svg", "log.csv", "metrics.json", "model.safetensors"),
    *("predictions.csv", "progress.json", "run.json", "scatter.svg", "split.csv"),
}


@dataclass(frozen=True)
class Case:
    """A plan, and where it is carried out."""

    plan: TrainingPlan
    output: Path
    cache: Path

    def train(self, progress: Callable[[RunProgress], None] | None = None) -> RunFolder:
        return train(self.plan, self.output, self.cache, "cpu", progress=progress)

    def at(self, name: str, **changes: Any) -> "Case":
        plan = dataclasses.replace(self.plan, **changes)
        return dataclasses.replace(self, plan=plan, output=self.output.with_name(name))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rated(tmp_path_factory.mktemp("data"), clips=14)


@pytest.fixture(scope="module")
def starting() -> StartingTower:
    return random_tower()


@pytest.fixture(scope="module", autouse=True)
def _fast() -> Iterator[None]:
    """The tower is read from the disk once, intervals are made of few resamples, and plots only of the first run."""
    with pytest.MonkeyPatch.context() as patch:
        for draw in PLOTS:
            patch.setattr(f"core.training.material.{draw}", lambda *_: "")
        patch.setattr("core.evaluation.RESAMPLES", 20)
        patch.setattr("core.training.material.load_tower", lambda _: random_tower())
        yield


@pytest.fixture(scope="module")
def first(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    plan = TrainingPlan(data, FROZEN, "small", Split("random", seed=2, test_share=0.4))
    return Case(plan, tmp_path_factory.mktemp("models") / "frozen", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def case(first: Case, tmp_path: Path) -> Case:
    return dataclasses.replace(first, output=tmp_path / "model")


@pytest.fixture(scope="module")
def reported(first: Case) -> list[RunProgress]:
    """What a finished run of the frozen recipe reported."""
    reports: list[RunProgress] = []
    with pytest.MonkeyPatch.context() as patch:
        for name, draw in PLOTS.items():
            patch.setattr(f"core.training.material.{name}", draw)
        first.train(reports.append)
    return reports


@pytest.fixture(scope="module")
def frozen(first: Case, reported: list[RunProgress]) -> Case:
    """A finished run of the frozen recipe."""
    return first


@pytest.fixture(scope="module")
def paper(frozen: Case) -> Case:
    """A finished run of the paper's recipe."""
    case = frozen.at("paper", recipe=PAPER)
    case.train()
    return case


@pytest.fixture(scope="module")
def ordinal(frozen: Case) -> Case:
    """A finished run of the recipe over sequences."""
    recipe = dataclasses.replace(RECIPES["ordinal"], epochs=4, batch_size=6, dropout=0.3, hidden=4, seeds=2)
    case = frozen.at("ordinal", recipe=recipe)
    case.train()
    return case


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def progress_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "progress.json").read_text()))


def same_model(one: Path, other: Path) -> bool:
    """Equal to the bit; only times may differ."""
    log, other_log = (pd.read_csv(folder / "log.csv").drop(columns="seconds") for folder in (one, other))
    pairs = [(one / name, other / name) for name in ("model.safetensors", "predictions.csv", "split.csv")]
    return log.equals(other_log) and all(a.read_bytes() == b.read_bytes() for a, b in pairs)


class Killed(BaseException):
    """As if the process ended here."""


def test_progress_is_reported(frozen: Case, reported: list[RunProgress]) -> None:
    assert [*dict.fromkeys(of.phase for of in reported)] == ["embedding", "training", "measuring", "done"]
    steps = [progress for progress in reported if progress.phase == "training"]
    assert [progress.epoch for progress in steps] == [0, 1, 1, 2, 2, 3, 3, 4]
    assert [progress.share for progress in steps] == [n / 8 for n in range(1, 9)]
    assert steps[-1].eta_s == 0.0
    assert steps[0].message == "Epoch 1 of at most 4"
    log = pd.read_csv(frozen.output / "log.csv")
    first = f"train L1 {log['train_l1'][0]:.3f}, dev L1 {log['dev_l1'][0]:.3f}"
    assert steps[1].message == f"Epoch 2 of at most 4, {first}"
    assert list(log) == log_columns(MUSICEVAL)
    assert list(log["epoch"]) == [1, 2, 3, 4]


def test_a_run_leaves_a_model(frozen: Case, starting: StartingTower) -> None:
    folder = RunFolder(frozen.output)
    assert files(folder.path) == MODEL_FILES
    checkpoint = load_checkpoint(folder.path)
    assert (checkpoint.id, checkpoint.demo, checkpoint.scales) == ("frozen", False, MUSICEVAL)
    assert checkpoint.caveat == "its towers learned nothing"
    assert tower_sha256(checkpoint.tower) == starting.sha256
    run, metrics, plan = folder.run(), folder.metrics(), frozen.plan
    clips = read_source(plan.data)
    assert run["data"] == {
        "name": "rated_clips.csv",
        "sha256": data_sha256(clips),
        "clips": 14,
        "systems": 4,
        "scales": keys(MUSICEVAL),
        "parts": {"train": 7, "dev": 1, "test": 6},
        "simulated": False,
        "published": False,
    }
    assert metrics["data_sha256"] == run["data"]["sha256"]
    assert metrics["held_out"]["data"] == "the rated clips rated_clips.csv"
    assert run["tower"] == {"name": "small", "sha256": starting.sha256}
    assert {"musiceval", "torch", "accelerate", "python"} <= run["versions"].keys()
    assert (run["processes"], run["device"], run["precision"]) == (1, "cpu", "float32")
    assert (Split.from_json(run["split"]), run["seed"]) == (plan.split, 2)
    assert run["recipe"] == FROZEN.to_json()
    parts = pd.read_csv(folder.path / "split.csv")
    split = split_clips(clips, plan.split).table
    assert dict(zip(parts["clip_id"], parts["split"], strict=True)) == dict(
        zip(split["clip_id"], split["split"], strict=True)
    )


@pytest.mark.parametrize("recipe", ["frozen", "paper", "ordinal"])
def test_predictions_are_what_the_scorer_says(recipe: str, request: pytest.FixtureRequest) -> None:
    case: Case = request.getfixturevalue(recipe)
    folder = RunFolder(case.output)
    predictions = read_predictions(folder.path / "predictions.csv")
    scorer = Scorer.load(folder.path)
    clips = read_source(case.plan.data).table.set_index("clip_id")
    for row in predictions.table.head(2).to_dict("records"):
        score = scorer.score(clips.loc[row["clip_id"], "audio_path"], clips.loc[row["clip_id"], "prompt"])
        for key in keys(MUSICEVAL):
            assert score[key] == pytest.approx(row[predicted(key)], abs=1e-5)
    metrics = folder.metrics()
    assert metrics["part"] == "test"
    assert {level: metrics[level] for level in LEVELS} == measure(predictions).to_json()
    measured, controls = folder.measured()
    assert measured == measure(predictions)
    parted = split_clips(read_source(case.plan.data), case.plan.split)
    assert controls == Controls.from_json(metrics, MUSICEVAL)
    again = measure_controls(parted, parted.rows("test")).measured
    assert controls.measured["mean"].agreement == again["mean"].agreement
    assert ("cosine" in controls.measured) == (not case.plan.recipe.fine_tune)
    assert ("cosine" in controls.missing) == case.plan.recipe.fine_tune
    held_out = metrics["held_out"]
    assert held_out["absolute_error_quantile"] is None
    assert held_out["n_clips"] == (6 if case.plan.recipe.fine_tune else len(clips))
    assert (held_out["which"] == WHICH) == (not case.plan.recipe.fine_tune)
    assert scorer.score(clips.iloc[0]["audio_path"], "A calm piece").intervals is None
    assert {f"Its scores have no range: {held_out['no_range']}"} < {*metrics["doubts"]}


def test_the_kept_epoch_is_marked(frozen: Case) -> None:
    log, metrics = pd.read_csv(frozen.output / "log.csv"), RunFolder(frozen.output).metrics()
    assert log.loc[log["kept"] == 1, "epoch"].tolist() == [metrics["best_epoch"]] == [log["dev_l1"].idxmin() + 1]


def test_doubts_are_told_before_training_begins(case: Case) -> None:
    told: list[str] = []
    train(case.plan, case.output, case.cache, "cpu", progress=lambda of: told.append(of.phase), doubt=told.append)
    assert told[0].startswith("It may learn little more than the mean: 7 training clips are too few")
    assert told[1].startswith("The best epoch is chosen mostly by chance: 1 dev clip is too few")
    assert told[4] in ("embedding", "training")  # kept embeddings are not made again
    assert set(told[:4]) <= set(RunFolder(case.output).metrics()["doubts"])


def test_too_few_clips_are_refused_before_anything_is_written(case: Case, tmp_path: Path) -> None:
    few = case.at("few", data=write_rated(tmp_path / "four", clips=4))
    with pytest.raises(DataError, match="1 training clip is too few; it needs 3 more training clips"):
        few.train()
    assert not few.output.exists()


def test_what_learns_nothing_is_not_called_trained(case: Case) -> None:
    still = dataclasses.replace(FROZEN, learning_rate=1e-12)
    reports: list[RunProgress] = []
    folder = case.at("still", recipe=still).train(reports.append)
    assert (reports[-1].phase, reports[-1].message) == ("unlearned", "Nothing was learned")
    assert folder.metrics()["learned"] is False
    assert folder.metrics()["doubts"][0].startswith("It is not trained:")
    assert "**Not trained: " in (folder.path / "README.md").read_text()


def test_parts_are_stored_with_the_audio(frozen: Case) -> None:
    parts = pd.read_csv(frozen.output / "split.csv")
    assert parts["audio_sha256"].tolist() == audio_sha256(read_source(frozen.plan.data))
    assert own_split(frozen.output).audio == dict(zip(parts["audio_sha256"], parts["split"], strict=True))


def test_heads_in_memory_are_those_of_a_run(frozen: Case, starting: StartingTower) -> None:
    clips = split_clips(read_source(frozen.plan.data), frozen.plan.split)
    embedded = embed_clips(clips, EmbeddingCache(frozen.cache, starting.tower, starting.policy))
    target = Target.of(clips)
    heads = fit_heads(embedded, target, FROZEN, seed=2)
    trained = load_checkpoint(frozen.output).heads.state_dict()
    assert all(torch.equal(weight, trained[name]) for name, weight in heads.state_dict().items())
    assert not any(weight.requires_grad for weight in heads.parameters())


ENERGY = Scale("energy", "Energy", "How much drive has it?", ("none", "little", "some", "much", "full"))


@pytest.mark.parametrize("kept", [("musical_impression",), ("musical_impression", "textual_alignment")])
def test_a_judge_learns_the_scales_of_its_data(case: Case, tmp_path: Path, kept: tuple[str, ...]) -> None:
    clips = RatedClips.from_csv(write_rated(tmp_path / "rated", clips=14))
    dropped = [name for key in keys(MUSICEVAL) if key not in kept for name in (key, f"{key}_sd")]
    table = clips.table.drop(columns=dropped).assign(energy=clips.table["musical_impression"] / 2 + 1)
    RatedClips(table, (*MUSICEVAL, ENERGY)).to_csv(tmp_path / "rated" / "more.csv")
    case = case.at("more", data=tmp_path / "rated" / "more.csv")
    folder = case.train()
    expected = [*kept, "energy"]
    checkpoint = load_checkpoint(folder.path)
    assert keys(checkpoint.scales) == list(checkpoint.heads) == expected
    assert list(folder.metrics()["utterance"]) == folder.run()["data"]["scales"] == expected
    assert list(pd.read_csv(folder.path / "log.csv")) == log_columns(checkpoint.scales)
    assert keys(read_predictions(folder.path / "predictions.csv").scales) == expected
    score = Scorer(checkpoint).score(clips.table["audio_path"][0], "A calm piece")
    assert list(score.values) == expected
    assert "| energy | utterance | 6 |" in (folder.path / "README.md").read_text()


@pytest.fixture(scope="module")
def taught(frozen: Case, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A finished run of the recipe over sequences on impression alone, with a further source, and with pairs."""
    folder = tmp_path_factory.mktemp("taught")
    clips = RatedClips.from_csv(write_rated(folder / "own", clips=20))
    RatedClips(clips.table.drop(columns=["textual_alignment", "textual_alignment_sd"])).to_csv(
        folder / "own" / "mi.csv"
    )
    more = write_rated(folder / "more", clips=6, duration_s=0.8)
    rows = ["scale,better_file,better_prompt,worse_file,worse_prompt,weight"]
    rows += [f"textual_alignment,more/c0{n}.wav,calm,more/c0{n}.wav,loud drums,{n}" for n in range(1, 6)]
    (folder / "pairs.csv").write_text("\n".join(rows))
    case = frozen.at("taught", data=folder / "own" / "mi.csv", more_data=(more,), pairs=(folder / "pairs.csv",))
    recipe = dataclasses.replace(RECIPES["ordinal"], epochs=4, batch_size=6)
    case = case.at("taught", recipe=recipe, weights=(1.0, 0.5))
    case.train()
    return case


def test_several_sources_and_pairs_make_one_judge(taught: Case) -> None:
    folder = RunFolder(taught.output)
    run, metrics, card = folder.run(), folder.metrics(), (folder.path / "README.md").read_text()
    checkpoint = load_checkpoint(folder.path)
    assert checkpoint.scales == MUSICEVAL
    [more], [pairs] = run["more_data"], run["pairs"]
    assert (more["name"], more["clips"], more["weight"]) == ("rated_clips.csv", 6, 0.5)
    assert more["sha256"] == data_sha256(read_source(taught.plan.more_data[0]))
    assert (pairs["name"], pairs["pairs"], len(pairs["sha256"])) == ("pairs.csv", 5, 64)
    assert all(of["sha256"] in card for of in (run["data"], more, pairs))
    line = metrics["elsewhere"][0]["musical_impression"]
    assert f"there is {line['offset']:.2f} + {line['scale']:.2f} x the score here" in card
    assert set(metrics["elsewhere"][0]) == {"musical_impression"}  # of alignment it is the reference
    data = checkpoint.config["provenance"]["data"]
    assert data == "the rated clips mi.csv, the rated clips rated_clips.csv and the pairs pairs.csv"
    assert metrics["held_out"]["data"] == "the rated clips mi.csv"
    assert list(metrics["utterance"]) == ["musical_impression"]


def test_a_scale_that_nobody_rated_of_those_held_out_has_no_range(taught: Case) -> None:
    path = read_source(taught.plan.data).table["audio_path"][0]
    errors = {"musical_impression": 0.5}
    checkpoint = load_checkpoint(taught.output)
    assert checkpoint.error_estimate is not None
    known = dataclasses.replace(checkpoint.error_estimate, absolute_error=errors, no_range="")
    score = Scorer(dataclasses.replace(checkpoint, error_estimate=known)).score(path, "calm")
    assert set(score.values) == set(keys(MUSICEVAL))
    assert score.intervals is not None
    assert set(score.intervals.bounds) == {"musical_impression"}
    said = [warning.message for warning in score.warnings if warning.code == "no_range"]
    assert said == ["Textual alignment has no range: none, or too few, of the clips held out have a score on it."]


@pytest.mark.parametrize("other", ["weights", "pairs", "more"])
def test_other_lessons_are_another_run(taught: Case, other: str) -> None:
    plan = taught.plan
    if other == "weights":
        plan = dataclasses.replace(plan, weights=(1.0, 0.25))
    elif other == "pairs":
        plan = dataclasses.replace(plan, pairs=())
    else:
        plan = dataclasses.replace(plan, more_data=(), weights=())
    with pytest.raises(TrainingError, match="holds another run"):
        dataclasses.replace(taught, plan=plan).train()


def test_a_finished_run_is_left_as_it_is(frozen: Case) -> None:
    before = {path: path.stat().st_mtime_ns for path in frozen.output.iterdir()}
    reports: list[RunProgress] = []
    assert frozen.train(reports.append).is_finished
    assert reports == []
    other = dataclasses.replace(frozen.plan, split=dataclasses.replace(frozen.plan.split, seed=3))
    with pytest.raises(TrainingError, match="holds another run"):
        dataclasses.replace(frozen, plan=other).train()
    assert {path: path.stat().st_mtime_ns for path in frozen.output.iterdir()} == before


def test_a_stopped_run_goes_on_to_the_same_bits(case: Case, frozen: Case) -> None:
    def stop(progress: RunProgress) -> None:
        if progress.phase == "training" and progress.epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StopAsked) as raised:
        case.train(stop)
    assert raised.value.exit_code == 143
    assert progress_of(case.output)["phase"] == "stopped"
    assert files(case.output) == {"log.csv", "progress.json", "run.json", "state.pt"}
    assert same_model(case.train().path, frozen.output)


@pytest.mark.parametrize("recipe", ["frozen", "paper", "ordinal", "taught"])
def test_a_run_that_breaks_off_within_an_epoch_goes_on_to_the_same_bits(
    recipe: str, case: Case, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Case = request.getfixturevalue(recipe)
    case = dataclasses.replace(case, plan=whole.plan)
    monkeypatch.setattr(training, "SAVE_EVERY_S", 0.0)
    steps: list[RunProgress] = []
    batches = {"taught": 3}.get(recipe, 2)

    def report(progress: RunProgress) -> None:
        steps.extend([progress] if progress.phase == "training" else [])
        if len(steps) == batches + 2:  # the step after the last state that was saved
            raise Killed

    with pytest.raises(Killed):
        case.train(report)
    state = RunFolder(case.output).read_state()
    assert state is not None
    assert (state["state"]["epoch"], state["state"]["batch"]) == (1, 1)
    assert same_model(case.train().path, whole.output)


def test_the_papers_recipe_trains_the_tower_too(paper: Case, starting: StartingTower) -> None:
    checkpoint = load_checkpoint(paper.output)
    assert RunFolder(paper.output).run()["tower"]["sha256"] == starting.sha256
    assert tower_sha256(checkpoint.tower) != starting.sha256
    assert not any(weight.requires_grad for weight in checkpoint.tower.parameters())


def test_bfloat16_stays_near_float32(case: Case, paper: Case) -> None:
    lower = case.at("lower", recipe=dataclasses.replace(PAPER, precision="bfloat16"))
    lower.train()
    columns = list(map(predicted, keys(MUSICEVAL)))
    one, other = (read_predictions(of.output / "predictions.csv").table[columns] for of in (paper, lower))
    assert 0 < (one - other).abs().to_numpy().max() < 0.05


def test_what_fails_before_it_begins_is_reported_where_there_is_a_folder(case: Case, tmp_path: Path) -> None:
    lost = dataclasses.replace(case, plan=dataclasses.replace(case.plan, data=tmp_path / "gone.csv"))
    with pytest.raises(DataError):
        lost.train()
    assert not case.output.exists()
    case.output.mkdir()
    (case.output / "order.json").touch()
    with pytest.raises(DataError):
        lost.train()
    progress = progress_of(case.output)
    assert (progress["phase"], progress["message"][:10]) == ("failed", '"gone.csv"')
    assert case.train().is_finished
    assert files(case.output) == MODEL_FILES | {"order.json"}


def test_clips_that_cannot_be_read_are_named_before_training(case: Case, tmp_path: Path) -> None:
    data = write_rated(tmp_path / "broken", clips=8)
    for name in ("c01.wav", "c05.wav"):
        (data.parent / name).write_bytes(b"no sound")
    for recipe in (FROZEN, PAPER):
        broken = case.at(recipe.name, data=data, recipe=recipe)
        with pytest.raises(DataError, match=r'^2 clips cannot be read:\n  "c0[15]\.wav".*\n  "c0[15]\.wav"'):
            broken.train()
        assert progress_of(broken.output)["phase"] == "failed"


def test_simulated_ratings_are_never_forgotten(case: Case, tmp_path: Path) -> None:
    data = write_rated(tmp_path / "composed")
    (data.parent / "SIMULATED").touch()
    simulated = case.at("model", data=data)
    checkpoint = load_checkpoint(simulated.train().path)
    assert checkpoint.demo
    assert checkpoint.caveat == "trained on simulated ratings; its towers learned nothing"
    assert "with simulated ratings" in RunFolder(case.output).metrics()["held_out"]["data"]
    assert f"**Not an expert panel: {checkpoint.caveat}.**" in (case.output / "README.md").read_text()


def test_devices_that_are_not_here(case: Case) -> None:
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(DeviceError):
        train(case.plan, case.output, case.cache, missing)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(StopAsked) as raised, StopSignals():
        os.kill(os.getpid(), number)
    assert raised.value.exit_code == code
    assert not isinstance(raised.value, Exception)
    assert signal.getsignal(number) == before
    assert StopAsked(None).exit_code == 143  # another process asked


def test_a_deferred_signal_is_noted_and_a_second_is_not_deferred() -> None:
    with StopSignals() as signals:
        signals.is_deferred = True
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.asked == signal.SIGTERM
        with pytest.raises(StopAsked):
            os.kill(os.getpid(), signal.SIGTERM)


def test_other_threads_leave_signals_alone() -> None:
    seen = []

    def work() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
