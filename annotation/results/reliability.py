"""How far a study's ratings can be trusted: the panel on each scale, and each rater.

Conventions: a rating is one element of arrays of equal length; `clip` and `rater` are numbered from 0 without
gaps; scores are points from 1 to 5; intervals are 95 %; what so few ratings cannot tell is None, and the result
says what is needed.

The panel: Krippendorff's alpha (the interval kind, and beside it the ordinal one), intraclass correlation,
repeats of the same clip, change with time and place. A rater: bias and inconsistency as ITU-T P.910 models them,
beside their signs of not listening.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from annotation.results import Figure, Table, number
from annotation.results.agreement import (
    LEAST_PAIRS,
    OutlierScreen,
    Repeats,
    Trend,
    alpha,
    correlation,
    icc,
    outlier_screen,
    repeats,
    trend,
)
from annotation.results.rater_model import LEAST_DEGREES, LEAST_INCONSISTENCY, fit
from annotation.results.ratings import STATUSES
from annotation.results.scores import mos_table
from annotation.results.signs import listening_signs
from core.scales import Scales, keys

NO_ORDER = "the ratings were imported without their order"
_STEPS = ("batch", "position")
SCREENS = (2.0, 3.29)  # standard deviations from a clip's mean beyond which ratings go: commonly, and in P.808
LEAST_CLIPS = 10  # with two ratings or more, before agreement is told: nine gave an intraclass correlation of -1.08


@dataclass(frozen=True)
class ScaleReliability:
    """One scale of a study; `interval_half_width` is that of all clips with as many ratings as the middling one.

    `lacking` says, by figure, what is needed where there is none.
    """

    mean: float | None
    interval_half_width: float | None
    repeats: Repeats | None
    alpha: float | None = None
    alpha_ordinal: float | None = None
    icc_one_rating: float | None = None
    icc_mos: float | None = None
    change_per: dict[str, Trend | None] = field(default_factory=dict)
    screens: list[OutlierScreen] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the figures; those of agreement only where a rating is valid."""
        figures = asdict(self)
        names = figures if self.mean is not None else ("mean", "interval_half_width", "repeats", "lacking")
        return {name: figures[name] for name in names}


@dataclass(frozen=True)
class RaterFigures:
    """One rater on one scale: mean, P.910 model, correlation with the others' mean."""

    mean: float
    bias: float | None
    bias_low: float | None
    bias_high: float | None
    inconsistency: float | None
    inconsistency_low: float | None
    inconsistency_high: float | None
    correlation_with_others: float | None


@dataclass(frozen=True)
class RaterReliability:
    """One rater: a row of `listening_signs`; figures on the scales where they have valid ratings."""

    rater: str
    ratings: int
    batches: int | None  # this and what follows is None where imported ratings do not tell it
    batches_excluded: int | None
    straight_lined_batches: int | None
    fast_ratings: int | None
    unheard_ratings: int | None
    flags: list[str]
    scales: dict[str, RaterFigures | None]

    def to_json(self) -> dict[str, Any]:
        """Return the figures, those of a scale under its key."""
        figures = asdict(self)
        of_scales: dict[str, Any] = figures.pop("scales")
        return figures | of_scales


def _say(scale: ScaleReliability, figure: str, value: float | None, form: str = ".2f") -> str:
    why = scale.lacking.get(figure)
    return f"– ({why})" if value is None and why else number(value, form)


def _change(scale: ScaleReliability, step: str) -> str:
    found = scale.change_per.get(step)
    if found is None and "change" in scale.lacking:
        return _say(scale, "change", None)
    if found is None:
        return "– (too few ratings to tell it from clips and raters)"
    return f"{found.slope:+z.4f} [{found.low:+z.4f}, {found.high:+z.4f}]"


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:z.2f}, {high:z.2f}]"


def _outliers(scale: ScaleReliability, index: int) -> str:
    if not scale.screens:
        return _say(scale, "mean", scale.mean)
    screen = scale.screens[index]
    if not screen.can_fire:
        return f"none is possible before a clip has {screen.ratings_needed} ratings"
    return f"{screen.ratings_outside} in {screen.clips_screened} clips that have enough ratings"


