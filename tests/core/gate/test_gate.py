"""The gate from a list to its exit code and its reports."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from core.cli import main
from core.cli_gate import gate as gate_command
from core.errors import DataError
from core.gate.outcome import Conditions
from core.gate.run import read_references, run_gate
from core.scorer import Scorer
from tests.clips import pluck, write_clip

ROOT = Path(__file__).parents[3]
Gate = Callable[..., int]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists of clips without a fault, and with some."""
    folder = tmp_path_factory.mktemp("gate")
    for number in range(6):
        write_clip(folder / f"good{number}.wav", pluck(1.0 + 0.1 * number))
    clicked = pluck(2.0)
    clicked[15_000] += 0.5
    write_clip(folder / "clicked.wav", clicked)
    write_clip(folder / "silent.wav", np.zeros(32_000, np.float32))
    head = "file,prompt,system\n"
    good = "".join(f"good{number}.wav,A calm guitar line,A\n" for number in range(6))
    bad = "clicked.wav,A,<b>B</b>\nsilent.wav,A,<b>B</b>\nmissing.wav,A,<b>B</b>\ngood0.wav,,<b>B</b>\n"
    (folder / "good.csv").write_text(head + good)
    (folder / "bad.csv").write_text(head + good + bad)
    return folder


@pytest.fixture
def gate(folder: Path, random_checkpoint: Path) -> Gate:
    """Run the gate over a list with the random judge, here."""

    def gate(name: str, *options: str) -> int:
        return main(["gate", str(folder / name), "--model", str(random_checkpoint), "--no-cache", *options])

    return gate


