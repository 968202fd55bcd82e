"""Tables in files: clip lists, and the scores of their rows.

A *clip list* names clips to score, one a row, each with its prompt. It is a folder, in which every audio file
is a row with the text of the ``.txt`` file beside it as prompt, or a table with the columns

    file      audio file, relative to the list
    prompt    what the music was asked to be; may be empty
    system    what made the clip; optional
    id        the row's own name, no other row's; optional, otherwise the row's number from 1

and any others, which come out as they went in. The *table of scores* has, for each row,

    id, file, prompt, system     as in the list
    <scale>                      from 1 to 5, not rounded; one column for each scale of the judge
    <scale>_low, <scale>_high    the interval around it, at interval_level (0 to 1)
    duration_s, sha256           of the clip
    warnings                     codes of what to know about the clip or the score, joined by ;
    status, reason               ok; or failed, and a sentence that says why
    model, model_sha256          what scored it

and then the list's other columns. Cells that a failed row cannot have are empty (null).

Tables are CSV (UTF-8 with a heading; texts that a spreadsheet would run as a formula are escaped, see
`core.rated_clips`), JSON Lines or Parquet, and are read and written row by row, so they may be larger than
memory. Python's own csv and json read the first two: Arrow and pandas know neither the line on which a row
stands nor a row that is broken among good ones. A cell is what JSON can say: when it is read, infinite
numbers and NaN become null, times become text, and halves of surrogate pairs become question marks. CSV knows
texts only.

What is wrong with a list is said at once, before anything starts; what is wrong with a clip is said in its
row.
"""

import csv
import hashlib
import itertools
import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

from core.errors import DataError, shown_name
from core.files import Problems, line_place, write_atomically
from core.rated_clips import escape_cell, unescape_cell
from core.scales import Scales, keys

