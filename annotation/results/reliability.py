"""How far a study's ratings can be trusted: the panel, the scales, and each rater.

The panel: Krippendorff's alpha, intraclass correlation, repeats of the same clip, change with time and place.
A rater: bias and inconsistency as ITU-T P.910 models them, and signs of not listening. These signs are
reported and exclude nobody: whoever sets all clips to "good" passes both of the paper's checks.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from annotation.results import agreement, rater_model
from annotation.results.ratings import STATUSES, mos_table
from core.scales import SCALE_TITLES, SCALES

LEAST_RATINGS = 10  # in a batch, or of a rater, before a sign is read into them
SAME_ANSWER_SHARE = 0.9  # honest raters of 20 clips give one answer to half of them at most
FAST_S = 1.0  # from the end of a clip to the answer; the server accepts none before its end
FAST_SHARE = 0.5
UNHEARD_S = 1.0  # of the clip, by what the browser says was played
UNHEARD_SHARE = 0.1


def report(ratings: pd.DataFrame, scales: Sequence[str] = SCALES) -> dict[str, Any]:
    """Everything that can be told of a study's reliability.

    Parameters
    ----------
    ratings : DataFrame
        As of `annotation.results.ratings.ratings_table`. Agreement is that of the valid ratings; repeats and
        signs of not listening are those of all ratings but practice.
    scales : sequence of str
        Columns with scores.

    Returns
    -------
    dict
        Ready for JSON; what so few ratings cannot tell is None.
    """
    valid = ratings[ratings["status"] == "valid"]
    counts = ratings["status"].value_counts()
    n = valid.groupby("clip").size()
    models = {scale: _rater_figures(valid, scale) for scale in scales}
    return {
        "ratings": {status: int(counts.get(status, 0)) for status in STATUSES},
        "clips": len(n),
        "ratings_per_clip": {"min": int(n.min()), "max": int(n.max())} if len(n) else None,
        "scales": {scale: _scale_figures(ratings, valid, scale) for scale in scales},
        "raters": [
            {**figures, **{scale: models[scale].get(figures["rater"]) for scale in scales}}
            for figures in flags(ratings).to_dict("records")
        ],
    }


def flags(ratings: pd.DataFrame) -> pd.DataFrame:
    """Signs of not listening, for each rater who has rated anything but practice.

    Returns
    -------
    DataFrame
        Columns ``rater``, ``ratings``, ``batches``, ``batches_excluded``, ``straight_lined_batches`` (nearly
        all answers on one of the scales are the same), ``fast_ratings`` (right at the end of the clip),
        ``unheard_ratings`` (less was played than the clip is long) and ``flags``: a list of
        ``straight-lining``, ``too fast`` and ``not heard``.
    """
    rated = ratings[ratings["status"] != "practice"]
    began = rated[["shown_at", "served_at"]].max(axis=1)
    answered_s = (rated["given_at"] - began).dt.total_seconds() - rated["duration_s"]
    rated = rated.assign(fast=answered_s < FAST_S, unheard=rated["heard_s"] < rated["duration_s"] - UNHEARD_S)
    groups = rated.groupby("rater")
    table = pd.DataFrame({"ratings": groups.size(), "batches": groups["batch"].nunique()})
    excluded = rated[rated["status"] == "excluded"].groupby("rater")["batch"].nunique()
    straight = _straight_lined(rated).groupby("rater").sum()
    table["batches_excluded"] = excluded.reindex(table.index, fill_value=0)
    table["straight_lined_batches"] = straight.reindex(table.index, fill_value=0)
    table["fast_ratings"], table["unheard_ratings"] = groups["fast"].sum(), groups["unheard"].sum()
    enough = table["ratings"] >= LEAST_RATINGS
    signs = {
        "straight-lining": table["straight_lined_batches"] > 0,
        "too fast": enough & (table["fast_ratings"] > FAST_SHARE * table["ratings"]),
        "not heard": enough & (table["unheard_ratings"] > UNHEARD_SHARE * table["ratings"]),
    }
    table["flags"] = [[sign for sign, shown in signs.items() if shown[rater]] for rater in table.index]
    return table.reset_index()


def _straight_lined(rated: pd.DataFrame) -> pd.Series:
    """Tell of each rater's batches whether nearly all answers on one of the scales are the same."""
    batches = rated.groupby(["rater", "batch"])
    commonest = pd.Series(0, index=batches.size().index)
    for scale in SCALES:
        of_scale = rated.groupby(["rater", "batch", scale]).size().groupby(["rater", "batch"]).max()
        commonest = commonest.combine(of_scale, max)
    n = batches.size()
    return (n >= LEAST_RATINGS) & (commonest >= SAME_ANSWER_SHARE * n)


