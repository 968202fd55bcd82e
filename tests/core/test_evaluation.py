"""Predictions: read, measured, laid out as Table I, and which clips a model is measured on."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import evaluation
from core.errors import CheckpointError, DataError, MetricError
from core.evaluation import (
    Measured,
    Predictions,
    choose_clips,
    comparison,
    error_estimate,
    judged,
    measure,
    own_parts,
    read_answer,
    read_predictions,
    read_system_scores,
    table_one_as_text,
)
from core.metrics import Agreement
from core.musiceval import read_release
from core.rated_clips import RatedClips
from core.scales import MUSICAL_IMPRESSION, MUSICEVAL, TEXTUAL_ALIGNMENT, Scale, keys
from core.splits import Split
from tests.rated import rated_table
from tests.releases import DEV, write_release

HEADING = "clip_id,system_id,musical_impression,predicted_musical_impression"
# means of A (2, 2), of B (4, 3), of C (3, 5); per clip (1, 1), (3, 3), (4, 2), (4, 4), (3, 5)
ROWS = ["a,A,1,1", "b,A,3,3", "c,B,4,2", "d,B,4,4", "e,C,3,5"]
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
    assert (utterance.n, utterance.figures["mse"]) == (5, pytest.approx((4 + 4) / 5))
    # ranks (1, 2.5, 4.5, 4.5, 2.5) and (1, 3, 2, 4, 5), both of mean 3
    assert utterance.figures["srcc"] == pytest.approx(3 / (9 * 10) ** 0.5)
    # of 10 pairs 5 agree, 3 disagree, 2 are tied in the truth
    assert utterance.figures["ktau"] == pytest.approx((5 - 3) / (8 * 10) ** 0.5)
    assert (system.n, system.figures["mse"]) == (3, pytest.approx((0 + 1 + 4) / 3))
    assert (system.figures["srcc"], system.figures["ktau"]) == (pytest.approx(0.5), pytest.approx(1 / 3))


def test_both_scales_and_other_columns(tmp_path: Path) -> None:
    heading = f"note,{HEADING},predicted_textual_alignment,textual_alignment"
    rows = [f"x,{row},-0.5,{1 + n}" for n, row in enumerate(ROWS)]
    read = read_predictions(write(tmp_path / "t.csv", heading, *rows))
    assert read.scales == MUSICEVAL
    assert read.table["predicted_textual_alignment"].tolist() == [-0.5] * 5  # as given, not clamped
    with pytest.raises(MetricError, match="Textual alignment: At utterance level: All scores of one side"):
        measure(read).complete()


def test_scales_that_a_table_names(tmp_path: Path) -> None:
    table = predictions(9, 3).table.rename(columns=lambda name: name.replace(TA, "energy"))
    Predictions(table, (MUSICAL_IMPRESSION, ENERGY)).to_csv(tmp_path / "t.csv")
    read = read_predictions(tmp_path / "t.csv")
    assert read.scales == (MUSICAL_IMPRESSION, ENERGY)
    assert measure(read).on("system").keys() == {MI, "energy"}


def test_all_that_is_wrong_with_a_table(tmp_path: Path) -> None:
    assert refusal(tmp_path / "t.csv", HEADING, "a,A,0.5,1", "a,,2,x", "b,B,nan,", "c,C,3") == [
        '"t.csv" cannot be used, it has 7 problems:',
        "t.csv, line 5: 3 instead of 4 cells",
        "t.csv, line 2: musical_impression: the score 0.5 is not from 1 to 5",
        "t.csv, line 3: system_id: it is empty",
        't.csv, line 3: predicted_musical_impression: "x" is not a number',
        't.csv, line 3: the clip "a" is there twice',
        "t.csv, line 4: musical_impression: nan is not a finite number",
        't.csv, line 4: predicted_musical_impression: "" is not a number',
    ]


@pytest.mark.parametrize(
    ("heading", "missing"),
    [
        ("clip_id,musical_impression,predicted_musical_impression", "system_id"),
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
    scores = read_system_scores(write(tmp_path / "s.csv", "A,2.0,1", "B,4.5,1", "C,3,1", "unused,3,1"))
    assert scores[MI] == {"A": 2.0, "B": 4.5, "C": 3.0, "unused": 3.0}
    table = read_predictions(write(tmp_path / "t.csv", HEADING, *ROWS))
    system = measure(table, scores, resamples=0).agreement["system", MI]
    assert system.figures["mse"] == pytest.approx((0 + 1.5**2 + 4) / 3)
    with pytest.raises(DataError, match='line 2: the system "A" is there twice'):
        read_system_scores(write(tmp_path / "s.csv", "A,2.0,1", "A,4.5,1"))
    with pytest.raises(MetricError, match="have none for B, C"):
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
    assert two_systems.to_json().keys() == {"utterance", "system"}
    reason = "2 points are too few to correlate: give at least 3."
    assert two_systems.reasons_to_json() == {"system": {MI: reason, TA: reason}}
    assert two_systems.why_not()[0] == f"Musical impression, system level, is not measured: {reason}"
    rows = predictions(40, 5).table.assign(predicted_textual_alignment=3.0)
    constant = measure(Predictions(rows, MUSICEVAL))
    assert list(constant.on("system")) == list(constant.on("utterance")) == [MI]
    assert {level for level, _ in constant.reasons} == {"utterance", "system"}


def test_what_was_measured_is_stored() -> None:
    for measured in (measure(predictions(40, 5)), measure(predictions(9, 2))):
        stored = {**measured.to_json(), "not_measured": measured.reasons_to_json()}
        assert Measured.from_json(json.loads(json.dumps(stored)), MUSICEVAL) == measured
    assert Measured.from_json({}, MUSICEVAL).agreement == {}


def test_the_error_estimate_is_a_quantile_of_the_clips_errors() -> None:
    rows = predictions(11, 3).table.assign(
        predicted_musical_impression=lambda rows: rows[MI] + np.arange(11) / 10,
        predicted_textual_alignment=lambda rows: rows[TA] - np.arange(11) / 5,
    )
    estimate = error_estimate(Predictions(rows, MUSICEVAL), "some clips")
    assert estimate.pop("absolute_error_quantile") == pytest.approx({MI: 0.9, TA: 1.8})
    assert estimate == {"data": "some clips", "n_clips": 11, "n_systems": 3, "interval_level": 0.9}


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


PARTS = ["train"] * 6 + ["dev"] * 2 + ["test"] * 4


@pytest.fixture
def clips(monkeypatch: pytest.MonkeyPatch) -> RatedClips:
    monkeypatch.setattr(evaluation, "data_sha256", lambda clips: f"hash of {len(clips)}")
    return rated_table(12)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a model that was trained on these clips."""
    write_parts(tmp_path, PARTS)
    (tmp_path / "run.json").write_text(json.dumps({"data": {"sha256": "hash of 12"}}))
    return tmp_path


