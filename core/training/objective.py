"""What training minimises, as a function of what a judge says of clips.

The error of a clip on a scale is, by the recipe,

    l1        the absolute error of its value (MusicEval, section V.B)
    squared   the squared error
    bins      the cross-entropy between 20 bins and a Gaussian around the rated score. Its width follows the
              raters: the square root of 0.25 squared (as those who hold the record on MusicEval have it) and of
              the squared standard error of their mean, so a score that few or divided raters gave says less

A step minimises the mean over its clips of the sum of their errors; a scale on which a clip was not rated has
none. With `ranking` there is added the mean, over all pairs of clips of a batch that one source rated
differently, of the logistic loss of the difference of their values (Burges et al. 2005, RankNet).

Several sources (`core.training.lessons`): raters elsewhere use the same scale otherwise. What they are
expected to say is offset + scale x value, and both numbers are learned for each source but the first with a
scale; they begin where the means and spreads of the ratings agree, and a scale is held near that. Errors are in
points of the first. The bins are the first's; the others' error is then the squared one, over twice the squared
width that their bins would have. A source's `weight` multiplies its errors and its part in the ranking.

Pairs: the squared hinge of the difference of the two values, which is 0 from the pair's own margin or `margin` on,
averaged by the pairs' weights for each scale; `pair_weight` says how much it counts beside the clips of a step.

The gradient with respect to a judge's outputs is computed first and then put through the judge, so that a
clip in pieces, or a batch on several processes, is the same as whole. What compares clips with each other
needs the whole batch: then each process has all of it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.heads import EmbeddedClips, Heads, SequenceHeads, SequenceParts, bin_centres
from core.rated_clips import RatedClips
from core.scales import MAX_SCORE, MIN_SCORE, Scales, keys
from core.training.recipe import Recipe

_LEAST_WIDTH = 0.25  # points
_TYPICAL_SD = 1.0  # points, of ratings of a clip, where it is not known
_NEARLY_CERTAIN = 0.5  # points: a pair that differs by as much is ranked with little doubt
_LEAST_SD = 0.05  # points, of a source's scores
_HELD = 0.001  # weight of the squared logarithm by which a source's scale differs from where it began


@dataclass(frozen=True)
class Pairs:
    """Rows of which one is better than the other, all (n_pairs,).

    `scale` is the scale's place; `margin` is in points, NaN where it is the recipe's.
    """

    better: Tensor
    worse: Tensor
    scale: Tensor
    weight: Tensor
    margin: Tensor

    def __len__(self) -> int:
        return len(self.better)

    def take(self, places: Sequence[int]) -> "Pairs":
        """Return some of them."""
        at = torch.tensor(list(places), dtype=torch.int64)
        return Pairs(self.better[at], self.worse[at], self.scale[at], self.weight[at], self.margin[at])

    def rows(self) -> list[int]:
        """Return all their rows, each once."""
        return sorted({*self.better.tolist(), *self.worse.tolist()})


@dataclass(frozen=True)
class Target:
    """What is to be learned: scores, and rows to train on and, maybe, to stop on.

    `mos` is (n_clips, n_scales), NaN where a clip was not rated; `error`, of the same shape, how far each score
    may be from what all raters of the world would say (its standard error), without it not known; `source`,
    (n_clips,), the place of the source that a clip is from, and `weights` how much each source counts.
    """

    scales: Scales
    mos: Tensor
    train: Sequence[int]
    dev: Sequence[int]
    error: Tensor | None = None
    source: Tensor | None = None
    weights: tuple[float, ...] = ()
    pairs: Pairs | None = None

    @classmethod
    def of(cls, clips: RatedClips) -> Self:
        """Return what clips with parts are to teach."""
        mos = torch.tensor(clips.mos)
        has_score = (~mos.isnan()).any(dim=1).tolist()
        train, dev = ([row for row in clips.rows(part) if has_score[row]] for part in ("train", "dev"))
        return cls(clips.scales, mos, train, dev, _errors(clips))

    def sources(self) -> Tensor:
        """Return the place of each clip's source, (n_clips,)."""
        return torch.zeros(len(self.mos), dtype=torch.int64) if self.source is None else self.source

    def references(self) -> Tensor:
        """Return the place of the first source with each scale, (n_scales,)."""
        sources = self.sources()
        there = [(~self.mos[sources == number].isnan()).any(dim=0) for number in range(int(sources.max()) + 1)]
        return torch.stack(there).to(torch.int8).argmax(dim=0)

    def at_reference(self) -> Tensor:
        """Return the scores, (n_clips, n_scales), NaN where they are not of the first source with the scale."""
        return torch.where(self.sources()[:, None] == self.references(), self.mos, math.nan)


