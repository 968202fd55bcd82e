"""What goes wrong around a study: each is told clearly, nothing is lost, and there is a way back (`docs/deploy.md`)."""

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from annotation.backups.journal import FOLDER
from annotation.backups.storage import Storage
from annotation.cli import main
from annotation.database import now
from annotation.schema import Response, Trial
from core.errors import StudyError
from core.settings import Settings
from tests.holding import held_by_another
from tests.small_disk import mount_small_disk, unmount
from tests.webapp.conftest import in_process, sign_in
from tests.webapp.studies import RemoteRater, answer, make_study
from webapp import listening_api
from webapp.app import build_app
from webapp.handlers import NO_ROOM, sentence_of
from webapp.health import health_routes
from webapp.listening_api import StudyStores, listening_app

FILE = "musiceval.sqlite"
PAGES = Starlette(routes=[Route("/{path:path}", lambda _: JSONResponse({}))])


class Site:
    """A server's studies, with a rater who has heard a clip and not answered yet."""

    def __init__(self, data: Path, journal: Path | None = None, **study: Any) -> None:
        self.settings = Settings(data=data, journal_url=str(journal or ""))
        self.begin()
        rules = {"stimuli": 6, "anchors": 2, "training": 0, "batch_size": 6, "duration_s": 0.05}
        self.codes = make_study(self.stores.real.database, data, **{**rules, **study}).codes
        self.rater = RemoteRater(self.client, self.codes[0])
        self.task = self.rater.begin()
        self.rater.hear(self.task)

    def begin(self) -> None:
        self.stores = StudyStores(self.settings)
        mounted = Starlette(routes=[Mount("/listening", listening_app(self.stores))])
        self.client = TestClient(mounted, raise_server_exceptions=False)
        if hasattr(self, "rater"):
            self.rater.client = self.client

    def end(self) -> None:
        self.stores.close()

    @property
    def file(self) -> Path:
        return self.settings.data / FILE

    def refused(self) -> tuple[int, str]:
        """Answer, and be refused; the page sends the answer again by itself at such a status."""
        said = self.rater.rate(self.task)
        assert int(said.headers.get("retry-after", 0)) > 0
        return said.status_code, said.json()["code"]

    def rate(self) -> None:
        """Answer, and hear the next one."""
        said = self.rater.rate(self.task).json()
        assert said.get("outcome") == "saved", said
        self.task = self.rater.place()["task"]
        self.rater.hear(self.task)

    def rated(self) -> int:
        with self.stores.real.database.read() as session:
            return session.scalar(select(func.count()).select_from(Response)) or 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path / "data")
    yield one
    one.end()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    assert mount_small_disk(tmp_path)
    yield tmp_path
    unmount(tmp_path)


# The disk


def test_a_disk_that_is_full(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    site = Site(small_disk)
    site.rate()
    with (small_disk / "filling").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    while site.rater.rate(site.task).status_code == 200:  # the database's log may have room for a few more
        site.task = site.rater.place()["task"] or site.rater.begin()
        site.rater.hear(site.task)
    saved = site.rated()
    assert site.refused() == (503, "disk_full")
    assert site.rater.place()["task"]["token"] == site.task["token"]  # reading goes on
    logged = [one.getMessage() for one in caplog.records if one.levelno == logging.ERROR]
    assert ["is full" in line for line in logged] == [True]  # once, though all are refused
    (small_disk / "filling").unlink()
    site.rate()
    assert site.rated() == saved + 1
    site.end()


def test_a_disk_that_becomes_full_in_the_middle_of_an_answer(site: Site) -> None:
    """SQLite ends the transaction by itself; what it then says of savepoints is told to nobody."""

    def full(_: Any, cursor: Any, statement: str, *__: Any) -> None:
        if "INSERT INTO responses" in statement:
            (pages,) = cursor.execute("PRAGMA page_count").fetchone()
            cursor.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Engine, "before_cursor_execute", full)
    try:
        said = site.rater.post("rate", **{**answer(site.task), "comment": "𝄞" * 1_900})
        assert (said.status_code, said.json()["code"]) == (503, "disk_full")
    finally:
        event.remove(Engine, "before_cursor_execute", full)
    site.stores.real.database._engine.dispose()
    assert site.rated() == 0
    site.rate()


