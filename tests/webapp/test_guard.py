"""Nothing of the machine can be read or reached through the server, whatever is asked."""

import http.client
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from gradio_client import Client

from tests.clips import write_clip
from tests.webapp.conftest import Clock
from webapp.guard import RateLimit

ROOT = Path(__file__).parents[2]
SECRETS = ("/etc/passwd", str(ROOT / "app.py"), str(ROOT / "pyproject.toml"))
CONTENTS = ("root:x:", "EXIT_MISTAKE", "[tool.ruff]")
UP = "../" * 12
FILE = {"meta": {"_type": "gradio.FileData"}}


@pytest.fixture
def private_clip(tmp_path: Path) -> Path:
    """A clip on the server's machine that nobody uploaded: reading it would give a score."""
    return write_clip(tmp_path / "private.wav")


@pytest.fixture
def neighbour() -> Iterator[tuple[str, list[str]]]:
    """Another server on this machine, with the list of what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/clip.wav", asked
        server.shutdown()


def get(address: str, path: str) -> tuple[int, str]:
    """Ask for a path exactly as it is written: other clients tidy up dots and slashes."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read(20_000).decode(errors="replace")


def call(address: str, fn_index: int, data: list[Any], **more: Any) -> str:
    """Call any handler by its number, as the page's script does; give all that the server says."""
    session = f"test{time.monotonic_ns()}"
    body = {"data": data, "fn_index": fn_index, "session_hash": session, "event_data": None, **more}
    joined = httpx.post(f"{address}gradio_api/queue/join", json=body)
    if joined.status_code != 200:
        return joined.text
    said = httpx.get(f"{address}gradio_api/queue/data", params={"session_hash": session}, timeout=30)
    return said.text


def handlers(address: str, of: str = "") -> list[dict[str, Any]]:
    """All handlers of the visitors' page, or those of them that an element has to do with."""
    config = httpx.get(f"{address}config").json()
    names = {part["id"]: part["props"].get("elem_id") or part["type"] for part in config["components"]}
    found = []
    for handler in config["dependencies"]:
        parts = [*handler["inputs"], *(part for part, _ in handler["targets"])]
        if not of or of in [names.get(part) for part in parts]:
            found.append(handler)
    return found


@pytest.mark.parametrize(
    "pattern",
    [
        "/gradio_api/file={0}",
        "/gradio_api/file={1}",
        "/gradio_api/file=" + UP + "{0}",
        "/gradio_api/file=//{0}",
        "/gradio_api/file=./{0}",
        "/gradio_api/file=file://{0}",
        "/gradio_api/file=FILE:{0}",
        "/gradio_api/file={2}/" + UP + "{0}",
        "/gradio_api/file={2}/" + "..%2f" * 12 + "{1}",
        "/gradio_api/file=%2e%2e%2f%2e%2e%2f{1}",
        "/gradio_api/file/{0}",
        "/gradio_api/proxy=file://{0}",
        "/gradio_api/custom_component/audio/client/{1}/{1}",
        "/gradio_api/stream/a/b/1/playlist-file",
        "/gradio_api/runs",
        "/gradio_api/deep_link?session_hash={0}",
        "/?deep_link=" + UP + "{0}",
        "/file={0}",
        "/file/{0}",
        "/static/" + UP + "{0}",
        "/static/" + "..%2f" * 12 + "{1}",
        "/assets/" + UP + "{0}",
        "/assets/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{0}",
        "/svelte/" + UP + "{0}",
        "/custom_component/../../{0}",
        "/monitoring/summary",
        "/admin/monitoring/summary",
        "/admin/gradio_api/file={0}",
        "/admin/assets/" + UP + "{0}",
        "//{0}",
        "/" + UP + "{0}",
    ],
)
def test_no_address_reads_a_file(address: str, pattern: str) -> None:
    for secret, content in zip(SECRETS, CONTENTS, strict=True):
        path = pattern.format(secret, quote(secret, safe=""), os.environ["GRADIO_TEMP_DIR"])
        status, text = get(address, path)
        assert content not in text, path
        assert status >= 400 or "window.gradio_config" in text, path


