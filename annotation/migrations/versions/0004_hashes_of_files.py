"""Clips have the hash of the file that raters hear; those that are there get it when they are first sent."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column."""
    op.add_column("clips", sa.Column("wav_sha256", sa.String(), nullable=True))
