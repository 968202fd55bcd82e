"""The table of scores: what a row says of its clip.

    id, file, prompt, system                   as in the manifest
    musical_impression, textual_alignment      from 1 to 5, not rounded
    ..._low, ..._high                          the interval around each, at interval_level (0 to 1)
    duration_s, sha256                         of the clip
    warnings                                   codes of what to know about the clip or the score, joined by ;
    status, reason                             ok; or failed, and a sentence that says why
    model, model_sha256                        what scored it

The manifest's other columns follow. Cells that a failed row cannot have are empty (null).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from core.many.manifest import OWN_COLUMNS, Row
from core.many.records import Cells
from core.scales import SCALES

OK, FAILED = "ok", "failed"
COLUMNS: Mapping[str, type] = {
    **dict.fromkeys(OWN_COLUMNS, str),
    **dict.fromkeys(SCALES, float),
    **{f"{scale}_{bound}": float for scale in SCALES for bound in ("low", "high")},
    "interval_level": float,
    "duration_s": float,
    "sha256": str,
    "warnings": str,
    "status": str,
    "reason": str,
    "model": str,
    "model_sha256": str,
}
SCORE_COLUMNS = tuple(column for column in COLUMNS if column not in OWN_COLUMNS)


def columns_with(others: Iterable[str]) -> dict[str, type]:
    """Give all columns with their types; `others` are those that the manifest carries through."""
    return {**COLUMNS, **dict.fromkeys(others, str)}


def to_record(row: Row, **cells: Any) -> Cells:
    """Put what was found out beside the row; what is not given is None."""
    own = {column: getattr(row, column) for column in OWN_COLUMNS}
    return {**dict.fromkeys(COLUMNS), **own, **cells, **row.others}


def from_table(cells: Cells) -> Cells:
    """Undo what a CSV file does to a record: numbers are numbers again, empty numbers None.

    Raises
    ------
    ValueError
        A cell is no number.
    """
    numbers = {column for column, kind in COLUMNS.items() if kind is float} & cells.keys()
    return {**cells, **{column: _number(cells[column]) for column in numbers}}


def _number(cell: Any) -> float | None:
    return None if cell in (None, "") else float(cell)
