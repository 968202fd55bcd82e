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
    model, model_sha256          what scored it,
    precision                    float32 or bfloat16

and then the list's other columns. Cells that a failed row cannot have are empty (null).

Tables are CSV (read by `core.tables`; written for spreadsheets, in UTF-8 with a mark and with formulas escaped),
JSON Lines or Parquet, and are read and written row by row, so they may be larger than memory. A cell is what JSON
can say: when it is read, infinite numbers and NaN become null, times become text, and halves of surrogate pairs
become question marks. CSV knows texts only.

What is wrong with a list is said at once, before anything starts; what is wrong with a clip is said in its row. A
prompt or a system that is one of `core.tables.NO_TEXT`, as ``nan``, is empty, and the list's notes say how many are.
"""

import csv
import hashlib
import itertools
import json
import math
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, Self

from core.errors import DataError, counted, shown_name
from core.files import Problems, first_of, line_place, write_atomically
from core.scales import Scales, keys
from core.tables import NO_TEXT, as_asked, escape_cell, means_nothing, open_table, read_lines, read_text, stripped

FORMATS = (".csv", ".jsonl", ".parquet")
OWN_COLUMNS = ("id", "file", "prompt", "system")
NEEDED = ("file", "prompt")
MAY_SAY_NOTHING = ("prompt", "system")
OK, FAILED = "ok", "failed"
RANK = "preference_higher_than_percent"
AUDIO_SUFFIXES = (
    *(".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp3", ".mp4"),
    *(".oga", ".ogg", ".opus", ".rf64", ".w64", ".wav", ".webm"),
)

_ROWS_AT_ONCE = 1_024  # of Parquet, written
_ROWS_READ_AT_ONCE = 32  # a text that is there once in the file may stand in every row, and each is a copy
PROMPT_BYTES = 100_000  # of a prompt's file; the towers read far less

Cells = dict[str, Any]  # a row of a table, by column
Columns = Mapping[str, type]  # ``str`` or ``float``, by column


def score_columns(scales: Scales, ranked: bool = False) -> dict[str, type]:
    """Return the columns that scoring adds to a clip list; `ranked` is whether clips have a preference rank."""
    bounds = [f"{key}_{bound}" for key in keys(scales) for bound in ("low", "high")]
    numbers = [*([RANK] if ranked else []), *keys(scales), *bounds, "interval_level", "duration_s"]
    texts = ["sha256", "warnings", "status", "reason", "model", "model_sha256", "precision"]
    return {**dict.fromkeys(numbers, float), **dict.fromkeys(texts, str)}


def table_columns(scales: Scales, others: Iterable[str], ranked: bool = False) -> dict[str, type]:
    """Return the columns of a table of scores; `others` are those that the list carries through."""
    own = dict.fromkeys(OWN_COLUMNS, str)
    return {**own, **score_columns(scales, ranked), **dict.fromkeys(others, str)}


def check_format(path: Path) -> str:
    """Return the suffix of a table's file in small letters; DataError where it is none of `FORMATS`."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(f"{shown_name(path.name)} is no table. The name of a table ends in {', '.join(FORMATS)}.")
    return suffix


def read_columns(path: Path) -> list[str] | None:
    """Return the columns of a table; None where each row has its own (JSON Lines)."""
    suffix = check_format(path)
    if suffix == ".csv":
        return list(open_table(path, OWN_COLUMNS).columns)
    if suffix == ".jsonl":
        return None
    from pyarrow import parquet

    with _readable(path):
        return list(as_asked(parquet.read_schema(path).names, OWN_COLUMNS))


