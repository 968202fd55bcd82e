import numpy as np
import pandas as pd
import pytest

from core import metrics
from core.measuring import held_out, measure_all
from core.predictions import measure


def table(clips: int, systems: int, spread: float = 1.0) -> pd.DataFrame:
    random = np.random.default_rng(0)
    truth = random.uniform(1, 5, (clips, 2))
    said = 3 + spread * (truth - 3) + spread * random.normal(0, 0.5, (clips, 2))
    return pd.DataFrame(
        {
            "clip_id": [f"c{n}" for n in range(clips)],
            "system_id": [f"S{n % systems}" for n in range(clips)],
            "musical_impression": truth[:, 0],
            "textual_alignment": truth[:, 1],
            "predicted_musical_impression": said[:, 0],
            "predicted_textual_alignment": said[:, 1],
        }
    )


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.measuring.RESAMPLES", 30)


def test_the_figures_are_those_of_evaluate() -> None:
    levels, not_measured = measure_all(table(40, 5))
    assert levels == measure(table(40, 5), resamples=30)
    assert not_measured == {}


def test_two_systems_leave_the_clips_level() -> None:
    levels, not_measured = measure_all(table(40, 2))
    assert set(levels) == {"utterance"}
    reason = "2 points are too few to correlate: give at least 3."
    assert not_measured == {"system": dict.fromkeys(levels["utterance"], reason)}


def test_one_constant_scale_leaves_the_other() -> None:
    rows = table(40, 5).assign(predicted_textual_alignment=3.0)
    levels, not_measured = measure_all(rows)
    assert list(levels["system"]) == list(levels["utterance"]) == ["musical_impression"]
    assert set(not_measured) == {"utterance", "system"}
    assert "All scores of one side are the same" in not_measured["system"]["textual_alignment"]


def test_held_out_error_is_a_quantile_of_the_clips_errors() -> None:
    rows = table(11, 3).assign(
        predicted_musical_impression=lambda rows: rows["musical_impression"] + np.arange(11) / 10,
        predicted_textual_alignment=lambda rows: rows["textual_alignment"] - np.arange(11) / 5,
    )
    measured = held_out(rows, "some clips")
    errors = measured.pop("absolute_error_quantile")
    assert errors["musical_impression"] == pytest.approx(0.9)
    assert errors["textual_alignment"] == pytest.approx(1.8)
    assert measured == {"data": "some clips", "n_clips": 11, "n_systems": 3, "interval_level": 0.9}
    assert metrics.mse(rows["musical_impression"], rows["predicted_musical_impression"]) > 0
