"""A whole study, simulated: exact, repeatable, and honest about whom the checks catch and whom not."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from annotation.plans import SimulationPlan
from annotation.protocol import Protocol
from annotation.results.reliability import RaterReliability
from annotation.schema import Rater
from annotation.simulate import Listener, Simulation, draw_truth, simulate
from core.errors import StudyError
from core.scales import MUSICEVAL, Scale

SMALL = {"clips": 20, "systems": 4, "raters": 9, "careless": 1, "quitting": 1, "anchor_pool": 9, "seed": 7}
RULES = Protocol(batch_size=7, anchors=2, duplicate_distance=3, training=2)
CLARITY = Scale("clarity", "Clarity", "How clear is it?", ("a", "b", "c", "d", "e"))


def small(**changes: Any) -> Simulation:
    return simulate(SimulationPlan(**{**SMALL, "protocol": RULES, **changes}))


@pytest.fixture(scope="module")
def found() -> Simulation:
    """Of a study that has MusicEval's scales and one more."""
    told: list[tuple[int, int]] = []
    plan = SimulationPlan(**SMALL, straight_lining=1, protocol=RULES)
    found = simulate(plan, lambda done, needed: told.append((done, needed)), (*MUSICEVAL, CLARITY))
    assert told[0] == (0, 100)
    assert all(0 <= done <= needed for done, needed in told)
    return found


def assert_exact(found: Simulation) -> None:
    needed = found.plan.protocol.raters_per_clip
    assert found.valid_per_clip_min == found.valid_per_clip_max == found.different_raters_per_clip_min == needed
    assert found.valid_total == needed * found.plan.clips
    assert found.shortage == []


def of_kind(found: Simulation, kind: str) -> list[RaterReliability]:
    return [rater for of, rater in found.panel if of == kind]


def test_every_clip_has_its_ratings(found: Simulation) -> None:
    assert_exact(found)
    assert found.ratings_total > 100 * 10 / 7  # each batch of seven has three checks


def test_who_does_not_listen(found: Simulation) -> None:
    """The careless rater fails the checks; whoever answers 4 to all passes, and the report shows them."""
    assert found.careless_caught == 1
    (straight,) = of_kind(found, "straight-lining")
    assert (straight.batches_excluded, straight.flags) == (0, ["straight-lining"])
    assert straight.scales["clarity"].correlation_with_others is None
    assert [one.flags for one in of_kind(found, "honest")] == [[]] * 6


def test_the_mos_follow_the_truth(found: Simulation) -> None:
    assert found.correlation_with_truth.keys() == {"musical_impression", "textual_alignment", "clarity"}
    for scale in found.correlation_with_truth.values():
        assert scale["clips_pearson"] > 0.85
        assert scale["systems_pearson"] > 0.85


def test_the_truth_spreads_like_that_of_the_composed_panel() -> None:
    """Whose systems had standard deviations of 0.73 and 0.54 on the two scales, clips of 0.82 and 0.98."""
    truth = draw_truth(400, 89, 2, 1)
    assert truth.min() >= 1
    assert truth.max() <= 5
    assert truth.mean() == pytest.approx(3.15, abs=0.1)
    assert truth.mean(axis=1).std() == pytest.approx(0.75, abs=0.1)
    assert truth.std() == pytest.approx(0.95, abs=0.1)


@pytest.mark.parametrize(
    ("kind", "mean", "sd"), [("honest", 3.3, 0.53), ("careless", 3, 1.41), ("straight-lining", 4, 0)]
)
def test_how_raters_answer(kind: str, mean: float, sd: float) -> None:
    rater = Listener(Rater(), kind, np.array([0.3]), np.random.default_rng(1))
    said = [rater.answer(np.array([3.0]))[0] for _ in range(4000)]
    assert (np.mean(said), np.std(said)) == (pytest.approx(mean, abs=0.06), pytest.approx(sd, abs=0.06))


def test_the_count_of_batches_adds_up(found: Simulation) -> None:
    raters = [rater for _, rater in found.panel]
    assert sum(one.batches for one in raters) <= found.batches  # one can be left at once
    assert sum(found.false_alarms_by_rule.values()) == found.false_alarms
    assert sum(one.ratings for one in raters) + 2 * 9 == found.ratings_total  # and practice
    assert 0 < found.false_alarm_share_expected < 0.2


def test_the_json_is_flat(found: Simulation) -> None:
    shown = found.to_json()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    asked = {field.name for field in dataclasses.fields(SimulationPlan)}
    came = {field.name for field in dataclasses.fields(Simulation)} - {"plan", "scales"}
    assert shown.keys() == asked | came
    assert {"rater", "kind", "flags", "clarity"} <= shown["panel"][0].keys()


def test_a_seed_gives_the_same_study_again() -> None:
    first, again, other = (small(clips=4, raters=5, careless=0, seed=seed) for seed in (1, 1, 2))
    assert dataclasses.replace(first, seconds=0) == dataclasses.replace(again, seconds=0)
    assert other.correlation_with_truth != first.correlation_with_truth


@pytest.mark.parametrize(
    "rules",
    [
        {"presentation": "by-prompt"},
        {"scope": "rater", "duplicate_tolerance": 2.0},
        {"raters_per_clip": 3, "duplicates": 2},
        {"anchors": 0, "duplicates": 0, "training": 0},
        {"batch_size": 5, "anchors": 3, "duplicate_distance": 7},
    ],
)
def test_other_rules(rules: dict[str, Any]) -> None:
    assert_exact(small(clips=12, protocol=dataclasses.replace(RULES, **rules)))


def test_too_few_raters_and_anchors_are_told() -> None:
    found = small(clips=8, raters=5, quitting=0, anchor_pool=2)
    assert found.valid_per_clip_min < 5
    assert found.valid_per_clip_max <= 5
    assert found.anchor_repeats_max > 0
    assert found.shortage[0] in found.text()


def test_the_text_says_it(found: Simulation) -> None:
    said = found.text()
    assert "20 clips of 4 systems; 9 raters, of them 1 careless, 1 straight-lining, 1 quitting." in said
    assert "Valid ratings a clip: 5 to 5, by 5 different raters or more." in said
    assert "caught (over half of their batches excluded): 1 of 1." in said
    assert "Clarity, MOS against the truth: clips pearson 0." in said


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"clips": 0}, "clips is 0"),
        ({"careless": -1}, "careless is -1"),
        ({"anchor_pool": 2}, "anchor_pool is 2; it must be at least 3"),
        ({"systems": 50, "clips": 40}, "50 systems"),
        ({"raters": 5, "careless": 4, "straight_lining": 2}, "more than all raters"),
    ],
)
def test_a_plan_that_cannot_be(wrong: dict[str, int], named: str) -> None:
    with pytest.raises(StudyError, match=named):
        SimulationPlan(**wrong)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_the_papers_size() -> None:
    found = simulate(SimulationPlan(clips=2748, systems=31, raters=14, careless=2, seed=1))
    assert_exact(found)
    assert found.valid_total == 13_740
    assert found.careless_caught == 2
    assert found.false_alarm_share == pytest.approx(found.false_alarm_share_expected, abs=0.04)
