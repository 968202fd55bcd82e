"""A whole study, simulated: to plan one, and as proof that the rules hold.

Simulated raters take a study from the first code to the last clip, through the same functions as the pages,
in a temporary database, with a clock of its own. All but the seconds that it takes follows from the seed.
"""

import dataclasses
import heapq
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import select

from annotation.database import Database
from annotation.schema import Rater, Study
from annotation.session import ledger
from annotation.simulated import study as simulated_study
from annotation.simulated.figures import figures
from annotation.simulated.listener import Answers, Listener, Opinion
from annotation.simulated.plans import SimulationPlan
from annotation.studies import create, invite
from core.demo import panel
from core.scales import SCALE_TITLES, SCALES

Progress = Callable[[int, int], None]

_BEGINS = datetime(2026, 1, 5, 8, tzinfo=UTC)
_TELLS_EVERY = 500  # visits
_TEMPERS = ("careless", "straight_lining", "quitting")


def simulate(plan: SimulationPlan, progress: Progress | None = None) -> dict[str, Any]:
    """Simulate a study.

    Parameters
    ----------
    plan : SimulationPlan
    progress : callable or None
        Is told, now and then, how many valid ratings there are and how many the clips need.

    Returns
    -------
    dict
        The plan, the figures of `annotation.simulated.figures.figures` and the ``seconds`` that it took;
        ready for JSON.
    """
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'simulation.sqlite'}")
        try:
            found = _run(database, plan, progress)
        finally:
            database.close()
    asked = {name: value for name, value in dataclasses.asdict(plan).items() if name != "protocol"}
    return {
        **asked,
        **found,
        "seconds": round(time.perf_counter() - began, 1),
        "protocol": plan.protocol.to_json(),
    }


def _run(database: Database, plan: SimulationPlan, progress: Progress | None) -> dict[str, Any]:
    with database.write() as session:
        study = create(session, "simulation", plan.protocol, plan.seed, _BEGINS)
        opinions = simulated_study.fill(
            session, study, plan.clips, plan.systems, plan.anchor_pool, plan.protocol.training, plan.seed
        )
        invite(session, study, plan.raters, _BEGINS)
        raters = session.scalars(select(Rater).where(Rater.study_id == study.id).order_by(Rater.id)).all()
    listeners = _seat(raters, plan)
    _listen(database, study, listeners, opinions, progress)
    with database.read() as session:
        found = figures(session, study, {one.rater.pseudonym: one.kind for one in listeners}, opinions)
    hours = [one.at_work_s / 3600 for one in listeners if one.kind == "honest"]
    return {**found, "hours_per_honest_rater": float(np.median(hours)) if hours else None}


def _seat(raters: Sequence[Rater], plan: SimulationPlan) -> list[Listener]:
    """Give each rater a temper: biased and inconsistent, or one that does not listen."""
    tempers = panel.draw_raters(len(raters), np.random.default_rng((plan.seed, 2)))
    deaf: dict[str, Answers] = {"careless": panel.CarelessRater(), "straight-lining": panel.StraightLiner()}
    return [
        Listener(rater, kind, deaf.get(kind, temper), np.random.default_rng((plan.seed, 3, rater.id)))
        for rater, kind, temper in zip(raters, plan.kinds, tempers, strict=True)
    ]


def _listen(
    database: Database,
    study: Study,
    listeners: Sequence[Listener],
    opinions: Mapping[str, Opinion],
    progress: Progress | None,
) -> None:
    """Let the raters come and go until none of those who still come finds anything to rate."""
    queue = [(_BEGINS, number) for number in range(len(listeners))]
    needed = study.protocol["raters_per_clip"] * sum(name.startswith("stimulus") for name in opinions)
    in_vain = 0  # visits one after the other that found nothing
    for visit in itertools.count():
        if not queue or in_vain > 2 * len(queue):
            return
        at, number = heapq.heappop(queue)
        with database.write() as session:
            session.add(listeners[number].rater)
            returns = listeners[number].act(session, opinions, at)
            if progress and visit % _TELLS_EVERY == 0:
                progress(sum(ledger.valid(session, study.id).values()), needed)
        in_vain = in_vain + 1 if listeners[number].finished else 0
        if returns is not None:
            heapq.heappush(queue, (returns, number))


def simulation_text(found: dict[str, Any]) -> str:
    """Say in a few lines what `simulate` found.

    Parameters
    ----------
    found : dict
    """
    special = ", ".join(f"{found[kind]} {kind.replace('_', '-')}" for kind in _TEMPERS)
    rules = ", ".join(f"{rule} {count}" for rule, count in found["false_alarms_by_rule"].items()) or "none"
    lines = [
        f"{found['clips']} clips of {found['systems']} systems; {found['raters']} raters, of them {special}.",
        f"Valid ratings a clip: {found['valid_per_clip_min']} to {found['valid_per_clip_max']}, by "
        f"{found['different_raters_per_clip_min']} different raters or more.",
        f"Ratings: {found['valid_total']} valid, {found['ratings_total']} given with checks and practice.",
        f"Batches: {found['batches']}, of them {found['batches_excluded']} excluded.",
        f"Careless raters caught (over half of their batches excluded): {found['careless_caught']} "
        f"of {found['careless']}.",
        f"Honest raters' batches excluded: {found['false_alarms']} ({rules}); {_percent(found)}.",
        f"Most often that one rater heard one anchor again: {found['anchor_repeats_max']}.",
        f"It took {found['days']} days with {found['hours_per_honest_rater'] or 0:.1f} hours of work for an "
        f"honest rater; here {found['seconds']} seconds.",
        *found["shortage"],
    ]
    for scale in SCALES:
        of_scale = found["correlation_with_truth"][scale]
        said = ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in of_scale.items())
        lines.append(f"{SCALE_TITLES[scale]}, MOS against the truth: {said}.")
    return "\n".join([*lines, "", *(_rater_line(one) for one in found["panel"])])


def _percent(found: dict[str, Any]) -> str:
    share, expected = found["false_alarm_share"], found["false_alarm_share_expected"]
    return f"{'no batch of theirs' if share is None else f'{share:.1%} of theirs'}, {expected:.1%} expected"


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _rater_line(one: dict[str, Any]) -> str:
    signs = f"  signs: {', '.join(one['flags'])}" if one["flags"] else ""
    excluded = f"{one['batches']} batches, {one['batches_excluded']} excluded"
    return f"{one['rater']}  {one['kind']:<15}  {excluded}{signs}"
