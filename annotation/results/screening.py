"""What the hidden checks say of anchors and of raters: whether an anchor is at fault, or a rater is strict.

The anchor rule compares ratings with one limit, so it falls on raters who rate everything low: across simulated
panels a rater's bias and the share of batches that they lose correlate with -0.7. Beside what a rater lost
stands what a rater with such ratings of anchors would lose by chance.
"""

import math
from dataclasses import dataclass

import pandas as pd

from annotation.protocol import Protocol
from annotation.results import Table, number
from annotation.rules import anchor_chance
from core.scales import Scales, keys

LEAST_RATINGS = 10  # of anchors by a rater, before their chance to lose a batch is told


@dataclass(frozen=True)
class Screening:
    """A table of the anchors and one of the raters, a row each.

    The anchors' has ``anchor`` (its opaque name), ``prompt``, ``n_ratings``, ``mean`` and ``n_failed``. The raters'
    has ``rater``, ``mean`` (of all clips, on the scale of the anchors), ``n_anchors``,
    ``anchor_mean``, ``anchors_failed``, ``repeats``, ``repeats_failed``, ``batches``, ``batches_excluded`` and
    ``expected_share``: of batches lost by an anchor, by chance, NaN for fewer than `LEAST_RATINGS` of them.
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
        heads = ("Rater", "Mean of clips", "Of anchors", "Anchors too low", "Repeats too far apart")
        rows = [
            (
                *(row["rater"], number(row["mean"]), number(row["anchor_mean"])),
                f"{row['anchors_failed']} of {row['n_anchors']}",
                f"{row['repeats_failed']} of {row['repeats']}",
                f"{row['batches_excluded']} of {row['batches']}",
                number(row["expected_share"], ".1%"),
            )
            for row in self.raters.to_dict("records")
        ]
        caption = "Raters and the checks; a dash: too few anchors rated to tell"
        return Table(caption, (*heads, "Batches excluded", "By an anchor, by chance"), rows, "Nobody rated yet.")


def screening(ratings: pd.DataFrame, protocol: Protocol, scales: Scales) -> Screening:
    """Count what the checks found, in batches that count and in those that do not."""
    score = protocol.anchor_scale if protocol.anchor_scale in keys(scales) else keys(scales)[0]
    rated = ratings[ratings["role"] != "practice"]
    anchors = rated[rated["role"] == "anchor"].assign(low=lambda table: table[score] < protocol.anchor_fail_below)
    figures = {"n_ratings": (score, "size"), "mean": (score, "mean"), "n_failed": ("low", "sum")}
    by_anchor = anchors.groupby(["clip", "prompt"]).agg(**figures).reset_index().rename(columns={"clip": "anchor"})
    by_anchor = by_anchor.sort_values(["n_failed", "mean"], ascending=[False, True], ignore_index=True)
    return Screening(by_anchor, _by_rater(rated, anchors, _pairs(rated, protocol, scales), score, protocol, scales))


def _by_rater(
    rated: pd.DataFrame, anchors: pd.DataFrame, pairs: pd.DataFrame, score: str, protocol: Protocol, scales: Scales
) -> pd.DataFrame:
    """Count the checks of each rater who has rated anything."""
    raters = rated.groupby("rater")
    of_anchors, of_pairs = anchors.groupby("rater"), pairs.groupby("rater")["failed"]
    table = pd.DataFrame({"batches": raters["batch"].nunique()})
    table["mean"] = rated[rated["role"] == "stimulus"].groupby("rater")[score].mean()
    table["anchor_mean"], table["anchor_sd"] = of_anchors[score].mean(), of_anchors[score].std()
    counts = {
        "n_anchors": of_anchors.size(),
        "anchors_failed": of_anchors["low"].sum(),
        "repeats": of_pairs.size(),
        "repeats_failed": of_pairs.sum(),
        "batches_excluded": rated[rated["status"] == "excluded"].groupby("rater")["batch"].nunique(),
    }
    for name, count in counts.items():
        table[name] = count.reindex(table.index, fill_value=0).astype(int)
    known = (table["n_anchors"] >= LEAST_RATINGS) & (table["anchor_sd"] > 0)
    table["expected_share"] = [
        anchor_chance(protocol, scales, mean, sd) if enough else math.nan
        for mean, sd, enough in zip(table["anchor_mean"], table["anchor_sd"], known, strict=True)
    ]
    return table.drop(columns="anchor_sd").reset_index()


def _pairs(rated: pd.DataFrame, protocol: Protocol, scales: Scales) -> pd.DataFrame:
    """Pair the two answers to clips that came twice."""
    both = rated[rated["role"] == "stimulus"].merge(
        rated[rated["role"] == "duplicate"], on=["rater", "batch", "clip"], suffixes=("", "_again")
    )
    apart = pd.concat([(both[key] - both[f"{key}_again"]).abs() for key in keys(scales)], axis=1).max(axis=1)
    return both[["rater"]].assign(failed=apart > protocol.duplicate_tolerance)
