"""Until when something holds that all servers of one database know; nothing does when the table comes."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "deadlines",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("ends_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_deadlines_ends_at", "deadlines", ["ends_at"])
