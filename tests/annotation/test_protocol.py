"""The rules: the published defaults, and what cannot be a rule."""

import dataclasses
import json
import math
from typing import Any

import pytest

from annotation.protocol import Protocol
from core.errors import StudyError


def test_defaults() -> None:
    protocol = Protocol()
    assert (protocol.raters_per_clip, protocol.batch_size, protocol.anchors, protocol.duplicates) == (
        5,
        20,
        3,
        1,
    )
    assert protocol.trials_per_batch == 24
    assert (protocol.scope, protocol.anchor_fail_below, protocol.anchor_scale) == (
        "batch",
        3.0,
        "musical_impression",
    )


def test_every_rule_says_what_it_means() -> None:
    for rule in dataclasses.fields(Protocol):
        assert rule.metadata["meaning"]


def test_a_protocol_survives_storage() -> None:
    protocol = Protocol(batch_size=12, presentation="by-prompt", lease_minutes=1.5)
    assert Protocol.from_json(json.loads(json.dumps(protocol.to_json()))) == protocol


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"raters_per_clip": 0}, "raters_per_clip is 0; it must lie between 1 and 1000000"),
        ({"duplicate_tolerance": -1}, "duplicate_tolerance is -1"),
        ({"lease_minutes": math.inf}, "lease_minutes is inf"),
        ({"loudness_lufs": math.nan}, "loudness_lufs is nan"),
        ({"peak_dbtp": 0.5}, "peak_dbtp is 0.5; it must lie between -60 and 0"),
        ({"scope": "panel"}, "scope is 'panel'; it can be batch or rater"),
        ({"anchor_scale": "beauty"}, "it can be musical_impression or textual_alignment"),
        ({"batch_size": 2, "duplicates": 3}, "a batch of 2 clips has fewer"),
    ],
)
def test_impossible_rules_are_refused(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        Protocol(**rules)
