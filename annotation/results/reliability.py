"""How far a study's ratings can be trusted: the panel on each scale, and each rater.

Conventions: a rating is one element of arrays of equal length; `clip` and `rater` are numbered from 0 without
gaps; scores are points from 1 to 5; intervals are 95 %; what so few ratings cannot tell is None.

The panel: Krippendorff's alpha, intraclass correlation, repeats of the same clip, change with time and place.
A rater: bias and inconsistency as ITU-T P.910 models them, beside their signs of not listening.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import krippendorff
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from annotation.results import Figure, Table, number
from annotation.results.ratings import STATUSES, listening_signs, mos_table
from core.scales import Scales, keys

Numbers = NDArray[np.float64]
Codes = NDArray[np.intp]

SCREENS = (2.0, 3.29)  # standard deviations from a clip's mean beyond which ratings go: commonly, and in P.808
LEAST_INCONSISTENCY = 0.1  # points; answering in whole points alone makes one of 0.29

_MOST_STEPS = 1000
_CONVERGED = 1e-8  # change of all qualities in a step, as a Euclidean norm
_SMALLEST_VARIANCE = 1e-8  # of a rater whom the fit meets exactly


@dataclass(frozen=True)
class Trend:
    """Points that scores change by, for each step of what they are compared with."""

    slope: float
    low: float
    high: float


@dataclass(frozen=True)
class OutlierScreen:
    """A screen for ratings far from their clip's mean; it can fire where a clip has enough ratings."""

    threshold: float
    ratings_needed: int
    clips_screened: int
    can_fire: bool
    ratings_outside: int | None


@dataclass(frozen=True)
class Repeats:
    """How much raters differ from themselves on clips that they heard twice.

    `mean_difference` is absolute, `inconsistency_sd` that of one answer, and `share_over` has, by a tolerance
    in points, the share of pairs that differ by more.
    """

    pairs: int
    mean_difference: float
    inconsistency_sd: float
    share_over: dict[str, float]


@dataclass(frozen=True)
class RaterModel:
    """A fit, in points: quality by clip, and a table of the raters.

    The table has the bias and the inconsistency (a standard deviation), each with ``_low`` and ``_high``: the
    bias as a mean of so many ratings, the inconsistency by the chi-squared law.
    """

    quality: Numbers
    raters: pd.DataFrame


def alpha(clip: Codes, score: Numbers) -> float | None:
    """Krippendorff's alpha with the interval metric: 1 is perfect agreement, 0 that of chance."""
    values, value = np.unique(score, return_inverse=True)
    if len(values) < 2 or np.bincount(clip).max() < 2:
        return None
    counts = np.zeros((clip.max() + 1, len(values)), int)
    np.add.at(counts, (clip, value), 1)
    return float(krippendorff.alpha(value_counts=counts, value_domain=values, level_of_measurement="interval"))


def icc(clip: Codes, score: Numbers) -> tuple[float, float] | None:
    """Intraclass correlation of one rating, and of a clip's mean of as many as clips have on average.

    One-way random effects, since each clip has raters of its own. Source: P. E. Shrout and J. L. Fleiss,
    "Intraclass correlations", Psychological Bulletin 86(2), 1979, case 1; for unequal numbers of ratings, the
    average of A. Donner, "A review of inference procedures", International Statistical Review 54, 1986.
    """
    n, clips = np.bincount(clip), clip.max() + 1
    if clips < 2 or len(score) <= clips:
        return None
    means = np.bincount(clip, score) / n
    between = (n * (means - score.mean()) ** 2).sum() / (clips - 1)
    within = ((score - means[clip]) ** 2).sum() / (len(score) - clips)
    average = (len(score) - (n**2).sum() / len(score)) / (clips - 1)
    if between == 0:
        return None
    single = (between - within) / (between + (average - 1) * within)
    return float(single), float((between - within) / between)


def trend(clip: Codes, rater: Codes, score: Numbers, step: Numbers) -> Trend | None:
    """Change of the scores with a step (number of the batch, place in the batch), all clips and raters alike.

    Least squares with an effect for every clip and every rater: what is left when both were taken from the
    scores and from the steps.
    """
    free = len(score) - (clip.max() + 1) - (rater.max() + 1)
    residual_score, residual_step = _without_effects(score, clip, rater), _without_effects(step, clip, rater)
    spread = residual_step @ residual_step
    if free < 1 or spread < 1e-6:
        return None
    slope = residual_step @ residual_score / spread
    rest = residual_score - slope * residual_step
    reach = stats.t.ppf(0.975, free) * np.sqrt(rest @ rest / free / spread)
    return Trend(float(slope), float(slope - reach), float(slope + reach))


