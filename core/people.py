"""How far a judge agrees with people, on any table of ratings: figures, their ceiling, groups of clips.

    figures     SRCC, LCC, KTAU, PAIRS (`core.metrics`), and the MSE in points from 1 to 5, over clips
    intervals   95 % bootstraps over systems and prompts where there are `LEAST_GROUPS` of each; else over clips, and
                then they hold for clips like these and not for other systems
    ceiling     what the correlation with a judge that makes no error would be, because raters differ: the square
                root of their means' reliability. Raters are dealt into two halves, `SPLITS` times; r is the mean of
                Pearson's correlation of both halves' means over clips, 2 r / (1 + r) the reliability of all
                (Spearman-Brown)
    groups      the means of people and of the judge, each on its own range; and of each two groups in how many
                pairs of their clips the one that people like more is above the other, ties left out

A group's name may have parts, as ``human, one instrument``: then groups are compared by their first parts as well.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core import evaluation
from core.errors import MetricError
from core.evaluation import LEVELS, Predictions, drawn, predicted
from core.metrics import LEAST_GROUPS, LEAST_POINTS, METRICS, Interval, agreement, bootstrap_intervals, pairs, shortage
from core.rated_clips import OUR_RANGE, Opinions, Range
from core.scales import Scale

SPLITS = 200  # into halves; their mean then moves by less than 0.005 from seed to seed
FIGURES = {name: {**METRICS, "pairs": pairs}[name] for name in ("srcc", "lcc", "ktau", "pairs", "mse")}

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """How far raters agree with each other, and what a perfect judge would reach."""

    split_half: float
    spearman_brown: float
    ceiling: float
    n_ratings: int
    n_raters: int


@dataclass(frozen=True)
class GroupMeans:
    """The mean of people, on their own range, and of the judge, from 1 to 5, over a group's clips."""

    group: str
    n_clips: int
    people: float
    judge: float


@dataclass(frozen=True)
class GroupOrder:
    """In what share of the pairs of two groups' clips the group that people like more is above the other."""

    above: str
    below: str
    n_pairs: int
    people: float | None
    judge: float | None
    judge_ci95: Interval | None


@dataclass(frozen=True)
class PeopleAgreement:
    """How a judge agrees with people on one scale.

    `figures` and `intervals` are by the names of `FIGURES`; `over` says what was drawn for intervals. `reasons` says
    in sentences what there is not, and why.
    """

    scale: Scale
    ends: Range
    n_clips: int
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval]
    over: str
    reliability: Reliability | None
    groups: tuple[GroupMeans, ...] = ()
    orders: tuple[GroupOrder, ...] = ()
    reasons: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object: each figure beside its interval, null for what there is not."""
        figures: dict[str, Any] = {}
        for name in FIGURES:
            ends = self.intervals.get(name)
            figures |= {name: self.figures.get(name), f"{name}_ci95": list(ends) if ends else None}
        reliability = asdict(self.reliability) if self.reliability else None
        return {
            "n_clips": self.n_clips,
            "scale_range": list(self.ends),
            **figures,
            "intervals_over": self.over,
            "ceiling": self.reliability.ceiling if self.reliability else None,
            "reliability": reliability,
            "groups": [asdict(of) for of in self.groups],
            "pairs_across_groups": [asdict(of) for of in self.orders],
            "not_measured": list(self.reasons),
        }


def measure_people(
    predictions: Predictions, opinions: Opinions, resamples: int | None = None, seed: int = 0
) -> list[PeopleAgreement]:
    """Measure how predictions agree with people's opinions, scale by scale."""
    n = evaluation.RESAMPLES if resamples is None else resamples
    return [_measure(predictions.on(scale), scale, opinions, n, seed) for scale in predictions.scales]


