"""The listening test's routes: requests that are none, failures, how often one may try, and the demo."""

import hashlib
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from annotation.database import Database, now
from annotation.material.files import CHANGED, MISSING
from annotation.results.status import status
from annotation.schema import Batch, Clip, Problem, Trial, Visit
from annotation.session import listening
from annotation.studies import VISIT_DAYS, clip_path, find_study
from core.settings import Settings
from tests.holding import held_by_another
from tests.webapp.studies import CANARY, RemoteRater, SmallStudy, answer, make_study, rows
from webapp import listening_api
from webapp.listening_api import MAX_BODY_BYTES, StudyStore, StudyStores, close_abandoned_batches, listening_app

NOT_SIGNED_IN = {"error": "You are not signed in. Enter your access code.", "code": "signed_out", "values": {}}


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"5", b"null", b'"rate"', b"[" * 19_000, b"\xff\xfe", b"1" * 5000, b'{"token": "\\ud800"}'],
    ids=lambda body: repr(body[:9]),
)
def test_a_body_that_does_not_fit(rater: RemoteRater, body: bytes) -> None:
    said = rater.client.post("/listening/rate", content=body, headers=rater.headers)
    assert said.status_code == 400
    assert said.json().keys() == {"error", "code", "values"}


def test_a_body_that_is_too_large(rater: RemoteRater) -> None:
    body = b'{"token": "%s"}' % (b"x" * MAX_BODY_BYTES)
    said = rater.client.post("/listening/rate", content=body, headers=rater.headers)
    told = {"error": f"The request is larger than {MAX_BODY_BYTES} bytes.", "code": "too_large"}
    assert (said.status_code, said.json()) == (413, told | {"values": {"bytes": MAX_BODY_BYTES}})
    assert rater.client.post("/listening/rate", content=iter([b"{}"])).status_code == 411


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "rate", 405),
        ("POST", "place", 405),
        ("DELETE", "place", 405),
        ("POST", "", 405),
        ("GET", "place/", 404),
        ("GET", "clip/", 404),
        ("GET", "clip/a/b", 404),
        ("GET", "docs", 404),
        ("GET", "openapi.json", 404),
    ],
)
def test_a_route_that_is_none(http: httpx.Client, method: str, path: str, status: int) -> None:
    said = http.request(method, f"/listening/{path}")
    assert (said.status_code, list(said.json())) == (status, ["error"])
    assert said.headers["cache-control"] == "no-store"


