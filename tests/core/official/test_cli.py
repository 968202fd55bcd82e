import argparse
from pathlib import Path

import pytest
from huggingface_hub import constants

from core.command import Parser, run_command
from core.laion import SPECS
from core.official.cli import add_command
from core.official.tower import PREPARED_WEIGHTS, prepared_folder
from tests import hub, officials
from tests.officials import Little, checkpoint, little, state_dict


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Little:
    whole = little(checkpoint(state_dict()))
    monkeypatch.setitem(SPECS, officials.SPEC.name, officials.SPEC)
    monkeypatch.setattr("core.official.tower.OFFICIAL", whole.official)
    hub.use(monkeypatch, tmp_path / "home", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return whole


def parser() -> argparse.ArgumentParser:
    parser = Parser(prog="core")
    add_command(parser.add_subparsers())
    return parser


@pytest.mark.parametrize("how", ["option", "setting"])
def test_a_copy_brought_by_hand(
    whole: Little,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    source = str(whole.write(tmp_path / "stick"))
    if how == "setting":
        monkeypatch.setenv("MUSICEVAL_CLAP_CHECKPOINT", source)
    code = run_command(parser, ["fetch-clap", *(["--from", source] if how == "option" else [])])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "Loading and checking little.pt.",
        f"The official CLAP is ready: {prepared_folder(whole.official) / PREPARED_WEIGHTS}",
    ]


def test_a_mistake_is_one_line(whole: Little, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(parser, ["fetch-clap"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert "HF_HUB_OFFLINE is set" in said.err
