"""The first tables, and the triggers that keep ratings, problems and exclusions as they were written."""

import sqlalchemy as sa
from alembic import op

from annotation.dialects.triggers import refuse

revision = "0001"
down_revision = None

APPEND_ONLY = ("ratings", "problems", "exclusions")


def upgrade() -> None:
    """Make the tables."""
    _study()
    _raters()
    _listening()
    for table in APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            refuse(table, change)


def _study() -> None:
    op.create_table(
        "studies",
        _id(),
        _text("name", unique=True),
        sa.Column("demo", sa.Boolean(), nullable=False),
        _number("seed"),
        sa.Column("protocol", sa.JSON(), nullable=False),
        _time("created_at"),
    )
    for name, column in (("systems", "name"), ("prompts", "text")):
        op.create_table(name, _id(), _of("studies"), _text(column), sa.UniqueConstraint("study_id", column))
    op.create_table(
        "clips",
        _id(),
        _of("studies"),
        _text("kind"),
        _of("systems"),
        _of("prompts"),
        _text("name", unique=True),
        _text("source_file"),
        _text("source_sha256"),
        _real("duration_s"),
        _real("loudness_lufs", nullable=True),
        _real("gain_db"),
        sa.Column("gain_lowered", sa.Boolean(), nullable=False),
        _real("expected_musical_impression", nullable=True),
        _real("expected_textual_alignment", nullable=True),
        _text("explanation", nullable=True),
        _time("added_at"),
        sa.CheckConstraint("kind IN ('stimulus', 'anchor', 'training')", name="kind_known"),
        sa.UniqueConstraint("study_id", "kind", "system_id", "prompt_id", "source_sha256"),
    )


def _raters() -> None:
    op.create_table(
        "raters",
        _id(),
        _of("studies"),
        _text("pseudonym"),
        _text("code_sha256", nullable=True, unique=True),
        _time("invited_at"),
        sa.UniqueConstraint("study_id", "pseudonym"),
    )
    visit = (_text("token_sha256", unique=True), _time("began_at"), _time("ended_at", nullable=True))
    for name, columns in (
        ("visits", visit),
        ("consents", (_text("text"), _time("given_at"))),
        ("answers", (_text("question"), _text("answer"), _time("given_at"))),
    ):
        op.create_table(name, _id(), _of("raters"), *columns)
        op.create_index(f"ix_{name}_rater_id", name, ["rater_id"])


def _listening() -> None:
    op.create_table(
        "batches",
        _id(),
        _of("studies"),
        _of("raters"),
        _number("number"),
        _text("state"),
        sa.Column("short", sa.Boolean(), nullable=False),
        _time("opened_at"),
        _time("lease_until"),
        _time("closed_at", nullable=True),
        sa.CheckConstraint("state IN ('open', 'valid', 'excluded')", name="state_known"),
        sa.UniqueConstraint("rater_id", "number"),
    )
    op.create_index("batches_of_study", "batches", ["study_id", "state"])
    _unique("one_open_batch", "batches", ["rater_id"], "state = 'open'")
    op.create_table(
        "trials",
        _id(),
        _of("batches"),
        _of("raters"),
        _of("clips"),
        _number("position"),
        _text("role"),
        _text("token", unique=True),
        _text("state"),
        _time("shown_at", nullable=True),
        _time("served_at", nullable=True),
        sa.CheckConstraint("role IN ('stimulus', 'anchor', 'duplicate', 'training')", name="role_known"),
        sa.CheckConstraint("state IN ('open', 'rated', 'released')", name="state_known"),
        sa.UniqueConstraint("batch_id", "position"),
    )
    op.create_index("trials_of_clip", "trials", ["clip_id"])
    counting = "role = 'stimulus' AND state != 'released'"
    _unique("one_stimulus_trial", "trials", ["rater_id", "clip_id"], counting)
    op.create_table(
        "ratings",
        _id(),
        _of("trials", unique=True),
        _number("musical_impression"),
        _number("textual_alignment"),
        _text("comment"),
        sa.Column("played", sa.JSON(), nullable=False),
        _real("heard_s"),
        _time("given_at"),
        sa.CheckConstraint("musical_impression BETWEEN 1 AND 5", name="musical_impression_in_range"),
        sa.CheckConstraint("textual_alignment BETWEEN 1 AND 5", name="textual_alignment_in_range"),
    )
    op.create_table("problems", _id(), _of("trials", unique=True), _text("comment"), _time("reported_at"))
    op.create_table(
        "exclusions",
        _id(),
        _of("raters"),
        _of("batches", nullable=True),
        _text("action"),
        _text("rule"),
        _text("reason"),
        sa.Column("evidence", sa.JSON(), nullable=False),
        _text("author"),
        _time("at"),
        sa.CheckConstraint("action IN ('exclude', 'restore')", name="action_known"),
    )
    op.create_index("exclusions_of_rater", "exclusions", ["rater_id"])
    op.create_index("ix_exclusions_batch_id", "exclusions", ["batch_id"])


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.Integer(), primary_key=True)


def _of(table: str, nullable: bool = False, unique: bool = False) -> sa.Column[int]:
    singular = table.removesuffix("es") if table == "batches" else table.removesuffix("s")
    column = "study_id" if table == "studies" else f"{singular}_id"
    return sa.Column(column, sa.Integer(), sa.ForeignKey(f"{table}.id"), nullable=nullable, unique=unique)


def _text(name: str, nullable: bool = False, unique: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(), nullable=nullable, unique=unique)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _real(name: str, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=nullable)


def _time(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(), nullable=nullable)


def _unique(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=True, sqlite_where=condition, postgresql_where=condition)