def _without_effects(values: Numbers, clip: Codes, rater: Codes) -> Numbers:
    """Take the means of all clips and of all raters away, in turns until both are zero."""
    for _ in range(_MOST_STEPS):
        before = values
        for group in (clip, rater):
            values = values - (np.bincount(group, values) / np.bincount(group))[group]
        if np.abs(values - before).max() < 1e-9:
            break
    return values


def repeats(first: Numbers, second: Numbers) -> Repeats | None:
    """Compare both scores of the clips that were presented twice to the same rater."""
    if len(first) == 0:
        return None
    difference = np.abs(second - first)
    return Repeats(
        len(difference),
        float(difference.mean()),
        float(np.sqrt((difference**2).mean() / 2)),
        {str(points): float((difference > points).mean()) for points in range(4)},
    )


def outlier_screen(clip: Codes, score: Numbers, threshold: float) -> OutlierScreen:
    """Count the ratings that lie so many standard deviations from their clip's mean; say whether any can.

    Of n values none lies over sqrt(n - 1) standard deviations (of all n) from their mean, so that at five
    ratings a clip a screen for more than 2 passes everybody.
    """
    needed = int(threshold**2) + 2
    n = np.bincount(clip)
    possible = (n >= needed)[clip]
    residual = score - (np.bincount(clip, score) / n)[clip]
    sd = np.sqrt(np.bincount(clip, residual**2) / n)[clip]
    outside = int((np.abs(residual[possible]) > threshold * sd[possible]).sum())
    fires = bool(possible.any())
    return OutlierScreen(threshold, needed, int((n >= needed).sum()), fires, outside if fires else None)


def fit(clip: Codes, rater: Codes, score: Numbers) -> RaterModel:
    """Model raters: a score is quality(clip) + bias(rater) + inconsistency(rater) * noise.

    The maximum-likelihood fit alternates between the three, weighting each rater by 1 / inconsistency²;
    biases are shifted to a mean of zero at the end. Any rater may have rated any clips, some of them twice.
    The steps are those of the reference implementation (`sureal.P910AnnexEModel`), which fills a table of all
    clips by all raters for each of them. Source: ITU-T P.910, Annex E; Z. Li et al., "A simple model for
    subject behavior in subjective experiments", HVEI 2020.

    With n ratings a clip the inconsistency comes out low by a factor of about sqrt(1 - 1/n): 0.89 at five.
    And the likelihood has no upper bound: where clips have few ratings, the fit may come to follow one rater
    exactly, whose inconsistency then falls to zero; below `LEAST_INCONSISTENCY` it says that, and nothing
    about the rater.
    """
    of_clip, of_rater = np.bincount(clip), np.bincount(rater)
    quality = np.bincount(clip, score) / of_clip
    bias = np.bincount(rater, score - quality[clip]) / of_rater
    for _ in range(_MOST_STEPS):
        before = quality
        residual = score - quality[clip] - bias[rater]
        residual -= (np.bincount(rater, residual) / of_rater)[rater]
        variance = np.bincount(rater, residual**2) / of_rater
        weight = 1.0 / (variance[rater] + _SMALLEST_VARIANCE)
        quality = np.bincount(clip, weight * (score - bias[rater])) / np.bincount(clip, weight)
        bias = np.bincount(rater, score - quality[clip]) / of_rater
        if np.linalg.norm(before - quality) < _CONVERGED:
            break
    shift, inconsistency = bias.mean(), np.sqrt(variance)
    reach = stats.norm.ppf(0.975) * inconsistency / np.sqrt(of_rater)
    raters = {
        "bias": bias - shift,
        "bias_low": bias - shift - reach,
        "bias_high": bias - shift + reach,
        "inconsistency": inconsistency,
        "inconsistency_low": inconsistency * np.sqrt(of_rater / stats.chi2.ppf(0.975, of_rater)),
        "inconsistency_high": inconsistency * np.sqrt(of_rater / stats.chi2.ppf(0.025, of_rater)),
    }
    return RaterModel(quality + shift, pd.DataFrame(raters))


@dataclass(frozen=True)
class ScaleReliability:
    """One scale of a study; `interval_half_width` is that of the middling clip's MOS."""

    mean: float | None
    interval_half_width: float | None
    repeats: Repeats | None
    alpha: float | None = None
    icc_one_rating: float | None = None
    icc_mos: float | None = None
    change_per: dict[str, Trend | None] = field(default_factory=dict)
    screens: list[OutlierScreen] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the figures; those of agreement only where a rating is valid."""
        figures = asdict(self)
        names = figures if self.mean is not None else ("mean", "interval_half_width", "repeats")
        return {name: figures[name] for name in names}


@dataclass(frozen=True)
class RaterFigures:
    """One rater on one scale: mean, P.910 model, correlation with the others' mean."""

    mean: float
    bias: float
    bias_low: float
    bias_high: float
    inconsistency: float | None
    inconsistency_low: float | None
    inconsistency_high: float | None
    correlation_with_others: float | None


