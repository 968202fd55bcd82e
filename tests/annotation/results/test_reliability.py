"""Reliability: textbook values, the reference's rater model, planted trends, the figures of a panel."""

import contextlib
import io
import json
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sureal import P910AnnexEModel
from sureal.dataset_reader import RawDatasetReader

from annotation.results import Figure
from annotation.results.agreement import Codes, Numbers, Repeats, alpha, icc, outlier_screen, repeats, trend
from annotation.results.rater_model import LEAST_DEGREES, LEAST_INCONSISTENCY, fit
from annotation.results.reliability import SCALE_FIGURES, Reliability, reliability, scale_reliability
from annotation.results.scores import mos_table
from core.scales import MUSICEVAL, Scale
from tests.annotation.results.panels import KINDS, panel


def test_icc_of_the_textbook() -> None:
    """Shrout and Fleiss, 1979, table 2: six targets, four judges; ICC(1,1) .17, ICC(1,4) .44."""
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = icc(np.repeat(np.arange(6), 4), np.ravel(table).astype(float))
    assert found == pytest.approx((0.16574, 0.44280), abs=1e-5)


def test_icc_of_unequal_numbers() -> None:
    random = np.random.default_rng(1)
    clip = np.repeat(np.arange(3000), random.integers(2, 8, 3000))
    score = random.normal(0, 1, 3000)[clip] + random.normal(0, 0.5, len(clip))
    single, mean = icc(clip, score)
    assert single == pytest.approx(1 / 1.25, abs=0.02)
    assert mean == pytest.approx(1 / (1 + 0.25 / 4.5), abs=0.01)


def test_alpha_of_the_textbook() -> None:
    """Krippendorff's own example with missing answers: 0.849 with the interval metric."""
    nan = np.nan
    table = np.array(
        [
            [1, 2, 3, 3, 2, 1, 4, 1, 2, nan, nan, nan],
            [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, nan, 3],
            [nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, nan],
            [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, nan],
        ]
    )
    _, clip = np.nonzero(~np.isnan(table))
    assert alpha(clip, table[~np.isnan(table)]) == pytest.approx(0.849, abs=5e-4)
    assert alpha(clip, table[~np.isnan(table)], "ordinal") == pytest.approx(0.815, abs=5e-4)


def test_clips_that_differ_less_than_their_ratings_correlate_not_at_all() -> None:
    assert icc(np.repeat([0, 1], 2), np.array([1.0, 5.0, 2.0, 4.5])) == (0.0, 0.0)


@pytest.mark.parametrize("clips", [1, 9, 10])
def test_agreement_needs_clips(clips: int) -> None:
    """Nine clips have given an intraclass correlation of -1.08; what is needed is said in its place."""
    found = reliability(panel(KINDS, clips=clips), MUSICEVAL)
    scale, said = found.scales["musical_impression"], {name: text for name, text, _ in found.scales_table.rows}
    agreement = [scale.alpha, scale.alpha_ordinal, scale.icc_one_rating, scale.icc_mos]
    names = [name for name in said if "alpha" in name or "correlation" in name]
    assert len(names) == 4
    if clips < 10:
        assert agreement == [None] * 4
        assert {said[name] for name in names} == {f"– (needs {10 - clips} more clips with two ratings)"}
    else:
        assert all(0 < figure < 1 for figure in agreement)


@pytest.mark.parametrize("scores", [[3.0, 3.0, 3.0, 3.0], [3.0]])
def test_what_cannot_be_told_is_none(scores: list[float]) -> None:
    clip, score = np.arange(len(scores)) // 2, np.array(scores)
    assert alpha(clip, score) is icc(clip, score) is trend(clip, clip, score, score) is None


def drifting(slope: float) -> tuple[Codes, Codes, Numbers, Numbers]:
    """A panel that changes with every batch, kind raters in the later ones: a plain regression sees both."""
    random = np.random.default_rng(2)
    clip = np.repeat(np.arange(200), 5)
    rater = np.concatenate([random.choice(14, 5, replace=False) for _ in range(200)])
    batch = random.integers(1, 20, len(clip)) + rater
    score = random.normal(3, 1, 200)[clip] + 0.2 * rater + slope * batch + random.normal(0, 0.4, len(clip))
    return clip, rater, score, batch.astype(float)


