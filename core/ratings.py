"""Rated clips: the one table that a listening test gives and that a judge learns from.

One row a clip: its audio, its prompt, what made it, and what the panel said of it. The two MOS are means of
valid ratings from 1 to 5; the standard deviations are those of a sample (divisor n - 1), empty where they are
not known, as with a single rating. A prompt's id stands for one text. `split` is empty until clips are split.

In a file, paths are relative to the file, so that a folder can be moved. A text that a spreadsheet would run
as a formula gets an apostrophe before it, which reading takes away again.
"""

import csv
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from core.errors import DataError, shown_name
from core.scales import MAX_SCORE, MIN_SCORE, SCALES

SPLITS = ("train", "dev", "test")
_TEXTS = ("clip_id", "audio_path", "prompt", "prompt_id", "system_id")
_SDS = tuple(f"{scale}_sd" for scale in SCALES)
COLUMNS = (*_TEXTS, *SCALES, "n_ratings", *_SDS, "split")

_FORMULA = re.compile(r"'*[=+\-@\t\r]")  # with apostrophes before it, so that escaping can be undone


@dataclass(frozen=True)
class RatedClips:
    """A table of rated clips, checked when it is made.

    Attributes
    ----------
    table : DataFrame
        With the columns `COLUMNS` in that order; `audio_path` can be opened as it is.

    Raises
    ------
    DataError
        If a column is missing or unknown, or a cell is not what it must be; the message names the row,
        counted from 1 without the heading.
    """

    table: pd.DataFrame = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _checked(self.table))

    def __len__(self) -> int:
        return len(self.table)

    def to_csv(self, path: Path) -> None:
        """Write the table; audio paths become relative to the file's folder."""
        folder = path.absolute().parent
        relative = [Path(os.path.relpath(audio, folder)).as_posix() for audio in self.table["audio_path"]]
        write_csv(self.table.assign(audio_path=relative), path)

    @classmethod
    def from_csv(cls, path: Path) -> Self:
        """Read what `to_csv` wrote; audio paths become usable from here."""
        try:
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        except (OSError, ValueError) as error:  # pandas and UTF-8 errors are ValueErrors
            raise DataError(f"{shown_name(path.name)} cannot be read as a table of rated clips.") from error
        _check_columns(table)
        for column in _TEXTS:
            table[column] = [unescape_cell(text) for text in table[column]]
        table["audio_path"] = [str(path.parent / audio) for audio in table["audio_path"]]
        return cls(table)


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table: UTF-8, texts in quotes and escaped by `escape_cell`, times in ISO 8601.

    Without the quotes a lone carriage return in a text would end the row.
    """
    cells = table.map(lambda cell: escape_cell(cell) if isinstance(cell, str) else cell)
    cells.to_csv(
        path,
        index=False,
        encoding="utf-8",
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC,
        date_format="%Y-%m-%dT%H:%M:%S.%fZ",
    )


def escape_cell(text: str) -> str:
    """Keep a spreadsheet from taking a text for a formula: an apostrophe before ``= + - @``, tab and return.

    Source: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_cell(text: str) -> str:
    """Undo `escape_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def _checked(table: pd.DataFrame) -> pd.DataFrame:
    """A copy of the table with the columns in order and of one type each."""
    _check_columns(table)
    checks: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(_TEXTS, _text),
        **dict.fromkeys(SCALES, _score),
        "n_ratings": _count,
        **dict.fromkeys(_SDS, _deviation),
        "split": _split,
    }
    columns: dict[str, list[Any]] = {}
    for column in COLUMNS:
        columns[column] = []
        for number, value in enumerate(table[column], 1):
            try:
                columns[column].append(checks[column](value))
            except (TypeError, ValueError) as error:
                raise DataError(f"Rated clips, row {number}: {column} is {value!r}; {error}.") from error
    _check_ids(columns)
    return pd.DataFrame(columns, columns=list(COLUMNS))


def _check_columns(table: pd.DataFrame) -> None:
    missing = [column for column in COLUMNS if column not in table.columns]
    unknown = [str(column) for column in table.columns if column not in COLUMNS]
    if missing or unknown:
        wrong = f"no column {', '.join(missing)}" if missing else f"an unknown column {', '.join(unknown)}"
        raise DataError(f"The table of rated clips has {wrong}. Its columns are {', '.join(COLUMNS)}.")


def _check_ids(columns: dict[str, list[Any]]) -> None:
    seen: set[str] = set()
    texts: dict[str, str] = {}
    rows = zip(columns["clip_id"], columns["prompt_id"], columns["prompt"], strict=True)
    for number, (clip_id, prompt_id, prompt) in enumerate(rows, 1):
        if clip_id in seen:
            raise DataError(f"Rated clips, row {number}: the clip {shown_name(clip_id)} is there twice.")
        if texts.setdefault(prompt_id, prompt) != prompt:
            raise DataError(
                f"Rated clips, row {number}: the prompt id {shown_name(prompt_id)} stands for two texts."
            )
        seen.add(clip_id)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it must be a text that is not empty")
    return value


def _score(value: Any) -> float:
    score = _number(value)
    if not MIN_SCORE <= score <= MAX_SCORE:
        raise ValueError(f"it must be from {MIN_SCORE:g} to {MAX_SCORE:g}")
    return score


def _count(value: Any) -> int:
    count = _number(value)
    if not (count >= 1 and count.is_integer()):
        raise ValueError("it must be a whole number from 1")
    return int(count)


def _deviation(value: Any) -> float:
    if value is None or value == "":
        return math.nan
    deviation = _number(value)
    if not (math.isnan(deviation) or 0 <= deviation < math.inf):
        raise ValueError("it must be a number from 0, or empty")
    return deviation


def _split(value: Any) -> str:
    if value not in ("", *SPLITS):
        raise ValueError(f"it must be {', '.join(SPLITS)} or empty")
    return str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError("it must be a number") from error
