"""Raters who join by a study's link, over HTTP and from the page, in process."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from annotation.database import Database, now
from annotation.enrolment import Enrolment, set_enrolment
from annotation.life import move
from annotation.schema import Answer, Rater
from annotation.studies import find_rater, find_study
from core.errors import StudyError
from core.settings import Settings
from tests.webapp.layouts import laid_out
from tests.webapp.studies import RemoteRater, SmallStudy, make_study, rows
from webapp.listening_api import StudyStore, StudyStores, listening_app
from webapp.study import StudyPage

ASKED: Any = SimpleNamespace(request=SimpleNamespace(url=SimpleNamespace(scheme="https", netloc="lab.example")))
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def stores(empty_database: Path, tmp_path: Path) -> Iterator[StudyStores]:
    shutil.copy(empty_database, tmp_path / "musiceval.sqlite")
    one = StudyStores(Settings(data=tmp_path))
    yield one
    one.close()


@pytest.fixture
def database(stores: StudyStores) -> Database:
    return stores.real.database


@pytest.fixture
def study(database: Database, tmp_path: Path) -> SmallStudy:
    return make_study(database, tmp_path, training=0, duration_s=0.05)


@pytest.fixture
def page(stores: StudyStores, tmp_path: Path) -> StudyPage:
    with laid_out():
        return StudyPage(StudyStore(stores.real.database, tmp_path), str)


@pytest.fixture
def client(stores: StudyStores) -> Iterator[TestClient]:
    from starlette.applications import Starlette
    from starlette.routing import Mount

    app = Starlette(routes=[Mount("/listening", listening_app(stores))])
    with TestClient(app) as one:
        yield one


def enrol(database: Database, study: SmallStudy, **wanted: Any) -> str:
    with database.write() as session:
        return set_enrolment(session, find_study(session, study.name), Enrolment(**wanted), datetime.now(UTC)).key


def test_who_joins_has_a_code_and_is_signed_in(client: TestClient, database: Database, study: SmallStudy) -> None:
    key = enrol(database, study, limit=1, parameters=("PID",))
    said = client.post("/listening/join", json={"key": key, "carried": {"PID": "p", "x": HOSTILE}})
    assert (said.status_code, said.json().keys()) == (200, {"code", "visit"})
    place = client.get("/listening/place", headers={"Authorization": f"Bearer {said.json()['visit']}"}).json()
    assert place["step"] == "about"
    assert client.post("/listening/enter", json={"code": said.json()["code"]}).status_code == 200
    with database.read() as session:
        assert find_rater(session, find_study(session, study.name), "R03").external == {"parameters": {"PID": "p"}}
    before = rows(database)
    for body, code in (({"key": key}, "join_full"), ({"key": "x" * 24}, "join_unknown")):
        refused = client.post("/listening/join", json=body)
        assert (refused.status_code, refused.json()["code"]) == (403, code)
    assert rows(database) == before


@pytest.mark.parametrize("body", [{}, {"key": 1}, {"key": "a", "carried": {"a": 1}}, {"key": "a", "more": 1}])
def test_a_request_that_does_not_fit(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/listening/join", json=body).status_code == 400


def test_joining_is_limited_by_address(client: TestClient) -> None:
    codes = [client.post("/listening/join", json={"key": "a"}).status_code for _ in range(41)]
    assert codes == [403] * 40 + [429]


def test_who_is_done_is_told_the_code_and_the_way_back(
    client: TestClient, database: Database, study: SmallStudy
) -> None:
    key = enrol(
        database, study, code="C0DE", address="https://panel.example/?p={PID}", parameters=("PID",), after_batches=1
    )
    said = client.post("/listening/join", json={"key": key, "carried": {"PID": "a&b"}}).json()
    rater = RemoteRater(client, said["code"])
    assert "completion" not in rater.place()
    rater.batch()
    place = rater.place()
    assert place["step"] in ("ready", "done")
    assert place["completion"] == {"code": "C0DE", "address": "https://panel.example/?p=a%26b"}
    with database.write() as session:
        move(session, find_study(session, study.name), "close", now(session))
    place = client.get("/listening/place", headers=rater.headers).json()
    assert (place["message"], place["completion"]["code"]) == ("closed", "C0DE")


def test_the_link_is_set_on_the_page(page: StudyPage, database: Database, study: SmallStudy) -> None:
    page.open(study.name)
    enrolling = page.enrolling
    given = (study.name, 5, True, "C0DE", "https://panel.example/?p={PID}", "PID, SESSION", 2)
    link = enrolling.save(*given, False, ASKED)[enrolling.link]["value"]
    assert link.startswith("https://lab.example/listening/#join-")
    assert link.endswith("&PID=…&SESSION=…")
    assert enrolling.save(*given, False, ASKED)[enrolling.link]["value"] == link
    assert enrolling.save(*given, True, ASKED)[enrolling.link]["value"] != link
    shown = page.open(study.name)
    assert [shown[part] for part in enrolling.parts[:6]] == [5, True, "C0DE", 2, "PID, SESSION", given[4]]
    with pytest.raises(StudyError, match="https"):
        enrolling.save(study.name, 5, True, "", "javascript:alert(1)", "", 0, False, ASKED)


def test_who_joined_is_shown_to_the_administrator_alone(
    page: StudyPage, client: TestClient, database: Database, study: SmallStudy
) -> None:
    key = enrol(database, study, parameters=("PID",))
    client.post("/listening/join", json={"key": key, "carried": {"PID": HOSTILE}})
    shown = str(page.open(study.name)[page.enrolling.joined])
    assert "R03" in shown
    assert HOSTILE not in shown
    assert "&lt;img" in shown


def test_answers_are_erased_on_the_page(page: StudyPage, database: Database, study: SmallStudy) -> None:
    with database.write() as session:
        rater = find_rater(session, find_study(session, study.name), "R01")
        rater.note = "Ann"
        session.add(Answer(rater_id=rater.id, question="instrument", answer="harp", given_at=now(session)))
    said = page.invitations.erase(study.name, "R01", True, "")
    assert "1 answers, 0 comments, 0 reports, 1 notes" in said
    with database.read() as session:
        assert session.query(Answer).count() == 0
        assert session.query(Rater.note).where(Rater.pseudonym == "R01").scalar() == ""


def test_personal_data_is_given_out_on_the_page(page: StudyPage, study: SmallStudy) -> None:
    said = page.invitations.give_out(study.name, "R01")
    (encoded,) = re.findall('href="data:application/json;base64,([^"]+)" download="[^"]+-R01.json"', said)
    assert json.loads(base64.b64decode(encoded))["held"]["raters"][0]["pseudonym"] == "R01"


def test_links_can_be_copied(page: StudyPage, study: SmallStudy) -> None:
    shown = page.invitations.renew(study.name, "R01", ASKED)
    assert shown[page.invitations.links]["value"].startswith("https://lab.example/listening/#")
    assert shown[page.invitations.links]["visible"]