def read_records(path: Path, problems: Problems, numbers: Sequence[str] = ()) -> Iterator[tuple[str, Cells]]:
    """Read a table: where each row stands, in words, and its cells; `numbers` are columns of numbers.

    Rows that cannot be read are noted in `problems` and left out; a file that cannot be is a DataError.
    """
    suffix = check_format(path)
    if suffix == ".csv":
        for line in open_table(path, OWN_COLUMNS, numbers).rows(problems):
            yield line_place(path.name, line.number), {**line.cells}
        return
    with _readable(path):
        for place, record in _read_json_lines(path, problems) if suffix == ".jsonl" else _read_parquet(path):
            names = as_asked(record, OWN_COLUMNS)
            if twice := next((name for name in names if names.count(name) > 1), ""):
                problems.add(place, f"it has {shown_name(twice)} twice")
            else:
                yield place, dict(zip(names, record.values(), strict=True))


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
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise DataError(f"{shown_name(path.name)} cannot be read as a table: {why.rstrip('.')}.") from error


def _read_json_lines(path: Path, problems: Problems) -> Iterator[tuple[str, Cells]]:
    for number, line in read_lines(path):
        place = line_place(path.name, number)
        try:
            record = json.loads(line, object_pairs_hook=_object)
        except _TwiceError as twice:
            problems.add(place, f"it has {twice} twice")
        except (ValueError, RecursionError):
            problems.add(place, "it is no JSON object")
        else:
            if isinstance(record, dict):
                yield place, plain(record)
            else:
                problems.add(place, "it is no JSON object")


class _TwiceError(Exception):
    """A key of a JSON object that is there twice; json takes the last without a word."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _TwiceError(shown_name(next(name for name in names if names.count(name) > 1)))
    return made


def _read_parquet(path: Path) -> Iterator[tuple[str, Cells]]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        batches = (batch.to_pylist() for batch in file.iter_batches(_ROWS_READ_AT_ONCE))
        for number, record in enumerate(itertools.chain.from_iterable(batches), 1):
            yield f"{path.name}, row {number}", plain(record)


def _write_csv(path: Path, columns: Columns, records: Iterable[Cells]) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow([escape_cell(column) for column in columns])
        for record in records:
            writer.writerow([escape_cell(cell) for cell in to_cells(record, columns).values()])


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

    `path` is where the file is, None where the row names none; `others` are the list's other columns. Where its
    prompt is in a file that cannot be read, `fault` is a sentence about that, and the row is not scored.
    """

    id: str
    file: str
    prompt: str
    system: str
    path: Path | None
    others: Cells = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class ClipList:
    """Rows to score, checked."""

    path: Path
    n_rows: int
    sha256: str  # of all cells, whatever the format of the table; not of the audio
    others: tuple[str, ...]  # the columns that are not `OWN_COLUMNS`
    notes: tuple[str, ...] = ()  # what was taken otherwise than it is written, a sentence each
    step: int = 1  # every so manieth row of the list
    first: int = 0  # from this one on, counted from 0
    n_listed: int = 0  # rows of the whole list, where this is not all of it

    @classmethod
    def check(
        cls, path: Path, taken: Iterable[str] = (), output: Path | None = None, most_rows: int | None = None
    ) -> Self:
        """Read a list from end to end; it may not have the columns `taken`, because the scores have them.

        The notes of a folder pass over `output`, the table of scores, which may lie there. With `most_rows` no more
        than one above them is read.
        """
        problems, emptied = Problems(path.name), Counter[str]()
        columns = None if path.is_dir() else read_columns(path)
        if columns is not None:
            check_columns(columns, path.name)
        rows = itertools.islice(_read_rows(path, problems, emptied), None if most_rows is None else most_rows + 1)
        checked = check_rows(rows, taken, problems)
        notes = _about_folder(path, output) if path.is_dir() else _about(emptied)
        return cls(path, *checked, notes=tuple(notes))

    def every(self, step: int, first: int) -> Self:
        """Return a part of the list."""
        n_rows = len(range(first, self.n_rows, step))
        if not n_rows:
            raise DataError(f"{shown_name(self.path.name)} has {self.n_rows:,} rows: too few for so many parts.")
        return replace(self, n_rows=n_rows, step=step, first=first, n_listed=self.n_rows)

    def rows(self) -> Iterator[Row]:
        """Read the rows, in order; DataError where the list is no longer what was checked."""
        problems, n_rows = Problems(self.path.name), 0
        for _, row in _read_rows(self.path, problems, Counter()):
            if n_rows % self.step == self.first:
                yield row
            n_rows += 1
        if problems.found or n_rows != (self.n_listed or self.n_rows):
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
    texts |= {column: "" for column in MAY_SAY_NOTHING if means_nothing(texts[column])}
    texts["id"] = texts["id"] if "id" in cells else str(number)
    if not texts["id"]:
        raise ValueError("the id is empty")
    path = folder / texts["file"] if texts["file"] else None
    others = {column: cell for column, cell in cells.items() if column not in OWN_COLUMNS}
    return Row(**texts, path=path, others=others)


