"""The tables of the listening test.

    Study ─┬─ System, Prompt ── Clip
           └─ Rater ─┬─ Visit (a signed-in device), Consent, Answer, HeadphoneCheck
                     └─ Batch ── Trial ─┬─ Response ── Rating (one a scale)
                                        └─ Problem
    Exclusion: what was taken out of the count, by whom and why, and what was put back
    Event: what was done to a study, its clips and its raters, by whom and why
    Clock: the latest time that was read
    Deadline: what all servers of a database know, who is signed in to administrate and who tried too often

Conventions: every time is UTC and aware; what is not known of imported ratings is None; responses, ratings,
problems, exclusions and events are append-only (triggers refuse to change them but to erase a comment, to delete them
but with their whole study, or to change the trial that they are of); what a rater may hold in hand is a `token`, which
says nothing.
The tables are the same on SQLite and PostgreSQL; what differs stands in `annotation.dialects` and the migrations.

A trial of role ``stimulus`` counts for its clip while it is *leased* (open, in an open batch whose lease
runs), *pending* (rated, in an open batch) or *valid* (rated, in a batch that passed).
"""

from datetime import UTC, datetime
from typing import Annotated, Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from annotation.protocol import Protocol
from core.scales import MUSICEVAL, Scale, Scales

CLIP_KINDS = ("stimulus", "anchor", "practice")
ROLES = ("stimulus", "anchor", "duplicate", "practice")
TRIAL_STATES = ("open", "rated", "released")
BATCH_STATES = ("open", "valid", "empty", "excluded")  # empty: it ended without a rating that could count
ACTIONS = ("exclude", "restore")
STUDY_STATES = ("draft", "open", "paused", "closed", "archived")
DELETED = "deleted"  # the state of a study while it is being deleted, for which alone the triggers let its rows go

_Id = Annotated[int, mapped_column(primary_key=True)]
_StudyId = Annotated[int, mapped_column(ForeignKey("studies.id"))]
_RaterId = Annotated[int, mapped_column(ForeignKey("raters.id"))]


def _one_of(column: str, words: tuple[str, ...]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word) for word in words)})", name=f"{column}_known")


def _unique_where(name: str, *columns: str, where: str) -> Index:
    condition = text(where)
    return Index(name, *columns, unique=True, sqlite_where=condition, postgresql_where=condition)


class Utc(TypeDecorator[datetime]):
    """An aware time, stored in UTC without its zone, because SQLite keeps none."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Refuse a time without a zone; bring the others to UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _: Dialect) -> datetime | None:
        """Return it with its zone."""
        return None if value is None else value.replace(tzinfo=UTC)


class _Protocol(TypeDecorator[Protocol]):
    """The rules of a study, as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Protocol | None, _: Dialect) -> Any:
        return None if value is None else value.to_json()

    def process_result_value(self, value: Any, _: Dialect) -> Protocol | None:
        return None if value is None else Protocol.from_json(value)


