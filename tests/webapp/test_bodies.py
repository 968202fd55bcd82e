"""What a body may cost: sizes, parts, time, and how much is under way."""

import http.client
import time
from urllib.parse import urlsplit

import httpx
import pytest

from core.settings import Settings
from webapp import bodies
from webapp.bodies import MOST_BYTES, MOST_PARTS, TOOL, UPLOAD

LARGE = "The request is larger than what can be scored at once."


def begin(
    address: str, path: str, n_bytes: int, kind: str = "multipart/form-data; boundary=x"
) -> http.client.HTTPConnection:
    """Send the head of a request alone."""
    place = urlsplit(address)
    connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
    connection.putrequest("POST", path)
    connection.putheader("Content-Length", str(n_bytes))
    connection.putheader("Content-Type", kind)
    connection.endheaders()
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
        (f"/admin{UPLOAD}", MOST_BYTES + 1),
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
    time.sleep(1)
    refused = begin(address, path, n_bytes).getresponse()
    assert (refused.status, refused.getheader("retry-after")) == (503, "5")
    assert httpx.post(f"{address}listening/enter", json={"code": "WRONG"}, timeout=20).status_code == 401
    for connection in holding:
        connection.close()
    time.sleep(1)
    connection = begin(address, path, n_bytes, "application/json")
    connection.send(b" " * n_bytes)
    assert connection.getresponse().status == 422


def test_uploads_leave_room(
    address: str, http: httpx.Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = settings.reserve_bytes + 50_000_000
    monkeypatch.setattr("webapp.bodies._free_bytes", lambda: free)
    files = {"files": ("a.wav", b"x" * 1_000)}
    assert http.post("/gradio_api/upload", files=files).status_code == 200
    large = begin(address, UPLOAD, 40_000_000)  # under way, and nothing of it there yet
    deadline_s = time.monotonic() + 200
    while (answer := http.post("/gradio_api/upload", files={"files": ("a.wav", b"x" * 20_000_000)})).status_code == 200:
        assert time.monotonic() < deadline_s
    assert (answer.status_code, "disk of this server is full" in answer.text) == (507, True)
    assert http.post("/gradio_api/upload", files=files).status_code == 200
    large.close()
    assert http.get("/listening/place").status_code == 401