def test_what_fails_unexpectedly_is_logged_and_told_plainly(
    rater: RemoteRater, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a detail of the server")

    monkeypatch.setattr(listening, "current_step", fail)
    said = rater.get("place")
    assert (said.status_code, said.json()) == (
        500,
        {
            "error": "Something went wrong on the server; it has been logged there. Try again.",
            "code": "unexpected",
            "values": {},
        },
    )
    assert "a detail of the server" in caplog.text


@pytest.mark.parametrize("damage", ["deleted", "emptied", "exchanged"])
def test_a_clip_that_is_not_what_was_ingested(
    database: Database, settings: Settings, study: SmallStudy, rater: RemoteRater, damage: str
) -> None:
    """It is not sent, not rated, and named in the status; the rater goes on with the next one."""

    def faults() -> list[str]:
        with database.read() as session:
            return status(session, find_study(session, study.name), now(session), settings.data).faults

    task = rater.begin()
    with database.read() as session:
        found = find_study(session, study.name)
        name = session.execute(select(Clip.name).join(Trial).where(Trial.token == task["token"])).scalar_one()
    path = clip_path(settings.data, found, name)
    whole = path.read_bytes()
    path.unlink()
    if damage != "deleted":
        path.write_bytes(b"" if damage == "emptied" else whole[:44] + whole[:43:-1])
    said = rater.get(f"clip/{task['token']}")
    sentences = faults()
    path.write_bytes(whole)  # other tests have the same study
    assert (said.status_code, "left out" in said.json()["error"]) == (410, True)
    assert name not in said.text
    with database.read() as session:
        (trial,) = session.scalars(select(Trial).where(Trial.token == task["token"]))
        problem = session.execute(select(Problem.comment).where(Problem.trial_id == trial.id)).scalar_one()
    assert (trial.state, trial.served_at) == ("released", None)
    assert problem == (MISSING if damage == "deleted" else CHANGED)
    assert [f"{name}.wav" in sentence for sentence in sentences] == [True]
    assert faults() == []
    assert rater.rate(task).json()["outcome"] == "released"
    assert rater.get(f"clip/{rater.place()['task']['token']}").status_code == 200  # the batch goes on


def test_while_the_disk_of_the_clips_is_away_nothing_is_given_up(stores: StudyStores) -> None:
    study = make_study(stores.real.database, stores.real.data, stimuli=3, anchors=1)
    rater = RemoteRater(TestClient(Starlette(routes=[Mount("/listening", listening_app(stores))])), study.codes[0])
    task = rater.begin()
    folder = stores.real.data / "studies" / study.name
    away = folder.rename(folder.with_name("away"))
    said = rater.get(f"clip/{task['token']}")
    assert (said.status_code, "cannot be reached" in said.json()["error"]) == (503, True)
    away.rename(folder)
    assert rater.place()["task"] == task
    assert rater.get(f"clip/{task['token']}").status_code == 200


def test_abandoned_batches_are_closed_without_anybody_looking(
    database: Database, settings: Settings, rater: RemoteRater
) -> None:
    task = rater.begin()
    with database.write() as session:
        batch = session.scalars(select(Batch).join(Trial).where(Trial.token == task["token"])).one()
        batch.number, batch.opened_at = 1, batch.opened_at - timedelta(days=30)
        batch.lease_until = batch.opened_at
    close_abandoned_batches(StudyStore(database, settings.data))
    with database.read() as session:
        assert session.get_one(Batch, batch.id).state == "empty"


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[StudyStores]:
    both = StudyStores(Settings(data=tmp_path / "data"))
    yield both
    both.close()


def test_a_database_that_others_hold_is_told_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening_api, "WAITS_S", 0.3)
    stores = StudyStores(Settings(data=tmp_path / "data"))
    study = make_study(stores.real.database, stores.real.data, stimuli=3, anchors=1)
    mounted = TestClient(Starlette(routes=[Mount("/listening", listening_app(stores))]))
    rater = RemoteRater(mounted, study.codes[0])
    task = rater.begin()
    rater.hear(task).raise_for_status()
    with held_by_another(tmp_path / "data" / "musiceval.sqlite", "the queue"):
        began = time.monotonic()
        said = rater.rate(task)
        assert (said.status_code, list(said.json())) == (503, ["error", "code", "values"])
        assert int(said.headers["retry-after"]) > 0
        assert 0.3 <= time.monotonic() - began < 5
        assert rater.place()["task"]["token"] == task["token"]  # reading waits for nobody
        assert rater.get(f"clip/{task['token']}").status_code == 200
        busy = mounted.post("/listening/enter", json={"code": study.codes[0]})
        assert busy.status_code == 503
    assert rater.rate(task).json()["outcome"] == "saved"
    stores.close()


