"""A whole study, simulated: to plan one, and as proof that the rules hold.

Simulated raters take a study from the first code to the last clip, through the same functions as the pages, in
a temporary database, with a clock of its own. Clips have no sound here, but a hidden truth: what the panel of
`core.demo.panel` at large would say of them. Everything but the time that it takes follows from the seed.
"""

import heapq
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.protocol import Protocol
from annotation.results import ratings_table
from annotation.schema import Clip, Prompt, Rater, Study, System
from annotation.simulated_listener import Answers, Listener, Opinion
from annotation.simulation_figures import figures
from annotation.studies import create, invite
from core.demo import panel
from core.errors import StudyError

_BEGINS = datetime(2026, 1, 5, 8, tzinfo=UTC)
_DURATIONS_S = (10.0, 40.0)  # the released clips of MusicEval have a median of 25 s
_ANCHOR_MEAN = 4.3
# With a rater's bias and inconsistency this makes answers to anchors with a standard deviation of 0.8.
_ANCHOR_SD = 0.59
_THINKS_S = {"honest": 8.0, "gives up": 8.0, "straight-lining": 1.5, "careless": 1.0}


def _flag(default: int, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class SimulationPlan:
    """The study to simulate; by default of the paper's size.

    Raises
    ------
    StudyError
        If there are too few of something.
    """

    clips: int = _flag(2748, "clips to rate")
    systems: int = _flag(31, "systems that made them")
    raters: int = _flag(14, "raters, all kinds together")
    careless: int = _flag(2, "raters who answer at random")
    straight_lining: int = _flag(0, 'raters who say "good" to everything')
    quitting: int = _flag(2, "honest raters who leave in the middle of batches, some for good")
    anchor_pool: int = _flag(147, "hidden human-made clips to draw from")
    seed: int = _flag(1, "from which everything is drawn")
    protocol: Protocol = field(default=Protocol(), metadata={"meaning": "rules of the study"})

    def __post_init__(self) -> None:
        lowest = {"clips": 1, "systems": 1, "raters": 1, "anchor_pool": self.protocol.anchors} | dict.fromkeys(
            ("careless", "straight_lining", "quitting", "seed"), 0
        )
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise StudyError(f"{name} is {getattr(self, name)}; it must be at least {low}.")
        if self.systems > self.clips:
            raise StudyError(f"{self.systems} systems cannot share {self.clips} clips; give each one or more.")
        if self.careless + self.straight_lining + self.quitting > self.raters:
            raise StudyError("The careless, straight-lining and quitting raters are more than all raters.")

    @property
    def kinds(self) -> list[str]:
        """What each rater is like."""
        special = {"careless": self.careless, "straight-lining": self.straight_lining, "gives up": self.quitting}
        kinds = [kind for kind, count in special.items() for _ in range(count)]
        return kinds + ["honest"] * (self.raters - len(kinds))


def simulate(plan: SimulationPlan, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Simulate a study.

    Parameters
    ----------
    plan : SimulationPlan
    progress : callable or None
        Is told, now and then, how many ratings were given and how many the clips need.

    Returns
    -------
    dict
        The figures of `annotation.simulation_figures.figures`, ready for JSON.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'simulation.sqlite'}")
        try:
            return _run(database, plan, progress, started)
        finally:
            database.close()


def _run(
    database: Database, plan: SimulationPlan, progress: Callable[[int, int], None] | None, started: float
) -> dict[str, Any]:
    with database.write() as session:
        study = create(session, "simulation", plan.protocol, plan.seed, _BEGINS)
        opinions = _fill(session, study, plan)
        invite(session, study, plan.raters, _BEGINS)
        raters = session.scalars(select(Rater).where(Rater.study_id == study.id).order_by(Rater.id)).all()
    listeners = _seat(list(raters), plan)
    ended = _listen(database, study, listeners, opinions, progress)
    with database.read() as session:
        ratings = ratings_table(session, study)
        found = figures(session, study, ratings, dict(zip((r.pseudonym for r in raters), plan.kinds, strict=True)))
    ...
