"""A judge moved toward one panel: what it is held to, what is said before and after, and what is refused."""

import copy
import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from core.checkpoint import load_checkpoint, save_checkpoint
from core.cli import main
from core.heads import EmbeddedClips, Heads, SequenceHeads, SequenceParts
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL
from core.scorer import Scorer
from core.training import moving
from core.training.check import check_plan
from core.training.loop import FitState
from core.training.moving import LEAST_CLIPS, Change, can_carry, changes, move, refusals
from core.training.recipe import TrainingPlan
from tests.conftest import METRICS
from tests.core.training.test_objective import sequences
from tests.rated import rated_table, write_rated
from tests.towers import random_tower

N = 60


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "FOLDS", 3)
    monkeypatch.setattr("core.training.run.changes", functools.partial(changes, resamples=100))
    monkeypatch.setattr("core.evaluation.RESAMPLES", 20)


def judge_of(clips: EmbeddedClips, parts: SequenceParts | None = None) -> SequenceHeads:
    """Heads that hear the first number of the frames."""
    parts = parts or SequenceParts(attention=False, product=False, tokens=False, bins=False)
    heads = SequenceHeads(8, 6, MUSICEVAL, parts).eval()
    heads.start_from(clips, torch.full((N, 2), 3.0))
    with torch.no_grad():
        heads["musical_impression"][0].last.weight[0, 0] = 0.1
    return heads.requires_grad_(False)


def rated(mos: np.ndarray[Any, Any], n: int = N) -> RatedClips:
    table = rated_table(n).table.assign(musical_impression=np.clip(mos, 1, 5), split="")
    return RatedClips(table.drop(columns=["textual_alignment", "textual_alignment_sd"]))


def panel_clips() -> EmbeddedClips:
    """Clips whose frames are all alike."""
    clips = sequences(N, 6, 4)
    assert clips.frames is not None
    return dataclasses.replace(clips, frames=clips.frames[:, :1].expand(-1, 4, -1).contiguous())


def heard(clips: EmbeddedClips, place: int) -> np.ndarray[Any, Any]:
    assert clips.frames is not None
    return clips.frames.mean(dim=1)[:, place].numpy()


@pytest.mark.parametrize("bins", [False, True])
def test_what_the_panel_says_moves_the_judge_and_the_judge_is_held(bins: bool) -> None:
    clips = panel_clips()
    parts = SequenceParts(attention=False, product=False, tokens=False, bins=bins)
    judge = judge_of(clips, parts) if not bins else SequenceHeads(8, 6, MUSICEVAL, parts).eval().requires_grad_(False)
    if bins:
        judge.start_from(clips, torch.full((N, 2), 3.0))
    before = copy.deepcopy(judge.state_dict())
    panel = rated(2.2 + 1.2 * heard(clips, 1))
    moved = move(judge, panel, clips, seed=0)
    gained = changes(panel, MUSICEVAL, moved, resamples=200)
    assert set(gained) == {"musical_impression"}
    change = gained["musical_impression"]
    assert bins or change.srcc[1] > change.srcc[0] + 0.3
    assert change.mse[1] < 0.9 * change.mse[0]
    assert bins or change.beats
    assert all(torch.equal(before[name], weight) for name, weight in judge.state_dict().items())
    after = moved.heads.judge(clips)[:, 0].numpy()
    assert np.ptp(after) < np.ptp(panel.mos)  # shrunk: it does not follow every clip
    assert torch.equal(moved.heads.judge(clips)[:, 1], judge.judge(clips)[:, 1])  # what nobody rated stays


def test_a_panel_that_agrees_with_the_judge_leaves_it() -> None:
    clips = panel_clips()
    judge = judge_of(clips)
    panel = rated(judge.judge(clips)[:, 0].numpy())
    moved = move(judge, panel, clips, seed=0)
    torch.testing.assert_close(moved.heads.judge(clips), judge.judge(clips), atol=1e-3, rtol=0)
    assert not changes(panel, MUSICEVAL, moved, resamples=100)["musical_impression"].beats


def test_chance_does_not_beat_the_judge() -> None:
    clips = panel_clips()
    judge = judge_of(clips)
    noise = np.random.default_rng(0).normal(size=N)
    panel = rated(3.0 + 0.1 * heard(clips, 0) + 0.3 * (noise - noise.mean()))
    change = changes(panel, MUSICEVAL, move(judge, panel, clips, seed=0), resamples=200)["musical_impression"]
    assert not change.beats
    assert change.in_words().startswith("It does not beat the judge that it came from: SRCC")


def test_no_clip_is_judged_by_heads_that_learned_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, learned = panel_clips(), []

    def watched(heads: Heads, embedded: EmbeddedClips, target: Any, seed: int) -> Any:
        learned.append({*target.train})
        return heads, FitState()

    monkeypatch.setattr(moving, "_fitted", watched)
    moved = move(judge_of(clips), rated(3 + heard(clips, 1)), clips, seed=0)
    *folds, everything = learned
    assert everything == {*range(N)}
    assert [row for fold in folds for row in sorted({*range(N)} - fold)] != []
    assert sorted(row for fold in folds for row in {*range(N)} - fold) == [*range(N)]
    assert np.isfinite(moved.after[:, 0]).all()


def test_heads_on_windows_move_too() -> None:
    clips = panel_clips()
    torch.manual_seed(0)
    judge = Heads(8).eval().requires_grad_(False)
    panel = rated(2.0 + 0.3 * heard(clips, 1))
    change = changes(panel, MUSICEVAL, move(judge, panel, clips, seed=0), resamples=100)["musical_impression"]
    assert change.mse[1] < 0.2 * change.mse[0]  # at least the level


