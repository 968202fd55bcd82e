"""A judge moved toward one panel: its heads learn the ratings of a study, and are held where they were.

From 20 rated clips on. What is minimised is the mean squared error plus a penalty on how far the weights are
from those of the judge, as strong as `PULL` clips at one standard deviation each: with 20 clips little moves but
the level, with some hundred the panel decides. Offsets are free. Nothing else of the judge changes.

The clips are too few to hold some of them out. So the judge is moved several times without a part of them, by
system where there are enough, and its figures, ranges and predictions are those of clips that it was moved
without; what is kept was moved by all. Whether it beats the judge that it came from is said by these, over the
same clips.
"""

import copy
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core.embeddings import clip_values
from core.heads import EmbeddedClips, Heads, SequenceHeads
from core.metrics import Interval, bootstrap_intervals, mse, shortage, srcc
from core.rated_clips import RatedClips
from core.scales import Scales, keys
from core.splits import Split, split_clips
from core.training.check import too_few_read
from core.training.loop import FitState, fit_these
from core.training.objective import Target
from core.training.recipe import RECIPES, Recipe

LEAST_CLIPS = 20
FOLDS = 5
PULL = 300.0  # the strength of the ridge regression that carried over from one half of a survey to the other
_RESAMPLES = 1000
_WIDTH_OF_SRCC = 2.06  # 1.96 standard errors are nearly so much over the root of n - 3, without ties
Figures = NDArray[np.float64]


def recipe_of(heads: Heads) -> Recipe:
    """Return how heads are moved: those parts that they have, and squared errors without a ranking."""
    common: dict[str, Any] = {"optimizer": "adam", "loss": "squared", "ranking": 0.0, "stop_on": "l1"}
    common |= {"batch_size": 256, "epochs": 150, "learning_rate": 0.05, "schedule": "cosine"}
    if not isinstance(heads, SequenceHeads):
        return dataclasses.replace(RECIPES["frozen"], activation=heads.activation, weight_decay=0.0, **common)
    of = heads.parts
    parts: dict[str, Any] = {"attention": of.attention, "product": of.product, "tokens": of.tokens, "hidden": of.hidden}
    parts |= {"bound": of.bound, "dropout": 0.0, "seeds": of.members}
    return dataclasses.replace(RECIPES["ordinal"], weight_decay=0.0, **common, **parts)


def refusals(clips: RatedClips, scales: Scales) -> list[str]:
    """Say what forbids that a judge of these scales is moved by the clips."""
    common = [scale for scale in clips.scales if scale.key in keys(scales)]
    if not common:
        said = (
            f"The clips are rated on {', '.join(keys(clips.scales))}, and the judge predicts {', '.join(keys(scales))}"
        )
        return [f"{said}: they have no scale in common."]
    if len(clips) < LEAST_CLIPS:
        return [f"{shortage(len(clips), 'rated clips', LEAST_CLIPS)}: fewer cannot tell a judge from another."]
    read = {scale: int((~np.isnan(clips.mos[:, clips.scales.index(scale)])).sum()) for scale in common}
    if few := [scale for scale, n in read.items() if n < LEAST_CLIPS]:
        return [f"{scale.title}: {too_few_read(read[scale], len(clips), LEAST_CLIPS)}" for scale in few]
    flat = [scale.title for scale in common if np.ptp(clips.table[scale.key].to_numpy(dtype=float)) == 0]
    return [f"{title}: all clips have the same score, so there is nothing to learn." for title in flat]


def can_carry(clips: RatedClips, scales: Scales) -> list[str]:
    """Say what the clips can tell of a judge, before it is moved."""
    said, target = [], Target.of(clips)
    for place, scale in enumerate(clips.scales):
        if scale.key not in keys(scales):
            said.append(f"{scale.title}: the judge does not predict it, so its ratings are not used.")
            continue
        known = "how sure the raters' means are is not known."
        is_there = ~np.isnan(clips.mos[:, place])
        n = int(is_there.sum())
        error, spread = target.error, float(np.var(clips.mos[is_there, place], ddof=1))
        if error is not None and bool((error[is_there, place] > 0).all()):
            reliability = max(1 - float(error[is_there, place].square().mean()) / spread, 0.0)
            most = f"no judge can reach more than {reliability**0.5:.2f}."
            known = f"the raters' means are reliable to {reliability:.2f}, so {most}"
        width = _WIDTH_OF_SRCC / (n - 3) ** 0.5
        said.append(f"{scale.title}: {n} clips tell an SRCC to about ±{width:.2f}; {known}")
    return said


@dataclass(frozen=True)
class Moved:
    """Heads moved by all clips, and what is said of each clip, (n, n_scales).

    Before the judge was moved; and after, where it was moved without the clip.
    """

    heads: Heads
    state: FitState
    before: Figures
    after: Figures


