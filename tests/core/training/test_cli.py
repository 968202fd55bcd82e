"""The command line of training."""

import json
import os
import signal
from pathlib import Path

import pytest

from core.__main__ import main
from core.training.cli import _show_time
from core.training.run_folder import RunProgress
from core.training.trainer import Plan
from tests.rated import write_rated


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.measuring.RESAMPLES", 20)


def test_a_finished_run_prints_its_table_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "own"))
    data = write_rated(tmp_path / "data", clips=12)
    command = ["train", "--data", str(data), "--output", str(tmp_path / "model"), "--test-share", "0.3"]
    command += ["--epochs", "2", "--device", "cpu"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "this result (n = 4)" in out
    assert out.splitlines()[-2:] == [
        "Measured on the test part. These are not clips of MusicEval: the published rows are no comparison.",
        f"The model is in {tmp_path / 'model'}. Score with --model, or set MUSICEVAL_MODEL for the app.",
    ]
    assert "The model is ready: 100%|" in err
    assert (tmp_path / "own" / "embeddings").is_dir()
    assert main(command) == 0
    assert capsys.readouterr().out == out
    assert main([*command, "--epochs", "3"]) == 2
    assert "recipe.epochs is 3, was 2" in capsys.readouterr().err


def test_what_was_not_measured_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_rated(tmp_path / "data", clips=12)
    rows = data.read_text().splitlines()
    parts = [*["train"] * 8, *["dev"] * 4]
    assert rows[1].endswith('""')
    data.write_text(
        "\n".join([rows[0], *(row[:-2] + f'"{part}"' for row, part in zip(rows[1:], parts, strict=True))])
    )
    command = ["train", "--data", str(data), "--output", str(tmp_path / "model"), "--split", "official"]
    assert main([*command, "--cache", str(tmp_path / "cache"), "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert "There is no test part: measured on the dev part, which training stopped on." in out
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["part"] == "dev"
    assert metrics["held_out"]["n_clips"] == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lerning-rate", "1"], "unknown: --lerning-rate 1. The options are --help, --data, --recipe"),
        (["--epochs", "many"], "argument --epochs: invalid int value: 'many'"),
        (["--recipe", "best"], "invalid choice: 'best' (choose from"),
    ],
)
def test_slips_are_answered_with_what_there_is(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        main(["train", "--data", "x", "--output", "y", *options])
    assert raised.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    if options[0] == "--lerning-rate":
        assert "--learning-rate, --schedule, --momentum, --weight-decay, --batch-size, --micro-batch" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--batch-size", "0"], "The recipe's batch_size is 0; it must be a whole number from 1."),
        (["--tower", "huge"], "There is no tower 'huge'. The towers are small, music-audioset."),
        (["--folds", "1"], "There is no fold 0 of 1. Folds are two or more, counted from 0."),
        (["--seed", "-1"], "The seed of a split is -1. Give a whole number from 0."),
    ],
)
def test_mistakes_are_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_rated(tmp_path / "data", clips=4)
    assert main(["train", "--data", str(data), "--output", str(tmp_path / "model"), *options]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"python -m core: {message}"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_code_says_what_stopped_it(
    number: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("core.training.trained_model.read_source", read)
    with pytest.raises(SystemExit) as raised:
        main(["train", "--data", "x", "--output", str(tmp_path / "model")])
    assert raised.value.code == code
    assert not (tmp_path / "model").exists()


def test_only_the_first_process_reports(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(_: Plan, tell: object) -> None:
        assert callable(tell)
        tell(RunProgress("training", "On it", 0.5, 90.0))

    monkeypatch.setattr("core.training.trainer.train", train)
    monkeypatch.setenv("RANK", "1")
    assert main(["train", "--data", "x", "--output", "y"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "1 s"), (59, "59 s"), (60, "1 min"), (3599.5, "1 h 0 min"), (9000, "2 h 30 min")],
)
def test_times_to_wait(seconds: float, shown: str) -> None:
    assert _show_time(seconds) == shown
