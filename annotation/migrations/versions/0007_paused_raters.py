"""A rater can be paused, by a rule or by hand, and let go on; nobody is when the columns come."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("raters", sa.Column("paused_at", sa.DateTime(), nullable=True))
    op.add_column("raters", sa.Column("resumed_at", sa.DateTime(), nullable=True))
