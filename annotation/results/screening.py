"""What the hidden checks say of anchors and of raters: whether an anchor is at fault, or a rater is strict.

The paper's anchor rule compares ratings with one limit, so it falls on raters who rate everything low: across
simulated panels a rater's bias and the share of batches that they lose correlate with -0.7. Beside what a rater
lost stands what a rater with such ratings of anchors would lose by chance, and of all raters together how bias
and loss go together.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from annotation.protocol import Protocol
from annotation.results import Table, number
from annotation.results.agreement import correlation
from annotation.rules import anchor_chance, anchor_limit
from core.errors import counted
from core.scales import Scales, keys

LEAST_RATINGS = 10  # of anchors by a rater, before their chance to lose a batch is told; of clips, before their bias
LEAST_RATERS = 10  # with a bias, before it is told whether the anchors fall on the strict


@dataclass(frozen=True)
class Screening:
    """A table of the anchors and one of the raters, a row each.

    The anchors' has ``anchor`` (its opaque name), ``prompt``, ``n_ratings``, ``mean`` and ``n_failed``. The raters'
    has ``rater``, ``mean`` (of all clips, on the scale of the anchors), ``bias`` (points above the others, on the
    clips that others rated too, NaN for fewer than `LEAST_RATINGS`), ``n_anchors``, ``anchor_mean``,
    ``anchors_failed``, ``batches_low`` (with an anchor under the limit), ``repeats``, ``repeats_failed``, ``batches``,
    ``batches_excluded`` and ``expected_share``: of batches lost by an anchor, by chance, NaN for fewer than
    `LEAST_RATINGS` of them.
    """

    anchors: pd.DataFrame
    raters: pd.DataFrame

    @property
    def anchors_table(self) -> Table:
        """The anchors, those that fail most often first."""
        rows = [
            (row["prompt"], row["n_ratings"], number(row["mean"]), f"{row['n_failed']} of {row['n_ratings']}")
            for row in self.anchors.to_dict("records")
        ]
        heads = ("Anchor", "Ratings", "Mean", "Rated too low")
        return Table("Anchors; one that many rate low is no good anchor", heads, rows, "No anchor was rated yet.")

    @property
    def raters_table(self) -> Table:
        """The raters, with what they lost and what they would lose by chance."""
        heads = ("Rater", "Mean of clips", "Above others", "Mean of anchors", "Anchors too low")
        rows = [
            (
                *(row["rater"], number(row["mean"]), number(row["bias"], "+z.2f"), number(row["anchor_mean"])),
                f"{row['anchors_failed']} of {row['n_anchors']}",
                f"{row['repeats_failed']} of {row['repeats']}",
                f"{row['batches_excluded']} of {row['batches']}",
                number(row["expected_share"], ".1%"),
            )
            for row in self.raters.to_dict("records")
        ]
        caption = f"Raters and the checks; a dash: fewer than {LEAST_RATINGS} ratings to tell by"
        lost = ("Repeats too far apart", "Batches excluded", "By an anchor, by chance")
        return Table(caption, (*heads, *lost), rows, "Nobody rated yet.")

    @property
    def falls_on_strict(self) -> str:
        """How raters' biases go together with what the anchors take from them, in a sentence."""
        name = "Raters’ points above the others, and the share of their batches with an anchor too low"
        told = self.raters[self.raters["bias"].notna() & (self.raters["n_anchors"] > 0)]
        if len(told) < LEAST_RATERS:
            return f"{name}: – (needs {counted(LEAST_RATERS - len(told), 'more rater')} with {LEAST_RATINGS} ratings)."
        found = correlation(told["bias"].to_numpy(float), (told["batches_low"] / told["batches"]).to_numpy(float))
        if found is None:
            return f"{name}: – (all raters have the same share)."
        return f"{name} correlate with {found:+.2f} over {len(told)} raters; below 0, anchors fall on who rates low."


