"""Batches: which clips a rater gets next, with which hidden checks, in which order.

Clips with the fewest claims come first; among equals, systems follow each other in proportion to what is left
of them. Nobody gets a clip again that they rated, reported or were sent. Anchors come at random, none again
to the same rater before the pool is used up, then the least recent. All is drawn from the seed of the study,
the rater and the number of the batch, and stored as positions.

The order is mixed, everything at random; or by prompt, the clips of a prompt one after the other, of two prompts
at least where there are as many. Checks stand anywhere, between such rows and inside them: were they kept out,
they would stand at the ends of a batch, and be known by that. Either way at least
`Protocol.duplicate_distance` other trials lie between the two presentations of a clip, and no place is likelier
for an anchor than another as far as that allows. A short batch has as many anchors for each clip as a full one,
rounded up: with all of them it would be little else, and tell so.

Source: the MusicEval paper, sections IV.A to IV.C; what it leaves open stands in `annotation.protocol`.
"""

import math
import secrets
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np
from sqlalchemy import and_, bindparam, exists, func, insert, not_, or_, select
from sqlalchemy.orm import Session

from annotation.protocol import Protocol
from annotation.schema import Batch, Clip, Problem, Rater, Trial
from annotation.session import ledger
from annotation.session.exclusions import is_excluded
from core.errors import StudyError

_ATTEMPTS = 100
_TOKEN_BYTES = 24
_ALL = 2**31 - 1  # rows: no limit
_T = TypeVar("_T")

# Built once: putting a statement together takes longer than SQLite needs to run it.
_OF_KIND = (Clip.study_id == bindparam("study"), Clip.kind == bindparam("clips"), Clip.retired_at.is_(None))
_CLIPS = select(Clip.id, Clip.prompt_id, Clip.system_id).where(*_OF_KIND).order_by(Clip.id).limit(bindparam("most"))
_CLAIMED = ledger.CLAIMS.subquery()
_CANDIDATES = (
    select(Clip.id, Clip.prompt_id, Clip.system_id, func.coalesce(_CLAIMED.c.count, 0))
    .outerjoin(_CLAIMED, _CLAIMED.c.clip_id == Clip.id)
    .where(*_OF_KIND, func.coalesce(_CLAIMED.c.count, 0) < bindparam("limit"))
    .order_by(Clip.id)
    .limit(bindparam("most"))
)
_LET_GO = or_(Trial.state == "released", and_(Trial.state == "open", Batch.state == "excluded"))
_HISTORY = (
    select(
        Batch.number,
        Trial.role,
        Trial.clip_id,
        not_(and_(_LET_GO, Trial.served_at.is_(None), not_(exists().where(Problem.trial_id == Trial.id)))),
    )
    .join(Trial, Trial.batch_id == Batch.id)
    .where(Batch.rater_id == bindparam("rater"))
    .order_by(Batch.number)
)
_TRIALS = insert(Trial)
_RATERS = select(func.count()).select_from(Rater).where(Rater.study_id == bindparam("study"))


@dataclass(frozen=True)
class Item:
    """A clip to present, and what for."""

    clip_id: int
    prompt_id: int
    role: str


def arrange(
    stimuli: Sequence[Item], anchors: Sequence[Item], protocol: Protocol, random: np.random.Generator
) -> list[Item]:
    """Put a batch in order, with the duplicates that the protocol asks for, as far as their distance fits."""
    distance, count = protocol.duplicate_distance, protocol.duplicates_in(len(stimuli), len(anchors))
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
        order.insert(int(random.integers(len(order) + 1)), anchor)
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
        for gap in range(first + distance + 1, len(order) + 1)
    ]
    if not places:
        front = next(place for place, item in enumerate(order) if item.role == "stimulus")
        return _with_duplicate(order[front:] + order[:front], distance, random) if front else order
    first, gap = places[int(random.integers(len(places)))]
    return [*order[:gap], _again(order[first]), *order[gap:]]


def _blocks(stimuli: Sequence[Item], random: np.random.Generator) -> list[list[Item]]:
    clips = sorted(_shuffled(stimuli, random), key=lambda item: item.prompt_id)
    return _shuffled([list(block) for _, block in groupby(clips, lambda item: item.prompt_id)], random)


