"""How often the checks fail a batch of a rater who did nothing wrong.

Computed, not simulated. An honest rater hears a value on the scale, adds a normal error of their own and
answers with the nearest of the five points. Their answers to anchors scatter around the mean of anchors; the
two presentations of a duplicate have the same value, which lies anywhere from 1.5 to 4.5.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from annotation.protocol import Protocol
from core.scales import MAX_SCORE, MIN_SCORE, SCALES

# Good music by good players, as raters of other studies saw it; the error is that of the simulated panel.
ANCHOR_MEAN = 4.3
ANCHOR_SD = 0.8
INCONSISTENCY_SD = 0.45
_VALUES = (1.5, 4.5)  # of the mean of many raters; hardly any clip of a study lies outside
_STEPS = 401


@dataclass(frozen=True)
class FalseAlarms:
    """Chances that one full batch of an honest rater fails."""

    anchor: float
    duplicate: float
    either: float


def expected_false_alarms(
    protocol: Protocol,
    anchor_mean: float = ANCHOR_MEAN,
    anchor_sd: float = ANCHOR_SD,
    inconsistency_sd: float = INCONSISTENCY_SD,
) -> FalseAlarms:
    """Compute how often the checks of a protocol are wrong.

    Parameters
    ----------
    protocol : Protocol
    anchor_mean, anchor_sd : float
        Of one rater's answers to anchors, before they are rounded, in points.
    inconsistency_sd : float
        Of one rater's answers to the same clip, before they are rounded, in points.

    Returns
    -------
    FalseAlarms
    """
    passing = 1 - _anchor_fails(protocol.anchor_fail_below, anchor_mean, anchor_sd)
    anchor = 1 - passing**protocol.anchors
    agreeing = 1 - _duplicate_fails(protocol.duplicate_tolerance, inconsistency_sd)
    duplicate = 1 - agreeing ** (len(SCALES) * protocol.duplicates)
    return FalseAlarms(anchor, duplicate, 1 - (1 - anchor) * (1 - duplicate))


def _anchor_fails(limit: float, mean: float, sd: float) -> float:
    highest = math.ceil(limit) - 1  # the best answer that fails
    return NormalDist(mean, sd).cdf(highest + 0.5) if highest >= MIN_SCORE else 0.0


def _duplicate_fails(tolerance: float, sd: float) -> float:
    """Chance that two answers to one clip lie too far apart on one scale."""
    answers = np.array([_answers(value, sd) for value in np.linspace(*_VALUES, _STEPS)])
    points = np.arange(answers.shape[1])
    apart = np.abs(points[:, None] - points[None, :]) > tolerance
    return float(np.einsum("vi,vj,ij->", answers, answers, apart) / _STEPS)


def _answers(value: float, sd: float) -> NDArray[np.float64]:
    """Give the chance of each point from 1 to 5, for a clip of a value."""
    error = NormalDist(value, sd)
    below = [0.0, *(error.cdf(point + 0.5) for point in range(int(MIN_SCORE), int(MAX_SCORE))), 1.0]
    return np.diff(below)
