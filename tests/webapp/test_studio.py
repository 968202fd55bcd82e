"""Studies from the page, in process: created, filled, changed and deleted by its handlers; previews over HTTP."""

import base64
import csv
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from markupsafe import escape
from sqlalchemy import select

from annotation import durability
from annotation.database import Database
from annotation.durability import NOT_DURABLE
from annotation.export import export
from annotation.life import log
from annotation.preview import make_preview
from annotation.protocol import Protocol
from annotation.schema import Clip, Rater
from annotation.studies import find_study
from core.errors import AudioError, MusicEvalError, StudyError
from core.settings import Settings
from tests.annotation.rooms import NOW, Room
from tests.clips import write_clip
from tests.webapp.layouts import laid_out
from tests.webapp.studies import make_study, rows
from webapp.follow import Done, follow
from webapp.listening_api import StudyStore, StudyStores, listening_app
from webapp.new_study import PARTS, RULES, TEXTS, NewStudy
from webapp.pages import warning
from webapp.study import StudyPage

ASKED: Any = SimpleNamespace(request=SimpleNamespace(url=SimpleNamespace(scheme="https", netloc="lab.example")))
HOSTILE = "<img src=x onerror=alert(1)>"
NAMES = [name for names in PARTS.values() for name in names]
DEFAULTS = [getattr(Protocol(), name) for name in NAMES]


@pytest.fixture
def page(database: Database, tmp_path: Path) -> StudyPage:
    with laid_out():
        return StudyPage(StudyStore(database, tmp_path), str)


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Iterator[Database]:
    file = shutil.copy(empty_database, tmp_path / "musiceval.sqlite")
    one = Database(f"sqlite:///{file}", durable=False)
    yield one
    one.close()


def create(form: NewStudy, name: str = "autumn", **rules: Any) -> dict[Any, Any]:
    values = dict(zip(NAMES, DEFAULTS, strict=True))
    return form.create_study(name, HOSTILE, *[""] * (len(TEXTS) - 1), form.scales.value, *(values | rules).values())


def test_the_form_has_every_rule_with_its_default_and_its_reason(page: StudyPage) -> None:
    form = page.creation
    assert {name for names in PARTS.values() for name in names} == RULES.keys()
    for name, part in form.rules.items():
        assert part.value == getattr(Protocol(), name)
        assert RULES[name].metadata["reason"] in part.info


def test_a_draft_is_made_with_its_texts_rules_and_scales(page: StudyPage, database: Database) -> None:
    shown = create(page.creation, batch_size=10)
    assert shown[page.creation.created] == "autumn"
    with database.read() as session:
        study = find_study(session, "autumn")
    assert (study.state, study.title, study.protocol) == ("draft", HOSTILE, Protocol(batch_size=10))
    assert "&lt;img" in page.open("autumn")[page.studio.log.table]


@pytest.mark.parametrize(
    ("name", "rules", "refused"),
    [
        ("A B", {}, "cannot be the name"),
        ("autumn", {"batch_size": None}, "Fill in every rule"),
        ("autumn", {"duplicate_distance": 99}, "can be 22 at most"),
        ("autumn", {"anchor_scale": "beauty"}, "anchor_scale is"),
    ],
)
def test_what_cannot_be_made_is_said_and_nothing_is_made(
    page: StudyPage, database: Database, name: str, rules: dict[str, Any], refused: str
) -> None:
    with pytest.raises(StudyError, match=refused):
        create(page.creation, name, **rules)
    assert rows(database)["studies"] == 0


@pytest.mark.parametrize(
    "scales", ["", "{}", "[]", "[1]", "[[[[", '[{"key": "a"}]', json.dumps([{"key": "a", "title": 1}] * 9)]
)
def test_scales_that_are_none_are_refused(page: StudyPage, scales: str) -> None:
    with pytest.raises(MusicEvalError) as refusal:
        next(page.creation.plan(scales, 10, 2, 5, 4, *DEFAULTS))
    said = page.creation.weigh(scales, *DEFAULTS)  # while somebody types
    assert escape(str(refusal.value)) in said
    assert "A full batch" not in said


def test_a_plan_says_what_a_study_costs(page: StudyPage) -> None:
    values = dict(zip(NAMES, DEFAULTS, strict=True)) | {"anchors": 1, "training": 0}
    rules = values.values()
    *_, last = page.creation.plan(page.creation.scales.value, 10, 2, 5, 4, *rules)
    assert "2 systems, 10 clips, 5 raters: " in last
    said = page.creation.weigh(page.creation.scales.value, *DEFAULTS)
    assert "A full batch has 24 trials; by chance a good rater fails 9.3% of batches." in said