def test_a_disk_that_becomes_read_only(site: Site) -> None:
    def read_only(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA query_only=ON")

    site.stores.real.database._engine.dispose()
    event.listen(site.stores.real.database._engine, "connect", read_only)
    assert site.refused() == (503, "disk_unwritable")
    assert site.rater.place()["task"]["token"] == site.task["token"]
    event.remove(site.stores.real.database._engine, "connect", read_only)
    site.stores.real.database._engine.dispose()
    site.rate()


def test_a_disk_that_is_read_only_at_the_start(small_disk: Path) -> None:
    site = Site(small_disk)
    site.end()
    before = site.file.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StudyError, match=r'"musiceval\.sqlite" cannot be opened and written.*mounted read-only'):
        StudyStores(site.settings)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert site.file.read_bytes() == before
    site.begin()
    site.rate()
    site.end()


def test_pages_say_that_the_disk_is_full() -> None:
    assert sentence_of(OSError(28, "No space left on device", "secret")) == NO_ROOM


# The clock


def test_a_clock_an_hour_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ratings and the journal's objects keep their order, and leases run on; a restart in between changes nothing."""
    site = Site(tmp_path / "data", tmp_path / "kept")
    site.rate()
    set_clock_back(monkeypatch)
    site.rate()
    site.end()
    site.begin()
    site.rate()
    with site.stores.real.database.read() as session:
        times = session.execute(select(Response.given_at).order_by(Response.id)).scalars().all()
        tokens = session.execute(select(Trial.token).join(Response).order_by(Response.given_at)).scalars().all()
        assert now(session) >= times[-1]
    assert (times, len(times)) == (sorted(times), 3)
    attempts = [int(name.split("-")[1]) for name in Storage(str(tmp_path / "kept")).sizes(FOLDER)]
    assert attempts == sorted(set(attempts))  # in the order of the commits
    site.end()
    shutil.rmtree(site.settings.data)
    site.begin()
    with site.stores.real.database.read() as session:
        order = select(Trial.token).join(Response).order_by(Response.id)
        assert session.execute(order).scalars().all() == tokens
    assert site.rater.place()["task"]["token"] == site.task["token"]
    site.rate()
    site.end()


def set_clock_back(monkeypatch: pytest.MonkeyPatch, by: timedelta = timedelta(hours=1)) -> None:
    """Set the clock of the machine back, as far as the program reads it; what never runs backwards stays."""
    seconds, nanoseconds = time.time, time.time_ns

    class Clock(datetime):
        @classmethod
        def now(cls, zone: Any = None) -> datetime:
            return datetime.now(zone) - by

    monkeypatch.setattr("annotation.database.datetime", Clock)
    monkeypatch.setattr("annotation.backups.snapshots.datetime", Clock)
    monkeypatch.setattr(time, "time", lambda: seconds() - by.total_seconds())
    monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() - int(by.total_seconds() * 1e9))


def test_sessions_and_limits_stay_where_the_clock_is_set_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = build_app(PAGES, Settings(data=tmp_path))
    with in_process(app) as client:
        sign_in(app, client)
        wrong = {"json": {"code": "AAAA-AAAA-AAAA"}}
        tried = [client.post("/listening/enter", **wrong).status_code for _ in range(21)]
        assert (tried[0], tried[-1]) == (401, 429)
        set_clock_back(monkeypatch)
        assert client.get("/admin/").status_code == 200
        assert client.post("/listening/enter", **wrong).status_code == 429


# The database


