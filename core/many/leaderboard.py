"""Systems by the mean score of their clips, from scored rows.

A system's interval (95 %) is a percentile bootstrap over its clips: how far its mean would move with other
clips. It says nothing of the judge's own error, which is the same for all systems or not: see the model card.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from core.many.table import OK
from core.scales import SCALES

_RESAMPLES = 2_000
_MOST_NUMBERS_AT_ONCE = 4_000_000


def leaderboard(records: Iterable[Mapping[str, Any]], seed: int = 0) -> pd.DataFrame:
    """Rank systems.

    Parameters
    ----------
    records : iterable of mappings
        Of `core.many.table`; rows without scores or without a system are left out.
    seed : int
        Of the bootstrap.

    Returns
    -------
    DataFrame
        The best musical impression first. Columns ``system``, ``n_clips`` and, for each scale, its mean under
        the scale's name, ``<scale>_low`` and ``<scale>_high`` (NaN where a system has one clip), and
        ``<scale>_rank`` (1 is best; equals share a rank).
    """
    columns = ["system", *SCALES]
    rows = [[record[column] for column in columns] for record in records if record["status"] == OK]
    scored = pd.DataFrame(rows, columns=columns)
    groups = scored[scored["system"] != ""].groupby("system")
    table = groups[list(SCALES)].mean()
    table.insert(0, "n_clips", groups.size())
    for scale in SCALES:
        ends = [_interval(group[scale].to_numpy(float), seed) for _, group in groups]
        table[[f"{scale}_low", f"{scale}_high"]] = np.reshape(ends, (-1, 2))
        table[f"{scale}_rank"] = table[scale].rank(ascending=False, method="min").astype(int)
    return table.reset_index().sort_values([SCALES[0], "system"], ascending=[False, True], ignore_index=True)


def _interval(scores: np.ndarray[Any, np.dtype[np.float64]], seed: int) -> tuple[float, float]:
    if len(scores) < 2:
        return np.nan, np.nan
    random, means = np.random.default_rng(seed), []
    at_once = max(1, _MOST_NUMBERS_AT_ONCE // len(scores))
    for first in range(0, _RESAMPLES, at_once):
        n_resamples = min(at_once, _RESAMPLES - first)
        means.append(scores[random.integers(0, len(scores), (n_resamples, len(scores)))].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)