def filled(folder: Path, names: tuple[str, ...] = ("a.wav", "b.wav")) -> tuple[str, list[str]]:
    """A clip list of these files and a ZIP that has them in a folder; paths as an upload gives them."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(("file", "prompt", "system"))
    writer.writerows((f"deep/{name}", HOSTILE, "S1") for name in names)
    (folder / "clips.csv").write_text(text.getvalue())
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        for number, name in enumerate(names):
            archive.write(write_clip(folder / name, sample_rate_hz=16_000 + number), f"top/deep/{name}")
    return str(folder / "clips.csv"), [str(folder / "clips.zip")]


def test_a_study_is_filled_from_a_list_and_a_zip(page: StudyPage, database: Database, tmp_path: Path) -> None:
    create(page.creation)
    *_, last = page.clip_desk.fill("autumn", *filled(tmp_path), "")
    assert "Rows read: 2. Added: 2 clips." in last[page.clip_desk.report]
    shown = page.open("autumn")
    assert [choice.split(" – ")[0] for choice, _ in shown[page.clip_desk.clip]["choices"]] == [
        "deep/a.wav",
        "deep/b.wav",
    ]
    table = shown[page.clip_desk.overview.table]["value"]
    assert set(table["File"]) == {"deep/a.wav", "deep/b.wav"}
    with database.read() as session:
        first = session.scalars(select(Clip)).first()
    assert first is not None
    heard = page.clip_desk.hear("autumn", first.name)
    assert f"sound/autumn/{first.name}.wav" in heard
    assert HOSTILE not in heard
    page.clip_desk.reprompt_clip("autumn", first.name, "Calm piano", "It was hostile.")
    with database.read() as session:
        assert [event.action for event in log(session, find_study(session, "autumn"))] == ["reprompt", "describe"]


@pytest.mark.parametrize("given", ["nothing", "no audio", "no list on the server", "no columns", "no zip", "no study"])
def test_what_cannot_be_filled_is_said_and_adds_nothing(
    page: StudyPage, database: Database, tmp_path: Path, given: str
) -> None:
    create(page.creation)
    clip_list, files = filled(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "bad.zip").write_bytes(b"PK no archive")
    attempts: dict[str, tuple[Any, ...]] = {
        "nothing": ("autumn", None, None, ""),
        "no audio": ("autumn", clip_list, [], ""),
        "no list on the server": ("autumn", None, None, "/nowhere/clips.csv"),
        "no columns": ("autumn", str(tmp_path / "bad.csv"), files, ""),
        "no zip": ("autumn", clip_list, [str(tmp_path / "bad.zip")], ""),
        "no study": ("none", clip_list, files, ""),
    }
    with pytest.raises(MusicEvalError):
        list(page.clip_desk.fill(*attempts[given]))
    assert rows(database)["clips"] == 0


def test_a_list_on_the_server_is_read_beside_its_audio(page: StudyPage, database: Database, tmp_path: Path) -> None:
    create(page.creation)
    clip_list, _ = filled(tmp_path)
    (tmp_path / "deep").mkdir()
    for name in ("a.wav", "b.wav"):
        (tmp_path / name).rename(tmp_path / "deep" / name)
    list(page.clip_desk.fill("autumn", None, None, clip_list))
    assert rows(database)["clips"] == 2


def test_a_state_is_changed_and_the_name_is_typed_before_a_study_goes(page: StudyPage, database: Database) -> None:
    Room.build(database)
    studio = page.studio
    assert "Open: whoever is invited" in page.open("room")[studio.state]
    for move in ("pause", "close", "archive"):
        studio.move("room", move, "")
    shown = page.open("room")
    visible = {name for name, button in studio.moves.items() if shown[button]["visible"]}
    assert visible == {"unarchive"}
    with pytest.raises(StudyError, match="is archived"):
        page.invitations.invite("room", 1, True, "", ASKED)
    with pytest.raises(StudyError, match="Type the name"):
        studio.delete_study("room", "rom")
    studio.delete_study("room", "room")
    assert rows(database)["studies"] == 0


def test_the_administrator_sees_that_ratings_may_be_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(durability, "_MARKS", ())
    monkeypatch.setattr(Path, "is_mount", lambda path: str(path) == "/")
    assert warning(Settings(data=tmp_path)) == ""
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert NOT_DURABLE in warning(Settings(data=tmp_path))


def test_a_study_whose_ratings_may_be_lost_is_opened_knowingly(database: Database, tmp_path: Path) -> None:
    Room.build(database)
    with laid_out():
        studio = StudyPage(StudyStore(database, tmp_path, danger=NOT_DURABLE), str).studio
    assert studio.known.value is False
    assert studio.show("room", "room")[studio.known]["visible"] is False
    studio.move("room", "pause", "")
    assert studio.show("room", "room")[studio.known]["visible"] is True
    with pytest.raises(StudyError, match="Ratings are not durable here"):
        studio.move("room", "open", "")
    studio.move("room", "open", "", True)
    with database.read() as session:
        assert find_study(session, "room").state == "open"


def test_links_carry_codes_and_notes_stay_here(page: StudyPage, database: Database, tmp_path: Path) -> None:
    Room.build(database)
    page.invitations.invite("room", 1, True, "", ASKED)
    shown = page.invitations.invite("room", 2, True, f"{HOSTILE}\n=cmd()", ASKED)[page.invitations.codes]
    assert shown.count("https://lab.example/listening/#") == 2
    assert shown.count("data:image/svg+xml") == 2
    assert HOSTILE not in shown
    table = base64.b64decode(shown.split("data:text/csv;base64,")[1].split('"')[0]).decode("utf-8-sig")
    assert [row[3] for row in csv.reader(io.StringIO(table))] == ["note", HOSTILE, "'=cmd()"]
    with database.read() as session:
        assert [rater.note for rater in session.scalars(select(Rater))][-2:] == [HOSTILE, "=cmd()"]
    export(database, tmp_path, "room", tmp_path / "out", NOW)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "=cmd()" in path.read_text()]


def test_long_work_is_followed_and_its_errors_are_raised() -> None:
    def work(report: Any) -> int:
        report(1, 2)
        return 7

    assert list(follow(work))[-1] == Done(7)
    with pytest.raises(AudioError):
        list(follow(lambda _: (_ for _ in ()).throw(AudioError("no"))))


# Over HTTP: a preview, and a study that is not open


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[StudyStores]:
    one = StudyStores(Settings(data=tmp_path))
    yield one
    one.close()


def test_a_preview_is_walked_through_over_http_and_stores_nothing(stores: StudyStores, tmp_path: Path) -> None:
    study = make_study(stores.real.database, tmp_path)
    before = rows(stores.real.database)
    code = make_preview(stores.real.database, tmp_path, study.name)
    with TestClient(listening_app(stores)) as client:
        entered = client.post("/enter", json={"code": code}).json()["visit"]
        headers = {"Authorization": f"Bearer {entered}"}
        place = client.get("/place", headers=headers).json()
        assert (place["step"], place["preview"]) == ("about", True)
        client.post("/about", json={"answers": {}}, headers=headers).raise_for_status()
        task = client.post("/start", headers=headers).json()["task"]
        assert client.get(f"/clip/{task['token']}", headers=headers).status_code == 200
        for file in (tmp_path / "previews").glob("*"):
            file.unlink()
        assert client.get("/place", headers=headers).status_code == 401
        assert client.post("/enter", json={"code": code}).status_code == 401
    after = rows(stores.real.database)
    assert {name: count for name, count in after.items() if name != "clock"} == {
        name: count for name, count in before.items() if name != "clock"
    }


def test_a_rater_of_a_paused_study_is_told_so_and_gets_no_clip(stores: StudyStores, tmp_path: Path) -> None:
    study = make_study(stores.real.database, tmp_path, training=0)
    with TestClient(listening_app(stores)) as client:
        client.headers["Authorization"] = (
            f"Bearer {client.post('/enter', json={'code': study.codes[0]}).json()['visit']}"
        )
        client.post("/about", json={"answers": {}})
        task = client.post("/start").json()["task"]
        with stores.real.database.write() as session:
            find_study(session, study.name).state = "paused"
            find_study(session, study.name).contact = "Ada"
        assert client.get(f"/clip/{task['token']}").status_code == 404
        place = client.post("/start").json()
        assert (place["step"], place["message"], place["study"]["contact"]) == (
            "done",
            "paused",
            [{"tag": "p", "children": ["Ada"]}],
        )
        body = {"token": task["token"], "musical_impression": 3, "textual_alignment": 3, "comment": "", "played": []}
        assert client.post("/rate", json=body).json()["outcome"] == "released"
    assert rows(stores.real.database)["responses"] == 0
