"""How often an honest rater fails: the figures by hand, and against simulated raters."""

import numpy as np
import pytest

from annotation.protocol import Protocol
from annotation.rules import anchor_chance, duplicate_chance, false_alarms, strict_alarm
from core.scales import MUSICEVAL


def test_the_defaults() -> None:
    """Three anchors of 4.3, sd 0.8: one batch in 27. Duplicates: 6 % at an error of 0.45, 32 % at 0.8."""
    chances = false_alarms(Protocol(), MUSICEVAL)
    anchor, duplicate = chances["anchor"], chances["duplicate"]
    assert 1 / anchor == pytest.approx(27.6, abs=0.1)
    assert duplicate == pytest.approx(0.06, abs=0.005)
    assert chances["either"] == pytest.approx(anchor + duplicate - anchor * duplicate)
    assert duplicate_chance(Protocol(), MUSICEVAL, sd=0.8) == pytest.approx(0.32, abs=0.005)
    assert 1 - duplicate_chance(Protocol(), MUSICEVAL[:1]) == pytest.approx((1 - duplicate) ** 0.5)


def test_the_ends() -> None:
    for protocol in (Protocol(anchors=0, duplicates=0), Protocol(anchor_fail_below=1, duplicate_tolerance=4)):
        assert false_alarms(protocol, MUSICEVAL) == {"anchor": 0, "duplicate": 0, "either": 0}
    one = Protocol(anchor_fail_below=5, anchors=1)
    assert anchor_chance(one, MUSICEVAL) == pytest.approx(0.5987, abs=1e-4)
    between = Protocol(anchor_fail_below=2.5)
    assert anchor_chance(between, MUSICEVAL) == anchor_chance(Protocol(), MUSICEVAL)


def test_simulated_raters_agree() -> None:
    random = np.random.default_rng(3)
    values = random.uniform(1.5, 4.5, (4000, 1, 2))
    answers = np.clip(np.rint(values + random.normal(0, 0.45, (4000, 2, 2))), 1, 5)
    apart = (np.abs(answers[:, 0] - answers[:, 1]) > 1).any(axis=1).mean()
    assert apart == pytest.approx(duplicate_chance(Protocol(), MUSICEVAL), abs=0.012)


@pytest.mark.parametrize("bias", [-0.9, 0.0, 0.6])
def test_simulated_raters_agree_about_the_relative_rule(bias: float) -> None:
    protocol, random = Protocol(anchor_rule="relative"), np.random.default_rng(4)
    clips = random.uniform(1.5, 4.5, (40_000, 20)) + bias + random.normal(0, 0.45, (40_000, 20))
    anchors = random.normal(4.3 + bias, 0.8, (40_000, 3))
    clips, anchors = np.clip(np.rint(clips), 1, 5), np.clip(np.rint(anchors), 1, 5)
    fail = (anchors < clips.mean(axis=1, keepdims=True) - 0.5).any(axis=1).mean()
    assert fail == pytest.approx(anchor_chance(protocol, MUSICEVAL, 4.3 + bias, 0.8, clips.mean()), abs=0.012)


def test_the_relative_rule_spares_strict_raters() -> None:
    fixed, relative = strict_alarm(Protocol(), MUSICEVAL), strict_alarm(Protocol(anchor_rule="relative"), MUSICEVAL)
    assert fixed == pytest.approx(0.115, abs=0.005)
    assert relative < 0.06
    assert anchor_chance(Protocol(anchor_rule="relative"), MUSICEVAL) == pytest.approx(0.041, abs=0.002)
    assert strict_alarm(Protocol(anchors=0), MUSICEVAL) == 0
    few = Protocol(anchor_rule="relative", batch_size=4)  # too few clips for a mean of their own
    assert anchor_chance(few, MUSICEVAL) == anchor_chance(Protocol(), MUSICEVAL)
