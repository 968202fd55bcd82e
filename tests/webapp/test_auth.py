"""Who is taken for the administrator, and that nobody else gets at anything under /admin."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect
from starlette.requests import Request
from starlette.routing import Mount, Route

from annotation.database import Database
from core.errors import AccessError
from core.scorer import Scorer
from core.settings import Settings
from tests.webapp.browsing import open_page, overflow
from tests.webapp.conftest import Clock, free_port, in_process, make_app, running
from tests.webapp.studies import CANARY, make_study, rows
from webapp.auth import SESSION_S, Administration

PASSWORD = "correct horse battery"
HERE = {"host": "127.0.0.1:7860"}
ELSEWHERE = "192.0.2.7"


def asking(headers: dict[str, str] = HERE, peer: str = "127.0.0.1", token: str = "") -> Request:
    given = {**headers, "cookie": f"musiceval-administrator={token}"} if token else headers
    raw = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "headers": raw, "client": (peer, 1)})


@pytest.fixture
def locked(clock: Clock) -> Administration:
    """With a password."""
    return Administration(Settings(admin_password=PASSWORD), {}, clock)


@pytest.mark.parametrize(
    ("headers", "peer"),
    [
        (HERE, "127.0.0.1"),
        ({"host": "LOCALHOST"}, "127.0.0.1"),
        ({"host": "[::1]:7860"}, "::1"),
        ({"host": "127.8.9.1:80"}, "127.0.0.5"),
        ({**HERE, "origin": "http://127.0.0.1:7860"}, "127.0.0.1"),
    ],
)
def test_without_a_password_whoever_sits_at_the_machine_is_the_administrator(
    headers: dict[str, str], peer: str
) -> None:
    assert Administration(Settings(), {}).allowed(asking(headers, peer))


PASSED_ON = (
    *("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Anything", "X-Real-IP", "Via"),
    *("CF-Connecting-IP", "True-Client-IP", "X-Original-URL"),
)


@pytest.mark.parametrize(
    ("headers", "peer"),
    [
        *(({**HERE, name: ELSEWHERE}, "127.0.0.1") for name in PASSED_ON),
        *((HERE, peer) for peer in (ELSEWHERE, f"::ffff:{ELSEWHERE}", "testclient")),
        *(
            ({"host": host}, "127.0.0.1")
            for host in ("rebound.example:7860", "localhost.example", "127.0.0.1.example", "[::1", "")
        ),
        ({}, "127.0.0.1"),
        *(
            ({**HERE, "origin": origin}, "127.0.0.1")
            for origin in ("http://elsewhere.example", "http://127.0.0.1:8000", "null", "http://[")
        ),
    ],
    ids=str,
)
def test_who_comes_from_elsewhere_is_not(headers: dict[str, str], peer: str) -> None:
    assert Administration(Settings(), {}).mode(asking(headers, peer)) == "off"


@pytest.mark.parametrize(
    ("host", "environment", "mode"),
    [
        ("localhost", {}, "open"),
        ("::1", {}, "open"),
        ("0.0.0.0", {}, "off"),
        ("192.0.2.1", {}, "off"),
        ("127.0.0.1", {"SPACE_ID": "someone/musiceval"}, "off"),
    ],
)
def test_a_server_that_others_reach_has_no_administrator_without_a_password(
    host: str, environment: dict[str, str], mode: str
) -> None:
    administration = Administration(Settings(host=host), environment)
    assert administration.mode(asking()) == mode
    with pytest.raises(AccessError, match="Administration is off"):
        administration.sign_in("", asking())


def test_a_session_lasts_twelve_hours(locked: Administration, clock: Clock) -> None:
    token = locked.sign_in(PASSWORD, asking())
    assert len(token) == 43
    clock.now_s += SESSION_S - 1
    assert locked.allowed(asking(peer=ELSEWHERE, token=token))
    clock.now_s += 1
    assert not locked.allowed(asking(token=token))


def test_the_server_keeps_no_token(locked: Administration) -> None:
    token, other = locked.sign_in(PASSWORD, asking()), locked.sign_in(PASSWORD, asking())
    assert token != other
    assert token not in repr(vars(locked))
    locked.sign_out(asking(token=token))
    assert (locked.allowed(asking(token=token)), locked.allowed(asking(token=other))) == (False, True)


def test_wrong_passwords_are_limited_for_each_address(locked: Administration, clock: Clock) -> None:
    guesser = asking(peer=ELSEWHERE)
    for guess in ("", "correct horse", f"{PASSWORD} ", PASSWORD.upper(), "\udcff"):
        with pytest.raises(AccessError, match="not the administrator's password"):
            locked.sign_in(guess, guesser)
    with pytest.raises(AccessError, match="Wait 30 s"):
        locked.sign_in(PASSWORD, guesser)
    for _ in range(20):  # right ones are not limited
        assert locked.sign_in(PASSWORD, asking(peer="192.0.2.8"))
    clock.now_s += 30
    assert locked.sign_in(PASSWORD, guesser)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path) -> Settings:
    """A data folder with a model, an unfinished run and a study; a password."""
    data = tmp_path_factory.mktemp("administration")
    shutil.copytree(random_checkpoint, data / "models" / f"{CANARY}-model")
    run = data / "models" / f"{CANARY}-run"
    run.mkdir()
    split = {"kind": "random", "seed": 0, "test_share": 0.15, "dev_share": 0.1, "folds": 0, "fold": 0}
    order = {"data": str(data / CANARY), "recipe": "frozen", "tower": "small", "split": split, "fields": {}}
    (run / "order.json").write_text(json.dumps(order))
    return Settings(port=free_port(), data=data, admin_password=PASSWORD)


@pytest.fixture(scope="module")
def study(settings: Settings) -> Iterator[str]:
    database = Database(settings.database_url)
    yield make_study(database, settings.data).name
    database.close()


@pytest.fixture(scope="module")
def app(scorer: Scorer, settings: Settings, study: str) -> FastAPI:
    return make_app(scorer, settings)


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Iterator[TestClient]:
    with in_process(app) as one:
        yield one


@pytest.fixture
def stranger(served: TestClient) -> TestClient:
    served.cookies.clear()
    return served


@pytest.fixture
def administrator(stranger: TestClient) -> TestClient:
    stranger.post("/admin/", data={"password": PASSWORD})
    return stranger


def admin_page(app: FastAPI) -> Any:
    return next(route.app for route in app.routes if isinstance(route, Mount) and route.path == "/admin")


def admin_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of everything that is served under /admin, with a word for each parameter."""
    documented = admin_page(app).openapi()["paths"]
    routes = [(f"/admin{path}", method.upper()) for path, methods in documented.items() for method in methods]
    routes += [(route.path, "GET") for route in app.routes if isinstance(route, Route)]
    for path, method in routes:
        if path.startswith("/admin/") and path != "/admin/":
            yield method, path.replace("{", "").replace("}", "")


