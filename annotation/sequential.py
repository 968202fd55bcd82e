"""Wald's sequential test of a rater's batches: whether they fail as an honest rater's, or as a careless one's.

After every batch the evidence grows by the logarithm of the ratio of both chances. Above the upper limit the rater is
paused; below the lower one the test has found for the rater, and begins anew with the next batch, so that whoever
tires after weeks is noticed too. What the test does to raters is computed, not simulated.

Source: A. Wald, "Sequential Tests of Statistical Hypotheses", Annals of Mathematical Statistics 16(2), 1945.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from annotation.protocol import Protocol
from annotation.rules import PAPER_BATCHES, STRICT, false_alarms, strict_alarm
from core.scales import Scales


@dataclass(frozen=True)
class Run:
    """A run of the test: how many of so many batches failed."""

    failed: int = 0
    batches: int = 0


@dataclass(frozen=True)
class SequentialTest:
    """The test under the rules of a study."""

    protocol: Protocol

    @property
    def upper(self) -> float:
        """The evidence at which a rater is paused."""
        return math.log((1 - self.protocol.pause_missed) / self.protocol.pause_wrongly)

    @property
    def lower(self) -> float:
        """The evidence at which the test has found for the rater."""
        return math.log(self.protocol.pause_missed / (1 - self.protocol.pause_wrongly))

    @property
    def fewest(self) -> int:
        """How many batches have to fail one after the other."""
        return math.ceil(self.upper / self.evidence(Run(1, 1)))

    def evidence(self, run: Run) -> float:
        """Return the logarithm of the ratio of the chances of what was seen, for careless and for honest raters."""
        honest, careless = self.protocol.pause_honest, self.protocol.pause_careless
        passed = run.batches - run.failed
        return run.failed * math.log(careless / honest) + passed * math.log((1 - careless) / (1 - honest))

    def after(self, run: Run, failed: bool) -> Run:
        """Add a batch to a run; begin anew where the run found for the rater."""
        before = Run() if self.evidence(run) <= self.lower else run
        return Run(before.failed + failed, before.batches + 1)

    def pauses(self, run: Run) -> bool:
        """Return whether a run pauses its rater."""
        return self.evidence(run) >= self.upper

    def run(self, failed: Iterable[bool]) -> Run:
        """Return the run that a rater's batches have come to, up to where it pauses."""
        run = Run()
        for one in failed:
            run = self.after(run, one)
            if self.pauses(run):
                break
        return run

    def chance(self, share: float, batches: int) -> float:
        """Return the chance that a rater is paused within so many batches, of which each fails with this chance."""
        paused, runs = 0.0, {Run(): 1.0}
        for _ in range(batches):
            following: dict[Run, float] = defaultdict(float)
            for run, chance in runs.items():
                for failed, part in ((True, share), (False, 1 - share)):
                    after = self.after(run, failed)
                    if self.pauses(after):
                        paused += chance * part
                    else:
                        following[after] += chance * part
            runs = following
        return paused


@lru_cache
def pausing(protocol: Protocol, scales: Scales) -> str:
    """Say when a rater is paused, and to how many that happens by chance."""
    if protocol.pause_rule == "off":
        return "No rater is paused, however many of their batches fail"
    test, chances = SequentialTest(protocol), false_alarms(protocol, scales)
    if not chances["either"]:
        return "No batch can fail, so no rater is ever paused"
    strict = 1 - (1 - strict_alarm(protocol, scales)) * (1 - chances["duplicate"])
    good, low = (test.chance(share, PAPER_BATCHES) for share in (chances["either"], strict))
    return (
        f"A rater is paused once {_batches(test.fewest)} in a row failed, or so many of a longer run that it says the "
        f"same; in {PAPER_BATCHES} batches that happens by chance to {_share(good)} of good raters, and to "
        f"{_share(low)} of those who rate {STRICT:g} points lower"
    )


def _batches(n: int) -> str:
    return f"{n} batch{'' if n == 1 else 'es'}"


def _share(chance: float) -> str:
    return "less than 0.01%" if chance < 1e-4 else f"{chance:.2%}"
