"""How far a recipe's heads are wrong on systems that they had not learned: cross-fitted, for ranges.

The systems of a data set are dealt into `FOLDS` parts; heads are fitted anew without each part, as the recipe
says, and judge its clips. So every clip has an error, and all clips still teach the heads that are kept. Where
towers are trained this takes as long as training again, so then ranges come from the measured part alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from core.embeddings import clip_values
from core.errors import DataError
from core.evaluation import error_estimate, judged, nothing_estimated
from core.heads import EmbeddedClips
from core.scales import keys
from core.splits import Split, split_clips
from core.training.lessons import Lessons
from core.training.loop import fit_heads
from core.training.material import Material

FOLDS = 5
WHICH = "clips, each scored by heads that had not learned its system"


def estimate_by_system(
    material: Material, everything: Lessons, embedded: EmbeddedClips, say: Callable[[str, float], None]
) -> dict[str, Any]:
    """Return the error estimate of what a material teaches heads.

    `embedded` are the rows of `everything`, of which the material's clips are the first. Clips with the same audio
    count once.
    """
    clips, seed, recipe, data = material.clips, material.plan.split.seed, material.plan.recipe, material.in_words()
    once = clips.one_of_each_audio()
    found = nothing_estimated(len(once), clips.take(once).n_systems, data, WHICH)
    if found["no_range"]:
        return found
    try:
        folds = [split_clips(clips, Split("systems", seed, folds=FOLDS, fold=fold)) for fold in range(FOLDS)]
    except DataError as error:  # systems that share audio go together, and may be too few then
        return {**found, "no_range": str(error)}
    scales = everything.target.scales
    values, spread = np.zeros((len(clips), len(scales))), np.zeros((len(clips), len(scales)))
    is_known = True
    for fold, parted in enumerate(folds):
        say(f"For the ranges: without a part of the systems, {fold + 1} of {FOLDS}", fold / FOLDS)
        lessons, tested = material.lessons_of(parted), parted.rows("test")
        heads = fit_heads(lessons.embedded_in(everything, embedded), lessons.target, recipe, seed)
        heard = embedded.take(torch.tensor(tested))
        values[tested] = clip_values(heads, heard)
        of_heads = heads.spread(heard)
        is_known = of_heads is not None
        spread[tested] = 0.0 if of_heads is None else of_heads.numpy()
    sure = dict(zip(keys(scales), spread[once].T, strict=True)) if is_known else None
    return error_estimate(judged(clips.take(once), values[once], scales), data, WHICH, sure)
