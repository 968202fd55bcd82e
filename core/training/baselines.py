"""Has the frozen recipe learned to listen? It is measured against four that cannot have.

    mean       the training clips' mean score, whatever the clip (`core.controls`)
    system     the mean score of the training clips of its system (`core.controls`)
    blind      the same heads on the prompt alone: its embedding stands for the audio's as well
    shuffled   the same heads, fitted to scores dealt out anew among the train clips, and among the dev clips

With folds, each clip is in one test part, and the predictions of all test parts are measured together. The
training mean differs a little from fold to fold and follows no clip: it has errors and no correlations. It is
low where the clips held out are rated high, so over several folds whatever follows it correlates below 0.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.controls import MEAN, SYSTEM, control_values, knows_systems
from core.embeddings import EmbeddedClips, clip_values
from core.evaluation import LEVELS, Measured, Predictions, judged, measure, predicted
from core.feed import Progress
from core.metrics import Agreement, mse
from core.rated_clips import RatedClips
from core.scales import keys
from core.splits import Split, split_clips
from core.training.loop import fit_heads
from core.training.recipe import Recipe

FROZEN, BLIND, SHUFFLED = "frozen", "blind", "shuffled"
METHODS = (FROZEN, MEAN, SYSTEM, BLIND, SHUFFLED)


def compare(
    clips: RatedClips,
    embedded: EmbeddedClips,
    split: Split,
    recipe: Recipe,
    progress: Progress,
    resamples: int | None = None,
) -> dict[str, Measured]:
    """Fit and measure the recipe and its controls; of the mean there is nothing but the errors.

    So it is with `SYSTEM` where no system is on both sides, for then it is the mean. With folds, all of them
    are measured together, whatever the split's `fold`. A DataError if the clips cannot be split so.
    """
    tables: dict[str, list[pd.DataFrame]] = {method: [] for method in METHODS}
    folds, without_order = max(split.folds, 1), {MEAN, SYSTEM}
    for fold in range(folds):
        parted = split_clips(clips, dataclasses.replace(split, fold=fold))
        tested = parted.rows("test")
        without_order -= {SYSTEM} if knows_systems(parted, tested) else set()
        for n, (method, values) in enumerate(_predictions(parted, embedded, recipe, split.seed), 1):
            tables[method].append(judged(parted.take(tested), values[tested], clips.scales).table)
            progress((fold + n / len(METHODS)) / folds, f"Fitting heads: fold {fold + 1} of {folds}")
    whole = {method: Predictions(pd.concat(tables[method]), clips.scales) for method in METHODS}
    return {
        method: _errors(of) if method in without_order else measure(of, resamples=resamples)
        for method, of in whole.items()
    }


def _predictions(
    clips: RatedClips, embedded: EmbeddedClips, recipe: Recipe, seed: int
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each method's values of all clips, (n, n_scales), fitted to those of the train part."""
    train, dev = clips.rows("train"), clips.rows("dev")
    mos = torch.tensor(clips.mos, dtype=torch.float32)

    def fitted(heard: EmbeddedClips, scores: Tensor) -> NDArray[np.float64]:
        return clip_values(fit_heads(heard, scores, train, dev, recipe, seed, clips.scales), heard)

    yield FROZEN, fitted(embedded, mos)
    yield from control_values(clips).items()
    prompts_alone = EmbeddedClips(embedded.text, torch.arange(len(clips)), embedded.text)
    yield BLIND, fitted(prompts_alone, mos)
    yield SHUFFLED, fitted(embedded, _dealt_anew(mos, [train, dev], seed))


def _dealt_anew(mos: Tensor, parts: list[list[int]], seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    dealt = mos.clone()
    for rows in parts:
        dealt[rows] = mos[random.permutation(rows)]
    return dealt


def _errors(predictions: Predictions) -> Measured:
    table = predictions.table
    levels = dict(zip(LEVELS, (table, table.groupby("system_id").mean(numeric_only=True)), strict=True))
    errors = {
        (level, key): Agreement(len(rows), {"mse": mse(rows[key].to_numpy(), rows[predicted(key)].to_numpy())})
        for level, rows in levels.items()
        for key in keys(predictions.scales)
    }
    return Measured(predictions.scales, errors)
