"""What a simulated study and a stress test can be asked: the command line makes an option of each field.

Nothing heavy is imported here, so that ``--help`` is there at once.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from annotation.protocol import Protocol
from core.errors import StudyError


def _option(default: float, meaning: str, low: int = 0) -> Any:
    return field(default=default, metadata={"meaning": meaning, "low": low})


def _check(plan: Any) -> None:
    for option in fields(plan):
        value, low = getattr(plan, option.name), option.metadata["low"]
        if low is not None and value < low:
            raise StudyError(f"{option.name} is {value}; it must be at least {low}.")


@dataclass(frozen=True)
class SimulationPlan:
    """The study to simulate; by default of the paper's size."""

    clips: int = _option(2748, "clips to rate", 1)
    systems: int = _option(31, "systems that made them", 1)
    raters: int = _option(14, "raters, all kinds together", 1)
    careless: int = _option(2, "raters who answer at random")
    straight_lining: int = _option(0, "raters who answer 4 to everything")
    quitting: int = _option(2, "honest raters who leave in the middle of batches, sooner or later for good")
    anchor_pool: int = _option(147, "anchors to draw from")
    seed: int = _option(1, "from which everything is drawn")
    protocol: Protocol = field(default=Protocol(), metadata={"meaning": "rules of the study", "low": None})

    def __post_init__(self) -> None:
        _check(self)
        if self.anchor_pool < self.protocol.anchors:
            raise StudyError(f"anchor_pool is {self.anchor_pool}; it must be at least {self.protocol.anchors}.")
        if self.systems > self.clips:
            raise StudyError(f"{self.systems} systems cannot share {self.clips} clips; give each at least one.")
        if self.careless + self.straight_lining + self.quitting > self.raters:
            raise StudyError("The careless, straight-lining and quitting raters are more than all raters.")

    @property
    def kinds(self) -> list[str]:
        """What each rater is like."""
        kinds = ["careless"] * self.careless + ["straight-lining"] * self.straight_lining
        kinds += ["quitting"] * self.quitting
        return kinds + ["honest"] * (self.raters - len(kinds))


@dataclass(frozen=True)
class StressPlan:
    """What is put on the database."""

    processes: int = _option(4, "processes, each with the database open", 1)
    threads: int = _option(14, "raters in each process", 1)
    clips: int = _option(400, "clips to rate", 1)
    pause_s: float = _option(0.0, "seconds that a rater pauses between calls, on average")
    most_s: float = _option(300.0, "seconds after which raters stop, done or not")
    seed: int = _option(1, "from which the raters' answers are drawn")

    def __post_init__(self) -> None:
        _check(self)
        if self.processes * self.threads < Protocol.raters_per_clip:
            raise StudyError(
                f"Every clip needs {Protocol.raters_per_clip} raters, and {self.processes} processes of "
                f"{self.threads} threads are fewer. Give more of either."
            )