@pytest.mark.parametrize("slope", [0.0, 0.03, -0.05])
def test_a_trend_is_found_beside_clips_and_raters(slope: float) -> None:
    clip, rater, score, batch = drifting(slope)
    found = trend(clip, rater, score, batch)
    assert found.low <= slope <= found.high
    assert found.high - found.low < 0.02
    assert np.polyfit(batch, score, 1)[0] > slope + 0.03


def test_a_trend_is_that_of_least_squares_with_dummies() -> None:
    clip, rater, score, batch = drifting(0.03)
    dummies = np.column_stack([clip[:, None] == np.arange(200), rater[:, None] == np.arange(1, 14), batch])
    solution = np.linalg.lstsq(dummies.astype(float), score, rcond=None)[0]
    assert trend(clip, rater, score, batch).slope == pytest.approx(solution[-1], abs=1e-7)


def test_repeats() -> None:
    found = repeats(np.array([3.0, 4.0, 2.0, 5.0] * 3), np.array([3.0, 3.0, 4.0, 5.0] * 3))
    shares = {"0": 0.5, "1": 0.25, "2": 0.0, "3": 0.0}
    assert found == Repeats(12, 0.75, pytest.approx(np.sqrt(5 / 8)), shares)
    assert repeats(np.ones(9), np.ones(9)) == Repeats(9, None, None, {})
    assert repeats(np.array([]), np.array([])) is None


@pytest.mark.parametrize(("threshold", "needed"), [(2.0, 6), (3.29, 12)])
def test_a_screen_says_when_it_cannot_fire(threshold: float, needed: int) -> None:
    """The farthest that one of n values can lie: all others alike."""
    for n in (5, needed - 1, needed):
        found = outlier_screen(np.zeros(n, int), np.array([1.0] * (n - 1) + [5.0]), threshold)
        assert (found.ratings_needed, found.can_fire) == (needed, n >= needed)
        assert found.ratings_outside == (1 if n >= needed else None)


def test_a_screen_looks_at_the_clips_that_have_enough_ratings() -> None:
    score = np.array([1.0, 1, 1, 1, 5, 2, 2, 2, 2, 2, 2, 5])
    found = outlier_screen(np.array([0] * 5 + [1] * 7), score, 2.0)
    assert (found.clips_screened, found.ratings_outside) == (1, 1)


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
    videos = [{"content_id": 0, "asset_id": index, "path": str(index), "os": {}} for index in range(clip.max() + 1)]
    for index, name, given in zip(clip, rater, score, strict=True):
        videos[index]["os"].setdefault(f"{name:04d}", []).append(float(given))
    dataset = SimpleNamespace(ref_videos=[{"content_id": 0, "path": ""}], dis_videos=videos)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dict(P910AnnexEModel(RawDatasetReader(dataset)).run_modeling())


def farthest_from_reference(clip, rater, score) -> float:
    """How far any figure of the model lies from the reference's."""
    model, theirs = fit(clip, rater, score, corrected=False), reference(clip, rater, score)
    pairs = [
        (model.quality, theirs["quality_scores"]),
        (model.raters["bias"], theirs["observer_bias"]),
        (model.raters["inconsistency"], theirs["observer_inconsistency"]),
    ]
    return float(np.concatenate([np.abs(np.asarray(ours) - np.asarray(expected)) for ours, expected in pairs]).max())


def test_the_rater_model_agrees_with_the_reference() -> None:
    assert farthest_from_reference(*simulated(40, 9, 5, seed=1)[:3]) < 1e-9


def test_it_agrees_where_raters_answered_twice() -> None:
    clip, rater, score = simulated(30, 6, 4, seed=2)[:3]
    again = np.append(clip, clip[:9]), np.append(rater, rater[:9]), np.append(score, score[:9] % 5 + 1)
    assert farthest_from_reference(*again) < 1e-9


@pytest.mark.reference
def test_it_agrees_on_ratings_of_real_listeners(reference_data: Path) -> None:
    table = pd.read_csv(reference_data / "ratings" / "svcc23_ratings.csv")
    table = table[table["sample_id"].isin(table["sample_id"].unique()[:60])]
    clip, rater = pd.factorize(table["sample_id"])[0], pd.factorize(table["listener_name"], sort=True)[0]
    assert farthest_from_reference(clip, rater, table["score"].to_numpy(float)) < 1e-9


