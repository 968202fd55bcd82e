"""Systems by the mean score of their clips, from scored rows.

A system's interval (95 %) is a percentile bootstrap over its clips: how far its mean would move with other
clips. It says nothing of the judge's own error, which is the same for all systems or not: see the model card.
"""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

from core.batch.manifest import OK, Cells
from core.scales import Scales, keys

_RESAMPLES = 2_000
_MOST_NUMBERS_AT_ONCE = 4_000_000


def leaderboard(records: Iterable[Cells], scales: Scales, seed: int = 0) -> pd.DataFrame:
    """Rank systems, the best on the first scale first; rows without scores or without a system are left out."""
    columns = ["system", *keys(scales)]
    rows = [[record[column] for column in columns] for record in records if record["status"] == OK]
    scored = pd.DataFrame(rows, columns=columns)
    groups = scored[scored["system"] != ""].groupby("system")
    table = groups[keys(scales)].mean()
    table.insert(0, "n_clips", groups.size())
    for scale in keys(scales):
        ends = [_interval(group[scale].to_numpy(float), seed) for _, group in groups]
        table[[f"{scale}_low", f"{scale}_high"]] = np.reshape(ends, (-1, 2))
        table[f"{scale}_rank"] = table[scale].rank(ascending=False, method="min").astype(int)
    return table.reset_index().sort_values([scales[0].key, "system"], ascending=[False, True], ignore_index=True)


def _interval(scores: NDArray[np.float64], seed: int) -> tuple[float, float]:
    if len(scores) < 2:
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