def _again(item: Item) -> Item:
    return Item(item.clip_id, item.prompt_id, "duplicate")


def _shuffled(items: Iterable[_T], random: np.random.Generator) -> list[_T]:
    found = list(items)
    return [found[place] for place in random.permutation(len(found))]


class Candidate(NamedTuple):
    """A clip that a rater could get."""

    clip_id: int
    prompt_id: int
    system_id: int
    claims: int


@dataclass(frozen=True)
class History:
    """What a rater was given so far."""

    practised: bool
    batches: int  # practice not counted
    stimuli: frozenset[int]  # clips that must not come again
    anchors: dict[int, int]  # number of the batch that had the anchor last


def open_batch(session: Session, rater: Rater, at: datetime) -> Batch | None:
    """Open the next batch of a rater who has none open; None when there is nothing that they could rate now.

    Practice comes first, where the study has any. Raises `StudyError` if the study has no stimuli, or fewer
    anchors than its protocol asks for in a batch.
    """
    protocol, history = rater.study.protocol, history_of(session, rater)
    found = candidates(session, rater, history, at)
    anchors = _clips(session, rater.study_id, "anchor")
    if len(anchors) < protocol.anchors or not (found or _clips(session, rater.study_id, "stimulus", most=1)):
        raise StudyError(
            "This listening test is not ready yet. Whoever runs it can see in its status why.", "not_ready"
        )
    if not found:
        return None
    order = next_items(session, rater, history, found)
    if order[0].role == "practice":
        return _store(session, rater, 0, order, at)
    short = sum(item.role == "stimulus" for item in order) < protocol.batch_size
    return _store(session, rater, history.batches + 1, order, at, short=short)


def next_items(session: Session, rater: Rater, history: History, found: list[Candidate]) -> list[Item]:
    """Return what the next batch of a rater presents, were it opened now; the same as often as it is asked."""
    practice = practice_clips(session, rater, history)
    if practice:
        return practice
    protocol = rater.study.protocol
    random = np.random.default_rng((rater.study.seed, rater.id, history.batches + 1))
    chosen = _choose(found, protocol, random)
    anchors = _clips(session, rater.study_id, "anchor")
    checks = _least_recent(anchors, history.anchors, protocol.anchors_in(len(chosen)), random)
    return arrange(chosen, checks, protocol, random)


def batches_left(session: Session, rater: Rater, found: Sequence[Candidate]) -> int:
    """Estimate how many batches are left for a rater, who shares the open ratings of these clips with the others."""
    protocol = rater.study.protocol
    open_ratings = sum(protocol.raters_per_clip - one.claims for one in found)
    raters = session.scalar(_RATERS, {"study": rater.study_id}) or 1
    return math.ceil(min(len(found), open_ratings / raters) / protocol.batch_size)


def history_of(session: Session, rater: Rater) -> History:
    """Read what a rater was given so far.

    A trial that was released before its clip was sent is as if it had never been, unless it was released
    because the clip did not play.
    """
    numbers: set[int] = set()
    stimuli: set[int] = set()
    anchors: dict[int, int] = {}
    session.flush()  # this reads past the session
    for number, role, clip_id, was_there in session.connection().execute(_HISTORY, {"rater": rater.id}).all():
        numbers.add(number)
        if was_there and role == "stimulus":
            stimuli.add(clip_id)
        elif was_there and role == "anchor":
            anchors[clip_id] = number
    return History(0 in numbers, max(numbers, default=0), frozenset(stimuli), anchors)


def candidates(
    session: Session, rater: Rater, history: History, at: datetime, most: int | None = None
) -> list[Candidate]:
    """Return the clips that a rater could get now, or so many of them; none for a rater who is excluded."""
    if is_excluded(session, rater):
        return []
    limit = rater.study.protocol.raters_per_clip
    rows_most = _ALL if most is None else most + len(history.stimuli)
    given = {"study": rater.study_id, "clips": "stimulus", "at": at, "limit": limit, "most": rows_most}
    rows = session.connection().execute(_CANDIDATES, given).all()  # all at once, or each row costs a call
    return [Candidate._make(row) for row in rows if row[0] not in history.stimuli][:most]


