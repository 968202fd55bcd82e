"""Reference clips, among which a system's mean has a place: a table of their scores, as a batch writes it.

Scores of two judges, or at two precisions, cannot be compared, so the table must be of the judge that the gate runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.batch.manifest import OK, Cells, from_cells, read_records
from core.errors import DataError, counted, shown_name
from core.files import Problems
from core.gate.outcome import is_no_music
from core.preference import LEAST_REFERENCES
from core.scales import keys
from core.scorer import Scorer


@dataclass(frozen=True)
class References:
    """Values of reference clips by scale, and the file that they come from."""

    source: str
    values: Mapping[str, NDArray[np.float64]]

    def place_of(self, mean: float, scale: str) -> str:
        """Say how many of the clips a mean is above; empty where too few have a value on the scale."""
        values = self.values[scale]
        if len(values) < LEAST_REFERENCES:
            return ""
        percent = int(100 * np.mean(values < mean))
        return f"better than {percent} % of {counted(len(values), 'reference clip')} ({self.source})"


def read_references(path: Path, scorer: Scorer) -> References:
    """Read a table of scores; DataError where it is none, is of another judge, or has too few clips."""
    scales, problems = scorer.checkpoint.scales, Problems(path.name)
    found: dict[str, list[float]] = {key: [] for key in keys(scales)}
    for place, cells in read_records(path, problems, keys(scales)):
        try:
            _take(cells, found, scorer)
        except ValueError as error:
            problems.add(place, str(error))
    problems.stop_if_any()
    if not any(len(values) >= LEAST_REFERENCES for values in found.values()):
        raise DataError(f"{shown_name(path.name)} has fewer than {LEAST_REFERENCES} reference clips with scores.")
    return References(path.name, {key: np.array(values) for key, values in found.items()})


def _take(cells: Cells, found: dict[str, list[float]], scorer: Scorer) -> None:
    """Note the values of a row; ValueError where it is no row of this judge's scores."""
    judged = cells.get("model_sha256"), cells.get("precision")
    if judged != (scorer.checkpoint.sha256, scorer.precision):
        raise ValueError("it was not scored by the judge of the gate, or at another precision; score it again")
    if cells.get("status") != OK or is_no_music(cells):
        return
    numbers = from_cells({key: cells.get(key) for key in found}, dict.fromkeys(found, float))
    for key, value in numbers.items():
        if value is not None:
            found[key].append(value)