@dataclass(frozen=True)
class Change:
    """SRCC and mean squared error before and after on one scale, and the 95 % intervals of what was gained."""

    srcc: tuple[float, float]
    mse: tuple[float, float]
    srcc_gain: Interval | None
    mse_gain: Interval | None

    @property
    def beats(self) -> bool:
        """Whether the order or the error is better beyond chance, and neither is worse beyond chance."""
        gains = [gain for gain in (self.srcc_gain, self.mse_gain) if gain]
        return any(low > 0 for low, _ in gains) and not any(high < 0 for _, high in gains)

    def to_json(self) -> dict[str, Any]:
        """Return the fields; null for an SRCC that there is not, of equal scores."""
        return {**dataclasses.asdict(self), "srcc": [None if math.isnan(of) else of for of in self.srcc]}

    def in_words(self) -> str:
        """Return the figures, and the verdict."""
        verdict = (
            "It beats the judge that it came from" if self.beats else "It does not beat the judge that it came from"
        )
        return (
            f"{verdict}: SRCC {self.srcc[0]:.3f} before, {self.srcc[1]:.3f} after{_between(self.srcc_gain)}; "
            f"mean squared error {self.mse[0]:.3f} before, {self.mse[1]:.3f} after{_between(self.mse_gain)}."
        )


def _between(gain: Interval | None) -> str:
    return "" if gain is None else f" (gain {gain[0]:+.3f} to {gain[1]:+.3f})"


def move(heads: Heads, clips: RatedClips, embedded: EmbeddedClips, seed: int) -> Moved:
    """Move heads, a clip of the table for each embedded one, and judge all clips by folds."""
    target = _target(heads, clips)
    after = np.full((len(clips), len(heads.scales)), np.nan)
    for train, tested in _folds(clips, seed):
        moved, _ = _fitted(heads, embedded, dataclasses.replace(target, train=train), seed)
        after[tested] = clip_values(moved, embedded.take(torch.tensor(tested)))
    everything = dataclasses.replace(target, train=range(len(clips)))
    moved, state = _fitted(heads, embedded, everything, seed)
    return Moved(moved, state, clip_values(heads, embedded), after)


def changes(clips: RatedClips, scales: Scales, moved: Moved, resamples: int = _RESAMPLES) -> dict[str, Change]:
    """Compare before and after, by the key of each scale that the clips were rated on."""
    systems = clips.table["system_id"]
    names = systems if systems.nunique() >= FOLDS else clips.table["clip_id"]
    found = {}
    for key in keys(clips.scales):
        if key in keys(scales):
            column, truth = keys(scales).index(key), clips.mos[:, keys(clips.scales).index(key)]
            known = ~np.isnan(truth)
            both = np.clip(np.stack([moved.before[:, column], moved.after[:, column]], axis=1), 1.0, 5.0)[known]
            truth, groups = truth[known], [list(np.array(names)[known])]
            gains = {
                "srcc": lambda t, v: srcc(t, v[:, 1]) - srcc(t, v[:, 0]),
                "mse": lambda t, v: mse(t, v[:, 0]) - mse(t, v[:, 1]),
            }
            around = bootstrap_intervals(truth, both, groups, resamples, metrics=gains)
            srccs, mses = ([of(truth, values) for values in both.T] for of in (srcc, mse))
            found[key] = Change((srccs[0], srccs[1]), (mses[0], mses[1]), around.get("srcc"), around.get("mse"))
    return found


def _target(heads: Heads, clips: RatedClips) -> Target:
    """The scores on the heads' scales; NaN on those that the clips were not rated on."""
    mos = torch.full((len(clips), len(heads.scales)), float("nan"), dtype=torch.float64)
    for place, key in enumerate(keys(heads.scales)):
        if key in keys(clips.scales):
            mos[:, place] = torch.tensor(clips.mos[:, keys(clips.scales).index(key)])
    return Target(heads.scales, mos, [], [])


def _folds(clips: RatedClips, seed: int) -> Iterator[tuple[list[int], list[int]]]:
    kind = "systems" if clips.table["system_id"].nunique() >= FOLDS else "random"
    for fold in range(FOLDS):
        parted = split_clips(clips, Split(kind, seed, dev_share=0.0, folds=FOLDS, fold=fold))
        yield parted.rows("train"), parted.rows("test")


def _fitted(heads: Heads, embedded: EmbeddedClips, target: Target, seed: int) -> tuple[Heads, FitState]:
    moved = copy.deepcopy(heads).requires_grad_(True)
    pull = 2 * PULL / len(target.train)  # beside a mean squared error, the penalty of ridge regression
    return moved, fit_these(moved, embedded, target, recipe_of(heads), seed, pull)


def as_json(of: Mapping[str, Change]) -> dict[str, Any]:
    """Return changes as ``metrics.json`` has them."""
    return {key: {**change.to_json(), "beats": change.beats} for key, change in of.items()}


def in_words(scales: Sequence[Any], of: Mapping[str, Change]) -> list[str]:
    """Say of each scale what was gained."""
    return [f"{scale.title}: {of[scale.key].in_words()}" for scale in scales if scale.key in of]
