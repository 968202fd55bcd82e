"""Systems compared on the prompts that they share: paired differences, so that easy prompts favour nobody.

A system's value for a prompt is the mean of its clips for it. For each pair of systems the differences on their shared
prompts have a mean, a 95 % percentile bootstrap interval over the prompts, and a p value: a two-sided sign-flip test of
their mean (exact where that is quick). Systems *differ* where that is below 0.05 after Holm's correction for all pairs
of a scale. It says nothing of the judge's own error.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.batch.leaderboard import interval
from core.batch.manifest import OK, Cells

LEAST_PROMPTS = 5
MOST_SYSTEMS = 8
LEVEL = 0.95
_RESAMPLES = 2_000
_MOST_EXACT = 12  # prompts, of which all flips of sign are tried
_EQUAL = 1e-6  # points: scores that differ by less differ by how they were computed


@dataclass(frozen=True)
class Pair:
    """How far `one` is above `other` on the prompts that both have, with the interval, and the corrected p value."""

    one: str
    other: str
    difference: float
    low: float
    high: float
    p: float
    n_higher: int
    n_ties: int
    n_lower: int

    @property
    def differs(self) -> bool:
        """Whether chance alone is unlikely to have made the difference."""
        return self.p < 1 - LEVEL


@dataclass(frozen=True)
class Comparison:
    """The pairs that can be compared on a scale, groups of systems of which no two differ, and else the reason."""

    pairs: tuple[Pair, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    reason: str = ""


def compare_systems(records: Iterable[Cells], scale: str, seed: int = 0) -> Comparison:
    """Compare the systems of scored rows on a scale; rows without a system, a prompt or a value are left out."""
    values = _by_prompt(records, scale)
    if len(values) < 2:
        return Comparison(reason="There are fewer than two systems with scores for prompts.")
    if len(values) > MOST_SYSTEMS:
        return Comparison(reason=f"There are more than {MOST_SYSTEMS} systems, the most that are compared in pairs.")
    shared = {
        (one, other): _differences(values[one], values[other])
        for one, other in itertools.combinations(_best_first(values), 2)
    }
    most = max(map(len, shared.values()))
    if most < LEAST_PROMPTS:
        has = f"share {most} at most" if most else "share none"
        return Comparison(reason=f"Systems are compared on {LEAST_PROMPTS} prompts or more; these {has}.")
    enough = {names: np.array(found) for names, found in shared.items() if len(found) >= LEAST_PROMPTS}
    corrected = holm([_sign_flip(differences, seed) for differences in enough.values()])
    pairs = tuple(_pair(*names, found, p, seed) for (names, found), p in zip(enough.items(), corrected, strict=True))
    return Comparison(pairs, _groups(_best_first(values), pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm 1979), in their order."""
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[number]))
        corrected[number] = largest
    return corrected


def _by_prompt(records: Iterable[Cells], scale: str) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        system, prompt, value = record["system"], record.get("prompt"), record.get(scale)
        if record["status"] == OK and system and prompt and value is not None:
            found[system][prompt].append(value)
    return {system: {prompt: float(np.mean(of)) for prompt, of in each.items()} for system, each in found.items()}


def _differences(one: Mapping[str, float], other: Mapping[str, float]) -> list[float]:
    return [one[prompt] - other[prompt] for prompt in sorted(one.keys() & other.keys())]


def _best_first(values: Mapping[str, Mapping[str, float]]) -> list[str]:
    return sorted(values, key=lambda system: (-float(np.mean([*values[system].values()])), system))


def _pair(one: str, other: str, differences: NDArray[np.float64], p: float, seed: int) -> Pair:
    low, high = interval(differences, seed)
    n_higher, n_lower = int((differences > _EQUAL).sum()), int((differences < -_EQUAL).sum())
    n_ties = differences.size - n_higher - n_lower
    return Pair(one, other, float(differences.mean()), low, high, p, n_higher, n_ties, n_lower)


def _sign_flip(differences: NDArray[np.float64], seed: int) -> float:
    """Return how often the mean is as far from 0, were each difference as likely to have the other sign."""
    n, exact = differences.size, differences.size <= _MOST_EXACT
    if exact:
        signs = np.array([*itertools.product((-1, 1), repeat=n)])
    else:
        signs = np.random.default_rng(seed).choice((-1, 1), (10 * _RESAMPLES - 1, n))
    as_far = int((np.abs(signs @ differences) >= abs(differences.sum()) - _EQUAL).sum())
    return as_far / len(signs) if exact else (as_far + 1) / (len(signs) + 1)


def _groups(systems: Sequence[str], pairs: Iterable[Pair]) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups in which every pair was compared and does not differ; a group has two or more."""
    alike = {frozenset((pair.one, pair.other)) for pair in pairs if not pair.differs}
    groups: list[tuple[str, ...]] = []
    for size in range(len(systems), 1, -1):
        for some in itertools.combinations(systems, size):
            if any(set(some) <= set(group) for group in groups):
                continue
            if all(frozenset(two) in alike for two in itertools.combinations(some, 2)):
                groups.append(some)
    return tuple(groups)
