"""Manifests: clips to score, each with its prompt; one row, one score.

A manifest is a table (`core.many.records`) with the columns

    file      audio file, relative to the manifest
    prompt    what the music was asked to be; may be empty
    system    what made the clip; optional
    id        the row's own name, no other row's; optional, otherwise the row's number from 1

and any others, which come out as they went in. Or it is a folder: then every audio file in it and below is a
row, with its path as id, and the text of the ``.txt`` file beside it as prompt.

Rows are read one at a time, as often as they are needed. What is wrong with the table is said at once, before
anything starts; what is wrong with a clip is said in its row.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

from core.errors import DataError, shown_name
from core.many.records import Cells, read_columns, read_records
from core.tables import Problems

NEEDED = ("file", "prompt")
OWN_COLUMNS = ("id", "file", "prompt", "system")
AUDIO_SUFFIXES = (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav")
_PROMPT_BYTES = 100_000  # of a prompt's file; the towers read far less


@dataclass(frozen=True)
class Row:
    """One clip to score.

    Attributes
    ----------
    id, file, prompt, system : str
        As the manifest has them; what it lacks is empty, but for the id.
    path : Path or None
        Where the file is; None where the row names none.
    others : dict
        The manifest's other columns.
    """

    id: str
    file: str
    prompt: str
    system: str
    path: Path | None
    others: Cells = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """Rows to score, checked.

    Attributes
    ----------
    path : Path
    n_rows : int
    sha256 : str
        Of all cells, whatever the format of the table; not of the audio.
    others : tuple of str
        The columns that are not `OWN_COLUMNS`.
    """

    path: Path
    n_rows: int
    sha256: str
    others: tuple[str, ...]

    @classmethod
    def check(cls, path: Path, taken: Sequence[str] = ()) -> Self:
        """Read a manifest from end to end.

        Parameters
        ----------
        path : Path
        taken : sequence of str
            Columns that it may not have, because the scores have them.

        Raises
        ------
        DataError
            It cannot be read, has no rows, or something is wrong with columns or rows: all of it is said.
        """
        problems = Problems(path.name)
        _check_heading(path)
        return cls(path, *check_rows(_read_rows(path, problems), taken, problems))

    def rows(self) -> Iterator[Row]:
        """Read the rows, in order.

        Raises
        ------
        DataError
            The manifest is no longer what was checked.
        """
        problems, n_rows = Problems(self.path.name), 0
        for _, row in _read_rows(self.path, problems):
            n_rows += 1
            yield row
        if problems.found or n_rows != self.n_rows:
            raise DataError(
                f"{shown_name(self.path.name)} was changed while it was being scored. Start again."
            )


def check_rows(
    rows: Iterable[tuple[str, Row]], taken: Sequence[str], problems: Problems
) -> tuple[int, str, tuple[str, ...]]:
    """Check rows against each other.

    Parameters
    ----------
    rows : iterable of (str, Row)
        With their places.
    taken, problems
        As in :meth:`Manifest.check`; `problems` may grow while rows are read.

    Returns
    -------
    n_rows, sha256, others
        As in `Manifest`.

    Raises
    ------
    DataError
        As :meth:`Manifest.check`.
    """
    digest, n_rows = hashlib.sha256(), 0
    others: dict[str, None] = {}
    with closing(Ids()) as ids:
        for place, row in rows:
            digest.update(json.dumps([row.id, row.file, row.prompt, row.system, row.others]).encode())
            others |= dict.fromkeys(row.others)
            n_rows += 1
            if not ids.add(row.id):
                problems.add(place, f"the id {shown_name(row.id)} is there twice")
    for column in sorted(others.keys() & {*taken}):
        problems.add(problems.source, f"the scores have a column {column} of their own; rename this one")
    problems.stop_if_any()
    if not n_rows:
        raise DataError(f"{shown_name(problems.source)} has no rows: there is nothing to score.")
    return n_rows, digest.hexdigest(), tuple(others)


class Ids:
    """Which ids were seen; they lie on disk where they are many."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("")  # private and temporary: SQLite removes it
        self._database.execute("CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, name: str) -> bool:
        """Note an id; False where it was seen before."""
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (name,)).rowcount == 1

    def close(self) -> None:
        """Forget them."""
        self._database.close()


def to_row(cells: Cells, number: int, folder: Path) -> Row:
    """Make a row of a table's cells.

    Parameters
    ----------
    cells : dict
        By column.
    number : int
        Of the row, from 1.
    folder : Path
        What the file is relative to.

    Raises
    ------
    ValueError
        A column is missing or a cell is not what it must be; the message is for the user.
    """
    missing = [column for column in NEEDED if column not in cells]
    if missing:
        raise ValueError(f"it has no {' and no '.join(missing)}")
    texts = {column: _text(column, cells.get(column)) for column in OWN_COLUMNS}
    texts["id"] = texts["id"] if "id" in cells else str(number)
    if not texts["id"].strip():
        raise ValueError("the id is empty")
    path = folder / texts["file"] if texts["file"].strip() else None
    others = {column: cell for column, cell in cells.items() if column not in OWN_COLUMNS}
    return Row(**texts, path=path, others=others)


def check_columns(columns: Sequence[str], name: str) -> None:
    """Check a heading.

    Raises
    ------
    DataError
        A column that is needed is missing, or one is there twice.
    """
    missing = [column for column in NEEDED if column not in columns]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    wrong = [f"no column {column}" for column in missing] + [f"two columns {column!r}" for column in twice]
    if wrong:
        raise DataError(
            f"{shown_name(name)} has {' and '.join(wrong)}. A manifest has the columns file and prompt, and "
            "may have system, id and others."
        )


def _check_heading(path: Path) -> None:
    columns = None if path.is_dir() else read_columns(path)
    if columns is not None:
        check_columns(columns, path.name)


def _read_rows(path: Path, problems: Problems) -> Iterator[tuple[str, Row]]:
    """Place and content of each row; what is wrong with one is a problem, and the row is left out."""
    if path.is_dir():
        yield from ((row.id, row) for row in _audio_files(path))
        return
    for number, (place, cells) in enumerate(read_records(path, problems), 1):
        try:
            yield place, to_row(cells, number, path.parent)
        except ValueError as error:
            problems.add(place, str(error))


def _text(column: str, cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise ValueError(f"{column} is {shown_name(str(cell))}; it must be a text")
    return str(cell)


def _audio_files(folder: Path) -> Iterator[Row]:
    for parent, folders, names in os.walk(folder, onerror=_stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in AUDIO_SUFFIXES:
                name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")
                yield Row(name, name, _prompt_beside(path), "", path)


def _prompt_beside(path: Path) -> str:
    beside = path.with_suffix(".txt")
    try:
        with beside.open("rb") as file:
            return file.read(_PROMPT_BYTES).decode("utf-8-sig", "replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        _stop(error)


def _stop(error: OSError) -> NoReturn:
    name = Path(os.fsdecode(error.filename or "")).name
    raise DataError(f"{shown_name(name)} cannot be opened: {error.strerror}.") from error
