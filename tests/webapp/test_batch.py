"""The endpoint ``/score_batch``, as `gradio_client` sees it, and what a batch may not do."""

import io
import zipfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file

from core.errors import BatchError
from core.scorer import Scorer
from core.training.shelf import ModelShelf
from tests.manifests import manifest_rows, nearly, write_manifest
from tests.webapp.test_guard import FILE, call, handlers
from webapp.batch_run import Batches, tables
from webapp.batch_tab import batch_snippet
from webapp.judge import Judge

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


def batches(scorer: Scorer, tmp_path: Path) -> Batches:
    return Batches(Judge(scorer, ModelShelf(tmp_path / "models")))


def test_a_row_comes_out_for_each_that_goes_in(
    result: dict[str, Any], scorer: Scorer, folder: Path, tmp_path: Path
) -> None:
    rows = result["rows"]
    assert [row["id"] for row in rows] == [f"row {number}" for number in range(N_ROWS)]
    assert sum(row["status"] == "failed" for row in rows) == N_BAD
    assert all(row["reason"] for row in rows if row["status"] == "failed")
    alone = scorer.score(folder / rows[0]["file"], rows[0]["prompt"])
    assert [rows[0]] == nearly([{**rows[0], "musical_impression": alone.musical_impression}])
    assert [warning["code"] for warning in result["warnings"]] == ["demo_model"]


def test_systems_are_means_of_their_rows(result: dict[str, Any]) -> None:
    for system in result["systems"]:
        own = [row for row in result["rows"] if row["system"] == system["system"] and row["status"] == "ok"]
        mean = sum(row["textual_alignment"] for row in own) / len(own)
        assert system["n_clips"] == len(own)
        assert system["textual_alignment"] == pytest.approx(mean)
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
        exec(batch_snippet(address), {})
    assert printed.getvalue().count(" ok ") == N_ROWS - N_BAD


@pytest.mark.parametrize(
    ("manifest", "files", "part"),
    [
        (None, ["clips.zip"], "There is no manifest"),
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


def test_a_visitor_has_one_batch_at_a_time(scorer: Scorer, folder: Path, tmp_path: Path) -> None:
    own = batches(scorer, tmp_path)
    given = (str(folder / "clips.csv"), [str(folder / "clips.zip")])
    first = own.run("one", *given)
    next(first)
    with pytest.raises(BatchError, match="A batch of yours is being scored already"):
        next(own.run("one", *given))
    assert next(own.run("another", *given)).records == []
    first.close()
    assert next(own.run("one", *given)).records == []


def test_a_stopped_batch_keeps_what_is_finished(scorer: Scorer, folder: Path, tmp_path: Path) -> None:
    own = batches(scorer, tmp_path)
    courses = own.run("one", str(folder / "clips.csv"), [str(folder / "clips.zip")])
    next(courses)
    own.stop("one")
    own.stop("nobody")
    (last,) = courses
    assert last.ended
    assert 0 < len(last.records) < N_ROWS


def test_the_tables_go_when_they_were_given(scorer: Scorer, folder: Path, tmp_path: Path) -> None:
    *_, last = batches(scorer, tmp_path).run("one", str(folder / "clips.csv"), [str(folder / "clips.zip")])
    with tables(last.batch, last.records) as paths:
        assert {path.suffix for path in paths.values()} == {".csv", ".jsonl", ".parquet"}
        assert all(path.stat().st_size > 1000 for path in paths.values())
    assert not any(path.exists() for path in paths.values())