def _scale_figures(ratings: pd.DataFrame, valid: pd.DataFrame, scale: str) -> dict[str, Any]:
    both = ratings[ratings["role"] == "stimulus"].merge(
        ratings[ratings["role"] == "duplicate"], on=["rater", "batch", "clip"], suffixes=("", "_again")
    )
    again = agreement.repeats(both[scale].to_numpy(float), both[f"{scale}_again"].to_numpy(float))
    if valid.empty:
        return {"mean": None, "interval_half_width": None, "repeats": again}
    mos = mos_table(valid, [scale])
    reach = (mos[f"{scale}_high"] - mos[scale]).median()
    return {
        "mean": float(mos[scale].mean()),
        "interval_half_width": None if np.isnan(reach) else float(reach),
        **agreement.of_scale(valid, scale),
        "repeats": again,
    }


def _rater_figures(valid: pd.DataFrame, scale: str) -> dict[str, dict[str, float | None]]:
    """Mean, P.910 model and correlation with the others of each rater who has valid ratings."""
    if valid.empty:
        return {}
    (clip, _), (rater, raters) = pd.factorize(valid["clip"]), pd.factorize(valid["rater"])
    score = valid[scale].to_numpy(float)
    model = rater_model.fit(clip, rater, score)
    n = np.bincount(clip)
    others = np.full(len(score), np.nan)
    np.divide(np.bincount(clip, score)[clip] - score, n[clip] - 1, out=others, where=n[clip] > 1)
    figures = {}
    for index, name in enumerate(raters):
        mine = (rater == index) & ~np.isnan(others)
        steady = model.inconsistency[index] >= rater_model.LEAST_INCONSISTENCY
        figures[name] = {
            "mean": float(score[rater == index].mean()),
            "bias": float(model.bias[index]),
            "bias_low": float(model.bias_low[index]),
            "bias_high": float(model.bias_high[index]),
            "inconsistency": float(model.inconsistency[index]) if steady else None,
            "inconsistency_low": float(model.inconsistency_low[index]) if steady else None,
            "inconsistency_high": float(model.inconsistency_high[index]) if steady else None,
            "correlation_with_others": _correlation(score[mine], others[mine]),
        }
    return figures


def _correlation(one: rater_model.Numbers, other: rater_model.Numbers) -> float | None:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def report_text(report: dict[str, Any]) -> str:
    """Lay the report out for a terminal.

    Parameters
    ----------
    report : dict
        As of `report`, of both scales.
    """
    counts = ", ".join(f"{count} {status}" for status, count in report["ratings"].items())
    n = report["ratings_per_clip"]
    per_clip = f", {n['min']} to {n['max']} valid ratings each" if n else ""
    lines = [f"Ratings: {counts}.", f"Clips with valid ratings: {report['clips']}{per_clip}."]
    for scale in SCALES:
        lines += ["", SCALE_TITLES[scale], *_scale_lines(report["scales"][scale])]
    return "\n".join([*lines, "", *_rater_lines(report["raters"])])


def _scale_lines(figures: dict[str, Any]) -> list[str]:
    lines = []
    if figures["mean"] is not None:
        changes = {name: _with_interval(found) for name, found in figures["change_per"].items()}
        lines = [
            f"  mean {figures['mean']:.2f}; 95 % interval of the middling clip: its MOS ± "
            f"{_shown(figures['interval_half_width'])}",
            f"  Krippendorff's alpha {_shown(figures['alpha'])}",
            f"  intraclass correlation: of one rating {_shown(figures['icc_one_rating'])}, "
            f"of a clip's MOS {_shown(figures['icc_mos'])}",
            f"  change: {changes['batch']} a batch, {changes['position']} a place within it",
            *(_screen_line(screen) for screen in figures["screens"]),
        ]
    again = figures["repeats"]
    if again:
        lines.append(
            f"  {again['pairs']} clips heard twice: answers differ by {again['mean_difference']:.2f}, "
            f"{again['share_over']['1']:.1%} of them by more than 1; a rater's own standard deviation is "
            f"{again['inconsistency_sd']:.2f}"
        )
    return lines or ["  nothing yet"]


def _screen_line(screen: dict[str, Any]) -> str:
    says = f"  outliers beyond {screen['threshold']} standard deviations: "
    if not screen["can_fire"]:
        return f"{says}there can be none before a clip has {screen['ratings_needed']} ratings"
    return f"{says}{screen['ratings_outside']} in {screen['clips_screened']} clips that have enough ratings"


def _rater_lines(raters: list[dict[str, Any]]) -> list[str]:
    heads = ["rater", "ratings", "batches", "excluded"]
    heads += [f"{name} {short}" for short in ("MI", "TA") for name in ("bias", "inconsistency", "r")]
    rows = [[*heads, "signs"]]
    for rater in raters:
        row = [rater["rater"], str(rater["ratings"]), str(rater["batches"]), str(rater["batches_excluded"])]
        for scale in SCALES:
            figures = rater[scale] or dict.fromkeys(("bias", "inconsistency", "correlation_with_others"))
            row += [_shown(figures[name]) for name in ("bias", "inconsistency", "correlation_with_others")]
        rows.append([*row, ", ".join(rater["flags"])])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [("  ".join(map(str.rjust, row[:-1], widths)) + f"  {row[-1]}").rstrip() for row in rows]


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _with_interval(found: dict[str, float] | None) -> str:
    return f"{found['slope']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]" if found else "unknown"
