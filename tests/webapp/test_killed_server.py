"""The server is killed again and again: every rating that it acknowledged is there, and none twice."""

import multiprocessing
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
import uvicorn
from sqlalchemy import func, select, text
from starlette.applications import Starlette
from starlette.routing import Mount

import app
from annotation.backups.durable import open_studies
from annotation.database import Database
from annotation.schema import Batch, Rating, Response, Trial
from core.settings import Settings
from tests.webapp.conftest import free_port
from tests.webapp.studies import RemoteRater, make_study
from webapp.listening_api import PREFIX, StudyStores, listening_app

RATERS = 4
START_S = 120
RESUME_S = 60
LONGEST_LIFE_S = 0.6  # from when every rater is back at work to the next kill


class KilledServer:
    """A server, started and killed at one address; what it imports is imported once for all.

    It is the real ``app.py``, or, started in a moment and so killed more often, the listening test of it alone.
    """

    def __init__(self, settings: Settings, model: Path, log: Path, serve: Callable[[], object]) -> None:
        self.serve = serve
        self.address = f"http://127.0.0.1:{settings.port}"
        named: dict[str, object] = {"DATA": settings.data, "PORT": settings.port, "MODEL": model}
        named["JOURNAL_URL"], named["ADMIN_PASSWORD"] = settings.journal_url, settings.admin_password
        named["DATABASE_URL"] = settings.database
        self.environment = {f"MUSICEVAL_{name}": str(value) for name, value in named.items() if value}
        self.log = log
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["app", "webapp.app", __name__])  # a new process looks `serve` up here

    def start(self) -> None:
        self.process = self.processes.Process(target=run, args=(self.serve, self.environment, self.log))
        self.process.start()
        deadline_s = time.monotonic() + START_S
        while self.process.is_alive() and time.monotonic() < deadline_s:
            try:
                httpx.get(f"{self.address}/listening/place", timeout=5)
            except httpx.TransportError:
                time.sleep(0.1)
            else:
                return
        pytest.fail(f"the server does not start: {self.log.read_text()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.join()


def run(serve: Callable[[], object], environment: Mapping[str, str], log: Path) -> None:
    os.environ.update(environment)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.exit(serve())


def serve_listening_test() -> None:
    settings = Settings.from_environment(os.environ)
    mounted = Starlette(routes=[Mount(PREFIX, listening_app(StudyStores(settings)))])
    uvicorn.run(mounted, port=settings.port)


class ScriptedRater(threading.Thread):
    """Rates without a pause, and after a failure asks where it stands, as the page does after a reload."""

    def __init__(self, address: str, code: str) -> None:
        super().__init__(daemon=True)
        self.stopped = threading.Event()
        self.acknowledged: dict[str, tuple[int, int]] = {}
        self.unanswered: list[str] = []  # submitted when the server died
        self.resumed_at: list[tuple[str, str]] = []  # what was unanswered, and where the rater was put then
        self.wrong: list[str] = []
        self.client = httpx.Client(base_url=address, timeout=20)
        self.rater = RemoteRater(self.client, code)
        self.rater.post("about", answers={}).raise_for_status()

    def run(self) -> None:
        while not self.stopped.is_set():
            try:
                self.rate_next()
            except httpx.TransportError:
                time.sleep(0.05)
            except httpx.HTTPStatusError as error:
                if not self.waits(error.response):
                    self.wrong.append(f"{error} {error.response.text}")
                    return
        self.client.close()

    def waits(self, _: httpx.Response) -> bool:
        """Whether a refusal is waited out; none should come."""
        return False

    def rate_next(self) -> None:
        here = self.rater.place()
        if here["step"] == "ready":
            here = self.rater.post("start").raise_for_status().json()
        task = here["task"]
        if self.unanswered and len(self.resumed_at) < len(self.unanswered):
            self.resumed_at.append((self.unanswered[-1], task["token"]))
        self.rater.hear(task)
        scores = scores_of(task["token"])
        try:
            said = self.rater.rate(task, *scores).raise_for_status().json()
        except httpx.TransportError:
            self.unanswered.append(task["token"])
            raise
        if said["outcome"] == "saved":
            self.acknowledged[task["token"]] = scores
        else:
            self.wrong.append(said["outcome"])


def scores_of(token: str) -> tuple[int, int]:
    """The scores of a trial, the same whenever they are asked for; all pass the checks of a batch."""
    return 3 + sum(token.encode()) % 2, 3 + len(set(token)) % 2


@pytest.fixture
def server(tmp_path: Path, random_checkpoint: Path, serve: Callable[[], object]) -> Iterator[KilledServer]:
    settings = Settings(port=free_port(), data=tmp_path / "data")
    one = KilledServer(settings, random_checkpoint, tmp_path / "log.txt", serve)
    one.start()
    yield one
    one.kill()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("serve", "kills"),
    [(app.main, 1), pytest.param(serve_listening_test, 20, marks=pytest.mark.slow)],
    ids=["app", "listening test"],
)
def test_what_was_acknowledged_is_there(server: KilledServer, tmp_path: Path, kills: int) -> None:
    database = Database(f"sqlite:///{tmp_path / 'data' / 'musiceval.sqlite'}")
    rules = {"batch_size": 12, "anchors": 4, "raters": RATERS, "training": 0, "duration_s": 0.05}
    study = make_study(database, tmp_path / "data", stimuli=60 * (1 + kills // 4), **rules)
    raters = [ScriptedRater(server.address, code) for code in study.codes]
    for rater in raters:
        rater.start()
    moments = random.Random(7)
    for _ in range(kills):
        wait_for_all(raters)
        time.sleep(moments.uniform(0, LONGEST_LIFE_S))
        server.kill()
        server.start()
    wait_for_all(raters)
    for rater in raters:
        rater.stopped.set()
    for rater in raters:
        rater.join(timeout=30)
    assert [rater.wrong for rater in raters] == [[]] * RATERS
    compare(database, raters)
    database.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_what_was_acknowledged_is_there_without_the_disk(tmp_path: Path, kills: int) -> None:
    """The disk is wiped at each kill; all is in the journal."""
    settings = Settings(port=free_port(), data=tmp_path / "data", journal_url=str(tmp_path / "kept"))
    rules = {"batch_size": 12, "anchors": 4, "raters": RATERS, "training": 0, "duration_s": 0.05}
    database = open_studies(settings, print)
    study = make_study(database, settings.data, stimuli=60 * (1 + kills // 4), **rules)
    database.close()
    server = KilledServer(settings, tmp_path, tmp_path / "log.txt", serve_listening_test)
    server.start()
    raters = [ScriptedRater(server.address, code) for code in study.codes]
    for rater in raters:
        rater.start()
    for _ in range(kills):
        wait_for_all(raters)
        server.kill()
        shutil.rmtree(settings.data)
        server.start()
    wait_for_all(raters)
    for rater in raters:
        rater.stopped.set()
    for rater in raters:
        rater.join(timeout=30)
    server.kill()
    shutil.rmtree(settings.data)
    assert [rater.wrong for rater in raters] == [[]] * RATERS
    database = open_studies(settings, print, begins=True)
    compare(database, raters)
    database.close()


def wait_for_all(raters: list[ScriptedRater]) -> None:
    """Wait until each rater has a new rating acknowledged: each goes on where they were."""
    before = [len(rater.acknowledged) for rater in raters]
    deadline_s = time.monotonic() + RESUME_S
    while any(len(rater.acknowledged) == count for rater, count in zip(raters, before, strict=True)):
        assert time.monotonic() < deadline_s, [rater.wrong for rater in raters]
        time.sleep(0.01)


def compare(database: Database, raters: list[ScriptedRater]) -> None:
    """Hold what the raters know against what is stored."""
    with database.read() as session:
        query = select(Trial.token, Rating.score).join(Rating, Rating.trial_id == Trial.id)
        stored: dict[str, tuple[int, ...]] = {}
        for token, score in session.execute(query.order_by(Trial.id, Rating.scale)):
            stored[token] = (*stored.get(token, ()), score)
        twice = (
            select(Trial.rater_id, Trial.clip_id)
            .join(Response)
            .where(Trial.role == "stimulus")
            .group_by(Trial.rater_id, Trial.clip_id)
            .having(func.count() > 1)
        )
        assert session.execute(twice).all() == []
        assert session.execute(select(func.count()).select_from(Response)).scalar_one() == len(stored)
        if database.folder:  # SQLite's
            assert session.execute(text("PRAGMA integrity_check")).scalar_one() == "ok"
        assert session.execute(select(Batch).where(Batch.state == "excluded")).all() == []
    acknowledged = {token: scores for rater in raters for token, scores in rater.acknowledged.items()}
    assert {token: stored.get(token) for token in acknowledged} == acknowledged
    unanswered = {token for rater in raters for token in rater.unanswered}
    assert stored.keys() - acknowledged.keys() <= unanswered
    # The same trial again, unless it was stored and only its acknowledgement was lost.
    for rater in raters:
        for token, then in rater.resumed_at:
            assert (then == token) != (token in stored and token not in rater.acknowledged)
