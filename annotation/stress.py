"""Many raters at once, in several processes on one database file: proof that the ledger holds, and how fast.

Every thread is a rater who goes through a study as fast as the server lets them. Some answer so that their
batch is excluded, some stay away until their lease has lapsed, some send an answer twice. Meanwhile the
ledger is read again and again: leased, pending and valid together may never be more than the raters that a
clip needs. Clips last no time here, so that raters wait for nothing but the server.

The time of an action is read inside its write transaction. Read before, it would be old by the time the lock
was had: a rater could then go on with a lease that had lapsed for others, and they with the same clips.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import bindparam, select, text, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.plans import StressPlan
from annotation.protocol import Protocol
from annotation.schema import Clip, Rater, Utc
from annotation.session import listening
from annotation.session.answers import Reply
from annotation.session.listening import RaterStep, Task
from annotation.simulate import fill
from annotation.studies import authorise, create, enter, invite
from core.errors import AccessError, MusicEvalError
from core.scales import MUSICEVAL, keys

T = TypeVar("T")

CALLS = {"next_trial": "next trial", "clip": "clip", "submit": "submit"}  # as JSON and as the text name them
_LEASE_S = 3.0
_RULES = Protocol(batch_size=5, anchors=1, duplicates=1, duplicate_distance=2, training=0, lease_minutes=_LEASE_S / 60)
_STARTING_S = 60.0  # for all processes to be ready
_READS_EVERY_S = 0.02
_LOOKS_AGAIN_S = 0.2
_FAILS_BATCH, _STAYS_AWAY, _SENDS_TWICE = 0.15, 0.02, 0.05  # chances: of a batch, and of a trial

# Written anew, so that it shares no mistake with `annotation.session.ledger`.
_CLAIMS = text(
    """
    SELECT COUNT(*), COUNT(DISTINCT trials.rater_id),
        SUM(CASE WHEN trials.state = 'rated' AND batches.state = 'valid' THEN 1 ELSE 0 END)
    FROM trials JOIN batches ON batches.id = trials.batch_id
    WHERE trials.role = 'stimulus' AND (
        trials.state = 'rated' AND batches.state <> 'excluded'
        OR trials.state = 'open' AND batches.state = 'open' AND batches.lease_until > :at
    )
    GROUP BY trials.clip_id
    """
).bindparams(bindparam("at", type_=Utc()))


@dataclass
class Watched:
    """What reading the ledger all the while has shown."""

    snapshots: int = 0
    claims_max: int = 0
    valid_min: int = 0
    valid_max: int = 0
    different_raters: bool = True
    done: bool = False


@dataclass
class Notes:
    """What raters of one process met with: seconds by call, calls refused, errors."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in CALLS})
    refused: int = 0
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Stress:
    """What came of it. A call is refused where a rater comes back too late; they then ask for their place."""

    plan: StressPlan
    watched: Watched
    notes: Notes
    seconds: float

    @property
    def messages(self) -> list[str]:
        """The different errors, ten at most."""
        return sorted(set(self.notes.errors))[:10]

    def calls(self) -> dict[str, dict[str, float]]:
        """Quantiles of the time that calls took, waiting for each other included."""
        found: dict[str, dict[str, float]] = {}
        for name, seconds in self.notes.seconds.items():
            found[name] = {"count": len(seconds)}
            for key, quantile in (("p50_ms", 0.5), ("p95_ms", 0.95), ("max_ms", 1.0)):
                if seconds:
                    found[name][key] = round(float(np.quantile(seconds, quantile)) * 1000, 1)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what ``stress --json`` prints."""
        return {
            **asdict(self.plan),
            "raters_per_clip": _RULES.raters_per_clip,
            **asdict(self.watched),
            "errors": len(self.notes.errors),
            "error_messages": self.messages,
            "refused": self.notes.refused,
            "seconds": self.seconds,
            "calls": self.calls(),
        }

    def text(self) -> str:
        """Say in a few lines what was found."""
        plan, watched = self.plan, self.watched
        lines = [
            f"{plan.processes} processes of {plan.threads} raters at once on one database file, "
            f"{plan.clips} clips, {self.seconds} s",
            f"most claims (leased, pending and valid) of a clip: {watched.claims_max} of "
            f"{_RULES.raters_per_clip}, in {watched.snapshots} readings",
            f"valid ratings a clip at the end: {watched.valid_min} to {watched.valid_max}"
            + ("" if watched.done else "; not all were done in time"),
            f"errors: {len(self.notes.errors)}; calls refused to raters who came back too late: {self.notes.refused}",
        ]
        lines += [f"  {message}" for message in self.messages]
        lines += [
            f"{CALLS[name]:<11} p50 {times['p50_ms']:7.1f} ms   p95 {times['p95_ms']:7.1f} ms   "
            f"max {times['max_ms']:7.1f} ms   {times['count']} calls"
            for name, times in self.calls().items()
            if times["count"]
        ]
        return "\n".join(lines)


def stress(plan: StressPlan) -> Stress:
    """Let many raters loose on a study in a temporary database."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'stress.sqlite'}"
        database = Database(url)
        try:
            visits = set_up(database, plan)
            began = time.perf_counter()
            watched, notes = _let_loose(database, url, visits, plan)
        finally:
            database.close()
    return Stress(plan, watched, notes, round(time.perf_counter() - began, 1))