def write_parts(folder: Path, parts: Sequence[str]) -> None:
    rows = [f'"c{n:02d}","{part}"' for n, part in enumerate(parts)]
    write(folder / "split.csv", '"clip_id","split"', *rows)


def test_the_models_own_test_part(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(clips, model)
    assert chosen.clips.table["clip_id"].tolist() == ["c08", "c09", "c10", "c11"]
    assert chosen.part == "test"
    assert chosen.notes == (
        "Measured on the test part, 4 of 12 clips, of the model's own split.",
        "The model was trained on none of them.",
    )


@pytest.mark.parametrize(("part", "n", "train", "dev"), [("train", 6, 6, 0), ("dev", 2, 0, 2), ("all", 12, 6, 2)])
def test_clips_that_the_model_knows(clips: RatedClips, model: Path, part: str, n: int, train: int, dev: int) -> None:
    chosen = choose_clips(clips, model, part=part)
    assert (chosen.part, len(chosen.clips)) == (part, n)
    assert chosen.notes[1] == (
        f"The model was trained on {train} of these {n} clips, and its training was stopped by {dev} "
        "of them: this is not how well it judges clips that it does not know."
    )


def test_another_split(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(clips, model, Split("systems", folds=2, fold=1))
    assert set(chosen.clips.table["system_id"]) < {"S0", "S1", "S2", "S3"}
    n = len(chosen.clips)
    assert chosen.notes[0].endswith(f"{n} of 12 clips, of the split: systems held out, fold 1 of 2, seed 0.")
    known = sum(PARTS[int(clip_id[1:])] == "train" for clip_id in chosen.clips.table["clip_id"])
    assert f"trained on {known} of these {n} clips" in chosen.notes[1]


def test_other_data_with_the_same_names(clips: RatedClips, model: Path) -> None:
    chosen = choose_clips(rated_table(10), model)
    assert (chosen.part, len(chosen.clips)) == ("all", 10)
    assert chosen.notes == (
        "Measured on all 10 clips.",
        "The model was trained on other data; 8 of these 10 clips have names of clips that it was trained with.",
    )


def test_a_model_that_says_nothing(clips: RatedClips, tmp_path: Path) -> None:
    chosen = choose_clips(clips, tmp_path)
    assert (chosen.part, len(chosen.clips)) == ("all", 12)
    assert chosen.notes[1] == "The model does not say which clips it was trained on."


def test_without_a_test_part_the_dev_part(clips: RatedClips, model: Path) -> None:
    write_parts(model, [part.replace("test", "train") for part in PARTS])
    assert choose_clips(clips, model).part == "dev"
    with pytest.raises(DataError, match=r"^There are no clips in the test part of the model's own split\."):
        choose_clips(clips, model, part="test")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("split.csv", "clip_id\nc00\n"),
        ("split.csv", "clip_id,split\nc00,exam\n"),
        ("split.csv", "clip_id,split\nc00,train\n"),
        ("split.csv", "clip_id,split\nc00,train,2\n"),
        ("run.json", "{"),
        ("run.json", '{"data": []}'),
    ],
)
def test_damaged_folders(clips: RatedClips, model: Path, file: str, text: str) -> None:
    (model / file).write_text(text)
    with pytest.raises(CheckpointError, match=f'^"{file}" of the model folder ".*" is damaged'):
        choose_clips(clips, model)


def test_ids_that_look_like_formulas(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text('"clip_id","split"\n"\'=c","test"\n')
    assert own_parts(tmp_path) == {"=c": "test"}
