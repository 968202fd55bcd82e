"""Who is taken for the administrator, and that nobody else gets at anything under /admin."""

import asyncio
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect
from starlette.requests import Request
from starlette.routing import Mount, Route

from annotation.database import Database
from core.scorer import Scorer
from core.settings import Settings
from tests.webapp.browsing import open_page, overflow
from tests.webapp.conftest import Clock, free_port, in_process, make_app, running
from tests.webapp.studies import CANARY, rows
from webapp.auth import ADDRESS_GUESS_S, GUESS_S, SESSION_S, Administration
from webapp.deadlines import OfProcess
from webapp.turns import MOST_OF_ONE

PASSWORD = "correct horse battery"
PAGE = "http://127.0.0.1:7860/admin/"
HERE = {"host": "127.0.0.1:7860"}
ELSEWHERE = "192.0.2.7"


def asking(headers: dict[str, str] = HERE, peer: str = "127.0.0.1", session: str = "") -> Request:
    given = {**headers, "cookie": f"musiceval-administrator={session}"} if session else headers
    raw = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    return Request({"type": "http", "headers": raw, "client": (peer, 1)})


async def here() -> bool:
    """The caller has not gone."""
    return False


@pytest.fixture
def later() -> Clock:
    """How much later it is than it is."""
    clock = Clock()
    clock.now_s = 0.0
    return clock


@pytest.fixture
def locked(later: Clock) -> Administration:
    """With a password."""
    return Administration(PASSWORD, PAGE, pytest.fail, OfProcess(lambda: time.monotonic() + later()))


def signed_in(administration: Administration) -> str:
    session = asyncio.run(administration.sign_in(PASSWORD, ELSEWHERE, here))
    assert session
    return session


def allowed(administration: Administration, session: str, peer: str = ELSEWHERE) -> bool:
    return asyncio.run(administration.allowed(asking(peer=peer, session=session)))


def test_a_session_lasts_twelve_hours(locked: Administration, later: Clock) -> None:
    session = signed_in(locked)
    assert len(session) == 43
    later.now_s += SESSION_S - 5
    assert allowed(locked, session)
    later.now_s += 5
    assert not allowed(locked, session)
    assert not allowed(locked, "")


def test_the_server_keeps_no_session(locked: Administration) -> None:
    session, other = signed_in(locked), signed_in(locked)
    assert session != other
    assert session not in repr({**vars(locked), **vars(locked._deadlines._kept)})  # type: ignore[attr-defined]
    asyncio.run(locked.sign_out(asking(session=session)))
    assert (allowed(locked, session), allowed(locked, other)) == (False, True)


@pytest.mark.parametrize("guess", ["", "correct horse", f"{PASSWORD} ", PASSWORD.upper(), "\udcff"])
def test_a_wrong_password_signs_nobody_in(locked: Administration, guess: str) -> None:
    assert asyncio.run(locked.sign_in(guess, ELSEWHERE, here)) is None


def test_a_right_password_gets_in_while_others_guess(locked: Administration) -> None:
    """From the same address too: behind a proxy that is not trusted there is no other."""

    async def among_guesses(guesses: int, guesser: str) -> float:
        trying = [asyncio.create_task(locked.sign_in("guess", guesser, here)) for _ in range(guesses)]
        await asyncio.sleep(0)
        began_s = time.monotonic()
        assert await locked.sign_in(PASSWORD, ELSEWHERE, here)
        took_s = time.monotonic() - began_s
        for task in trying:
            task.cancel()
        return took_s

    assert asyncio.run(among_guesses(5, ELSEWHERE)) < 5 * ADDRESS_GUESS_S + 1
    assert asyncio.run(among_guesses(200, "192.0.2.8")) < GUESS_S + 1


