"""How often an honest rater fails: the figures by hand, and against simulated raters."""

import numpy as np
import pytest

from annotation.protocol import Protocol
from annotation.results.false_alarms import expected_false_alarms
from core.demo.panel import Rater


def test_the_defaults() -> None:
    """Three anchors of 4.3, sd 0.8: one batch in 27. Duplicates: 6 % at an error of 0.45, 32 % at 0.8."""
    alarms = expected_false_alarms(Protocol())
    assert 1 / alarms.anchor == pytest.approx(27.6, abs=0.1)
    assert alarms.duplicate == pytest.approx(0.06, abs=0.005)
    assert alarms.either == pytest.approx(alarms.anchor + alarms.duplicate - alarms.anchor * alarms.duplicate)
    assert expected_false_alarms(Protocol(), inconsistency_sd=0.8).duplicate == pytest.approx(0.32, abs=0.005)


@pytest.mark.parametrize(
    ("protocol", "anchor", "duplicate"),
    [
        (Protocol(anchors=0, duplicates=0), 0, 0),
        (Protocol(anchor_fail_below=1, duplicate_tolerance=4), 0, 0),
        (Protocol(anchor_fail_below=5, anchors=1, duplicates=0), 0.5987, 0),
        (Protocol(anchor_fail_below=2.5), expected_false_alarms(Protocol()).anchor, None),
    ],
)
def test_the_ends(protocol: Protocol, anchor: float, duplicate: float | None) -> None:
    alarms = expected_false_alarms(protocol)
    assert alarms.anchor == pytest.approx(anchor, abs=1e-4)
    assert duplicate is None or alarms.duplicate == pytest.approx(duplicate)


def test_simulated_raters_agree() -> None:
    random = np.random.default_rng(3)
    rater = Rater((0.0, 0.0))
    apart = 0
    for _ in range(4000):
        value = random.uniform(1.5, 4.5, 2)
        opinion = (float(value[0]), float(value[1]))
        one, other = rater.rate(opinion, random), rater.rate(opinion, random)
        apart += any(abs(a - b) > 1 for a, b in zip(one, other, strict=True))
    assert apart / 4000 == pytest.approx(expected_false_alarms(Protocol()).duplicate, abs=0.012)
