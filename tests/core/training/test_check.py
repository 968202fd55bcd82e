"""What is too little: said before training, and before a model is used."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import DataError
from core.rated_clips import RatedClips
from core.splits import Split
from core.training.check import check_data, check_plan, doubts_of_learning, has_learned, which_clips
from core.training.loop import FitState
from core.training.recipe import RECIPES, TrainingPlan
from tests.rated import rated_table, write_rated

FROZEN, PAPER = RECIPES["frozen"], RECIPES["paper"]


def parted(train: int, dev: int, test: int, **columns: Any) -> RatedClips:
    clips = rated_table(train + dev + test)
    ten_systems = [f"S{row % 10}" for row in range(len(clips))]
    clips = RatedClips(clips.table.assign(**{"system_id": ten_systems, **columns}))
    return clips.with_parts(["train"] * train + ["dev"] * dev + ["test"] * test)


def doubts(clips: RatedClips) -> list[str]:
    return list(check_data(clips, FROZEN).doubts)


def test_enough_is_enough() -> None:
    assert check_data(parted(100, 10, 40, n_ratings=5), FROZEN).refusals == ()
    assert doubts(parted(100, 10, 40, n_ratings=5)) == []


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((99, 10, 40), ["It may learn little more than the mean: 99 training clips are too few; it needs 1 more"]),
        (
            (100, 9, 40),
            ["The best epoch is chosen mostly by chance: 9 dev clips are too few; it needs 1 more dev clip."],
        ),
        ((100, 10, 3), ["Nobody can say how good it is: 3 test clips are too few; it needs 1 more test clip."]),
        ((100, 40, 0), ["There is no test part: it is measured on the dev part, on which training stops."]),
    ],
)
def test_too_few_clips_are_doubted(parts: tuple[int, int, int], said: list[str]) -> None:
    found = doubts(parted(*parts))
    assert len(found) == len(said)
    assert all(sentence.startswith(start) for sentence, start in zip(found, said, strict=True))


def test_ranges_need_clips_and_systems_of_what_they_are_made_of() -> None:
    """All clips, of heads that are fitted anew without their systems; the measured part of towers that are trained."""
    clips = parted(100, 10, 39)
    assert doubts(clips) == []
    few = "Its scores have no range: 39 clips of 10 systems are too few; a range needs 40 clips of 10 systems."
    assert check_data(clips, PAPER).doubts == (few,)


@pytest.mark.parametrize(("recipe", "epochs"), [(FROZEN, 250), (PAPER, 1000)])
def test_without_a_dev_part_nothing_stops_training(recipe: Any, epochs: int) -> None:
    (said,) = check_data(parted(100, 0, 40), recipe).doubts
    assert said == f"There is no dev part: nothing stops training before its {epochs} epochs, and the last is kept."


def test_few_systems_and_few_ratings_are_doubted() -> None:
    said, no_range = doubts(parted(100, 10, 40, system_id="S1"))
    assert said.startswith("Nobody can say how well it ranks systems: 1 test system is too few")
    assert no_range.startswith("Its scores have no range: 150 clips of 1 system are too few")
    (said,) = doubts(parted(100, 10, 40, n_ratings=[2] * 30 + [3] * 120))
    assert said.startswith("30 of 150 clips have fewer than 3 ratings")


def test_audio_on_both_sides_of_an_official_split_is_counted(tmp_path: Path) -> None:
    table = rated_table(150, tmp_path).table
    clips = RatedClips(table.assign(system_id=[f"S{row % 10}" for row in range(150)]))
    for n, path in enumerate(clips.table["audio_path"]):
        Path(path).write_bytes(bytes([n, 0 if n % 10 else 1]))
    first = clips.table["audio_path"][0]
    table = clips.table.assign(audio_path=[*clips.table["audio_path"][:148], first, first])
    shared = RatedClips(table).with_parts(["train"] * 100 + ["dev"] * 10 + ["test"] * 40)
    assert doubts(shared) == [
        "3 clips have the audio of another one: c00 = c148 = c149.",
        "2 of 40 test clips have audio that is in the train part, too.",
    ]


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        (parted(3, 2, 9), "3 training clips are too few; it needs 1 more training clip."),
        (
            parted(100, 10, 40, textual_alignment=3.0),
            "Textual alignment: all training clips have the same score, so there is nothing to learn.",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(clips: RatedClips, said: str) -> None:
    found = check_data(clips, FROZEN)
    assert found.refusals == (said,)
    with pytest.raises(DataError, match=r"^This data cannot be trained on:\n  "):
        found.stop_if_refused()


def test_a_plan_is_checked_by_what_it_names(tmp_path: Path) -> None:
    data = write_rated(tmp_path, clips=6)
    with pytest.raises(DataError, match="cannot be trained on"):
        check_plan(TrainingPlan(data, split=Split(test_share=0.5)))
    assert len(check_plan(TrainingPlan(data)).doubts) == 4


def state(train: list[float], dev: list[float] | None = None) -> FitState:
    log = [{"epoch": n + 1, "train_l1": l1} for n, l1 in enumerate(train)]
    for row, l1 in zip(log, dev or [], strict=False):
        row |= {"dev_l1": l1, "dev_l1_musical_impression": l1, "dev_l1_textual_alignment": 0.1}
    best = int(np.argmin(dev)) if dev else len(train) - 1
    return FitState(log=log, best_epoch=best + 1)


def test_what_fell_by_less_than_one_percent_is_not_trained() -> None:
    clips = parted(8, 0, 4)
    train = clips.mos[:8]
    constant = np.minimum(*(np.abs(train - of).mean(0) for of in (train.mean(0), np.median(train, 0)))).mean()
    assert has_learned(state([3.0, 0.98 * constant]), clips.mos, range(8))
    for course in ([3.0, 0.995 * constant], [2 * constant]):
        assert not has_learned(state(course), clips.mos, range(8))
        (said,) = doubts_of_learning(state(course), clips.mos, clips)
        assert said.startswith("It is not trained: its error on the training clips is no lower")
    assert doubts_of_learning(state([0.1]), clips.mos, clips) == []


def test_what_never_beat_the_mean_on_the_dev_part_is_called_that() -> None:
    clips = parted(8, 4, 4)
    (said,) = doubts_of_learning(state([0.3, 0.1], dev=[2.0, 1.9]), clips.mos, clips)
    assert said.startswith("Musical impression: it never beat predicting the mean on the dev part (L1 1.900 against ")
    assert doubts_of_learning(state([0.3, 0.1], dev=[2.0, 0.1]), clips.mos, clips) == []


@pytest.mark.parametrize(
    ("kind", "which"),
    [
        ("random", "clips that the model was not trained on, of systems and prompts that it was trained on"),
        ("systems", "clips of systems that the model was not trained on"),
        ("prompts", "clips of prompts that the model was not trained on"),
    ],
)
def test_a_range_says_what_was_held_out(kind: str, which: str) -> None:
    from core.splits import split_clips

    clips = split_clips(rated_table(48), dataclasses.replace(Split(kind), test_share=0.3))
    assert which_clips(clips, clips.rows("test"), "test") == which
    assert which_clips(clips, clips.rows("dev"), "dev") == "clips on which its training stopped"