def test_a_list_passes(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("good.csv", "--min", "musical_impression=1.1", "--min", "textual_alignment=1.1", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["passed"], said["n_clips"], said["n_failed"], said["failed"]) == (True, 6, 0, [])
    assert [mean["scale"] for mean in said["means"]] == ["musical_impression", "textual_alignment"]
    assert all(mean["low"] <= mean["mean"] <= mean["high"] for mean in said["means"])
    assert any("demo" in note or "random" in note for note in said["notes"])


def test_a_mean_that_is_too_low_does_not(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate("good.csv", "--min", "musical_impression=5") == 1
    assert "FAILED  A: musical_impression has a mean of " in capsys.readouterr().out


def test_what_means_nothing_is_no_number(gate: Gate, capsys: pytest.CaptureFixture[str]) -> None:
    """A clip of silence, one that is missing, one without a prompt: failed, and in no mean."""
    assert gate("bad.csv", "--min", "textual_alignment=1", "--json") == 1
    said = json.loads(capsys.readouterr().out)
    reasons = {clip["file"]: clip["reason"] for clip in said["failed"]}
    assert list(reasons) == ["clicked.wav", "silent.wav", "missing.wav", "good0.wav"]
    assert reasons["clicked.wav"] == "It has 1 click, above 0."
    assert reasons["good0.wav"].startswith("It has no textual_alignment: There is no prompt")
    assert {clip["system"] for clip in said["failed"]} == {"<b>B</b>"}


class _Page(HTMLParser):
    """The tags of a page, and whether it has anything to load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [name for name, _ in attrs if name in ("src", "href")]


def test_reports(gate: Gate, tmp_path: Path) -> None:
    xml, page = tmp_path / "new" / "gate.xml", tmp_path / "gate.html"
    assert gate("bad.csv", "--min", "musical_impression=1", "--junit", str(xml), "--report", str(page)) == 1
    suites = ElementTree.parse(xml).getroot()
    cases = {(case.get("classname"), case.get("name")): case for case in suites.iter("testcase")}
    clips, mean = "failed clips at most 0 %", "musical_impression at least 1"
    assert set(cases) == {(system, name) for system in ("A", "<b>B</b>") for name in (clips, mean)}
    assert [name for name, case in cases.items() if case.find("failure") is not None] == [("<b>B</b>", clips)]
    failure = cases["<b>B</b>", clips].find("failure")
    assert "3 of 4 clips failed" in failure.get("message")
    assert "clicked.wav: It has 1 click, above 0." in failure.text
    suite = suites.find("testsuite")
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    read = _Page(page.read_text(encoding="utf-8"))
    assert read.loads == []
    assert {"script", "b", "img", "link"}.isdisjoint(read.tags)
    assert read.tags.count("tr") == 1 + 4 + 1 + 4 + 1 + 3
    assert [path.name for path in tmp_path.iterdir()] in (["new", "gate.html"], ["gate.html", "new"])


def test_names_that_xml_cannot_hold(tmp_path: Path, folder: Path, gate: Gate) -> None:
    rows = [{"file": str(folder / "missing\x01.wav"), "prompt": "A", "system": "S\x02&"}]
    (folder / "names.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert gate("names.jsonl", "--junit", str(tmp_path / "gate.xml")) == 1
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().find(".//testcase").get("classname") == "S?&"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--min", "musical_impression"], "write it as musical_impression=3.2"),
        (["--min", "loudness=3"], "The judge has no scale 'loudness'. Its scales are musical_impression, textual_"),
        (["--min", "musical_impression=9"], "scores go from 1 to 5"),
        (["--max-fail", "two"], "write it as 2%"),
        (["--max-fail", "101%"], "write it as 2%"),
        (["--max-cliks", "2"], "unknown: --max-cliks. The options are --min, --max-fail, --strict, --max-true-peak"),
    ],
)
def test_mistakes(gate: Gate, options: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert gate("good.csv", *options) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err


def test_a_list_that_is_not_in_order_is_a_mistake(gate: Gate, folder: Path) -> None:
    (folder / "wrong.csv").write_text("clip,prompt\na.wav,A\n")
    assert gate("wrong.csv") == 2
    assert gate("none.csv") == 2


def reference_row(value: float, scorer: Scorer, **cells: object) -> dict[str, object]:
    judged = {"model_sha256": scorer.checkpoint.sha256, "precision": "float32"}
    return {"status": "ok", "warnings": "", "musical_impression": value, "textual_alignment": "", **judged, **cells}


def write_references(path: Path, rows: list[dict[str, object]]) -> Path:
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_a_mean_has_its_place_among_reference_clips(tmp_path: Path, scorer: Scorer) -> None:
    """Of 24 clips 20 have a value that means something; none has one on the other scale."""
    nothing = [{"status": "failed"}, {"warnings": "no_music"}, {"musical_impression": ""}, {"status": "failed"}]
    rows = [reference_row(1 + n / 5, scorer) for n in range(20)] + [reference_row(1, scorer, **of) for of in nothing]
    references = read_references(write_references(tmp_path / "known.csv", rows), scorer)
    assert references.place_of(3.0, "musical_impression") == "better than 50 % of 20 reference clips (known.csv)"
    assert references.place_of(1.0, "musical_impression").startswith("better than 0 %")
    assert references.place_of(3.0, "textual_alignment") == ""


@pytest.mark.parametrize(
    ("n", "cells", "said"),
    [
        (19, {}, "fewer than 20 reference clips"),
        (20, {"model_sha256": "0"}, "not scored by the judge of the gate"),
        (20, {"precision": "bfloat16"}, "at another precision"),
        (20, {"musical_impression": "good"}, "could not convert"),
    ],
)
def test_references_that_cannot_be_compared(
    n: int, cells: dict[str, object], said: str, tmp_path: Path, scorer: Scorer
) -> None:
    with pytest.raises(DataError, match=said):
        read_references(write_references(tmp_path / "known.csv", [reference_row(2, scorer, **cells)] * n), scorer)


def test_the_place_stands_beside_the_mean(
    gate: Gate, tmp_path: Path, scorer: Scorer, capsys: pytest.CaptureFixture[str]
) -> None:
    known = write_references(tmp_path / "known.csv", [reference_row(1, scorer)] * 20)
    page = tmp_path / "gate.html"
    assert gate("good.csv", "--among", str(known), "--report", str(page)) == 0
    assert "A: musical_impression is better than 100 % of 20 reference clips (known.csv)." in capsys.readouterr().out
    assert "better than 100 % of 20 reference clips (known.csv)" in page.read_text(encoding="utf-8")


def test_as_a_build_runs_it(folder: Path, random_checkpoint: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "MUSICEVAL_DATA": str(tmp_path)}
    command = [ROOT / "tests" / "gate.sh", sys.executable, folder, "--no-cache", "--model", random_checkpoint]
    ended = subprocess.run([*map(str, command)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc to read memory from")
def test_a_thousand_clips_in_constant_memory(folder: Path, scorer: Scorer) -> None:
    random, sound = np.random.default_rng(0), pluck(3.0)
    for n in range(1_000):
        write_clip(folder / f"{n}.wav", sound + 0.01 * random.standard_normal(sound.shape))
    (folder / "many.csv").write_text(
        "file,prompt,system\n" + "".join(f"{n}.wav,A calm guitar line {n},A\n" for n in range(1_000))
    )
    memory_mb = []

    def watch(n_done: int, _n_failed: int, _n_rows: int) -> None:
        if n_done % 100 == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            memory_mb.append(pages * os.sysconf("SC_PAGESIZE") / 1e6)

    found = run_gate(folder / "many.csv", Conditions(), Scorer(scorer.checkpoint), watch)
    assert (found.n_clips, found.n_failed, len(memory_mb)) == (1_000, 0, 10)
    # It goes up and down by some 50 MB, of all that the process holds; the clips alone would add 290 in either half.
    assert np.median(memory_mb[5:]) < np.median(memory_mb[:5]) + 100, memory_mb


def test_the_commands_of_the_documentation_can_be_given() -> None:
    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    calls = re.findall(r"(?:musiceval|python -m core) gate (clips.*)", text)
    assert len(calls) == 4
    for call in calls:
        context = gate_command.make_context("gate", shlex.split(call))
        assert context.params["minima"] == {"musical_impression": 3.2}
        assert context.params["max_fail_percent"] == (2.0 if "--max-fail" in call else 0.0)
