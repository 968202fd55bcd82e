"""Ratings imported on the page, in process: a table, archives, and what is refused."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from annotation.database import Database
from annotation.studies import study_names
from tests.releases import FILES
from tests.webapp.studies import rows
from webapp import imports
from webapp.listening_api import StudyStore
from webapp.study import StudyPage

HOSTILE = "<img src=x onerror=alert(1)>"
TABLE = f"clip,rater,score,prompt,file\n{HOSTILE},{HOSTILE},4,{HOSTILE},/etc/passwd\nb,r,5,p,\n"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    one = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}", durable=False)
    yield one
    one.close()


@pytest.fixture
def page(database: Database, tmp_path: Path) -> StudyPage:
    with gr.Blocks():
        return StudyPage(StudyStore(database, tmp_path), str)


def do(page: StudyPage, file: Path | None, name: str = "found", path: str = "") -> dict[Any, Any]:
    *_, last = page.imports.import_study(name, str(file) if file else None, path, "", "")
    return last


def archive(file: Path, **members: str) -> Path:
    with zipfile.ZipFile(file, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file


def test_a_table_is_imported_and_shown(page: StudyPage, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)
    shown = do(page, tmp_path / "t.csv")
    assert "2 ratings of 2 clips by 2 raters, and the audio of no clip" in shown[page.imports.note]
    assert shown[page.imports.created] == "found"
    opened = page.open("found") | {page.views["reliability"]: page.follow("found")}
    views = " ".join(str(opened[part]) for part in (*page.views.values(), *page.invitations.parts, *page.studio.parts))
    assert "nothing was screened" in views
    assert "Every clip needs" not in views
    assert HOSTILE not in views
    assert "&lt;img" in views


def test_archives(page: StudyPage, database: Database, tmp_path: Path) -> None:
    release = {f"MusicEval-full/{name}": "".join(f"{line}\n" for line in lines) for name, lines in FILES.items()}
    do(page, archive(tmp_path / "release.zip", **release), "release")
    table = archive(tmp_path / "one.zip", **{"a/b/ratings.csv": TABLE})
    do(page, table, "table")
    assert study_names(database) == ["table", "release"]


def test_a_path_on_the_server(page: StudyPage, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("clip,rater,score\na,r,4\n")
    do(page, None, path=str(tmp_path / "t.csv"))
    with pytest.raises(gr.Error, match="nothing on the server"):
        told_import(page, path=str(tmp_path / "gone"))


def told_import(page: StudyPage, file: Path | None = None, path: str = "") -> None:
    from webapp.handlers import told

    list(told(page.imports.import_study)("found", str(file) if file else None, path, "", ""))


def test_what_is_refused_leaves_nothing(
    page: StudyPage, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "MOST_BYTES", 10_000)
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("ratings.csv", "0" * 20_000)
    (tmp_path / "large.csv").write_text("0" * 20_000)
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04nonsense")
    escape = archive(tmp_path / "escape.zip", **{"../../ratings.csv": "a,b\n", "/tmp/prompt_info.txt": "x"})
    before, files = rows(database), {*tmp_path.rglob("*")}
    for file, says in (
        (bomb, "more than 0.01 MB"),
        (tmp_path / "large.csv", "more than 0.01 MB"),
        (tmp_path / "no.zip", "ZIP archive"),
        (escape, "no column clip"),
        (archive(tmp_path / "other.zip", **{"music.txt": "x"}), "has no ratings"),
        (None, "Give a table"),
    ):
        with pytest.raises(gr.Error, match=says):
            told_import(page, file)
    assert rows(database) == before
    assert {*tmp_path.rglob("*")} - files == {tmp_path / "other.zip"}
