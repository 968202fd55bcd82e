"""What the gate finds: whether each system's clips reach what is asked of them, in scores and in their signal.

A clip *fails* where it cannot be scored, where the judge tells no value on a scale that a condition asks about, where
it sounds like no music that the judge knows, or where its signal is beyond the limits (`core.gate.measures`). Each
system is held to every condition by itself, so that a good one hides no bad one; clips that name no system are one
system.

A condition on a scale asks about the mean of a system's values. The interval around it (95 %, over the system's
clips, as in `core.batch.leaderboard`) stands beside it, and decides where the gate is strict: then its lower end
must reach the minimum. The mean is of all clips whose value means something: without those that have a fault in
their signal it would be a better one.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from core.batch.leaderboard import LEAST_CLIPS, leaderboard
from core.batch.manifest import OK, Cells
from core.errors import DataError, counted, shown_beyond
from core.gate.limits import SignalLimits
from core.gate.measures import Signal
from core.scales import MAX_SCORE, MIN_SCORE, Scales, keys

MOST_NAMED = 100  # clips that failed, in the reports
NO_SYSTEM = "no system named"
NO_MUSIC = "It sounds like no music that the judge knows, so its scores may mean nothing, and do not count."


@dataclass(frozen=True)
class Conditions:
    """What is asked of each system."""

    minima: Mapping[str, float] = field(default_factory=dict)  # by scale
    max_fail_percent: float = 0.0  # of a system's clips
    limits: SignalLimits = field(default_factory=SignalLimits)
    strict: bool = False  # whether the lower end of the interval must reach a minimum, and not the mean alone

    def check(self, scales: Scales) -> None:
        """Raise DataError where a judge with these scales cannot answer them."""
        for scale, least in self.minima.items():
            if scale not in keys(scales):
                raise DataError(f"The judge has no scale {scale!r}. Its scales are {', '.join(keys(scales))}.")
            if not MIN_SCORE <= least <= MAX_SCORE:
                raise DataError(f"{scale} is at least {least:g}; scores go from {MIN_SCORE:g} to {MAX_SCORE:g}.")


@dataclass(frozen=True)
class Checked:
    """A clip that was scored and measured: its record, as a batch has it, and why it fails, a sentence each."""

    record: Cells
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class FailedClip:
    """A clip that fails, and why, in a sentence."""

    id: str
    file: str
    system: str
    reason: str


@dataclass(frozen=True)
class Verdict:
    """Whether a system holds a condition, and a sentence that says so with its figures."""

    system: str
    condition: str
    passed: bool
    sentence: str
    is_of_clips: bool = False  # a condition on clips, of which each that fails has a reason of its own


@dataclass(frozen=True)
class Means:
    """A system's mean on a scale with its interval; None where there is none, or too few clips for one.

    `place` is where the mean stands among reference clips, in words; empty where there are none.
    """

    system: str
    n_clips: int
    scale: str
    mean: float | None
    low: float | None
    high: float | None
    place: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the gate found."""

    verdicts: tuple[Verdict, ...]
    means: tuple[Means, ...]
    n_clips: int
    n_failed: int
    failed: tuple[FailedClip, ...]  # the first `MOST_NAMED`
    notes: tuple[str, ...]
    model: str
    model_sha256: str

    @property
    def passed(self) -> bool:
        """Whether every system holds every condition."""
        return all(verdict.passed for verdict in self.verdicts)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain dicts, lists, strings and finite numbers."""
        return {"passed": self.passed, **asdict(self)}


def reasons_of(record: Cells, signal: Signal | str, conditions: Conditions, untold: Mapping[str, str]) -> list[str]:
    """Say why a clip fails, a sentence each.

    `signal` is a sentence where it could not be measured; `untold` is why the judge tells no value, by scale.
    """
    if record["status"] != OK:
        return [str(record["reason"])]
    found = [f"It has no {scale}: {why}" for scale, why in untold.items() if scale in conditions.minima]
    found += [NO_MUSIC] if is_no_music(record) else []
    return found + ([signal] if isinstance(signal, str) else signal.faults(conditions.limits))


def is_no_music(record: Cells) -> bool:
    """Return whether a clip that was scored sounds like no music that the judge knows: its values may mean nothing."""
    return "no_music" in str(record.get("warnings") or "").split(";")


def outcome(
    clips: Iterable[Checked], conditions: Conditions, scales: Scales, notes: Iterable[str], model: tuple[str, str]
) -> Outcome:
    """Hold clips against conditions; of clips that fail, the first are kept by name, and all are counted."""
    n_clips, n_failed = dict[str, int](), dict[str, int]()
    failed: list[FailedClip] = []

    def counted_records() -> Iterable[Cells]:
        for clip in clips:
            record = clip.record
            system = record["system"] or NO_SYSTEM
            n_clips[system] = n_clips.get(system, 0) + 1
            n_failed[system] = n_failed.get(system, 0) + bool(clip.reasons)
            if clip.reasons and len(failed) < MOST_NAMED:
                failed.append(FailedClip(record["id"], record["file"], system, " ".join(clip.reasons)))
            told = {key: None if is_no_music(record) else record[key] for key in keys(scales)}
            yield {**told, "system": system, "status": record["status"]}

    board = leaderboard(counted_records(), scales).set_index("system")
    means = [
        Means(system, n_clips[system], scale, *_mean_of(board.loc[system], scale))
        for system, scale in itertools.product(sorted(n_clips), keys(scales))
    ]
    verdicts = [
        *(_reaches(one, conditions) for one in means if one.scale in conditions.minima),
        *(_fails(system, n_failed[system], n_clips[system], conditions) for system in sorted(n_clips)),
    ]
    verdicts.sort(key=lambda verdict: verdict.system)
    total = sum(n_clips.values()), sum(n_failed.values())
    return Outcome(tuple(verdicts), tuple(means), *total, tuple(failed), tuple(notes), *model)


def _reaches(of: Means, conditions: Conditions) -> Verdict:
    least, scale = conditions.minima[of.scale], of.scale
    condition = f"{scale} at least {least:g}"
    if of.mean is None:
        return Verdict(of.system, condition, False, f"{scale} has no mean: none of its clips has a value.")
    said = f"{scale} has a mean of {_beside(of.mean, least)}"
    if of.low is None or of.high is None:
        said += f" and no interval, which needs {LEAST_CLIPS} clips with a value"
        decides = math.nan if conditions.strict else of.mean
    else:
        said += f" (95 % interval {_beside(of.low, least)} to {of.high:.2f})"
        decides = of.low if conditions.strict else of.mean
    passed = decides >= least
    what = "the lower end of the interval" if conditions.strict else "the mean"
    said += f"; {what} must reach {least:g}."
    if passed and of.low is not None and of.low < least:
        said += " With other clips it might not."
    return Verdict(of.system, condition, passed, said)


def _fails(system: str, n_failed: int, n_clips: int, conditions: Conditions) -> Verdict:
    most, share = conditions.max_fail_percent, 100 * n_failed / n_clips
    passed = n_failed * 100 <= most * n_clips
    shown = f"{share:.1f}" if passed else shown_beyond(share, most, 1)
    said = f"{n_failed:,} of {counted(n_clips, 'clip')} failed ({shown} %); {most:g} % may."
    return Verdict(system, f"failed clips at most {most:g} %", passed, said, is_of_clips=True)


def _beside(value: float, least: float) -> str:
    """Write a value with two digits, but one below a minimum never as that minimum."""
    shown = f"{value:.2f}"
    return shown_beyond(value, least, 2) if value < least <= float(shown) else shown


def _mean_of(row: Any, scale: str) -> tuple[float | None, float | None, float | None]:
    """Return mean, low and high of a row of the leaderboard."""
    return _finite(row[scale]), _finite(row[f"{scale}_low"]), _finite(row[f"{scale}_high"])


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
