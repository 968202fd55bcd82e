"""The command line: every command, its words, and its mistakes in one line."""

import contextlib
import dataclasses
import io
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from annotation import stress as stress
from annotation import studies as access
from annotation.cli import app, main
from annotation.database import Database
from annotation.plans import StressPlan
from annotation.protocol import SCREENING, Protocol
from annotation.schema import Clip, Study
from annotation.session import listening
from tests.annotation.rooms import NOW, Room
from tests.annotation.scripted import rate_all
from tests.clips import pluck, write_clip
from tests.webapp.studies import rows

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in a fresh data folder; give exit code, stdout and stderr."""
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'data' / 'musiceval.sqlite'}")
    yield database
    database.close()


SMALL = ("--raters-per-clip", "2", "--batch-size", "3", "--anchors", "1", "--duplicate-distance", "1")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """A folder with a manifest, and the data folder of a small study with its clips and two raters: names and codes."""
    folder = tmp_path_factory.mktemp("prepared")
    lines = ["file,prompt,system,kind"]
    for number in range(6):
        write_clip(folder / f"{number}.wav", pluck(1.0 + number / 10))
        lines.append(f"{number}.wav,Prompt {number % 3},S{number // 3},")
    write_clip(folder / "a.wav", pluck(1.21))
    (folder / "m.csv").write_text("\n".join([*lines, "a.wav,Played by people,human,anchor"]))
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("MUSICEVAL_DATA", str(folder / "data"))
        patch.chdir(folder)
        assert main(("create", "one", *SMALL, "--training", "0")) == 0
        assert main(("ingest", "one", "m.csv")) == 0
        said.truncate(said.seek(0))
        assert main(("invite", "one", "--raters", "2")) == 0
    return folder, [line.split() for line in said.getvalue().splitlines()]


@pytest.fixture
def ready(run: Run, prepared: tuple[Path, list[list[str]]], tmp_path: Path) -> list[list[str]]:
    """A copy of that study where `run` works; gives the raters' names and codes."""
    folder, codes = prepared
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return codes


def rate(database: Database, codes: list[list[str]]) -> None:
    for number, (_, code) in enumerate(codes):
        with database.write() as session:
            rater = access.authorise(session, access.enter(session, code, NOW), NOW)
        rate_all(database, rater.id, lambda clip, role, n=number: (5, 5) if role == "anchor" else (2 + n, 4), NOW)


def test_create_stores_the_rules(run: Run, database: Database) -> None:
    code, out, err = run("create", "one", "--seed", "5", "--scope", "rater", "--anchor-fail-below", "3.5")
    first, pausing, warning = out.splitlines()
    assert (code, first) == (0, f"The study one is created in the folder {Path.cwd() / 'data'}.")
    assert pausing.startswith("A rater is paused once 6 batches in a row failed")
    assert warning.startswith("! One failed batch takes out all of a rater's ratings.")
    assert err == "Next: python -m annotation ingest one MANIFEST\n"
    with database.read() as session:
        study = session.query(Study).one()
    assert study.seed == 5
    assert study.protocol == Protocol(scope="rater", anchor_fail_below=3.5)


def test_every_rule_is_an_option() -> None:
    options = {option.name: option for option in app.commands["create"].params}
    for rule in dataclasses.fields(Protocol):
        option = options[rule.name]
        assert isinstance(option, click.Option)
        assert option.opts == [f"--{rule.name.replace('_', '-')}"]
        assert option.default == rule.default
        assert tuple(getattr(option.type, "choices", ())) == rule.metadata["choices"]
        assert option.help == rule.metadata["meaning"]


def test_a_seed_is_drawn(run: Run, database: Database) -> None:
    for name in ("one", "two"):
        run("create", name)
    with database.read() as session:
        first, second = (study.seed for study in session.query(Study))
    assert first != second