def test_guesses_are_few(locked: Administration) -> None:
    async def guess(addresses: list[str]) -> float:
        began_s = time.monotonic()
        await asyncio.gather(*(locked.sign_in("guess", address, here) for address in addresses))
        return time.monotonic() - began_s

    assert asyncio.run(guess([ELSEWHERE] * 5)) >= 5 * ADDRESS_GUESS_S
    assert asyncio.run(guess([f"192.0.2.{number}" for number in range(20)])) >= 20 * GUESS_S
    assert asyncio.run(guess([f"2001:db8::{number}" for number in range(5)])) >= 5 * ADDRESS_GUESS_S


def test_what_nobody_waits_for_is_not_compared(locked: Administration) -> None:
    async def gone() -> bool:
        return True

    async def guesses() -> float:
        began_s = time.monotonic()
        for _ in range(100):
            assert await locked.sign_in(PASSWORD, ELSEWHERE, gone) is None
        return time.monotonic() - began_s

    assert asyncio.run(guesses()) < GUESS_S * 100


def test_a_link_signs_in_once_and_the_next_is_printed() -> None:
    said: list[str] = []
    administration = Administration("", PAGE, said.append, OfProcess())
    administration.show_link()
    first = said[0].partition(f"{PAGE}?token=")[2]
    assert len(first) == 43
    session = asyncio.run(administration.follow(first))
    assert session
    assert allowed(administration, session)
    assert asyncio.run(administration.follow(first)) is None
    assert (len(said), first in said[1], administration.link in said[1]) == (2, False, True)


@pytest.mark.parametrize(("password", "page"), [(PASSWORD, PAGE), ("", "")], ids=["password", "a Space without"])
def test_elsewhere_there_is_no_link(password: str, page: str) -> None:
    administration = Administration(password, page, pytest.fail, OfProcess())
    administration.show_link()
    assert administration.link == ""
    assert asyncio.run(administration.follow("")) is None
    if not password:
        assert asyncio.run(administration.sign_in("", "127.0.0.1", here)) is None


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
def served(own_app: FastAPI) -> Iterator[TestClient]:
    with in_process(own_app) as one:
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
    routes = app.state.pages.routes
    return next(route.app for route in routes if isinstance(route, Mount) and route.path == "/admin")


def admin_routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and path of everything that is served under /admin, with a word for each parameter."""
    documented = admin_page(app).openapi()["paths"]
    routes = [(f"/admin{path}", method.upper()) for path, methods in documented.items() for method in methods]
    routes += [(route.path, "GET") for route in app.state.pages.routes if isinstance(route, Route)]
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


def test_visitors_who_ask_for_much_do_not_keep_the_administrator_waiting(
    own_app: FastAPI, administrator: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ninety events at once, from the administrator's own address; what runs meanwhile takes its time."""
    pages = own_app.state.pages.routes
    visitors = next(route.app.get_blocks() for route in pages if isinstance(route, Mount) and not route.path)
    score, gate = next(handler for handler in visitors.fns.values() if handler.api_name == "score"), Event()
    monkeypatch.setattr(score, "fn", lambda *_: gate.wait(20))

    def join(page: str, handler: int, data: list[Any]) -> int:
        body = {"data": data, "fn_index": handler, "session_hash": "test", "event_data": None}
        return administrator.post(f"{page}gradio_api/queue/join", json=body).status_code

    answers = [join("/", score._id, [None, ""]) for _ in range(90)]
    assert Counter(answers) == {200: MOST_OF_ONE, 503: 90 - MOST_OF_ONE}
    queued = next(number for number, handler in handlers(own_app).items() if handler.queue)
    assert join("/admin/", queued, [None] * len(handlers(own_app)[queued].inputs)) == 200
    gate.set()


@pytest.mark.parametrize("token", ["", "x" * 43, PASSWORD, "x" * 8000])
def test_no_route_serves_a_stranger(own_app: FastAPI, settings: Settings, stranger: TestClient, token: str) -> None:
    database = Database(settings.database_url)
    before, files = rows(database), sorted(settings.data.rglob("*"))
    asked = set(admin_routes(own_app))
    assert {("POST", "/admin/gradio_api/queue/join"), ("GET", "/admin/config")} <= asked
    assert any(path.startswith("/admin/export/") for _, path in asked)
    for method, path in asked:
        answer = stranger.request(method, path, headers={"cookie": f"musiceval-administrator={token}"})
        assert answer.status_code in (401, 404), (method, path)
        assert CANARY not in answer.text
    assert (rows(database), sorted(settings.data.rglob("*"))) == (before, files)
    database.close()


