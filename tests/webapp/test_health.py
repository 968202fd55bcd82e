"""`/health` and `/ready`: what keeps the server going learns which part cannot serve, and nothing else."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from core.scorer import Scorer
from core.settings import Settings
from tests.webapp.conftest import free_port, in_process, make_app
from webapp import health
from webapp.app import build_app

READY = {"status": "ready", "database": "ready", "disk": "ready", "pages": "ready"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(port=free_port(), data=tmp_path)


@pytest.fixture
def client(scorer: Scorer, settings: Settings) -> Iterator[TestClient]:
    with in_process(make_app(scorer, settings)) as one:
        yield one


def pages(status: int) -> Starlette:
    return Starlette(routes=[Route("/{path:path}", lambda _: JSONResponse({}, status))])


def asked(app: FastAPI) -> tuple[int, dict[str, str]]:
    with in_process(app) as client:
        answer = client.get("/ready")
    return answer.status_code, answer.json()


def test_all_is_ready(client: TestClient) -> None:
    assert client.get("/health").json() == {"status": "alive"}
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()) == (200, READY)


def test_pages_that_do_not_answer(settings: Settings) -> None:
    assert asked(build_app(pages(503), settings)) == (503, READY | {"status": "not ready", "pages": "not ready"})


def test_a_disk_without_room(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    left = shutil.disk_usage(settings.data).free
    monkeypatch.setattr(health, "LEAST_FREE_BYTES", left * 2)
    assert asked(build_app(pages(200), settings)) == (503, READY | {"status": "not ready", "disk": "not ready"})


def test_a_database_that_is_gone(settings: Settings) -> None:
    app = build_app(pages(200), settings)
    with in_process(app) as client:
        for file in settings.data.glob("musiceval.sqlite*"):
            file.unlink()
        file = settings.data / "musiceval.sqlite"
        file.mkdir()
        answer = client.get("/ready")
    assert answer.json()["pages"] == "ready"
    assert (answer.status_code, answer.json()["database"]) == (503, "not ready")
