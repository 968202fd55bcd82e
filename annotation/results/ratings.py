"""Every rating of a study with its standing: whether it counts, and if not, why.

Conventions: tables are pandas frames with one row a rating; each scale has a column under its key; scores are
points from 1 to 5.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from sqlalchemy import String, and_, select, type_coerce
from sqlalchemy.orm import Session, aliased

from annotation.schema import Batch, Clip, Prompt, Rater, Rating, Response, Study, System, Trial
from annotation.session.exclusions import standing
from core.scales import keys

Standing = Mapping[int, tuple[str, str]]  # of batches by id, as `exclusions.standing` returns it
STATUSES = ("valid", "surplus", "pending", "excluded", "retired", "check", "practice")


def ratings_table(session: Session, study: Study) -> pd.DataFrame:
    """Read every rating ever given in a study, in the order of giving, with its standing now.

    The columns are ``clip`` (its opaque name), ``kind``, ``system``, ``prompt``, ``rater`` (pseudonym),
    ``batch`` (its number; 0 is practice), ``role``, ``position``, the scales, ``comment``, ``heard_s``,
    ``duration_s``, ``shown_at``, ``served_at``, ``given_at``, ``status`` and ``reason``. The status is
    ``valid``; ``surplus`` for the latest ratings, where a clip has more than it needs; ``pending`` until the
    batch has ended; ``excluded``; ``retired`` where the clip was; ``check`` for anchors and second presentations of
    duplicates; or ``practice``. The reason is empty for valid ratings. Of imported ratings batch, position and times
    may not be known.
    """
    return with_standing(read_ratings(session, study), study, standing(session, study))


def read_ratings(session: Session, study: Study) -> pd.DataFrame:
    """Read what `ratings_table` has, with ``batch_id`` and ``retired`` in place of the standing."""
    on = {key: aliased(Rating) for key in keys(study.scales)}
    query = (
        select(
            Clip.name.label("clip"),
            Clip.kind,
            System.name.label("system"),
            Prompt.text.label("prompt"),
            Rater.pseudonym.label("rater"),
            Batch.number.label("batch"),
            Trial.role,
            Trial.position,
            *(rating.score.label(key) for key, rating in on.items()),
            Response.comment,
            Response.heard_s,
            Clip.duration_s,
            # As text: pandas reads a column of times at once, SQLAlchemy each by itself.
            *(type_coerce(time, String).label(time.key) for time in (Trial.shown_at, Trial.served_at)),
            type_coerce(Response.given_at, String).label("given_at"),
            Batch.id.label("batch_id"),
            Clip.retired_at.is_not(None).label("retired"),
        )
        .select_from(Response)
        .join(Trial, Response.trial_id == Trial.id)
        .join(Batch, Trial.batch_id == Batch.id)
        .join(Rater, Batch.rater_id == Rater.id)
        .join(Clip, Trial.clip_id == Clip.id)
        .join(System, Clip.system_id == System.id)
        .join(Prompt, Clip.prompt_id == Prompt.id)
        .where(Batch.study_id == study.id)
        .order_by(Response.given_at, Response.id)
    )
    for key, rating in on.items():
        query = query.join(rating, and_(rating.trial_id == Trial.id, rating.scale == key))
    table = pd.DataFrame(session.execute(query).all(), columns=list(query.selected_columns.keys()))
    for time in ("shown_at", "served_at", "given_at"):
        table[time] = pd.to_datetime(table[time], utc=True, format="ISO8601")
    table = table.astype({"heard_s": float, "duration_s": float})  # where none is known, None makes no numbers
    return table if study.has_batches else table.assign(batch=pd.NA, position=pd.NA)


def with_standing(read: pd.DataFrame, study: Study, batches: Standing) -> pd.DataFrame:
    """Add the standing to what `read_ratings` read."""
    limit, stimulus = study.protocol.raters_per_clip, read["role"] == "stimulus"
    state = read["batch_id"].map({batch_id: state for batch_id, (state, _) in batches.items()})
    reasons = {batch_id: reason for batch_id, (_, reason) in batches.items()}
    counting = stimulus & (state == "valid")
    earlier = read[counting].groupby("clip").cumcount().reindex(read.index, fill_value=0)
    check = read["role"].map({"anchor": "hidden anchor", "duplicate": "second presentation"})
    cases = {
        "practice": (read["role"] == "practice", "practice never counts"),
        "check": (~stimulus, check),
        "pending": (state == "open", "the batch has not ended"),
        "excluded": (state == "excluded", read["batch_id"].map(reasons)),
        "retired": (stimulus & read["retired"].astype(bool), "the clip was retired"),
        "surplus": (earlier >= limit, f"the clip has its {limit} valid ratings"),
    }
    conditions = [condition for condition, _ in cases.values()]
    return read.drop(columns=["batch_id", "retired"]).assign(
        status=np.select(conditions, list(cases), "valid"),
        reason=np.select(conditions, [reason for _, reason in cases.values()], ""),
    )
