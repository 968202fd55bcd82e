"""A study names its scales: a response for each trial, a rating for each of its scales; *training* clips are *practice*."""

import sqlalchemy as sa
from alembic import op

from annotation.dialects.triggers import on_postgresql, refuse

revision = "0002"
down_revision = "0001"

# As they stood when studies had no scales of their own; what `core.scales` says today must not change this.
MUSICEVAL = """[
  {"key": "musical_impression", "title": "Musical impression",
   "question": "How good is it as music: authenticity, melody, rhythm, chords?",
   "labels": ["no musicality", "poor", "fair", "good", "excellent"], "needs_prompt": false, "short": "MI"},
  {"key": "textual_alignment", "title": "Textual alignment",
   "question": "How well does it fit the words of the prompt?",
   "labels": ["unrelated", "barely fits", "fits in part", "fits well", "strongly aligned"],
   "needs_prompt": true, "short": "TA"}
]"""
_STIMULUS = sa.text("role = 'stimulus' AND state != 'released'")


def upgrade() -> None:
    """Carry every row over; ids stay as they are. On PostgreSQL no database is so old that it had any."""
    if on_postgresql():
        _without_rows()
        return
    _studies()
    _clips()
    _trials()
    _ratings()


def _without_rows() -> None:
    op.add_column("studies", sa.Column("scales", sa.JSON(), nullable=False, server_default="[]"))
    for scale in ("musical_impression", "textual_alignment"):
        op.drop_column("clips", f"expected_{scale}")
    op.add_column("clips", sa.Column("expected", sa.JSON(), nullable=False))
    for name, table, words in (
        ("kind", "clips", "'stimulus', 'anchor', 'practice'"),
        ("role", "trials", "'stimulus', 'anchor', 'duplicate', 'practice'"),
    ):
        op.drop_constraint(f"{name}_known", table)
        op.create_check_constraint(f"{name}_known", table, f"{name} IN ({words})")
    op.drop_table("ratings")
    _ratings_by_scale()
    _append_only()


def _studies() -> None:
    op.add_column("studies", sa.Column("scales", sa.JSON(), nullable=False, server_default="[]"))
    op.execute(sa.text("UPDATE studies SET scales = json(:scales)").bindparams(scales=MUSICEVAL))


def _clips() -> None:
    op.create_table(
        "new_clips",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("study_id", sa.Integer(), sa.ForeignKey("studies.id"), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("system_id", sa.Integer(), sa.ForeignKey("systems.id"), nullable=False),
        sa.Column("prompt_id", sa.Integer(), sa.ForeignKey("prompts.id"), nullable=False),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        sa.Column("source_file", sa.String(), nullable=False),
        sa.Column("source_sha256", sa.String(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("loudness_lufs", sa.Double(), nullable=True),
        sa.Column("gain_db", sa.Double(), nullable=False),
        sa.Column("gain_lowered", sa.Boolean(), nullable=False),
        sa.Column("expected", sa.JSON(), nullable=False),
        sa.Column("explanation", sa.String(), nullable=True),
        sa.Column("added_at", sa.DateTime(), nullable=False),
        sa.CheckConstraint("kind IN ('stimulus', 'anchor', 'practice')", name="kind_known"),
        sa.UniqueConstraint("study_id", "kind", "system_id", "prompt_id", "source_sha256"),
    )
    same = "system_id, prompt_id, name, source_file, source_sha256, duration_s, loudness_lufs, gain_db, gain_lowered"
    # A merge patch leaves out what is null.
    expected = "json_patch('{}', json_object('musical_impression', expected_musical_impression, 'textual_alignment', expected_textual_alignment))"
    op.execute(
        f"INSERT INTO new_clips (id, study_id, kind, {same}, expected, explanation, added_at) "
        f"SELECT id, study_id, replace(kind, 'training', 'practice'), {same}, {expected}, explanation, added_at FROM clips"
    )
    op.drop_table("clips")
    op.rename_table("new_clips", "clips")


def _trials() -> None:
    op.create_table(
        "new_trials",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("batch_id", sa.Integer(), sa.ForeignKey("batches.id"), nullable=False),
        sa.Column("rater_id", sa.Integer(), sa.ForeignKey("raters.id"), nullable=False),
        sa.Column("clip_id", sa.Integer(), sa.ForeignKey("clips.id"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("token", sa.String(), nullable=False, unique=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("shown_at", sa.DateTime(), nullable=True),
        sa.Column("served_at", sa.DateTime(), nullable=True),
        sa.CheckConstraint("role IN ('stimulus', 'anchor', 'duplicate', 'practice')", name="role_known"),
        sa.CheckConstraint("state IN ('open', 'rated', 'released')", name="state_known"),
        sa.UniqueConstraint("batch_id", "position"),
    )
    before, after = "id, batch_id, rater_id, clip_id, position", "token, state, shown_at, served_at"
    op.execute(
        f"INSERT INTO new_trials ({before}, role, {after}) "
        f"SELECT {before}, replace(role, 'training', 'practice'), {after} FROM trials"
    )
    op.drop_table("trials")
    op.rename_table("new_trials", "trials")
    op.create_index("one_stimulus_trial", "trials", ["rater_id", "clip_id"], unique=True, sqlite_where=_STIMULUS)
    op.create_index("trials_of_clip", "trials", ["clip_id"])


def _ratings() -> None:
    op.rename_table("ratings", "old_ratings")
    _ratings_by_scale()
    same = "id, trial_id, comment, played, heard_s, given_at"
    op.execute(f"INSERT INTO responses ({same}) SELECT {same} FROM old_ratings ORDER BY id")
    for scale in ("musical_impression", "textual_alignment"):
        op.execute(f"INSERT INTO ratings (trial_id, scale, score) SELECT trial_id, '{scale}', {scale} FROM old_ratings")
    op.drop_table("old_ratings")  # with its triggers
    _append_only()


def _ratings_by_scale() -> None:
    op.create_table(
        "responses",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("trial_id", sa.Integer(), sa.ForeignKey("trials.id"), nullable=False, unique=True),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("played", sa.JSON(), nullable=False),
        sa.Column("heard_s", sa.Double(), nullable=False),
        sa.Column("given_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "ratings",
        sa.Column("trial_id", sa.Integer(), sa.ForeignKey("responses.trial_id"), primary_key=True),
        sa.Column("scale", sa.String(), primary_key=True),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.CheckConstraint("score BETWEEN 1 AND 5", name="score_in_range"),
    )


def _append_only() -> None:
    for table in ("responses", "ratings"):
        for change in ("UPDATE", "DELETE"):
            refuse(table, change)
