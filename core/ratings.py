"""Rated clips: the one table that a listening test gives and that a judge learns from.

One row a clip: its audio, its prompt, what made it, and what the panel said of it. The two MOS are means of
valid ratings from 1 to 5; the standard deviations are those of a sample (divisor n - 1), empty where they are
not known, as with a single rating; so is the number of ratings. A prompt's id stands for one text. `split` is
empty until clips are split.

In a file, paths are relative to the file, so that a folder can be moved. A text that a spreadsheet would run
as a formula gets an apostrophe before it, which reading takes away again. A file written by hand can do
without the columns that may be empty, and without `prompt_id`: equal prompts then get equal ids.
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
from core.tables import Problems, line_place, read_csv

SPLITS = ("train", "dev", "test")
_TEXTS = ("clip_id", "audio_path", "prompt", "prompt_id", "system_id")
_SDS = tuple(f"{scale}_sd" for scale in SCALES)
COLUMNS = (*_TEXTS, *SCALES, "n_ratings", *_SDS, "split")
_MAY_BE_EMPTY = ("n_ratings", *_SDS, "split")
_NEEDED_IN_A_FILE = tuple(column for column in COLUMNS if column not in ("prompt_id", *_MAY_BE_EMPTY))

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
        If a column is missing or unknown, or cells are not what they must be; the message names the rows,
        counted from 1 without the heading.
    """

    table: pd.DataFrame = field(repr=False)

    def __post_init__(self) -> None:
        _check_columns(list(self.table.columns), COLUMNS)
        problems = Problems("rated clips")
        columns = _checked(self.table, [f"row {n + 1}" for n in range(len(self.table))], problems)
        problems.stop_if_any()
        object.__setattr__(self, "table", _typed(columns))

    def __len__(self) -> int:
        return len(self.table)

    def to_csv(self, path: Path) -> None:
        """Write the table; audio paths become relative to the file's folder."""
        folder = path.absolute().parent
        relative = [Path(os.path.relpath(audio, folder)).as_posix() for audio in self.table["audio_path"]]
        write_csv(self.table.assign(audio_path=relative), path)

    @classmethod
    def from_csv(cls, path: Path) -> Self:
        """Read what `to_csv` wrote, or a table written by hand; audio paths become usable from here.

        Raises
        ------
        DataError
            With all that is wrong with the table, by file and line; missing audio files, too.
        """
        heading, rows, problems = read_csv(path)
        _check_columns(heading, _NEEDED_IN_A_FILE)
        table = pd.DataFrame([cells for _, cells in rows], columns=heading, dtype=object)
        for column in set(_TEXTS) & set(heading):
            table[column] = [unescape_cell(text) for text in table[column]]
        for column in set(_MAY_BE_EMPTY) - set(heading):
            table[column] = ""
        if "prompt_id" not in heading:
            table["prompt_id"] = [f"P{n + 1:03d}" for n in pd.factorize(table["prompt"])[0]]
        places = [line_place(path.name, line) for line, _ in rows]
        for place, audio in zip(places, table["audio_path"], strict=True):
            if audio.strip() and not (path.parent / audio).is_file():
                problems.add(place, f"there is no audio file {shown_name(audio)}")
        _checked(table, places, problems)
        problems.stop_if_any()
        return cls(table.assign(audio_path=[str(path.parent / audio) for audio in table["audio_path"]]))


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


def _check_columns(heading: list[str], needed: tuple[str, ...]) -> None:
    missing = [column for column in needed if column not in heading]
    unknown = [str(column) for column in heading if column not in COLUMNS]
    if missing or unknown or len(set(heading)) < len(heading):
        wrong = f"no column {', '.join(missing)}" if missing else f"an unknown column {', '.join(unknown)}"
        wrong = wrong if missing or unknown else "a column twice"
        raise DataError(f"The table of rated clips has {wrong}. Its columns are {', '.join(COLUMNS)}.")


def _checked(table: pd.DataFrame, places: list[str], problems: Problems) -> dict[str, list[Any]]:
    """The cells by column, of one type each; those that cannot be are problems."""
    checks: dict[str, Callable[[Any], Any]] = {
        **dict.fromkeys(_TEXTS, _text),
        **dict.fromkeys(SCALES, _score),
        "n_ratings": _count,
        **dict.fromkeys(_SDS, _deviation),
        "split": _split,
    }
    columns: dict[str, list[Any]] = {column: [] for column in COLUMNS}
    seen: set[str] = set()
    texts: dict[str, str] = {}
    for place, row in zip(places, table[list(COLUMNS)].to_dict("records"), strict=True):
        for column, value in row.items():
            try:
                columns[column].append(checks[column](value))
            except (TypeError, ValueError) as error:
                problems.add(place, f"{column} is {value!r}; {error}")
        if row["clip_id"] in seen:
            problems.add(place, f"the clip {shown_name(str(row['clip_id']))} is there twice")
        if texts.setdefault(row["prompt_id"], row["prompt"]) != row["prompt"]:
            problems.add(place, f"the prompt id {shown_name(str(row['prompt_id']))} stands for two texts")
        seen.add(row["clip_id"])
    return columns


def _typed(columns: dict[str, list[Any]]) -> pd.DataFrame:
    counts = pd.array(columns["n_ratings"], dtype="Int64")  # whole numbers, some of which may not be known
    return pd.DataFrame({**columns, "n_ratings": counts}, columns=list(COLUMNS))


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("it must be a text that is not empty")
    return value


def _score(value: Any) -> float:
    score = _number(value)
    if not MIN_SCORE <= score <= MAX_SCORE:
        raise ValueError(f"it must be from {MIN_SCORE:g} to {MAX_SCORE:g}")
    return score


def _count(value: Any) -> int | None:
    if _is_empty(value):
        return None
    count = _number(value)
    if not (count >= 1 and count.is_integer()):
        raise ValueError("it must be a whole number from 1, or empty")
    return int(count)


def _deviation(value: Any) -> float:
    if _is_empty(value):
        return math.nan
    deviation = _number(value)
    if not 0 <= deviation < math.inf:
        raise ValueError("it must be a number from 0, or empty")
    return deviation


def _is_empty(value: Any) -> bool:
    return value is None or value is pd.NA or value == "" or (isinstance(value, float) and math.isnan(value))


def _split(value: Any) -> str:
    if value not in ("", *SPLITS):
        raise ValueError(f"it must be {', '.join(SPLITS)} or empty")
    return str(value)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ValueError("it must be a number") from error
