"""Expressions that SQLite and PostgreSQL write each in its own way."""

from typing import Any

from sqlalchemy import ColumnElement, Double, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class seconds_between(FunctionElement[float]):  # noqa: N801 - as functions of SQL are written
    """Seconds from one time to another."""

    inherit_cache = True
    type = Double()


class day_of(FunctionElement[str]):  # noqa: N801
    """The day of a time, as ``2026-03-01``."""

    inherit_cache = True
    type = String()


@compiles(seconds_between, "sqlite")
def _(element: seconds_between, compiler: Any, **given: Any) -> str:
    begun, ended = _parts(element, compiler, given)
    return f"(julianday({ended}) - julianday({begun})) * 86400"


@compiles(seconds_between, "postgresql")
def _(element: seconds_between, compiler: Any, **given: Any) -> str:
    begun, ended = _parts(element, compiler, given)
    return f"CAST(EXTRACT(EPOCH FROM {ended} - {begun}) AS double precision)"


@compiles(day_of, "sqlite")
def _(element: day_of, compiler: Any, **given: Any) -> str:
    return f"date({_parts(element, compiler, given)[0]})"


@compiles(day_of, "postgresql")
def _(element: day_of, compiler: Any, **given: Any) -> str:
    return f"to_char({_parts(element, compiler, given)[0]}, 'YYYY-MM-DD')"


def _parts(element: FunctionElement[Any], compiler: Any, given: dict[str, Any]) -> list[str]:
    clauses: list[ColumnElement[Any]] = list(element.clauses)
    return [compiler.process(one, **given) for one in clauses]
