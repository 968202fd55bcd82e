"""The command that measures."""

import functools
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from core import metrics
from core.__main__ import main
from core.embedded_clips import data_sha256
from core.sources import read_source
from tests.rated import write_rated
from tests.releases import write_release

TABLE = "clip_id,system_id,musical_impression,predicted_musical_impression\n" + "\n".join(
    f"c{n},S{n // 6},{1 + n % 5},{1 + (n * n) % 7}" for n in range(20)
)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = metrics.agreement
    few = functools.partial(whole, resamples=20)
    monkeypatch.setattr(metrics, "agreement", lambda truth, scores, *_: few(truth, scores))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "predictions.csv"
    path.write_text(TABLE)
    return path


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["evaluate", *map(str, arguments)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def refusal(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["evaluate", *map(str, arguments)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    return err.removeprefix("python -m core: ")


def test_the_table_says_what_it_measured(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = run(capfd, "--table", table).splitlines()
    assert lines[0].strip() == "Musical impression"
    assert lines[4].startswith("  this result (n = 20) ")
    assert lines[11].startswith("  this result (n = 4) ")
    assert lines[-2:] == [
        "System truth: the means of the clips evaluated.",
        "These are not clips of MusicEval: the published rows are no comparison.",
    ]


def test_json(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    levels = json.loads(run(capfd, "--table", table, "--json"))
    assert {level: list(scales) for level, scales in levels.items()} == {
        "utterance": ["musical_impression"],
        "system": ["musical_impression"],
    }
    metrics = ("mse", "lcc", "srcc", "ktau")
    expected = {"n", *metrics, *(f"{name}_ci95" for name in metrics)}
    assert levels["system"]["musical_impression"].keys() == expected
    assert levels["utterance"]["musical_impression"]["n"] == 20


def test_given_system_scores(table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.csv").write_text("S0,1,1\nS1,2,1\nS2,3,1\nS3,4,1\n")
    out = run(capfd, "--table", table, "--system-truth", tmp_path / "s.csv")
    assert "System truth: the scores in s.csv." in out


def test_an_answer_with_its_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_release(tmp_path / "release")
    answer = tmp_path / "answer.txt"
    names = [f"audiomos2025-track1-{name}" for name in ("S002_P001", "S013_P001", "S003_P001")]
    answer.write_text("".join(f"{name},{n + 1},{n + 2}\n" for n, name in enumerate(names)))
    out = run(capfd, "--answer", answer, "--data", data)
    assert "this result (n = 3)" in out
    assert "These ratings are not those that MusicEval published" in out


def test_a_model_on_the_part_that_its_split_held_out(
    random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_rated(tmp_path / "data", 12)
    clips = read_source(data)
    model = shutil.copytree(random_checkpoint, tmp_path / "model")
    parts = clips.table[["clip_id"]].assign(split=["train"] * 4 + ["test"] * 8)
    parts.to_csv(model / "split.csv", index=False)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "caveat": "its towers know nothing"}))
    (model / "run.json").write_text(json.dumps({"data": {"sha256": data_sha256(clips)}}))
    options = ("--model", model, "--data", data, "--cache", tmp_path / "cache")
    assert main(["evaluate", *map(str, options), "--predictions", str(tmp_path / "p.csv")]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[4].startswith("  this result (n = 8) ")
    assert lines[-5:-1] == [
        "System truth: the means of the clips evaluated.",
        "Measured on the test part, 8 of 12 clips, of the model's own split.",
        "The model was trained on none of them.",
        "About this model: its towers know nothing.",
    ]
    assert run(capfd, "--table", tmp_path / "p.csv").splitlines()[:18] == lines[:18]
    (data.parent / "SIMULATED").touch()
    assert main(["evaluate", *map(str, options), "--split", "prompts", "--json"]) == 0
    measured = json.loads(capfd.readouterr().out)
    assert measured["utterance"]["musical_impression"]["n"] == 4
    assert (measured["data"], measured["part"]) == ("rated_clips.csv", "test")
    assert measured["system_truth"] == "the means of the clips evaluated"
    assert measured["notes"][0].startswith("Measured on the test part, 4 of 12 clips, of the split: prompts")
    assert measured["notes"][-1].startswith("The ratings are simulated")


def test_a_model_on_too_few_systems(
    random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_rated(tmp_path / "data", 4)
    table = pd.read_csv(data)
    table.assign(system_id=["A", "A", "B", "B"]).to_csv(data, index=False)
    options = ["--model", str(random_checkpoint), "--data", str(data), "--cache", str(tmp_path / "cache")]
    assert main(["evaluate", *options]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[4].startswith("  this result (n = 4) ")
    assert lines[-3:-1] == [
        f"{scale}, system level, is not measured: 2 points are too few to correlate: give at least 3."
        for scale in ("Musical impression", "Textual alignment")
    ]
    table.head(2).to_csv(data, index=False)
    assert refusal(capfd, *options).startswith(
        "Musical impression, utterance level, is not measured: 2 points"
    )


def test_mistakes(table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert refusal(capfd, "--answer", table).startswith("An answer has no ratings in it.")
    assert refusal(capfd, "--model", table).startswith("A model has no ratings in it. Give the rated clips")
    assert refusal(capfd, "--table", table, "--part", "dev").startswith(
        "A table or an answer is measured whole"
    )
    assert refusal(capfd, "--table", table, "--folds", "3").startswith("A seed, shares or folds need --split")
    assert refusal(capfd, "--table", table, "--data", tmp_path).startswith("A table has its ratings in it.")
    table.write_text("\n".join(TABLE.splitlines()[:3]))
    assert refusal(capfd, "--table", table) == (
        "Musical impression: At utterance level: 2 points are too few to correlate: give at least 3.\n"
    )


@pytest.mark.reference
def test_published_figures_of_a_speech_predictor(
    reference_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {
        "sample_id": "clip_id",
        "avg_score": "musical_impression",
        "answer": "predicted_musical_impression",
    }
    published = pd.read_csv(reference_data / "metrics" / "bvcc_sheet_predictions.csv").rename(columns=names)
    published.to_csv(tmp_path / "t.csv", index=False)
    levels = json.loads(run(capfd, "--table", tmp_path / "t.csv", "--json"))
    utterance, system = (levels[level]["musical_impression"] for level in ("utterance", "system"))
    assert (utterance["n"], system["n"]) == (1066, 187)
    digits = {"mse": (0.271, 3), "lcc": (0.867, 3), "srcc": (0.870, 3), "ktau": (0.693, 3)}
    assert {name: round(utterance[name], n) for name, (_, n) in digits.items()} == {
        name: figure for name, (figure, _) in digits.items()
    }
    digits = {"mse": (0.123, 3), "lcc": (0.9299, 4), "srcc": (0.9302, 4), "ktau": (0.777, 3)}
    assert {name: round(system[name], n) for name, (_, n) in digits.items()} == {
        name: figure for name, (figure, _) in digits.items()
    }