def test_it_finds_what_was_put_in() -> None:
    clip, rater, score, quality, bias, sd = simulated(1000, 14, 5, seed=3, rounded=False)
    model = fit(clip, rater, score)
    found, planted = model.raters, bias - bias.mean()
    np.testing.assert_allclose(found["inconsistency"][:-1], sd[:-1], atol=0.05)
    assert found["inconsistency"].iloc[-1] == pytest.approx(sd[-1], abs=0.1)
    np.testing.assert_allclose(found["bias"], planted, atol=0.12)
    assert np.corrcoef(model.quality, quality)[0, 1] > 0.95
    assert abs(found["bias"].mean()) < 1e-12
    assert ((found["bias_low"] <= planted) & (planted <= found["bias_high"])).sum() >= 12


def test_the_intervals_of_raters_cover() -> None:
    """Over many panels 95 % of them hold the truth; those of the reference's inconsistency hold few."""
    inconsistency, bias_covered, uncorrected = [], [], []
    for seed in range(20):
        clip, rater, score, _, bias, sd = simulated(400, 14, 5, seed=seed, rounded=False)
        found, planted = fit(clip, rater, score).raters, bias - bias.mean()
        inconsistency += [*(found["inconsistency_low"] <= sd) & (sd <= found["inconsistency_high"])]
        bias_covered += [*(found["bias_low"] <= planted) & (planted <= found["bias_high"])]
        theirs = fit(clip, rater, score, corrected=False).raters
        uncorrected += [*(theirs["inconsistency_low"] <= sd) & (sd <= theirs["inconsistency_high"])]
    assert 0.9 < np.mean(inconsistency) < 0.99
    assert 0.9 < np.mean(bias_covered) < 0.99
    assert np.mean(uncorrected) < 0.75


