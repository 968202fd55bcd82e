"""A whole study, simulated: to plan one, and as proof that the rules hold.

Simulated raters take a study from the first code to the last clip, through the same functions as the pages,
in a temporary database, with a clock of its own. All but the seconds that it takes follows from the seed.

There is no sound, but a hidden truth about each clip: what a panel at large would say of it, in points on
each scale. A system has a quality from 1.9 to 4.4, on each scale a little more or less; a clip lies around
its system. The spread is about that of the simulated panel that the embedded judge learned from: systems
have a standard deviation of 0.5 to 0.7, all clips one of 0.8 to 1.0. Anchors stand for human-made music that
nearly everyone likes.

A rater adds a bias of their own and an inconsistency to the truth, and answers in whole points from 1 to 5.
"""

import dataclasses
import heapq
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.plans import SimulationPlan
from annotation.results.agreement import correlation
from annotation.results.progress import progress
from annotation.results.ratings import ratings_table
from annotation.results.reliability import RaterReliability, reliability
from annotation.results.scores import Results, mos_table
from annotation.rules import BIAS_SD, INCONSISTENCY_SD, false_alarms
from annotation.schema import Batch, Clip, Prompt, Rater, Study, System
from annotation.session import ledger, listening
from annotation.session.answers import Reply
from annotation.session.exclusions import in_force
from annotation.session.listening import RaterStep, Task
from annotation.studies import create, invite
from core.errors import counted
from core.scales import MUSICEVAL, Scales, keys

Points = NDArray[np.float64]  # one number a scale, in the order of the study's
Random = np.random.Generator

THINKS_S = {"honest": 8.0, "quitting": 8.0, "straight-lining": 1.5, "careless": 0.5}  # median, after the clip

_SYSTEM_QUALITY = (1.9, 4.4)
_SYSTEM_SD = 0.35  # of a system on one scale, around its quality
_CLIP_SD = 0.6  # of a clip on one scale, around its system
_ANCHOR_MEAN = 4.3
_ANCHOR_SD = 0.59  # with a rater's bias and inconsistency, answers to anchors have one of 0.8
_DURATIONS_S = (10.0, 40.0)  # the clips of MusicEval have a median of 25 s

_BEGINS = datetime(2026, 1, 5, 8, tzinfo=UTC)
_BREAK_S, _NIGHT_S = 600.0, 64_800.0
_BATCHES_A_DAY = 3  # on average
_LOOKS_AGAIN_S = 43_200.0  # whether clips have come free
_LEAVES = 0.02  # chance at each trial that a quitting rater closes the page
_NEVER_RETURNS = 0.05
_AWAY_S = (1_800.0, 18_000.0, 259_200.0, 864_000.0)  # within and beyond lease and closing
_TOGETHER = 500  # visits in a transaction: one each would take a fifth longer


def draw_truth(systems: int, clips_each: int, n_scales: int, seed: int) -> Points:
    """Draw what a panel at large would say: systems by clips by scales."""
    random = np.random.default_rng((seed, 4))
    quality = random.uniform(*_SYSTEM_QUALITY, (systems, 1, 1))
    quality = quality + random.normal(0, _SYSTEM_SD, (systems, 1, n_scales))
    return np.clip(quality + random.normal(0, _CLIP_SD, (systems, clips_each, n_scales)), 1, 5)