def test_too_few_clips_and_other_scales_are_refused() -> None:
    few = rated(np.linspace(2, 4, LEAST_CLIPS - 1), LEAST_CLIPS - 1)
    assert refusals(few, MUSICEVAL) == [
        "19 rated clips are too few; it needs 1 more rated clip: fewer cannot tell a judge from another."
    ]
    enough = rated(np.linspace(2, 4, LEAST_CLIPS), LEAST_CLIPS)
    assert refusals(enough, MUSICEVAL) == []
    assert refusals(enough, MUSICEVAL[1:])[0].endswith("they have no scale in common.")
    assert refusals(rated(np.full(20, 3.0), 20), MUSICEVAL) == [
        "Musical impression: all clips have the same score, so there is nothing to learn."
    ]


def test_what_the_data_can_carry_is_said_before() -> None:
    clips = rated(np.tile([2.0, 3.0, 4.0, 3.0, 3.0], 4), 20)  # variance 0.421
    assert can_carry(clips, MUSICEVAL) == [
        "Musical impression: 20 clips tell an SRCC to about ±0.50; how sure the raters' means are is not known."
    ]
    known = clips.table.assign(n_ratings=10, musical_impression_sd=1.0)  # squared errors of 0.1
    assert can_carry(RatedClips(known), MUSICEVAL)[0].endswith(
        "the raters' means are reliable to 0.76, so no judge can reach more than 0.87."
    )


def test_either_gain_is_enough_and_a_loss_is_not() -> None:
    worse, none, better = (-0.2, -0.1), (-0.1, 0.1), (0.1, 0.2)
    verdicts = [
        Change((0.1, 0.2), (1.0, 0.9), *gains).beats
        for gains in ((none, none), (better, none), (none, better), (better, worse), (None, better))
    ]
    assert verdicts == [False, True, True, False, True]


@pytest.fixture
def judge_folder(tmp_path: Path) -> Path:
    starting = random_tower()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        heads = Heads(starting.tower.dim)
    save_checkpoint(
        tmp_path / "judge",
        checkpoint_id="before",
        tower=starting.tower,
        heads=heads,
        policy=starting.policy,
        metrics=METRICS,
        model_card="",
        demo=False,
        provenance={},
        caveat=starting.caveat,
    )
    return tmp_path / "judge"


@pytest.mark.usefixtures("_no_plots")
def test_the_command_moves_a_judge(judge_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_rated(tmp_path / "rated", clips=20)
    options = ["--from", str(judge_folder), "--data", str(data), "--cache", str(tmp_path / "cache")]
    assert main(["train", *options, "--output", str(tmp_path / "moved")]) == 0
    out, err = capsys.readouterr()
    assert "! Musical impression: 20 clips tell an SRCC to about ±0.50" in err
    assert "! Musical impression: It " in out
    assert "Measured by cross-validation." in out
    folder = tmp_path / "moved"
    metrics, run = (json.loads((folder / name).read_text()) for name in ("metrics.json", "run.json"))
    before, after = load_checkpoint(judge_folder), load_checkpoint(folder)
    assert run["judge"] == {"id": "before", "sha256": before.sha256}
    assert (run["recipe"]["optimizer"], metrics["part"]) == ("adam", "cross-validated")
    assert set(metrics["moved"]) == {"musical_impression", "textual_alignment"}
    assert metrics["held_out"]["which"] == "clips, each by a judge that was moved without it"
    assert metrics["held_out"]["n_clips"] == len(pd.read_csv(folder / "predictions.csv")) == 20
    assert metrics["moved"]["musical_impression"]["mse"][1] < metrics["moved"]["musical_impression"]["mse"][0]
    assert f"moved from those of before (`{before.sha256}`)" in (folder / "README.md").read_text()
    for name, weight in before.tower.weights().items():
        assert torch.equal(weight, after.tower.weights()[name])
    scores = [Scorer(of).score(tmp_path / "rated" / "c01.wav", "A calm piece") for of in (before, after)]
    assert scores[0]["musical_impression"] != scores[1]["musical_impression"]
    assert main(["train", *options, "--output", str(folder)]) == 0  # finished, and left as it is


def test_the_command_refuses(judge_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_rated(tmp_path / "rated", clips=3)
    options = ["train", "--from", str(judge_folder), "--data", str(data), "--output", str(tmp_path / "moved")]
    assert main(options) == 2
    assert "3 rated clips are too few; it needs 17 more rated clips" in capsys.readouterr().err
    assert not (tmp_path / "moved").exists()
    assert main([*options, "--epochs", "3"]) == 2
    assert "--from takes the recipe of the judge" in capsys.readouterr().err
    assert main([*options, "--data", str(data)]) == 2
    assert "A judge is moved by one table of rated clips" in capsys.readouterr().err


def test_a_plan_names_the_judge(judge_folder: Path, tmp_path: Path) -> None:
    plan = TrainingPlan(write_rated(tmp_path / "rated", clips=20), judge=judge_folder)
    assert TrainingPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    assert plan.arguments() == [f"--from={judge_folder}", f"--data={plan.data}", "--seed=0"]
    assert check_plan(plan).doubts[0].startswith("Musical impression: 20 clips tell an SRCC to about")
    assert dataclasses.replace(plan, judge=None) != plan
