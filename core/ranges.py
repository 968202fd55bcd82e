"""How wide a score's range is: hierarchical conformal prediction, by system.

What is known are errors on clips that a judge had not learned. The next clip is of a system of its own, and clips
of a system are wrong together. So of K systems and one more, each has the weight 1 / (K + 1), which its clips
share; the least error that reaches the level together with all smaller ones holds a clip of the next system with
at least that probability. Where heads say how sure they are of a clip (`core.heads.Heads.spread`), errors are
divided by that first, and a range is as wide as its own clip asks.

For 90 % nine systems would do, with the largest error of all. `LEAST_SYSTEMS` and `LEAST_CLIPS` ask for more than
that, and that systems are known at all.

*Coverage* is measured on the same errors: the range of each system is made of the others' and counted on its clips.

Sources: Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023 (arXiv 2306.06342),
Lei et al., "Distribution-free predictive inference for regression", 2018, section 5.2, for the division.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.scales import MAX_SCORE, MIN_SCORE

Numbers = NDArray[np.float64]

LEVEL = 0.9
LEAST_CLIPS, LEAST_SYSTEMS = 40, 10
LEAST_SPREAD = 0.1  # points: no judge is surer
_ROUNDING = 1e-9


def why_no_range(n_clips: int, n_systems: int) -> str:
    """Say why so many clips of so many systems give no range; empty where they do. 0 systems: they are not known."""
    if n_clips >= LEAST_CLIPS and n_systems >= LEAST_SYSTEMS:
        return ""
    clips = "1 clip" if n_clips == 1 else f"{n_clips} clips"
    systems = "1 system" if n_systems == 1 else f"{n_systems} systems"
    found = f"{clips} of {systems} are too few" if n_systems else f"the systems of {clips} are not known"
    return f"{found[0].upper()}{found[1:]}; a range needs {LEAST_CLIPS} clips of {LEAST_SYSTEMS} systems."


def bounded(spread: Numbers) -> Numbers:
    """Return spreads that errors can be divided by."""
    return np.maximum(spread, LEAST_SPREAD)


def held_error(errors: Numbers, systems: NDArray[Any], level: float = LEVEL) -> float:
    """Return the error that holds a clip of the next system; infinity where the systems are too few to say.

    Errors and names of systems are (n_clips,).
    """
    names, of, counts = np.unique(systems, return_inverse=True, return_counts=True)
    order = np.argsort(errors, kind="stable")
    reached = np.cumsum(1 / counts[of[order]]) / (len(names) + 1)
    place = int(np.searchsorted(reached, level - _ROUNDING))
    return float(errors[order[place]]) if place < len(errors) else math.inf


def coverage(errors: Numbers, systems: NDArray[Any], scores: Numbers) -> dict[str, Any]:
    """Return the share of clips within ranges made of all other systems' errors: of all, by system, by score."""
    held = np.zeros(len(errors), dtype=bool)
    for system in np.unique(systems):
        own = systems == system
        held[own] = errors[own] <= held_error(errors[~own], systems[~own])
    by_score = []
    for low, high in pairwise(range(int(MIN_SCORE), int(MAX_SCORE) + 1)):
        inside = (scores >= low) & ((scores < high) | (high == MAX_SCORE))
        if inside.any():
            by_score.append({"from": low, "to": high, "n": int(inside.sum()), "share": float(held[inside].mean())})
    by_system = {str(system): float(held[systems == system].mean()) for system in np.unique(systems)}
    return {"all": float(held.mean()), "by_system": by_system, "by_score": by_score}