def test_ingest_says_what_it_did(run: Run, ready: list[list[str]], tmp_path: Path) -> None:
    code, out, err = run("ingest", "one", "m.csv")
    assert (code, out) == (0, "Rows read: 7. Added: nothing. There already: 7.\n")
    assert err == "Next: python -m annotation invite one --raters N\n"
    (tmp_path / "m.csv").write_text("file,prompt,system\nnone.wav,p,S1\n")
    code, out, err = run("ingest", "one", "m.csv")
    assert (code, out) == (2, 'Rows read: 1. Added: nothing.\n! Line 2: "none.wav" was not found. Check the path.\n')
    assert err == (
        "python -m annotation: Rows that were not added: 1. Correct them and run the same command again; "
        "it adds only what is new.\n"
    )


def test_codes_are_shown_once_and_stored_as_hashes(
    run: Run, ready: list[list[str]], database: Database, tmp_path: Path
) -> None:
    assert [name for name, _ in ready] == ["R01", "R02"]
    _, out, err = run("invite", "one", "--renew", "R02")
    name, code = out.split()
    assert name == "R02"
    assert err == "Give each rater their code, for the page's tab Listening test. It is shown only now.\n"
    with database.write() as session:
        assert access.authorise(session, access.enter(session, code, NOW), NOW).pseudonym == "R02"
    stored = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("musiceval.sqlite*"))
    for secret in (code, ready[0][1], ready[1][1]):
        assert secret.encode() not in stored
        assert secret.replace("-", "").encode() not in stored


def test_status_in_words_and_as_json(run: Run, ready: list[list[str]], database: Database) -> None:
    rate(database, ready)
    code, out, _ = run("status", "one")
    assert code == 0
    assert "Clips     6 of 6 have their 2 valid ratings\n" in out
    found = json.loads(run("status", "one", "--json")[1])
    assert found["progress"]["ratings_valid"] == 12
    assert [rater["ratings"] for rater in found["raters"]] == [10, 10]


