"""What an administrator can change in the count of a study: a batch or a rater left out, or counted again."""

import json
from dataclasses import dataclass
from datetime import datetime

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.schema import Batch, Exclusion, Rater, Study
from annotation.session.screening import exclude, restore
from annotation.studies import find_batch, find_rater, find_study

_ACTS = {"exclude": exclude, "restore": restore}
_UNDO = {"exclude": "restore", "restore": "exclude"}


@dataclass(frozen=True)
class Change:
    """Leave a batch, or all that a rater ever said, out of the count; or count it again.

    Attributes
    ----------
    study : str
    action : str
        ``exclude`` or ``restore``.
    rater : str
        Pseudonym.
    batch : int or None
        Its number; None for the rater as a whole.
    """

    study: str
    action: str
    rater: str
    batch: int | None = None

    @property
    def what(self) -> str:
        """The batch or the rater, in words."""
        return self.rater if self.batch is None else f"batch {self.batch} of {self.rater}"

    @property
    def undo(self) -> "Change":
        """The change that takes this one back."""
        return Change(self.study, _UNDO[self.action], self.rater, self.batch)

    def make(self, session: Session, reason: str, author: str, at: datetime) -> None:
        """Make the change, in a write transaction.

        Raises
        ------
        StudyError
            If there is no such study, rater or batch, or its state does not allow the change, or the reason
            is empty.
        """
        rater = find_rater(session, find_study(session, self.study), self.rater)
        target = rater if self.batch is None else find_batch(session, rater, self.batch)
        _ACTS[self.action](session, target, reason, author, at)


def possible_changes(session: Session, study: Study) -> list[Change]:
    """Give the one change that each rater and each of their batches allows now, rater by rater."""
    latest: dict[tuple[int, int | None], str] = {}
    log = select(Exclusion).join(Rater).where(Rater.study_id == study.id).order_by(Exclusion.id)
    for entry in session.scalars(log):
        latest[entry.rater_id, entry.batch_id] = entry.action
    batches = (
        select(Rater.id, Rater.pseudonym, Batch.id, Batch.number)
        .join(Batch, Batch.rater_id == Rater.id)
        .where(Rater.study_id == study.id, Batch.number > 0)
        .order_by(Rater.id, Batch.number)
    )
    changes: dict[tuple[int, int | None], Change] = {}
    for rater_id, rater, batch_id, number in session.execute(batches):
        for key, batch in (((rater_id, None), None), ((rater_id, batch_id), number)):
            action = _UNDO[latest.get(key, "restore")]
            changes[key] = Change(study.name, action, rater, batch)
    return list(changes.values())


def change_log(session: Session, study: Study) -> pd.DataFrame:
    """Everything that was left out or put back, by rule or by hand, in its order.

    Returns
    -------
    DataFrame
        Columns ``rater``, ``batch`` (its number, or ``all``), ``action``, ``rule``, ``reason``, ``evidence``
        (the rule's figures, as JSON), ``author`` and ``at``.
    """
    entries = session.execute(
        select(Exclusion, Rater.pseudonym, Batch.number)
        .join(Rater, Exclusion.rater_id == Rater.id)
        .outerjoin(Batch, Exclusion.batch_id == Batch.id)
        .where(Rater.study_id == study.id)
        .order_by(Exclusion.id)
    )
    columns = ("rater", "batch", "action", "rule", "reason", "evidence", "author", "at")
    rows = [
        (pseudonym, "all" if number is None else number, entry.action, entry.rule, entry.reason,
         json.dumps(entry.evidence), entry.author, entry.at)
        for entry, pseudonym, number in entries
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(columns))
