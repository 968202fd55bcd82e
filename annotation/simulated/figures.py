"""What came of a simulated study: whether every clip is done, who was caught, what it cost."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.results import reliability
from annotation.results.false_alarms import expected_false_alarms
from annotation.results.progress import progress
from annotation.results.ratings import mos_table, ratings_table
from annotation.schema import Batch, Clip, Exclusion, Rater, Study
from annotation.simulated.listener import Opinion
from core.scales import SCALES

_HONEST = ("honest", "quitting")


def figures(
    session: Session, study: Study, kinds: Mapping[str, str], opinions: Mapping[str, Opinion]
) -> dict[str, Any]:
    """Count what came of a study.

    Parameters
    ----------
    session : Session
    study : Study
    kinds : mapping of str to str
        What each rater is like, by pseudonym.
    opinions : mapping of str to (float, float)
        The truth about each clip, by its name.

    Returns
    -------
    dict
        Ready for JSON; `simulation_text` says what each figure is.
    """
    ratings = ratings_table(session, study)
    batches = _batches(session, study, kinds)
    honest = batches[batches["kind"].isin(_HONEST)]
    mistaken = honest[honest["state"] == "excluded"]
    shares = (batches["state"] == "excluded").groupby(batches["rater"]).mean()
    caught = [rater for rater, share in shares.items() if kinds[rater] == "careless" and share > 0.5]
    at = ratings["given_at"].max() if len(ratings) else pd.Timestamp(study.created_at)
    return {
        **_ledger(session, study, ratings),
        "batches": len(batches),
        "batches_excluded": int((batches["state"] == "excluded").sum()),
        "careless_caught": len(caught),
        "false_alarms": len(mistaken),
        "false_alarms_by_rule": dict(Counter(mistaken["rule"])),
        "false_alarm_share": len(mistaken) / len(honest) if len(honest) else None,
        "false_alarm_share_expected": expected_false_alarms(Protocol.from_json(study.protocol)).either,
        "days": round((at - pd.Timestamp(study.created_at)).total_seconds() / 86_400, 1),
        "correlation_with_truth": _correlations(ratings, opinions),
        "panel": _panel(ratings, kinds),
        "shortage": progress(session, study, at.to_pydatetime()).shortage,
    }


def _ledger(session: Session, study: Study, ratings: pd.DataFrame) -> dict[str, Any]:
    """Count by clip what is rated in batches that count, whether or not the clip needs it."""
    names = session.scalars(select(Clip.name).where(Clip.study_id == study.id, Clip.kind == "stimulus")).all()
    counting = ratings[ratings["status"].isin(["valid", "surplus"])].groupby("clip")["rater"]
    per_clip = counting.size().reindex(names, fill_value=0)
    different = counting.nunique().reindex(names, fill_value=0)
    anchors = ratings[ratings["role"] == "anchor"].groupby(["rater", "clip"]).size()
    return {
        "valid_per_clip_min": int(per_clip.min()),
        "valid_per_clip_max": int(per_clip.max()),
        "different_raters_per_clip_min": int(different.min()),
        "valid_total": int(per_clip.sum()),
        "ratings_total": len(ratings),
        "anchor_repeats_max": int(anchors.max()) - 1 if len(anchors) else 0,
    }


def _batches(session: Session, study: Study, kinds: Mapping[str, str]) -> pd.DataFrame:
    """All batches but practice, with the rule that excluded them."""
    query = (
        select(Rater.pseudonym, Batch.id, Batch.state)
        .join(Batch)
        .where(Batch.study_id == study.id, Batch.number > 0)
    )
    table = pd.DataFrame(session.execute(query).all(), columns=["rater", "id", "state"])
    logged = select(Exclusion.batch_id, Rater.pseudonym, Exclusion.rule).join(Rater)
    rules: dict[int | str, str] = {}  # of a batch, or of a rater as a whole
    for batch_id, pseudonym, rule in session.execute(logged.where(Rater.study_id == study.id)):
        rules[pseudonym if batch_id is None else batch_id] = rule
    own, whole = table["id"].map(rules), table["rater"].map(rules)
    return table.assign(kind=table["rater"].map(kinds), rule=own.fillna(whole))


def _correlations(
    ratings: pd.DataFrame, opinions: Mapping[str, Opinion]
) -> dict[str, dict[str, float | None]]:
    """Pearson's and Spearman's correlation of the MOS with the truth, of clips and of systems."""
    clips = mos_table(ratings)
    found = {}
    for place, scale in enumerate(SCALES):
        clips["truth"] = [opinions[name][place] for name in clips["clip"]]
        systems = clips.groupby("system")[[scale, "truth"]].mean()
        found[scale] = {
            f"{level}_{name}": _pearson(*(transform(table[column].to_numpy()) for column in (scale, "truth")))
            for level, table in (("clips", clips), ("systems", systems))
            for name, transform in (("pearson", np.asarray), ("spearman", stats.rankdata))
        }
    return found


def _pearson(one: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])


def _panel(ratings: pd.DataFrame, kinds: Mapping[str, str]) -> list[dict[str, Any]]:
    """What the reliability report shows of each rater, beside what they are like."""
    shown = reliability.report(ratings)["raters"]
    return [{"rater": one["rater"], "kind": kinds[one["rater"]], **one} for one in shown]
