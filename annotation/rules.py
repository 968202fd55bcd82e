"""Screening rules: what the hidden checks of a batch say of it.

A batch is screened by all `RULES` when it ends. A rule that fails returns its *evidence*: figures ready for
JSON, which the log keeps, and which pages and commands show by `Rule.words`. A new rule is one more `Rule` in
the list, and a line in ``docs/study.md``. Practice is never screened.

How often a rule fails a batch of a rater who did nothing wrong is computed, not simulated. An honest rater
hears a value on the scale, adds a normal error of their own and answers with the nearest of the five points.
Their answers to anchors scatter around the mean of anchors; those to clips have values anywhere from 1.5 to 4.5,
the two presentations of a duplicate the same.

Source: the MusicEval paper, section IV.C; what it leaves open stands in `annotation.protocol`.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from annotation.protocol import Protocol
from core.scales import MAX_SCORE, MIN_SCORE, Scales, keys

# Good music by good players, as raters of other studies saw it; the error is that of the simulated panel.
ANCHOR_MEAN = 4.3
ANCHOR_SD = 0.8
INCONSISTENCY_SD = 0.45
BIAS_SD = 0.3  # of raters, in the deviation of the anchors' answers
STRICT = 0.5  # points that a strict rater gives less
PAPER_BATCHES = 49  # a rater: 687 batches of 20 clips by 14 raters
LEAST_CLIPS = 5  # rated in a batch, before anchors are held against their mean
_VALUES = (1.5, 4.5)  # of the mean of many raters; hardly any clip of a study lies outside
_CLIPS_MEAN = sum(_VALUES) / 2
_CLIPS_SD = math.sqrt((_VALUES[1] - _VALUES[0]) ** 2 / 12 + INCONSISTENCY_SD**2 + 1 / 12)  # of answers in whole points
_STEPS = 401


@dataclass(frozen=True)
class Presented:
    """A trial of a batch that has ended, as the rules see it."""

    role: str
    clip_id: int
    clip: str  # its opaque name
    position: int
    scores: dict[str, int]  # by scale; empty where the trial was not rated


@dataclass(frozen=True)
class Rule:
    """Something that a batch can fail."""

    name: str  # in the log and in counts
    figures: str  # the key of its evidence in the log
    reason: str  # a sentence for the log
    by: str  # "a good rater fails 4 % of batches *by an anchor*"
    check: Callable[[Sequence[Presented], Protocol, Scales], Any]  # the evidence; something false: passed
    words: Callable[[Any, Scales], Iterator[str]]  # the evidence in words
    chance_of_failing: Callable[[Protocol, Scales], float] | None = None  # a full batch, honestly rated
    follows_scope: bool = True  # whether `Protocol.scope` can make it a failure of the rater


def anchor_limit(protocol: Protocol, n_clips: int, own_mean: float) -> float:
    """Return the rating below which an anchor fails, in a batch of so many rated clips of this mean.

    The relative rule takes the mean of the batch alone: it is known when the batch ends, and stays what it was
    whatever becomes of other batches. Of fewer than `LEAST_CLIPS` clips it would say nothing; then the fixed
    limit holds.
    """
    if protocol.anchor_rule == "fixed" or n_clips < LEAST_CLIPS:
        return protocol.anchor_fail_below
    return own_mean - protocol.anchor_margin


def low_anchors(batch: Sequence[Presented], protocol: Protocol, _: Scales) -> list[dict[str, Any]]:
    """Return the anchors that were rated under the limit."""
    scale = protocol.anchor_scale
    own = [one.scores[scale] for one in batch if one.role == "stimulus" and one.scores]
    limit = anchor_limit(protocol, len(own), sum(own) / max(len(own), 1))
    return [
        {"clip": one.clip, "position": one.position, scale: one.scores[scale], "limit": limit}
        for one in batch
        if one.role == "anchor" and one.scores and one.scores[scale] < limit
    ]


def anchor_chance(
    protocol: Protocol, _: Scales, mean: float = ANCHOR_MEAN, sd: float = ANCHOR_SD, clips_mean: float = _CLIPS_MEAN
) -> float:
    """Return the chance of a low anchor in a full batch.

    Mean and deviation are of answers to anchors before they are rounded; `clips_mean` is that of answers to clips.
    """
    if protocol.anchor_rule == "fixed" or protocol.batch_size < LEAST_CLIPS:
        limits = [protocol.anchor_fail_below]
    else:
        own = NormalDist(clips_mean, _CLIPS_SD / math.sqrt(protocol.batch_size))
        limits = [own.inv_cdf((step + 0.5) / _STEPS) - protocol.anchor_margin for step in range(_STEPS)]
    answers = NormalDist(mean, sd)
    highest = [math.ceil(limit) - 1 for limit in limits]  # the best answer that fails
    fails = [answers.cdf(best + 0.5) if best >= MIN_SCORE else 0.0 for best in highest]
    return float(1 - sum((1 - one) ** protocol.anchors for one in fails) / len(fails))


def _anchor_words(anchors: list[dict[str, Any]], scales: Scales) -> Iterator[str]:
    for anchor in anchors:
        got = next(f"{scale.short} {anchor[scale.key]}" for scale in scales if scale.key in anchor)
        yield f"anchor at {anchor['position']} got {got}; failed below {anchor['limit']:.3g}"


def unlike_duplicates(batch: Sequence[Presented], protocol: Protocol, scales: Scales) -> list[dict[str, Any]]:
    """Return the clips that came twice and were rated too differently on any scale."""
    first = {one.clip_id: one for one in batch if one.role == "stimulus"}
    tolerance, found = protocol.duplicate_tolerance, []
    for again in batch:
        if again.role != "duplicate" or not again.scores:
            continue
        before = first[again.clip_id]
        pairs = {key: [before.scores[key], again.scores[key]] for key in keys(scales)}
        if any(abs(one - other) > tolerance for one, other in pairs.values()):
            places = {"clip": again.clip, "positions": [before.position, again.position]}
            found.append({**places, **pairs, "tolerance": tolerance})
    return found


def duplicate_chance(protocol: Protocol, scales: Scales, sd: float = INCONSISTENCY_SD) -> float:
    """Return the chance of two answers to one clip too far apart; the deviation is as of `anchor_chance`."""
    answers = np.array([_answers(value, sd) for value in np.linspace(*_VALUES, _STEPS)])
    points = np.arange(answers.shape[1])
    apart = np.abs(points[:, None] - points[None, :]) > protocol.duplicate_tolerance
    one = float(np.einsum("vi,vj,ij->", answers, answers, apart) / _STEPS)  # on one scale
    return float(1 - (1 - one) ** (len(scales) * protocol.duplicates))


def _answers(value: float, sd: float) -> NDArray[np.float64]:
    """Return the chance of each point from 1 to 5, for a clip of a value."""
    error = NormalDist(value, sd)
    below = [0.0, *(error.cdf(point + 0.5) for point in range(int(MIN_SCORE), int(MAX_SCORE))), 1.0]
    return np.diff(below)


def _duplicate_words(duplicates: list[dict[str, Any]], scales: Scales) -> Iterator[str]:
    for twice in duplicates:
        (one, other), tolerance = twice["positions"], twice["tolerance"]
        pairs = ((scale.short, *twice[scale.key]) for scale in scales)
        got = ", ".join(f"{name} {before} then {after}" for name, before, after in pairs)
        yield f"clip at {one} and {other} got {got}; {tolerance:g} apart is allowed"


def unchecked(batch: Sequence[Presented], _protocol: Protocol, _scales: Scales) -> int:
    """Return how many trials were rated in a batch that has checks of which none was."""
    checks = [one for one in batch if one.role in ("anchor", "duplicate")]
    heard = any(one.scores for one in checks)
    return 0 if heard or not checks else sum(bool(one.scores) for one in batch)


def _unchecked_words(rated: int, _: Scales) -> Iterator[str]:
    yield f"clips rated: {rated}"


RULES = [
    Rule(
        "anchor", "anchors", "An anchor was rated too low.", "by an anchor", low_anchors, _anchor_words, anchor_chance
    ),
    Rule(
        "duplicate",
        "duplicates",
        "The two ratings of the same clip lie too far apart.",
        "by a duplicate",
        unlike_duplicates,
        _duplicate_words,
        duplicate_chance,
    ),
    Rule(
        "unscreened",
        "rated",
        "The batch ended before any of its checks was heard.",
        "by hearing no check",
        unchecked,
        _unchecked_words,
        follows_scope=False,
    ),
]


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a batch: those that it fails, with the evidence."""

    failed: list[tuple[Rule, Any]]
    of_rater: bool  # whether all of its rater's batches fail with it

    @property
    def reason(self) -> str:
        """Why it fails, in a sentence for each rule."""
        return " ".join(rule.reason for rule, _ in self.failed)


