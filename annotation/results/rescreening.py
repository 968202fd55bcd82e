"""What other screening rules would make of the ratings that there are. Nothing is changed: a study keeps its rules.

Under other rules other clips would have been handed out, too; that nobody can tell. What counts beyond what a clip
needs is surplus, as after an exclusion that is undone.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import SCREENING, Protocol
from annotation.results import Table
from annotation.results.changes import Comparison
from annotation.results.ratings import read_ratings, with_standing
from annotation.rules import consequences, false_alarms
from annotation.schema import Batch, Rater, Study
from annotation.session.exclusions import out_under, standing
from annotation.studies import find_study
from core.errors import StudyError
from core.scales import Scales

_COUNTS = "counts"


@dataclass(frozen=True)
class Rescreening:
    """The results by a study's rules and by others, and which batches and raters differ.

    `batches` has a row for each that has ended: ``rater``, ``batch``, ``before`` and ``after``, why it is left out, or
    ``counts``. `valid` has the numbers of valid ratings by rater, ``before`` and ``after``.
    """

    rules: Protocol
    others: Protocol
    compared: Comparison
    batches: pd.DataFrame
    valid: pd.DataFrame

    @property
    def sentences(self) -> list[str]:
        """What the other rules are, and what they do, in a sentence each."""
        out = self.batches[["before", "after"]] != _COUNTS
        back, gone = (out["before"] & ~out["after"]).sum(), (out["after"] & ~out["before"]).sum()
        chances = [false_alarms(rules, self._scales)["either"] for rules in (self.rules, self.others)]
        return [
            f"Judged by {self._changed}.",
            f"Batches left out: {out['before'].sum()} of {len(out)} now, {out['after'].sum()} by these rules; {back} "
            f"that are left out would count, {gone} that count would be left out.",
            f"By chance, a good rater fails {chances[0]:.1%} of batches now, {chances[1]:.1%} by these rules.",
            *consequences(self.others, self._scales),
        ]

    @property
    def _scales(self) -> Scales:
        return self.compared.before.scales

    @property
    def _changed(self) -> str:
        changed = []
        for rule in SCREENING:
            value, other = getattr(self.rules, rule.name), getattr(self.others, rule.name)
            if value != other:
                changed.append(f"--{rule.name.replace('_', '-')} {_said(other)} in place of {_said(value)}")
        return ", ".join(changed) or "the study’s own rules"

    @property
    def raters_table(self) -> Table:
        """What each rater who has ended a batch would lose or gain."""
        out = (self.batches[["before", "after"]] != _COUNTS).groupby(self.batches["rater"]).sum()
        rows = [(rater, *out.loc[rater], *self.valid.loc[rater]) for rater in out.index]
        heads = ("Rater", "Batches left out now", "By these rules", "Valid ratings now", "By these rules")
        return Table("Raters, by the study’s rules and by these", heads, rows, "No batch has ended yet.")

    @property
    def batches_table(self) -> Table:
        """The batches that would stand otherwise."""
        differ = self.batches[(self.batches["before"] == _COUNTS) != (self.batches["after"] == _COUNTS)]
        rows = [
            (f"batch {row['batch']} of {row['rater']}", row["before"], row["after"])
            for row in differ.to_dict("records")
        ]
        heads = ("Batch", "Now", "By these rules")
        return Table("Batches that would stand otherwise", heads, rows, "No batch would stand otherwise.")

    def text(self) -> str:
        """Say what the rules would do, for a terminal."""
        tables = (self.batches_table.captioned(), self.raters_table.captioned())
        return "\n\n".join(["\n".join(self.sentences), *tables, self.compared.text()])


def _said(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def rescreen(database: Database, study_name: str, rules: Mapping[str, Any]) -> Rescreening:
    """Judge the batches of a study that have ended by other rules, and compare the results.

    Reads one state of the database, and holds nobody up. What was left out or put back by hand stays as it is.

    Parameters
    ----------
    database : Database
    study_name : str
    rules : mapping
        Values of fields of `annotation.protocol.SCREENING`, by name; the others are the study's.

    Raises
    ------
    StudyError
        If there is no such study, or a rule cannot have the value.
    """
    with database.read() as session:
        study = find_study(session, study_name)
        if not study.has_batches:
            raise StudyError("These ratings were imported without batches and checks, so no rules can judge them.")
        others = dataclasses.replace(study.protocol, **rules)
        others.check_scale(study.scales)
        both = standing(session, study), standing(session, study, out_under(session, study, others))
        read, ended = read_ratings(session, study), _ended(session, study)
    rows = [(rater, number, *(found[batch_id][1] or _COUNTS for found in both)) for batch_id, rater, number in ended]
    batches = pd.DataFrame(rows, columns=["rater", "batch", "before", "after"])
    now, then = (with_standing(read, study, found) for found in both)
    valid = pd.DataFrame({"before": _valid(now), "after": _valid(then)}, batches["rater"].unique())
    compared = Comparison.of(now, then, study.scales)
    return Rescreening(study.protocol, others, compared, batches, valid.fillna(0).astype(int))


def _valid(ratings: pd.DataFrame) -> pd.Series:
    return ratings[ratings["status"] == "valid"].groupby("rater").size()


def _ended(session: Session, study: Study) -> Sequence[Any]:
    """Return the number in the database, the rater and the number of each batch that has ended."""
    query = select(Batch.id, Rater.pseudonym, Batch.number).join(Rater, Batch.rater_id == Rater.id)
    ended = query.where(Batch.study_id == study.id, Batch.number > 0, Batch.closed_at.is_not(None))
    return session.execute(ended.order_by(Rater.id, Batch.number)).all()