def handlers(app: FastAPI) -> dict[int, Any]:
    """The administrator's, by their numbers."""
    return dict(admin_page(app).get_blocks().fns)


def call(client: TestClient, handler: int, data: list[Any]) -> str:
    """Call a handler of the administrator past the queue, as the page does by itself."""
    body = {"data": data, "fn_index": handler, "session_hash": "test", "event_data": None}
    return client.post("/admin/gradio_api/run/predict", json=body).text


@pytest.mark.parametrize("token", ["", "x" * 43, PASSWORD, "x" * 8000])
def test_no_route_serves_a_stranger(app: FastAPI, settings: Settings, stranger: TestClient, token: str) -> None:
    database = Database(settings.database_url)
    before, files = rows(database), sorted(settings.data.rglob("*"))
    asked = set(admin_routes(app))
    assert {("POST", "/admin/gradio_api/queue/join"), ("GET", "/admin/config")} <= asked
    assert any(path.startswith("/admin/export/") for _, path in asked)
    for method, path in asked:
        answer = stranger.request(method, path, headers={"cookie": f"musiceval-administrator={token}"})
        assert answer.status_code in (401, 404), (method, path)
        assert CANARY not in answer.text
    assert (rows(database), sorted(settings.data.rglob("*"))) == (before, files)
    database.close()


def test_a_stranger_is_asked_for_the_password(stranger: TestClient, study: str) -> None:
    assert stranger.get("/admin").headers["location"] == "admin/"
    page = stranger.get("/admin/")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "Administrator’s password" in page.text
    assert not any(word in page.text for word in (CANARY, PASSWORD, study, "gradio_config"))
    refused = stranger.post("/admin/", data={"password": "<guess>"})
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    assert "This is not the administrator&#39;s password." in refused.text


