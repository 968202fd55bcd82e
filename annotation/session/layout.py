"""The order of a batch: where its clips, its hidden anchors and its second presentations stand.

Mixed: everything at random. By prompt: the clips of a prompt in a row, the rest between such rows. Either way
at least `Protocol.duplicate_distance` other trials lie between the two presentations of a clip, and no place
is likelier for an anchor than another as far as that allows. Pure functions of what they are given.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

import numpy as np

from annotation.protocol import Protocol

_ATTEMPTS = 100
_T = TypeVar("_T")


@dataclass(frozen=True)
class Item:
    """A clip to present, and what for."""

    clip_id: int
    prompt_id: int
    role: str


def arrange(
    stimuli: Sequence[Item], anchors: Sequence[Item], protocol: Protocol, random: np.random.Generator
) -> list[Item]:
    """Put a batch in order and add its duplicates.

    Parameters
    ----------
    stimuli, anchors : sequence of Item
    protocol : Protocol
    random : numpy.random.Generator

    Returns
    -------
    list of Item
        All stimuli and anchors once, and the duplicates that the protocol asks for, as far as the distance
        between the two presentations fits into the batch.
    """
    distance = protocol.duplicate_distance
    count = min(protocol.duplicates, len(stimuli)) if len(stimuli) + len(anchors) > distance else 0
    if protocol.presentation == "mixed":
        return _mixed(stimuli, anchors, count, distance, random)
    return _by_prompt(stimuli, anchors, count, distance, random)


def _mixed(
    stimuli: Sequence[Item], anchors: Sequence[Item], count: int, distance: int, random: np.random.Generator
) -> list[Item]:
    clips = _shuffled(stimuli, random)
    repeated, rest = clips[:count], _shuffled([*clips[count:], *anchors], random)
    order: list[Item | None] = [None] * (len(clips) + len(anchors) + count)
    for item, (first, second) in zip(repeated, _pairs(count, len(order), distance, random), strict=True):
        order[first], order[second] = item, _again(item)
    others = iter(rest)
    return [next(others) if item is None else item for item in order]


def _pairs(count: int, total: int, distance: int, random: np.random.Generator) -> list[tuple[int, int]]:
    """Draw places for the two presentations of each repeated clip.

    Every arrangement that keeps the distance is as likely as any other, unless hardly any does: then it is
    the one that keeps the most.
    """
    for _ in range(_ATTEMPTS):
        places = np.sort(random.permutation(total)[: 2 * count].reshape(count, 2), axis=1)
        if np.all(places[:, 1] - places[:, 0] > distance):
            return [(int(first), int(second)) for first, second in places]
    return [(place, total - count + place) for place in range(count)]


def _by_prompt(
    stimuli: Sequence[Item], anchors: Sequence[Item], count: int, distance: int, random: np.random.Generator
) -> list[Item]:
    order = [item for block in _blocks(stimuli, random) for item in block]
    for anchor in _shuffled(anchors, random):
        order.insert(int(random.choice(_gaps(order))), anchor)
    for _ in range(count):
        order = _with_duplicate(order, distance, random)
    return order


def _with_duplicate(order: list[Item], distance: int, random: np.random.Generator) -> list[Item]:
    """Present one more clip twice; where anchors in front leave no room for that, move them to the end."""
    again = {item.clip_id for item in order if item.role == "duplicate"}
    places = [
        (first, gap)
        for first, item in enumerate(order)
        if item.role == "stimulus" and item.clip_id not in again
        for gap in _gaps(order)
        if gap - first > distance
    ]
    if not places:
        front = next(place for place, item in enumerate(order) if item.role == "stimulus")
        return _with_duplicate(order[front:] + order[:front], distance, random) if front else order
    first, gap = places[int(random.integers(len(places)))]
    return [*order[:gap], _again(order[first]), *order[gap:]]


def _blocks(stimuli: Sequence[Item], random: np.random.Generator) -> list[list[Item]]:
    clips = sorted(_shuffled(stimuli, random), key=lambda item: item.prompt_id)
    return _shuffled([list(block) for _, block in groupby(clips, lambda item: item.prompt_id)], random)


def _gaps(order: Sequence[Item]) -> list[int]:
    """Give the places where something can be put without parting the clips of a prompt."""
    return [
        place
        for place in range(len(order) + 1)
        if place in (0, len(order)) or _parts(order[place - 1], order[place])
    ]


def _parts(before: Item, after: Item) -> bool:
    return before.prompt_id != after.prompt_id or (before.role, after.role) != ("stimulus", "stimulus")


def _again(item: Item) -> Item:
    return Item(item.clip_id, item.prompt_id, "duplicate")


def _shuffled(items: Iterable[_T], random: np.random.Generator) -> list[_T]:
    found = list(items)
    return [found[place] for place in random.permutation(len(found))]
