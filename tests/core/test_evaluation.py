"""Predictions: read, measured, laid out as Table I, and which clips a model is measured on."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import evaluation
from core.errors import DataError, MetricError
from core.evaluation import (
    LEVELS,
    Measured,
    Predictions,
    comparison,
    error_estimate,
    judged,
    measure,
    read_answer,
    read_predictions,
    read_system_scores,
)
from core.metrics import Agreement
from core.musiceval import read_release
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL, TEXTUAL_ALIGNMENT, Scale, keys
from core.table_one import table_one_as_text
from tests.rated import rated_table
from tests.releases import DEV, write_release

HEADING = "clip_id,system_id,musical_impression,predicted_musical_impression"
# means of A (2, 2), of B (4, 3), of C (3, 5), of D (2, 1)
ROWS = ["a,A,1,1", "b,A,3,3", "c,B,4,2", "d,B,4,4", "e,C,3,5", "f,D,2,1"]
MI, TA = keys(MUSICEVAL)
ENERGY = Scale("energy", "Energy", "How much drive has it?", ("none", "little", "some", "much", "full"))


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "RESAMPLES", 30)


def predictions(clips: int, systems: int) -> Predictions:
    random = np.random.default_rng(0)
    truth = random.uniform(1, 5, (clips, 2))
    said = truth + random.normal(0, 0.5, (clips, 2))
    columns = dict(zip([MI, TA, f"predicted_{MI}", f"predicted_{TA}"], [*truth.T, *said.T], strict=True))
    names = {"clip_id": [f"c{n}" for n in range(clips)], "system_id": [f"S{n % systems}" for n in range(clips)]}
    return Predictions(pd.DataFrame(names | columns), MUSICEVAL)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def refusal(path: Path, *lines: str) -> list[str]:
    with pytest.raises(DataError) as caught:
        read_predictions(write(path, *lines))
    return [line.strip() for line in str(caught.value).splitlines()]


def test_one_scale_worked_by_hand(tmp_path: Path) -> None:
    measured = measure(read_predictions(write(tmp_path / "t.csv", HEADING, *ROWS)), resamples=0)
    assert measured.scales == (MUSICAL_IMPRESSION,)
    assert measured.agreement.keys() == {("utterance", MI), ("system", MI)}
    utterance, system = (measured.agreement[level, MI] for level in ("utterance", "system"))
    assert (utterance.n, utterance.figures["mse"]) == (6, pytest.approx((4 + 4 + 1) / 6))
    # ranks (1, 3.5, 5.5, 5.5, 3.5, 2) and (1.5, 4, 3, 5, 6, 1.5), both of mean 3.5
    assert utterance.figures["srcc"] == pytest.approx(10 / (16.5 * 17) ** 0.5)
    # of 15 pairs 9 agree, 3 disagree, 2 are tied in the truth, 1 in what was predicted
    assert utterance.figures["ktau"] == pytest.approx((9 - 3) / (13 * 14) ** 0.5)
    assert (system.n, system.figures["mse"]) == (4, pytest.approx((0 + 1 + 4 + 1) / 4))
    # ranks (1.5, 4, 3, 1.5) and (2, 3, 4, 1)
    assert system.figures["srcc"] == pytest.approx(3.5 / (4.5 * 5) ** 0.5)
    assert system.figures["ktau"] == pytest.approx((4 - 1) / (5 * 6) ** 0.5)


def test_both_scales_and_other_columns(tmp_path: Path) -> None:
    heading = f"note,{HEADING},predicted_textual_alignment,textual_alignment"
    rows = [f"x,{row},0.5,{1 + n % 5}" for n, row in enumerate(ROWS)]
    read = read_predictions(write(tmp_path / "t.csv", heading, *rows))
    assert read.scales == MUSICEVAL
    assert read.table["predicted_textual_alignment"].tolist() == [0.5] * 6  # as given, not clamped
    assert read.notes == ("6 predictions lie outside 1 to 5: they go from 0.5 to 5.",)
    measured = measure(read)
    assert measured.agreement["utterance", TA].figures == {"mse": pytest.approx(np.mean((np.arange(6) % 5 + 0.5) ** 2))}
    assert "Textual alignment, utterance level: correlations are not measured: all predicted scores are the same." in (
        measured.why_not()
    )


def test_scales_that_a_table_names(tmp_path: Path) -> None:
    table = predictions(9, 4).table.rename(columns=lambda name: name.replace(TA, "energy"))
    Predictions(table, (MUSICAL_IMPRESSION, ENERGY)).to_csv(tmp_path / "t.csv")
    read = read_predictions(tmp_path / "t.csv")
    assert read.scales == (MUSICAL_IMPRESSION, ENERGY)
    assert measure(read).on("system").keys() == {MI, "energy"}


def test_all_that_is_wrong_with_a_table(tmp_path: Path) -> None:
    assert refusal(tmp_path / "t.csv", HEADING, "a,A,0.5,1", "a,,2,x", "b,B,nan,", "c,C,3") == [
        '"t.csv" cannot be used, it has 6 problems:',
        "t.csv, line 2: musical_impression: the score 0.5 is not from 1 to 5",
        "t.csv, line 3: system_id: it is empty",
        't.csv, line 3: predicted_musical_impression: "x" is not a number',
        't.csv, line 3: the clip "a" is there twice',
        "t.csv, line 4: musical_impression: nan is not a finite number",
        "t.csv, line 5: 3 instead of 4 cells",
    ]


def test_clips_without_a_prediction_are_left_out_on_that_scale_and_said(tmp_path: Path) -> None:
    both = f"{HEADING},textual_alignment,predicted_textual_alignment"
    rows = [f"c{n},S{n % 5},{1 + n % 5},{1 + n % 5},{1 + n % 4},{1 + n % 3}" for n in range(20)]
    whole = measure(read_predictions(write(tmp_path / "t.csv", both, *rows[5:])), resamples=0)
    holes = [row.rpartition(",")[0] + of for row, of in zip(rows[:5], [",", ",nan", ",None", ", ", ",-"], strict=True)]
    read = read_predictions(write(tmp_path / "t.csv", both, *holes, *rows[5:]))
    assert read.notes == ("Textual alignment leaves out 5 clips without a prediction.",)
    found = measure(read, resamples=0)
    for level in LEVELS:
        assert found.on(level)[TA] == whole.on(level)[TA]
    assert (found.on("utterance")[MI].n, found.on("utterance")[TA].n) == (20, 15)
    read.to_csv(tmp_path / "again.csv")
    assert measure(read_predictions(tmp_path / "again.csv"), resamples=0) == found


def test_a_scale_that_nothing_was_predicted_on_is_not_measured(tmp_path: Path) -> None:
    rows = [f"c{n},S{n},{1 + n % 5},nan" for n in range(9)]
    found = measure(read_predictions(write(tmp_path / "t.csv", HEADING, *rows)))
    assert (found.agreement, found.on("system")) == ({}, {})
    assert "0 clips are too few" in found.why_not()[0]


@pytest.mark.parametrize(
    ("heading", "missing"),
    [
        ("system_id,musical_impression,predicted_musical_impression", "clip_id"),
        ("clip_id,system_id,musical_impression", "predicted_musical_impression"),
        (f"{HEADING},predicted_textual_alignment", "textual_alignment"),
        ("clip_id,system_id", "musical_impression, textual_alignment"),
    ],
)
def test_a_missing_column(heading: str, missing: str, tmp_path: Path) -> None:
    first = refusal(tmp_path / "t.csv", heading)[0]
    assert first.startswith(f"The table has no column {missing}. Its columns")


def test_an_answer_beside_the_ratings_of_its_clips(tmp_path: Path) -> None:
    clips = read_release(write_release(tmp_path / "release"))
    lines = ["audiomos2025-track1-S013_P001,1.5,5.5", "audiomos2025-track1-S002_P001.wav, 4, 3", ""]
    answer = read_answer(write(tmp_path / "answer.txt", *lines), clips)
    assert answer.scales == MUSICEVAL
    assert answer.table.to_dict("list") == {
        "clip_id": ["audiomos2025-track1-S013_P001", "audiomos2025-track1-S002_P001"],
        "system_id": ["S013", "S002"],
        "prompt_id": clips.table["prompt_id"][[1, 0]].tolist(),
        "musical_impression": [1.0, 4.2],
        "textual_alignment": [5.0, 3.4],
        "predicted_musical_impression": [1.5, 4.0],
        "predicted_textual_alignment": [5.5, 3.0],
    }


def test_all_that_is_wrong_with_an_answer(tmp_path: Path) -> None:
    clips = read_release(write_release(tmp_path / "release"))
    one = "audiomos2025-track1-S013_P001"
    lines = [f"{one},1,2", f"{one}.wav,1,2", "other,1,2", f"{one},1", "wav,MI,TA"]
    with pytest.raises(DataError) as caught:
        read_answer(write(tmp_path / "answer.txt", *lines), clips)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        f'answer.txt, line 2: the clip "{one}.wav" is there twice',
        'answer.txt, line 3: there is no rated clip "other"',
        "answer.txt, line 4: 2 instead of 3 cells",
        'answer.txt, line 5: "MI" is not a number',
    ]


def test_given_system_scores(tmp_path: Path) -> None:
    scores = read_system_scores(write(tmp_path / "s.csv", "A,2.0,1", "B,4.5,1", "C,3,1", "D,1,1", "unused,3,1"))
    assert scores[MI] == {"A": 2.0, "B": 4.5, "C": 3.0, "D": 1.0, "unused": 3.0}
    table = read_predictions(write(tmp_path / "t.csv", HEADING, *ROWS))
    system = measure(table, scores, resamples=0).agreement["system", MI]
    assert system.figures["mse"] == pytest.approx((0 + 1.5**2 + 4 + 0) / 4)
    with pytest.raises(DataError, match='line 2: the system "A" is there twice'):
        read_system_scores(write(tmp_path / "s.csv", "A,2.0,1", "A,4.5,1"))
    with pytest.raises(MetricError, match="have none for B, C, D"):
        measure(table, read_system_scores(write(tmp_path / "s.csv", "A,2.0,1")))


def test_a_judge_is_measured_on_the_scales_that_the_ratings_have_too() -> None:
    clips, values = rated_table(4), np.array([[2.0, 0.0], [2.0, 5.5], [2.0, 3.0], [2.0, 4.0]])
    said = judged(clips, values, (ENERGY, TEXTUAL_ALIGNMENT))
    assert said.scales == (TEXTUAL_ALIGNMENT,)
    assert said.table[f"predicted_{TA}"].tolist() == [1.0, 5.0, 3.0, 4.0]  # clamped
    with pytest.raises(DataError, match=r"predicted is energy: they have no scale in common\.$"):
        judged(clips, values[:, :1], (ENERGY,))


def test_what_cannot_be_measured_is_left_out_with_the_reason() -> None:
    two_systems = measure(predictions(40, 2))
    assert two_systems.to_json()["system"] == {}
    assert list(two_systems.on("utterance")) == [MI, TA]
    reason = "2 systems are too few; it needs 2 more systems."
    assert two_systems.reasons_to_json() == {
        "not_measured": {"system": {MI: reason, TA: reason}},
        "no_intervals": {"utterance": "2 systems are too few; it needs 8 more systems."},
    }
    assert two_systems.why_not()[0] == f"Musical impression, system level, is not measured: {reason}"
    rows = predictions(40, 5).table.assign(predicted_textual_alignment=3.0)
    constant = measure(Predictions(rows, MUSICEVAL))
    assert {key: list(of.figures) for key, of in constant.on("system").items()} == {
        MI: ["mse", "lcc", "srcc", "ktau"],
        TA: ["mse"],
    }
    assert {level for level, _ in constant.reasons} == {"utterance", "system"}


def test_intervals_stand_only_where_enough_is_drawn() -> None:
    nine, ten = (measure(predictions(60, systems)) for systems in (9, 10))
    for level in ("utterance", "system"):
        assert not nine.agreement[level, MI].intervals
        assert nine.no_intervals[level] == "9 systems are too few; it needs 1 more system."
        assert ten.agreement[level, MI].intervals.keys() == {"mse", "lcc", "srcc", "ktau"}
    assert ten.no_intervals == {}
    few = predictions(60, 10).table.assign(prompt_id=[f"P{n % 3}" for n in range(60)])
    measured = measure(Predictions(few, MUSICEVAL))
    assert measured.no_intervals == {"utterance": "3 prompts are too few; it needs 7 more prompts."}
    assert measured.agreement["system", MI].intervals


def test_what_was_measured_is_stored() -> None:
    for measured in (measure(predictions(40, 10)), measure(predictions(9, 2))):
        stored = {**measured.to_json(), **measured.reasons_to_json()}
        assert Measured.from_json(json.loads(json.dumps(stored)), MUSICEVAL) == measured
    assert Measured.from_json({}, MUSICEVAL).agreement == {}


def off_by(clips: int, systems: int) -> Predictions:
    """The k-th clip is off by k / 10 in one scale and by k / 5 in the other, from 0."""
    rows = predictions(clips, systems).table.assign(
        predicted_musical_impression=lambda rows: rows[MI] + np.arange(clips) / 10,
        predicted_textual_alignment=lambda rows: rows[TA] - np.arange(clips) / 5,
    )
    return Predictions(rows, MUSICEVAL)


def test_a_range_is_made_of_errors_by_system() -> None:
    estimate = error_estimate(off_by(40, 10), "some clips", "clips of systems")
    errors, coverage = estimate.pop("absolute_error_quantile"), estimate.pop("coverage")
    assert errors == pytest.approx({MI: 3.9, TA: 7.8})  # 10 systems and one more: 90 % are all but one clip in 44
    assert coverage.keys() == {MI, TA}
    assert estimate == {
        **{"data": "some clips", "which": "clips of systems", "n_clips": 40, "n_systems": 10},
        **{"interval_level": 0.9, "no_range": ""},
    }


def test_where_heads_say_how_sure_they_are_errors_are_multiples_of_that() -> None:
    spread = {key: np.full(40, 0.5) for key in (MI, TA)}
    estimate = error_estimate(off_by(40, 10), "", spread=spread)
    assert estimate["spread_quantile"] == pytest.approx({MI: 7.8, TA: 15.6})
    assert estimate["absolute_error_quantile"] == pytest.approx({MI: 3.9, TA: 7.8})


@pytest.mark.parametrize(
    ("clips", "systems", "said"),
    [
        (39, 10, "39 clips of 10 systems are too few; a range needs 40 clips of 10 systems."),
        (40, 9, "40 clips of 9 systems are too few; a range needs 40 clips of 10 systems."),
        (1, 1, "1 clip of 1 system are too few; a range needs 40 clips of 10 systems."),
    ],
)
def test_of_too_few_clips_or_systems_there_is_no_range(clips: int, systems: int, said: str) -> None:
    estimate = error_estimate(off_by(clips, systems), "some clips")
    assert (estimate["absolute_error_quantile"], estimate["no_range"]) == (None, said)
    assert "coverage" not in estimate


def test_a_scale_with_too_few_predictions_has_no_range() -> None:
    table = off_by(40, 10).table
    table.loc[:0, "predicted_textual_alignment"] = np.nan
    spread = {key: np.full(40, 0.5) for key in (MI, TA)}
    estimate = error_estimate(Predictions(table, MUSICEVAL), "", spread=spread)
    for name in ("absolute_error_quantile", "spread_quantile", "coverage"):
        assert estimate[name].keys() == {MI}
    assert estimate["no_range"] == ""
    alone = error_estimate(Predictions(table, MUSICEVAL[1:]), "")
    assert (alone["absolute_error_quantile"], alone["no_range"][:11]) == (None, "39 clips of")


def test_of_systems_that_are_not_known_there_is_no_range() -> None:
    table = off_by(60, 20).table.assign(system_id="")
    said = error_estimate(Predictions(table, MUSICEVAL), "")["no_range"]
    assert said == "The systems of 60 clips are not known; a range needs 40 clips of 10 systems."


FIGURES = {"mse": 0.5, "lcc": 0.25, "srcc": -0.125, "ktau": 1.0}
INTERVALS = {name: (figure - 0.1, figure + 0.1) for name, figure in FIGURES.items()}


def test_table_one_as_text() -> None:
    cell = Agreement(40, FIGURES, INTERVALS)
    measured = Measured(MUSICEVAL, {(level, key): cell for level in ("utterance", "system") for key in (MI, TA)})
    assert table_one_as_text(measured).splitlines()[:8] == [
        "                                 Musical impression            Textual alignment",
        "                                MSE    LCC   SRCC   KTAU      MSE    LCC   SRCC   KTAU",
        "",
        "Utterance level",
        "  this result (n = 40)        0.500  0.250 -0.125  1.000    0.500  0.250 -0.125  1.000",
        "  95 % interval from          0.400  0.150 -0.225  0.900    0.400  0.150 -0.225  0.900",
        "  to                          0.600  0.350 -0.025  1.100    0.600  0.350 -0.025  1.100",
        "  paper, its test part        0.647  0.606  0.633  0.461    0.616  0.438  0.443  0.314",
    ]


def test_table_one_of_one_scale_without_intervals() -> None:
    cell = Agreement(40, FIGURES)
    text = table_one_as_text(Measured(MUSICEVAL, {("utterance", TA): cell, ("system", TA): cell}))
    assert "Musical impression" not in text
    assert "interval" not in text
    assert text.splitlines()[-2:] == [
        "  paper, its test part        0.354  0.757  0.784  0.617",
        "  released baseline, dev          -      -  0.720      -",
    ]


def test_what_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = read_release(write_release(tmp_path))
    dev = [DEV[0].split(".wav")[0]]
    no = "the published rows are no comparison."
    assert comparison(["a", *dev], None) == f"These are not clips of MusicEval: {no}"
    unknown = "It cannot be told whether these are MusicEval's held-out clips"
    assert comparison(dev, None).startswith(unknown)
    assert comparison(dev, data.with_parts([""] * 4)).startswith(unknown)
    assert comparison(dev, data) == f"These ratings are not those that MusicEval published: {no}"
    monkeypatch.setattr(evaluation, "is_published", lambda _: True)
    assert "official dev part, the baseline's" in comparison(dev, data)
    assert comparison(list(data.table["clip_id"]), data).startswith("These clips of MusicEval are neither")
    test = data.table.loc[data.table["split"] == "test", "clip_id"]
    assert "official test part" in comparison(list(test), data)


def test_stored_figures_of_too_few_points_are_none() -> None:
    figures = {"n": 3, "mse": 0.1, "lcc": 0.9, "srcc": 1.0, "ktau": 1.0, "srcc_ci95": [1.0, 1.0]}
    stored = {"utterance": {MI: {**figures, "n": 5}}, "system": {MI: figures}}
    read = Measured.from_json(stored, MUSICEVAL)
    assert list(read.agreement) == [("utterance", MI)]
    assert read.reasons == {("system", MI): "3 systems are too few; it needs 1 more system."}
