"""What migrations have to say to SQLite and to PostgreSQL each in its own words."""

from collections.abc import Sequence

from alembic import op

from annotation.dialects import POSTGRESQL


def on_postgresql() -> bool:
    """Return whether the tables are PostgreSQL's."""
    return op.get_bind().dialect.name == POSTGRESQL


def differs(column: str) -> str:
    """Return the condition of an update that it changes a column."""
    if on_postgresql():  # JSON has no equality there
        return f"NEW.{column}::text IS DISTINCT FROM OLD.{column}::text"
    return f"NEW.{column} IS NOT OLD.{column}"


def refuse(table: str, change: str, when: str = "", name: str = "", of: Sequence[str] = (), said: str = "") -> None:
    """Have every UPDATE or DELETE of a table's rows refused, or `when` a condition holds; of some columns alone."""
    name, said = name or _name(table, change), said or f"{table} are append-only"
    if not on_postgresql():
        columns, condition = f" OF {', '.join(of)}" if of else "", f"WHEN {when} " if when else ""
        op.execute(
            f"CREATE TRIGGER {name} BEFORE {change}{columns} ON {table} "
            f"{condition}BEGIN SELECT RAISE(ABORT, '{said}'); END"
        )
        return
    changed = " OR ".join(map(differs, of))
    condition = " AND ".join(f"({part})" for part in (changed, when.replace(" IS NOT ", " IS DISTINCT FROM ")) if part)
    op.execute(
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {condition or 'true'} THEN RAISE EXCEPTION '{said}' USING ERRCODE = 'integrity_constraint_violation'; "
        f"END IF; RETURN {'OLD' if change == 'DELETE' else 'NEW'}; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} BEFORE {change} ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


def allow(table: str, change: str) -> None:
    """Take back what `refuse` said of a table."""
    op.execute(f"DROP TRIGGER IF EXISTS {_name(table, change)}{f' ON {table}' if on_postgresql() else ''}")


def _name(table: str, change: str) -> str:
    return f"{table}_refuse_{change.lower()}"
