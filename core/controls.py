"""Has the frozen recipe learned to listen? It is measured against three that cannot have.

    mean       the training clips' mean score, whatever the clip
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

from core.embedded_clips import EmbeddedClips, clip_values, predict_table
from core.metrics import mse
from core.predictions import LEVELS, RESAMPLES, Levels, measure, predicted
from core.ratings import RatedClips
from core.scales import SCALES
from core.scorer import Progress
from core.splits import Split, split_clips
from core.training.recipes import Recipe
from core.training.trainer import fit_heads

FROZEN, MEAN, BLIND, SHUFFLED = "frozen", "mean", "blind", "shuffled"
METHODS = (FROZEN, MEAN, BLIND, SHUFFLED)


def compare(
    clips: RatedClips,
    embedded: EmbeddedClips,
    split: Split,
    recipe: Recipe,
    tell: Progress,
    resamples: int = RESAMPLES,
) -> dict[str, Levels]:
    """Fit and measure the recipe and its controls.

    Parameters
    ----------
    clips : RatedClips
    embedded : EmbeddedClips
        Of these clips.
    split : Split
        With folds, all of them are measured together, whatever its `fold`.
    recipe : Recipe
    tell : callable
    resamples : int

    Returns
    -------
    dict
        By method, as `core.predictions.measure` gives it; of the mean nothing but the errors.

    Raises
    ------
    DataError, MetricError
        The clips cannot be split so, or not be measured.
    """
    tables: dict[str, list[pd.DataFrame]] = {method: [] for method in METHODS}
    folds = max(split.folds, 1)
    for fold in range(folds):
        parted = split_clips(clips, dataclasses.replace(split, fold=fold))
        for n, (method, table) in enumerate(_tests(parted, embedded, recipe, split.seed), 1):
            tables[method].append(table)
            tell((fold + n / len(METHODS)) / folds, f"Fitting heads: fold {fold + 1} of {folds}")
    whole = {method: pd.concat(of_folds, ignore_index=True) for method, of_folds in tables.items()}
    return {
        method: _errors(table) if method == MEAN else measure(table, resamples=resamples)
        for method, table in whole.items()
    }


def _tests(
    clips: RatedClips, embedded: EmbeddedClips, recipe: Recipe, seed: int
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each method's predictions of the test part beside its ratings."""
    tested = (clips.table["split"] == "test").to_numpy()
    for method, values in _predictions(clips, embedded, recipe, seed):
        yield method, predict_table(RatedClips(clips.table[tested]), values[tested])


def _predictions(
    clips: RatedClips, embedded: EmbeddedClips, recipe: Recipe, seed: int
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Each method's values of all clips, (n, 2), fitted to those of the train part."""
    train, dev = (np.flatnonzero(clips.table["split"] == part) for part in ("train", "dev"))
    mos = torch.tensor(clips.table[[*SCALES]].to_numpy(), dtype=torch.float32)

    def fitted(heard: EmbeddedClips, scores: Tensor) -> NDArray[np.float64]:
        heads = fit_heads(heard, scores, train.tolist(), dev.tolist(), recipe, seed)
        return clip_values(heads, heard)

    yield FROZEN, fitted(embedded, mos)
    yield MEAN, np.tile(mos[train].double().mean(dim=0).numpy(), (len(clips), 1))
    prompts_alone = EmbeddedClips(embedded.text, torch.arange(len(clips)), embedded.text)
    yield BLIND, fitted(prompts_alone, mos)
    yield SHUFFLED, fitted(embedded, _dealt_anew(mos, [train, dev], seed))


def _dealt_anew(mos: Tensor, parts: list[NDArray[np.int64]], seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    dealt = mos.clone()
    for rows in parts:
        dealt[rows] = mos[random.permutation(rows)]
    return dealt


def _errors(table: pd.DataFrame) -> Levels:
    of_systems = table.groupby("system_id").mean(numeric_only=True)
    return {
        level: {
            scale: {"n": len(rows), "mse": mse(rows[scale].to_numpy(), rows[predicted(scale)].to_numpy())}
            for scale in SCALES
        }
        for level, rows in zip(LEVELS, (table, of_systems), strict=True)
    }