def may_come_free(session: Session, rater: Rater, history: History) -> bool:
    """Return whether a rater who can get nothing now may get something later.

    That is so while others hold clips, or may lose their ratings of them, or the study has no clips yet.
    """
    if is_excluded(session, rater):
        return False
    limit = rater.study.protocol.raters_per_clip
    valid = ledger.valid(session, rater.study_id)
    clips = [clip_id for clip_id, _, _ in _clips(session, rater.study_id, "stimulus")]
    return not clips or any(valid.get(clip_id, 0) < limit and clip_id not in history.stimuli for clip_id in clips)


def practice_clips(session: Session, rater: Rater, history: History) -> list[Item]:
    """Return the practice that a rater has before them, in the clip list's order; empty when it is done."""
    count = rater.study.protocol.training
    if history.practised or count == 0:
        return []
    found = _clips(session, rater.study_id, "practice", most=count)
    return [Item(clip_id, prompt_id, "practice") for clip_id, prompt_id, _ in found]


def _clips(session: Session, study_id: int, kind: str, most: int = _ALL) -> Sequence[tuple[int, int, int]]:
    given = {"study": study_id, "clips": kind, "most": most}
    return session.connection().execute(_CLIPS, given).all()


def _choose(found: list[Candidate], protocol: Protocol, random: np.random.Generator) -> list[Item]:
    ranked = _ranked(found, random)
    if protocol.presentation == "by-prompt":
        ranked = _in_prompts(ranked, protocol.batch_size)
    return [Item(one.clip_id, one.prompt_id, "stimulus") for one in ranked[: protocol.batch_size]]


def _ranked(found: list[Candidate], random: np.random.Generator) -> list[Candidate]:
    """Order by claims; among equals, each system spreads evenly over the order, from a random start."""
    alike: dict[tuple[int, int], list[Candidate]] = defaultdict(list)
    for one in found:
        alike[one.claims, one.system_id].append(one)
    ranked: list[tuple[int, float, Candidate]] = []
    for (claims, _), group in alike.items():
        start = random.random()
        for place, index in enumerate(random.permutation(len(group))):
            ranked.append((claims, (place + start) / len(group), group[index]))
    ranked.sort(key=lambda one: one[:2])
    return [one for _, _, one in ranked]


def _in_prompts(ranked: list[Candidate], size: int) -> list[Candidate]:
    """Put the prompts first that fit into a batch with all their clips, then what fills it up.

    A prompt fills half a batch at most; with more clips than that, it comes in several batches.
    """
    prompts: dict[int, list[Candidate]] = defaultdict(list)
    for one in ranked:
        prompts[one.prompt_id].append(one)
    most = max(size // 2, 1)
    whole: list[Candidate] = []
    parted: list[Candidate] = []
    for group in prompts.values():
        (whole if len(whole) + len(group[:most]) <= size else parted).extend(group[:most])
    return [*whole, *parted, *(one for group in prompts.values() for one in group[most:])]


def _least_recent(
    anchors: Sequence[tuple[int, int, int]], heard: dict[int, int], count: int, random: np.random.Generator
) -> list[Item]:
    shuffled = [anchors[place] for place in random.permutation(len(anchors))]
    shuffled.sort(key=lambda anchor: heard.get(anchor[0], 0))
    return [Item(clip_id, prompt_id, "anchor") for clip_id, prompt_id, _ in shuffled[:count]]


def _store(
    session: Session, rater: Rater, number: int, order: list[Item], at: datetime, *, short: bool = False
) -> Batch:
    batch = Batch(
        study_id=rater.study_id,
        rater_id=rater.id,
        number=number,
        state="open",
        short=short,
        opened_at=at,
        lease_until=ledger.lease(rater.study.protocol, at),
    )
    session.add(batch)
    session.flush()
    trials = [
        {
            "batch_id": batch.id,
            "rater_id": rater.id,
            "clip_id": item.clip_id,
            "position": position,
            "role": item.role,
            "token": secrets.token_urlsafe(_TOKEN_BYTES),
            "state": "open",
        }
        for position, item in enumerate(order, start=1)
    ]
    session.connection().execute(_TRIALS, trials)
    return batch
