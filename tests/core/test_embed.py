"""The command that embeds."""

import re
from pathlib import Path

import pytest

from core.__main__ import main
from core.scorer import DEMO_CHECKPOINT
from tests.rated import write_rated


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rated(tmp_path / "data", 4)


def embed(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    assert main(["embed", *map(str, arguments)]) == 0
    return capfd.readouterr()


def refusal(capfd: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["embed", *map(str, arguments)]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    return err


def test_a_second_run_computes_nothing(
    data: Path, random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", data, "--model", random_checkpoint, "--cache", tmp_path / "cache")
    out, err = embed(capfd, *options)
    assert re.fullmatch(
        r"4 clips with their prompts: 7 embeddings computed, 0 already there, [\d.]+ s\.\n", out
    )
    assert "Embedding clip 4 of 4: 100%" in err
    out, err = embed(capfd, *options)
    assert "0 embeddings computed, 7 already there" in out
    assert err == ""


def test_by_default_the_small_tower_and_the_data_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "own"))
    assert "7 embeddings computed" in embed(capfd, "--data", data)[0]
    assert len([path for path in (tmp_path / "own" / "embeddings").rglob("*") if path.is_file()]) == 7
    assert "0 embeddings computed" in embed(capfd, "--data", data, "--model", DEMO_CHECKPOINT)[0]


def test_unreadable_clips(
    data: Path, random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = (data.parent / "c01.wav").read_bytes()
    (data.parent / "c01.wav").write_text("no audio")
    (data.parent / "c03.wav").write_bytes(b"")
    options = ("--data", data, "--model", random_checkpoint, "--cache", tmp_path / "cache")
    lines = refusal(capfd, *options).splitlines()
    assert lines[-3] == "python -m core: 2 clips cannot be read:"
    assert lines[-2].startswith('  "c01.wav" cannot be read as audio')
    assert lines[-1] == '  "c03.wav" is empty (0 bytes). Export or download it again.'
    for name in ("c01.wav", "c03.wav"):
        (data.parent / name).write_bytes(whole)
    assert "2 already there" in embed(capfd, *options)[0]


def test_mistakes(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "There is no tower 'huge'. The towers are small, music-audioset." in refusal(
        capfd, "--data", data, "--tower", "huge"
    )
    assert "There is no precision 'half'" in refusal(capfd, "--data", data, "--precision", "half")
    with pytest.raises(SystemExit):
        main(["embed", "--data", str(data), "--tower", "small", "--model", "m"])
    assert "not allowed with argument --tower" in capfd.readouterr().err