def test_export(run: Run, ready: list[list[str]], database: Database, tmp_path: Path) -> None:
    rate(database, ready)
    code, out, _ = run("export", "one", "-o", "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (code, out) == (0, f"out: 6 of 6 clips done, 12 valid ratings\ncontent {manifest['content_sha256']}\n")
    assert not (tmp_path / "out" / "musiceval").exists()
    clips = sorted((tmp_path / "data" / "studies" / "one" / "clips").iterdir())
    with database.read() as session:
        names = [name for (name,) in session.query(Clip.name).filter_by(kind="stimulus")]
    (gone,) = (clip for clip in clips if clip.stem == names[0])
    gone.unlink()
    code, out, _ = run("export", "one", "-o", "audio", "--audio")
    assert (code, f"not what raters heard: {names[0]}. They are in the tables" in out.splitlines()[2]) == (0, True)
    assert (
        f"! No rater hears 1 clip, of which the file is missing or is not what was ingested: {gone.name}."
        in (run("status", "one")[1])
    )
    assert len(list((tmp_path / "audio" / "musiceval" / "wav").iterdir())) == 5
    code, _, err = run("export", "one", "-o", "out")
    assert (code, err) == (2, 'python -m annotation: "out" has something in it. Give a new folder.\n')


def test_exclude_and_restore(run: Run, ready: list[list[str]], database: Database) -> None:
    rate(database, ready)
    valid = json.loads(run("status", "one", "--json")[1])["progress"]["ratings_valid"]
    batch = ("one", "--rater", "R01", "--batch", "1", "--reason", "asleep", "--author", "boss")
    code, out, err = run("exclude", *batch, "--dry-run")
    assert (code, err) == (0, "Nothing was changed.\n")
    assert out.startswith("Valid ratings: 12 before, 9 after.\n")
    assert json.loads(run("status", "one", "--json")[1])["progress"]["ratings_valid"] == valid == 12
    code, out, _ = run("exclude", *batch)
    assert (code, out) == (0, "Excluded: batch 1 of R01. The reason is in the log; restore undoes it.\n")
    assert json.loads(run("status", "one", "--json")[1])["progress"]["ratings_valid"] == 9
    code, _, err = run("exclude", *batch)
    assert (code, err) == (2, "python -m annotation: Batch 1 of R01 is excluded already.\n")
    code, out, _ = run("restore", *batch)
    assert (code, out) == (0, "Restored: batch 1 of R01. The reason is in the log; exclude undoes it.\n")
    code, out, _ = run("exclude", "one", "--rater", "R02", "--reason", "no musician")
    assert (code, out) == (0, "Excluded: R02. The reason is in the log; restore undoes it.\n")
    assert json.loads(run("status", "one", "--json")[1])["progress"]["ratings_valid"] == 6


def test_other_rules_are_tried(run: Run, ready: list[list[str]], database: Database) -> None:
    rate(database, ready)
    code, out, err = run("rescreen", "one", "--anchor-fail-below", "5.0", "--anchor-rule", "fixed")
    assert (code, err) == (0, "Nothing was changed: a study keeps its rules.\n")
    assert out.splitlines()[0] == "Judged by --anchor-fail-below 5 in place of 3."
    assert "Batches left out: 0 of 4 now, 0 by these rules" in out
    options = {option.name: option.default for option in app.commands["rescreen"].params if option.name != "study"}
    assert options == {rule.name: None for rule in SCREENING}


def test_studies_are_listed_shown_renamed_and_deleted(
    run: Run, ready: list[list[str]], database: Database, tmp_path: Path
) -> None:
    assert run("create", "two", "--seed", "5")[0] == 0
    code, out, _ = run("list")
    assert (code, [line.split()[0] for line in out.splitlines()]) == (0, ["Study", "two", "one"])
    assert out.splitlines()[2].split()[-3:] == ["6", "2", "0"]
    code, out, _ = run("show", "one")
    assert code == 0
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("--batch-size")] == [["--batch-size", "3"]]
    assert run("rename", "one", "two")[0] == 2
    assert run("rename", "one", "first")[0] == 0
    assert len(list((tmp_path / "data" / "studies" / "first" / "clips").iterdir())) == 7
    rate(database, ready)  # codes and clips go with the study
    code, _, err = run("delete", "first")
    assert (code, "what they said is never deleted" in err) == (2, True)
    assert run("delete", "two")[0] == 0
    assert [line.split()[0] for line in run("list")[1].splitlines()] == ["Study", "first"]


def test_a_study_without_answers_is_deleted_with_all_that_it_holds(
    run: Run, ready: list[list[str]], database: Database
) -> None:
    with database.write() as session:
        rater = access.authorise(session, access.enter(session, ready[0][1], NOW), NOW)
        listening.about(session, rater, {}, NOW)
        listening.start(session, rater, NOW)
    assert run("delete", "one")[0] == 0
    held = rows(database)
    assert {name for name, count in held.items() if count} <= {"clock"}


def test_raters_are_not_invited_without_practice_by_oversight(run: Run) -> None:
    run("create", "one")
    code, _, err = run("invite", "one", "--raters", "1")
    assert (code, "The rules ask for 5 practice clips and there are none" in err) == (2, True)
    assert run("invite", "one", "--raters", "1", "--without-practice")[0] == 0


def test_a_backup_has_the_latest_ratings(run: Run, ready: list[list[str]], database: Database, tmp_path: Path) -> None:
    rate(database, ready)
    assert run("backup", "-o", "copy.sqlite")[0] == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.sqlite")) as copy:
        assert copy.execute("SELECT COUNT(*) FROM responses").fetchone() == (20,)
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.sqlite"]


def test_close(run: Run, ready: list[list[str]], database: Database) -> None:
    with database.write() as session:
        rater = access.authorise(session, access.enter(session, ready[0][1], NOW), NOW)
        listening.about(session, rater, {}, NOW)
        listening.start(session, rater, NOW)
    assert run("close", "one")[1].endswith("if it passes its checks. Batches ended: 1.\n")
    code, _, err = run("close", "one")
    assert (code, "is closed, so it cannot be closed. What it allows is: open, archive." in err) == (2, True)


