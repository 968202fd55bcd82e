"""Everything of one database copied into another, empty one, of the same kind or the other.

Rows are read in one state of the source and written in one transaction, tables in the order of their foreign keys, JSON
as the text that it is. Before the commit each table is read back: the hash of its rows has to be the source's.
Deadlines stay behind: who administrates signs in anew.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from sqlalchemy import JSON, Connection, Table, Text, TypeDecorator, cast, column, func, insert, select, table
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import NullType, TypeEngine

from annotation.database import Database, file_of, is_postgresql
from annotation.dialects import POSTGRESQL, after_many_rows
from annotation.results import Table as Shown
from annotation.schema import Base, Deadline
from core.errors import StudyError, shown_name

_AT_ONCE = 1000  # rows


def copy(source_url: str, target_url: str) -> Shown:
    """Copy all rows; return their number and hash by table. `StudyError` where the target has any."""
    if not is_postgresql(source_url) and not file_of(source_url).exists():
        raise StudyError(f"There is no database {shown_name(file_of(source_url).name)}. Nothing was copied.")
    source = Database(source_url)
    try:
        target = Database(target_url)
        try:
            with source.read() as reading, target.write() as writing:
                return _copied(reading.connection(), writing.connection())
        finally:
            target.close()
    finally:
        source.close()


def _copied(source: Connection, target: Connection) -> Shown:
    tables = [one for one in Base.metadata.sorted_tables if one is not Deadline.__table__]
    for one in tables:
        if target.execute(select(func.count()).select_from(one)).scalar_one():
            raise StudyError(f"The target has rows already, in {one.name}. Nothing was copied. Name an empty database.")
    copied = []
    for one in tables:
        _insert(one, source, target)
        rows, sha256 = _digest(one, source)
        if _digest(one, target) != (rows, sha256):
            raise StudyError(f"The table {one.name} did not arrive as it was. Nothing was copied.")
        copied.append((one.name, rows, sha256))
    after_many_rows(target)
    return Shown("Copied, with the same hashes on both sides", ("Table", "Rows", "SHA-256"), copied)


def _insert(one: Table, source: Connection, target: Connection) -> None:
    names = [part.name for part in one.columns]
    into = insert(table(one.name, *(column(part.name, _written(part.type)) for part in one.columns)))
    rows = _rows(one, source)
    try:
        while some := [dict(zip(names, row, strict=True)) for row in islice(rows, _AT_ONCE)]:
            target.execute(into, some)
        if target.dialect.name == POSTGRESQL and "id" in one.columns:  # new rows go on after these
            last = target.execute(select(func.max(one.columns["id"]))).scalar_one()
            if last:
                target.execute(select(func.setval(func.pg_get_serial_sequence(one.name, "id"), last)))
    except DBAPIError as error:
        raise StudyError(f"The table {one.name} cannot be written: {error.orig}. Nothing was copied.") from error


def _rows(one: Table, connection: Connection) -> Iterator[Sequence[Any]]:
    """Return the rows in the order of their keys: whoever refers to another row of its table comes after it."""
    plain = table(one.name, *(column(part.name, _plain(part.type)) for part in one.columns))
    parts = [
        cast(part, Text).label(part.name) if isinstance(_plain(one.columns[part.name].type), JSON) else part
        for part in plain.columns
    ]
    keys = [plain.columns[part.name] for part in one.primary_key]
    yield from connection.execute(select(*parts).order_by(*keys).execution_options(yield_per=_AT_ONCE))


def _digest(one: Table, connection: Connection) -> tuple[int, str]:
    sha256, count = hashlib.sha256(), 0
    for row in _rows(one, connection):
        sha256.update(json.dumps(list(row), default=str, ensure_ascii=False).encode() + b"\n")
        count += 1
    return count, sha256.hexdigest()


def _plain(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type as the database has it: nothing of what the app makes of a value."""
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind


def _written(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    plain = _plain(kind)
    return NullType() if isinstance(plain, JSON) else plain  # its text, as it is