def test_a_journal_that_is_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is not taken, and is when it is sent again."""
    stores = StudyStores(Settings(data=tmp_path / "data", journal_url=str(tmp_path / "kept")))
    study = make_study(stores.real.database, stores.real.data, stimuli=3, anchors=1)
    rater = RemoteRater(TestClient(Starlette(routes=[Mount("/listening", listening_app(stores))])), study.codes[0])
    task = rater.begin()
    rater.hear(task).raise_for_status()
    (tmp_path / "kept").rename(tmp_path / "away")
    (tmp_path / "kept").write_text("no folder")
    said = rater.rate(task)
    assert (said.status_code, said.json()["code"]) == (503, "storage_away")
    assert rater.place()["task"]["token"] == task["token"]
    (tmp_path / "kept").unlink()
    (tmp_path / "away").rename(tmp_path / "kept")
    assert rater.rate(task).json()["outcome"] == "saved"
    stores.close()


def test_a_clock_that_is_set_back_stops_nobody(stores: StudyStores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the clip in hand nor the visit, nor the lease: the only rater rates at once what they have heard."""
    set_back = timedelta(0)

    class Clock(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime:
            return datetime.now(zone) - set_back

    monkeypatch.setattr("annotation.database.datetime", Clock)
    study = make_study(stores.real.database, stores.real.data, stimuli=3, anchors=1, duration_s=1.0)
    rater = RemoteRater(TestClient(Starlette(routes=[Mount("/listening", listening_app(stores))])), study.codes[0])
    task = rater.begin()
    assert rater.get(f"clip/{task['token']}").status_code == 200
    set_back = timedelta(hours=1)
    refused = rater.rate(task)
    assert (refused.status_code, "cannot have been heard" in refused.json()["error"]) == (400, True)
    time.sleep(task["duration_s"])
    assert rater.rate(task).json()["outcome"] == "saved"
    heard = rater.batch()
    assert len(heard) >= 3
    assert rater.place()["step"] in ("ready", "done")


def test_a_visit_ends_after_a_while(database: Database, rater: RemoteRater) -> None:
    visit = hashlib.sha256(rater.headers["Authorization"].removeprefix("Bearer ").encode()).hexdigest()
    assert rater.get("place").status_code == 200
    with database.write() as session:
        mine = session.scalars(select(Visit).where(Visit.token_sha256 == visit)).one()
        mine.began_at -= timedelta(days=VISIT_DAYS)
    for said in (rater.get("place"), rater.post("start"), rater.get("sound-check")):
        assert (said.status_code, said.json()) == (401, NOT_SIGNED_IN)


def test_wrong_codes_are_limited_by_address(stores: StudyStores) -> None:
    study = make_study(stores.real.database, stores.real.data, stimuli=1, anchors=1)
    app = listening_app(stores)

    def enter(client: TestClient, code: str) -> httpx.Response:
        return client.post("/enter", json={"code": code})

    one, other = (TestClient(app, client=(f"192.0.2.{number}", 1)) for number in (1, 2))
    assert {enter(one, study.codes[0]).status_code for _ in range(50)} == {200}
    assert [enter(one, "WRONG").status_code for _ in range(22)] == [401] * 20 + [429] * 2
    refused = enter(one, "WRONG")
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= 30
    wait_s = int(refused.headers["retry-after"])
    told = {"error": f"Too many attempts. Wait {wait_s} s, then try again.", "code": "too_often"}
    assert refused.json() == told | {"values": {"seconds": wait_s}}
    assert enter(other, "WRONG").status_code == 401
    assert {enter(one, code).status_code for code in study.codes} == {200}  # guesses keep nobody out


@pytest.mark.parametrize("text", ["\0", "a\0b"])
def test_nul_is_refused(rater: RemoteRater, text: str) -> None:
    task = rater.begin()
    assert rater.post("problem", token=task["token"], comment=text).status_code == 400
    assert rater.post("rate", **{**answer(task), "comment": text}).status_code == 400
    assert rater.post("enter", code=text).status_code == 400
    assert rater.place()["task"]["token"] == task["token"]


def test_visitors_of_the_demo_are_limited_by_address(stores: StudyStores, address: str) -> None:
    app = listening_app(stores)
    client = TestClient(app, client=("192.0.2.1", 1))
    assert [client.post("/try").status_code for _ in range(21)] == [200] * 20 + [429]


def test_the_demo_is_apart(http: httpx.Client, database: Database, settings: Settings) -> None:
    before = rows(database)
    visit = http.post("/listening/try").raise_for_status().json()["visit"]
    assert visit.startswith("demo.")
    visitor = {"Authorization": f"Bearer {visit}"}
    here = http.get("/listening/place", headers=visitor).json()
    assert (here["step"], here["demo"]) == ("about", True)
    ready = http.post("/listening/about", json={"answers": {}}, headers=visitor).json()
    assert (ready["step"], ready["practice_next"]) == ("ready", True)
    task = http.post("/listening/start", headers=visitor).json()["task"]
    clip = http.get(f"/listening/clip/{task['token']}", headers=visitor)
    assert clip.content.startswith(b"RIFF")
    assert len(clip.content) == 44 + 2 * round(16_000 * task["duration_s"])
    real = {"Authorization": f"Bearer {visit.removeprefix('demo.')}"}
    assert http.get("/listening/place", headers=real).status_code == 401
    assert rows(database) == before
    assert [path.name for path in settings.data.rglob("*demo*")] == []


def test_the_demo_of_another_run_is_over(stores: StudyStores) -> None:
    client = TestClient(listening_app(stores))
    said = client.get("/place", headers={"Authorization": "Bearer demo.x"})
    assert (said.status_code, said.json()) == (401, NOT_SIGNED_IN)


def test_visits_are_stored_as_hashes(database: Database, rater: RemoteRater) -> None:
    visit = rater.headers["Authorization"].removeprefix("Bearer ")
    with database.read() as session:
        assert visit not in set(session.scalars(select(Visit.token_sha256)))
    assert CANARY not in visit


def test_the_server_has_no_other_folder_for_uploads(settings: Settings, address: str) -> None:
    assert not settings.data.is_relative_to(Path(os.environ["GRADIO_TEMP_DIR"]))