SCALE_FIGURES: tuple[Figure[ScaleReliability], ...] = (
    Figure("Mean of all clips", lambda scale: _say(scale, "mean", scale.mean)),
    Figure("95 % interval of the middling clip: its MOS ±", lambda s: _say(s, "interval", s.interval_half_width)),
    Figure(
        "Krippendorff’s alpha, interval kind (agreement: 0 chance, 1 perfect)",
        lambda scale: _say(scale, "agreement", scale.alpha),
    ),
    Figure("Krippendorff’s alpha, ordinal kind", lambda scale: _say(scale, "agreement", scale.alpha_ordinal)),
    Figure("Intraclass correlation of one rating", lambda scale: _say(scale, "icc", scale.icc_one_rating)),
    Figure(
        "Intraclass correlation of a clip’s MOS (how well it would come again with other raters)",
        lambda scale: _say(scale, "icc", scale.icc_mos),
    ),
    Figure("Change from batch to batch, in points", lambda scale: _change(scale, "batch")),
    Figure("Change from place to place in a batch", lambda scale: _change(scale, "position")),
    Figure(f"Outliers beyond {SCREENS[0]} standard deviations", lambda scale: _outliers(scale, 0)),
    Figure(f"Outliers beyond {SCREENS[1]} standard deviations", lambda scale: _outliers(scale, 1)),
    Figure("Clips heard twice", lambda scale: str(scale.repeats.pairs if scale.repeats else 0)),
    Figure(
        "The two answers differ by, on average",
        lambda scale: _say(scale, "repeats", scale.repeats.mean_difference if scale.repeats else None),
    ),
    Figure(
        "The two answers differ by more than 1",
        lambda s: _say(s, "repeats", s.repeats.share_over.get("1") if s.repeats else None, ".1%"),
    ),
    Figure(
        "A rater’s own standard deviation, by these answers",
        lambda scale: _say(scale, "repeats", scale.repeats.inconsistency_sd if scale.repeats else None),
    ),
)
RATER_FIGURES: tuple[Figure[RaterFigures], ...] = (
    Figure("bias", lambda rater: number(rater.bias) + _interval(rater.bias_low, rater.bias_high)),
    Figure(
        "inconsistency",
        lambda rater: number(rater.inconsistency) + _interval(rater.inconsistency_low, rater.inconsistency_high),
    ),
    Figure("r", lambda rater: number(rater.correlation_with_others)),
)
RATER_FIGURES_MEAN = (
    "Bias: points that a rater gives above the others; inconsistency: standard deviation of their own "
    "answers (both by ITU-T P.910, with 95 % intervals); r: correlation with the mean of the others. A dash: fewer "
    f"than {LEAST_DEGREES} ratings that could tell, or answers so much alike that they cannot."
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
            batches = ["–" if count is None else count for count in (rater.batches, rater.batches_excluded)]
            rows.append((rater.rater, rater.ratings, *batches, *said, ", ".join(rater.flags) or "–"))
        return Table("Raters", ("Rater", "Ratings", "Batches", "Excluded", *of_scales, "Signs"), rows)

    def text(self) -> str:
        """Lay the figures out for a terminal."""
        return "\n\n".join((self.counts, self.scales_table.text(), self.raters_table.text(), RATER_FIGURES_MEAN))


def reliability(ratings: pd.DataFrame, scales: Scales, signs: pd.DataFrame | None = None) -> Reliability:
    """Tell how far ratings can be trusted.

    Agreement is that of the valid ratings; repeats and signs of not listening are those of all ratings but
    practice. The table is one of `annotation.results.ratings.ratings_table`; `signs` is that of `listening_signs`,
    where it is known.
    """
    signs = listening_signs(ratings, keys(scales)) if signs is None else signs
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
            for row in signs.to_dict("records")
        ],
    )


