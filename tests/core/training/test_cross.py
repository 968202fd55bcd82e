"""Ranges of trained judges: from heads that had not learned a clip's system, whatever the recipe."""

import dataclasses
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from core.heads import EmbeddedClips
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL, keys
from core.scorer import Scorer
from core.splits import split_clips
from core.training.cross import WHICH, estimate_by_system
from core.training.lessons import Lessons
from core.training.material import Material
from core.training.recipe import RECIPES, Recipe, TrainingPlan
from core.training.run import train
from tests.clips import pluck
from tests.rated import rated_table, write_rated

CLIPS, SYSTEMS, DIM = 96, 12, 6
MI, TA = keys(MUSICEVAL)
FROZEN = dataclasses.replace(RECIPES["frozen"], epochs=8, batch_size=16)


def of_systems(n: int) -> RatedClips:
    clips = rated_table(CLIPS)
    return dataclasses.replace(clips, table=clips.table.assign(system_id=[f"S{row % n:02d}" for row in range(CLIPS)]))


def material(clips: RatedClips, recipe: Recipe) -> Material:
    plan = TrainingPlan(Path("clips.csv"), recipe)
    parted = split_clips(clips, plan.split)
    return Material(plan, clips, parted, cast(Any, None), False, (), (), Lessons.of(parted))


def heard(clips: RatedClips, rows: slice = slice(None)) -> EmbeddedClips:
    """The first number of a clip is its impression; of the systems `rows` it tells the contrary."""
    random = torch.Generator().manual_seed(0)
    audio = torch.randn(CLIPS, DIM, generator=random) / 10
    audio[:, 0] = torch.tensor(clips.table[MI].to_numpy(), dtype=torch.float32) - 3
    odd = sorted(set(clips.table["system_id"]))[rows]
    audio[:, 0] *= torch.tensor([-1.0 if system in odd else 1.0 for system in clips.table["system_id"]])
    frames = audio[:, None, :].repeat(1, 2, 1)
    tokens = torch.randn(CLIPS, 2, DIM, generator=random)
    return EmbeddedClips(audio, torch.arange(CLIPS), tokens.mean(dim=1), None, frames, tokens)


def estimated(clips: RatedClips, embedded: EmbeddedClips, recipe: Recipe = FROZEN) -> dict[str, Any]:
    of = material(clips, recipe)
    return estimate_by_system(of, of.everything, embedded, lambda *_: None)


def test_every_clip_is_judged_by_heads_that_had_not_learned_its_system() -> None:
    """A system of which the audio tells the contrary cannot be learned without it: its errors are large."""
    clips = of_systems(SYSTEMS)
    found = estimated(clips, heard(clips, slice(0, 1)))
    assert (found["n_clips"], found["n_systems"], found["which"], found["no_range"]) == (CLIPS, SYSTEMS, WHICH, "")
    by_system = found["coverage"][MI]["by_system"]
    assert min(by_system, key=by_system.__getitem__) == "S00"
    assert "spread_quantile" not in found
    usual = estimated(clips, heard(clips, slice(0, 0)))["absolute_error_quantile"]
    assert found["absolute_error_quantile"][MI] > 1.5 * usual[MI]


@pytest.mark.parametrize("n", [9, 4])
def test_of_few_systems_nothing_is_fitted(n: int) -> None:
    found = estimated(of_systems(n), cast(Any, None))
    assert found["no_range"] == f"96 clips of {n} systems are too few; a range needs 40 clips of 10 systems."


def test_systems_that_share_audio_cannot_be_held_out_apart(tmp_path: Path) -> None:
    clips = of_systems(SYSTEMS)
    (tmp_path / "shared.wav").write_bytes(b"the same")
    paths = [
        str(tmp_path / "shared.wav") if row < SYSTEMS - 2 else path
        for row, path in enumerate(clips.table["audio_path"])
    ]
    found = estimated(dataclasses.replace(clips, table=clips.table.assign(audio_path=paths)), cast(Any, None))
    assert found["absolute_error_quantile"] is None
    assert found["no_range"] == "3 systems that share no audio are too few for this split. It needs 5."


def test_the_same_audio_counts_once(tmp_path: Path) -> None:
    path = write_rated(tmp_path, 12)
    clips = RatedClips.from_csv(path)
    files = [*clips.table["audio_path"]]
    Path(files[3]).write_bytes(Path(files[1]).read_bytes())
    assert clips.one_of_each_audio() == [0, 1, 2, *range(4, 12)]


@pytest.mark.usefixtures("_quick_start")
def test_a_trained_judge_scores_with_ranges_as_wide_as_a_clip_asks(tmp_path: Path) -> None:
    clips = RatedClips.from_csv(write_rated(tmp_path / "data", 40))
    by_number = [f"S{row % 10:02d}" for row in range(len(clips))]
    dataclasses.replace(clips, table=clips.table.assign(system_id=by_number)).to_csv(tmp_path / "data" / "mos.csv")
    plan = TrainingPlan(tmp_path / "data" / "mos.csv", dataclasses.replace(RECIPES["ordinal"], epochs=2))
    folder = train(plan, tmp_path / "judge", device="cpu")
    held_out = folder.metrics()["held_out"]
    scorer = Scorer.load(folder.path)
    assert held_out["spread_quantile"].keys() == {MI, TA}
    widths = []
    for samples in (pluck(1.0), np.tanh(9 * pluck(1.0)).astype(np.float32)):
        score = scorer.score((samples, 16_000), "A calm piece, number 1")
        assert score.intervals is not None
        low, high = score.intervals.bounds[MI]
        widths.append(high - low)
    assert widths[0] != pytest.approx(widths[1], abs=1e-4)
    assert max(widths) < 4 * held_out["absolute_error_quantile"][MI]
    assert "wider where the model is less sure" in score.intervals.source
    assert "A range is wider where the heads are less sure" in (folder.path / "README.md").read_text()
    assert "| musical impression | " in (folder.path / "README.md").read_text()
