"""Has a recipe learned to listen? It is measured against what cannot have.

    mean       the training clips' mean score, whatever the clip (`core.controls`)
    system     the mean score of the training clips of its system (`core.controls`)
    cosine     the plain cosine of clip and prompt, which the tower knew before (`core.controls`)
    blind      the same heads on the prompt alone: its embedding stands for the audio's as well
    shuffled   the same heads, fitted to scores dealt out anew among the train clips, and among the dev clips

Clips without prompts have neither `cosine` nor `blind`, and heads over sequences no `blind`: prompts have no
frames. With folds, each clip is in one test part, and the predictions of all test parts are measured together.
The training mean differs a little from fold to fold and follows no clip: it has errors and no correlations. It
is low where the clips held out are rated high, so over several folds whatever follows it correlates below 0.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.controls import COSINE, MEAN, SYSTEM, control_values, knows_systems, measure_cosine, said_by_cosine
from core.embeddings import clip_values
from core.evaluation import LEVELS, Measured, Predictions, compared, judged, measure, predicted
from core.feed import Progress
from core.heads import EmbeddedClips, cosines
from core.metrics import Agreement, mse
from core.rated_clips import RatedClips, count_systems
from core.splits import Split, split_clips
from core.training.loop import fit_heads
from core.training.objective import Target
from core.training.recipe import RECIPES, Recipe

LEARNED, BLIND, SHUFFLED = "recipe", "blind", "shuffled"
METHODS = (LEARNED, MEAN, SYSTEM, COSINE, BLIND, SHUFFLED)


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
    are measured together, whatever the split's `fold`. A control that these clips cannot have is left out. A
    DataError if the clips cannot be split so.
    """
    found: dict[str, list[Predictions]] = {}
    folds, without_order = max(split.folds, 1), {MEAN, SYSTEM}
    for fold in range(folds):
        parted = split_clips(clips, dataclasses.replace(split, fold=fold))
        tested = parted.rows("test")
        without_order -= {SYSTEM} if knows_systems(parted, tested) else set()
        for n, (method, said) in enumerate(_predictions(parted, tested, embedded, recipe, split.seed), 1):
            found.setdefault(method, []).append(said)
            progress((fold + n / len(METHODS)) / folds, f"Fitting heads: fold {fold + 1} of {folds}")
    measured = {}
    for method, parts in found.items():
        whole = Predictions(pd.concat([of.table for of in parts]), parts[0].scales)
        if method == COSINE:
            measured[method] = measure_cosine(whole, resamples)
        else:
            measured[method] = _errors(whole) if method in without_order else measure(whole, resamples=resamples)
    return measured


def prompt_alone(embedded: EmbeddedClips, target: Target, recipe: Recipe, seed: int) -> NDArray[np.float64]:
    """Return what heads on windows say of clips, (n, n_scales), that learn the same from prompts alone."""
    blind = EmbeddedClips(embedded.text, torch.arange(len(embedded.text)), embedded.text)
    usual = RECIPES["frozen"] if recipe.sequence else recipe  # prompts have no frames
    return clip_values(fit_heads(blind, target, usual, seed), blind)


def _predictions(
    clips: RatedClips, tested: list[int], embedded: EmbeddedClips, recipe: Recipe, seed: int
) -> Iterator[tuple[str, Predictions]]:
    """What each method, fitted to the train part, says of the clips that are tested."""
    train, dev = clips.rows("train"), clips.rows("dev")
    mos, measured = torch.tensor(clips.mos, dtype=torch.float32), clips.take(tested)

    def said(values: NDArray[np.float64]) -> Predictions:
        return judged(measured, values[tested], clips.scales)

    def fitted(heard: EmbeddedClips, scores: Tensor) -> Predictions:
        return said(clip_values(fit_heads(heard, Target(clips.scales, scores, train, dev), recipe, seed), heard))

    yield LEARNED, fitted(embedded, mos)
    for name, values in control_values(clips).items():
        yield name, said(values)
    if any(scale.needs_prompt for scale in clips.scales):
        yield COSINE, said_by_cosine(measured, cosines(embedded)[tested])
    if clips.has_prompts:
        yield BLIND, said(prompt_alone(embedded, Target(clips.scales, mos, train, dev), recipe, seed))
    unread = {*clips.unread_rows()}
    groups = [
        [row for row in part if (row in unread) is is_unread] for part in (train, dev) for is_unread in (False, True)
    ]
    yield SHUFFLED, fitted(embedded, _dealt_anew(mos, groups, seed))


def _dealt_anew(mos: Tensor, parts: list[list[int]], seed: int) -> Tensor:
    random = np.random.default_rng(seed)
    dealt = mos.clone()
    for rows in parts:
        dealt[rows] = mos[random.permutation(rows)]
    return dealt


def _errors(predictions: Predictions) -> Measured:
    errors = {}
    for level in LEVELS if count_systems(predictions.table) else LEVELS[:1]:
        for scale in predictions.scales:
            rows, key = compared(predictions, scale, level), scale.key
            if len(rows):
                figures = {"mse": mse(rows[key].to_numpy(), rows[predicted(key)].to_numpy())}
                errors[level, key] = Agreement(len(rows), figures)
    return Measured(predictions.scales, errors)