@dataclass(frozen=True)
class RaterReliability:
    """One rater: a row of `listening_signs`; figures on the scales where they have valid ratings."""

    rater: str
    ratings: int
    batches: int
    batches_excluded: int
    straight_lined_batches: int
    fast_ratings: int
    unheard_ratings: int
    flags: list[str]
    scales: dict[str, RaterFigures | None]

    def to_json(self) -> dict[str, Any]:
        """Return the figures, those of a scale under its key."""
        figures = asdict(self)
        of_scales: dict[str, Any] = figures.pop("scales")
        return figures | of_scales


def _change(found: Trend | None) -> str:
    return f"{found.slope:+.4f} [{found.low:+.4f}, {found.high:+.4f}]" if found else "–"


def _outliers(scale: ScaleReliability, index: int) -> str:
    if not scale.screens:
        return "–"
    screen = scale.screens[index]
    if not screen.can_fire:
        return f"none is possible before a clip has {screen.ratings_needed} ratings"
    return f"{screen.ratings_outside} in {screen.clips_screened} clips that have enough ratings"


SCALE_FIGURES: tuple[Figure[ScaleReliability], ...] = (
    Figure("Mean of all clips", lambda scale: number(scale.mean)),
    Figure("95 % interval of the middling clip: its MOS ±", lambda scale: number(scale.interval_half_width)),
    Figure("Krippendorff’s alpha (agreement: 0 chance, 1 perfect)", lambda scale: number(scale.alpha)),
    Figure("Intraclass correlation of one rating", lambda scale: number(scale.icc_one_rating)),
    Figure(
        "Intraclass correlation of a clip’s MOS (how well it would come again with other raters)",
        lambda scale: number(scale.icc_mos),
    ),
    Figure("Change from batch to batch, in points", lambda scale: _change(scale.change_per.get("batch"))),
    Figure("Change from place to place in a batch", lambda scale: _change(scale.change_per.get("position"))),
    Figure(f"Outliers beyond {SCREENS[0]} standard deviations", lambda scale: _outliers(scale, 0)),
    Figure(f"Outliers beyond {SCREENS[1]} standard deviations", lambda scale: _outliers(scale, 1)),
    Figure("Clips heard twice", lambda scale: str(scale.repeats.pairs if scale.repeats else 0)),
    Figure(
        "The two answers differ by, on average",
        lambda scale: number(scale.repeats.mean_difference if scale.repeats else None),
    ),
    Figure(
        "The two answers differ by more than 1",
        lambda scale: number(scale.repeats.share_over["1"] if scale.repeats else None, ".1%"),
    ),
    Figure(
        "A rater’s own standard deviation, by these answers",
        lambda scale: number(scale.repeats.inconsistency_sd if scale.repeats else None),
    ),
)
RATER_FIGURES: tuple[Figure[RaterFigures], ...] = (
    Figure("bias", lambda rater: number(rater.bias)),
    Figure("inconsistency", lambda rater: number(rater.inconsistency)),
    Figure("r", lambda rater: number(rater.correlation_with_others)),
)
RATER_FIGURES_MEAN = (
    "Bias: points that a rater gives above the others; inconsistency: standard deviation of their own "
    "answers (both by ITU-T P.910); r: correlation with the mean of the others."
)


@dataclass(frozen=True)
class Reliability:
    """Everything that can be told of a study's reliability; ratings are counted by status."""

    of: Scales
    ratings: dict[str, int]
    clips: int
    ratings_per_clip: dict[str, int] | None
    scales: dict[str, ScaleReliability]
    raters: list[RaterReliability]

    def to_json(self) -> dict[str, Any]:
        """Return what ``reliability --json`` prints."""
        return {
            "ratings": self.ratings,
            "clips": self.clips,
            "ratings_per_clip": self.ratings_per_clip,
            "scales": {key: scale.to_json() for key, scale in self.scales.items()},
            "raters": [rater.to_json() for rater in self.raters],
        }

    @property
    def counts(self) -> str:
        """How many ratings and clips there are, in a sentence each."""
        ratings = ", ".join(f"{count} {status}" for status, count in self.ratings.items())
        n = self.ratings_per_clip
        each = f", {n['min']} to {n['max']} valid ratings each" if n else ""
        return f"Ratings: {ratings}. Clips with valid ratings: {self.clips}{each}."

    @property
    def scales_table(self) -> Table:
        """The figures by scale."""
        found = [self.scales[key] for key in keys(self.of)]
        rows = [(figure.name, *map(figure.say, found)) for figure in SCALE_FIGURES]
        return Table("Scales", ("Figure", *(scale.title for scale in self.of)), rows)

    @property
    def raters_table(self) -> Table:
        """The figures by rater."""
        figures = [(scale, figure) for scale in self.of for figure in RATER_FIGURES]
        of_scales = (f"{scale.short} {figure.name}" for scale, figure in figures)
        rows = []
        for rater in self.raters:
            said = [figure.say(of_scale) if (of_scale := rater.scales[scale.key]) else "–" for scale, figure in figures]
            counts = (rater.rater, rater.ratings, rater.batches, rater.batches_excluded)
            rows.append((*counts, *said, ", ".join(rater.flags) or "–"))
        return Table("Raters", ("Rater", "Ratings", "Batches", "Excluded", *of_scales, "Signs"), rows)

    def text(self) -> str:
        """Lay the figures out for a terminal."""
        return "\n\n".join((self.counts, self.scales_table.text(), self.raters_table.text(), RATER_FIGURES_MEAN))


