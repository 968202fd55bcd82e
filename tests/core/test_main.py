import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.__main__ import main
from core.scorer import Scorer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def _loaded(monkeypatch: pytest.MonkeyPatch, scorer: Scorer) -> None:
    monkeypatch.setattr(Scorer, "load", lambda *_: scorer)


def test_help_is_there_at_once() -> None:
    heavy = "import sys, core.__main__ as c; c.build_parser(); print({'torch', 'scipy'} & set(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", heavy], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "set()\n"


@pytest.mark.usefixtures("_loaded")
def test_json_is_the_scorers(scorer: Scorer, clip_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(clip_path), "--prompt", "A calm guitar line", "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out) == scorer.score(clip_path, "A calm guitar line").to_json()


@pytest.mark.usefixtures("_loaded")
def test_the_summary(scorer: Scorer, clip_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(clip_path), "--prompt", ""]) == 0
    score = scorer.score(clip_path, "")
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith(f"Musical impression   {score.musical_impression:.1f} of 5")
    assert "90% interval" in lines[0]
    assert lines[1].startswith(f"Textual alignment    {score.textual_alignment:.1f} of 5")
    assert lines[4].split() == [
        "0:00",
        "to",
        "0:04",
        *(f"{getattr(score.windows[0], s):.1f}" for s in ("musical_impression", "textual_alignment")),
    ]
    assert [line for line in lines if line.startswith("! ")] == [
        f"! {warning.message}" for warning in score.warnings
    ]
    assert lines[-1].startswith("Model random (")


def test_model_comes_from_option_before_setting(
    random_checkpoint: Path,
    clip_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MUSICEVAL_MODEL", "nowhere")
    assert main(["score", str(clip_path), "--prompt", "x"]) == 2
    assert capfd.readouterr().err.startswith('python -m core: "nowhere" is not a model folder.')
    assert main(["score", str(clip_path), "--prompt", "x", "--model", str(random_checkpoint)]) == 0


def test_settings_hold_on_the_command_line(
    clip_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_MAX_DURATION_S", "3")
    assert main(["score", str(clip_path), "--prompt", "x"]) == 2
    monkeypatch.setenv("MUSICEVAL_COLOUR", "blue")
    assert main(["score", str(clip_path), "--prompt", "x"]) == 2
    too_long, unknown = capfd.readouterr().err.splitlines()
    assert too_long.startswith('python -m core: "clip.wav" is 4.0 s long; the limit is 3 s.')
    assert unknown.startswith("python -m core: MUSICEVAL_COLOUR is not a setting.")


@pytest.mark.parametrize(
    "arguments",
    [[], ["listen"], ["score"], ["score", "clip.wav"], ["score", "clip.wav", "--prompt"], ["--loud"]],
)
def test_a_slip_in_the_arguments_is_one_line(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capfd.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("python -m core")


def test_as_a_process_on_a_plain_terminal(random_checkpoint: Path, clip_path: Path) -> None:
    arguments = ["score", str(clip_path), "--prompt", "x", "--model", str(random_checkpoint)]
    result = subprocess.run(
        [sys.executable, "-m", "core", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert result.stderr == ""
    assert "Model random" in result.stdout


@pytest.mark.usefixtures("_loaded")
def test_a_reader_that_goes_away(clip_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["score", str(clip_path), "--prompt", "x"]) == 141