def scale_reliability(ratings: pd.DataFrame, valid: pd.DataFrame, scale: str) -> ScaleReliability:
    """Say what all ratings, and those that are valid, tell of one scale."""
    both = _heard_twice(ratings)
    again = repeats(both[scale].to_numpy(float), both[f"{scale}_again"].to_numpy(float))
    lacking = {} if len(both) >= LEAST_PAIRS else {"repeats": _needs(LEAST_PAIRS - len(both), "clips heard twice")}
    if valid.empty:
        lacking |= dict.fromkeys(("mean", "interval", "agreement", "icc"), "no rating is valid yet")
        return ScaleReliability(None, None, again, lacking=lacking)
    mos = mos_table(valid, [scale])
    reach = ((mos[f"{scale}_high"] - mos[f"{scale}_low"]) / 2).median()
    if np.isnan(reach):
        lacking["interval"] = str(mos["no_interval"].mode()[0])
    twice = int((mos["n_ratings"] > 1).sum())
    enough = twice >= LEAST_CLIPS
    if not enough:
        lacking |= dict.fromkeys(("agreement", "icc"), _needs(LEAST_CLIPS - twice, "clips with two ratings"))
    elif valid[scale].nunique() < 2:
        lacking |= dict.fromkeys(("agreement", "icc"), "all ratings are the same")
    elif mos[scale].nunique() < 2:
        lacking["icc"] = "all clips have the same mean"
    ordered = bool(valid["batch"].notna().all())
    if not ordered:
        lacking["change"] = NO_ORDER
    clip, rater = pd.factorize(valid["clip"])[0], pd.factorize(valid["rater"])[0]
    score = valid[scale].to_numpy(float)
    single, mean = (icc(clip, score) if enough else None) or (None, None)
    return ScaleReliability(
        float(mos[scale].mean()),
        None if np.isnan(reach) else float(reach),
        again,
        alpha(clip, score) if enough else None,
        alpha(clip, score, "ordinal") if enough else None,
        single,
        mean,
        {step: trend(clip, rater, score, valid[step].to_numpy(float)) for step in _STEPS if ordered},
        [outlier_screen(clip, score, threshold) for threshold in SCREENS],
        lacking,
    )


def _heard_twice(ratings: pd.DataFrame) -> pd.DataFrame:
    """Pair the answers to clips that a rater heard twice; the second ones have columns that end with ``_again``.

    Of imported ratings it is not known which of the two was first, which no figure of repeats needs to know.
    """
    clips = ratings[ratings["role"] == "stimulus"]
    if len(clips) and clips["batch"].isna().all():
        turn = clips.groupby(["rater", "clip"]).cumcount()
        return clips[turn == 0].merge(clips[turn == 1], on=["rater", "clip"], suffixes=("", "_again"))
    again = ratings[ratings["role"] == "duplicate"]
    return clips.merge(again, on=["rater", "batch", "clip"], suffixes=("", "_again"))


def _needs(count: int, what: str) -> str:
    return f"needs {count} more {what}"


def _rater_figures(valid: pd.DataFrame, scale: str) -> dict[str, RaterFigures]:
    """Return the figures of each rater who has valid ratings."""
    if valid.empty:
        return {}
    (clip, _), (rater, raters) = pd.factorize(valid["clip"]), pd.factorize(valid["rater"])
    score = valid[scale].to_numpy(float)
    model = fit(clip, rater, score).raters.astype(object)
    untold = model["degrees"] < LEAST_DEGREES
    followed = untold | (model["inconsistency"] < LEAST_INCONSISTENCY)
    model.loc[followed, [f"{name}{end}" for name in ("bias", "inconsistency") for end in ("", "_low", "_high")]] = None
    model = model.drop(columns="degrees")
    n = np.bincount(clip)[clip]
    others = np.full(len(score), np.nan)
    np.divide(np.bincount(clip, score)[clip] - score, n - 1, out=others, where=n > 1)
    figures = {}
    for index, (name, row) in enumerate(zip(raters, model.to_dict("records"), strict=True)):
        mine = (rater == index) & ~np.isnan(others)
        figures[name] = RaterFigures(
            mean=float(score[rater == index].mean()),
            correlation_with_others=correlation(score[mine], others[mine]) if mine.sum() >= LEAST_DEGREES else None,
            **row,
        )
    return figures
