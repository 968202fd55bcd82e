"""Two servers on one PostgreSQL database and one data folder, behind a proxy that asks them in turn; one is killed."""

import http.client
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

import app
from annotation.database import Database
from annotation.stress import _CLAIMS
from core.settings import Settings
from tests.webapp.conftest import free_port
from tests.webapp.studies import make_study
from tests.webapp.test_killed_server import RATERS, KilledServer, ScriptedRater, compare, wait_for_all
from webapp.auth import SIGN_OUT
from webapp.listening_api import StudyStores, listening_app

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(900)]
PASSWORD = "correct horse battery"
NEEDED = RATERS - 1  # ratings of a clip, so that raters compete for the clips
OF_CONNECTION = ("connection", "transfer-encoding", "content-length")


class RoundRobin(ThreadingHTTPServer):
    """Asks one server after the other, whoever asks; where one cannot be connected to, the next."""

    def __init__(self, ports: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Forward)
        self.ports = ports
        self.answered: Counter[int] = Counter()
        self.first = itertools.cycle(range(len(ports)))

    def in_turn(self) -> list[int]:
        first = next(self.first)
        return self.ports[first:] + self.ports[:first]


class Forward(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: RoundRobin

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        for port in self.server.in_turn():
            try:
                self.answer(port, body)
            except ConnectionRefusedError:
                continue
            except (OSError, http.client.HTTPException):  # it may have been done, so it is not sent again
                break
            return
        self.close_connection = True

    do_GET = do_POST = forward  # noqa: N815 - as http.server calls them

    def answer(self, port: int, body: bytes) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        self.server.answered[port] += 1
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in OF_CONNECTION:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def behind_a_proxy(ports: list[int]) -> Iterator[RoundRobin]:
    with RoundRobin(ports) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()


@pytest.fixture
def servers(tmp_path: Path, random_checkpoint: Path, postgresql_url: str) -> Iterator[list[KilledServer]]:
    both = []
    for number in range(2):
        settings = Settings(port=free_port(), data=tmp_path / "data", database=postgresql_url, admin_password=PASSWORD)
        both.append(KilledServer(settings, random_checkpoint, tmp_path / f"log {number}", app.main))
    starts = [threading.Thread(target=server.start) for server in both]  # at once
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    yield both
    for server in both:
        server.kill()


def is_signed_in(administrator: httpx.Client) -> bool:
    """Ask each server, or the one that is left twice."""
    statuses = {administrator.get("/admin/config").status_code for _ in range(2)}
    assert statuses in ({200}, {401})
    return statuses == {200}


def test_one_of_two_is_killed_and_the_other_goes_on(
    servers: list[KilledServer], tmp_path: Path, postgresql_url: str
) -> None:
    database = Database(postgresql_url)
    rules = {"batch_size": 12, "anchors": 4, "raters": RATERS, "raters_per_clip": NEEDED, "training": 0}
    study = make_study(database, tmp_path / "data", stimuli=120, duration_s=0.05, **rules)
    ports = [int(server.address.rpartition(":")[2]) for server in servers]
    with behind_a_proxy(ports) as proxy:
        address = f"http://127.0.0.1:{proxy.server_port}"
        administrator = httpx.Client(base_url=address, timeout=120)
        assert not is_signed_in(administrator)
        assert administrator.post("/admin/", data={"password": PASSWORD}).status_code == 303
        assert is_signed_in(administrator)  # at both: requests go to them in turn
        raters = [ScriptedRater(address, code) for code in study.codes]
        for rater in raters:
            rater.start()
        wait_for_all(raters)
        assert min(proxy.answered[port] for port in ports) > RATERS
        servers[0].kill()
        before = proxy.answered.copy()
        for _ in range(3):
            wait_for_all(raters)
        assert is_signed_in(administrator)
        for rater in raters:
            rater.stopped.set()
        for rater in raters:
            rater.join(timeout=60)
        after = proxy.answered - before
        assert after[ports[0]] <= RATERS  # what was answered and not counted yet
        assert after[ports[1]] > 3 * RATERS
        assert administrator.post(SIGN_OUT).status_code == 303
        assert not is_signed_in(administrator)
        administrator.close()
    assert [rater.wrong for rater in raters] == [[]] * RATERS
    compare(database, raters)
    with database.read() as session:
        for claims, different_raters, _ in session.execute(_CLAIMS, {"at": datetime.now(UTC)}):
            assert claims == different_raters <= NEEDED
    database.close()


def test_wrong_codes_are_counted_together(tmp_path: Path, postgresql_url: str) -> None:
    """Twenty at both servers, and not twenty at each."""
    both = []
    for _ in range(2):
        stores = StudyStores(Settings(data=tmp_path, database=postgresql_url, admin_password=PASSWORD))
        both.append((TestClient(listening_app(stores)), stores))
    clients = itertools.cycle(client for client, _ in both)
    statuses = Counter(next(clients).post("/enter", json={"code": "AAAA-AAAA"}).status_code for _ in range(24))
    assert statuses == {401: 20, 429: 4}
    for _, stores in both:
        stores.close()