def _errors(clips: RatedClips) -> Tensor:
    """Standard errors of the scores, (n_clips, n_scales); 0 where the number of raters is not known."""
    counts = torch.tensor(clips.table["n_ratings"].to_numpy(dtype="float64", na_value=float("nan")))
    spread = torch.tensor(clips.table[[f"{key}_sd" for key in keys(clips.scales)]].to_numpy(dtype="float64"))
    return (spread.nan_to_num(_TYPICAL_SD) / counts[:, None].sqrt()).nan_to_num(0.0)


def new_heads(dim: int, target: Target, seed: int, recipe: Recipe, clips: EmbeddedClips | None = None) -> Heads:
    """Return heads to be trained, from a seed, as the recipe starts them.

    Heads over sequences are made for embedded clips, with frames; the others need none.
    """
    rows = torch.tensor(list(target.train))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        if recipe.sequence:
            assert clips is not None
            assert clips.frames is not None
            heads = SequenceHeads(dim, clips.frames.shape[2], target.scales, sequence_parts(recipe))
            heads.start_from(clips.take(rows), target.at_reference()[rows])
            return heads
        plain = Heads(dim, target.scales, recipe.activation)
    if recipe.start == "plain":
        return plain
    middle = (MIN_SCORE + MAX_SCORE) / 2
    for key, value in zip(plain, target.at_reference()[rows].nanmean(dim=0).nan_to_num(middle), strict=True):
        nn.init.constant_(plain.get_parameter(f"{key}.4.bias"), float(value))
    return plain


def sequence_parts(recipe: Recipe) -> SequenceParts:
    """Return what the heads of a recipe over sequences are made of."""
    return SequenceParts(
        attention=recipe.attention,
        product=recipe.product,
        tokens=recipe.tokens,
        hidden=recipe.hidden,
        bins=recipe.loss == "bins",
        bound=recipe.bound,
        dropout=recipe.dropout,
        members=recipe.seeds,
    )


