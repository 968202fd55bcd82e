"""From a release on the disk to Table I: two commands, which agree on the figures."""

from pathlib import Path

import pytest

from core.cli import main
from tests.playable_release import write_release


def figures(out: str) -> list[str]:
    """The lines of Table I, without the control that training alone measures."""
    lines = [line for line in out.splitlines() if not line.startswith("  prompt alone")]
    start = next(n for n, line in enumerate(lines) if line.split()[:3] == ["MSE", "LCC", "SRCC"])
    return lines[start : start + 16]


@pytest.mark.usefixtures("_quick_start")
def test_train_and_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("core.evaluation.RESAMPLES", 20)
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "own"))
    release, model = tmp_path / "release", tmp_path / "model"
    write_release(release, clips=40, duration_s=0.5, systems=8, seed=2)
    train = ["train", "--data", str(release), "--split", "official", "--epochs", "2", "--output", str(model)]
    assert main(train) == 0
    trained = figures(capfd.readouterr().out)
    assert main(["evaluate", "--data", str(release), "--model", str(model)]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert figures(out) == trained
    assert trained[3].startswith("  this result (n = 6) ")
    said = out.splitlines()
    for sentence in (
        "Measured on the test part, 6 of 40 clips, of the model's own split.",
        "The model was trained on the audio of none of them.",
        "About this model: trained on simulated ratings.",
        "The ratings are simulated: these figures say nothing about what experts hear.",
        "These ratings are not those that MusicEval published: the published rows are no comparison.",
    ):
        assert sentence in said
