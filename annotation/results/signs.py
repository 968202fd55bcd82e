"""Signs of not listening, from all ratings but practice. They are reported and exclude nobody.

Whoever sets all clips to "good" passes both checks. A sign is read into enough ratings only; a study in which
it can never show says so (`silent_signs`).
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from annotation.protocol import Protocol
from core.scales import MAX_SCORE

LEAST_RATINGS = 10  # in a batch, or of a rater, before a sign is read into them
SAME_ANSWER_SHARE = 0.9  # honest raters of 20 clips give one answer to half of them at most
FAST_S = 1.0  # from the end of a clip to the answer; the server accepts none before its end
FAST_SHARE = 0.5
UNHEARD_S = 1.0  # of the clip, by what the browser says was played
UNHEARD_SHARE = 0.1
_TOLD_BY = {  # what cannot be counted where a column is not known
    "batch": ["batches", "batches_excluded", "straight_lined_batches"],
    "given_at": ["fast_ratings"],
    "heard_s": ["unheard_ratings"],
}


def listening_signs(ratings: pd.DataFrame, scales: Iterable[str]) -> pd.DataFrame:
    """Count signs of not listening, for each rater who has rated anything but practice.

    The columns are ``rater``, ``ratings``, ``batches``, ``batches_excluded``, ``straight_lined_batches``
    (nearly all answers on one of the scales are the same), ``fast_ratings`` (right at the end of the clip),
    ``unheard_ratings`` (less was played than the clip is long) and ``flags``: a list of ``straight-lining``,
    ``too fast`` and ``not heard``. Of imported ratings counts may not be known, and are None.
    """
    rated = ratings[ratings["status"] != "practice"]
    began = rated[["shown_at", "served_at"]].max(axis=1)
    answered_s = (rated["given_at"] - began).dt.total_seconds() - rated["duration_s"]
    rated = rated.assign(fast=answered_s < FAST_S, unheard=rated["heard_s"] < rated["duration_s"] - UNHEARD_S)
    groups = rated.groupby("rater")
    table = pd.DataFrame({"ratings": groups.size(), "batches": groups["batch"].nunique()})
    excluded = rated[rated["status"] == "excluded"].groupby("rater")["batch"].nunique()
    straight = _straight_lined(rated, scales).groupby("rater").sum()
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
    for column, names in _TOLD_BY.items():
        if len(rated) and rated[column].isna().all():
            table = table.assign(**{name: [None] * len(table) for name in names})
    return table.reset_index()


def _straight_lined(rated: pd.DataFrame, scales: Iterable[str]) -> pd.Series:
    """Tell of each rater's batches whether nearly all answers on one of the scales are the same."""
    rated = rated.dropna(subset="batch")
    batches = rated.groupby(["rater", "batch"])
    n, batch = batches.size(), batches.ngroup()
    commonest = np.zeros(len(n), int)
    for key in scales:
        counts = np.zeros((len(n), int(MAX_SCORE) + 1), int)
        np.add.at(counts, (batch, rated[key]), 1)
        commonest = np.maximum(commonest, counts.max(axis=1))
    return (n >= LEAST_RATINGS) & (commonest >= SAME_ANSWER_SHARE * n)


def silent_signs(protocol: Protocol) -> list[str]:
    """Say which signs can never show under the rules of a study."""
    trials = protocol.trials_in(protocol.batch_size)
    if trials >= LEAST_RATINGS:
        return []
    return [
        f"Straight-lining cannot show: it is read into {LEAST_RATINGS} ratings of a batch, and a batch has {trials}."
    ]
