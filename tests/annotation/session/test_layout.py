"""Where the trials of a batch stand: every rule holds for every draw, and no place tells a role."""

from collections import Counter
from itertools import groupby

import numpy as np
import pytest

from annotation.protocol import Protocol
from annotation.session.layout import Item, arrange


def items(count: int, role: str = "stimulus", prompts: int = 5, first: int = 0) -> list[Item]:
    return [Item(first + number, number % prompts, role) for number in range(count)]


def checked(order: list[Item], stimuli: int, anchors: int, distance: int) -> int:
    """Check what must hold for each order; give the number of its duplicates."""
    roles = Counter(item.role for item in order)
    assert (roles["stimulus"], roles["anchor"]) == (stimuli, anchors)
    first = {item.clip_id: place for place, item in enumerate(order) if item.role == "stimulus"}
    assert len(first) == stimuli
    second = {item.clip_id: place for place, item in enumerate(order) if item.role == "duplicate"}
    assert len(second) == roles["duplicate"]
    for clip_id, place in second.items():
        assert place - first[clip_id] - 1 >= distance
    return roles["duplicate"]


@pytest.mark.parametrize("presentation", ["mixed", "by-prompt"])
@pytest.mark.parametrize("clips", [1, 2, 3, 4, 5, 8, 20])
@pytest.mark.parametrize("anchors", [0, 3])
@pytest.mark.parametrize("distance", [0, 2, 5])
def test_the_duplicate_is_there_wherever_it_fits(
    presentation: str, clips: int, anchors: int, distance: int
) -> None:
    protocol = Protocol(
        batch_size=20, presentation=presentation, duplicate_distance=distance, anchors=anchors
    )
    for seed in range(40):
        order = arrange(
            items(clips), items(anchors, "anchor", first=100), protocol, np.random.default_rng(seed)
        )
        assert checked(order, clips, anchors, distance) == (1 if clips + anchors > distance else 0)


@pytest.mark.parametrize("seed", range(20))
def test_several_duplicates(seed: int) -> None:
    protocol = Protocol(duplicates=4, duplicate_distance=8)
    order = arrange(items(10), items(3, "anchor", first=100), protocol, np.random.default_rng(seed))
    assert checked(order, 10, 3, 8) == 4
    protocol = Protocol(duplicates=3, presentation="by-prompt")
    order = arrange(items(20), items(3, "anchor", first=100), protocol, np.random.default_rng(seed))
    assert checked(order, 20, 3, 5) == 3


def test_clips_of_a_prompt_stand_together() -> None:
    protocol = Protocol(presentation="by-prompt")
    orders = []
    for seed in range(30):
        anchors = items(3, "anchor", prompts=1, first=100)  # of the prompt of some clips, too
        order = arrange(items(20), anchors, protocol, np.random.default_rng(seed))
        blocks = [
            prompt for prompt, _ in groupby(item.prompt_id for item in order if item.role == "stimulus")
        ]
        assert sorted(blocks) == [0, 1, 2, 3, 4]
        for before, after in zip(order, order[2:], strict=False):
            inside = before.role == after.role == "stimulus" and before.prompt_id == after.prompt_id
            assert not inside or order[order.index(before) + 1].role == "stimulus"
        orders.append(tuple(blocks))
    assert len(set(orders)) > 20


@pytest.mark.parametrize("role", ["anchor", "duplicate", "original"])
def test_no_place_is_likelier_than_it_must_be(role: str) -> None:
    """Anchors are uniform over the places that the two presentations leave; these mirror each other."""
    protocol = Protocol(batch_size=9, anchors=2, duplicate_distance=3)
    random = np.random.default_rng(5)
    places: Counter[int] = Counter()
    draws = 4000
    for _ in range(draws):
        order = arrange(items(9), items(2, "anchor", first=100), protocol, random)
        again = next(item.clip_id for item in order if item.role == "duplicate")
        for place, item in enumerate(order):
            original = item.role == "stimulus" and item.clip_id == again
            places[place] += item.role == role or (original and role == "original")
    pairs = [(one, other) for one in range(12) for other in range(one + 4, 12)]
    taken = {"original": Counter(one for one, _ in pairs), "duplicate": Counter(other for _, other in pairs)}
    for place in range(12):
        if role == "anchor":
            free = len(pairs) - taken["original"][place] - taken["duplicate"][place]
            expected = draws * 2 * free / (len(pairs) * 10)
        else:
            expected = draws * taken[role][place] / len(pairs)
        assert abs(places[place] - expected) <= 4 * np.sqrt(expected) + 1


def test_the_draw_decides_alone() -> None:
    first, same, other = (
        arrange(items(20), items(3, "anchor", first=100), Protocol(), np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert first == same != other
