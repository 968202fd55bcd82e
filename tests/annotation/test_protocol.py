"""The protocol: its published defaults, and what cannot be set."""

import dataclasses
import json
import math
from typing import Any

import pytest

from annotation.protocol import Protocol
from annotation.rules import consequences, false_alarms
from core.errors import StudyError
from core.scales import MUSICEVAL

PASSES = "Anchors are held against the rater's own mean: who gives everything a 1 passes them."


def test_defaults() -> None:
    protocol = Protocol()
    assert protocol.trials_in(1000) == 24
    published = {"raters_per_clip": 5, "batch_size": 20, "anchors": 3, "duplicates": 1, "scope": "batch"}
    published |= {"anchor_fail_below": 3.0, "anchor_scale": "musical_impression", "anchor_rule": "fixed"}
    assert protocol.to_json() == {**protocol.to_json(), **published}
    assert all(rule.metadata["meaning"] for rule in dataclasses.fields(Protocol))


def test_a_protocol_survives_storage() -> None:
    protocol = Protocol(batch_size=12, presentation="by-prompt", lease_minutes=1.5)
    assert Protocol.from_json(json.loads(json.dumps(protocol.to_json()))) == protocol


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"raters_per_clip": 0}, "raters_per_clip is 0; it must lie between 1 and 1000000"),
        ({"duplicate_tolerance": -1}, "duplicate_tolerance is -1"),
        ({"lease_minutes": math.inf}, "lease_minutes is inf"),
        ({"loudness_lufs": math.nan}, "loudness_lufs is nan"),
        ({"peak_dbtp": 0.5}, "peak_dbtp is 0.5; it must lie between -60 and 0"),
        ({"scope": "panel"}, "scope is 'panel'; it can be batch or rater"),
        ({"batch_size": 2, "duplicates": 3}, "a batch of 2 clips has fewer"),
    ],
)
def test_what_cannot_be_set_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Protocol(**given)


def test_a_duplicate_that_fits_into_no_batch_is_refused_in_new_studies_alone() -> None:
    protocol = Protocol(duplicate_distance=100)
    assert Protocol.from_json(protocol.to_json()) == protocol
    with pytest.raises(StudyError, match="it can be 22 at most"):
        protocol.check_new(MUSICEVAL)
    Protocol(duplicate_distance=22).check_new(MUSICEVAL)
    Protocol(duplicate_distance=100, duplicates=0).check_new(MUSICEVAL)


@pytest.mark.parametrize(("clips", "anchors", "trials"), [(1, 1, 2), (5, 1, 7), (7, 2, 10), (19, 3, 23), (50, 3, 24)])
def test_a_short_batch_has_checks_in_proportion(clips: int, anchors: int, trials: int) -> None:
    assert (Protocol().anchors_in(clips), Protocol().trials_in(clips)) == (anchors, trials)


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, []),
        ({"anchors": 0}, ["No anchor is hidden in a batch."]),
        ({"anchor_fail_below": 1}, ["No anchor can fail: no rating is below 1."]),
        ({"anchor_rule": "relative", "anchor_fail_below": 1}, [PASSES]),
        (
            {"anchor_rule": "relative", "anchor_margin": 4},
            ["No anchor can fail: no rating lies 4 below a mean of ratings."],
        ),
        ({"anchor_rule": "relative", "anchors": 0}, ["No anchor is hidden in a batch."]),
        ({"duplicate_tolerance": 4}, ["No clip that comes twice can fail: two ratings differ by 4 at most."]),
        (
            {"anchors": 0, "duplicates": 0},
            [
                "No anchor is hidden in a batch.",
                "No clip comes twice.",
                "So nobody is screened: a rater who answers at random counts.",
            ],
        ),
    ],
)
def test_what_follows_from_rules_is_said(rules: dict[str, Any], said: list[str]) -> None:
    assert consequences(Protocol(**rules), MUSICEVAL) == said


def test_the_scope_of_a_rater_is_said_with_its_price() -> None:
    (sentence,) = consequences(Protocol(scope="rater"), MUSICEVAL)
    alarm = false_alarms(Protocol(), MUSICEVAL)["either"]
    assert f"{alarm:.1%} of batches" in sentence
    assert f"through 49 batches with a probability of {(1 - alarm) ** 49:.1%}" in sentence
