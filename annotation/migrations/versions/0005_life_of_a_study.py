"""Studies have a state and texts, clips can be retired, raters withdraw; what is done to them is an event.

What was created before is open, so nothing changes for its raters. Rows that are append-only go with a whole study
alone: while it is in the state of `annotation.schema.DELETED`.
"""

import sqlalchemy as sa
from alembic import op

from annotation.dialects.triggers import allow, refuse

revision = "0005"
down_revision = "0004"

_TEXTS = ("title", "instructions", "contact", "consent")
_OF_TRIAL = "SELECT study_id FROM batches WHERE id = (SELECT batch_id FROM trials WHERE id = OLD.trial_id)"
_STUDY_OF = {
    "responses": _OF_TRIAL,
    "ratings": _OF_TRIAL,
    "problems": _OF_TRIAL,
    "exclusions": "SELECT study_id FROM raters WHERE id = OLD.rater_id",
    "events": "SELECT OLD.study_id",
}


def upgrade() -> None:
    """Add the columns and the table; existing rows stay as they are."""
    op.add_column("studies", sa.Column("state", sa.String(), nullable=False, server_default="open"))
    for text in _TEXTS:
        op.add_column("studies", sa.Column(text, sa.String(), nullable=False, server_default=""))
    op.add_column("raters", sa.Column("note", sa.String(), nullable=False, server_default=""))
    op.add_column("raters", sa.Column("withdrawn_at", sa.DateTime(), nullable=True))
    op.add_column("clips", sa.Column("findings", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("clips", sa.Column("retired_at", sa.DateTime(), nullable=True))
    op.execute("ALTER TABLE clips ADD COLUMN replaces_id INTEGER REFERENCES clips (id)")  # Alembic cannot, with SQLite
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("study_id", sa.Integer(), sa.ForeignKey("studies.id"), nullable=False),
        *(sa.Column(text, sa.String(), nullable=False) for text in ("action", "about", "reason")),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_events_study_id", "events", ["study_id"])
    refuse("events", "UPDATE")
    for table, study in _STUDY_OF.items():
        allow(table, "DELETE")
        refuse(table, "DELETE", when=f"(SELECT state FROM studies WHERE id = ({study})) IS NOT 'deleted'")
