"""The endpoint ``/score_batch``, as `gradio_client` sees it, and what a visitor's clip list may not do."""

import io
import json
import re
import zipfile
from base64 import b64decode
from contextlib import redirect_stdout
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file

from core.batch.leaderboard import LEAST_CLIPS
from core.batch.manifest import table_columns
from core.batch.uploads import ClipFiles, ListLimits
from core.errors import BatchError
from core.readers import Readers
from core.scales import Scale, keys
from core.scorer import Scorer
from core.training.registry import ModelRegistry
from tests.manifests import manifest_rows, nearly, write_manifest
from tests.webapp.test_guard import FILE, call, handlers
from webapp.batch import SNIPPET
from webapp.batch_view import board, rows_view, state, tables
from webapp.judge import Judge
from webapp.list_runs import Given, ListJudge, ListRun, ListRuns

N_ROWS, N_BAD = 20, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, and its clips in a ZIP."""
    folder = tmp_path_factory.mktemp("batch")
    write_manifest(folder / "clips.csv", manifest_rows(folder, N_ROWS, N_BAD))
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        for path in sorted(folder.rglob("*.wav")):
            if path.is_file():
                archive.write(path, f"clips/{path.relative_to(folder)}")
    return folder


@pytest.fixture(scope="module")
def result(client: Client, folder: Path) -> dict[str, Any]:
    manifest, files = handle_file(folder / "clips.csv"), [handle_file(folder / "clips.zip")]
    found: dict[str, Any] = client.predict(manifest=manifest, files=files, api_name="/score_batch")
    return found


def runs(scorer: Scorer, tmp_path: Path) -> ListRuns:
    return ListRuns(Judge(scorer, ModelRegistry(tmp_path / "models")))


def given_in(folder: Path) -> Given:
    return Given((str(folder / "clips.zip"),), str(folder / "clips.csv"))


def test_a_row_comes_out_for_each_that_goes_in(
    result: dict[str, Any], scorer: Scorer, folder: Path, tmp_path: Path
) -> None:
    rows = result["rows"]
    assert [row["id"] for row in rows] == [f"row {number}" for number in range(N_ROWS)]
    assert sum(row["status"] == "failed" for row in rows) == N_BAD
    assert all(row["reason"] for row in rows if row["status"] == "failed")
    alone = scorer.score(folder / rows[0]["file"], rows[0]["prompt"])
    assert [rows[0]] == nearly([{**rows[0], "musical_impression": alone["musical_impression"]}])
    assert [warning["code"] for warning in result["warnings"]] == ["demo_model"]
    assert result["notes"] == []


def test_systems_are_means_of_their_rows(result: dict[str, Any]) -> None:
    for system in result["systems"]:
        own = [row for row in result["rows"] if row["system"] == system["system"] and row["status"] == "ok"]
        told = [row["textual_alignment"] for row in own if row["textual_alignment"] is not None]
        mean = sum(told) / len(told)
        assert system["n_clips"] == len(own)
        assert system["textual_alignment"] == pytest.approx(mean)
        if len(told) >= LEAST_CLIPS:
            assert system["textual_alignment_low"] <= mean <= system["textual_alignment_high"]
    assert {system["system"] for system in result["systems"]} == {"S0", "S1", "S2"}


def test_files_alone_do_as_well(client: Client, result: dict[str, Any], folder: Path) -> None:
    files = [handle_file(path) for path in sorted(folder.glob("clip?.wav"))]
    found = client.predict(handle_file(folder / "clips.csv"), files, api_name="/score_batch")
    ok = [row for row in result["rows"] if row["status"] == "ok"]
    assert [row for row in found["rows"] if row["status"] == "ok"] == nearly(ok)


def test_the_snippet_runs_as_it_stands(address: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with redirect_stdout(io.StringIO()) as printed:
        exec(SNIPPET.format(address=address), {})
    assert printed.getvalue().count(" ok ") == N_ROWS - N_BAD


@pytest.mark.parametrize(
    ("manifest", "files", "part"),
    [
        (None, ["clips.zip"], "There is no clip list"),
        ("clips.csv", [], "There are no clips"),
        ("bad.csv", ["clips.zip"], "has no column prompt"),
        ("clips.csv", ["bad.zip"], "cannot be read as a ZIP archive"),
        ("clip0.wav", ["clips.zip"], "Invalid file type"),
    ],
)
def test_what_cannot_begin_is_one_sentence(
    client: Client, folder: Path, manifest: str | None, files: list[str], part: str
) -> None:
    (folder / "bad.csv").write_text("file\na.wav\n")
    (folder / "bad.zip").write_text("no archive")
    given = [handle_file(folder / name) for name in files]
    with pytest.raises(ValueError, match=part):
        client.predict(manifest and handle_file(folder / manifest), given, api_name="/score_batch")


def test_a_path_of_the_server_is_no_upload(address: str, folder: Path) -> None:
    for handler in handlers(address, "manifest"):
        given = [{**FILE, "path": str(folder / "clips.csv")}, [{**FILE, "path": str(folder / "clips.zip")}]]
        said = call(address, handler["id"], given)
        assert "row 0" not in said
        assert "MI" not in said


def test_a_visitor_has_one_list_at_a_time(scorer: Scorer, folder: Path, tmp_path: Path) -> None:
    own = runs(scorer, tmp_path)
    given = given_in(folder)
    first = own.run("one", "192.0.2.1", given)
    next(first)
    with pytest.raises(BatchError, match="A clip list of yours is being scored already"):
        next(own.run("one", "192.0.2.1", given))
    assert next(own.run("another", "192.0.2.1", given)).records == []
    first.close()
    assert next(own.run("one", "192.0.2.1", given)).records == []


def test_a_stopped_list_keeps_what_is_finished(
    scorer: Scorer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webapp.list_runs.CLIPS_AT_ONCE", 2)
    own = runs(scorer, tmp_path)
    steps = own.run("one", "192.0.2.1", given_in(folder))
    next(steps)
    own.stop("one")
    own.stop("nobody")
    (last,) = steps
    assert last.ended
    assert 0 < len(last.records) < N_ROWS
    said = text(state("ended", last))
    assert f"{N_ROWS - len(last.records)} rows were not begun." in said
    assert f"of {N_ROWS} rows scored" in said


def test_an_address_has_few_lists_at_a_time(scorer: Scorer, folder: Path, tmp_path: Path) -> None:
    own = runs(scorer, tmp_path)
    given = given_in(folder)
    running = [own.run(f"invented {number}", "192.0.2.1", given) for number in range(3)]
    for one in running:
        next(one)
    with pytest.raises(BatchError, match="3 clip lists of your address are being scored"):
        next(own.run("invented again", "192.0.2.1", given))
    assert next(own.run("another", "192.0.2.2", given)).records == []


def many_rows(folder: Path, tmp_path: Path) -> Given:
    """A list that names two clips in turn, forty times."""
    path = tmp_path / "many.csv"
    path.write_text("file,prompt\n" + "clip0.wav,A calm piano\nclip1.wav,Loud drums\n" * 40)
    return Given((str(folder / "clips.zip"),), str(path))


def test_a_clip_of_many_rows_is_read_once(
    scorer: Scorer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, find = list[str](), ClipFiles.find
    monkeypatch.setattr(ClipFiles, "find", lambda clips, file: (found.append(file), find(clips, file))[1])
    *_, last = runs(scorer, tmp_path).run("one", "192.0.2.1", many_rows(folder, tmp_path))
    assert sorted(found) == ["clip0.wav", "clip1.wav"]
    assert [record["file"] for record in last.records] == ["clip0.wav", "clip1.wav"] * 40
    assert all(record["status"] == "ok" for record in last.records)


@pytest.mark.parametrize("limits", [ListLimits(max_audio_s=0.5), ListLimits(max_work_s=0.0)], ids=["audio", "work"])
def test_a_list_is_bounded_in_audio_and_work(
    scorer: Scorer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: ListLimits
) -> None:
    monkeypatch.setattr("webapp.list_runs.CLIPS_AT_ONCE", 1)
    own = ListRuns(Judge(scorer, ModelRegistry(tmp_path / "models")), limits=limits)
    *_, last = own.run("one", "192.0.2.1", many_rows(folder, tmp_path))
    assert [record["status"] for record in last.records] == ["ok", "failed"] * 40
    assert "Split it." in last.records[1]["reason"]


def test_lists_and_clips_are_read_in_readers(scorer: Scorer, folder: Path, tmp_path: Path) -> None:
    given = many_rows(folder, tmp_path)
    with Readers(1) as readers:
        apart = Scorer(scorer.checkpoint, readers=readers)
        *_, last = runs(apart, tmp_path).run("one", "192.0.2.1", given)
    *_, here = runs(scorer, tmp_path).run("one", "192.0.2.1", given)
    assert last.records == nearly(here.records)


def test_the_tables_go_when_they_were_given(scorer: Scorer, folder: Path, tmp_path: Path) -> None:
    *_, last = runs(scorer, tmp_path).run("one", "192.0.2.1", given_in(folder))
    with tables(last) as paths:
        assert {path.suffix for path in paths.values()} == {".csv", ".jsonl", ".parquet"}
        assert all(path.stat().st_size > 1000 for path in paths.values())
    assert not any(path.exists() for path in paths.values())


def text(html: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def run(scorer: Scorer) -> ListRun:
    """Three clips of two systems, one of which failed, by a judge with a third scale."""
    mood = Scale("mood", "Mood", "How sad?", ("glad", "2", "3", "4", "sad"))
    scales = (*scorer.checkpoint.scales, mood)
    facts = replace(scorer.checkpoint.facts, id="random", sha256="0" * 64)
    judge = ListJudge("A random judge", facts, scales, tuple(scorer.model_warnings()))
    columns = table_columns(scales, [])
    rows = [("1", "A", 2.0), ("2", HOSTILE, 4.0), ("3", HOSTILE, 3.0)]
    records = [
        {
            **dict.fromkeys(columns),
            **dict.fromkeys(keys(scales), value),
            "id": name,
            "file": f"{name}.wav",
            "system": system,
            "warnings": "demo_model;prompt_cut",
            "status": "ok",
            "reason": "",
        }
        for name, system, value in rows
    ]
    failed = {**dict.fromkeys(columns), "id": "4", "file": HOSTILE, "system": "", "status": "failed"}
    return ListRun(5, (), judge, 1, dict(enumerate([*records, {**failed, "reason": "It is empty."}])), 4.0)


def with_records(run: ListRun, records: list[dict[str, Any]]) -> ListRun:
    return replace(run, done=dict(enumerate(records)))


def test_progress_counts_rows_and_time(run: ListRun) -> None:
    shown = state("scoring", run)
    assert 'aria-valuenow="80"' in shown
    assert "4 of 5 rows, about 0:01 left 1 cannot be scored; the table begins with it and says why." in text(shown)
    assert "0 of 5 rows This goes on when the page is closed" in text(state("scoring", with_records(run, [])))
    assert "2 other lists have their turn before your next clips" in text(state("scoring", run, n_before=2))


def test_the_end_says_what_came_of_it(run: ListRun) -> None:
    said = text(state("ended", run))
    assert "3 of 5 rows scored Stopped: 1 row was not begun. 1 cannot be scored" in said
    assert "One file is in no row of the clip list. Scored by A random judge (" in said


def test_each_scale_has_a_plot_and_a_column(run: ListRun) -> None:
    shown = board(run)
    assert shown.count("<svg") == 3
    assert f"{HOSTILE} 2 3.50 1. 3.50 1. 3.50 1. an interval needs 5 clips" in text(shown)
    assert "A 1 2.00 2. 2.00 2. 2.00 2. an interval needs 5 clips" in text(shown)
    assert "An interval needs 5 clips. A system has a rank where 90 % of its rows have scores" in text(shown)
    assert "One row names no system." in text(shown)
    assert "These scores come from the demo model" in text(shown)
    assert "Scored by A random judge (000000000000)." in text(shown)
    assert "<img" not in shown


def test_rows_without_scores_come_first_each_with_its_reason(run: ListRun) -> None:
    said = text(rows_view(replace(run, ended=True)))
    assert "Row File System Musical impression Textual alignment Mood What to know" in said
    assert f"4 {HOSTILE} no scores It is empty. 1 1.wav A 2.00 2.00 2.00 prompt cut" in said
    assert "<img" not in rows_view(run)


def test_of_a_list_that_goes_on_the_newest_rows_are_shown(run: ListRun) -> None:
    many = with_records(run, [{**run.records[0], "id": f"row {number}"} for number in range(70)])
    assert "row 69 1.wav" in text(rows_view(many))
    assert "row 9 1.wav" not in text(rows_view(many))
    assert "10 more rows are scored" in text(rows_view(many))


def test_a_list_is_read_back_as_it_was(run: ListRun) -> None:
    assert ListRun.from_json(json.loads(json.dumps(run.to_json()))) == run


def test_a_system_that_is_not_measured_enough_has_no_rank_and_no_plot(run: ListRun) -> None:
    failed = {**run.records[3], "system": "A"}
    many = [{**run.records[1], "system": "B", "id": str(number)} for number in range(5)]
    shown = board(with_records(run, [run.records[0], failed, *many, {**failed, "system": "C"}]))
    said = text(shown)
    assert "B 5 4.00 [4.00, 4.00] 1. 4.00 [4.00, 4.00] 1. 4.00 [4.00, 4.00] 1." in said
    assert "A 1 of 2 2.00 – 2.00 – 2.00 – 1 of 2 rows have scores; a rank needs 90% of them" in said
    assert "C 0 of 1 – – – 0 of 1 rows have scores" in said
    assert "A: 2.00" not in shown  # the plot's


def test_what_was_taken_otherwise_is_shown(run: ListRun) -> None:
    assert f"2 cells. {HOSTILE}" in text(state("ended", replace(run, notes=("2 cells.", HOSTILE))))


def test_without_systems_it_says_how_to_get_them(run: ListRun) -> None:
    shown = board(with_records(run, run.records[3:]))
    assert "<svg" not in shown
    assert "With a column system in the clip list" in text(shown)


def test_why_there_are_no_scores_is_shown_line_by_line() -> None:
    shown = state("failed", message=f"It has 2 problems:\n  line 1: {HOSTILE}\n  line 2: y")
    assert 'role="alert"' in shown
    assert "<p>It has 2 problems:</p>" in shown
    assert "<img" not in shown
    assert f"line 1: {HOSTILE}" in text(shown)


def test_systems_are_compared_on_shared_prompts(run: ListRun) -> None:
    def record(system: str, number: int, value: float) -> dict[str, Any]:
        return {**run.records[0], "system": system, "prompt": f"prompt {number}", "musical_impression": value}

    records = [record("A", n, 2.0 + 0.1 * n) for n in range(6)] + [record(HOSTILE, n, 3.0) for n in range(6)]
    shown = board(with_records(run, records))
    assert f"{HOSTILE} – A Musical impression +0.75 +0.62 to +0.88 0.031 6, 0, 0" in text(shown)
    assert f"Textual alignment: no difference is known between {HOSTILE}, A." in text(shown)
    assert "<img" not in shown
    [csv] = re.findall(r'download="systems.csv" href="data:text/csv;base64,([^"]*)"', shown)
    assert b64decode(csv).decode("utf-8-sig").startswith("scale,one,other,difference,low,high,p,n_higher")
    assert "Musical impression: There are fewer than two systems with scores for prompts." in text(board(run))