@pytest.mark.parametrize(
    "path",
    [
        "process_recording",
        "component_server",
        "vibe-edit",
        "vibe-code",
        "run-history/connect",
        "run/score",
        "api/score",
        "stream/1",
        "mcp/sse",
        "dev/reload",
        "profiling/traces",
    ],
)
def test_what_the_pages_do_not_need_is_not_served(http: httpx.Client, path: str) -> None:
    for page in ("", "admin/"):
        for method in ("GET", "POST"):
            answer = http.request(method, f"/{page}gradio_api/{path}")
            assert (answer.status_code, answer.text) == (404, "This address is not served.")


def test_no_handler_takes_a_path_for_a_clip(address: str, private_clip: Path) -> None:
    path = str(private_clip)
    uploads = os.environ["GRADIO_TEMP_DIR"]
    clips = [
        path,
        FILE | {"path": path},
        FILE | {"path": path, "is_stream": True},
        FILE | {"path": path, "url": f"{address}gradio_api/file={path}"},
        FILE | {"path": f"file://{path}"},
        FILE | {"path": f"{uploads}/{UP}{path}"},
        FILE | {"path": f"//{path}"},
        {"path": path},
        {"__type__": "update", "value": FILE | {"path": path}},
        {"path": "", "inner": FILE | {"path": path}},
    ]
    for handler in handlers(address, of="clip"):
        for clip in clips:
            said = call(address, handler["id"], [clip, "piano", "judge"][: len(handler["inputs"])])
            assert '"success":true' not in said.replace(" ", ""), (handler["id"], clip)
            assert "musical_impression" not in said
            assert "me-value" not in said
    assert list(Path(uploads).rglob(private_clip.name)) == []


def test_no_handler_takes_a_path_for_a_prompt(address: str, client: Client, private_clip: Path) -> None:
    prompt = FILE | {"path": str(private_clip)}
    for handler in handlers(address):
        said = call(address, handler["id"], [None, prompt, "judge"][: len(handler["inputs"])])
        assert str(Path(os.environ["GRADIO_TEMP_DIR"])) not in said
    assert list(Path(os.environ["GRADIO_TEMP_DIR"]).rglob(private_clip.name)) == []


@pytest.mark.parametrize("number", [-1, 20, 10**12, "0", None, [0], True], ids=str)
def test_only_examples_can_be_chosen(address: str, number: object) -> None:
    (choice,) = handlers(address, of="examples")
    said = call(address, choice["id"], ["judge"], event_data={"number": number})
    assert "There is no such example." in said


@pytest.mark.parametrize("file", [{}, {"name": [], "bytes": "0"}, {"bytes": [1]}], ids=str)
def test_only_a_file_with_a_size_is_refused_for_it(address: str, file: dict[str, Any]) -> None:
    refusal = next(handler for handler in handlers(address) if handler["targets"][0][1] == "too_large")
    assert "There is no such file." in call(address, refusal["id"], [], event_data=file)


def test_a_hostile_file_name_is_harmless(address: str) -> None:
    refusal = next(handler for handler in handlers(address) if handler["targets"][0][1] == "too_large")
    said = call(address, refusal["id"], [], event_data={"name": "<img src=x>" * 99, "bytes": 2e8})
    assert "has 200.0 MB; the limit is 100 MB." in said
    assert "<img" not in said


def test_no_address_is_fetched(address: str, neighbour: tuple[str, list[str]]) -> None:
    url, asked = neighbour
    for handler in handlers(address):
        for clip in (url, FILE | {"path": url}, FILE | {"path": "a", "url": url}, {"path": url, "url": url}):
            said = call(address, handler["id"], [clip, clip, "judge"][: len(handler["inputs"])])
            assert "musical_impression" not in said
    for path in (f"file={url}", f"file={quote(url, safe='')}", f"file=HTTP{url[4:]}", f"proxy={url}"):
        assert get(address, f"/gradio_api/{path}")[0] in (403, 404)
    assert asked == []