@pytest.mark.parametrize(
    ("waits_s", "held_s"), [(0.2, 0.6), pytest.param(listening_api.WAITS_S, 15.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("how", ["the queue", "the file"])
def test_a_database_that_another_process_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits_s: float, held_s: float, how: str
) -> None:
    """The rater is told, and the page's next try is taken; it counts once."""
    monkeypatch.setattr(listening_api, "WAITS_S", waits_s)
    site, said = Site(tmp_path / "data"), []
    with held_by_another(site.file, how):
        ends = time.monotonic() + held_s
        while time.monotonic() < ends:
            said.append(site.refused())
        assert site.rater.place()["task"]["token"] == site.task["token"]
    assert set(said) == {(503, "busy")}
    assert site.rater.rate(site.task).json()["outcome"] == "saved"
    assert site.rater.rate(site.task).json()["outcome"] == "already"
    assert site.rated() == 1
    site.end()


def damage(site: Site) -> None:
    """Write over all of a running server's database but its first pages, as a dying disk does."""
    with contextlib.closing(sqlite3.connect(site.file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with site.file.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(site.file.stat().st_size - 3 * 4096))
    for engine in (site.stores.real.database._engine, site.stores.real.database._reading):
        engine.dispose()  # of what it remembers


def move_away(site: Site) -> None:
    for path in site.settings.data.glob(f"{FILE}*"):
        path.rename(path.with_name(f"damaged-{path.name}"))


def test_a_database_that_is_damaged_while_raters_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Told at every door; with a journal nothing is lost, and the answer that waited on the page is taken."""
    site = Site(tmp_path / "data", tmp_path / "kept")
    site.rate()
    damage(site)
    assert site.refused() == (503, "damaged")
    assert site.rater.get("place").json()["code"] == "damaged"
    assert "brings all back" in caplog.text
    site.end()
    with pytest.raises(StudyError, match=r'"musiceval\.sqlite" is damaged.*journal.*backup.*docs/deploy\.md'):
        StudyStores(site.settings)
    move_away(site)
    site.begin()
    assert site.rated() == 1
    site.rate()
    assert site.rated() == 2
    site.end()


def test_a_damaged_database_and_a_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a journal: the latest backup, in its place."""
    monkeypatch.setenv("MUSICEVAL_DATA", str(tmp_path / "data"))
    site = Site(tmp_path / "data")
    site.rate()
    assert main(["backup", "-o", str(tmp_path / "copy.sqlite")]) == 0
    damage(site)
    assert site.refused() == (503, "damaged")
    site.end()
    move_away(site)
    shutil.copy(tmp_path / "copy.sqlite", site.file)
    site.begin()
    site.rate()
    assert site.rated() == 2
    site.end()


def test_readiness_says_that_the_database_is_damaged(tmp_path: Path) -> None:
    app = build_app(PAGES, Settings(data=tmp_path))
    with in_process(app) as client:
        assert client.get("/ready").json()["database"] == "ready"
        listening = next(route for route in app.routes if isinstance(route, Mount) and route.path == "/listening")
        store = listening.app.app.state.stores.real
        with contextlib.suppress(StudyError), store.database.read():
            error = sqlite3.DatabaseError("database disk image is malformed")
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        answer = client.get("/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "damaged")


# Another server


def test_another_server_takes_over(tmp_path: Path) -> None:
    """The answer stays on the page, and is taken by the other; the one before says so, and keeps nothing."""
    site = Site(tmp_path / "data", tmp_path / "kept")
    before = site.stores
    ready = TestClient(Starlette(routes=health_routes(before.real.database, tmp_path, PAGES)))
    assert ready.get("/ready").json()["database"] == "ready"
    site.settings = Settings(data=tmp_path / "other", journal_url=str(tmp_path / "kept"))
    client = site.client
    site.begin()
    site.rater.client = client
    assert site.refused() == (503, "taken_over")
    answer = ready.get("/ready")
    assert (answer.status_code, answer.json()["database"]) == (503, "taken over by another server")
    site.rater.client = site.client
    site.rate()
    assert site.rated() == 1
    before.close()
    site.end()


# Snapshots


@pytest.mark.parametrize("torn", [1, 2], ids=["the newest", "all"])
def test_a_corrupt_snapshot(tmp_path: Path, capsys: pytest.CaptureFixture[str], torn: int) -> None:
    """The one before it and the journal have all; where there is none, nothing is changed."""
    site = Site(tmp_path / "data", tmp_path / "kept")
    site.rate()
    site.end()  # with a backup: the second
    storage = Storage(str(tmp_path / "kept"))
    names = list(storage.sizes("backups"))
    assert len(names) == 2
    for name in names[-torn:]:
        content = storage.read(f"backups/{name}/{FILE}") or b""
        storage.put(f"backups/{name}/{FILE}", content[:4096] + bytes(len(content) - 4096))
    shutil.rmtree(site.settings.data)
    if torn == 2:
        with pytest.raises(StudyError, match="There is no whole backup"):
            StudyStores(site.settings)
        assert not site.file.exists()
        return
    capsys.readouterr()
    site.begin()
    assert f"! The backup {names[-1]} is not whole and is passed over" in capsys.readouterr().out
    assert site.rated() == 1
    site.rate()
    site.end()