@pytest.mark.parametrize(("clips", "raters", "per_clip"), [(60, 6, 3), (100, 5, 3), (400, 30, 3)])
def test_the_intervals_of_raters_cover_where_clips_have_few_ratings(clips: int, raters: int, per_clip: int) -> None:
    """By the sum of (1 - leverage) they held the truth in 84, 85 and 89 %."""
    covered = []
    for seed in range(3_000 // clips):
        clip, rater, score, _, _, sd = simulated(clips, raters, per_clip, seed=seed, rounded=False)
        found = fit(clip, rater, score).raters
        covered += [*(found["inconsistency_low"] <= sd) & (sd <= found["inconsistency_high"])]
    assert 0.9 < np.mean(covered) < 0.99


def test_of_two_raters_a_clip_it_is_not_told_who_is_inconsistent() -> None:
    random = np.random.default_rng(0)
    clip, rater = np.repeat(np.arange(200), 2), np.tile([0, 1], 200)
    score = random.normal(3, 1, 200)[clip] + random.normal(0, 0.6, 400)
    assert fit(clip, rater, score).raters["degrees"].max() < LEAST_DEGREES


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
    assert fit(clip, rater, score).raters["inconsistency"][0] < LEAST_INCONSISTENCY


def test_the_figures_of_a_panel() -> None:
    found = reliability(panel(KINDS), MUSICEVAL)
    assert list(found.ratings.values()) == [360, 0, 0, 0, 0, 18, 0]
    assert (found.clips, found.ratings_per_clip) == (60, {"min": 6, "max": 6})
    impression = found.scales["musical_impression"]
    assert impression.repeats.pairs == 18
    assert 0.3 < impression.alpha < impression.icc_mos < 1.0
    assert [screen.can_fire for screen in impression.screens] == [True, False]
    straight, honest = (rater(found, name).scales["musical_impression"] for name in ("R3", "R1"))
    assert straight.correlation_with_others is None
    assert honest.correlation_with_others > 0.8
    assert straight.inconsistency > 1.5 * honest.inconsistency
    assert honest.inconsistency_low < honest.inconsistency < honest.inconsistency_high


def rater(found: Reliability, name: str):
    (one,) = (rater for rater in found.raters if rater.rater == name)
    return one


def test_the_json_is_flat() -> None:
    shown = reliability(panel(KINDS), MUSICEVAL).to_json()
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown
    assert list(shown) == ["ratings", "clips", "ratings_per_clip", "scales", "raters"]
    agreement = {"alpha", "alpha_ordinal", "icc_one_rating", "icc_mos", "change_per", "screens"}
    of_scale = {"mean", "interval_half_width", "repeats", "lacking", *agreement}
    assert shown["scales"]["musical_impression"].keys() == of_scale
    assert {"rater", "flags", "musical_impression", "textual_alignment"} <= shown["raters"][0].keys()


def test_terminal_and_page_show_the_same_figures() -> None:
    """Five ratings a clip screen nobody, and the figures say so."""
    found = reliability(panel({name: kind for name, kind in KINDS.items() if name != "R6"}), MUSICEVAL)
    rows = {name: said for name, *said in found.scales_table.rows}
    assert list(rows) == [figure.name for figure in SCALE_FIGURES]
    assert rows["Outliers beyond 2.0 standard deviations"][0].endswith("before a clip has 6 ratings")
    assert rows["Outliers beyond 3.29 standard deviations"][0].endswith("before a clip has 12 ratings")
    assert found.counts.endswith("Clips with valid ratings: 60, 5 to 5 valid ratings each.")
    assert found.raters_table.heads[4:7] == ("MI bias", "MI inconsistency", "MI r")
    text = found.text()
    for name, *_, last in (*found.scales_table.rows, *found.raters_table.rows):
        assert any(line.startswith(f"{name}  ") and line.endswith(last) for line in text.splitlines())


def test_a_new_figure_is_one_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = Figure("Pairs", lambda scale: f"{scale.repeats.pairs} pairs")
    monkeypatch.setattr("annotation.results.reliability.SCALE_FIGURES", (*SCALE_FIGURES, pairs))
    found = reliability(panel(KINDS), MUSICEVAL)
    assert found.scales_table.rows[-1] == ("Pairs", "18 pairs", "18 pairs")


@pytest.mark.parametrize("rows", [0, 1, 2, 23])
def test_a_study_that_has_hardly_begun(rows: int) -> None:
    found = reliability(panel(KINDS).iloc[:rows], MUSICEVAL)
    json.dumps(found.to_json(), allow_nan=False)
    assert found.text()
    assert found.ratings["valid"] + found.ratings["check"] == rows
    assert ("alpha" in found.to_json()["scales"]["musical_impression"]) == (rows > 0)


def test_a_rater_without_valid_ratings_has_no_figures() -> None:
    ratings = panel(KINDS)
    ratings.loc[(ratings["rater"] == "R3") & (ratings["status"] == "valid"), "status"] = "excluded"
    straight = rater(reliability(ratings, MUSICEVAL), "R3")
    assert (straight.scales["musical_impression"], straight.batches_excluded) == (None, 3)
    assert straight.flags == ["straight-lining"]


def test_other_scales_have_the_same_figures() -> None:
    clarity = Scale("clarity", "Clarity", "How clear is it?", ("a", "b", "c", "d", "e"))
    ratings = panel(KINDS).rename(columns={"musical_impression": "clarity"})
    found = reliability(ratings, (clarity,))
    assert found.scales["clarity"] == reliability(panel(KINDS), MUSICEVAL).scales["musical_impression"]
    assert found.raters_table.heads[4] == "C bias"


@pytest.mark.reference
def test_ratings_of_real_listeners(reference_data: Path) -> None:
    folder = reference_data / "ratings"
    ratings = pd.read_csv(folder / "svcc23_ratings.csv").rename(columns={"sample_id": "clip", "listener_name": "rater"})
    ratings = ratings.assign(status="valid", system=ratings["clip"].str.split("-").str[1], prompt="")
    published = pd.read_csv(folder / "svcc23_mos.csv", names=["clip", "mos"]).set_index("clip")["mos"]
    means = mos_table(ratings, ["score"]).set_index("clip")["score"]
    assert len(means) == 4040
    np.testing.assert_allclose(means, published[means.index], rtol=0, atol=1e-9)

    pairs = ratings.groupby(["clip", "rater"], sort=False)["score"].agg(["first", "last", "size"])
    twice = pairs[pairs["size"] == 2]
    again = repeats(twice["first"].to_numpy(float), twice["last"].to_numpy(float))
    assert (again.pairs, round(again.mean_difference, 2)) == (37, 0.54)
    assert again.share_over["1"] == pytest.approx(0.027, abs=5e-4)

    ratings = ratings.assign(role="stimulus", batch=1, position=range(len(ratings)))
    found = scale_reliability(ratings, ratings, "score")
    assert found.alpha == pytest.approx(found.icc_one_rating, abs=0.01)
    assert [screen.clips_screened for screen in found.screens] == [
        int((ratings.groupby("clip").size() >= n).sum()) for n in (6, 12)
    ]
