"""Clips set beside each other: how far their scores differ, and the chance that a panel would rate one highest.

A score's error is what its interval tells: taken as normal around the score, and as independent between clips. Without
intervals there is no chance, and a difference has no interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_POINTS = 4001  # of the integral
_SIGMAS = 8.0
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Estimate:
    """A score in points, and how far its interval of the level reaches; None where there is none."""

    value: float | None
    reach: float | None


def estimate(value: float | None, bounds: tuple[float, float] | None) -> Estimate:
    """Return the estimate of a score with its bounds, one of which the scale's end may have cut."""
    if value is None or bounds is None:
        return Estimate(value, None)
    return Estimate(value, max(value - bounds[0], bounds[1] - value))


def difference(one: Estimate, other: Estimate) -> tuple[float | None, float | None]:
    """Return by how many points one is above another, and how far the interval of that reaches."""
    if one.value is None or other.value is None:
        return None, None
    reach = None if one.reach is None or other.reach is None else float(np.hypot(one.reach, other.reach))
    return one.value - other.value, reach


def chances_of_being_highest(estimates: Sequence[Estimate], level: float) -> list[float] | None:
    """Return for each the probability that it is the highest; None where a score or an interval is missing."""
    from scipy.integrate import trapezoid  # late: they take half a second, and the pages begin without them
    from scipy.stats import norm

    known = [(one.value, one.reach) for one in estimates if one.value is not None and one.reach is not None]
    if len(known) < len(estimates) or len(known) < 2:
        return None
    means, reaches = np.array(known).T[:, :, None]  # (clips, 1) each
    sigmas = np.maximum(reaches / norm.ppf((1 + level) / 2), LEAST_DEVIATION)
    x = np.unique(means + sigmas * np.linspace(-_SIGMAS, _SIGMAS, _POINTS))
    below, density = norm.cdf(x, means, sigmas), norm.pdf(x, means, sigmas)
    found = [trapezoid(density[n] * np.delete(below, n, axis=0).prod(axis=0), x) for n in range(len(known))]
    return [float(one) for one in np.array(found) / np.sum(found)]