def fill(
    session: Session, study: Study, clips: int, systems: int, anchors: int, practice: int, seed: int
) -> dict[str, Points]:
    """Write a study's systems, prompts and clips; return the truth by the clip's opaque name.

    The clips are shared evenly by the systems, which all have the same prompts.
    """
    random, n_scales = np.random.default_rng((seed, 1)), len(study.scales)
    truth = draw_truth(systems, -(-clips // systems), n_scales, seed)
    anchor_truth = random.normal(_ANCHOR_MEAN, _ANCHOR_SD, (anchors, n_scales))
    practice_truth = random.uniform(1.0, 5.0, (practice, n_scales))
    listed = [
        ("stimulus", f"S{index % systems + 1:03d}", index // systems, truth[index % systems, index // systems])
        for index in range(clips)
    ]
    listed += [("anchor", "human", number, points) for number, points in enumerate(anchor_truth)]
    listed += [("practice", "human", number, points) for number, points in enumerate(practice_truth)]
    makers = {name: System(study_id=study.id, name=name) for name in sorted({row[1] for row in listed})}
    prompts = {
        (kind, number): Prompt(study_id=study.id, text=f"A prompt for the {kind} {number + 1}")
        for kind, number in sorted({(row[0], row[2]) for row in listed})
    }
    session.add_all([*makers.values(), *prompts.values()])
    session.flush()
    names = [f"{kind}-{index}" for index, (kind, *_) in enumerate(listed)]  # opaque to nobody; nobody looks
    rows = [
        {
            "study_id": study.id,
            "kind": kind,
            "system_id": makers[system].id,
            "prompt_id": prompts[kind, number].id,
            "name": name,
            "source_file": name,
            "source_sha256": name,
            "duration_s": round(float(random.uniform(*_DURATIONS_S)), 2),
            "gain_db": 0.0,
            "gain_lowered": False,
            "added_at": study.created_at,
        }
        for name, (kind, system, number, _) in zip(names, listed, strict=True)
    ]
    session.execute(insert(Clip), rows)
    return {name: row[3] for name, row in zip(names, listed, strict=True)}


@dataclass
class Listener:
    """A simulated rater at work; `finished` tells that there was nothing left to rate at the last visit.

    A quitting one leaves mid-batch now and then: for half an hour, for days, for good.
    """

    rater: Rater
    kind: str  # one of `THINKS_S`
    bias: Points
    random: Random
    at_work_s: float = 0.0
    finished: bool = False
    _task: Task | None = None  # on the page, its clip playing
    _clip: str = ""

    def answer(self, truth: Points) -> list[int]:
        """Answer on every scale, given what the panel at large would say."""
        match self.kind:
            case "careless":
                return [int(point) for point in self.random.integers(1, 6, len(truth))]
            case "straight-lining":
                return [4] * len(truth)
        said = truth + self.bias + self.random.normal(0, INCONSISTENCY_SD, len(truth))
        return [int(point) for point in np.clip(np.rint(said), 1, 5)]

    def visit(self, session: Session, truth: Mapping[str, Points], at: datetime) -> datetime | None:
        """Do what the page does, in a write transaction; return when the rater comes again, or None."""
        place = self._arrive(session, at) if self._task is None else self._rate(session, self._task, truth, at)
        self.finished = place.message == "complete"
        self._task = place.task
        if place.message == "held":
            return None  # paused for failed batches, and nobody lets them go on
        if place.task is None:
            return at + timedelta(seconds=_LOOKS_AGAIN_S if place.step == "done" else self._rest_s())
        if self.kind == "quitting" and self.random.random() < _LEAVES:
            self._task = None  # the page is closed; coming back means asking for one's place again
            gone = self.random.random() < _NEVER_RETURNS
            return None if gone else at + timedelta(seconds=float(self.random.choice(_AWAY_S)))
        self._clip = listening.serve(session, self.rater, place.task.token, at)
        needed_s = place.task.duration_s + THINKS_S[self.kind] * float(self.random.lognormal(0.0, 0.4))
        self.at_work_s += needed_s
        return at + timedelta(seconds=needed_s)

    def _arrive(self, session: Session, at: datetime) -> RaterStep:
        place = listening.start(session, self.rater, at)
        return listening.about(session, self.rater, {}, at) if place.step == "about" else place

    def _rate(self, session: Session, task: Task, truth: Mapping[str, Points], at: datetime) -> RaterStep:
        scores = dict(zip(keys(self.rater.study.scales), self.answer(truth[self._clip]), strict=True))
        reply = Reply(scores, "", [[0.0, task.duration_s]])
        return listening.submit(session, self.rater, task.token, reply, at).place

    def _rest_s(self) -> float:
        return _NIGHT_S if self.random.random() < 1 / _BATCHES_A_DAY else _BREAK_S


@dataclass(frozen=True)
class Simulation:
    """What came of a simulated study: whether every clip is done, who was caught, what it cost."""

    plan: SimulationPlan
    scales: Scales
    valid_per_clip_min: int
    valid_per_clip_max: int
    different_raters_per_clip_min: int
    valid_total: int
    ratings_total: int
    anchor_repeats_max: int
    batches: int
    batches_excluded: int
    careless_caught: int
    false_alarms: int
    false_alarms_by_rule: dict[str, int]
    false_alarm_share: float | None
    false_alarm_share_expected: float
    days: float
    correlation_with_truth: dict[str, dict[str, float | None]]
    panel: list[tuple[str, RaterReliability]]  # what each rater is like, and what the report shows of them
    shortage: list[str]
    hours_per_honest_rater: float | None
    system_half_intervals: dict[str, float | None]  # by scale: half the width of the systems' intervals, the median
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return what ``simulate --json`` prints."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del found["plan"], found["scales"]
        found["panel"] = [{"kind": kind, **rater.to_json()} for kind, rater in self.panel]
        asked = dataclasses.asdict(self.plan)
        return {**asked, **found}

    @property
    def summary(self) -> str:
        """Say in a sentence what the study would cost and give."""
        plan, lost = self.plan, self.false_alarm_share
        by_scale = ((scale.short, self.system_half_intervals[scale.key]) for scale in self.scales)
        known = [f"±{half:.2f} ({short})" for short, half in by_scale if half is not None]
        return (
            f"{counted(plan.systems, 'system')}, {counted(plan.clips, 'clip')}, {counted(plan.raters, 'rater')}: "
            f"{self.hours_per_honest_rater or 0:.1f} h each, over {self.days:g} days; "
            f"{lost or 0:.1%} of honest batches fail by chance; intervals of systems: "
            f"{', '.join(known) or 'none, for too few clips or raters'}."
        )

    def text(self) -> str:
        """Say in a few lines what was found."""
        plan, share = self.plan, self.false_alarm_share
        special = f"{plan.careless} careless, {plan.straight_lining} straight-lining, {plan.quitting} quitting"
        rules = ", ".join(f"{rule} {count}" for rule, count in self.false_alarms_by_rule.items()) or "none"
        of_theirs = "no batch of theirs" if share is None else f"{share:.1%} of theirs"
        lines = [
            f"{plan.clips} clips of {plan.systems} systems; {plan.raters} raters, of them {special}.",
            f"Valid ratings a clip: {self.valid_per_clip_min} to {self.valid_per_clip_max}, by "
            f"{self.different_raters_per_clip_min} different raters or more.",
            f"Ratings: {self.valid_total} valid, {self.ratings_total} given with checks and practice.",
            f"Batches: {self.batches}, of them {self.batches_excluded} excluded.",
            f"Careless raters caught (over half of their batches excluded): {self.careless_caught} of {plan.careless}.",
            f"Honest raters' batches excluded: {self.false_alarms} ({rules}); {of_theirs}, "
            f"{self.false_alarm_share_expected:.1%} expected.",
            f"Most often that one rater heard one anchor again: {self.anchor_repeats_max}.",
            self.summary,
            f"It took {self.days} days with {self.hours_per_honest_rater or 0:.1f} hours of work for an "
            f"honest rater; here {self.seconds} seconds.",
            *self.shortage,
        ]
        for scale in self.scales:
            found = self.correlation_with_truth[scale.key].items()
            said = (f"{name.replace('_', ' ')} {'unknown' if r is None else f'{r:.3f}'}" for name, r in found)
            lines.append(f"{scale.title}, MOS against the truth: {', '.join(said)}.")
        lines.append("")
        for kind, rater in self.panel:
            signs = f"  signs: {', '.join(rater.flags)}" if rater.flags else ""
            excluded = f"{rater.batches} batches, {rater.batches_excluded} excluded"
            lines.append(f"{rater.rater}  {kind:<15}  {excluded}{signs}")
        return "\n".join(lines)


def simulate(
    plan: SimulationPlan, report: Callable[[int, int], None] | None = None, scales: Scales = MUSICEVAL
) -> Simulation:
    """Simulate a study."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'simulation.sqlite'}", durable=False)
        try:
            with database.write() as session:
                study = create(session, "simulation", plan.protocol, plan.seed, _BEGINS, scales=scales)
                truth = fill(
                    session, study, plan.clips, plan.systems, plan.anchor_pool, plan.protocol.training, plan.seed
                )
                invite(session, study, plan.raters, _BEGINS)
                of_study = select(Rater).where(Rater.study_id == study.id).order_by(Rater.id)
                listeners = _seat(session.scalars(of_study).all(), plan, len(scales))
            _listen(database, study, listeners, truth, report)
            with database.read() as session:
                found = _figures(session, study, listeners, truth)
        finally:
            database.close()
    return Simulation(plan=plan, scales=scales, **found, seconds=round(time.perf_counter() - began, 1))


def _seat(raters: Sequence[Rater], plan: SimulationPlan, n_scales: int) -> list[Listener]:
    biases = np.random.default_rng((plan.seed, 2)).normal(0, BIAS_SD, (len(raters), n_scales))
    return [
        Listener(rater, kind, bias, np.random.default_rng((plan.seed, 3, rater.id)))
        for rater, kind, bias in zip(raters, plan.kinds, biases, strict=True)
    ]


def _listen(
    database: Database,
    study: Study,
    listeners: Sequence[Listener],
    truth: Mapping[str, Points],
    report: Callable[[int, int], None] | None,
) -> None:
    """Let the raters come and go until none of those who still come finds anything to rate."""
    queue = [(_BEGINS, number) for number in range(len(listeners))]
    needed = study.protocol.raters_per_clip * sum(name.startswith("stimulus") for name in truth)
    in_vain = 0  # visits one after the other that found nothing
    while True:
        with database.write() as session:
            if report:
                report(sum(ledger.valid(session, study.id).values()), needed)
            for _ in range(_TOGETHER):
                if not queue or in_vain > 2 * len(queue):
                    return
                at, number = heapq.heappop(queue)
                session.add(listeners[number].rater)
                returns = listeners[number].visit(session, truth, at)
                session.flush()
                session.expunge_all()  # the next visit is another request
                in_vain = in_vain + 1 if listeners[number].finished else 0
                if returns is not None:
                    heapq.heappush(queue, (returns, number))


def _figures(
    session: Session, study: Study, listeners: Sequence[Listener], truth: Mapping[str, Points]
) -> dict[str, Any]:
    """Count what came of a study: the fields of `Simulation`, but what was asked and the time it took."""
    kinds = {listener.rater.pseudonym: listener.kind for listener in listeners}
    ratings, batches = ratings_table(session, study), _batches(session, study, kinds)
    honest = batches[batches["kind"].isin(("honest", "quitting"))]
    excluded = batches["state"] == "excluded"
    shares = excluded.groupby(batches["rater"]).mean()
    mistaken = honest[honest["state"] == "excluded"]
    at = ratings["given_at"].max() if len(ratings) else pd.Timestamp(study.created_at)
    hours = [listener.at_work_s / 3600 for listener in listeners if listener.kind == "honest"]
    return {
        **_ledger(session, study, ratings),
        "batches": len(batches),
        "batches_excluded": int(excluded.sum()),
        "careless_caught": sum(kinds[rater] == "careless" and share > 0.5 for rater, share in shares.items()),
        "false_alarms": len(mistaken),
        "false_alarms_by_rule": dict(Counter(mistaken["rule"])),
        "false_alarm_share": len(mistaken) / len(honest) if len(honest) else None,
        "false_alarm_share_expected": false_alarms(study.protocol, study.scales)["either"],
        "days": round((at - pd.Timestamp(study.created_at)).total_seconds() / 86_400, 1),
        "correlation_with_truth": _correlations(ratings, study.scales, truth),
        "panel": [(kinds[one.rater], one) for one in reliability(ratings, study.scales).raters],
        "shortage": progress(session, study, at.to_pydatetime()).shortage,
        "hours_per_honest_rater": float(np.median(hours)) if hours else None,
        "system_half_intervals": _half_intervals(ratings, study.scales),
    }


def _half_intervals(ratings: pd.DataFrame, scales: Scales) -> dict[str, float | None]:
    systems = Results.of(ratings, scales).systems
    widths = {key: (systems[f"{key}_high"] - systems[f"{key}_low"]).median() / 2 for key in keys(scales)}
    return {key: None if pd.isna(width) else float(width) for key, width in widths.items()}


def _ledger(session: Session, study: Study, ratings: pd.DataFrame) -> dict[str, int]:
    """Count by clip what is rated in batches that count, whether or not the clip needs it."""
    names = session.scalars(select(Clip.name).where(Clip.study_id == study.id, Clip.kind == "stimulus")).all()
    counting = ratings[ratings["status"].isin(["valid", "surplus"])].groupby("clip")["rater"]
    per_clip = counting.size().reindex(names, fill_value=0)
    different = counting.nunique().reindex(names, fill_value=0)
    anchors = ratings[ratings["role"] == "anchor"].groupby(["rater", "clip"]).size()
    return {
        "valid_per_clip_min": int(per_clip.min()),
        "valid_per_clip_max": int(per_clip.max()),
        "different_raters_per_clip_min": int(different.min()),
        "valid_total": int(per_clip.sum()),
        "ratings_total": len(ratings),
        "anchor_repeats_max": int(anchors.max()) - 1 if len(anchors) else 0,
    }


def _batches(session: Session, study: Study, kinds: Mapping[str, str]) -> pd.DataFrame:
    """All batches but practice, with the rule that excluded them."""
    query = (
        select(Rater.pseudonym, Batch.id, Batch.state).join(Batch).where(Batch.study_id == study.id, Batch.number > 0)
    )
    table = pd.DataFrame(session.execute(query).all(), columns=["rater", "id", "state"])
    rules = {batch_id: exclusion.rule for batch_id, exclusion in in_force(session, study).items()}
    return table.assign(kind=table["rater"].map(kinds), rule=table["id"].map(rules))


def _correlations(
    ratings: pd.DataFrame, scales: Scales, truth: Mapping[str, Points]
) -> dict[str, dict[str, float | None]]:
    """Pearson's and Spearman's correlation of the MOS with the truth, of clips and of systems."""
    from scipy import stats  # late: it takes half a second, and the page draws no study as it starts

    clips = mos_table(ratings, keys(scales))
    found = {}
    for place, key in enumerate(keys(scales)):
        clips["truth"] = [truth[name][place] for name in clips["clip"]]
        systems = clips.groupby("system")[[key, "truth"]].mean()
        found[key] = {
            f"{level}_{name}": correlation(*(transform(table[column].to_numpy()) for column in (key, "truth")))
            for level, table in (("clips", clips), ("systems", systems))
            for name, transform in (("pearson", np.asarray), ("spearman", stats.rankdata))
        }
    return found
