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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import bindparam, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from annotation import access
from annotation.database import Database
from annotation.protocol import Protocol
from annotation.schema import Clip, Rater, Utc
from annotation.session import listening
from annotation.session.listening import Place, Task
from annotation.session.reply import Reply
from annotation.simulated import study as simulated_study
from annotation.simulated.plans import StressPlan
from annotation.studies import create, invite
from core.errors import AccessError, MusicEvalError

T = TypeVar("T")

CALLS = ("next_trial", "clip", "submit")
_LEASE_S = 3.0
_RULES = Protocol(
    batch_size=5, anchors=1, duplicates=1, duplicate_distance=2, training=0, lease_minutes=_LEASE_S / 60
)
_STARTING_S = 60.0  # for all processes to be ready
_READS_EVERY_S = 0.02
_LOOKS_AGAIN_S = 0.2
_FAILS_BATCH, _STAYS_AWAY, _SENDS_TWICE = 0.15, 0.02, 0.05  # chances: of a batch, and of a trial

# Written anew, so that it shares no mistake with `annotation.session.ledger`.
_CLAIMS = text(
    """
    SELECT COUNT(*), COUNT(DISTINCT trials.rater_id), SUM(trials.state = 'rated' AND batches.state = 'valid')
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


def stress(plan: StressPlan) -> dict[str, Any]:
    """Let many raters loose on a study in a temporary database.

    Parameters
    ----------
    plan : StressPlan

    Returns
    -------
    dict
        The plan, ``claims_max`` (most claims that any clip ever had) beside ``raters_per_clip``, how often
        the ledger was read, ``errors``, and how long the calls took, waiting for each other included; ready
        for JSON. A call is ``refused`` where a rater comes back too late; they then ask for their place.
    """
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'stress.sqlite'}"
        database = Database(url)
        try:
            visits = _set_up(database, plan)
            began = time.perf_counter()
            watched, notes = _let_loose(database, url, visits, plan)
        finally:
            database.close()
    seconds = {name: [one for note in notes for one in note.seconds[name]] for name in CALLS}
    errors = [error for note in notes for error in note.errors]
    return {
        **asdict(plan),
        "raters_per_clip": _RULES.raters_per_clip,
        **asdict(watched),
        "errors": len(errors),
        "error_messages": sorted(set(errors))[:10],
        "refused": sum(note.refused for note in notes),
        "seconds": round(time.perf_counter() - began, 1),
        "calls": {name: _quantiles(seconds[name]) for name in CALLS},
    }


def _set_up(database: Database, plan: StressPlan) -> list[str]:
    """Write a study and sign its raters in; give their visit tokens."""
    with database.write() as session:
        at = datetime.now(UTC)
        study = create(session, "stress", _RULES, plan.seed, at)
        simulated_study.fill(session, study, plan.clips, min(plan.clips, 10), 20, 0, plan.seed)
        for clip in session.scalars(select(Clip).where(Clip.study_id == study.id)):
            clip.duration_s = 0.0
        invited = invite(session, study, plan.processes * plan.threads, at)
        return [access.enter(session, code, at) for _, code in invited]


def _let_loose(
    database: Database, url: str, visits: Sequence[str], plan: StressPlan
) -> tuple[Watched, list[Notes]]:
    context = multiprocessing.get_context("spawn")
    ready, stop = context.Barrier(plan.processes + 1), context.Event()
    readers, processes = [], []
    for number in range(plan.processes):
        reader, writer = context.Pipe(duplex=False)
        theirs = visits[number :: plan.processes]
        processes.append(
            context.Process(
                target=_process, args=(url, theirs, plan, number, ready, stop, writer), daemon=True
            )
        )
        processes[-1].start()
        writer.close()  # ours; so that a process that dies is an end of file, not a wait for ever
        readers.append(reader)
    try:
        ready.wait(_STARTING_S)
        watched = _watch(database, plan, lambda: all(process.is_alive() for process in processes))
    finally:
        stop.set()
    notes = [reader.recv() for reader in readers]
    for process in processes:
        process.join()
    return watched, notes


def _watch(database: Database, plan: StressPlan, running: Callable[[], bool]) -> Watched:
    """Read the ledger until every clip is done, the time is over or a process has died."""
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


def _process(
    url: str,
    visits: Sequence[str],
    plan: StressPlan,
    number: int,
    ready: Barrier,
    stop: Event,
    writer: Connection,
) -> None:
    """Be one server process: a thread for each rater."""
    database, notes = Database(url), Notes()
    raters = [
        _Rater(database, visit, notes, plan.pause_s, np.random.default_rng((plan.seed, number, place)))
        for place, visit in enumerate(visits)
    ]
    with ThreadPoolExecutor(len(raters)) as pool:
        list(pool.map(_Rater.agree, raters))  # which also opens each thread's connection
        ready.wait(_STARTING_S)
        for future in [pool.submit(rater.rate_until, stop) for rater in raters]:
            future.result()
    database.close()
    writer.send(notes)


class _Rater:
    """A rater in a hurry."""

    def __init__(
        self, database: Database, visit: str, notes: Notes, pause_s: float, random: np.random.Generator
    ) -> None:
        self._database, self._visit, self._notes = database, visit, notes
        self._pause_s, self._random = pause_s, random

    def agree(self) -> None:
        """Give consent, before the others are let loose."""
        with self._database.write() as session:
            listening.about(session, access.authorise(session, self._visit), {}, datetime.now(UTC))

    def rate_until(self, stop: Event) -> None:
        """Take what there is to rate, again and again."""
        while not stop.is_set():
            place = self._call("next_trial", listening.start)
            point = 1 if self._random.random() < _FAILS_BATCH else 4
            while place is not None and place.task is not None and not stop.is_set():
                place = self._rate(place.task, point)
            time.sleep(_LOOKS_AGAIN_S)

    def _rate(self, task: Task, point: int) -> Place | None:
        def serve(session: Session, rater: Rater, at: datetime) -> str:
            return listening.serve(session, rater, task.token, at)

        def submit(session: Session, rater: Rater, at: datetime) -> Place:
            return listening.submit(session, rater, task.token, Reply(point, point), at).place

        if self._call("clip", serve) is None:
            return None
        if self._random.random() < _STAYS_AWAY:
            time.sleep(_LEASE_S * 1.2)
        if self._random.random() < _SENDS_TWICE:
            self._call("submit", submit)
        return self._call("submit", submit)

    def _call(self, name: str, action: Callable[[Session, Rater, datetime], T]) -> T | None:
        """Do what a request of the page does; None where it was refused."""
        time.sleep(self._random.exponential(self._pause_s))
        began = time.perf_counter()
        try:
            with self._database.write() as session:
                at = datetime.now(UTC)
                found = action(session, access.authorise(session, self._visit), at)
        except AccessError:
            self._notes.refused += 1
            return None
        except (SQLAlchemyError, MusicEvalError) as error:
            self._notes.errors.append(f"{name}: {error}")
            return None
        self._notes.seconds[name].append(time.perf_counter() - began)
        return found


def _quantiles(seconds: Sequence[float]) -> dict[str, float]:
    if not seconds:
        return {"count": 0}
    p50, p95, most = (round(1000 * float(value), 1) for value in np.quantile(seconds, (0.5, 0.95, 1.0)))
    return {"count": len(seconds), "p50_ms": p50, "p95_ms": p95, "max_ms": most}


def stress_text(found: dict[str, Any]) -> str:
    """Say in a few lines what `stress` found."""
    lines = [
        f"{found['processes']} processes of {found['threads']} raters at once on one database file, "
        f"{found['clips']} clips, {found['seconds']} s",
        f"most claims (leased, pending and valid) of a clip: {found['claims_max']} of "
        f"{found['raters_per_clip']}, in {found['snapshots']} readings",
        f"valid ratings a clip at the end: {found['valid_min']} to {found['valid_max']}"
        + ("" if found["done"] else "; not all were done in time"),
        f"errors: {found['errors']}; calls refused to raters who came back too late: {found['refused']}",
    ]
    lines += [f"  {message}" for message in found["error_messages"]]
    names = {"next_trial": "next trial", "clip": "clip", "submit": "submit"}
    for name, times in found["calls"].items():
        if times["count"]:
            lines.append(
                f"{names[name]:<11} p50 {times['p50_ms']:7.1f} ms   p95 {times['p95_ms']:7.1f} ms   "
                f"max {times['max_ms']:7.1f} ms   {times['count']} calls"
            )
    return "\n".join(lines)