class _Scales(TypeDecorator[Scales]):
    """Scales in their order, as JSON."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Scales | None, _: Dialect) -> Any:
        return None if value is None else [scale.to_json() for scale in value]

    def process_result_value(self, value: Any, _: Dialect) -> Scales | None:
        return None if value is None else tuple(Scale.from_json(one) for one in value)


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {  # noqa: RUF012
        datetime: Utc,
        dict[str, Any]: JSON,
        list[Any]: JSON,
        Protocol: _Protocol,
        Scales: _Scales,
    }


class Study(Base):
    """One listening test; its protocol is fixed when it is created."""

    __tablename__ = "studies"
    id: Mapped[_Id]
    name: Mapped[str] = mapped_column(unique=True)
    demo: Mapped[bool]  # composed clips for visitors, never an expert's study
    seed: Mapped[int]
    protocol: Mapped[Protocol]
    scales: Mapped[Scales] = mapped_column(default=MUSICEVAL)
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(default="open")  # the latest of its events; raters work in an open study alone
    title: Mapped[str] = mapped_column(default="")  # this and what follows is shown to raters
    instructions: Mapped[str] = mapped_column(default="")
    contact: Mapped[str] = mapped_column(default="")
    consent: Mapped[str] = mapped_column(default="")  # empty: the usual text
    questions: Mapped[list[Any] | None]  # about the rater, as `Question.to_json` has them; None: the usual ones
    translations: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the texts above in other languages
    enrolment: Mapped[dict[str, Any] | None]  # `annotation.enrolment.Enrolment`: who may join by themselves
    imported: Mapped[dict[str, Any] | None]  # where its ratings came from, if they were not given here

    @property
    def has_batches(self) -> bool:
        """Whether it is known in which batches, and in which order, its ratings were given."""
        return self.imported is None or bool(self.imported["batches"])


class System(Base):
    """What made a clip: a text-to-music model, or a name for human-made music."""

    __tablename__ = "systems"
    __table_args__ = (UniqueConstraint("study_id", "name"),)
    id: Mapped[_Id]
    study_id: Mapped[_StudyId]
    name: Mapped[str]


class Prompt(Base):
    """What the music was asked to be."""

    __tablename__ = "prompts"
    __table_args__ = (UniqueConstraint("study_id", "text"),)
    id: Mapped[_Id]
    study_id: Mapped[_StudyId]
    text: Mapped[str]


class Clip(Base):
    """One normalised file, ``<name>.wav`` in the study's folder; the name says nothing."""

    __tablename__ = "clips"
    __table_args__ = (
        UniqueConstraint("study_id", "kind", "system_id", "prompt_id", "source_sha256"),
        _one_of("kind", CLIP_KINDS),
    )
    id: Mapped[_Id]
    study_id: Mapped[_StudyId]
    kind: Mapped[str]
    system_id: Mapped[int] = mapped_column(ForeignKey("systems.id"))
    prompt_id: Mapped[int] = mapped_column(ForeignKey("prompts.id"))
    name: Mapped[str] = mapped_column(unique=True)
    source_file: Mapped[str]  # as the manifest names it
    source_sha256: Mapped[str | None]  # this and what follows is None of an imported clip without audio
    wav_sha256: Mapped[str | None]  # of the normalised file; None in an older study, until it is first sent
    duration_s: Mapped[float | None]
    loudness_lufs: Mapped[float | None]  # of the normalised file; None where there is nothing to measure
    gain_db: Mapped[float | None]
    gain_lowered: Mapped[bool | None]  # the peak would have passed the limit, so the clip is quieter than the others
    expected: Mapped[dict[str, Any]] = mapped_column(default=dict)  # scores by scale, told in practice
    explanation: Mapped[str | None]
    added_at: Mapped[datetime]
    findings: Mapped[list[Any]] = mapped_column(default=list)  # `annotation.material.report.FINDINGS`, of the source
    retired_at: Mapped[datetime | None]  # nobody gets it any more, and its ratings do not count
    replaces_id: Mapped[int | None] = mapped_column(ForeignKey("clips.id"))  # the clip in whose place it came

    system: Mapped[System] = relationship()
    prompt: Mapped[Prompt] = relationship()


class Rater(Base):
    """A listener, known by a pseudonym and by the hash of an access code."""

    __tablename__ = "raters"
    __table_args__ = (UniqueConstraint("study_id", "pseudonym"),)
    id: Mapped[_Id]
    study_id: Mapped[_StudyId]
    pseudonym: Mapped[str]
    # None for visitors of the demo study, and for who has withdrawn
    code_sha256: Mapped[str | None] = mapped_column(unique=True)
    invited_at: Mapped[datetime | None]
    note: Mapped[str] = mapped_column(default="")  # for whoever runs the study; never exported
    withdrawn_at: Mapped[datetime | None]
    paused_at: Mapped[datetime | None]  # they get no batch until they are let go on
    resumed_at: Mapped[datetime | None]  # let go on for the last time; the test that pauses looks at what came since
    external: Mapped[dict[str, Any]] = mapped_column(default=dict)  # what a join link told; only for the administrator

    study: Mapped[Study] = relationship()


class Visit(Base):
    """A device on which a rater is signed in."""

    __tablename__ = "visits"
    id: Mapped[_Id]
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"), index=True)
    token_sha256: Mapped[str] = mapped_column(unique=True)
    began_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


class Consent(Base):
    """A rater agreed to a text."""

    __tablename__ = "consents"
    id: Mapped[_Id]
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"), index=True)
    text: Mapped[str]
    read: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the study's other texts as they stood, and language
    given_at: Mapped[datetime]


class Answer(Base):
    """A rater's answer to a question about themselves."""

    __tablename__ = "answers"
    id: Mapped[_Id]
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"), index=True)
    question: Mapped[str]
    asked: Mapped[str] = mapped_column(default="")  # the words of the question
    answer: Mapped[str]
    given_at: Mapped[datetime]


class HeadphoneCheck(Base):
    """How a rater did in one headphone check."""

    __tablename__ = "headphone_checks"
    id: Mapped[_Id]
    rater_id: Mapped[int] = mapped_column(ForeignKey("raters.id"), index=True)
    correct: Mapped[int]
    trials: Mapped[int]
    passed: Mapped[bool]
    at: Mapped[datetime]


class Batch(Base):
    """Trials that a rater gets at once and that are screened together; number 0 is practice."""

    __tablename__ = "batches"
    __table_args__ = (
        UniqueConstraint("rater_id", "number"),
        _one_of("state", BATCH_STATES),
        _unique_where("one_open_batch", "rater_id", where="state = 'open'"),
        Index("batches_of_study", "study_id", "state"),
    )
    id: Mapped[_Id]
    study_id: Mapped[_StudyId]
    rater_id: Mapped[_RaterId]
    number: Mapped[int]
    state: Mapped[str]
    short: Mapped[bool]  # fewer clips than the protocol asks for, because no more were left
    opened_at: Mapped[datetime | None]
    lease_until: Mapped[datetime]
    closed_at: Mapped[datetime | None]  # None: open, or left out while it was open
    screened_at: Mapped[datetime | None]

    rater: Mapped[Rater] = relationship()
    trials: Mapped[list["Trial"]] = relationship(back_populates="batch", order_by="Trial.position")


