"""What somebody may give to do harm, through every door of *Studies*: a clear sentence, nothing half done."""

import csv
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import gradio as gr
import pytest

from annotation.database import Database, now
from annotation.enrolment import Enrolment, join, set_enrolment
from annotation.export import export
from annotation.imports.store import import_ratings
from annotation.life import describe, erase, move, withdraw
from annotation.protocol import Protocol
from annotation.report.document import report
from annotation.session import listening
from annotation.session.answers import Reply
from annotation.studies import create, find_rater, find_study
from core.errors import MusicEvalError
from tests.clips import write_clip
from tests.webapp.layouts import laid_out
from tests.webapp.studies import make_study, rows
from webapp.handlers import told
from webapp.listening_api import StudyStore
from webapp.places import shown_place
from webapp.study import StudyPage

HTML = "<img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("http://evil.example")'
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Iterator[Database]:
    (tmp_path / "data").mkdir()
    file = shutil.copy(empty_database, tmp_path / "data" / "musiceval.sqlite")
    one = Database(f"sqlite:///{file}", durable=False)
    yield one
    one.close()


@pytest.fixture
def page(database: Database, tmp_path: Path) -> StudyPage:
    with laid_out():
        return StudyPage(StudyStore(database, tmp_path / "data"), str)


@pytest.fixture
def study(database: Database, tmp_path: Path) -> str:
    with database.write() as session:
        return create(session, "autumn", Protocol(anchors=0, training=0), 1, NOW).name


def import_it(page: StudyPage, file: Path, audio: Path | None = None) -> None:
    list(told(page.imports.import_study)("found", str(file), [str(audio)] if audio else [], "", "", ""))


def fill_it(page: StudyPage, file: Path) -> None:
    list(told(page.clip_desk.fill)("autumn", str(file), [str(write_clip(file.with_name("a.wav")))], ""))


DOORS = {"import": import_it, "clip list": fill_it}
HEAD = {"import": "clip,rater,score\n", "clip list": "file,prompt,system\n"}
ROW = {"import": "a,r,5\n", "clip list": "a.wav,calm,s\n"}
BAD_TABLES: dict[str, tuple[Callable[[str], bytes], str]] = {
    "a million rows": (lambda door: (HEAD[door] + ROW[door] * 1_000_000).encode(), "Split it"),
    "GBK": (lambda door: (HEAD[door] + ROW[door] + "钢琴,钢琴,5\n").encode("gbk"), "is not UTF-8"),
    "UTF-16 without its mark": (lambda door: (HEAD[door] + ROW[door]).encode("utf-16-le"), "is not UTF-8"),
    "no text": (lambda _: bytes(range(256)) * 50, "is not UTF-8"),
    "a workbook": (lambda _: b"PK\x03\x04" + b"x" * 100, "workbook"),
    "empty": (lambda _: b"", "is empty"),
    "missing columns": (lambda _: b"a,b\n1,2\n", "has no column"),
    "columns twice": (lambda door: (HEAD[door].strip() + "," + HEAD[door] + "1,2,3,4,5,6\n").encode(), "two columns"),
    "a quote that does not close": (lambda door: (HEAD[door] + '"a,r,5\n').encode(), "never closed"),
    "rows of other lengths": (lambda door: (HEAD[door] + "a\nb,c,d,e\n").encode(), "instead of 3 cells"),
}


@pytest.mark.parametrize("what", BAD_TABLES)
@pytest.mark.parametrize("door", DOORS)
def test_a_bad_table(page: StudyPage, database: Database, study: str, tmp_path: Path, door: str, what: str) -> None:
    content, says = BAD_TABLES[what]
    file = tmp_path / "table.csv"
    file.write_bytes(content(door))
    before = rows(database)
    with pytest.raises(gr.Error, match=says):
        DOORS[door](page, file)
    assert rows(database) == before
    assert not list((tmp_path / "data").rglob("*.wav"))


