"""One running server for all tests of the pages, with the scorer that has random weights; one browser.

What needs neither a browser nor `gradio_client` asks an app `in_process`.
"""

import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from gradio_client import Client
from playwright.sync_api import Browser, expect, sync_playwright

from annotation.database import Database
from core.scorer import Scorer
from core.settings import Settings
from core.training.registry import ModelRegistry
from tests.webapp.studies import RemoteRater, SmallStudy, make_study, rows
from webapp.app import build_app, server_config
from webapp.judge import Judge
from webapp.pages import build_pages

# Gradio's own statistics use what pandas 3 deprecates; raised as an error it would stop Gradio's queue.
GRADIO_AND_PANDAS = "ignore::pandas.errors.Pandas4Warning"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings(GRADIO_AND_PANDAS))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def make_app(scorer: Scorer, settings: Settings) -> FastAPI:
    """Everything in one process."""
    return build_app(build_pages(Judge(scorer, ModelRegistry(settings.models)), settings), settings)


@contextmanager
def running(app: FastAPI, settings: Settings) -> Iterator[str]:
    """Serve an app in a thread; give its address, which ends with a slash."""
    config = server_config(app, settings)
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # raised as the configuration sets it
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{settings.port}/"
    server.should_exit = True
    thread.join()


@contextmanager
def in_process(app: FastAPI) -> Iterator[TestClient]:
    """Ask an app without a server, as if from its own machine; redirections are not followed."""
    local = {"base_url": "http://127.0.0.1:7860", "client": ("127.0.0.1", 50_000)}
    with TestClient(app, follow_redirects=False, **local) as one:
        yield one


def sign_in(app: FastAPI, client: TestClient | httpx.Client) -> httpx.Response:
    """Make a client the administrator's by the link of the terminal."""
    return client.get(app.state.administration.link)


class Clock:
    """Stands still until a test moves it on."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session", autouse=True)
def _gradios_variables() -> Iterator[None]:
    """`build_pages` changes the environment of its process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("GRADIO_")]:
            patch.delenv(name)
        patch.setenv("GRADIO_TEMP_DIR", "")
        yield


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What the server runs with: a port of its own, and an empty data folder."""
    return Settings(port=free_port(), data=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="session")
def app(scorer: Scorer, settings: Settings) -> FastAPI:
    return make_app(scorer, settings)


@pytest.fixture(scope="module")
def own_study(settings: Settings) -> str:
    """The name of a study in the data folder of a module that has `settings` of its own."""
    database = Database(settings.database_url)
    name = make_study(database, settings.data).name
    database.close()
    return name


@pytest.fixture(scope="module")
def own_app(scorer: Scorer, settings: Settings, own_study: str) -> FastAPI:
    """The app over that study."""
    return make_app(scorer, settings)


@pytest.fixture(scope="session")
def address(app: FastAPI, settings: Settings) -> Iterator[str]:
    """Where the pages are served."""
    with running(app, settings) as one:
        yield one


@pytest.fixture(scope="session")
def client(address: str) -> Client:
    return Client(address, verbose=False)


@pytest.fixture(scope="session")
def http(address: str) -> Iterator[httpx.Client]:
    """A client without a browser's rules."""
    with httpx.Client(base_url=address, timeout=20) as one:
        yield one


@pytest.fixture(scope="session")
def database(settings: Settings, address: str) -> Iterator[Database]:
    """The server's database, as another process would open it."""
    one = Database(settings.database_url)
    yield one
    one.close()


@pytest.fixture(scope="session")
def study(database: Database, settings: Settings) -> SmallStudy:
    """A study that is large enough for every test that does not count its ratings."""
    return make_study(database, settings.data, raters=150, raters_per_clip=1000, training=0)


@pytest.fixture
def code(study: SmallStudy) -> str:
    """Of a rater who was not here yet."""
    return study.codes.pop()


@pytest.fixture
def rater(study: SmallStudy, http: httpx.Client) -> RemoteRater:
    """Someone who takes part."""
    return RemoteRater(http, study.codes.pop())


@pytest.fixture
def other(study: SmallStudy, http: httpx.Client) -> RemoteRater:
    """Another rater of the same study."""
    return RemoteRater(http, study.codes.pop())


@pytest.fixture
def nothing_stored(database: Database, rater: RemoteRater) -> Iterator[None]:
    """Whatever a test does while the rater is in a batch, no table gets a row."""
    rater.begin()
    before = rows(database)
    yield
    assert rows(database) == before


expect.set_options(timeout=20_000)  # ms; the machine may be busy with others

# Read when the module is imported: a fixture takes the settings away from the tests.
NAMED = os.environ.get("MUSICEVAL_CHROMIUM")
CHROMIUM = NAMED or shutil.which("chromium", path=f"/usr/bin{os.pathsep}{os.environ.get('PATH', '')}")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium at /usr/bin/chromium, on PATH or in MUSICEVAL_CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def look() -> tuple[int, str]:
    """Width in pixels and colour scheme of a page; tests may ask for others."""
    return 1280, "light"
