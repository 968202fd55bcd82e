"""Ratings that came from elsewhere; raters who join by a link; questions, languages and a headphone check of a study.

What is not known of imported ratings is NULL, which older columns did not allow.
"""

import re

import sqlalchemy as sa
from alembic import op

from annotation.dialects.triggers import allow, differs, on_postgresql, refuse

revision = "0006"
down_revision = "0005"

_UNKNOWN = {
    "clips": ("source_sha256", "duration_s", "gain_db", "gain_lowered"),
    "raters": ("invited_at",),
    "batches": ("opened_at",),
    "trials": ("token",),
    "responses": ("heard_s", "given_at"),
}
_COMMENTED = {
    "responses": ("id", "trial_id", "played", "heard_s", "given_at"),
    "problems": ("id", "trial_id", "reported_at"),
}
_GIVEN_HERE = "role = 'stimulus' AND state != 'released' AND token IS NOT NULL"


def upgrade() -> None:
    """Add columns and a table; existing rows stay as they are."""
    for column in ("questions", "enrolment", "imported"):
        op.add_column("studies", sa.Column(column, sa.JSON(), nullable=True))
    for table, column in (("studies", "translations"), ("raters", "external"), ("consents", "read")):
        op.add_column(table, sa.Column(column, sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("answers", sa.Column("asked", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "headphone_checks",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("rater_id", sa.Integer(), sa.ForeignKey("raters.id"), nullable=False),
        *(sa.Column(count, sa.Integer(), nullable=False) for count in ("correct", "trials")),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_headphone_checks_rater_id", "headphone_checks", ["rater_id"])
    op.drop_index("one_stimulus_trial", "trials")
    where = sa.text(_GIVEN_HERE)
    columns = ["rater_id", "clip_id"]
    op.create_index("one_stimulus_trial", "trials", columns, unique=True, sqlite_where=where, postgresql_where=where)
    _allow_unknown()
    _allow_erasing()


def _allow_erasing() -> None:
    """Let a comment be erased, and nothing else of what a rater said be changed."""
    for table, others in _COMMENTED.items():
        allow(table, "UPDATE")
        refuse(table, "UPDATE", when=" OR ".join(["NEW.comment != ''", *map(differs, others)]))


def _allow_unknown() -> None:
    """Drop NOT NULL from columns, with SQLite in its own way, which leaves rows, triggers and other columns alone.

    Source: https://www.sqlite.org/lang_altertable.html, section 7, "making other kinds of table schema changes".
    """
    if on_postgresql():
        for table, columns in _UNKNOWN.items():
            for column in columns:
                op.alter_column(table, column, nullable=True)
        return
    connection = op.get_bind()
    version = connection.exec_driver_sql("PRAGMA schema_version").scalar_one()
    connection.exec_driver_sql("PRAGMA writable_schema=ON")
    for table, columns in _UNKNOWN.items():
        known = "FROM sqlite_master WHERE type = 'table' AND name = ?"
        sql = connection.exec_driver_sql(f"SELECT sql {known}", (table,)).scalar_one()
        for column in columns:
            sql, found = re.subn(rf"(\b{column}\b \w+) NOT NULL", r"\1", sql)
            if found != 1:
                raise RuntimeError(f"{table}.{column} is not as the migrations before made it")
        connection.exec_driver_sql("UPDATE sqlite_master SET sql = ? WHERE type = 'table' AND name = ?", (sql, table))
    connection.exec_driver_sql(f"PRAGMA schema_version={version + 1}")
    connection.exec_driver_sql("PRAGMA writable_schema=OFF")
