"""Controls: what cannot have listened."""

import numpy as np
import pytest

from core.controls import MEAN, SYSTEM, as_good_as, control_values, knows_systems, measure_controls, read_controls
from core.evaluation import Predictions, measure
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL, keys
from core.splits import Split, split_clips
from tests.rated import rated_table

MI, TA = keys(MUSICEVAL)


@pytest.fixture
def clips() -> RatedClips:
    """Every second clip is in the test part; the impression follows from the system alone."""
    clips = rated_table(40)
    table = clips.table.assign(musical_impression=[1.0 + n % 4 for n in range(40)])
    return RatedClips(table).with_parts(["train"] * 20 + ["test"] * 20)


def test_what_they_say(clips: RatedClips) -> None:
    values = control_values(clips)
    assert values[MEAN][:, 0].tolist() == [2.5] * 40
    assert values[SYSTEM][:, 0].tolist() == [1.0 + n % 4 for n in range(40)]
    train = clips.mos[:20, 1]
    assert values[SYSTEM][:4, 1] == pytest.approx([train[n::4].mean() for n in range(4)])


def test_of_a_system_that_is_not_in_train_there_is_the_mean(clips: RatedClips) -> None:
    new = clips.with_parts(["test" if system == "S1" else "train" for system in clips.table["system_id"]])
    rows = new.rows("test")
    assert control_values(new)[SYSTEM][rows].tolist() == control_values(new)[MEAN][rows].tolist()
    assert not knows_systems(new, rows)
    assert list(measure_controls(new, rows)) == [MEAN]
    assert measure_controls(clips.with_parts(["test"] * 40), range(40)) == {}


def test_knowing_the_system_is_told_where_it_is_enough(clips: RatedClips) -> None:
    rows = clips.rows("test")
    controls = measure_controls(clips, rows)
    assert list(controls) == [MEAN, SYSTEM]
    assert controls[SYSTEM].agreement["utterance", MI].figures["srcc"] == pytest.approx(1)
    assert controls[MEAN].agreement["utterance", MI].figures.keys() == {"mse"}
    tested = clips.take(rows)
    noise = np.random.default_rng(0).normal(0, 1, (20, 2))
    worse = measure(Predictions.of(tested, tested.mos + noise * [1, 0], MUSICEVAL), resamples=0)
    (said,) = as_good_as(worse, controls)
    assert "musical impression, utterance level (SRCC 1.000 against" in said
    assert "textual alignment, utterance level" not in said
    assert as_good_as(worse, {MEAN: controls[MEAN]}) == []


def test_they_are_stored(clips: RatedClips) -> None:
    controls = measure_controls(clips, clips.rows("test"))
    stored = {name: of.to_json() for name, of in controls.items()}
    read = read_controls({"controls": stored}, MUSICEVAL)
    assert {name: of.agreement for name, of in read.items()} == {name: of.agreement for name, of in controls.items()}
    assert read_controls({}, MUSICEVAL) == {}


def test_with_systems_held_out_there_is_no_such_control() -> None:
    parted = split_clips(rated_table(40), Split("systems"))
    assert list(measure_controls(parted, parted.rows("test"))) == [MEAN]