def test_a_study_is_opened_paused_closed_archived_and_deleted_with_its_answers(
    run: Run, ready: list[list[str]], database: Database
) -> None:
    rate(database, ready)
    for command, said in (
        (("pause", "one"), "is paused"),
        (("open", "one", "--reason", "All are back."), "is open"),
        (("close", "one"), "is closed"),
    ):
        code, out, _ = run(*command)
        assert (code, said in out) == (0, True)
    assert run("delete", "one", "--with-answers")[0] == 2
    assert run("archive", "one")[0] == 0
    assert run("delete", "one")[0] == 2
    assert run("delete", "one", "--with-answers")[0] == 0
    assert {name for name, count in rows(database).items() if count} <= {"clock"}


def test_texts_scales_and_withdrawal(run: Run, ready: list[list[str]], tmp_path: Path) -> None:
    (tmp_path / "consent.txt").write_text("I agree.", encoding="utf-8")
    assert run("describe", "one", "--title", "Autumn", "--consent", "consent.txt")[:2] == (
        0,
        "Texts set: title, consent.\n",
    )
    assert "cannot be read as a text" in run("describe", "one", "--consent", "none.txt")[2]
    assert run("withdraw", "one", "--rater", "R01", "--drop-ratings")[1].startswith("R01 has withdrawn.")
    assert run("withdraw", "one", "--rater", "R01")[0] == 2
    scale = {"key": "clarity", "title": "Clarity", "question": "How clear?", "labels": ["a", "b", "c", "d", "e"]}
    (tmp_path / "scales.json").write_text(json.dumps([scale]), encoding="utf-8")
    assert run("create", "two", "--scales", "scales.json", "--anchors", "0")[0] == 0
    assert "Scales: Clarity" in run("show", "two")[1]


def test_a_draft_has_clips_before_it_is_opened(run: Run) -> None:
    assert run("create", "later", "--draft")[0] == 0
    code, _, err = run("open", "later")
    assert (code, "There are no clips to rate yet" in err) == (2, True)


def test_reliability(run: Run, ready: list[list[str]], database: Database) -> None:
    rate(database, ready)
    assert json.loads(run("reliability", "one", "--json")[1])["ratings"]["valid"] == 12
    assert "Musical impression" in run("reliability", "one")[1]


TINY = ("--clips", "12", "--systems", "3", "--raters", "8", "--careless", "1", "--quitting", "0")


def test_simulate(run: Run, tmp_path: Path) -> None:
    rules = ("--batch-size", "6", "--training", "1", "--anchor-pool", "9")
    code, out, _ = run("simulate", *TINY, *rules, "--json")
    found = json.loads(out)
    assert (code, found["clips"], found["valid_per_clip_min"], found["valid_per_clip_max"]) == (0, 12, 5, 5)
    assert found["protocol"]["batch_size"] == 6
    assert not (tmp_path / "data").exists()


