"""A study in the database without any audio, and raters who walk through it in made-up time."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import fsspec
import pytest
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Prompt, Rater, Study, System, Trial
from annotation.session import listening
from annotation.session.answers import Reply
from annotation.session.listening import RaterStep, Submitted

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DURATION_S = 10.0
SMALL = {"batch_size": 4, "anchors": 2, "duplicates": 1, "duplicate_distance": 2}

only_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
Answer = Callable[[str, int], tuple[int, int]]  # role, clip id -> both scores


def empty_memory() -> None:
    """Forget what ``memory://`` holds, which is one for all tests."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def url_of(database: Database) -> str:
    """Return the URL with which another process opens a database."""
    return database._engine.url.render_as_string(hide_password=False)


def fair(role: str, clip_id: int) -> tuple[int, int]:
    """Pass every check."""
    return (5, 4) if role == "anchor" else (1 + clip_id % 5, 3)


def deaf(role: str, clip_id: int) -> tuple[int, int]:
    """Fail every anchor."""
    return 2, 2


def said(impression: object, alignment: object, played_s: float = DURATION_S) -> Reply:
    """Answer after listening from the start."""
    return Reply({"musical_impression": impression, "textual_alignment": alignment}, played=[[0.0, played_s]])


# Studies so small, or of answers so much alike, that hardly a figure means anything.
TINY: dict[str, dict[str, Any]] = {
    "no ratings": {"clips": 3, "raters": 2, "answers": None},
    "a batch begun": {"clips": 4, "raters": 2, "trials": 3},
    "a clip and a rater": {"clips": 1, "systems": 1, "raters": 1, "batch_size": 1, "duplicate_distance": 0},
    "a clip": {"clips": 1, "systems": 1, "raters": 5, "batch_size": 1, "duplicate_distance": 0},
    "a rater": {"clips": 12, "raters": 1},
    "two raters": {"clips": 12, "raters": 2},
    "one system": {"clips": 12, "systems": 1, "raters": 3},
    "all alike": {"clips": 24, "systems": 3, "raters": 5, "answers": lambda _role, _clip: (3, 3)},
    "all of a rater alike": {"clips": 24, "raters": 3, "answers": lambda role, clip: fair(role, 3)},
    "no anchors": {"clips": 12, "raters": 3, "anchors": 0},
    "all excluded": {"clips": 12, "raters": 3, "answers": deaf},
}


def tiny(database: Database, name: str) -> "Room":
    """Build a study of `TINY`, and have it rated."""
    built = dict(TINY[name])
    answers, trials = built.pop("answers", fair), built.pop("trials", 10_000)
    limit = built["raters"]
    room = Room.build(database, **{"raters_per_clip": limit, "batch_size": 12, **built})
    if built.get("anchors") == 0:
        with database.write() as session:
            study = room.study(session)
            study.protocol = dataclasses.replace(study.protocol, anchors=0)
    for number in range(limit if answers else 0):
        room.answers[number] = answers
        room.rate_batch(number, trials)
        if trials == 10_000:
            room.rate_batch(number)
    return room


@dataclass
class Room:
    """A study with its raters, at a time of its own."""

    database: Database
    study_id: int
    rater_ids: list[int]
    protocol: Protocol = field(default_factory=Protocol)
    at: datetime = NOW
    answers: dict[int, Answer] = field(default_factory=dict)  # of raters who are not fair

    @classmethod
    def build(
        cls,
        database: Database,
        clips: int = 8,
        systems: int = 2,
        prompts: int = 4,
        anchors: int = 4,
        training: int = 0,
        raters: int = 3,
        name: str = "room",
        **protocol: Any,
    ) -> "Room":
        with database.write() as session:
            rules = Protocol(**{**SMALL, "training": min(training, 5), **protocol})
            study = Study(name=name, demo=False, seed=7, protocol=rules, created_at=NOW)
            session.add(study)
            session.flush()
            makers = [System(study_id=study.id, name=f"S{number}") for number in range(systems)]
            texts = [Prompt(study_id=study.id, text=f"Prompt {number}") for number in range(prompts)]
            people = [
                Rater(study_id=study.id, pseudonym=f"R{number + 1:02}", invited_at=NOW) for number in range(raters)
            ]
            session.add_all([*makers, *texts, *people])
            session.flush()
            kinds = ["stimulus"] * clips + ["anchor"] * anchors + ["practice"] * training
            session.execute(
                insert(Clip),
                [
                    {
                        "study_id": study.id,
                        "kind": kind,
                        "system_id": makers[number % systems].id,
                        "prompt_id": texts[number // systems % prompts].id,
                        "name": f"{name}-{kind}-{number}",
                        "source_file": "a.wav",
                        "source_sha256": f"{number}",
                        "duration_s": DURATION_S,
                        "gain_db": 0.0,
                        "gain_lowered": False,
                        "expected": {"musical_impression": 4.2} if kind == "practice" else {},
                        "explanation": "In tune." if kind == "practice" else None,
                        "added_at": NOW,
                    }
                    for number, kind in enumerate(kinds)
                ],
            )
            room = cls(database, study.id, [rater.id for rater in people], rules)
            for rater in people:
                listening.about(session, rater, {}, NOW)
        return room

    def wait(self, **span: float) -> None:
        self.at += timedelta(**span)

    def call(self, number: int, action: Callable[..., Any], *given: Any) -> Any:
        """Do something as a rater, in a transaction."""
        with self.database.write() as session:
            return action(session, session.get_one(Rater, self.rater_ids[number]), *given, self.at)

    def place(self, number: int) -> RaterStep:
        return self.call(number, listening.current_step)  # type: ignore[no-any-return]

    def start(self, number: int) -> RaterStep:
        return self.call(number, listening.start)  # type: ignore[no-any-return]

    def rate(self, number: int, here: RaterStep) -> Submitted:
        """Hear the current clip to its end and answer."""
        assert here.task is not None
        token = here.task.token
        self.call(number, listening.serve, token)
        self.wait(seconds=DURATION_S + 5)
        with self.database.read() as session:
            role, clip_id = session.execute(select(Trial.role, Trial.clip_id).where(Trial.token == token)).one()
        impression, alignment = self.answers.get(number, fair)(role, clip_id)
        reply = said(impression, alignment)
        return self.call(number, listening.submit, token, reply)  # type: ignore[no-any-return]

    def rate_batch(self, number: int, trials: int = 10_000) -> RaterStep:
        """Begin a batch if there is one, and answer so many of its trials."""
        here = self.start(number)
        for _ in range(trials):
            if here.step != "task":
                break
            here = self.rate(number, here).place
        return here

    def finish(self) -> None:
        """Let everyone rate until nobody gets anything."""
        while "ready" in [self.rate_batch(number).step for number in range(len(self.rater_ids))]:
            pass

    def trials(self, number: int, batch: int = 1) -> list[Trial]:
        """Give the trials of a rater's batch, in their order."""
        with self.database.read() as session:
            query = select(Trial).join(Batch).where(Batch.rater_id == self.rater_ids[number], Batch.number == batch)
            return list(session.scalars(query.order_by(Trial.position)))

    def batch(self, number: int, batch: int = 1) -> Batch:
        with self.database.read() as session:
            return session.execute(
                select(Batch).where(Batch.rater_id == self.rater_ids[number], Batch.number == batch)
            ).scalar_one()

    def study(self, session: Session) -> Study:
        return session.get_one(Study, self.study_id)