def reliability(ratings: pd.DataFrame, scales: Scales) -> Reliability:
    """Tell how far ratings can be trusted.

    Agreement is that of the valid ratings; repeats and signs of not listening are those of all ratings but
    practice. The table is one of `annotation.results.ratings.ratings_table`.
    """
    valid = ratings[ratings["status"] == "valid"]
    counts, n = ratings["status"].value_counts(), valid.groupby("clip").size()
    figures = {key: _rater_figures(valid, key) for key in keys(scales)}
    return Reliability(
        of=scales,
        ratings={status: int(counts.get(status, 0)) for status in STATUSES},
        clips=len(n),
        ratings_per_clip={"min": int(n.min()), "max": int(n.max())} if len(n) else None,
        scales={key: scale_reliability(ratings, valid, key) for key in keys(scales)},
        raters=[
            RaterReliability(**row, scales={key: figures[key].get(row["rater"]) for key in keys(scales)})
            for row in listening_signs(ratings, keys(scales)).to_dict("records")
        ],
    )


def scale_reliability(ratings: pd.DataFrame, valid: pd.DataFrame, scale: str) -> ScaleReliability:
    """Say what all ratings, and those that are valid, tell of one scale."""
    both = ratings[ratings["role"] == "stimulus"].merge(
        ratings[ratings["role"] == "duplicate"], on=["rater", "batch", "clip"], suffixes=("", "_again")
    )
    again = repeats(both[scale].to_numpy(float), both[f"{scale}_again"].to_numpy(float))
    if valid.empty:
        return ScaleReliability(None, None, again)
    mos = mos_table(valid, [scale])
    reach = (mos[f"{scale}_high"] - mos[scale]).median()
    clip, rater = pd.factorize(valid["clip"])[0], pd.factorize(valid["rater"])[0]
    score = valid[scale].to_numpy(float)
    single, mean = icc(clip, score) or (None, None)
    return ScaleReliability(
        float(mos[scale].mean()),
        None if np.isnan(reach) else float(reach),
        again,
        alpha(clip, score),
        single,
        mean,
        {step: trend(clip, rater, score, valid[step].to_numpy(float)) for step in ("batch", "position")},
        [outlier_screen(clip, score, threshold) for threshold in SCREENS],
    )


def _rater_figures(valid: pd.DataFrame, scale: str) -> dict[str, RaterFigures]:
    """Return the figures of each rater who has valid ratings."""
    if valid.empty:
        return {}
    (clip, _), (rater, raters) = pd.factorize(valid["clip"]), pd.factorize(valid["rater"])
    score = valid[scale].to_numpy(float)
    model = fit(clip, rater, score).raters.astype(object)
    followed = model["inconsistency"] < LEAST_INCONSISTENCY
    model.loc[followed, ["inconsistency", "inconsistency_low", "inconsistency_high"]] = None
    n = np.bincount(clip)[clip]
    others = np.full(len(score), np.nan)
    np.divide(np.bincount(clip, score)[clip] - score, n - 1, out=others, where=n > 1)
    figures = {}
    for index, (name, row) in enumerate(zip(raters, model.to_dict("records"), strict=True)):
        mine = (rater == index) & ~np.isnan(others)
        figures[name] = RaterFigures(
            mean=float(score[rater == index].mean()),
            correlation_with_others=correlation(score[mine], others[mine]),
            **row,
        )
    return figures


def correlation(one: Sequence[float] | Numbers, other: Sequence[float] | Numbers) -> float | None:
    """Pearson's correlation; None for fewer than three values, or for values that are all the same."""
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])
