"""Machines are lost with their disks, again and again, while raters work; all is in an object store like S3.

The store is moto's, in this process, behind what makes it fail. It takes a few kills each time; for the three minutes
of ten seconds each that `docs/promises.md` names: ``MUSICEVAL_KILLS=18``.
"""

import logging
import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from werkzeug.serving import make_server

from annotation.backups.durable import open_studies
from core.settings import Settings
from tests.webapp.conftest import free_port
from tests.webapp.studies import make_study
from tests.webapp.test_killed_server import KilledServer, ScriptedRater, compare, serve_listening_test, wait_for_all

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RATERS = 4
LIFE_S = 10.0  # of a machine, with more than a few
KILLS = int(os.environ.get("MUSICEVAL_KILLS", "3"))
AWAY_S = 30.0 if KILLS > 3 else 8.0
RULES = {"batch_size": 12, "anchors": 4, "raters": RATERS, "training": 0, "duration_s": 0.05}


class ObjectStore:
    """A WSGI application: moto's, which fails now and then, or is away."""

    def __init__(self, application: Callable[..., Any]) -> None:
        self._application = application
        self._random = random.Random(3)
        self.fails = 0.0
        self.away = False
        self.refused = 0

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if self.away or self._random.random() < self.fails:
            self.refused += 1
            time.sleep(1.0 if self.away else 0.0)
            start_response("503 Slow Down", [("Content-Length", "0")])
            return [b""]
        return self._application(environ, start_response)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A store with the bucket `kept`, which s3fs finds by the variables of AWS, and remembers."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (requirements-s3.txt)")
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    one = ObjectStore(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, one, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    named = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b", "DEFAULT_REGION": "us-east-1", "ENDPOINT_URL": address}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in named.items():
            patch.setenv(f"AWS_{name}", value)
        httpx.put(f"{address}/kept").raise_for_status()
        yield one
    server.shutdown()


class PatientRater(ScriptedRater):
    """Sends an answer again while the store is away, as the page does."""

    refused = 0

    def waits(self, refusal: httpx.Response) -> bool:
        if refusal.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            return False
        self.refused += 1
        time.sleep(0.2)
        return True


@pytest.fixture
def settings(tmp_path: Path, store: ObjectStore) -> Settings:
    return Settings(port=free_port(), data=tmp_path / "data", journal_url=f"s3://kept/{tmp_path.name}")


@pytest.fixture
def raters(settings: Settings, tmp_path: Path) -> Iterator[tuple[KilledServer, list[PatientRater]]]:
    """A server that can be killed, and raters at work; all is compared at the end, on a machine without a disk."""
    database = open_studies(settings, print)
    study = make_study(database, settings.data, stimuli=60 if KILLS <= 3 else 60 * (1 + KILLS), **RULES)
    database.close()
    server = KilledServer(settings, tmp_path, tmp_path / "log.txt", serve_listening_test)
    server.environment |= {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    server.start()
    working = [PatientRater(server.address, code) for code in study.codes]
    for rater in working:
        rater.start()
    yield server, working
    for rater in working:
        rater.stopped.set()
    for rater in working:
        rater.join(timeout=30)
    lose(server, settings)
    assert [rater.wrong for rater in working] == [[]] * RATERS
    database = open_studies(settings, print, begins=True)
    compare(database, working)
    database.close()


def lose(server: KilledServer, settings: Settings) -> None:
    server.kill()
    shutil.rmtree(settings.data)


@pytest.mark.parametrize("fails", [0.0, 0.2])
def test_machines_without_their_disks(
    raters: tuple[KilledServer, list[PatientRater]], settings: Settings, store: ObjectStore, fails: float
) -> None:
    server, working = raters
    store.fails = fails
    for _ in range(KILLS):
        wait_for_all(working)
        if KILLS > 3:
            time.sleep(LIFE_S)
        lose(server, settings)
        server.start()
    wait_for_all(working)
    assert (store.refused > 0) == (fails > 0)
    store.fails = 0.0


def test_a_store_that_is_cut_off(raters: tuple[KilledServer, list[PatientRater]], store: ObjectStore) -> None:
    _, working = raters
    wait_for_all(working)
    store.away = True
    time.sleep(1.0)  # what was under way
    before = [len(rater.acknowledged) for rater in working]
    time.sleep(AWAY_S)
    assert [len(rater.acknowledged) for rater in working] == before  # nobody was told that it is saved
    assert all(rater.refused for rater in working)
    store.away = False
    wait_for_all(working)
