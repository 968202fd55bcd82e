"""The commands that measure and train: ``evaluate``, ``baselines``, ``train``."""

import json
import os
import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest

from core.cli import main, show_wait
from core.cli_measuring import FOLDED, TITLES
from core.cli_options import make_split, make_split_if_given
from core.controls import HEADLINE
from core.errors import DataError
from core.musiceval import read_source
from core.rated_clips import data_sha256
from core.splits import Split, split_clips
from core.training.baselines import METHODS
from core.training.recipe import RunProgress
from tests.rated import write_rated, write_survey
from tests.releases import write_release

TABLE = "clip_id,system_id,musical_impression,predicted_musical_impression\n" + "\n".join(
    f"c{n},S{n // 6},{1 + n % 5},{1 + (n * n) % 7}" for n in range(20)
)


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.evaluation.RESAMPLES", 20)


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


# evaluate


def test_the_table_says_what_it_measured(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = run(capfd, "--table", table).splitlines()
    assert lines[0].strip() == "Musical impression"
    assert lines[4].startswith("  this result (n = 20) ")
    assert lines[9].startswith("  this result (n = 4) ")
    assert lines[-4:] == [
        "System truth: the means of the clips evaluated.",
        "There are no intervals at utterance level: 4 systems are too few; it needs 6 more systems.",
        "There are no intervals at system level: 4 systems are too few; it needs 6 more systems.",
        "These are not clips of MusicEval: the published rows are no comparison.",
    ]


def test_json(table: Path, capfd: pytest.CaptureFixture[str]) -> None:
    levels = json.loads(run(capfd, "--table", table, "--json"))
    assert list(levels) == ["utterance", "system", "not_measured", "no_intervals", "notes"]
    assert {level: list(levels[level]) for level in ("utterance", "system")} == {
        "utterance": ["musical_impression"],
        "system": ["musical_impression"],
    }
    metrics = ("mse", "lcc", "srcc", "ktau")
    expected = {"n", *metrics, *(f"{name}_ci95" for name in metrics)}
    assert levels["no_intervals"]["system"] == "4 systems are too few; it needs 6 more systems."
    assert levels["system"]["musical_impression"]["mse_ci95"] is None
    assert levels["system"]["musical_impression"].keys() == expected
    assert levels["utterance"]["musical_impression"]["n"] == 20


def test_given_system_scores(table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.csv").write_text("S0,1,1\nS1,2,1\nS2,3,1\nS3,4,1\n")
    out = run(capfd, "--table", table, "--system-truth", tmp_path / "s.csv")
    assert "System truth: the scores in s.csv." in out


def test_an_answer_with_its_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_release(tmp_path / "release")
    answer = tmp_path / "answer.txt"
    names = [f"audiomos2025-track1-{name}" for name in ("S002_P001", "S013_P001", "S003_P001", "S002_P044")]
    answer.write_text("".join(f"{name},{n + 1},{n + 2}\n" for n, name in enumerate(names)))
    out = run(capfd, "--answer", answer, "--data", data)
    assert "this result (n = 4)" in out
    assert "3 systems are too few; it needs 1 more system." in out
    assert "These ratings are not those that MusicEval published" in out


def test_predictions_outside_the_scales(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text(TABLE.replace("c1,S0,2,2", "c1,S0,2,5.5"))
    said = "1 prediction lies outside 1 to 5: they go from 1 to 5.5."
    assert said in run(capfd, "--table", table).splitlines()
    assert json.loads(run(capfd, "--table", table, "--json"))["notes"][0] == said
    table.write_text(TABLE.replace("c1,S0,2,2", "c1,S0,2,100").replace("c2,S0,3,5", "c2,S0,3,-3"))
    lines = refusal(capfd, "--table", table).splitlines()
    assert lines[1:] == [
        "  t.csv, line 3: predicted_musical_impression: 100 is no score from 1 to 5",
        "  t.csv, line 4: predicted_musical_impression: -3 is no score from 1 to 5",
    ]


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
    shown = ["training mean", "system's training mean", "plain cosine"]
    assert [lines[n].split("  ")[1] for n in (5, 6, 7)] == shown
    start = lines.index("System truth: the means of the clips evaluated.")
    assert lines[start + 1 : start + 4] == [
        "Measured on the test part, 8 of 12 clips, of the model's own split.",
        "The model was trained on the audio of none of them.",
        "About this model: its towers know nothing.",
    ]
    alone = run(capfd, "--table", tmp_path / "p.csv").splitlines()
    assert alone[4] == lines[4]
    assert not any("training mean" in line for line in alone)
    (data.parent / "SIMULATED").touch()
    assert main(["evaluate", *map(str, options), "--split", "prompts", "--json"]) == 0
    measured = json.loads(capfd.readouterr().out)
    assert measured["utterance"]["musical_impression"]["n"] == 4
    assert (measured["data"], measured["part"]) == ("rated_clips.csv", "test")
    assert measured["system_truth"] == "the means of the clips evaluated"
    assert measured["notes"][0].startswith("Measured on the test part, 4 of 12 clips, of the split: prompts")
    assert any(note.startswith("The ratings are simulated") for note in measured["notes"])
    assert measured["controls"]["mean"]["utterance"]["musical_impression"]["srcc"] is None
    assert measured["controls"]["cosine"]["utterance"].keys() == {"textual_alignment"}
    assert measured["no_controls"] == {}
    assert measured["people"]["musical_impression"]["n_clips"] == 4
    assert measured["people"]["musical_impression"]["ceiling"] is None


def test_a_model_on_what_a_survey_left(
    random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Single ratings from 0 to 5 beside a table of clips, without prompts and systems."""
    folder = write_survey(tmp_path / "survey", 12)
    options = ["evaluate", "--data", str(folder / "ratings.csv"), "--model", str(random_checkpoint)]
    options += ["--cache", str(tmp_path / "cache"), "--device", "cpu"]
    assert main([*options, "--predictions", str(tmp_path / "p.csv")]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].split() == ["Agreement", "with", "people", "SRCC", "LCC", "KTAU", "PAIRS", "MSE"]
    assert lines[1].startswith("Musical impression (12 clips) ")
    assert [line.split()[0] for line in lines[2:5]] == ["95", "to", "ceiling"]
    text = "\n".join(lines)
    assert "human          6              4.00 " in text
    assert "human above computer (36 pairs): people 100.0%, judge " in text
    assert "rating_0_to_5 is read as musical impression, 0 to 5: 96 ratings by 8 raters of 12 clips." in lines
    assert "Textual alignment is not measured: the clips are not rated on it." in lines
    assert "published rows" not in text
    assert main([*options, "--json", "--scale-range", "0", "5", "--clips", str(folder / "clips.csv")]) == 0
    found = json.loads(capfd.readouterr().out)
    people = found["people"]["musical_impression"]
    assert (people["n_clips"], people["scale_range"], people["intervals_over"]) == (12, [0, 5], "clips")
    assert people["ceiling"] == pytest.approx(people["reliability"]["spearman_brown"] ** 0.5)
    assert [of["group"] for of in people["groups"]] == ["computer", "human"]
    assert people["srcc"] == found["utterance"]["musical_impression"]["srcc"]
    assert found["system"] == {}
    again = json.loads(run(capfd, "--table", tmp_path / "p.csv", "--json"))
    assert again["utterance"] == found["utterance"]
    assert main([*options, "--scale-range", "1", "7"]) == 2
    assert "rating_0_to_5 says another range than --scale-range" in capfd.readouterr().err


def test_two_scales_with_prompts_and_the_controls_of_a_split(
    random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_survey(tmp_path / "survey", 12)
    rows = [row.split(",") for row in (folder / "ratings.csv").read_text().splitlines()[1:]]
    both = [
        f"{rater};{clip};A piece, number {int(clip) % 5};{rating},5;{int(clip) % 3}" for rater, clip, rating in rows
    ]
    (folder / "ratings.csv").write_text("\n".join(["rater;clip;prompt;musical_impression;textual_alignment", *both]))
    options = ["evaluate", "--data", str(folder), "--model", str(random_checkpoint), "--cache", str(tmp_path / "cache")]
    options += ["--scale-range", "0", "10", "--split", "random", "--test-share", "0.5", "--device", "cpu"]
    assert main(options) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[4].startswith("  this result (n = 6) ")
    titles = [line[2:28].strip() for line in lines[5:9]]
    assert titles[:3] == ["training mean", "plain cosine", "paper, its test part"]
    start = next(n for n, line in enumerate(lines) if line.startswith("Agreement with people"))
    assert [line.split(" (")[0] for line in lines[start + 1 : start + 3]] == ["Musical impression", "Textual alignment"]
    said = "There is no system's training mean beside it: the data does not say which system made a clip."
    assert said in lines
    assert "musical_impression is read as musical impression, 0 to 10: 96 ratings by 8 raters of 12 clips." in lines


def test_prompts_that_the_model_cannot_read_are_left_out_of_alignment_and_said(
    random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_survey(tmp_path / "survey", 12)
    rows = [row.split(",") for row in (folder / "ratings.csv").read_text().splitlines()[1:]]
    prompts = {clip: "缓慢的钢琴" if int(clip) < 4 else f"A piece of number {clip}" for _, clip, _ in rows}
    both = [f"{rater},{clip},{prompts[clip]},{rating},{int(clip) % 3}" for rater, clip, rating in rows]
    (folder / "ratings.csv").write_text("\n".join(["rater,clip,prompt,musical_impression,textual_alignment", *both]))
    options = ["--data", folder, "--model", random_checkpoint, "--cache", tmp_path / "cache", "--device", "cpu"]
    options += ["--scale-range", 0, 10, "--predictions", tmp_path / "p.csv", "--json"]
    assert main(["evaluate", *map(str, options)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (
        "Textual alignment leaves out 4 clips with a prompt that the model cannot read: 0, 1, 2, 3." in found["notes"]
    )
    assert [of["n"] for of in found["utterance"].values()] == [12, 8]
    assert [of["n_clips"] for of in found["people"].values()] == [12, 8]
    assert pd.read_csv(tmp_path / "p.csv")["predicted_textual_alignment"].isna().tolist() == [True] * 4 + [False] * 8


def test_the_models_of_the_folds_of_a_split(
    random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_survey(tmp_path / "survey", 12)
    clips = read_source(folder)
    models = []
    for fold in range(3):
        models.append(shutil.copytree(random_checkpoint, tmp_path / f"fold-{fold}"))
        parts = split_clips(clips, Split("random", folds=3, fold=fold)).table[["clip_id", "split"]]
        parts.to_csv(models[-1] / "split.csv", index=False)
        (models[-1] / "run.json").write_text(json.dumps({"data": {"sha256": data_sha256(clips)}}))
    options = ["evaluate", "--data", str(folder), "--cache", str(tmp_path / "cache"), "--device", "cpu", "--json"]
    assert main([*options, *(f"--model={model}" for model in models)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert main([*options, f"--model={random_checkpoint}"]) == 0  # which is the same judge, of all clips at once
    alone = json.loads(capfd.readouterr().out)
    one, other = (of["people"]["musical_impression"] for of in (found, alone))
    assert one["reliability"] == other["reliability"]
    for name in ("n_clips", "srcc", "lcc", "ktau", "pairs", "mse"):
        assert one[name] == pytest.approx(other[name], abs=1e-5)  # windows stand in other batches
    assert found["part"] == "test"
    assert found["notes"][0] == "Measured on 12 of 12 clips, each by one of 3 models."
    assert "The model was trained on the audio of none of them." in found["notes"]
    assert main([*options, f"--model={models[0]}", f"--model={models[0]}"]) == 2
    assert "Several of these models are measured on the clip" in capfd.readouterr().err


def test_a_model_on_too_few_systems(random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_rated(tmp_path / "data", 4)
    table = pd.read_csv(data)
    table.assign(system_id=["A", "A", "B", "B"]).to_csv(data, index=False)
    options = ["--model", str(random_checkpoint), "--data", str(data), "--cache", str(tmp_path / "cache")]
    assert main(["evaluate", *options]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[4].startswith("  this result (n = 4) ")
    assert "  this result (not measured)" in " ".join(lines)
    for scale in ("Musical impression", "Textual alignment"):
        assert f"{scale}, system level, is not measured: 2 systems are too few; it needs 2 more systems." in lines
    table.head(2).to_csv(data, index=False)
    assert refusal(capfd, *options).startswith("Musical impression, utterance level, is not measured: 2 clips are too")


def test_mistakes(table: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert refusal(capfd, "--answer", table).startswith("An answer has no ratings in it.")
    assert refusal(capfd, "--model", table).startswith("A model has no ratings in it. Give the rated clips")
    assert refusal(capfd, "--table", table, "--part", "dev").startswith("A table or an answer is measured whole")
    assert refusal(capfd, "--table", table, "--folds", "3").startswith("A seed, shares or folds need --split")
    assert refusal(capfd, "--table", table, "--scale", "x").startswith("--clips, --scale and --scale-range say how")
    assert refusal(capfd, "--table", table, "--data", tmp_path).startswith("A table has its ratings in it.")
    assert "evaluate: one of the arguments --table --answer --model is required" in refusal(capfd)
    table.write_text("\n".join(TABLE.splitlines()[:3]))
    assert refusal(capfd, "--table", table) == (
        "Musical impression, utterance level, is not measured: 2 clips are too few; it needs 2 more clips.\n"
    )


@pytest.mark.reference
def test_published_figures_of_a_speech_predictor(
    reference_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = {"sample_id": "clip_id", "avg_score": "musical_impression", "answer": "predicted_musical_impression"}
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


# The options of a split


def test_options_are_a_split() -> None:
    others = {"seed": 3, "test_share": 0.15, "dev_share": 0.2, "folds": 5, "fold": 4}
    assert make_split("systems", **others) == Split("systems", 3, dev_share=0.2, folds=5, fold=4)
    assert make_split(None, test_share=0.3) == Split(test_share=0.3)
    assert make_split_if_given(None) is None
    assert make_split_if_given("random") == Split()
    with pytest.raises(DataError, match="A seed, shares or folds need --split"):
        make_split_if_given(None, folds=3)


# baselines


@pytest.mark.usefixtures("_quick_start")
def test_tables_and_json_of_the_controls(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_rated(tmp_path / "data", 12)
    (data.parent / "SIMULATED").touch()
    options = ["baselines", "--data", str(data), "--cache", str(tmp_path / "cache"), "--epochs", "2"]
    options += ["--split", "random", "--folds", "3"]
    assert main(options) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0] == (
        "| Utterance level, n = 12 | Musical impression, MSE | Musical impression, SRCC "
        "| Textual alignment, MSE | Textual alignment, SRCC |"
    )
    assert lines[1] == "|---|---|---|---|---|"
    shown = ["the recipe `ordinal`", *[*TITLES.values()][1:]]
    assert [line.split(" | ")[0] for line in lines[2:8]] == [f"| {title}" for title in shown]
    assert lines[3].count("–") == 2
    assert lines[9].startswith("| System level, n = 4 |")
    assert lines[18:20] == ["Clips at random, seed 0; all 3 folds together.", FOLDED]
    assert lines[-2] == HEADLINE
    assert lines[-1] == "The ratings are simulated: these figures say nothing about what experts hear."
    assert "Fitting heads: fold 3 of 3: 100%" in err
    assert main([*options, "--json"]) == 0
    measured = json.loads(capfd.readouterr().out)
    assert tuple(measured) == METHODS == tuple(TITLES)
    shown = f"| {measured['mean']['utterance']['musical_impression']['mse']:.3f} | – |"
    assert shown in lines[3]
    assert main([*options, "--recipe", "frozen"]) == 0
    assert capfd.readouterr().out.splitlines()[2].startswith("| the recipe `frozen` |")
    assert main([*options, "--learning-rate", "-1"]) == 2
    assert "learning_rate is -1.0" in capfd.readouterr().err


# train


@pytest.mark.usefixtures("_quick_start")
def test_a_finished_run_prints_its_table_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "own"))
    data = write_rated(tmp_path / "data", clips=12)
    command = ["train", "--data", str(data), "--output", str(tmp_path / "model"), "--test-share", "0.3"]
    command += ["--epochs", "2", "--device", "cpu", "--recipe", "frozen"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "this result (n = 4)" in out
    assert "Its scores have no range: 12 clips of 4 systems are too few; a range needs 40 clips of 10 systems." in out
    assert "training mean" in out
    assert "! It may learn little more than the mean: 7 training clips are too few" in err
    assert out.splitlines()[-2:] == [
        "Measured on the test part. These are not clips of MusicEval: the published rows are no comparison.",
        f"What is not trained is in {tmp_path / 'model'}. Score with --model, or set MUSICEVAL_MODEL for the app.",
    ]
    assert "%|" not in err  # a bar is for a terminal
    assert "! It is not trained: its error on the training clips is no lower than that of one score" in out
    assert (tmp_path / "own" / "embeddings").is_dir()
    assert main(command) == 0
    assert capsys.readouterr().out == out
    assert main([*command, "--epochs", "3"]) == 2
    assert "recipe.epochs is 3, was 2" in capsys.readouterr().err


@pytest.mark.usefixtures("_quick_start")
def test_what_was_not_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_rated(tmp_path / "data", clips=12)
    rows = data.read_text().splitlines()
    parts = [*["train"] * 8, *["dev"] * 4]
    assert rows[1].endswith('""')
    data.write_text("\n".join([rows[0], *(row[:-2] + f'"{part}"' for row, part in zip(rows[1:], parts, strict=True))]))
    command = ["train", "--data", str(data), "--output", str(tmp_path / "model"), "--split", "official"]
    assert main([*command, "--cache", str(tmp_path / "cache"), "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "! There is no test part: it is measured on the dev part, on which training stops." in out
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["part"] == "dev"
    assert metrics["held_out"]["n_clips"] == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lerning-rate", "1"], "unknown: --lerning-rate. The options are --data, --weight, --pairs"),
        (["--lerning-rate", "1"], "--learning-rate, --schedule, --momentum, --weight-decay, --batch-size"),
        (["--epochs", "many"], "'--epochs': 'many' is not a valid integer"),
        (["--recipe", "best"], "'best' is not one of 'paper', 'released', 'frozen'"),
        (["--split", "halves"], "'halves' is not one of 'official', 'random', 'systems', 'prompts'"),
    ],
)
def test_slips_are_answered_with_what_there_is(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--data", "x", "--output", "y", *options]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "The recipe's batch_size is 0; it must be a whole number from 1."),
        (["--tower", "huge"], "There is no tower 'huge'. The towers are ears, music-audioset, muq, small."),
        (["--folds", "1"], "There is no fold 0 of 1. Folds are two or more, counted from 0."),
        (["--seed", "-1"], "The seed of a split is -1. Give a whole number from 0."),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rated(tmp_path / "data", clips=8)
    assert main(["train", "--data", str(data), "--output", str(tmp_path / "model"), *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"python -m core: {message}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_says_what_stopped_it(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("core.training.material.read_source", read)
    assert main(["train", "--data", "x", "--output", str(tmp_path / "model")]) == code
    assert not (tmp_path / "model").exists()


def test_only_the_first_process_reports(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def train(*given: object, doubt: object) -> None:
        *_, progress = given
        assert callable(progress)
        progress(RunProgress("training", "On it", 0.5, 90.0))

    monkeypatch.setattr("core.training.run.train", train)
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "--data", "x", "--output", "y"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (3599.5, "1 h 0 min"), (9000, "2 h 30 min")]
)
def test_times_to_wait(seconds: float, shown: str) -> None:
    assert show_wait(seconds) == shown
