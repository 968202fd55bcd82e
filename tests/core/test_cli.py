"""The command line: what every command shares, scoring and embedding."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import click
import pytest

from core.batch.run import Counts
from core.cli import main, rows_bar
from core.command import Group, at_most_one, fields_as_one, run_command
from core.model_files import EMBEDDED_JUDGE
from core.scorer import Scorer
from tests.manifests import manifest_rows, write_manifest
from tests.rated import write_rated

ROOT = Path(__file__).parents[2]
Refusal = Callable[..., str]


@pytest.fixture
def refusal(capfd: pytest.CaptureFixture[str]) -> Refusal:
    """Run a command that is refused; return what it says, of which every word is on stderr."""

    def refusal(*arguments: object) -> str:
        assert main([*map(str, arguments)]) == 2
        out, err = capfd.readouterr()
        assert out == ""
        return err

    return refusal


@pytest.fixture
def _loaded(monkeypatch: pytest.MonkeyPatch, scorer: Scorer, tmp_path: Path) -> None:
    monkeypatch.setattr(Scorer, "load", lambda _, *options: Scorer(scorer.checkpoint, *options))
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))


# What every command shares


@dataclass(frozen=True)
class Tune:
    """Options of a command for tests."""

    beats_per_minute: int = field(default=90, metadata={"meaning": "how fast"})
    mood: str = field(default="calm", metadata={"meaning": "how it feels", "choices": ("calm", "wild")})
    volume: float = field(default=0.5, metadata={"meaning": "how loud"})


@pytest.fixture
def play() -> tuple[Group, list[Any]]:
    app, played = Group(help="Play."), list[Any]()

    @app.command()
    @click.argument("clip")
    @click.option("--speed", "-s", type=float)
    @click.option("--start", type=float)
    @fields_as_one("tune", fields(Tune))
    def play(clip: str, speed: float | None, start: float | None, tune: dict[str, Any]) -> None:
        at_most_one(speed=speed, start=start)
        played.append((clip, speed, Tune(**tune)))

    return app, played


def test_options_are_the_fields_of_a_dataclass(play: tuple[Group, list[Any]]) -> None:
    app, played = play
    assert run_command("program", app, ["play", "a.wav", "-s", "2", "--beats-per-minute", "60", "--mood=wild"]) == 0
    assert played == [("a.wav", 2.0, Tune(60, "wild"))]


def test_what_follows_two_hyphens_is_no_option(play: tuple[Group, list[Any]]) -> None:
    app, played = play
    assert run_command("program", app, ["play", "--speed", "2", "--volume=-1", "--", "--mood"]) == 0
    assert played == [("--mood", 2.0, Tune(volume=-1.0))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play", "a.wav", "--pitch=2"], "play: unknown: --pitch. The options are --speed, --start, --beats-per"),
        (["play", "a.wav", "--sp", "2"], "play: unknown: --sp. The options are"),  # no beginning stands for the whole
        (["play", "a.wav", "b.wav"], "play: Got unexpected extra argument (b.wav). Try program play --help."),
        (["play", "a.wav", "--mood", "sad"], "'sad' is not one of 'calm', 'wild'"),
        (["play", "a.wav", "--volume", "much"], "Invalid value for '--volume': 'much'"),
        (["play", "a.wav", "--speed", "2", "--start", "1"], "--start: not allowed with argument --speed"),
        (["play"], "play: Missing argument 'CLIP'"),
        (["stop"], ": unknown: stop. The commands are play"),
        ([], "program: give a command: play. Try program --help."),
        (["--loud"], ": No such option '--loud'"),
    ],
)
def test_a_slip_in_the_arguments_is_one_line(
    play: tuple[Group, list[Any]], arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command("program", play[0], arguments) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("program")
    assert message in err


def test_an_interrupt_and_a_reader_that_goes_away(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    @click.argument("how")
    def command(how: str) -> None:
        if how == "interrupted":
            signal.raise_signal(signal.SIGINT)
        sys.stdout.write("said\n")

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        assert run_command("program", command, ["interrupted"]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr() == ("", "")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run_command("program", command, ["read"]) == 141


def test_help_needs_nothing_heavy(capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys; from annotation.cli import main as study; from core.cli import main as core; "
        "from webapp.cli import main as all;"
        "assert [all(['study', 'simulate', '-h']), study(['-h']), core(['train', '-h'])] == [0, 0, 0];"
        "heavy = {'torch', 'scipy', 'pandas', 'sqlalchemy', 'gradio'};"
        "print(heavy & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "set()\n"
    assert main(["--help"]) == 0
    commands = re.findall(r"^  ([a-z-]+)  ", capfd.readouterr().out, re.MULTILINE)
    assert commands == ["score", "embed", "train", "gate", "evaluate", "baselines", "ablation", "fetch-clap"]


def test_a_score_imports_no_more_than_it_needs(clip_path: Path) -> None:
    """By the embedded judge; and a process that reads clips imports no torch."""
    program = (
        "import sys, core.prepared; from core.cli import main;"
        "print({'torch', 'scipy', 'pandas'} & {*sys.modules}, file=sys.stderr);"
        f"assert main(['score', {str(clip_path)!r}, '--prompt', 'A calm guitar']) == 0;"
        "heavy = {'scipy', 'pandas', 'sympy', 'torchvision', 'transformers', 'librosa', 'sqlalchemy', 'torch._dynamo'};"
        "print(heavy & {*sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "set()\nset()\n"


def test_a_process_ends_with_what_it_returned_and_what_it_began() -> None:
    program = (
        "import atexit, sys; from core.command import run_process\n"
        "def main():\n"
        "    atexit.register(print, 'cleared away')\n"
        "    print('done')\n"
        "    return {code}\n"
        "run_process(main)"
    )
    for code in ("3", "1 / 0"):
        given = [sys.executable, "-c", program.format(code=code)]
        done = subprocess.run(given, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.stdout == "done\ncleared away\n"
        assert (done.returncode, "ZeroDivisionError" in done.stderr) in ((3, False), (1, True))


# One clip


@pytest.mark.usefixtures("_loaded")
def test_json_is_the_scorers(scorer: Scorer, clip_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(clip_path), "--prompt", "A calm guitar line", "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert json.loads(out) == scorer.score(clip_path, "A calm guitar line").to_json()


@pytest.mark.usefixtures("_loaded")
def test_the_summary(scorer: Scorer, clip_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(clip_path), "--prompt", "A calm piano"]) == 0
    score, lines = scorer.score(clip_path, "A calm piano"), capfd.readouterr().out.splitlines()
    for line, scale in zip(lines[:2], score.scales, strict=True):
        assert line.startswith(f"{scale.title:<20} {score[scale.key]:.1f} of 5")
        assert "90% interval" in line
    assert lines[4].split() == ["0:00", "to", "0:04", *(f"{value:.1f}" for value in score.windows[0].values.values())]
    assert [line for line in lines if line.startswith("! ")] == [f"! {warning.message}" for warning in score.warnings]
    assert lines[-1].startswith("Model random (")


def test_model_comes_from_option_before_setting(
    random_checkpoint: Path, clip_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal
) -> None:
    monkeypatch.setenv("MUSICEVAL_MODEL", "nowhere")
    assert refusal("score", clip_path, "--prompt", "x").startswith('python -m core: "nowhere" is not a model folder.')
    assert main(["score", str(clip_path), "--prompt", "x", "--model", str(random_checkpoint)]) == 0


def test_settings_hold_on_the_command_line(clip_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: Refusal) -> None:
    monkeypatch.setenv("MUSICEVAL_MAX_DURATION_S", "3")
    too_long = refusal("score", clip_path, "--prompt", "x")
    assert too_long.startswith('python -m core: "clip.wav" is 4.0 s long; the limit is 3 s.')
    monkeypatch.setenv("MUSICEVAL_COLOUR", "blue")
    unknown = refusal("score", clip_path, "--prompt", "x")
    assert unknown.startswith("python -m core: MUSICEVAL_COLOUR is not a setting.")


# Many clips


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
    assert capfd.readouterr().out.startswith("10 rows: 5 ok, 5 failed. 5 of them now, ")
    shutil.copy(tmp_path / "clip1.wav", tmp_path / "clip0.wav")
    manifest.write_text(manifest.read_text().replace("Loud drums and a bass", "nan"))
    assert main([*command[:-1], str(tmp_path / "other.csv")]) == 0
    assert "\n! Taken as empty: 4 cells of prompt with what means that there is none" in capfd.readouterr().out
    shutil.copy(tmp_path / "clip2.wav", tmp_path / "clip0.wav")
    assert main([*command[:-1], str(tmp_path / "other.csv")]) == 0
    said = capfd.readouterr().out
    assert re.search(r"\nScored again: \d rows?, whose audio, judge or precision has changed\.", said)


@pytest.mark.usefixtures("_loaded")
def test_without_cache_nothing_is_kept(tmp_path: Path) -> None:
    manifest_rows(tmp_path, 1)
    assert main(["score", "--manifest", str(tmp_path), "-o", str(tmp_path / "s.jsonl"), "--no-cache"]) == 0
    assert not (tmp_path / "data").exists()
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 4


@pytest.mark.usefixtures("_loaded")
def test_problems_of_a_clip_list_are_a_line_each(tmp_path: Path, refusal: Refusal) -> None:
    (tmp_path / "m.csv").write_text("file,prompt,id\na.wav,x,1\nb.wav,y,1\n")
    said = refusal("score", "--manifest", tmp_path / "m.csv", "-o", tmp_path / "s.csv")
    assert said.splitlines() == [
        'python -m core: "m.csv" cannot be used, it has 1 problem:',
        '  m.csv, line 3: the id "1" is there twice',
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give CLIP and --prompt, or --manifest and --output"),
        (["a.wav"], "give CLIP and --prompt"),
        (["a.wav", "--prompt"], "'--prompt' requires an argument"),
        (["--prompt", "x"], "give CLIP and --prompt"),
        (["--manifest", "m.csv"], "--manifest goes with --output"),
        (["-o", "s.csv", "a.wav", "--prompt", "x"], "--manifest goes with --output"),
        (["a.wav", "--manifest", "m.csv", "-o", "s.csv"], "without CLIP, --prompt and --json"),
        (["--json", "--manifest", "m.csv", "-o", "s.csv"], "without CLIP, --prompt and --json"),
        (["a.wav", "--prompt", "x", "--model", "m", "--zero-shot"], "--zero-shot goes without --model"),
        (["a.wav", "--prompt", "x", "--device", "gpu"], "'gpu' is not one of 'auto', 'cpu', 'cuda', 'mps'"),
    ],
)
def test_arguments_go_together(arguments: list[str], message: str, refusal: Refusal) -> None:
    said = refusal("score", *arguments)
    assert said.count("\n") == 1
    assert message in said


def test_the_bar_shows_rows_failures_and_time_left() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    with rows_bar(terminal) as show:
        show(Counts(2_000, 500, 490))
        show(Counts(2_000, 1_000, 980))
    last = terminal.getvalue().split("\r")[-1]
    assert re.search(r"50%.*1000/2000 \[00:0\d<.*rows/s, 20 failed\]", last)


# Embeddings


def test_a_second_run_computes_nothing(
    random_checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_rated(tmp_path / "data", 4)
    command = ["embed", "--data", data, "--model", random_checkpoint, "--cache", tmp_path / "cache"]
    assert main([*map(str, command)]) == 0
    out, err = capfd.readouterr()
    assert re.fullmatch(r"4 clips with prompts: 7 embeddings computed, 0 already there, [\d.]+ s\.\n", out)
    assert "Embedding clip 4 of 4: 100%" in err
    assert main([*map(str, command)]) == 0
    out, err = capfd.readouterr()
    assert "0 embeddings computed, 7 already there" in out
    assert err == ""


@pytest.mark.usefixtures("_loaded")
def test_without_a_prompt_there_is_no_alignment(clip_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["score", str(clip_path), "--prompt", ""]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert (
        lines[1]
        == "Textual alignment    –          There is no prompt, so nothing can be said of the alignment with it."
    )
    assert lines[4].split()[-1] == "–"


def test_by_default_the_ears_and_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "own"))
    command = ["embed", "--data", str(write_rated(tmp_path / "data", 4))]
    assert main(command) == 0
    assert "7 embeddings computed" in capfd.readouterr().out
    assert len([path for path in (tmp_path / "own" / "embeddings").rglob("*") if path.is_file()]) == 7
    assert main([*command, "--model", str(EMBEDDED_JUDGE)]) == 0
    assert "0 embeddings computed, 7 already there" in capfd.readouterr().out
    assert main(command) == 0
    assert "0 embeddings computed" in capfd.readouterr().out


def test_unreadable_clips(
    random_checkpoint: Path, tmp_path: Path, refusal: Refusal, capfd: pytest.CaptureFixture[str]
) -> None:
    data = write_rated(tmp_path / "data", 4)
    whole = (data.parent / "c01.wav").read_bytes()
    (data.parent / "c01.wav").write_text("no audio")
    (data.parent / "c03.wav").write_bytes(b"")
    command = ["embed", "--data", data, "--model", random_checkpoint, "--cache", tmp_path / "cache"]
    lines = refusal(*command).splitlines()
    assert lines[-3] == "python -m core: 2 clips cannot be read:"
    assert lines[-2].startswith('  "c01.wav" cannot be read as audio')
    assert lines[-1] == '  "c03.wav" is empty (0 bytes). Export or download it again.'
    for name in ("c01.wav", "c03.wav"):
        (data.parent / name).write_bytes(whole)
    assert main([*map(str, command)]) == 0
    assert "2 already there" in capfd.readouterr().out


def test_mistakes_of_embed(tmp_path: Path, refusal: Refusal) -> None:
    data = write_rated(tmp_path / "data", 4)
    assert "There is no tower 'huge'" in refusal("embed", "--data", data, "--tower", "huge")
    assert "There is no precision 'half'" in refusal("embed", "--data", data, "--precision", "half")
    both = refusal("embed", "--data", data, "--tower", "small", "--model", "m")
    assert "argument --model: not allowed with argument --tower" in both