FORMATS = (".csv", ".jsonl", ".parquet")
OWN_COLUMNS = ("id", "file", "prompt", "system")
NEEDED = ("file", "prompt")
OK, FAILED = "ok", "failed"
AUDIO_SUFFIXES = (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav")

_ROWS_AT_ONCE = 1_024  # of Parquet
_PROMPT_BYTES = 100_000  # of a prompt's file; the towers read far less

Cells = dict[str, Any]  # a row of a table, by column
Columns = Mapping[str, type]  # ``str`` or ``float``, by column


def score_columns(scales: Scales) -> dict[str, type]:
    """Return the columns that scoring adds to a clip list."""
    bounds = [f"{key}_{bound}" for key in keys(scales) for bound in ("low", "high")]
    numbers = [*keys(scales), *bounds, "interval_level", "duration_s"]
    texts = ["sha256", "warnings", "status", "reason", "model", "model_sha256"]
    return {**dict.fromkeys(numbers, float), **dict.fromkeys(texts, str)}


def table_columns(scales: Scales, others: Iterable[str]) -> dict[str, type]:
    """Return the columns of a table of scores; `others` are those that the list carries through."""
    own = dict.fromkeys(OWN_COLUMNS, str)
    return {**own, **score_columns(scales), **dict.fromkeys(others, str)}


def check_format(path: Path) -> str:
    """Return the suffix of a table's file in small letters; DataError where it is none of `FORMATS`."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{shown_name(path.name)} is no table. The name of a table ends in {', '.join(FORMATS)}.")
    return suffix


def read_columns(path: Path) -> list[str] | None:
    """Return the columns of a table; None where each row has its own (JSON Lines)."""
    suffix = check_format(path)
    if suffix == ".jsonl":
        return None
    with _readable(path):
        if suffix == ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                return [unescape_cell(cell) for cell in next(csv.reader(file), [])]
        from pyarrow import parquet

        return list(parquet.read_schema(path).names)


def read_records(path: Path, problems: Problems) -> Iterator[tuple[str, Cells]]:
    """Read a table: where each row stands, in words, and its cells.

    Rows that cannot be read are noted in `problems` and left out; a file that cannot be is a DataError.
    """
    read = {".csv": _read_csv, ".jsonl": _read_json_lines, ".parquet": _read_parquet}[check_format(path)]
    with _readable(path):
        yield from read(path, problems)


def write_records(path: Path, columns: Columns, records: Iterable[Cells]) -> None:
    """Write a table; the file appears whole.

    What is no text in a text column is written as JSON, but for JSON Lines, which keeps it as it is.
    """
    write = {".csv": _write_csv, ".jsonl": _write_json_lines, ".parquet": _write_parquet}[check_format(path)]
    try:
        write_atomically(path, lambda unfinished: write(unfinished, columns, records))
    except OSError as error:
        raise DataError(f"{shown_name(path.name)} cannot be written: {error.strerror or error}.") from error


def plain(value: Any) -> Any:
    """Return what JSON and UTF-8 can say of a value."""
    if isinstance(value, dict):
        return {plain(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else str(value)


def to_cells(record: Cells, columns: Columns) -> Cells:
    """Return a record as CSV and Parquet have it: what is no text in a text column as JSON."""

    def cell(value: Any, kind: type) -> Any:
        is_other = kind is str and value is not None and not isinstance(value, str)
        return json.dumps(value, ensure_ascii=False) if is_other else value

    return {column: cell(record.get(column), kind) for column, kind in columns.items()}


def from_cells(cells: Cells, columns: Columns) -> Cells:
    """Undo what CSV does to a record: numbers are numbers again or None; ValueError for anything else."""
    numbers = [column for column, kind in columns.items() if kind is float and column in cells]
    empty = (None, "")
    return {**cells, **{column: None if cells[column] in empty else float(cells[column]) for column in numbers}}


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        why = "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else why
        raise DataError(f"{shown_name(path.name)} cannot be read as a table: {why.rstrip('.')}.") from error


def _read_csv(path: Path, problems: Problems) -> Iterator[tuple[str, Cells]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        heading = [unescape_cell(cell) for cell in next(reader, [])]
        line = reader.line_num + 1
        for cells in reader:
            place = line_place(path.name, line)
            if len(cells) == len(heading):
                yield place, dict(zip(heading, map(unescape_cell, cells), strict=True))
            elif cells:
                problems.add(place, f"{len(cells)} instead of {len(heading)} cells")
            line = reader.line_num + 1


def _read_json_lines(path: Path, problems: Problems) -> Iterator[tuple[str, Cells]]:
    with path.open(encoding="utf-8-sig", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = line_place(path.name, number)
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if isinstance(record, dict):
                yield place, plain(record)
            else:
                problems.add(place, "it is no JSON object")


def _read_parquet(path: Path, problems: Problems) -> Iterator[tuple[str, Cells]]:  # noqa: ARG001
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        batches = (batch.to_pylist() for batch in file.iter_batches(_ROWS_AT_ONCE))
        for number, record in enumerate(itertools.chain.from_iterable(batches), 1):
            yield f"{path.name}, row {number}", plain(record)


def _write_csv(path: Path, columns: Columns, records: Iterable[Cells]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow([escape_cell(column) for column in columns])
        for record in records:
            cells = to_cells(record, columns).values()
            writer.writerow([escape_cell(cell) if isinstance(cell, str) else cell for cell in cells])


def _write_json_lines(path: Path, columns: Columns, records: Iterable[Cells]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for record in records:
            cells = {column: record.get(column) for column in columns}
            file.write(json.dumps(cells, ensure_ascii=False, allow_nan=False) + "\n")


def arrow_schema(columns: Columns) -> Any:
    """Return the columns of a table as Arrow has them."""
    import pyarrow

    types = {str: pyarrow.string(), float: pyarrow.float64()}
    return pyarrow.schema([(column, types[kind]) for column, kind in columns.items()])


def _write_parquet(path: Path, columns: Columns, records: Iterable[Cells]) -> None:
    import pyarrow
    from pyarrow import parquet

    schema, rest = arrow_schema(columns), iter(records)
    with parquet.ParquetWriter(path, schema) as writer:
        while some := [to_cells(record, columns) for record in itertools.islice(rest, _ROWS_AT_ONCE)]:
            writer.write_table(pyarrow.Table.from_pylist(some, schema))


@dataclass(frozen=True)
class Row:
    """One clip to score; what the list lacks is empty, but for the id.

    `path` is where the file is, None where the row names none; `others` are the list's other columns.
    """

    id: str
    file: str
    prompt: str
    system: str
    path: Path | None
    others: Cells = field(default_factory=dict)


@dataclass(frozen=True)
class ClipList:
    """Rows to score, checked."""

    path: Path
    n_rows: int
    sha256: str  # of all cells, whatever the format of the table; not of the audio
    others: tuple[str, ...]  # the columns that are not `OWN_COLUMNS`

    @classmethod
    def check(cls, path: Path, taken: Iterable[str] = ()) -> Self:
        """Read a list from end to end; it may not have the columns `taken`, because the scores have them."""
        problems = Problems(path.name)
        columns = None if path.is_dir() else read_columns(path)
        if columns is not None:
            check_columns(columns, path.name)
        return cls(path, *check_rows(_read_rows(path, problems), taken, problems))

    def rows(self) -> Iterator[Row]:
        """Read the rows, in order; DataError where the list is no longer what was checked."""
        problems, n_rows = Problems(self.path.name), 0
        for _, row in _read_rows(self.path, problems):
            n_rows += 1
            yield row
        if problems.found or n_rows != self.n_rows:
            raise DataError(f"{shown_name(self.path.name)} was changed while it was being scored. Start again.")


def check_columns(columns: Sequence[str], name: str) -> None:
    """Raise DataError where a column that is needed is missing, or one is there twice."""
    missing = [column for column in NEEDED if column not in columns]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    wrong = [f"no column {column}" for column in missing] + [f"two columns {column!r}" for column in twice]
    if wrong:
        raise DataError(
            f"{shown_name(name)} has {' and '.join(wrong)}. A clip list has the columns file and prompt, and "
            "may have system, id and others."
        )


def check_rows(
    rows: Iterable[tuple[str, Row]], taken: Iterable[str], problems: Problems
) -> tuple[int, str, tuple[str, ...]]:
    """Check rows, given with their places, against each other; `problems` may grow while they are read.

    Returns their number, their SHA-256 and their other columns, as in `ClipList`. Raises DataError as
    :meth:`ClipList.check` does.
    """
    digest, n_rows = hashlib.sha256(), 0
    others: dict[str, None] = {}
    with seen_ids() as is_new:
        for place, row in rows:
            digest.update(json.dumps([row.id, row.file, row.prompt, row.system, row.others]).encode())
            others |= dict.fromkeys(row.others)
            n_rows += 1
            if not is_new(row.id):
                problems.add(place, f"the id {shown_name(row.id)} is there twice")
    for column in sorted(others.keys() & {*taken}):
        problems.add(problems.source, f"the scores have a column {column} of their own; rename this one")
    problems.stop_if_any()
    if not n_rows:
        raise DataError(f"{shown_name(problems.source)} has no rows: there is nothing to score.")
    return n_rows, digest.hexdigest(), tuple(others)


@contextmanager
def seen_ids() -> Iterator[Callable[[str], bool]]:
    """Yield a function that says whether an id is new; ids lie on disk where they are many."""
    with closing(sqlite3.connect("")) as database:  # private and temporary: SQLite removes it
        database.execute("CREATE TABLE seen (id TEXT PRIMARY KEY) WITHOUT ROWID")
        insert = "INSERT OR IGNORE INTO seen VALUES (?)"
        yield lambda name: database.execute(insert, (name,)).rowcount == 1


def to_row(cells: Cells, number: int, folder: Path) -> Row:
    """Make a row of a table's cells; files are relative to `folder`, and rows are numbered from 1."""
    missing = [column for column in NEEDED if column not in cells]
    if missing:
        raise ValueError(f"it has {' and '.join(f'no {column}' for column in missing)}")
    texts = {column: _text(column, cells.get(column)) for column in OWN_COLUMNS}
    texts["id"] = texts["id"] if "id" in cells else str(number)
    if not texts["id"].strip():
        raise ValueError("the id is empty")
    path = folder / texts["file"] if texts["file"].strip() else None
    others = {column: cell for column, cell in cells.items() if column not in OWN_COLUMNS}
    return Row(**texts, path=path, others=others)


def _text(column: str, cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise ValueError(f"{column} is {shown_name(str(cell))}; it must be a text")
    return str(cell)


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


def _audio_files(folder: Path) -> Iterator[Row]:
    for parent, folders, names in os.walk(folder, onerror=_stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(parent, name) for name in sorted(names) if not name.startswith(".")):
            if path.suffix.lower() in AUDIO_SUFFIXES:
                name = os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")
                yield Row(name, name, _prompt_beside(path), "", path)


def _prompt_beside(path: Path) -> str:
    try:
        with path.with_suffix(".txt").open("rb") as file:
            return file.read(_PROMPT_BYTES).decode("utf-8-sig", "replace").strip()
    except FileNotFoundError:
        return ""
    except OSError as error:
        _stop(error)


def _stop(error: OSError) -> NoReturn:
    name = Path(os.fsdecode(error.filename or "")).name
    raise DataError(f"{shown_name(name)} cannot be opened: {error.strerror}.") from error
