"""What leaving something out, or putting it back, would do to the results of a study."""

from dataclasses import dataclass

import pandas as pd

from annotation.database import Database
from annotation.results import Table
from annotation.results.ratings import read_ratings, with_standing
from annotation.results.scores import STANDING, Results, standing
from annotation.session import exclusions
from annotation.session.exclusions import Change
from annotation.studies import find_study
from core.scales import Scale, Scales


@dataclass(frozen=True)
class Comparison:
    """Results before and after a change."""

    before: Results
    after: Results

    @classmethod
    def of(cls, before: pd.DataFrame, after: pd.DataFrame, scales: Scales) -> "Comparison":
        """Compute both from tables of ratings."""
        return cls(Results.of(before, scales), Results.of(after, scales))

    @property
    def ratings(self) -> str:
        """How many ratings are valid, in a sentence."""
        return f"Valid ratings: {self.before.n_ratings:,} before, {self.after.n_ratings:,} after."

    def moved(self, scale: Scale) -> str:
        """Say how many clips get another MOS."""
        clips = self.before.clips.merge(self.after.clips, on="clip", how="outer", suffixes=("", "_after"))
        moved = (clips[f"{scale.key}_after"] - clips[scale.key]).abs()
        changed = int((moved > 0).sum())
        largest = f", by {moved.max():.2f} at most" if changed else ""
        lost = int((clips[scale.key].notna() & clips[f"{scale.key}_after"].isna()).sum())
        return f"MOS of {changed} clips changes{largest}; {lost} clips lose all their ratings."

    def table(self, scale: Scale) -> Table:
        """Return the systems' standing on a scale, before and after."""
        both = self.before.systems.merge(self.after.systems, on="system", how="outer", suffixes=("", "_after"))
        rows = [
            (row["system"], standing(row, scale.key), standing(row, scale.key, "_after"))
            for row in both.to_dict("records")
        ]
        return Table(f"{scale.title}: {STANDING}", ("System", "Before", "After"), rows)

    def text(self) -> str:
        """Say what the change does, in a few lines."""
        tables = [(self.table(scale), self.moved(scale)) for scale in self.before.scales]
        return "\n\n".join([self.ratings, *(f"{table.caption}\n{moved}\n{table.text()}" for table, moved in tables)])


def what_if(database: Database, change: Change) -> Comparison:
    """Compare the results with those after a change, which is not made: raters need not wait for a preview.

    Raises as `Change.make` does.
    """
    with database.read() as session:
        study = find_study(session, change.study)
        out = exclusions.out_after(session, study, change)
        both = exclusions.standing(session, study), exclusions.standing(session, study, out)
        read = read_ratings(session, study)
    before, after = (with_standing(read, study, batches) for batches in both)
    return Comparison.of(before, after, study.scales)
