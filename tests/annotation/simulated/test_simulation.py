"""A whole study, simulated: exact, repeatable, and honest about whom the checks catch and whom not."""

import dataclasses
import json
from typing import Any

import pytest

from annotation.protocol import Protocol
from annotation.simulated.plans import SimulationPlan
from annotation.simulated.simulation import simulate, simulation_text
from core.errors import StudyError

SMALL = {"clips": 20, "systems": 4, "raters": 9, "careless": 1, "quitting": 1, "anchor_pool": 9, "seed": 7}
RULES = Protocol(batch_size=7, anchors=2, duplicate_distance=3, training=2)


def small(**changes: Any) -> dict[str, Any]:
    return simulate(SimulationPlan(**{**SMALL, "protocol": RULES, **changes}))


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    told: list[tuple[int, int]] = []
    plan = SimulationPlan(**SMALL, straight_lining=1, protocol=RULES)
    found = simulate(plan, lambda done, needed: told.append((done, needed)))
    assert told[0] == (0, 100)
    assert all(0 <= done <= needed for done, needed in told)
    return found


def assert_exact(found: dict[str, Any], raters_per_clip: int = 5) -> None:
    per_clip = [found[f"{name}_per_clip_{end}"] for name, end in (("valid", "min"), ("valid", "max"))]
    assert [*per_clip, found["different_raters_per_clip_min"]] == [raters_per_clip] * 3
    assert found["valid_total"] == raters_per_clip * found["clips"]
    assert found["shortage"] == []


def of_kind(found: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [one for one in found["panel"] if one["kind"] == kind]


def test_every_clip_has_its_ratings(found: dict[str, Any]) -> None:
    assert_exact(found)
    assert found["ratings_total"] > 100 * 10 / 7  # each batch of seven has three checks
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_who_does_not_listen(found: dict[str, Any]) -> None:
    """The careless rater fails the checks; whoever answers 4 to all passes, and the report shows them."""
    assert found["careless_caught"] == 1
    (straight,) = of_kind(found, "straight-lining")
    assert (straight["batches_excluded"], straight["flags"]) == (0, ["straight-lining"])
    assert straight["musical_impression"]["correlation_with_others"] is None
    assert [one["flags"] for one in of_kind(found, "honest")] == [[]] * 6


def test_the_mos_follow_the_truth(found: dict[str, Any]) -> None:
    for scale in found["correlation_with_truth"].values():
        assert scale["clips_pearson"] > 0.85
        assert scale["systems_pearson"] > 0.9


def test_the_count_of_batches_adds_up(found: dict[str, Any]) -> None:
    assert sum(one["batches"] for one in found["panel"]) <= found["batches"]  # one can be left at once
    assert sum(found["false_alarms_by_rule"].values()) == found["false_alarms"]
    assert sum(one["ratings"] for one in found["panel"]) + 2 * 9 == found["ratings_total"]  # and practice
    assert 0 < found["false_alarm_share_expected"] < 0.2


def test_a_seed_gives_the_same_study_again() -> None:
    first, again, other = (small(clips=4, raters=5, careless=0, seed=seed) for seed in (1, 1, 2))
    del first["seconds"], again["seconds"]
    assert first == again
    assert other["correlation_with_truth"] != first["correlation_with_truth"]


@pytest.mark.parametrize(
    "rules",
    [
        {"presentation": "by-prompt"},
        {"scope": "rater", "duplicate_tolerance": 2.0},
        {"raters_per_clip": 3, "duplicates": 2},
        {"anchors": 0, "duplicates": 0, "training": 0},
        {"batch_size": 5, "anchors": 3, "duplicate_distance": 8},
    ],
)
def test_other_rules(rules: dict[str, Any]) -> None:
    protocol = dataclasses.replace(RULES, **rules)
    assert_exact(small(clips=12, protocol=protocol), protocol.raters_per_clip)


def test_too_few_raters_are_told() -> None:
    found = small(clips=8, raters=5, quitting=0)
    assert found["valid_per_clip_min"] < 5
    assert found["valid_per_clip_max"] <= 5
    assert "invite" in found["shortage"][0]
    assert found["shortage"][0] in simulation_text(found)


def test_a_small_pool_of_anchors_comes_around(found: dict[str, Any]) -> None:
    assert small(clips=8, anchor_pool=2)["anchor_repeats_max"] > 0


def test_the_text_says_it(found: dict[str, Any]) -> None:
    said = simulation_text(found)
    assert "20 clips of 4 systems; 9 raters, of them 1 careless, 1 straight-lining, 1 quitting." in said
    assert "Valid ratings a clip: 5 to 5, by 5 different raters or more." in said
    assert "caught (over half of their batches excluded): 1 of 1." in said


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clips": 0}, "clips is 0; it must be at least 1"),
        ({"careless": -1}, "careless is -1; it must be at least 0"),
        ({"anchor_pool": 2}, "anchor_pool is 2; it must be at least 3"),
        ({"systems": 50, "clips": 40}, "50 systems cannot share 40 clips"),
        ({"raters": 5, "careless": 4, "straight_lining": 2}, "more than all raters"),
    ],
)
def test_a_plan_that_cannot_be(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(StudyError, match=message):
        SimulationPlan(**wrong)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_papers_size() -> None:
    found = simulate(SimulationPlan(clips=2748, systems=31, raters=14, careless=2, seed=1))
    assert_exact(found)
    assert found["valid_total"] == 13_740
    assert found["careless_caught"] == 2
    assert found["false_alarm_share"] == pytest.approx(found["false_alarm_share_expected"], abs=0.04)
    assert found["seconds"] < 300
