import io
import re
from pathlib import Path

import pytest

from core.__main__ import main
from core.many.cli import _Bar
from core.many.run import Counts
from core.scorer import Scorer
from tests.manifests import manifest_rows, write_manifest


@pytest.fixture
def _loaded(monkeypatch: pytest.MonkeyPatch, scorer: Scorer, tmp_path: Path) -> None:
    monkeypatch.setattr(Scorer, "load", lambda *_: scorer)
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))


@pytest.mark.usefixtures("_loaded")
def test_a_run_says_what_came_of_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    manifest = write_manifest(tmp_path / "clips.jsonl", manifest_rows(tmp_path, 10, 5))
    output = tmp_path / "new" / "scores.csv"
    command = ["score", "--manifest", str(manifest), "-o", str(output)]
    assert main(command) == 0
    said, err = capfd.readouterr()
    now = r"10 of them now, in [\d.]+ s \([\d.]+ rows a second\); peak memory [\d.]+ GB"
    assert re.fullmatch(rf"10 rows: 5 ok, 5 failed\. {now}\.\n", said)
    assert err == ""  # no bar where nobody looks, no notes of decoders
    assert len(output.read_text().splitlines()) == 11
    assert len([*(tmp_path / "data" / "embeddings").rglob("*")]) > 4
    assert main(command) == 0
    assert capfd.readouterr().out.startswith("10 rows: 5 ok, 5 failed. 0 of them now, ")
    assert main([*command, "--retry-failed"]) == 0
    assert capfd.readouterr().out.startswith("10 rows: 5 ok, 5 failed. 10 of them now, ")


@pytest.mark.usefixtures("_loaded")
def test_without_cache_nothing_is_kept(tmp_path: Path) -> None:
    manifest_rows(tmp_path, 1)
    assert main(["score", "--manifest", str(tmp_path), "-o", str(tmp_path / "s.jsonl"), "--no-cache"]) == 0
    assert not (tmp_path / "data").exists()
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 4


@pytest.mark.usefixtures("_loaded")
def test_mistakes_are_said_in_a_line_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.csv").write_text("file,prompt,id\na.wav,x,1\nb.wav,y,1\n")
    assert main(["score", "--manifest", str(tmp_path / "m.csv"), "-o", str(tmp_path / "s.csv")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        'python -m core: "m.csv" cannot be used, it has 1 problem:',
        '  m.csv, line 3: the id "1" is there twice',
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give CLIP and --prompt, or --manifest and --output"),
        (["a.wav"], "give CLIP and --prompt"),
        (["--prompt", "x"], "give CLIP and --prompt"),
        (["--manifest", "m.csv"], "--manifest goes with --output"),
        (["-o", "s.csv", "a.wav", "--prompt", "x"], "--manifest goes with --output"),
        (["a.wav", "--manifest", "m.csv", "-o", "s.csv"], "without CLIP, --prompt and --json"),
        (["--json", "--manifest", "m.csv", "-o", "s.csv"], "without CLIP, --prompt and --json"),
    ],
)
def test_arguments_go_together(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["score", *arguments])
    out, err = capfd.readouterr()
    assert (ended.value.code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_the_bar_shows_rows_failures_and_time_left() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    bar = _Bar(terminal)
    bar.tell(Counts(2_000, 500, 490))
    bar.tell(Counts(2_000, 1_000, 980))
    bar.close()
    assert bar.n_before == 500
    last = terminal.getvalue().split("\r")[-1]
    assert re.search(r"50%.*1000/2000 \[00:0\d<.*rows/s, 20 failed\]", last)
