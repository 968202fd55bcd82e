"""What was done as the administrator stands in a file: when, by whom, and what was refused."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.routing import Mount

from core.settings import Settings
from tests.webapp.conftest import Clock, in_process, sign_in
from webapp.audit import FILE, SHOWN, Audit, Entry
from webapp.auth import name_of
from webapp.blocks import ACTIONS

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data=tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="module")
def administrator(own_app: FastAPI) -> Iterator[TestClient]:
    with in_process(own_app) as one:
        one.get("/admin/?token=made-up")
        sign_in(own_app, one)
        yield one


def noted(settings: Settings) -> list[tuple[str, str, str, bool]]:
    return [(entry.what, entry.about, entry.who, entry.done) for entry in Audit(settings.data).latest()]


def session(administrator: TestClient) -> str:
    """What the log calls the one that the administrator has."""
    return name_of(administrator.cookies["musiceval-administrator"])


def functions(app: FastAPI) -> dict[int, Any]:
    page: Any = next(
        route.app for route in app.state.pages.routes if isinstance(route, Mount) and route.path == "/admin"
    )
    return dict(page.get_blocks().fns)


def handlers(app: FastAPI) -> dict[str, int]:
    """The administrator's, by the names of their functions."""
    return {getattr(fn.fn, "__name__", ""): number for number, fn in functions(app).items()}


def load(app: FastAPI, client: TestClient) -> None:
    """Fill the page's menus, as it does by itself."""
    for number, fn in functions(app).items():
        if fn.fn and fn.targets[0][1] == "load":
            body = {"data": [None] * len(fn.inputs), "fn_index": number, "session_hash": "test", "event_data": None}
            client.post("/admin/gradio_api/run/predict", json=body).raise_for_status()


def call(client: TestClient, handler: int, *data: Any, event: Any = None) -> str:
    """Call a handler by the queue, as the page does."""
    body = {"data": data, "fn_index": handler, "session_hash": "test", "event_data": event}
    client.post("/admin/gradio_api/queue/join", json=body).raise_for_status()
    return client.get("/admin/gradio_api/queue/data", params={"session_hash": "test"}).text


def test_every_action_is_a_handler(own_app: FastAPI) -> None:
    assert ACTIONS.keys() <= handlers(own_app).keys()


def test_sign_ins_and_failures(administrator: TestClient, settings: Settings) -> None:
    assert noted(settings)[-2:] == [
        ("Sign in", f"{session(administrator)}, with the link", HERE, True),
        ("Sign in with a used or made-up link", "", HERE, False),
    ]


def test_actions_by_whom_and_what_was_refused(
    own_app: FastAPI, administrator: TestClient, settings: Settings, own_study: str
) -> None:
    load(own_app, administrator)
    here = handlers(own_app)
    assert "R03" in call(administrator, here["invite"], own_study, 2, True, "Ada, cello")
    assert noted(settings)[0] == ("Invite raters", f"{own_study}, 2, True", f"{session(administrator)}, {HERE}", True)
    assert "R09" in call(administrator, here["renew"], own_study, "R09")
    assert noted(settings)[0] == (
        "Give a rater a new code",
        f"{own_study}, R09",
        f"{session(administrator)}, {HERE}",
        False,
    )
    name = "a-20260301T120000Z.zip"
    assert administrator.get(f"/admin/export/{name}").status_code == 404
    assert noted(settings)[0][:2] == ("Download an export", name)
    call(administrator, here["act"], None, event={"action": "use", "name": "none"})
    assert noted(settings)[0] == ("Act on a model or run", "use, none", f"{session(administrator)}, {HERE}", False)
    before = len(noted(settings))
    call(administrator, here["act"], None, event={"action": "show", "name": "none"})
    call(administrator, here["table"])
    assert len(noted(settings)) == before


def test_it_is_shown_to_the_administrator(own_app: FastAPI, administrator: TestClient) -> None:
    shown = call(administrator, handlers(own_app)["table"])
    assert "Sign in with a used or made-up link" in shown
    assert "refused" in shown


def test_lines_are_added_and_private(tmp_path: Path) -> None:
    Audit(tmp_path / "new").note("One", "x")
    first = (tmp_path / "new" / FILE).read_bytes()
    Audit(tmp_path / "new").note("Two", "y\nz", about='"')
    assert (tmp_path / "new" / FILE).read_bytes().startswith(first)
    assert (tmp_path / "new" / FILE).stat().st_mode & 0o077 == 0
    assert [(entry.what, entry.who) for entry in Audit(tmp_path / "new").latest()] == [("Two", "y\nz"), ("One", "x")]


def test_the_latest_are_read_from_a_long_log(tmp_path: Path) -> None:
    log = Audit(tmp_path)
    for number in range(1200):
        log.note(f"{number}", "x" * 80)
    assert [entry.what for entry in log.latest()] == [f"{number}" for number in range(1199, 1199 - SHOWN, -1)]


def test_failures_do_not_fill_the_disk(tmp_path: Path, clock: Clock) -> None:
    log = Audit(tmp_path, clock)
    for _ in range(1000):
        log.note_failure("Guess", HERE)
    assert len(log.latest()) == 10
    clock.now_s += 60
    log.note_failure("Guess", HERE)
    assert log.latest()[0].about == "990 more before that are not noted"


def test_what_cannot_be_noted_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    Audit(tmp_path / "file").note("One", "x")
    assert "the audit log cannot be written" in caplog.text


def test_lines_go_after_so_many_days(tmp_path: Path, clock: Clock) -> None:
    """Others that are added at the same moment, by another process, stay."""
    log, other = Audit(tmp_path, clock, days=30), Audit(tmp_path)
    file = tmp_path / FILE
    ages = {"old": 31, "young": 29}
    now = datetime.now(UTC)
    times = {what: (now - timedelta(days=days)).isoformat(timespec="seconds") for what, days in ages.items()}
    lines = [asdict(Entry(at, what, "x", "", True)) for what, at in times.items()]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    other.note("another", "y")
    assert [entry.what for entry in log.latest()] == ["another", "young", "old"]
    log.note("now", "x")
    assert [entry.what for entry in log.latest()] == ["now", "another", "young"]
    file.write_text(json.dumps(lines[0]) + "\n")
    log.note("soon", "x")
    assert [entry.what for entry in log.latest()] == ["soon", "old"]
    clock.now_s += 86_400
    log.note("a day later", "x")
    assert [entry.what for entry in log.latest()] == ["a day later", "soon"]
