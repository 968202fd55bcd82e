"""Rows of tables in files, one at a time, so that a table may be larger than memory.

    .csv       UTF-8 with a heading; texts that a spreadsheet would run as a formula escaped (`core.ratings`)
    .jsonl     one JSON object a line
    .parquet   Parquet

A cell is what JSON can say: text, number, true, false, null, or lists and objects of these. Everything is
brought to that when it is read: infinite numbers and NaN become null, times become text, halves of surrogate
pairs become question marks. CSV knows texts only.
"""

import contextlib
import csv
import itertools
import json
import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from core.errors import DataError, shown_name
from core.ratings import escape_cell, unescape_cell
from core.tables import Problems, line_place

FORMATS = (".csv", ".jsonl", ".parquet")
_ROWS_AT_ONCE = 1_024  # of Parquet

Cells = dict[str, Any]


def check_format(path: Path) -> str:
    """Give the suffix of a table's file in small letters.

    Raises
    ------
    DataError
        It is none of `FORMATS`.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise DataError(
            f"{shown_name(path.name)} is no table. The name of a table ends in {', '.join(FORMATS)}."
        )
    return suffix


def read_columns(path: Path) -> list[str] | None:
    """Give the columns of a table, None where each row has its own (JSON Lines).

    Raises
    ------
    DataError
        The file cannot be read.
    """
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
    """Read a table.

    Parameters
    ----------
    path : Path
    problems : Problems
        Where rows that cannot be read are noted; they are left out.

    Yields
    ------
    (str, dict)
        Where the row stands, in words, and its cells by column.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    read = {".csv": _read_csv, ".jsonl": _read_json_lines, ".parquet": _read_parquet}[check_format(path)]
    with _readable(path):
        yield from read(path, problems)


def write_records(path: Path, columns: Mapping[str, type], records: Iterable[Cells]) -> None:
    """Write a table; the file appears whole, by renaming.

    Parameters
    ----------
    path : Path
    columns : mapping of str to type
        ``str`` or ``float``. What is no text in a text column is written as JSON, but for JSON Lines, which
        keeps it as it is.
    records : iterable of dict
        A column that a record lacks is empty (null).

    Raises
    ------
    DataError
        The file cannot be written.
    """
    write = {".csv": _write_csv, ".jsonl": _write_json_lines, ".parquet": _write_parquet}[check_format(path)]
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            write(unfinished, columns, records)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{shown_name(path.name)} cannot be written: {error.strerror or error}.") from error


def plain(value: Any) -> Any:
    """Give what JSON and UTF-8 can say of a value."""
    if isinstance(value, dict):
        return {plain(str(key)): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int) else str(value)


def typed_cells(record: Cells, columns: Mapping[str, type]) -> Cells:
    """Give the cells of a record as CSV and Parquet have them: what is no text in a text column as JSON."""
    return {column: _cell(record.get(column), kind) for column, kind in columns.items()}


@contextlib.contextmanager
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


def _write_csv(path: Path, columns: Mapping[str, type], records: Iterable[Cells]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow([escape_cell(column) for column in columns])
        for record in records:
            cells = typed_cells(record, columns).values()
            writer.writerow([escape_cell(cell) if isinstance(cell, str) else cell for cell in cells])


def _write_json_lines(path: Path, columns: Mapping[str, type], records: Iterable[Cells]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for record in records:
            cells = {column: record.get(column) for column in columns}
            file.write(json.dumps(cells, ensure_ascii=False, allow_nan=False) + "\n")


def _write_parquet(path: Path, columns: Mapping[str, type], records: Iterable[Cells]) -> None:
    import pyarrow
    from pyarrow import parquet

    types = {str: pyarrow.string(), float: pyarrow.float64()}
    schema = pyarrow.schema([(column, types[kind]) for column, kind in columns.items()])
    rest = iter(records)
    with parquet.ParquetWriter(path, schema) as writer:
        while some := list(itertools.islice(rest, _ROWS_AT_ONCE)):
            cells = [typed_cells(record, columns) for record in some]
            writer.write_table(pyarrow.Table.from_pylist(cells, schema))


def _cell(value: Any, kind: type) -> Any:
    is_other = kind is str and value is not None and not isinstance(value, str)
    return json.dumps(value, ensure_ascii=False) if is_other else value
