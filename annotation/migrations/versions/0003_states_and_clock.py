"""Batches that hold nothing have a state of their own; when a batch was screened; a clock that never runs back."""

import sqlalchemy as sa
from alembic import op

from annotation.dialects.triggers import on_postgresql, refuse

revision = "0003"
down_revision = "0002"

_OPEN = sa.text("state = 'open'")


def upgrade() -> None:
    """Carry every row over; ids stay as they are."""
    if on_postgresql():
        op.add_column("batches", sa.Column("screened_at", sa.DateTime(), nullable=True))
        op.drop_constraint("state_known", "batches")
        op.create_check_constraint("state_known", "batches", "state IN ('open', 'valid', 'empty', 'excluded')")
    else:
        _batches()
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("latest", sa.DateTime(), nullable=False),
        sa.Column("ahead_s", sa.Double(), nullable=False),
    )
    for table in ("problems", "responses"):
        refuse(
            "trials",
            "UPDATE",
            when=f"EXISTS (SELECT 1 FROM {table} WHERE trial_id = OLD.id)",
            name=f"trials_with_{table}_stay",
            of=("clip_id", "rater_id", "batch_id", "role"),
            said=f"trials that {table} refer to stay as they are",
        )


def _batches() -> None:
    op.create_table(
        "new_batches",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("study_id", sa.Integer(), sa.ForeignKey("studies.id"), nullable=False),
        sa.Column("rater_id", sa.Integer(), sa.ForeignKey("raters.id"), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("short", sa.Boolean(), nullable=False),
        sa.Column("opened_at", sa.DateTime(), nullable=False),
        sa.Column("lease_until", sa.DateTime(), nullable=False),
        sa.Column("closed_at", sa.DateTime(), nullable=True),
        sa.Column("screened_at", sa.DateTime(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'valid', 'empty', 'excluded')", name="state_known"),
        sa.UniqueConstraint("rater_id", "number"),
    )
    same = "id, study_id, rater_id, number, state, short, opened_at, lease_until, closed_at"
    op.execute(
        f"INSERT INTO new_batches ({same}, screened_at) "
        f"SELECT {same}, CASE WHEN number > 0 THEN closed_at END FROM batches"
    )
    op.drop_table("batches")
    op.rename_table("new_batches", "batches")
    op.create_index("batches_of_study", "batches", ["study_id", "state"])
    op.create_index("one_open_batch", "batches", ["rater_id"], unique=True, sqlite_where=_OPEN)
    op.execute(
        "UPDATE batches SET state = 'empty' WHERE state = 'valid' AND number > 0 AND NOT EXISTS "
        "(SELECT 1 FROM trials WHERE batch_id = batches.id AND role = 'stimulus' AND state = 'rated')"
    )
