"""The log: as JSON an object a line with each request, and nothing personal; and what is said at the end."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from annotation.backups.durable import open_studies
from annotation.backups.storage import Storage
from annotation.database import Database
from annotation.session import listening
from core.settings import Settings
from tests.webapp.conftest import free_port
from tests.webapp.studies import CANARY, RemoteRater, make_study, rows
from tests.webapp.test_killed_server import KilledServer
from webapp import logs
from webapp.app import build_app, serve, server_config
from webapp.logs import JsonLines

ADDRESS = "203.0.113.77"
MAIL = "someone@example.org"
PROMPT = "a prompt that is nobody else's"
COMMENT = f"write to {MAIL}"


async def _pages(request: Request) -> JSONResponse:
    if request.url.path.endswith("fails"):
        raise RuntimeError(f"{PROMPT} of {MAIL}")
    return JSONResponse({})


class Lines(logging.Handler):
    """What would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonLines())
        self.written: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))

    def lines(self, event: str = "request") -> list[dict[str, object]]:
        return [line for line in map(json.loads, self.written) if line["event"] == event]


@pytest.fixture
def log() -> Iterator[Lines]:
    root, levels = (
        logging.getLogger(),
        {name: logging.getLogger(name).level for name in ("", "uvicorn.error", *logs._OURS)},
    )
    handlers, caught = root.handlers[:], Lines()
    logs.begin("json")
    root.handlers = [caught]
    yield caught
    root.handlers = handlers
    logging.captureWarnings(False)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    pages = Starlette(routes=[Route("/{path:path}", _pages, methods=["GET", "POST"])])
    settings = Settings(data=tmp_path, log="json", admin_password="a password of the site")
    inside = {"base_url": "http://127.0.0.1:7860", "client": (ADDRESS, 50_000), "raise_server_exceptions": False}
    with TestClient(build_app(pages, settings), **inside) as one:
        yield one


