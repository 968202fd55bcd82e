"""The clips of a study for whoever runs it: all of them, most disagreement first, and what is known of one.

Disagreement is the standard deviation of a clip's ratings that count, the mean of all scales. It is told from
`LEAST_RATINGS` on, and is unsure: of five ratings, one clip in twenty shows 1.5 times the true one by chance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.results import Table
from annotation.results.one_rater import when
from annotation.results.screening import anchor_scale, rated_anchors
from annotation.schema import Clip, Prompt, Study, System
from core.scales import Scale, Scales, keys

LEAST_RATINGS = 3
KINDS = {"stimulus": "clip", "anchor": "anchor", "practice": "practice"}


def clip_rows(session: Session, study: Study) -> Sequence[Any]:
    """Return the clips of a study with their systems and prompts, in order."""
    query = (
        select(
            *(Clip.name, Clip.kind, Clip.source_file, Clip.duration_s, Clip.findings, Clip.retired_at),
            *(System.name.label("system"), Prompt.text.label("prompt")),
        )
        .join(System, Clip.system_id == System.id)
        .join(Prompt, Clip.prompt_id == Prompt.id)
        .where(Clip.study_id == study.id)
        .order_by(Clip.id)
    )
    return session.connection().execute(query).all()


def clips_table(
    rows: Sequence[Any], scales: Scales, ratings: pd.DataFrame, scores: pd.DataFrame, findings: Mapping[str, str]
) -> pd.DataFrame:
    """Return a row a clip, of `clip_rows`: file, kind, system, prompt, scores, disagreement, and its opaque name.

    The means are of the ratings that count; of an anchor or a practice clip, of all. `scores` are those of
    `annotation.results.scores.mos_table`, whose 95 % intervals stand beside the means. `findings` has words for what
    was heard when the clip was added.
    """
    counts = ratings[(ratings["status"] == "valid") | (ratings["kind"] != "stimulus")].groupby("clip")
    means, spread, n = counts[list(keys(scales))].mean(), counts[list(keys(scales))].std(), counts.size()
    answers, comments = ratings.groupby("clip").size(), ratings[ratings["comment"] != ""].groupby("clip").size()
    names = [row.name for row in rows]
    apart = spread.mean(axis=1).where(n >= LEAST_RATINGS).reindex(names)
    table = pd.DataFrame(
        {
            "File": [row.source_file for row in rows],
            "What": ["retired" if row.retired_at else KINDS[row.kind] for row in rows],
            "System": [row.system for row in rows],
            "Prompt": [row.prompt for row in rows],
            "Seconds": [None if row.duration_s is None else round(row.duration_s, 1) for row in rows],
            "Answers": answers.reindex(names, fill_value=0).to_numpy(),
            "Valid": scores.set_index("clip")["n_ratings"].reindex(names, fill_value=0).to_numpy(),
            **{head: column for scale in scales for head, column in _of_scale(scale, means, scores, names).items()},
            "Disagreement": apart.round(2).to_numpy(),
            "Comments": comments.reindex(names, fill_value=0).to_numpy(),
            "To know": [_to_know(row.findings, findings) for row in rows],
            "Clip": names,
        }
    )
    return table.sort_values("Disagreement", ascending=False, kind="stable", na_position="last", ignore_index=True)


def _of_scale(scale: Scale, means: pd.DataFrame, scores: pd.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return the columns of a scale: the mean, and its interval or what it needs."""
    known = scores.set_index("clip").reindex(names)
    ends = zip(known[f"{scale.key}_low"], known[f"{scale.key}_high"], known["no_interval"], strict=True)
    return {
        scale.short: means[scale.key].reindex(names).round(2).to_numpy(),
        f"{scale.short} 95 %": [
            f"{low:.2f} to {high:.2f}" if low == low else lacking if isinstance(lacking, str) else ""
            for low, high, lacking in ends
        ],
    }


def _to_know(codes: Sequence[str], findings: Mapping[str, str]) -> str:
    return ", ".join(findings.get(code, code).split(",")[0].lower() for code in codes)


@dataclass(frozen=True)
class ClipPage:
    """What is known of one clip: sentences, then tables."""

    sentences: list[str]
    tables: list[Table]


def clip_page(study: Study, ratings: pd.DataFrame, clip: str) -> ClipPage:
    """Gather it; `ratings` are those of the study, as `ratings_table` has them."""
    mine = ratings[ratings["clip"] == clip]
    kind = mine["kind"].iloc[0] if len(mine) else "stimulus"
    sentences = [_scores(mine if kind != "stimulus" else mine[mine["status"] == "valid"], study.scales)]
    tables = [_all_ratings(mine, study.scales)]
    if kind == "anchor":
        failed = _failed(study.protocol, study.scales, ratings, clip)
        sentences.append(f"It failed {len(failed.rows)} of {len(mine)} batches that had it.")
        tables.insert(0, failed)
    return ClipPage(sentences, tables)


def _scores(counting: pd.DataFrame, scales: Scales) -> str:
    if counting.empty:
        return "No rating counts yet."
    means = ", ".join(f"{scale.title.lower()} {counting[scale.key].mean():.2f}" for scale in scales)
    said = f"Mean of {len(counting)} ratings that count: {means}."
    if len(counting) < LEAST_RATINGS:
        return f"{said} Disagreement is told from {LEAST_RATINGS} ratings on."
    apart = np.mean([counting[key].std() for key in keys(scales)])
    return f"{said} Disagreement (standard deviation): {apart:.2f}; of so few ratings it is unsure."


def _all_ratings(mine: pd.DataFrame, scales: Scales) -> Table:
    rows = [
        (
            *(f"{row['rater']}, batch {row['batch']}", *(row[key] for key in keys(scales))),
            *(row["status"] + (f": {row['reason']}" if row["reason"] else ""), row["comment"] or "–"),
            when(row["given_at"]),
        )
        for row in mine[::-1].to_dict("records")
    ]
    heads = ("Rater", *(scale.short for scale in scales), "Standing", "Comment", "When")
    return Table("Ratings, the latest first", heads, rows, "Nobody has rated it yet.")


def _failed(protocol: Protocol, scales: Scales, ratings: pd.DataFrame, clip: str) -> Table:
    score = anchor_scale(protocol, scales)
    batches = ratings[ratings["clip"] == clip][["rater", "batch"]].drop_duplicates()
    rated = ratings[ratings["role"] != "practice"].merge(batches, on=["rater", "batch"])
    anchors = rated_anchors(rated, protocol, score)
    low = anchors[(anchors["clip"] == clip) & anchors["low"]]
    rows = [
        (row["rater"], row["batch"], row[score], f"{row['limit']:.3g}", row["comment"] or "–")
        for row in low.to_dict("records")
    ]
    return Table("Whom it failed", ("Rater", "Batch", "Score", "Fails below", "Comment"), rows, "It failed nobody.")