@pytest.mark.parametrize(
    "name",
    ["../../escaped.wav", "/tmp/escaped.wav", "..\\escaped.wav", "a\x00b.wav", "..", ".", "%2e%2e%2fa", "a" * 5000],
)
def test_an_upload_stays_in_its_folder(address: str, name: str) -> None:
    answer = httpx.post(f"{address}gradio_api/upload", files={"files": (name, b"content")})
    uploads = Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
    if answer.status_code == 200:
        assert all(Path(path).resolve().is_relative_to(uploads) for path in answer.json())
    assert not Path(tempfile.gettempdir(), "escaped.wav").exists()


def test_an_upload_that_claims_another_type_is_not_run_by_the_browser(address: str) -> None:
    page = {"files": ("page.html", b"<script>alert(1)</script>")}
    (path,) = httpx.post(f"{address}gradio_api/upload", files=page).json()
    answer = httpx.get(f"{address}gradio_api/file={path}")
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize("host", ["evil.example/x", 'x"><script>', "a b", "", "[::1", "a@b"])
def test_a_host_that_is_none_is_refused(address: str, host: str) -> None:
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
    connection.request("GET", "/", headers={"Host": host})
    assert connection.getresponse().status == 400


@pytest.mark.parametrize("header", ["X-Forwarded-Host", "X-Gradio-Server"])
def test_no_header_gives_the_page_another_address(http: httpx.Client, header: str) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        answer = http.get(path, headers={header: "http://evil.example", "X-Forwarded-Proto": "https"})
        assert "evil.example" not in answer.text
        assert "https://127.0.0.1" not in answer.text
        assert answer.headers["cache-control"] == "no-store"


def test_the_page_tells_nothing_of_the_machine(address: str) -> None:
    for path in ("", "config", "gradio_api/info", "admin/", "admin/config"):
        text = httpx.get(f"{address}{path}").text
        assert str(ROOT) not in text
        assert tempfile.gettempdir() + "/" not in text
        assert os.uname().nodename not in json.dumps(text)


@pytest.fixture
def limit(clock: Clock) -> RateLimit:
    return RateLimit(3, 10.0, clock, most_clients=10)


def test_a_burst_then_one_each_refill(limit: RateLimit, clock: Clock) -> None:
    assert [limit.take("192.0.2.1") for _ in range(5)] == [0, 0, 0, 10, 10]
    clock.now_s += 4
    assert limit.take("192.0.2.1") == 6
    clock.now_s += 6
    assert [limit.take("192.0.2.1") for _ in range(2)] == [0, 10]
    clock.now_s += 30
    assert [limit.take("192.0.2.1") for _ in range(4)] == [0, 0, 0, 10]


def test_attempts_cost_more_or_less(limit: RateLimit, clock: Clock) -> None:
    assert [limit.take("192.0.2.1", 0.5) for _ in range(7)] == [0] * 6 + [5]
    limit.correct("192.0.2.1", -1.5)
    assert [limit.take("192.0.2.1", 2.0), limit.take("192.0.2.1", 1.5)] == [5, 0]
    limit.correct("192.0.2.1", 2.0)  # whatever it comes to
    assert limit.take("192.0.2.1", 0.0) == 20
    clock.now_s += 50
    assert limit.take("192.0.2.1", 3.5) == 5
    limit.correct("192.0.2.1", -9.0)
    assert [limit.take("192.0.2.1") for _ in range(4)] == [0, 0, 0, 10]  # nothing is saved up


def test_each_client_for_itself_and_an_ipv6_network_is_one(limit: RateLimit) -> None:
    assert [limit.take(f"192.0.2.{number}") for number in range(2) for _ in range(3)] == [0] * 6
    assert [limit.take(f"2001:db8:0:1::{number}") for number in range(1, 5)] == [0, 0, 0, 10]
    assert [limit.take(one) for one in ("2001:db8:0:2::1", "fe80::1%eth0", "no address")] == [0, 0, 0]


def test_memory_is_bounded(limit: RateLimit, clock: Clock) -> None:
    for number in range(100):
        clock.now_s += 10
        limit.take(f"client {number}")
    assert len(limit) <= 11
