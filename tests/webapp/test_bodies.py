"""What a body may cost: sizes, parts, time, and how much is under way."""

import contextlib
import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from core.settings import Settings
from tests.webapp.conftest import Clock
from webapp import bodies
from webapp.bodies import DAY_S, MOST_BYTES, MOST_PARTS, TOOL, UPLOAD, Bodies
from webapp.guard import RateLimit

LARGE = "The request is larger than what can be scored at once."


def begin(
    address: str, path: str, n_bytes: int, kind: str = "multipart/form-data; boundary=x", asks: bool = False
) -> http.client.HTTPConnection:
    """Send the head of a request alone; one that `asks` waits until the server waits for its body."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(n_bytes))
    connection.putheader("Content-Type", kind)
    if asks:
        connection.putheader("Expect", "100-continue")
    connection.endheaders()
    if asks:
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
    return connection


@pytest.mark.parametrize(
    ("path", "n_bytes"),
    [
        (UPLOAD, 600_000_000),
        ("/gradio_api/queue/join", MOST_BYTES + 1),
        ("/gradio_api/run/predict", MOST_BYTES + 1),
        ("/gradio_api/call/score", MOST_BYTES + 1),
        (TOOL, 12_000_000),
        (TOOL.rstrip("/"), 12_000_000),
        ("/", MOST_BYTES + 1),
        ("/admin/", MOST_BYTES + 1),
        (f"/admin{UPLOAD}", 600_000_000),
    ],
)
def test_a_body_over_the_limit_is_refused_before_it_is_read(address: str, path: str, n_bytes: int) -> None:
    answer = begin(address, path, n_bytes).getresponse()
    assert (answer.status, answer.read().decode()) == (413, LARGE)


def test_a_body_of_unknown_length_is_refused(address: str) -> None:
    assert httpx.post(f"{address}gradio_api/upload", content=iter([b"x"])).status_code == 411


@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/call/score", TOOL])
@pytest.mark.parametrize("parts", ["[]", "{}", "0"])
def test_many_small_parts_do_not_keep_the_server_busy(address: str, path: str, parts: str) -> None:
    data = f"[{','.join([parts] * (900_000 // (len(parts) + 1)))}]"
    body = f'{{"data":{data},"fn_index":0,"session_hash":"x","event_data":null}}'
    began_s = time.monotonic()
    answer = httpx.post(address.rstrip("/") + path, content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.text) == (413, "The request has more parts than the pages send.")
    assert time.monotonic() - began_s < 1  # 1.3 to 2.6 s where it is parsed


def test_one_long_text_is_read(address: str) -> None:
    body = {"data": ["a" * 900_000, ",[{" * (MOST_PARTS // 4)], "fn_index": 0, "session_hash": "x", "event_data": None}
    assert httpx.post(f"{address}gradio_api/queue/join", json=body).status_code == 200


@pytest.fixture
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "EACH_MEGABYTE_S", 0.3)


@pytest.mark.usefixtures("little_time")
@pytest.mark.parametrize("path", [UPLOAD, "/gradio_api/queue/join", "/listening/enter", "/admin/"])
def test_a_body_that_does_not_come_is_not_waited_for(address: str, path: str) -> None:
    connection = begin(address, path, 60_000)
    connection.send(b"--x\r\n")
    began_s = time.monotonic()
    answer = connection.getresponse()
    assert (answer.status, answer.read().decode()) == (408, "The request's body came too slowly.")
    assert 0.2 < time.monotonic() - began_s < 5


@pytest.mark.usefixtures("little_time")
def test_a_slow_upload_goes_on_while_megabytes_come(address: str) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
    content = bytes(4_000_000)
    end = b"\r\n--x--\r\n"
    connection = begin(address, UPLOAD, len(form) + len(content) + len(end))
    connection.send(form)
    for number in range(4):
        time.sleep(0.15)
        connection.send(content[number * 1_000_000 : (number + 1) * 1_000_000])
    connection.send(end)
    assert connection.getresponse().status == 200


def test_what_is_under_way_is_bounded_and_small_bodies_pass(address: str) -> None:
    """Connections that hold the end of much back keep no rater out."""
    path, n_bytes = "/gradio_api/queue/join", 900_000
    holding = []
    for _ in range(bodies.MOST_JSON_IN_FLIGHT // n_bytes):
        holding.append(begin(address, path, n_bytes, "application/json"))
        holding[-1].send(b" " * (n_bytes - 1))
    refused = None
    while refused is None:  # until the server has taken in what was sent
        connection = begin(address, path, n_bytes)
        connection.sock.settimeout(2)
        with contextlib.suppress(TimeoutError), contextlib.closing(connection):
            refused = connection.getresponse()
    assert (refused.status, refused.getheader("retry-after")) == (503, "5")
    assert httpx.post(f"{address}listening/enter", json={"code": "WRONG"}, timeout=20).status_code == 401
    for connection in holding:
        connection.close()
    status = 503
    while status == 503:  # until the server has seen that they went
        with contextlib.closing(begin(address, path, n_bytes, "application/json")) as connection:
            connection.send(b" " * n_bytes)
            status = connection.getresponse().status
    assert status == 422


@dataclass
class Disk:
    """A server of its own that takes uploads, and a disk on which they lie."""

    free: int
    visitor_bytes: int
    stored: int = 0

    def __post_init__(self) -> None:
        self.app = Bodies(self._store, 100_000_000, 0, self.visitor_bytes)

    async def _store(self, scope: Scope, receive: Receive, send: Send) -> None:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            self.free -= len(message["body"])
            self.stored += len(message["body"])
        await PlainTextResponse("stored")(scope, receive, send)

    def upload(self, n_bytes: int, client: str = "192.0.2.1", content: bytes = b"x") -> httpx.Response:
        return TestClient(self.app, client=(client, 1)).post(UPLOAD, content=content * n_bytes)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], Disk]:
    def make(free: int, visitor_bytes: int) -> Disk:
        made = Disk(free, visitor_bytes)
        monkeypatch.setattr("webapp.bodies._free_bytes", lambda: made.free)
        return made

    return make


def test_one_visitor_uploads_so_much_in_a_day(disk: Callable[[int, int], Disk], clock: Clock) -> None:
    one = disk(10**12, 3_000_000)
    one.app._shares = RateLimit(1, DAY_S, clock)
    assert [one.upload(1_000_000).status_code for _ in range(3)] == [200] * 3
    refused = one.upload(1_000_000)
    assert refused.status_code == 429
    assert refused.text == "One visitor may upload 3 MB a day here. Wait 8 h, or upload less."
    assert int(refused.headers["retry-after"]) == pytest.approx(DAY_S / 3, abs=2)
    assert one.upload(1_000_000, "192.0.2.2").status_code == 200
    clock.now_s += DAY_S / 3
    assert [one.upload(1_000_000).status_code for _ in range(2)] == [200, 429]
    assert one.upload(4_000_000, "192.0.2.3").status_code == 429  # nothing of it is stored
    assert one.stored == 5_000_000


def test_one_visitor_leaves_room_for_the_others(disk: Callable[[int, int], Disk]) -> None:
    one = disk(40_000_000, 10**12)
    while one.upload(500_000).status_code == 200:
        pass
    assert 0.37 < one.stored / 40_000_000 < 0.40
    assert one.upload(500_000, "192.0.2.2").status_code == 200


def test_small_files_count_by_what_they_take(disk: Callable[[int, int], Disk]) -> None:
    one = disk(10**12, 100_000)
    field = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n\r\n'
    assert [one.upload(4, content=field).status_code for _ in range(4)] == [200, 200, 200, 429]


def test_what_does_not_come_counts_nothing(address: str, settings: Settings, http: httpx.Client) -> None:
    """An upload of a whole day's share that breaks off, again and again."""
    for _ in range(3 * round(settings.visitor_bytes / 500_000_000)):
        begun = begin(address, UPLOAD, 500_000_000)
        begun.send(b"--x\r\n")
        begun.close()
    deadline_s = time.monotonic() + 60
    while http.post("/gradio_api/upload", files={"files": ("a.wav", b"x")}).status_code != 200:
        assert time.monotonic() < deadline_s


def test_uploads_leave_room(
    address: str, http: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = settings.reserve_bytes + 50_000_000
    monkeypatch.setattr("webapp.bodies._free_bytes", lambda: free)
    monkeypatch.setattr(RateLimit, "take", lambda *_: 0.0)  # as if each came from another address
    files = {"files": ("a.wav", b"x" * 1_000)}
    assert http.post("/gradio_api/upload", files=files).status_code == 200
    large = begin(address, UPLOAD, 40_000_000, asks=True)  # under way, and nothing of it there yet
    answer = http.post("/gradio_api/upload", files={"files": ("a.wav", b"x" * 20_000_000)})
    assert (answer.status_code, "disk of this server is full" in answer.text) == (507, True)
    assert http.post("/gradio_api/upload", files=files).status_code == 200
    large.close()
    assert http.get("/listening/place").status_code == 401