def _measure(table: pd.DataFrame, scale: Scale, opinions: Opinions, resamples: int, seed: int) -> PeopleAgreement:
    truth, said = (table[of].to_numpy(dtype=float) for of in (scale.key, predicted(scale.key)))
    reasons: list[str] = []
    figures: dict[str, float] = {}
    intervals: dict[str, Interval] = {}
    over = _over(table)
    try:
        known = agreement(truth, said, "clips").figures
        figures = {name: of(truth, said) for name, of in FIGURES.items() if name in known or len(known) > 1}
        figures = {name: figure for name, figure in figures.items() if not math.isnan(figure)}
    except MetricError as error:
        reasons.append(f"{scale.title} is not measured: {error}")
    if len(figures) == 1:
        reasons.append(f"{scale.title}: all {'predicted' if np.ptp(truth) else 'rated'} scores are the same.")
    if figures and len(table) < LEAST_GROUPS:
        reasons.append(f"{scale.title} has no intervals: {shortage(len(table), 'clips', LEAST_GROUPS)}.")
    elif figures:
        metrics = {name: FIGURES[name] for name in figures}
        intervals = bootstrap_intervals(truth, said, [*over.values()], resamples, seed, metrics)
    reliable = _reliability(table, scale, opinions, seed)
    if isinstance(reliable, str):
        reasons.append(f"{scale.title} has no ceiling: {reliable}")
    ends = opinions.ranges.get(scale.key, OUR_RANGE)
    groups = table["clip_id"].map(opinions.groups).fillna("").to_numpy() if opinions.groups else np.array([])
    return PeopleAgreement(
        scale,
        ends,
        len(table),
        figures,
        intervals,
        " and ".join(over),
        None if isinstance(reliable, str) else reliable,
        tuple(_group_means(truth, said, groups, ends)),
        tuple(_group_orders(truth, said, groups, resamples, seed)),
        tuple(reasons),
    )


def _over(table: pd.DataFrame) -> dict[str, list[str]]:
    """What is drawn for intervals: systems and prompts where there are enough of them, else clips."""
    known = drawn(LEVELS[0], table)
    enough = all(len(set(names)) >= LEAST_GROUPS for names in known.values())
    return known if enough else {"clips": list(table["clip_id"])}


def _reliability(table: pd.DataFrame, scale: Scale, opinions: Opinions, seed: int) -> Reliability | str:
    """The reliability of people's means of the clips that were measured, or why there is none."""
    if opinions.ratings is None:
        return "the table has means and no single ratings, a row for each rater and clip."
    rows = opinions.ratings[opinions.ratings["clip_id"].isin(table["clip_id"])].dropna(subset=[scale.key])
    clip, n_clips = pd.factorize(rows["clip_id"])[0], rows["clip_id"].nunique()
    rater, n_raters = pd.factorize(rows["rater"])[0], rows["rater"].nunique()
    found = [*_halves(clip, rater, rows[scale.key].to_numpy(dtype=float), n_clips, n_raters, seed)]
    if len(found) < SPLITS / 2:
        return f"it needs {LEAST_GROUPS} clips that are rated in both halves of the raters."
    half = float(np.mean(found))
    if half <= 0:
        return f"both halves of the raters do not agree (correlation {half:.2f})."
    whole = 2 * half / (1 + half)
    return Reliability(half, whole, math.sqrt(whole), len(rows), n_raters)


