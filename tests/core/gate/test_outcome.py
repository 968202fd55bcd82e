"""What the gate says of clips that were scored and measured: which conditions each system holds, and why not."""

from collections.abc import Sequence

import pytest

from core.batch.leaderboard import leaderboard
from core.batch.manifest import Cells
from core.errors import DataError
from core.gate.measures import Signal
from core.gate.outcome import MOST_NAMED, NO_MUSIC, NO_SYSTEM, Checked, Conditions, Outcome, outcome, reasons_of
from core.scales import MUSICEVAL

FINE = Signal(-1.0, 0.0, 0, 0, 0.5)
CONDITIONS = Conditions({"musical_impression": 3.0})


def record(impression: float | None, system: str = "S", **cells: object) -> Cells:
    values = {"musical_impression": impression, "textual_alignment": 2.0}
    return {
        "id": "1",
        "file": "a.wav",
        "system": system,
        "status": "ok",
        "warnings": "",
        "reason": "",
        **values,
    } | cells


def clip(impression: float | None, system: str = "S", reasons: Sequence[str] = (), **cells: object) -> Checked:
    return Checked(record(impression, system, **cells), tuple(reasons))


def found(clips: Sequence[Checked], conditions: Conditions = CONDITIONS) -> Outcome:
    return outcome(clips, conditions, MUSICEVAL, (), ("judge", "0" * 64))


def said(of: Outcome) -> list[tuple[str, bool]]:
    return [(verdict.condition, verdict.passed) for verdict in of.verdicts]


MEAN, FAILED = "musical_impression at least 3", "failed clips at most 0 %"


def test_each_system_is_held_to_each_condition() -> None:
    clips = [clip(2.0, "B"), clip(4.0, "A"), clip(3.0, "A"), clip(3.5, "")]
    of = found(clips)
    held = [(verdict.system, verdict.condition, verdict.passed) for verdict in of.verdicts]
    assert held == [
        ("A", MEAN, True),
        ("A", FAILED, True),
        ("B", MEAN, False),
        ("B", FAILED, True),
        (NO_SYSTEM, MEAN, True),
        (NO_SYSTEM, FAILED, True),
    ]
    assert not of.passed
    assert found(clips[1:]).passed


@pytest.mark.parametrize(("mean", "shown", "passed"), [(3.0, "3.00", True), (2.999, "2.99", False)])
def test_the_mean_decides_and_is_never_shown_as_the_minimum_that_it_misses(
    mean: float, shown: str, passed: bool
) -> None:
    verdict = found([clip(mean)]).verdicts[0]
    assert verdict.passed == passed
    assert f"has a mean of {shown} and no interval, which needs 5 clips" in verdict.sentence


SPREAD = [clip(value) for value in (2.2, 2.6, 3.0, 3.4, 3.8, 4.2)]


def test_the_interval_is_that_of_the_leaderboard_and_stands_beside_the_mean() -> None:
    of = found(SPREAD)
    board = leaderboard([clip.record for clip in SPREAD], MUSICEVAL).iloc[0]
    mean = of.means[0]
    assert (mean.mean, mean.low, mean.high) == pytest.approx(
        (3.2, board["musical_impression_low"], board["musical_impression_high"])
    )
    assert of.verdicts[0].passed
    assert of.verdicts[0].sentence.endswith("With other clips it might not.")


def test_strict_asks_the_interval() -> None:
    strict = Conditions({"musical_impression": 3.0}, strict=True)
    assert not found(SPREAD, strict).verdicts[0].passed
    assert found([clip(value + 1) for value in (2.2, 2.6, 3.0, 3.4, 3.8)], strict).verdicts[0].passed
    assert not found([clip(5.0)] * 4, strict).verdicts[0].passed  # of so few there is none


def test_a_system_without_a_value_has_no_mean() -> None:
    verdict = found([clip(None, status="failed", reasons=["It cannot be read."])]).verdicts[0]
    assert (verdict.passed, verdict.sentence) == (
        False,
        "musical_impression has no mean: none of its clips has a value.",
    )


@pytest.mark.parametrize(("most", "passed"), [(0.0, False), (24.9, False), (25.0, True), (100.0, True)])
def test_a_share_of_the_clips_may_fail(most: float, passed: bool) -> None:
    clips = [clip(4.0), clip(4.0), clip(4.0), clip(4.0, reasons=["It has 1 click, above 0."])]
    of = found(clips, Conditions(max_fail_percent=most))
    assert said(of) == [(f"failed clips at most {most:g} %", passed)]
    assert (of.n_clips, of.n_failed) == (4, 1)
    assert of.failed[0].reason == "It has 1 click, above 0."


def test_a_clip_with_a_fault_in_its_signal_counts_in_the_mean_and_one_that_is_no_music_does_not() -> None:
    of = found([clip(4.0), clip(2.0, reasons=["It has 1 click, above 0."]), clip(1.0, warnings="demo_model;no_music")])
    assert of.means[0].mean == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("given", "signal", "untold", "reasons"),
    [
        (record(3.0), FINE, {}, []),
        (record(None, status="failed", reason="It is silent."), "It is silent.", {}, ["It is silent."]),
        (record(None), FINE, {"musical_impression": "None."}, ["It has no musical_impression: None."]),
        (record(3.0), FINE, {"textual_alignment": "There is no prompt."}, []),
        (record(3.0, warnings="no_music"), FINE, {}, [NO_MUSIC]),
        (record(3.0), "It took too much memory.", {}, ["It took too much memory."]),
        (record(3.0), Signal(-1.0, 0.0, 1, 0, 0.0), {}, ["It has 1 click, above 0."]),
    ],
    ids=["none", "unread", "untold", "untold, not asked", "no music", "unmeasured", "click"],
)
def test_why_a_clip_fails(given: Cells, signal: Signal | str, untold: dict[str, str], reasons: list[str]) -> None:
    assert reasons_of(given, signal, CONDITIONS, untold) == reasons


def test_of_many_that_fail_the_first_are_named_and_all_counted() -> None:
    of = found([clip(4.0, reasons=["x."])] * (MOST_NAMED + 5))
    assert (len(of.failed), of.n_failed) == (MOST_NAMED, MOST_NAMED + 5)


@pytest.mark.parametrize(
    "minima", [{"loudness": 3.0}, {"musical_impression": 5.1}, {"musical_impression": float("nan")}]
)
def test_a_condition_that_no_judge_can_answer_is_refused(minima: dict[str, float]) -> None:
    with pytest.raises(DataError):
        Conditions(minima).check(MUSICEVAL)
