"""Ratings imported on the page, in process: a table, archives, and what is refused."""

import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from sqlalchemy import select

from annotation.database import Database
from annotation.export import export_as_zip
from annotation.schema import Clip
from annotation.studies import clip_path, find_study, study_names
from core.files import sha256_of
from tests.annotation.output.test_export import Done, done
from tests.clips import pluck, write_clip
from tests.releases import FILES
from tests.webapp.layouts import laid_out
from tests.webapp.studies import rows
from webapp import imports
from webapp.listening_api import StudyStore
from webapp.study import StudyPage

__all__ = ["done"]
HOSTILE = "<img src=x onerror=alert(1)>"
TABLE = f"clip,rater,score,prompt,file\n{HOSTILE},{HOSTILE},4,{HOSTILE},/etc/passwd\nb,r,5,p,\n"


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Iterator[Database]:
    file = shutil.copy(empty_database, tmp_path / "musiceval.sqlite")
    one = Database(f"sqlite:///{file}", durable=False)
    yield one
    one.close()


@pytest.fixture
def page(database: Database, tmp_path: Path) -> StudyPage:
    with laid_out():
        return StudyPage(StudyStore(database, tmp_path), str)


def do(
    page: StudyPage, file: Path | None, name: str = "found", path: str = "", audio: Sequence[Path] = ()
) -> dict[Any, Any]:
    *_, last = page.imports.import_study(name, str(file) if file else None, [*map(str, audio)], path, "", "")
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
    opened = page.open("found") | {page.views["reliability"]: page.trust("found")}
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


def told_import(page: StudyPage, file: Path | None = None, path: str = "", audio: Sequence[Path] = ()) -> None:
    from webapp.handlers import told

    list(told(page.imports.import_study)("found", str(file) if file else None, [*map(str, audio)], path, "", ""))


def sounds(folder: Path, *names: str) -> list[Path]:
    """Write clips of different lengths."""
    return [write_clip(folder / name, pluck(0.5 + number / 10)) for number, name in enumerate(names)]


def test_audio_comes_with_a_table(page: StudyPage, database: Database, tmp_path: Path) -> None:
    table, (a, b, other) = tmp_path / "t.csv", sounds(tmp_path, "a.wav", "b.wav", "other.wav")
    table.write_text("clip,rater,score,file\na,r,4,sub/a.wav\nb,r,5,b.wav\nc,r,3,\n")
    packed = tmp_path / "more.zip"
    with zipfile.ZipFile(packed, "w") as made:
        made.write(a, "clips/sub/a.wav")
        made.write(other, "clips/other.wav")
    shown = do(page, table, audio=[b, packed])
    note = shown[page.imports.note]
    assert "the audio of 2 clips" in note
    assert "audio of no clip here: 1" in note
    assert shown[page.imports.audio] is None
    with database.read() as session:
        rows_of = {clip.source_file: clip for clip in session.scalars(select(Clip))}
        study, heard = find_study(session, "found"), {name: one.wav_sha256 for name, one in rows_of.items()}
        paths = {name: clip_path(tmp_path, study, one.name) for name, one in rows_of.items()}
    assert {name: sha256_of(path) for name, path in paths.items() if path.is_file()} | {"c": None} == heard
    assert rows_of["a"].source_sha256 == sha256_of(a)
    assert f"sound/found/{rows_of['a'].name}.wav" in str(page.clip_desk.hear("found", rows_of["a"].name))


def test_a_zip_of_an_export_with_its_clips_is_audio_and_ratings(page: StudyPage, done: Done, tmp_path: Path) -> None:
    packed, made = tmp_path / "export.zip", export_as_zip(done.database, done.data, "one", tmp_path, done.ended)
    packed.write_bytes(b"".join(made.read(0, made.size)))
    assert "the audio of 7 clips" in do(page, None, "heard", audio=[packed])[page.imports.note]
    assert "the audio of no clip" in do(page, packed, "silent")[page.imports.note]


def test_what_does_not_fit_is_said_and_nothing_is_kept(page: StudyPage, database: Database, tmp_path: Path) -> None:
    (audio,), before = sounds(tmp_path, "a.wav"), rows(database)
    noise = tmp_path / "b.wav"
    noise.write_bytes(b"nonsense")
    head = "clip,rater,score,file\na,r,4,a.wav\n"
    for content, files, says in (
        (f"{head}b,r,5,gone.wav\n", [audio], "gone.wav.* is not among the files"),
        (f"{head}b,r,5,b.wav\n", [audio, noise], "b: "),
        (f"{head}b,r,5,x/a.wav\n", [audio], "several folders"),
        ("clip,rater,score\na,r,4\n", [audio], "name no sound files"),
    ):
        (tmp_path / "t.csv").write_text(content)
        with pytest.raises(gr.Error, match=says):
            told_import(page, tmp_path / "t.csv", audio=files)
    assert rows(database) == before
    assert not list((tmp_path / "studies").rglob("*.wav"))


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
