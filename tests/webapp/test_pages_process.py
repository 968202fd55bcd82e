"""The pages in a process of their own: what is asked reaches them as it came, and raters wait for nothing there."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from core.settings import JOURNAL_URL, SECRETS, Settings
from tests.webapp.conftest import free_port, running
from webapp.app import build_app
from webapp.pages_process import PagesProcess

BY_CLIENT = {"host", "accept", "accept-encoding", "user-agent"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(port=free_port(), data=tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def app(settings: Settings) -> FastAPI:
    return build_app(PagesProcess("tests.webapp.other_pages").app(), settings)


@pytest.fixture(scope="module")
def http(app: FastAPI, settings: Settings) -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as patch:
        for name in (*SECRETS, "OAUTH_CLIENT_SECRET"):
            patch.setenv(name, "memory://a-long-secret")
        with running(app, settings) as address, httpx.Client(base_url=address, timeout=60) as one:
            yield one


def test_a_request_reaches_the_pages_as_it_came(http: httpx.Client, settings: Settings) -> None:
    answer = http.post("/a%2Fb/c%20d?e=%26&f", content=b"x" * 300_000, headers={"x-many": "1", "te": "trailers"})
    said = answer.json()
    assert answer.status_code == 203
    assert answer.headers.get_list("set-cookie") == ["a=1; Path=/; SameSite=lax", "b=1; Path=/; SameSite=lax"]
    assert (said["method"], said["path"], said["query"]) == ("POST", "/a%2Fb/c%20d", "e=%26&f")
    assert (said["scheme"], said["client"], said["bytes"]) == ("http", "127.0.0.1", 300_000)
    headers = dict(said["headers"])
    assert headers["host"] == f"127.0.0.1:{settings.port}"
    assert headers.keys() == BY_CLIENT | {"content-length", "x-many"}


def test_an_upload_is_handed_on_as_it_comes(http: httpx.Client) -> None:
    assert http.post("/gradio_api/upload", content=b"x" * 20_000_000).json()["bytes"] == 20_000_000


@pytest.mark.parametrize(("method", "n_bytes"), [("HEAD", 0), ("DELETE", None)])
def test_every_method(http: httpx.Client, method: str, n_bytes: int | None) -> None:
    answer = http.request(method, "/any")
    assert answer.status_code == 203
    assert n_bytes is None or len(answer.content) == n_bytes


def test_nobody_can_say_that_somebody_else_asks(http: httpx.Client) -> None:
    invented = {f"x-musiceval-{name}": "invented" for name in ("client", "scheme", "who", "other")}
    said = http.get("/", headers=invented).json()
    assert (said["client"], said["scheme"]) == ("127.0.0.1", "http")
    assert not any(name.startswith("x-musiceval") for name, _ in said["headers"])


def test_the_pages_know_no_secret_but_where_the_journal_is(http: httpx.Client) -> None:
    withheld = SECRETS | {"OAUTH_CLIENT_SECRET"}
    assert set(http.get("/").json()["environment"]) & withheld == {JOURNAL_URL}


def test_events_come_one_by_one_until_the_caller_leaves(http: httpx.Client) -> None:
    with http.stream("GET", "/events") as answer:
        started_s = time.monotonic()
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(5)] == ["data: 0", "", "data: 1", "", "data: 2"]
        assert time.monotonic() - started_s > 0.3
    deadline_s = time.monotonic() + 60
    while "events" not in http.get("/").json()["left"]:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_an_answer_that_breaks_off_does_so_for_the_caller(http: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        http.get("/cut")


def test_a_refusal_comes_before_the_end_of_a_body(http: httpx.Client) -> None:
    for _ in range(10):
        answer = http.post("/refuse", content=b"x" * 900_000)
        assert (answer.status_code, answer.text) == (413, "no")


def test_raters_do_not_wait_for_the_pages(http: httpx.Client) -> None:
    http.get("/")
    busy = threading.Thread(target=http.get, args=("/block",))
    busy.start()
    longest_s = 0.0
    while busy.is_alive():
        asked_s = time.monotonic()
        assert http.get("/listening/place").status_code == 401
        longest_s = max(longest_s, time.monotonic() - asked_s)
    assert longest_s < 2  # the pages were away for 4


def test_pages_that_die_come_again(http: httpx.Client, caplog: pytest.LogCaptureFixture) -> None:
    before = http.get("/").json()["process"]
    away = http.get("/die")
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert "the listening test goes on" in away.text
    assert http.get("/listening/").status_code == 200
    assert http.get("/").json()["process"] != before  # waits for them
    assert "exit code 1" in caplog.text


def test_the_pages_end_when_the_server_was_killed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [sys.executable, "-m", "tests.webapp.other_pages", str(listener.fileno())]
        with subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, pass_fds=[listener.fileno()]) as process:
            assert process.stdin is not None
            process.stdin.write(b"\n")
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            asked = {"x-musiceval-client": "10.0.0.1", "x-musiceval-scheme": "https"}
            said = httpx.get(address, headers=asked, timeout=60).json()
            assert (said["client"], said["scheme"]) == ("10.0.0.1", "https")
            process.stdin.close()
            assert process.wait(60) == 0


def test_the_pages_end_with_the_server(tmp_path: Path) -> None:
    settings = Settings(port=free_port(), data=tmp_path)
    with running(build_app(PagesProcess("tests.webapp.other_pages").app(), settings), settings) as address:
        process = httpx.get(address, timeout=60).json()["process"]
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