class Trial(Base):
    """One presentation of a clip to a rater."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("batch_id", "position"),
        _one_of("role", ROLES),
        _one_of("state", TRIAL_STATES),
        _unique_where(
            "one_stimulus_trial",
            "rater_id",
            "clip_id",
            where="role = 'stimulus' AND state != 'released' AND token IS NOT NULL",
        ),
        Index("trials_of_clip", "clip_id"),
    )
    id: Mapped[_Id]
    batch_id: Mapped[int] = mapped_column(ForeignKey("batches.id"))
    rater_id: Mapped[_RaterId]
    clip_id: Mapped[int] = mapped_column(ForeignKey("clips.id"))
    position: Mapped[int]  # from 1
    role: Mapped[str]
    token: Mapped[str | None] = mapped_column(unique=True)  # None: it was imported
    state: Mapped[str]
    shown_at: Mapped[datetime | None]  # first time it was the rater's current trial
    served_at: Mapped[datetime | None]  # first time its clip was sent

    batch: Mapped[Batch] = relationship(back_populates="trials")
    clip: Mapped[Clip] = relationship()
    response: Mapped["Response | None"] = relationship(back_populates="trial")


class Response(Base):
    """What a rater said of a clip in one trial, and how they listened; append-only."""

    __tablename__ = "responses"
    id: Mapped[_Id]
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), unique=True)
    comment: Mapped[str] = mapped_column(default="")
    played: Mapped[list[Any]]  # [start_s, end_s] of each stretch, in order; the browser's word
    heard_s: Mapped[float | None]  # of the clip, however often
    given_at: Mapped[datetime | None]

    trial: Mapped[Trial] = relationship(back_populates="response")
    ratings: Mapped[list["Rating"]] = relationship()

    @property
    def scores(self) -> dict[str, int]:
        """Points by scale."""
        return {rating.scale: rating.score for rating in self.ratings}


class Rating(Base):
    """A response's points on one scale; append-only."""

    __tablename__ = "ratings"
    __table_args__ = (CheckConstraint("score BETWEEN 1 AND 5", name="score_in_range"),)
    trial_id: Mapped[int] = mapped_column(ForeignKey("responses.trial_id"), primary_key=True)
    scale: Mapped[str] = mapped_column(primary_key=True)  # the key of one of the study's scales
    score: Mapped[int]


class Problem(Base):
    """A rater could not hear a clip; append-only."""

    __tablename__ = "problems"
    id: Mapped[_Id]
    trial_id: Mapped[int] = mapped_column(ForeignKey("trials.id"), unique=True)
    comment: Mapped[str]
    reported_at: Mapped[datetime]

    trial: Mapped[Trial] = relationship()


class Exclusion(Base):
    """A batch, or all of a rater's batches (`batch_id` is None), left out or put back; append-only.

    The latest row for a target is in force: a batch counts when neither its own nor its rater's excludes it.
    """

    __tablename__ = "exclusions"
    __table_args__ = (_one_of("action", ACTIONS), Index("exclusions_of_rater", "rater_id"))
    id: Mapped[_Id]
    rater_id: Mapped[_RaterId]
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batches.id"), index=True)
    action: Mapped[str]
    rule: Mapped[str]  # one of `annotation.rules`, or by hand
    reason: Mapped[str]  # one sentence
    evidence: Mapped[dict[str, Any]]  # the rule's figures
    author: Mapped[str]
    at: Mapped[datetime]


class Event(Base):
    """Something that was done to a study, a clip or a rater by whoever runs it; append-only."""

    __tablename__ = "events"
    id: Mapped[_Id]
    study_id: Mapped[int] = mapped_column(ForeignKey("studies.id"), index=True)
    action: Mapped[str]
    about: Mapped[str]  # the clip's opaque name or the rater's pseudonym; empty: the study
    reason: Mapped[str]
    details: Mapped[dict[str, Any]]  # what was before and after
    author: Mapped[str]
    at: Mapped[datetime]


class Clock(Base):
    """The one row behind `annotation.database.now`."""

    __tablename__ = "clock"
    id: Mapped[_Id]
    latest: Mapped[datetime]
    ahead_s: Mapped[float]  # how far times of the database are ahead of the machine's clock, which was set back


class Deadline(Base):
    """Until when something holds that every server knows (`annotation.deadlines`)."""

    __tablename__ = "deadlines"
    name: Mapped[str] = mapped_column(primary_key=True)  # a hash
    ends_at: Mapped[datetime] = mapped_column(index=True)