class Objective(nn.Module):
    """Errors of a judge's outputs, (n, members, n_scales, 1 + bins) of n clips, the value first."""

    mos: Tensor
    centres: Tensor
    width: Tensor
    source: Tensor
    weights: Tensor

    def __init__(self, target: Target, recipe: Recipe) -> None:
        super().__init__()
        self.recipe, self._scales = recipe, keys(target.scales)
        mos, source = target.mos.float(), target.sources()
        error = torch.zeros_like(mos) if target.error is None else target.error.float()
        n_sources = int(source.max()) + 1
        self.elsewhere = _Elsewhere(target, source) if n_sources > 1 else None
        if self.elsewhere is not None:
            mos, error = self.elsewhere.alike(mos, source), error / self.elsewhere.ratio[source]
        self.register_buffer("mos", mos)
        self.register_buffer("width", (error.square() + _LEAST_WIDTH**2).sqrt())
        self.register_buffer("centres", bin_centres())
        self.register_buffer("source", source)
        self.register_buffer("weights", torch.tensor(target.weights or (1.0,) * n_sources))
        self.has_pairs = target.pairs is not None

    @property
    def needs_whole_batches(self) -> bool:
        """Whether clips are compared with each other, so that a batch cannot be shared out."""
        return self.recipe.ranking > 0 or self.elsewhere is not None or self.has_pairs

    def add_gradients(self, outputs: Tensor, rows: Sequence[int], n_batch: int, pairs: Pairs | None = None) -> Tensor:
        """Return the gradient of `loss` with respect to the outputs; parameters here get theirs."""
        own = [*self.parameters()]
        with torch.enable_grad():
            outputs = outputs.detach().requires_grad_()
            loss = self.loss(outputs, rows, n_batch, pairs)
            gradient, *of_own = torch.autograd.grad(loss, [outputs, *own])
        for parameter, of in zip(own, of_own, strict=True):
            parameter.grad = of if parameter.grad is None else parameter.grad + of
        return gradient

    def loss(self, outputs: Tensor, rows: Sequence[int], n_batch: int, pairs: Pairs | None = None) -> Tensor:
        """Return what is minimised, for those of a batch's clips that are in these rows.

        Of the rows, the first `n_batch` at most are the batch's; those after them are there for their pairs.
        """
        batch = list(rows[:n_batch])
        rated, weights = outputs[: len(batch)], self.weights[self.source[batch]]
        loss = (self._errors(rated, batch).sum(dim=(1, 2)) * weights).sum() / n_batch
        if self.recipe.ranking:
            loss = loss + self.recipe.ranking * self._disorder(rated[..., 0], batch, weights)
        if self.elsewhere is not None:
            loss = loss + _HELD * self.elsewhere.held()
        if pairs is not None and len(pairs):
            loss = loss + self.recipe.pair_weight * self._reversed(outputs[..., 0], rows, pairs)
        return loss

    def distances(self, values: Tensor, rows: Sequence[int]) -> Tensor:
        """Return how far values, (n, n_scales), are from the first source's scores; NaN where there is none."""
        scores = self.mos[rows]
        is_asked = (self.source[rows][:, None] == 0) & ~scores.isnan()
        return torch.where(is_asked, (values - scores).abs().nan_to_num(nan=math.inf), math.nan)

    def sources_to_json(self) -> list[dict[str, Any]]:
        """Return what was learned of each further source: offset and scale by the key of a scale."""
        if self.elsewhere is None:
            return []
        offsets, scales = (of.detach().cpu().tolist() for of in self.elsewhere.learned())
        learned = [list(zip(self._scales, *of, strict=True)) for of in zip(offsets, scales, strict=True)]
        return [
            {key: {"offset": offset, "scale": scale} for key, offset, scale in of if not math.isnan(offset)}
            for of in learned[1:]
        ]

    def _errors(self, outputs: Tensor, rows: Sequence[int]) -> Tensor:
        """Errors by clip, member and scale."""
        scores = self.mos[rows][:, None]
        known, width = ~scores.isnan(), self.width[rows][:, None]
        scores, values = scores.nan_to_num(0.0), outputs[..., 0]
        if self.elsewhere is not None:
            values = self.elsewhere(values, self.source[rows])
        if self.recipe.loss == "l1":
            errors = (values - scores).abs()
        elif self.recipe.loss == "squared":
            errors = (values - scores).square()
        else:
            distance = (self.centres - scores[..., None]) / width[..., None]
            wanted = (-distance.square() / 2).softmax(dim=-1)
            errors = -(wanted * functional.log_softmax(outputs[..., 1:], dim=-1)).sum(dim=-1)
            if self.elsewhere is not None:
                is_elsewhere = self.elsewhere.is_free[self.source[rows]][:, None]
                errors = torch.where(is_elsewhere, ((values - scores) / width).square() / 2, errors)
        return torch.where(known, errors, 0.0)

    def _disorder(self, values: Tensor, rows: Sequence[int], weights: Tensor) -> Tensor:
        """Mean logistic loss of the pairs of clips whose order is known, summed over scales and members."""
        scores, source = self.mos[rows], self.source[rows]
        is_one = (source[:, None] == source[None])[:, :, None]
        is_above = ((scores[:, None] > scores[None]) & is_one)[:, :, None]  # never where a score is NaN
        differences = (values[:, None] - values[None]) / _NEARLY_CERTAIN
        losses = torch.where(is_above, functional.softplus(-differences), 0.0).sum(dim=1)
        losses = (losses * weights[:, None, None]).sum(dim=0)
        return (losses / is_above.sum(dim=(0, 1)).clamp(min=1)).sum()

    def _reversed(self, values: Tensor, rows: Sequence[int], pairs: Pairs) -> Tensor:
        """Mean squared hinge loss of pairs, summed over members."""
        places = {row: place for place, row in enumerate(rows)}
        better, worse = (
            values[[places[row] for row in side.tolist()], :, pairs.scale.to(values.device)]
            for side in (pairs.better, pairs.worse)
        )
        margin = pairs.margin.to(values).nan_to_num(self.recipe.margin)[:, None]
        losses = functional.relu(margin - (better - worse)).square().sum(dim=1)
        return (losses * pairs.weight.to(losses)).mean()