def set_up(database: Database, plan: StressPlan) -> list[str]:
    """Write a study and sign its raters in; return their visit tokens."""
    with database.write() as session:
        at = datetime.now(UTC)
        study = create(session, "stress", _RULES, plan.seed, at)
        fill(session, study, plan.clips, min(plan.clips, 10), 20, 0, plan.seed)
        session.execute(update(Clip).where(Clip.study_id == study.id).values(duration_s=0.0))
        invited = invite(session, study, plan.processes * plan.threads, at)
        return [enter(session, code, at) for _, code in invited]


def _let_loose(database: Database, url: str, visits: Sequence[str], plan: StressPlan) -> tuple[Watched, Notes]:
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Barrier(plan.processes + 1), context.Event()
    with ProcessPoolExecutor(plan.processes, context, _share, (ready, stop)) as pool:
        done = [
            pool.submit(_process, url, visits[number :: plan.processes], plan, number)
            for number in range(plan.processes)
        ]
        try:
            ready.wait(_STARTING_S)
            watched = watch(database, plan, lambda: not any(future.done() for future in done))
        finally:
            stop.set()
        everyone = [future.result() for future in done]
    return watched, Notes(
        {name: [one for notes in everyone for one in notes.seconds[name]] for name in CALLS},
        sum(notes.refused for notes in everyone),
        [error for notes in everyone for error in notes.errors],
    )


def watch(database: Database, plan: StressPlan, running: Callable[[], bool]) -> Watched:
    """Read the ledger until every clip is done, the time is over or a process has ended."""
    watched, ends = Watched(), time.monotonic() + plan.most_s
    while not watched.done and time.monotonic() < ends and running():
        with database.read() as session:
            session.scalar(select(Clip.id).limit(1))  # from here on, one state of the database
            rows = session.execute(_CLAIMS, {"at": datetime.now(UTC)}).all()
        claims, raters, valid = zip(*rows, strict=True) if rows else ((0,), (0,), (0,))
        watched.snapshots += 1
        watched.claims_max = max(watched.claims_max, *claims)
        watched.different_raters &= claims == raters
        watched.valid_min, watched.valid_max = min(valid) if len(rows) == plan.clips else 0, max(valid)
        watched.done = watched.valid_min >= _RULES.raters_per_clip
        time.sleep(_READS_EVERY_S)
    return watched


_shared: dict[str, Any] = {}  # of a process: what can be handed to it only while it starts


def _share(ready: Barrier, stop: Event) -> None:
    _shared.update(ready=ready, stop=stop)


def _process(url: str, visits: Sequence[str], plan: StressPlan, number: int) -> Notes:
    """Be one server process: a thread for each rater."""
    database, notes = Database(url), Notes()
    raters = [
        _Rater(database, visit, notes, plan.pause_s, np.random.default_rng((plan.seed, number, place)))
        for place, visit in enumerate(visits)
    ]
    with ThreadPoolExecutor(len(raters)) as pool:
        list(pool.map(_Rater.agree, raters))  # which also opens each thread's connection
        _shared["ready"].wait(_STARTING_S)
        for future in [pool.submit(rater.rate_until, _shared["stop"]) for rater in raters]:
            future.result()
    database.close()
    return notes


@dataclass(frozen=True)
class _Rater:
    """A rater in a hurry."""

    database: Database
    visit: str
    notes: Notes
    pause_s: float
    random: np.random.Generator

    def agree(self) -> None:
        """Give consent, before the others are let loose."""
        with self.database.write() as session:
            at = datetime.now(UTC)
            listening.about(session, authorise(session, self.visit, at), {}, at)

    def rate_until(self, stop: Event) -> None:
        """Take what there is to rate, again and again."""
        while not stop.is_set():
            place = self._call("next_trial", listening.start)
            point = 1 if self.random.random() < _FAILS_BATCH else 4
            while place is not None and place.task is not None and not stop.is_set():
                place = self._rate(place.task, point)
            time.sleep(_LOOKS_AGAIN_S)

    def _rate(self, task: Task, point: int) -> RaterStep | None:
        reply = Reply(dict.fromkeys(keys(MUSICEVAL), point))

        def serve(session: Session, rater: Rater, at: datetime) -> str:
            return listening.serve(session, rater, task.token, at)

        def submit(session: Session, rater: Rater, at: datetime) -> RaterStep:
            return listening.submit(session, rater, task.token, reply, at).place

        if self._call("clip", serve) is None:
            return None
        if self.random.random() < _STAYS_AWAY:
            time.sleep(_LEASE_S * 1.2)
        if self.random.random() < _SENDS_TWICE:
            self._call("submit", submit)
        return self._call("submit", submit)

    def _call(self, name: str, action: Callable[[Session, Rater, datetime], T]) -> T | None:
        """Do what a request of the page does; None where it was refused."""
        time.sleep(self.random.exponential(self.pause_s))
        began = time.perf_counter()
        try:
            with self.database.write() as session:
                at = datetime.now(UTC)
                found = action(session, authorise(session, self.visit, at), at)
        except AccessError:
            self.notes.refused += 1
            return None
        except (SQLAlchemyError, MusicEvalError) as error:
            self.notes.errors.append(f"{name}: {error}")
            return None
        self.notes.seconds[name].append(time.perf_counter() - began)
        return found