def test_a_stranger_is_asked_for_the_password(stranger: TestClient, own_study: str) -> None:
    assert stranger.get("/admin").headers["location"] == "admin/"
    page = stranger.get("/admin/")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    assert "Administrator’s password" in page.text
    assert not any(word in page.text for word in (CANARY, PASSWORD, own_study, "gradio_config"))
    refused = stranger.post("/admin/", data={"password": "<guess>"})
    assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    assert "This is not the administrator&#39;s password." in refused.text


def test_who_signs_in_sees_studies_and_models_until_the_sign_out(
    own_app: FastAPI, stranger: TestClient, own_study: str
) -> None:
    answer = stranger.post("/admin/", data={"password": PASSWORD})
    assert (answer.status_code, answer.headers["location"]) == (303, "./")
    cookie = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/admin/", f"Max-Age={SESSION_S}"} <= set(cookie)
    page = stranger.get("/admin/")
    assert "gradio_config" in page.text
    assert (page.headers["cache-control"], page.headers["x-frame-options"]) == ("no-store", "DENY")
    filling = {number: fn for number, fn in handlers(own_app).items() if fn.fn and fn.targets[0][1] == "load"}
    said = "".join(call(stranger, number, [None] * len(fn.inputs)) for number, fn in filling.items())
    assert own_study in said
    assert f"{CANARY}-model" in said
    assert stranger.post("/admin/sign-out").status_code == 303
    assert stranger.cookies == {}
    stranger.cookies.set("musiceval-administrator", cookie[0].partition("=")[2])
    assert stranger.get("/admin/config").status_code == 401


def test_a_cookie_is_secure_where_the_page_is(stranger: TestClient) -> None:
    for scheme, secure in (("https", True), ("http", False)):
        answer = stranger.post("/admin/", data={"password": PASSWORD}, headers={"origin": f"{scheme}://127.0.0.1:7860"})
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
        ({"origin": "https://elsewhere.example", "x-forwarded-host": "elsewhere.example"}, False),
        ({}, True),
    ],
    ids=str,
)
def test_pages_elsewhere_cannot_act_for_the_administrator(
    administrator: TestClient, headers: dict[str, str], answered: bool
) -> None:
    answer = administrator.post("/admin/gradio_api/reset", json={"event_id": "x"}, headers=headers)
    assert (answer.status_code == 200) is answered


def test_visitors_are_sent_nothing_of_administration(own_app: FastAPI, stranger: TestClient) -> None:
    for path in ("/", "/config", "/gradio_api/info"):
        text = stranger.get(path).text
        for word in (CANARY, PASSWORD, "Studies", "Start training", "sign-out"):
            assert word not in text, path


def test_every_handler_of_the_administrator_is_private(own_app: FastAPI) -> None:
    assert len(handlers(own_app)) >= 15
    assert {fn.api_visibility for fn in handlers(own_app).values()} == {"private"}


BY_PROXY: list[dict[str, str]] = [
    {},  # a plain `proxy_pass http://127.0.0.1:7860;`, and any user of the machine
    {"origin": "http://127.0.0.1:7860", "sec-fetch-site": "same-origin"},
    {"host": "localhost:7860", "x-forwarded-for": "127.0.0.1"},
    {"host": "[::1]:7860", "forwarded": "for=127.0.0.1"},
]


