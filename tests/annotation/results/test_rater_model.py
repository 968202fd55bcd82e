"""The rater model: it finds what was put in, and agrees with the reference implementation."""

import contextlib
import io
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sureal import P910AnnexEModel
from sureal.dataset_reader import RawDatasetReader

from annotation.results.rater_model import LEAST_INCONSISTENCY, fit


def simulated(clips: int, raters: int, each: int, seed: int, rounded: bool = True):
    """Ratings of a panel whose last rater is careless; every clip by `each` of them."""
    random = np.random.default_rng(seed)
    quality, bias = random.normal(3, 0.8, clips), random.normal(0, 0.3, raters)
    sd = np.full(raters, 0.45)
    sd[-1] = 1.5
    clip = np.repeat(np.arange(clips), each)
    rater = np.concatenate([random.choice(raters, each, replace=False) for _ in range(clips)])
    score = quality[clip] + bias[rater] + random.normal(0, sd[rater])
    return clip, rater, np.clip(np.rint(score), 1, 5) if rounded else score, quality, bias, sd


def reference(clip, rater, score) -> dict[str, np.ndarray]:
    """What sureal makes of the same ratings."""
    videos = [
        {"content_id": 0, "asset_id": index, "path": str(index), "os": {}} for index in range(clip.max() + 1)
    ]
    for index, name, given in zip(clip, rater, score, strict=True):
        videos[index]["os"].setdefault(f"{name:04d}", []).append(float(given))
    dataset = SimpleNamespace(ref_videos=[{"content_id": 0, "path": ""}], dis_videos=videos)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = P910AnnexEModel(RawDatasetReader(dataset)).run_modeling()
    names = ("quality_scores", "observer_bias", "observer_inconsistency", "observer_bias_std")
    found = {name: np.array(result[name]) for name in names}
    below, above = (np.array(end) for end in result["observer_inconsistency_ci95"])
    return {
        **found,
        "low": found["observer_inconsistency"] - below,
        "high": found["observer_inconsistency"] + above,
    }


def assert_agrees(clip, rater, score) -> None:
    model, theirs = fit(clip, rater, score), reference(clip, rater, score)
    for ours, name in [
        (model.quality, "quality_scores"),
        (model.bias, "observer_bias"),
        (model.inconsistency, "observer_inconsistency"),
        (model.inconsistency_low, "low"),
        (model.inconsistency_high, "high"),
    ]:
        np.testing.assert_allclose(ours, theirs[name], rtol=0, atol=1e-9, err_msg=name)
    steady = model.inconsistency > LEAST_INCONSISTENCY
    deviation = (model.bias_high - model.bias_low)[steady] / 2 / 1.959964
    np.testing.assert_allclose(deviation, theirs["observer_bias_std"][steady], rtol=1e-6)


def test_it_agrees_with_the_reference() -> None:
    assert_agrees(*simulated(40, 9, 5, seed=1)[:3])


def test_it_agrees_where_raters_answered_twice() -> None:
    clip, rater, score = simulated(30, 6, 4, seed=2)[:3]
    assert_agrees(np.append(clip, clip[:9]), np.append(rater, rater[:9]), np.append(score, score[:9] % 5 + 1))


@pytest.mark.reference
def test_it_agrees_on_ratings_of_real_listeners(reference_data: Path) -> None:
    table = pd.read_csv(reference_data / "ratings" / "svcc23_ratings.csv")
    table = table[table["sample_id"].isin(table["sample_id"].unique()[:60])]
    clip, rater = pd.factorize(table["sample_id"])[0], pd.factorize(table["listener_name"], sort=True)[0]
    assert_agrees(clip, rater, table["score"].to_numpy(float))


def test_it_finds_what_was_put_in() -> None:
    clip, rater, score, quality, bias, sd = simulated(1000, 14, 5, seed=3, rounded=False)
    model = fit(clip, rater, score)
    np.testing.assert_allclose(model.inconsistency[:-1], sd[:-1] * np.sqrt(1 - 1 / 5), atol=0.06)
    assert model.inconsistency[-1] == pytest.approx(sd[-1], abs=0.1)
    np.testing.assert_allclose(model.bias, bias - bias.mean(), atol=0.12)
    assert np.corrcoef(model.quality, quality)[0, 1] > 0.95
    assert abs(model.bias.mean()) < 1e-12
    inside = (model.bias_low <= bias - bias.mean()) & (bias - bias.mean() <= model.bias_high)
    assert inside.sum() >= 12


def test_a_careless_rater_counts_less_than_in_the_mean() -> None:
    clip, rater, score, quality, *_ = simulated(400, 14, 5, seed=4)
    mean = np.bincount(clip, score) / np.bincount(clip)
    model = fit(clip, rater, score)
    with_careless = np.unique(clip[rater == 13])
    errors = [np.std((values - quality)[with_careless]) for values in (model.quality, mean)]
    assert errors[0] < 0.8 * errors[1]


def test_a_rater_who_is_followed_exactly_is_told_apart() -> None:
    """Three ratings a clip, one of them a little better: the fit ends at believing that rater alone."""
    random = np.random.default_rng(0)
    clip, rater = np.repeat(np.arange(30), 3), np.tile([0, 1, 2], 30)
    score = random.normal(3, 1, 30)[clip] + random.normal(0, np.array([0.3, 1.0, 1.0])[rater])
    assert fit(clip, rater, score).inconsistency[0] < LEAST_INCONSISTENCY