def _text(column: str, cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise ValueError(f"{column} is {shown_name(str(cell))}; it must be a text")
    return stripped(str(cell))


def _read_rows(path: Path, problems: Problems, emptied: Counter[str]) -> Iterator[tuple[str, Row]]:
    """Place and content of each row; what is wrong with one is a problem, and the row is left out.

    `emptied` counts the cells that are taken as empty though they say something, by column.
    """
    if path.is_dir():
        yield from ((row.id, row) for row in _audio_files(path))
        return
    for number, (place, cells) in enumerate(read_records(path, problems), 1):
        try:
            row = to_row(cells, number, path.parent)
        except ValueError as error:
            problems.add(place, str(error))
        else:
            said = [column for column in MAY_SAY_NOTHING if _text(column, cells.get(column))]
            emptied.update(column for column in said if not getattr(row, column))
            yield place, row


def _about(emptied: Mapping[str, int]) -> Iterator[str]:
    for column, count in sorted(emptied.items()):
        words = ", ".join(sorted(NO_TEXT - {""}))
        yield f"Taken as empty: {counted(count, 'cell')} of {column} with what means that there is none ({words})."


def _audio_files(folder: Path) -> Iterator[Row]:
    for path in _files(folder):
        if path.suffix.lower() in AUDIO_SUFFIXES:
            name = _shown_path(path, folder)
            prompt, fault = _prompt_beside(path)
            yield Row(name, name, prompt, "", path, fault=fault)


def _about_folder(folder: Path, output: Path | None) -> Iterator[str]:
    """Say what a folder holds that is no row of it; hidden files and the output aside."""
    paths = [path for path in _files(folder) if output is None or path.absolute() != output.absolute()]
    clips = {path.with_suffix("") for path in paths if path.suffix.lower() in AUDIO_SUFFIXES}
    tables = [path for path in paths if path.suffix.lower() in FORMATS]
    prompts = [path for path in paths if path.suffix.lower() == ".txt" and path.with_suffix("") in clips]
    taken = {*tables, *prompts}
    others = [path for path in paths if path.suffix.lower() not in AUDIO_SUFFIXES and path not in taken]
    if tables:
        names = first_of([_shown_path(path, folder) for path in tables])
        yield f"The folder has tables, which were not read: {names}. To score a list, give its file."
    if others:
        names = first_of([_shown_path(path, folder) for path in others])
        yield f"The folder has files that are neither a clip nor the prompt of one, and are left out: {names}."


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=_stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _shown_path(path: Path, folder: Path) -> str:
    return os.fsencode(path.relative_to(folder).as_posix()).decode("utf-8", "backslashreplace")


def _prompt_beside(path: Path) -> tuple[str, str]:
    """The prompt in the text file of an audio file, and a sentence where that cannot be read."""
    beside = [path.with_suffix(suffix) for suffix in (".txt", ".TXT")]
    file = next((file for file in beside if file.exists()), None)
    if file is None:
        return "", ""
    if file.stat().st_size > PROMPT_BYTES:
        return "", f"The prompt: {shown_name(file.name)} has more than {PROMPT_BYTES:,} bytes. Shorten it."
    try:
        return read_text(file).strip(), ""
    except DataError as error:
        return "", f"The prompt: {error}"


def _stop(error: OSError) -> NoReturn:
    name = Path(os.fsdecode(error.filename or "")).name
    raise DataError(f"{shown_name(name)} cannot be opened: {error.strerror}.") from error