@pytest.fixture(scope="module")
def newcomer(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of an app without a password, who did not open the link of the terminal."""
    with in_process(make_app(scorer, Settings(data=tmp_path_factory.mktemp("newcomer")))) as one:
        yield one


@pytest.mark.parametrize("headers", BY_PROXY, ids=str)
def test_nobody_is_the_administrator_by_address(newcomer: TestClient, headers: dict[str, str]) -> None:
    page = newcomer.get("/admin/", headers=headers)
    assert (page.status_code, "gradio_config" in page.text, "<form" in page.text) == (200, False, False)
    assert "Open the link that stands in the terminal" in page.text
    assert newcomer.get("/admin/config", headers=headers).status_code == 401
    assert newcomer.post("/admin/", data={"password": ""}, headers=headers).status_code == 403


def test_the_link_of_the_terminal_signs_in(scorer: Scorer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = make_app(scorer, Settings(data=tmp_path))
    link = app.state.administration.link
    with in_process(app) as one:
        assert one.head(link).status_code == 200  # of whoever looks whether it is there
        answer = one.get(link)
        assert (answer.status_code, answer.headers["location"]) == (303, "./")
        assert {"HttpOnly", "SameSite=strict", "Path=/admin/"} <= set(answer.headers["set-cookie"].split("; "))
        assert "gradio_config" in one.get("/admin/").text
        assert one.get(link).headers["location"] == "./"  # by whoever is signed in already
        one.cookies.clear()
        used = one.get(link)
        assert (used.status_code, "This link was used before" in used.text) == (403, True)
        assert "set-cookie" not in used.headers
        (line,) = capsys.readouterr().out.splitlines()
        assert line.endswith(app.state.administration.link)
        assert one.get(app.state.administration.link).status_code == 303


def test_on_a_space_there_is_only_the_password(scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/musiceval")
    app = make_app(scorer, Settings(data=tmp_path))
    assert app.state.administration.link == ""
    with in_process(app) as one:
        assert "Administration is off." in one.get("/admin/").text
        assert one.get("/admin/?token=").status_code == 403
        assert one.get("/admin/config").status_code == 401


def test_another_site_of_the_same_domain_reads_nothing(administrator: TestClient) -> None:
    """Its requests bring the cookie, and Gradio lets every site read what it answers."""
    for headers in (
        {"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {"origin": "http://other.example"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    ):
        assert administrator.get("/admin/config", headers=headers).status_code == 403
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert administrator.get("/admin/", headers=followed).status_code == 200


def test_a_password_is_short(stranger: TestClient) -> None:
    assert stranger.post("/admin/", data={"password": "x" * 20_000}).status_code == 403


@pytest.mark.browser
@pytest.mark.parametrize("look", [(1280, "light"), (390, "dark")], ids=str)
def test_signing_in_and_out(
    browser: Browser, scorer: Scorer, settings: Settings, own_study: str, look: tuple[int, str]
) -> None:
    with running(make_app(scorer, settings), settings) as address, open_page(browser, look) as page:
        page.goto(f"{address}#training")
        expect(page.get_by_label("Administrator’s password")).to_be_visible()  # an old link leads there by a script
        assert overflow(page) == 0
        page.get_by_label("Administrator’s password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Start training")).to_be_visible()
        expect(page).to_have_url(f"{address}admin/#training")
        assert overflow(page) == 0
        other = page.context.new_page()  # of the same browser
        other.goto(f"{address}admin/")
        expect(other.get_by_label("Study", exact=True)).to_have_value(own_study)
        page.goto("about:blank")  # or it reloads itself at some time from here on
        other.get_by_role("button", name="Sign out").click()
        expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
        other.go_back()
        other.wait_for_load_state("networkidle")
        expect(other.get_by_label("Study", exact=True)).to_have_count(0)
        other.close()
        page.goto(f"{address}admin/")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


@pytest.mark.browser
def test_who_is_signed_out_meanwhile_is_asked_again(
    browser: Browser, scorer: Scorer, settings: Settings, own_study: str
) -> None:
    page = browser.new_page()
    with running(make_app(scorer, settings), settings) as address:
        page.goto(f"{address}admin/")
        page.get_by_label("Administrator’s password").fill("guess")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("This is not the administrator's password.")
        page.get_by_label("Administrator’s password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_label("Study", exact=True)).to_have_value(own_study)
        page.context.clear_cookies()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()  # the live page asks by itself
    page.close()
