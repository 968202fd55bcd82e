"""The protocol: its published defaults, and what cannot be set."""

import dataclasses
import json
import math
from typing import Any

import pytest

from annotation.protocol import Protocol
from core.errors import StudyError


def test_defaults() -> None:
    protocol = Protocol()
    assert protocol.trials_per_batch == 24
    published = {"raters_per_clip": 5, "batch_size": 20, "anchors": 3, "duplicates": 1, "scope": "batch"}
    published |= {"anchor_fail_below": 3.0, "anchor_scale": "musical_impression"}
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
