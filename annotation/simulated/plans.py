"""What can be asked of a simulation and of a stress test; the command line makes options of the fields.

Nothing heavy is imported here, so that ``--help`` is there at once.
"""

from dataclasses import dataclass, field
from typing import Any

from annotation.protocol import Protocol
from core.errors import StudyError


def _flag(default: float, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True)
class SimulationPlan:
    """The study to simulate; by default of the paper's size.

    Raises
    ------
    StudyError
        If there is too little of something.
    """

    clips: int = _flag(2748, "clips to rate")
    systems: int = _flag(31, "systems that made them")
    raters: int = _flag(14, "raters, all kinds together")
    careless: int = _flag(2, "raters who answer at random")
    straight_lining: int = _flag(0, "raters who answer 4 to everything")
    quitting: int = _flag(2, "honest raters who leave in the middle of batches, sooner or later for good")
    anchor_pool: int = _flag(147, "anchors to draw from")
    seed: int = _flag(1, "from which everything is drawn")
    protocol: Protocol = field(default=Protocol(), metadata={"meaning": "rules of the study"})

    def __post_init__(self) -> None:
        lowest = {
            "clips": 1,
            "systems": 1,
            "raters": 1,
            "anchor_pool": self.protocol.anchors,
        } | dict.fromkeys(("careless", "straight_lining", "quitting", "seed"), 0)
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise StudyError(f"{name} is {getattr(self, name)}; it must be at least {low}.")
        if self.systems > self.clips:
            raise StudyError(
                f"{self.systems} systems cannot share {self.clips} clips; give each at least one."
            )
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
    """What is put on the database.

    Raises
    ------
    StudyError
        If there is nothing to do, or nobody who can.
    """

    processes: int = _flag(4, "processes, each with the database open")
    threads: int = _flag(14, "raters in each process")
    clips: int = _flag(400, "clips to rate")
    pause_s: float = _flag(0.0, "seconds that a rater pauses between calls, on average")
    most_s: float = _flag(300.0, "seconds after which raters stop, done or not")
    seed: int = _flag(1, "from which the raters' answers are drawn")

    def __post_init__(self) -> None:
        for name in ("processes", "threads", "clips"):
            if getattr(self, name) < 1:
                raise StudyError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.processes * self.threads < Protocol.raters_per_clip:
            raise StudyError(
                f"Every clip needs {Protocol.raters_per_clip} raters, and {self.processes} processes of "
                f"{self.threads} threads are fewer. Give more of either."
            )