def _halves(
    clip: NDArray[np.intp], rater: NDArray[np.intp], rating: Numbers, n_clips: int, n_raters: int, seed: int
) -> Iterator[float]:
    """Correlations of the means by two halves of the raters, of as many splits as have one."""
    random = np.random.default_rng(seed)
    for _ in range(SPLITS):
        is_first = (random.permutation(n_raters) < n_raters // 2)[rater]
        means = []
        for half in (is_first, ~is_first):
            counts = np.bincount(clip[half], minlength=n_clips)
            sums = np.bincount(clip[half], rating[half], minlength=n_clips)
            means.append(np.divide(sums, counts, out=np.full(n_clips, np.nan), where=counts > 0))
        both = np.isfinite(means).all(axis=0)
        first, second = (of[both] for of in means)
        if len(first) >= LEAST_GROUPS and np.ptp(first) > 0 and np.ptp(second) > 0:
            yield float(np.corrcoef(first, second)[0, 1])


def _group_means(truth: Numbers, said: Numbers, groups: NDArray[Any], ends: Range) -> Iterator[GroupMeans]:
    (worst, best), (lowest, highest) = ends, OUR_RANGE
    for group in sorted({*groups} - {""}):
        of = groups == group
        people = worst + (float(truth[of].mean()) - lowest) * (best - worst) / (highest - lowest)
        yield GroupMeans(group, int(of.sum()), people, float(said[of].mean()))


def _group_orders(
    truth: Numbers, said: Numbers, groups: NDArray[Any], resamples: int, seed: int
) -> Iterator[GroupOrder]:
    """The order of each two groups, by their first parts and then whole."""
    firsts = np.array([str(group).partition(",")[0].strip() for group in groups])
    for names in (firsts, groups) if len({*firsts}) < len({*groups}) else (groups,):
        for one, other in itertools.combinations(sorted({*names} - {""}), 2):
            above, below = sorted((one, other), key=lambda name: -float(truth[names == name].mean()))
            rows = [np.flatnonzero(names == name) for name in (above, below)]
            yield GroupOrder(
                above,
                below,
                len(rows[0]) * len(rows[1]),
                _share_above(truth[rows[0]], truth[rows[1]]),
                _share_above(said[rows[0]], said[rows[1]]),
                _interval_above(said, rows, resamples, seed),
            )


def _share_above(above: Numbers, below: Numbers) -> float | None:
    """The share of pairs in which the first is above, without ties; None for fewer clips than a figure needs."""
    difference = above[:, None] - below[None]
    untied = int((difference != 0).sum())
    if not untied or min(difference.shape) < LEAST_POINTS:
        return None
    return float((difference > 0).sum() / untied)


def _interval_above(
    said: Numbers, rows: Sequence[NDArray[np.intp]], resamples: int, seed: int
) -> tuple[float, float] | None:
    """The 95 % interval of the judge's share, each group's clips drawn by themselves."""
    if min(map(len, rows)) < LEAST_GROUPS or not resamples:
        return None
    random = np.random.default_rng(seed)
    shares = [_share_above(*(said[random.choice(of, len(of))] for of in rows)) for _ in range(resamples)]
    found = [share for share in shares if share is not None]
    if len(found) <= resamples / 2:
        return None
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def as_text(people: Sequence[PeopleAgreement]) -> Iterator[str]:
    """Lay it out for a terminal, line by line."""
    width = max(28, *(len(of.scale.title) + 14 for of in people)) + 2
    yield f"{'Agreement with people':<{width}}" + "".join(f"{name.upper():>8}" for name in FIGURES)
    for of in people:
        yield _line(f"{of.scale.title} ({of.n_clips} clips)", of.figures, width)
        if of.intervals:
            for end, title in enumerate(("95 % interval from", "to")):
                yield _line(f"  {title}", {name: ends[end] for name, ends in of.intervals.items()}, width)
        if of.reliability:
            yield _line("  ceiling", dict.fromkeys(("srcc", "lcc"), of.reliability.ceiling), width)
    for of in people:
        yield from _groups_as_text(of)
    yield ""
    yield from _in_words(people)


def _line(title: str, figures: Mapping[str, float], width: int) -> str:
    return f"{title:<{width}}" + "".join(
        f"{figures[name]:8.3f}" if name in figures else f"{'-':>8}" for name in FIGURES
    )


def _groups_as_text(of: PeopleAgreement) -> Iterator[str]:
    if not of.groups:
        return
    width = max(len("group"), *(len(group.group) for group in of.groups)) + 2
    worst, best = of.ends
    yield ""
    yield f"{of.scale.title}: {'group':<{width}} clips   people ({worst:g} to {best:g})   judge (1 to 5)"
    for group in of.groups:
        indent = " " * (len(of.scale.title) + 2)
        yield f"{indent}{group.group:<{width}} {group.n_clips:>5}   {group.people:>15.2f}   {group.judge:>14.2f}"
    yield ""
    yield f"{of.scale.title}: pairs across groups, in the order of people's means, in percent"
    for order in of.orders:
        interval = f" ({order.judge_ci95[0]:.0%} to {order.judge_ci95[1]:.0%})" if order.judge_ci95 else ""
        what = f"{order.above} above {order.below} ({order.n_pairs:,} pairs)"
        yield f"  {what}: people {_percent(order.people)}, judge {_percent(order.judge)}{interval}"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _in_words(people: Sequence[PeopleAgreement]) -> Iterator[str]:
    over = {of.over for of in people if of.intervals}
    for drawn_of in sorted(over):
        alone = ": they hold for clips like these, not for other systems" if drawn_of == "clips" else ""
        yield f"Intervals are bootstraps over {drawn_of}{alone}. PAIRS leaves ties out. MSE is in points from 1 to 5."
    for of in people:
        if ceiling := of.reliability:
            yield (
                f"{of.scale.title}, ceiling: by {ceiling.n_ratings:,} ratings of {ceiling.n_raters:,} raters, whose "
                f"halves correlate at {ceiling.split_half:.3f} (Spearman-Brown {ceiling.spearman_brown:.3f}), a judge "
                f"without error would reach {ceiling.ceiling:.2f}."
            )
        yield from of.reasons