def test_stress(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stress, "stress", lambda plan: SimpleNamespace(to_json=lambda: dataclasses.asdict(plan)))
    code, out, _ = run("stress", "--processes", "1", "--threads", "6", "--clips", "5", "--json")
    assert code == 0
    assert json.loads(out) == dataclasses.asdict(StressPlan(processes=1, threads=6, clips=5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("simulate", "--careless", "20"), "are more than all raters"),
        (("simulate", "--batch-size", "0"), "batch_size is 0"),
        (("stress", "--threads", "1"), "Every clip needs 5 raters"),
        ((), "give a command: create, describe, withdraw, list, show, rename, delete, open, pause, close, archive"),
        (("create", "new", "--lease", "3"), "unknown: --lease. The options are"),
        (("create", "new", "--duplicate-distance", "100"), "in a batch of 20 clips and 3 anchors it can be 22 at most"),
        (("rename", "one", "A B"), '"A B" cannot be the name of a study'),
        (("close", "one", "--rater", "R01"), "R01 has no batch open"),
        (("backup", "-o", "m.csv"), '"m.csv" is there already'),
        (("create", "A B"), '"A B" cannot be the name of a study'),
        (("create", "new", "--batch-size", "0"), "batch_size is 0; it must lie between 1 and"),
        (("create", "new", "--batch-size", "many"), "Invalid value for '--batch-size': 'many' is not a valid integer"),
        (("create", "new", "--scope", "all"), "Invalid value for '--scope': 'all' is not one of 'batch', 'rater'"),
        (("create", "one"), "There is a study 'one' already"),
        (("ingest", "one", "none.csv"), '"none.csv" cannot be read: No such file'),
        (("ingest", "two", "m.csv"), 'There is no study "two". The studies are one.'),
        (("invite", "one"), "one of the arguments --raters --renew is required"),
        (("invite", "one", "--raters", "0"), "0 raters were asked for"),
        (("invite", "one", "--renew", "R9"), 'has no rater "R9". Its raters are R01, R02.'),
        (("status", "two"), 'There is no study "two"'),
        (("export", "one"), "Missing option '-o' / '--output'"),
        (("exclude", "one", "--rater", "R01"), "Missing option '--reason'"),
        (("exclude", "one", "--rater", "R01", "--reason", " "), "needs a reason"),
        (("create", "new", "--seed", "-1"), "The seed is -1; it must be a whole number from 0"),
        (("status", "\udcff"), "Invalid value for 'STUDY': give one line of text"),
        (
            ("exclude", "one", "--rater", "R01", "--reason", "a\nb"),
            "Invalid value for '--reason': give one line of text",
        ),
        (("exclude", "one", "--rater", "R01", "--batch", "9" * 30, "--reason", "x"), "R01 has no batch 9999"),
        (("exclude", "one", "--rater", "R01", "--batch", "7", "--reason", "x"), "R01 has no batch 7"),
        (("restore", "one", "--rater", "R01", "--reason", "x"), "R01 is not excluded"),
        (("rescreen", "one", "--anchor-margin", "5"), "anchor_margin is 5.0; it must lie between 0 and 4"),
        (("rescreen", "one", "--anchor-rule", "own"), "'own' is not one of 'fixed', 'relative'"),
        (("reliability", "two", "--json"), 'There is no study "two"'),
    ],
)
def test_a_mistake_is_one_line(run: Run, ready: list[list[str]], arguments: tuple[str, ...], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err


def test_a_new_folder_has_no_studies(run: Run, tmp_path: Path) -> None:
    code, _, err = run("status", "one")
    assert code == 2
    assert "There are no studies in" in err
    assert "Create one, or name its folder with MUSICEVAL_DATA." in err
    assert not (tmp_path / "data").exists()


def test_the_database_may_be_elsewhere(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICEVAL_DATABASE_URL", f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert run("create", "one")[0] == 0
    assert (tmp_path / "other.sqlite").exists()
    assert run("status", "one")[0] == 0
    monkeypatch.setenv("MUSICEVAL_DATABASE_URL", "mysql://localhost/x")
    code, _, err = run("status", "one")
    assert (code, err.count("\n")) == (2, 1)
    assert "SQLite and PostgreSQL" in err


def test_a_rater_is_paused_and_goes_on(run: Run, database: Database) -> None:
    Room.build(database, raters=1)
    assert run("pause", "room", "--rater", "R01")[0] == 2  # without a reason
    assert run("pause", "room", "--rater", "R01", "--reason", "A call.")[:2] == (0, "R01 gets no batch.\n")
    assert "paused" in run("status", "room")[1]
    assert run("open", "room", "--rater", "R01", "--reason", "It is over.")[:2] == (0, "R01 goes on.\n")
    assert run("open", "room", "--rater", "R01", "--reason", "Again.")[0] == 2