class _Elsewhere(nn.Module):
    """How further sources rate: an offset and a scale for each source and scale.

    Their scores are first brought to the mean and the spread of the reference's; what is learned is how far that
    was wrong, since they heard other clips.
    """

    is_free: Tensor
    centre: Tensor
    mean: Tensor
    ratio: Tensor

    def __init__(self, target: Target, source: Tensor) -> None:
        super().__init__()
        parts = [target.mos[source == number].float() for number in range(int(source.max()) + 1)]
        is_there = torch.stack([(~part.isnan()).any(dim=0) for part in parts])
        mean = torch.stack([part.nanmean(dim=0) for part in parts])
        spread = torch.stack([(part - part.nanmean(dim=0)).square().nanmean(dim=0).sqrt() for part in parts])
        first, column = target.references(), torch.arange(len(target.scales))
        self.register_buffer("is_free", is_there & (torch.arange(len(parts))[:, None] != first))
        self.register_buffer("centre", mean[first, column].nan_to_num(0.0))
        self.register_buffer("mean", torch.where(self.is_free, mean, self.centre))
        ratio = spread.clamp(min=_LEAST_SD) / spread[first, column].clamp(min=_LEAST_SD)
        self.register_buffer("ratio", torch.where(self.is_free, ratio, 1.0))
        self.shift, self.stretch = (nn.Parameter(torch.zeros_like(mean)) for _ in range(2))

    def alike(self, scores: Tensor, source: Tensor) -> Tensor:
        """Bring (n, n_scales) scores of sources, (n,), to the reference's mean and spread."""
        return torch.where(
            self.is_free[source], self.centre + (scores - self.mean[source]) / self.ratio[source], scores
        )

    def forward(self, values: Tensor, source: Tensor) -> Tensor:
        """Return what sources are expected to say, brought alike, of (n, members, n_scales) values."""
        shift, stretch = (torch.where(self.is_free, of, 0.0)[source][:, None] for of in (self.shift, self.stretch))
        return self.centre + shift + (values - self.centre) * stretch.exp()

    def held(self) -> Tensor:
        """Return how far the scales are from where they began."""
        return torch.where(self.is_free, self.stretch.square(), 0.0).sum()

    def learned(self) -> tuple[Tensor, Tensor]:
        """Return offset and scale, (n_sources, n_scales), of rating = offset + scale x value; NaN where none is."""
        scale = self.ratio * self.stretch.exp()
        offset = self.mean + self.ratio * self.shift - scale * self.centre
        return torch.where(self.is_free, offset, math.nan), torch.where(self.is_free, scale, math.nan)
