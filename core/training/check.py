"""What is too little, in data and in what was learned from it: said before training and before a model is used.

`check_data` looks at clips with their parts before any tower listens: what cannot be trained at all is
refused, what will lack something is a *doubt*. `doubts_of_learning` looks at what training came to.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.errors import DataError
from core.evaluation import NO_SYSTEMS
from core.measured_part import parts_of_audio
from core.metrics import LEAST_POINTS, shortage
from core.musiceval import read_source
from core.ranges import why_no_range
from core.rated_clips import RatedClips, count_systems
from core.splits import split_clips
from core.training.recipe import Recipe, TrainingPlan

if TYPE_CHECKING:
    from core.training.loop import FitState

LEAST_TRAIN = LEAST_POINTS  # to train at all
FEW_TRAIN = 100  # below it heads seldom learn more than the mean
FEW_DEV = 10  # below it the best epoch is chosen mostly by chance
FEW_RATINGS = 3  # of a clip: the mean of two is as much about the two as about the clip
LEAST_FALL = 0.01  # of the training error below the best constant's, to be called trained


@dataclass(frozen=True)
class DataCheck:
    """What stands against training on some clips, in sentences: `refusals` forbid it, `doubts` do not."""

    refusals: tuple[str, ...]
    doubts: tuple[str, ...]

    def stop_if_refused(self) -> None:
        """Raise a DataError that says everything that forbids training."""
        if self.refusals:
            raise DataError("\n  ".join(["This data cannot be trained on:", *self.refusals]))


def check_plan(plan: TrainingPlan) -> DataCheck:
    """Read what a plan names and check it; a DataError if it cannot be read or split, or is refused."""
    _, found = look(plan)
    found.stop_if_refused()
    return found


def look(plan: TrainingPlan) -> tuple[RatedClips, DataCheck]:
    """Return the clips of a plan with their parts, and what stands against it; a DataError if they cannot be read."""
    if not plan.judge:
        clips = split_clips(read_source(plan.data), plan.split)
        return clips, check_data(clips, plan.recipe)
    from core.training.material import Material  # it needs this module

    material = Material.read(plan)
    return material.clips, material.check()


def learnable(clips: RatedClips, least: int = LEAST_TRAIN) -> RatedClips:
    """Return clips without a scale on which too few can teach, because their prompts are not read; with a note."""
    train = clips.rows("train") or range(len(clips))
    n_read = np.sum(~np.isnan(clips.mos[train]), axis=0)
    for scale, n in zip(clips.scales, n_read, strict=True):
        if scale.needs_prompt and n < min(least, len(train)) and len(clips.scales) > 1:
            said = f"{scale.title} is not learned: {too_few_read(int(n), len(train), least)}"
            clips = replace(clips.without(scale), notes=(*clips.notes, said))
    return clips


def too_few_read(n: int, n_clips: int, least: int) -> str:
    """Say that a model can read the prompts of too few clips."""
    return f"the model can read the prompts of {n} of {n_clips} clips, and needs {least}."


def check_data(clips: RatedClips, recipe: Recipe) -> DataCheck:
    """Check clips with their parts."""
    doubts = [
        *_doubts_of_train(clips),
        *_doubts_of_dev(clips, recipe),
        *_doubts_of_measuring(clips),
        *_doubts_of_ranges(clips, recipe),
    ]
    about = (*clips.notes, *clips.about_unread(clips.scales), *clips.same_audio())
    return DataCheck(tuple(_refusals(clips)), (*about, *doubts))


def measured_part(clips: RatedClips) -> str:
    """Return the part to measure on: test, or dev where there is no test part."""
    return "test" if clips.rows("test") else "dev"


def _refusals(clips: RatedClips) -> list[str]:
    train = clips.rows("train")
    if len(train) < LEAST_TRAIN:
        return [f"{shortage(len(train), 'training clips', LEAST_TRAIN)}."]
    refusals = []
    for scale, scores in zip(clips.scales, map(_known, clips.mos[train].T), strict=True):
        if len(scores) < LEAST_TRAIN:
            refusals.append(f"{scale.title}: {too_few_read(len(scores), len(train), LEAST_TRAIN)}")
        elif np.ptp(scores) == 0:
            refusals.append(f"{scale.title}: all training clips have the same score, so there is nothing to learn.")
    return refusals


def _known(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores[~np.isnan(scores)]


def _doubts_of_train(clips: RatedClips) -> list[str]:
    doubts, train = [], clips.rows("train")
    if len(train) < FEW_TRAIN:
        few = shortage(len(train), "training clips", FEW_TRAIN)
        doubts.append(f"It may learn little more than the mean: {few}.")
    known = clips.table["n_ratings"].dropna()
    if few_ratings := int((known < FEW_RATINGS).sum()):
        doubts.append(
            f"{few_ratings} of {len(clips)} clips have fewer than {FEW_RATINGS} ratings, so their scores are "
            "mostly about who rated them."
        )
    return doubts


def _doubts_of_dev(clips: RatedClips, recipe: Recipe) -> list[str]:
    n_dev = len(clips.rows("dev"))
    if n_dev == 0:
        batches = -(-len(clips.rows("train")) // recipe.batch_size)
        epochs = recipe.most_epochs(max(batches, 1))
        return [f"There is no dev part: nothing stops training before its {epochs} epochs, and the last is kept."]
    if n_dev < FEW_DEV:
        return [f"The best epoch is chosen mostly by chance: {shortage(n_dev, 'dev clips', FEW_DEV)}."]
    return []


def _doubts_of_measuring(clips: RatedClips) -> list[str]:
    part = measured_part(clips)
    rows, doubts = clips.rows(part), []
    if part == "dev":
        doubts.append("There is no test part: it is measured on the dev part, on which training stops.")
    n_systems = count_systems(clips.table.iloc[rows])
    if len(rows) < LEAST_POINTS:
        doubts.append(f"Nobody can say how good it is: {shortage(len(rows), f'{part} clips', LEAST_POINTS)}.")
    elif not clips.n_systems:
        doubts.append(f"Nobody can say how well it ranks systems: {NO_SYSTEMS}")
    elif n_systems < LEAST_POINTS:
        few = shortage(n_systems, f"{part} systems", LEAST_POINTS)
        doubts.append(f"Nobody can say how well it ranks systems: {few}.")
    audio = clips.audio_ids()
    known = parts_of_audio(audio, list(clips.table["split"]))
    if heard := sum(known[audio[row]] == "train" for row in rows):
        doubts.append(f"{heard} of {len(rows)} {part} clips have audio that is in the train part, too.")
    return doubts


def _doubts_of_ranges(clips: RatedClips, recipe: Recipe) -> list[str]:
    """Say whether ranges will be missing: they are of all clips, or of the measured part where towers are trained."""
    rows = clips.rows(measured_part(clips)) if recipe.fine_tune else clips.one_of_each_audio()
    short = why_no_range(len(rows), clips.take(rows).n_systems)
    return [f"Its scores have no range: {short}"] if short else []


def has_learned(state: "FitState", mos: NDArray[np.float64], train: Sequence[int]) -> bool:
    """Return whether training brought the error of the training clips below that of the best constant."""
    constant = np.nanmean(_constant_errors(mos, train, train))
    least = min(row["train_l1"] for row in state.log)
    return bool(least <= (1 - LEAST_FALL) * constant)


def doubts_of_learning(state: "FitState", mos: NDArray[np.float64], parts: RatedClips) -> list[str]:
    """Say whether something was learned of the (n, n_scales) scores, and whether it holds on the dev part."""
    train, dev = parts.rows("train"), parts.rows("dev")
    if not has_learned(state, mos, train):
        return [
            "It is not trained: its error on the training clips is no lower than that of one score for every clip. "
            "Give more clips, a higher --learning-rate or more epochs."
        ]
    if not dev:
        return []
    row, constants = state.log[state.best_epoch - 1], _constant_errors(mos, train, dev)
    return [
        f"{scale.title}: it never beat predicting the mean on the dev part (L1 {row[f'dev_l1_{scale.key}']:.3f} "
        f"against {constant:.3f})."
        for scale, constant in zip(parts.scales, constants, strict=True)
        if row.get(f"dev_l1_{scale.key}", -np.inf) >= constant
    ]


def _constant_errors(mos: NDArray[np.float64], train: Sequence[int], rows: Sequence[int]) -> NDArray[np.float64]:
    """By scale: the L1 of rows of the better of two constants, the training clips' mean and median; NaN of none."""
    sides = zip(map(_known, mos[list(train)].T), map(_known, mos[list(rows)].T), strict=True)
    return np.array(
        [
            min(np.abs(asked - constant).mean() for constant in (learned.mean(), np.median(learned)))
            if len(learned) and len(asked)
            else np.nan
            for learned, asked in sides
        ]
    )


def which_clips(clips: RatedClips, rows: Sequence[int], part: str) -> str:
    """Say which clips of a part were measured: what of them the model was not trained on."""
    if part != "test":
        return "clips on which its training stopped"
    table, train = clips.table.iloc[list(rows)], clips.table.iloc[clips.rows("train")]
    columns = {"systems": "system_id", "prompts": "prompt"}
    known = [of for of, column in columns.items() if any(clips.table[column])]
    new = [of for of in known if not set(table[columns[of]]) & set(train[columns[of]])]
    if not known:
        return "clips that the model was not trained on"
    if not new:
        return f"clips that the model was not trained on, of {' and '.join(known)} that it was trained on"
    return f"clips of {' and '.join(new)} that the model was not trained on"