def zipped(file: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file


def test_archives_write_nothing_outside_and_unpack_no_bomb(
    page: StudyPage, database: Database, study: str, tmp_path: Path
) -> None:
    table, before = tmp_path / "list.csv", rows(database)
    table.write_text("file,prompt,system\n../../a.wav,calm,s\n/etc/passwd,calm,s\n")
    escape = zipped(tmp_path / "escape.zip", **{"../../../a.wav": b"RIFF", "..\\..\\ratings.csv": b"a,b\n1,2\n"})
    bomb = zipped(tmp_path / "bomb.zip", **{"ratings.csv": b"0" * 60_000_000, "a.wav": b"0" * 120_000_000})
    rated = tmp_path / "rated.csv"
    rated.write_text(
        f"clip,rater,score,file\na,r,4,../../a.wav\nb,r,4,/etc/passwd\nc,r,4,https://evil.example/{HTML}\n"
    )
    files = {*tmp_path.rglob("*")}
    with pytest.raises(gr.Error, match="no column clip"):
        import_it(page, escape)
    with pytest.raises(gr.Error, match="unpacks to more than 50 MB"):
        import_it(page, bomb)
    for archive in (escape, bomb):
        *_, last = page.clip_desk.fill(study, str(table), [str(archive)], "")
        assert "Added: nothing" in str(last[page.clip_desk.report])
        with pytest.raises(gr.Error, match="3 problems") as refused:
            import_it(page, rated, archive)
        assert str(refused.value).count("is not among the files") == 2
    assert rows(database) == before
    assert {*tmp_path.rglob("*")} == files


@pytest.mark.parametrize("name", [HTML, FORMULA, "../up", "a/b", "a\x00b", "", "a" * 65, "ä"])
def test_names_of_studies(page: StudyPage, database: Database, tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text("clip,rater,score\na,r,5\n")
    with pytest.raises(MusicEvalError, match="cannot be the name"):
        import_ratings(database, tmp_path / "data", name, tmp_path / "t.csv", NOW)
    with pytest.raises(MusicEvalError, match="cannot be the name"), database.write() as session:
        create(session, name, Protocol(), 1, NOW)
    assert sum(rows(database).values()) == 0


def imported(database: Database, data: Path) -> str:
    """A study of which every text came from a table."""
    cells = (HTML, f"{HTML}2", FORMULA, HTML, HTML, 4)
    with (data / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("clip", "rater", "system", "prompt", "comment", "score"), cells])
    import_ratings(database, data, "found", data / "t.csv", NOW)
    return "found"


QUESTIONS = [{"key": "a", "text": HTML, "options": [HTML, FORMULA]}, {"key": "b", "text": HTML}]
WORDS = {"zh-CN": {"title": HTML, "questions": {"a": {"text": HTML, "options": [HTML, HTML]}}}}


def answered(database: Database, data: Path) -> str:
    """A study of which every text is markup, with a rater who joined and answered with more of it."""
    small = make_study(database, data, stimuli=2, anchors=1, training=0, raters=1, duration_s=0.02, prompt=HTML + "{}",
                       batch_size=2, duplicates=0)  # fmt: skip
    texts = {**dict.fromkeys(("title", "instructions", "contact", "consent"), HTML)}
    texts |= {"questions": json.dumps(QUESTIONS), "translations": json.dumps(WORDS)}
    with database.write() as session:
        study, at = find_study(session, small.name), now(session)
        describe(session, study, texts, at)
        made = set_enrolment(session, study, Enrolment(code=HTML, parameters=("PID",)), at)
        rater, _ = join(session, made.key, {"PID": HTML}, at)
        find_rater(session, study, "R01").note = HTML
        listening.about(session, rater, {"a": FORMULA, "b": HTML}, at, language="zh-CN")
        place = listening.start(session, rater, at)
        assert place.task is not None
        token = place.task.token
        listening.problem(session, rater, token, HTML, at)
        withdraw(session, study, "R01", at, reason=HTML)
        erase(session, study, "R01", at, reason=HTML)
        move(session, study, "pause", at, HTML)
    return small.name


def test_markup_in_every_field_is_shown_as_it_is_written(page: StudyPage, database: Database, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in (answered(database, data), imported(database, data)):
        shown = page.open(name)
        views = [value for part, value in shown.items() if isinstance(part, gr.HTML)]
        pages = "\n".join(map(str, [*views, report(database, name).html()]))
        assert "&lt;img src=x" in pages
        assert "<img src=x" not in pages


def test_formulas_are_kept_from_spreadsheets(database: Database, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in (answered(database, data), imported(database, data)):
        export(database, data, name, tmp_path / name, NOW)
        tables = "".join(file.read_text() for file in (tmp_path / name).glob("*.csv"))
        assert "'=HYPERLINK" in tables
        assert '"=HYPERLINK' not in tables


def test_raters_get_texts_and_never_html(database: Database, tmp_path: Path) -> None:
    name = answered(database, tmp_path / "data")
    with database.write() as session:
        study = find_study(session, name)
        study.state = "open"
        rater = find_rater(session, study, "R02")
        place = shown_place(listening.RaterStep("about"), rater)
        assert place["study"]["title"] == [{"tag": "p", "children": [HTML]}]
        assert place["consent"]["consent"] == [{"tag": "p", "children": [HTML]}]
        here = listening.current_step(session, rater, now(session))
        with pytest.raises(MusicEvalError):
            listening.submit(session, rater, here.task.token, Reply({}, HTML * 1000), now(session))
