"""Systems by the mean score of their clips, from scored rows.

A system has a rank on a scale where at least `LEAST_SHARE` of its rows have a value: were the others the best or the
worst, its mean could still move by less than half a point. Systems with equal means share a rank.

A system's interval (95 %) is a percentile bootstrap over its clips: how far its mean would move with other
clips. It needs `LEAST_CLIPS`: of fewer the resamples are so few that its ends are single clips. It says nothing of
the judge's own error, which is the same for all systems or not: see the model card.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.batch.manifest import OK, Cells
from core.scales import Scales, keys

LEAST_SHARE = 0.9
LEAST_CLIPS = 5

_RESAMPLES = 2_000
_MOST_NUMBERS_AT_ONCE = 4_000_000
_EQUAL_DIGITS = 9  # means that differ by less differ by how they were added up


def leaderboard(records: Iterable[Cells], scales: Scales, seed: int = 0) -> pd.DataFrame:
    """Rank systems, the best on the first scale first; rows without a system are left out.

    Columns are ``system``, ``n_rows``, ``n_clips`` (rows with scores), ``n_failed``, each scale with its
    ``_low``, ``_high`` and ``_rank``, and ``reason``: why a system has no rank or no interval. What a system does
    not have is missing (NaN, NA).
    """
    names = keys(scales)
    rows = [[record["system"], record["status"] == OK, *map(record.get, names)] for record in records]
    table = pd.DataFrame(rows, columns=["system", "is_scored", *names])
    systems = [
        _system(str(system), of_system[of_system["is_scored"]][names], len(of_system), seed)
        for system, of_system in table[table["system"] != ""].groupby("system")
    ]
    bounds = [f"{name}_{bound}" for name in names for bound in ("low", "high")]
    n_values = [f"{name}_n" for name in names]
    columns = ["system", "n_rows", "n_clips", "n_failed", *names, *bounds, *n_values, "reason"]
    board = pd.DataFrame(systems, columns=columns)
    for name in names:
        is_ranked = board[f"{name}_n"].gt(0) & (board[f"{name}_n"] >= LEAST_SHARE * board["n_rows"])
        ranked = board[name].where(is_ranked).astype(float).round(_EQUAL_DIGITS)
        board[f"{name}_rank"] = ranked.rank(ascending=False, method="min").astype("Int64")
    order = [f"{scales[0].key}_rank", "system"]
    return board.sort_values(order, ignore_index=True).drop(columns=n_values)


def _system(system: str, scores: pd.DataFrame, n_rows: int, seed: int) -> dict[str, object]:
    """One row of the board."""
    n_clips, n_values = len(scores), scores.notna().sum()
    least = int(n_values.min())
    what = "scores" if least == n_clips else "all scores"
    no_rank = f"{least:,} of {n_rows:,} rows have {what}; a rank needs {LEAST_SHARE:.0%} of them"
    no_interval = f"an interval needs {LEAST_CLIPS} clips"
    is_ranked = least > 0 and least >= LEAST_SHARE * n_rows
    reasons = [no_rank] * (not is_ranked) + [no_interval] * (least < LEAST_CLIPS)
    row: dict[str, object] = {"system": system, "n_rows": n_rows, "n_clips": n_clips, "n_failed": n_rows - n_clips}
    for name in scores:
        values = scores[name].dropna().to_numpy(float)
        row[name], row[f"{name}_n"] = values.mean() if values.size else math.nan, values.size
        row[f"{name}_low"], row[f"{name}_high"] = interval(values, seed)
    return row | {"reason": "; ".join(reasons)}


def interval(scores: NDArray[np.float64], seed: int) -> tuple[float, float]:
    """Return the 95 % interval of a mean; NaN of fewer than `LEAST_CLIPS`."""
    from scipy.stats import bootstrap  # late: it takes half a second, and the pages begin without it

    if len(scores) < LEAST_CLIPS:
        return math.nan, math.nan
    found = bootstrap(
        (scores,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, _MOST_NUMBERS_AT_ONCE // len(scores)),
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)