def test_a_line_has_route_status_and_duration_and_of_whom_numbers(
    client: TestClient, log: Lines, tmp_path: Path
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    study = make_study(database, tmp_path, stimuli=3, anchors=1, training=0)
    database.close()
    rater = RemoteRater(client, study.codes[0])
    task = rater.begin()
    rater.hear(task)
    assert rater.rate(task).json()["outcome"] == "saved"
    client.get("/nothing/of/ours")
    found = {(line["method"], line["route"]): line for line in log.lines()}
    for key in [("POST", "/listening/rate"), ("GET", "/listening/clip/{token}")]:
        line = found[key]
        assert (line["level"], line["status"], line["study"], line["trial"]) == ("info", 200, 1, 1)
        assert 0 < float(str(line["duration_s"])) < 10
        assert str(line["time"]).endswith("+00:00")
    assert found["GET", "pages"]["status"] == 200
    assert not {"study", "trial"} & found["GET", "pages"].keys()


def test_nothing_personal_is_logged(
    client: TestClient, log: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses, codes, tokens, prompts, file names, comments and mail addresses, sent wherever they can be sent."""
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    study = make_study(database, tmp_path, stimuli=3, anchors=1, training=0, prompt=PROMPT)
    database.close()
    rater = RemoteRater(client, study.codes[0])
    task = rater.begin()
    rater.hear(task)
    rater.post("rate", **{"token": task["token"], "comment": COMMENT, "played": [[0, 1]], MAIL: 3})
    rater.post("problem", token=task["token"], comment=COMMENT)
    client.post("/listening/enter", json={"code": MAIL})
    client.get(f"/listening/{MAIL}", headers={"X-Forwarded-For": ADDRESS, "Authorization": f"Bearer {MAIL}"})
    client.post("/admin/", data={"password": "guessed password"})
    client.get("/admin/", params={"token": "sesame"})
    client.post("/gradio_api/upload", files={"files": (f"{CANARY}.wav", b"0")})
    client.get("/fails", params={"prompt": PROMPT})

    def fails(*_: object) -> None:
        raise OSError(2, COMMENT, f"{CANARY}.wav")

    monkeypatch.setattr(listening, "current_step", fails)
    assert rater.get("place").status_code == 500
    next((tmp_path / "studies").rglob("*.wav")).unlink()
    logging.getLogger("another.program").warning(f"it says {MAIL} and %s", PROMPT)
    logging.getLogger("webapp").error("a message with %s", MAIL)
    logging.getLogger("py.warnings").warning("%s", MAIL)
    written = "\n".join(log.written)
    visit = rater.headers["Authorization"].removeprefix("Bearer ")
    secrets = (ADDRESS, MAIL, PROMPT, CANARY, COMMENT, task["token"], visit, study.codes[0], study.name)
    assert [one for one in (*secrets, "guessed password", "sesame", "testclient") if one in written] == []
    assert all(json.loads(line).keys() >= {"time", "level", "event"} for line in log.written)
    (failed,) = log.lines("a request of the listening test failed")
    assert (failed["level"], failed["error"]) == ("error", "FileNotFoundError")
    assert str(failed["where"]).count("listening_api.py") >= 1
    assert log.lines("a message with …")
    assert [line["status"] for line in log.lines() if line["route"] == "pages"][-1] in (0, 500)


def test_as_text_nothing_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = root.handlers[:]
    logs.begin("text")
    logs.say("MusicEval is here")
    assert (root.handlers, logs.of_uvicorn(), capsys.readouterr().out) == (before, {}, "MusicEval is here\n")
    logs.say_ended(1, 2)
    assert capsys.readouterr().out.startswith(
        "MusicEval has ended, and finished 1 answer that raters had under way. 2 "
    )


def test_what_uvicorn_says_is_json_too(log: Lines, tmp_path: Path) -> None:
    root = logging.getLogger()
    root.handlers = [logging.StreamHandler(sys.stderr)]
    root.handlers[0].setFormatter(JsonLines())
    config = server_config(build_app(Starlette(), Settings(data=tmp_path)), Settings(data=tmp_path))
    assert config.log_config is None
    root.handlers = [log]
    logging.getLogger("uvicorn.error").setLevel("WARNING")
    logging.getLogger("uvicorn.error").warning("Invalid %s request received.", "HTTP")
    assert log.lines("Invalid … request received.")


# The end


def serve_slowly() -> None:
    """The server without its pages; its journal takes a second for each commit."""
    put = Storage.put

    def slow(self: Storage, name: str, content: bytes | Path) -> None:
        if name.startswith("journal/"):
            time.sleep(1.0)
        put(self, name, content)

    Storage.put = slow  # type: ignore[method-assign]
    settings = Settings.from_environment(os.environ)
    logs.begin(settings.log)
    serve(build_app(Starlette(), settings), settings)


def test_what_is_under_way_at_the_end_is_finished(tmp_path: Path) -> None:
    """SIGTERM while an answer waits for its journal: it is saved, its rater is told so, and the log counts it."""
    settings = Settings(port=free_port(), data=tmp_path / "data", journal_url=str(tmp_path / "kept"))
    database = open_studies(settings, print)
    study = make_study(database, settings.data, stimuli=3, anchors=1, training=0, raters=2)
    database.close()
    server = KilledServer(settings, tmp_path, tmp_path / "log.txt", serve_slowly)
    server.environment["MUSICEVAL_LOG"] = "json"
    server.start()
    said: list[str] = []
    with httpx.Client(base_url=server.address, timeout=20) as client:
        rater = RemoteRater(client, study.codes[0])
        task = rater.begin()
        rater.hear(task)
        asking = threading.Thread(target=lambda: said.append(rater.rate(task).json()["outcome"]))
        asking.start()
        time.sleep(0.4)
        server.process.terminate()
        asking.join(15)
        server.process.join(30)
    assert (said, server.process.exitcode) == (["saved"], 0)
    lines = (tmp_path / "log.txt").read_text().splitlines()
    (ended,) = [line for line in map(json.loads, lines) if line["event"] == "ended"]
    assert (ended["answers"], ended["left"]) == (1, 0)
    kept = open_studies(settings, print)
    assert rows(kept)["responses"] == 1
    kept.close()
