"""The command that measures controls."""

import json
from pathlib import Path

import pytest

from core import controls
from core.__main__ import main
from core.baselines import FOLDED, TITLES
from core.controls import METHODS
from core.predictions import measure
from tests.rated import write_rated


def test_tables_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(controls, "measure", lambda table, resamples: measure(table, resamples=20))
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
    assert [line.split(" | ")[0] for line in lines[2:6]] == [f"| {title}" for title in TITLES.values()]
    assert lines[3].count("–") == 2
    assert lines[7].startswith("| System level, n = 4 |")
    assert lines[14:16] == ["Clips at random, seed 0; all 3 folds together.", FOLDED]
    assert lines[-1] == "The ratings are simulated: these figures say nothing about what experts hear."
    assert "Fitting heads: fold 3 of 3: 100%" in err
    assert main([*options, "--json"]) == 0
    measured = json.loads(capfd.readouterr().out)
    assert tuple(measured) == METHODS == tuple(TITLES)
    shown = f"| {measured['mean']['utterance']['musical_impression']['mse']:.3f} | – |"
    assert shown in lines[3]


def test_a_mistake(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = write_rated(tmp_path / "data", 4)
    assert main(["baselines", "--data", str(data), "--learning-rate", "-1"]) == 2
    assert "learning_rate is -1.0; it must be a number above 0" in capfd.readouterr().err