def test_who_signs_in_sees_studies_and_models_until_the_sign_out(
    app: FastAPI, stranger: TestClient, study: str
) -> None:
    answer = stranger.post("/admin/", data={"password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    cookie = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/admin/", f"Max-Age={SESSION_S}"} <= set(cookie)
    page = stranger.get("/admin/")
    assert "gradio_config" in page.text
    assert (page.headers["cache-control"], page.headers["x-frame-options"]) == ("no-store", "DENY")
    filling = {number: fn for number, fn in handlers(app).items() if fn.fn and fn.targets[0][1] == "load"}
    said = "".join(call(stranger, number, [None] * len(fn.inputs)) for number, fn in filling.items())
    assert study in said
    assert f"{CANARY}-model" in said
    assert stranger.post("/admin/sign-out").status_code == 303
    assert stranger.cookies == {}
    stranger.cookies.set("musiceval-administrator", cookie[0].partition("=")[2])
    assert stranger.get("/admin/config").status_code == 401


def test_a_cookie_is_secure_where_the_page_is(stranger: TestClient) -> None:
    for scheme, secure in (("https", True), ("http", False)):
        answer = stranger.post("/admin/", data={"password": PASSWORD}, headers={"x-forwarded-proto": scheme})
        assert ("Secure" in answer.headers["set-cookie"]) is secure


@pytest.mark.parametrize(
    ("headers", "answered"),
    [
        ({"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:7860"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://elsewhere.example"}, False),
        ({"origin": "http://127.0.0.1:8000"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://127.0.0.1:7860"}, True),
        ({"origin": "https://proxied.example", "x-forwarded-host": "proxied.example"}, True),
        ({}, True),
    ],
    ids=str,
)
def test_pages_elsewhere_cannot_act_for_the_administrator(
    administrator: TestClient, headers: dict[str, str], answered: bool
) -> None:
    answer = administrator.post("/admin/gradio_api/reset", json={"event_id": "x"}, headers=headers)
    assert (answer.status_code == 200) is answered


def test_visitors_are_sent_nothing_of_administration(app: FastAPI, stranger: TestClient) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        text = stranger.get(path).text
        for word in (CANARY, PASSWORD, "Studies", "Start training", "sign-out"):
            assert word not in text, path


def test_every_handler_of_the_administrator_is_private(app: FastAPI) -> None:
    assert len(handlers(app)) >= 15
    assert {fn.api_visibility for fn in handlers(app).values()} == {"private"}


def test_without_a_password_the_page_is_open_here_and_off_for_others(scorer: Scorer, tmp_path: Path) -> None:
    with in_process(make_app(scorer, Settings(data=tmp_path))) as one:
        page = one.get("/admin/")
        assert "gradio_config" in page.text
        assert "sign-out" not in page.text
        away = {"x-forwarded-for": ELSEWHERE}
        page = one.get("/admin/", headers=away)
        assert (page.status_code, "Administration is off for you." in page.text) == (403, True)
        assert "<form" not in page.text
        assert one.post("/admin/", data={"password": ""}, headers=away).status_code == 403
        assert one.get("/admin/config", headers=away).status_code == 403


@pytest.mark.browser
@pytest.mark.parametrize("look", [(1280, "light"), (390, "dark")], ids=str)
def test_signing_in_and_out(
    browser: Browser, scorer: Scorer, settings: Settings, study: str, look: tuple[int, str]
) -> None:
    with running(make_app(scorer, settings), settings) as address, open_page(browser, look) as page:
        page.goto(f"{address}#training")
        assert overflow(page) == 0
        page.get_by_label("Administrator’s password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Start training")).to_be_visible()
        expect(page).to_have_url(f"{address}admin/#training")
        assert overflow(page) == 0
        other = page.context.new_page()  # of the same browser
        other.goto(f"{address}admin/")
        expect(other.get_by_label("Study", exact=True)).to_have_value(study)
        other.get_by_role("button", name="Sign out").click()
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
        other.go_back()
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
        other.close()


@pytest.mark.browser
def test_who_is_signed_out_meanwhile_is_asked_again(
    browser: Browser, scorer: Scorer, settings: Settings, study: str
) -> None:
    page = browser.new_page()
    with running(make_app(scorer, settings), settings) as address:
        page.goto(f"{address}admin/")
        page.get_by_label("Administrator’s password").fill("guess")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the administrator's password.")
        page.get_by_label("Administrator’s password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("Study", exact=True)).to_have_value(study)
        page.context.clear_cookies()
        page.get_by_role("button", name="Refresh").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.close()
