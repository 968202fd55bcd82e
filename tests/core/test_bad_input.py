import json
import shutil
from pathlib import Path

import pytest

from core.__main__ import main
from core.audio import read_clip
from core.errors import AudioError, CheckpointError
from core.scorer import Scorer
from tests.bad_inputs import BAD_INPUTS, BAD_MODELS, BadInput, BadModel

each_input = pytest.mark.parametrize("case", BAD_INPUTS, ids=lambda case: case.name)
each_model = pytest.mark.parametrize("case", BAD_MODELS, ids=lambda case: case.name)


@pytest.fixture
def model(tmp_path: Path, random_checkpoint: Path) -> Path:
    return Path(shutil.copytree(random_checkpoint, tmp_path / "model"))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch, scorer: Scorer) -> None:
    """The command line gets a scorer that is loaded already."""
    monkeypatch.setattr(Scorer, "load", lambda *_: scorer)


def check_refusal(message: str, expected: str, folder: Path) -> None:
    assert expected in message
    assert "\n" not in message
    assert message.endswith((".", ")."))
    assert str(folder) not in message


@each_input
def test_scorer(case: BadInput, tmp_path: Path, scorer: Scorer) -> None:
    clip, prompt = case.build(tmp_path)
    if case.error is not None:
        with pytest.raises(AudioError) as caught:
            scorer.score(clip, prompt)
        check_refusal(str(caught.value), case.error, tmp_path)
        return
    score = scorer.score(clip, prompt)
    assert 1.0 <= score.musical_impression <= 5.0
    assert 1.0 <= score.textual_alignment <= 5.0
    expected = {"demo_model", case.warning} - {None}
    assert {warning.code for warning in score.warnings} - {"very_short"} == expected - {"very_short"}
    assert case.warning in {None, *(warning.code for warning in score.warnings)}


@pytest.mark.usefixtures("loaded")
@each_input
def test_command_line(case: BadInput, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    clip, prompt = case.build(tmp_path)
    code = main(["score", str(clip), "--prompt", prompt, "--json"])
    out, err = capfd.readouterr()
    if case.error is not None:
        assert (code, out) == (2, "")
        assert err.startswith("python -m core: ")
        check_refusal(err.rstrip("\n"), case.error, tmp_path)
    else:
        assert (code, err) == (0, "")
        assert case.warning in {None, *(warning["code"] for warning in json.loads(out)["warnings"])}


@each_input
def test_content_without_a_file(case: BadInput, tmp_path: Path) -> None:
    path, _ = case.build(tmp_path)
    if not path.is_file() or case.error is None:
        return
    with pytest.raises(AudioError, match=r"^The clip "):
        read_clip(path.read_bytes())


@each_model
def test_scorer_refuses_model(case: BadModel, tmp_path: Path, model: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        Scorer.load(case.spoil(model))
    check_refusal(str(caught.value), case.error, tmp_path)


@each_model
def test_command_line_refuses_model(
    case: BadModel, tmp_path: Path, model: Path, clip_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code = main(["score", str(clip_path), "--prompt", "", "--model", str(case.spoil(model))])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    check_refusal(err.rstrip("\n"), case.error, tmp_path)