def screening(ratings: pd.DataFrame, protocol: Protocol, scales: Scales) -> Screening:
    """Count what the checks found, in batches that count and in those that do not."""
    score = protocol.anchor_scale if protocol.anchor_scale in keys(scales) else keys(scales)[0]
    rated = ratings[ratings["role"] != "practice"]
    anchors = _anchors(rated, protocol, score)
    figures = {"n_ratings": (score, "size"), "mean": (score, "mean"), "n_failed": ("low", "sum")}
    by_anchor = anchors.groupby(["clip", "prompt"]).agg(**figures).reset_index().rename(columns={"clip": "anchor"})
    by_anchor = by_anchor.sort_values(["n_failed", "mean"], ascending=[False, True], ignore_index=True)
    return Screening(by_anchor, _by_rater(rated, anchors, _pairs(rated, protocol, scales), score, protocol, scales))


def _anchors(rated: pd.DataFrame, protocol: Protocol, score: str) -> pd.DataFrame:
    """Return the ratings of anchors, with whether each is under the limit of its batch."""
    batch = ["rater", "batch"]
    own = rated[rated["role"] == "stimulus"].groupby(batch)[score].agg(["size", "mean"])
    anchors = rated[rated["role"] == "anchor"]
    own = own.reindex(pd.MultiIndex.from_frame(anchors[batch]), fill_value=0)
    limits = [anchor_limit(protocol, n, mean) for n, mean in zip(own["size"], own["mean"], strict=True)]
    return anchors.assign(low=anchors[score] < np.array(limits, float))


def _by_rater(
    rated: pd.DataFrame, anchors: pd.DataFrame, pairs: pd.DataFrame, score: str, protocol: Protocol, scales: Scales
) -> pd.DataFrame:
    """Count the checks of each rater who has rated anything."""
    raters, clips = rated.groupby("rater"), rated[rated["role"] == "stimulus"]
    of_anchors, of_pairs = anchors.groupby("rater"), pairs.groupby("rater")["failed"]
    table = pd.DataFrame({"batches": raters["batch"].nunique()})
    table["mean"], table["bias"] = clips.groupby("rater")[score].mean(), _biases(clips, score)
    table["anchor_mean"], table["anchor_sd"] = of_anchors[score].mean(), of_anchors[score].std()
    counts = {
        "n_anchors": of_anchors.size(),
        "anchors_failed": of_anchors["low"].sum(),
        "batches_low": anchors[anchors["low"]].groupby("rater")["batch"].nunique(),
        "repeats": of_pairs.size(),
        "repeats_failed": of_pairs.sum(),
        "batches_excluded": rated[rated["status"] == "excluded"].groupby("rater")["batch"].nunique(),
    }
    for name, count in counts.items():
        table[name] = count.reindex(table.index, fill_value=0).astype(int)
    if rated["batch"].isna().all():  # imported without batches: there was nothing that could be counted
        table[["batches", *counts]] = np.nan
    known = (table["n_anchors"] >= LEAST_RATINGS) & (table["anchor_sd"] > 0) & table["mean"].notna()
    table["expected_share"] = [
        anchor_chance(protocol, scales, row.anchor_mean, row.anchor_sd, row.mean) if enough else math.nan
        for row, enough in zip(table.itertuples(), known, strict=True)
    ]
    return table.drop(columns="anchor_sd").reset_index()


def _biases(clips: pd.DataFrame, score: str) -> pd.Series:
    """Return the points that each rater gives above the mean of the others, over the clips that others rated."""
    groups = clips.groupby("clip")[score]
    n = groups.transform("size")
    above = (clips[score] - groups.transform("mean")) * n / (n - 1).where(n > 1)
    biases = above.dropna().groupby(clips["rater"]).agg(["mean", "size"])
    return biases["mean"].where(biases["size"] >= LEAST_RATINGS)


def _pairs(rated: pd.DataFrame, protocol: Protocol, scales: Scales) -> pd.DataFrame:
    """Pair the two answers to clips that came twice."""
    both = rated[rated["role"] == "stimulus"].merge(
        rated[rated["role"] == "duplicate"], on=["rater", "batch", "clip"], suffixes=("", "_again")
    )
    apart = pd.concat([(both[key] - both[f"{key}_again"]).abs() for key in keys(scales)], axis=1).max(axis=1)
    return both[["rater"]].assign(failed=apart > protocol.duplicate_tolerance)