def judge(batch: Sequence[Presented], protocol: Protocol, scales: Scales) -> Verdict:
    """Judge a batch by all rules."""
    checked = [(rule, rule.check(batch, protocol, scales)) for rule in RULES]
    failed = [(rule, evidence) for rule, evidence in checked if evidence]
    return Verdict(failed, protocol.scope == "rater" and any(rule.follows_scope for rule, _ in failed))


def words(evidence: Mapping[str, Any], scales: Scales) -> list[str]:
    """Return what the log holds of a failure, whichever rules it was of; nothing of an exclusion by hand."""
    return [line for rule in RULES if evidence.get(rule.figures) for line in rule.words(evidence[rule.figures], scales)]


def consequences(protocol: Protocol, scales: Scales, batches: int | None = None) -> list[str]:
    """Say what follows from rules under which checks find nothing, or good raters get lost.

    `batches` is how many each rater will have; where it is not known, what is said is of the paper's 49.
    """
    highest_low, largest = protocol.anchor_fail_below, MAX_SCORE - MIN_SCORE
    fixed, margin = protocol.anchor_rule == "fixed", protocol.anchor_margin
    finds_nothing = {
        "No anchor is hidden in a batch": protocol.anchors == 0,
        f"No anchor can fail: no rating is below {highest_low:g}": (
            protocol.anchors > 0 and fixed and highest_low <= MIN_SCORE
        ),
        f"No anchor can fail: no rating lies {margin:g} below a mean of ratings": (
            protocol.anchors > 0 and not fixed and margin >= largest
        ),
        "No clip comes twice": protocol.duplicates == 0,
        f"No clip that comes twice can fail: two ratings differ by {largest:g} at most": (
            protocol.duplicates > 0 and protocol.duplicate_tolerance >= largest
        ),
    }
    sentences = [f"{said}." for said, holds in finds_nothing.items() if holds]
    if len(sentences) > 1:
        sentences.append("So nobody is screened: a rater who answers at random counts.")
    if protocol.anchors and not fixed and margin < largest:
        sentences.append("Anchors are held against the rater's own mean: who gives everything a 1 passes them.")
    chance, count = false_alarms(protocol, scales)["either"], PAPER_BATCHES if batches is None else batches
    if protocol.scope == "rater" and chance > 0 and count > 0:
        sentences.append(
            f"One failed batch takes out all of a rater's ratings. A good rater fails {chance:.1%} of batches by "
            f"chance, and keeps their ratings through {count} batches with a probability of "
            f"{(1 - chance) ** count:.1%}. --scope batch takes out the batch alone."
        )
    if protocol.training == 0:
        sentences.append("There is no practice: raters go from consent to clips that count.")
    return sentences


def strict_alarm(protocol: Protocol, scales: Scales) -> float:
    """Return the chance that the anchors fail a full batch of an honest rater who gives `STRICT` points less."""
    sd = math.sqrt(ANCHOR_SD**2 - BIAS_SD**2)
    return anchor_chance(protocol, scales, ANCHOR_MEAN - STRICT, sd, _CLIPS_MEAN - STRICT)


def false_alarms(protocol: Protocol, scales: Scales) -> dict[str, float]:
    """Return the chances that a full batch of an honest rater fails: by rule, then by any (``either``)."""
    chances = {rule.name: rule.chance_of_failing(protocol, scales) for rule in RULES if rule.chance_of_failing}
    return {**chances, "either": 1 - math.prod(1 - chance for chance in chances.values())}
