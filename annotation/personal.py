"""What the database holds on one rater, as they may be given it on their request.

Each table that a row of theirs stands in is there with all its columns, but for two kinds. Secrets by which they are
signed in: hashes of codes and tokens. And what would tell which clips are checks (their role, a rule's figures, the
clips' systems), as the rater may still rate: that is of the study and not of the person.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, select
from sqlalchemy.orm import Session

from annotation.schema import Base, Clip, Event, Prompt, Rater, Study, Trial
from annotation.studies import find_rater

_SECRET = ("code_sha256", "token_sha256", "token")
_CHECKS = ("role", "evidence")
_LEFT_OUT = frozenset({*_SECRET, *_CHECKS, "study_id", "rater_id", "clip_id"})
_NOTES = (
    "All that the database holds under this pseudonym, but for hashes of codes and devices, and what would tell which "
    "clips are checks. Who the pseudonym is does not stand there, unless in the note or in what the link carried."
)


def personal_data(session: Session, study: Study, pseudonym: str, at: datetime) -> dict[str, Any]:
    """Return all that is held on a rater, by table; `StudyError` where there is no such rater."""
    rater = find_rater(session, study, pseudonym)
    held = {}
    for name, table in Base.metadata.tables.items():
        whose = _theirs(table, rater)
        if whose is not None:
            held[name] = _rows(session, table, whose)
    return {"study": study.name, "rater": pseudonym, "made_at": at.isoformat(), "about": _NOTES, "held": held}


def as_text(found: Mapping[str, Any]) -> str:
    """Return it as JSON, for a file."""
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def _theirs(table: Table, rater: Rater) -> ColumnElement[bool] | None:
    """Return which rows of a table are a rater's; None for a table that is about nobody."""
    columns = table.columns
    if table.name == Rater.__tablename__:
        return columns["id"] == rater.id
    if table.name == Event.__tablename__:
        return (columns["study_id"] == rater.study_id) & (columns["about"] == rater.pseudonym)
    if "rater_id" in columns:
        return columns["rater_id"] == rater.id
    if "trial_id" in columns:
        return columns["trial_id"].in_(select(Trial.id).where(Trial.rater_id == rater.id))
    return None


def _rows(session: Session, table: Table, whose: ColumnElement[bool]) -> list[dict[str, Any]]:
    shown = [column for column in table.columns if column.name not in _LEFT_OUT]
    query = select(*shown).where(whose).order_by(*table.primary_key.columns)
    if table.name == Trial.__tablename__:
        heard = Clip.name.label("clip"), Prompt.text.label("prompt")
        query = (
            query.add_columns(*heard).join(Clip, Clip.id == table.c.clip_id).join(Prompt, Clip.prompt_id == Prompt.id)
        )
    return [
        {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
        for row in session.execute(query).mappings()
    ]
