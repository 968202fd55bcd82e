"""Signing in with Hugging Face, through the whole chain of redirections, at a provider that stands in for it."""

import base64
import dataclasses
import hashlib
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Browser, expect
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from core.errors import SettingsError
from core.settings import Settings
from tests.webapp.conftest import free_port, running
from webapp.app import build_app
from webapp.auth import BEGUN_S, SESSION_S
from webapp.hugging_face import HuggingFace

PAGES = Starlette(routes=[Route("/{path:path}", lambda _: PlainTextResponse("the page"))])
HERE = "https://owner-musiceval.hf.space"
CLIENT, SECRET = "client-1", "a secret"
FOLLOWED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}  # by a browser, from the provider's page


class Provider:
    """A WSGI application: an OpenID provider at which `name` is signed in; `says` in place of its answers, by path."""

    def __init__(self) -> None:
        self.name = "owner"
        self.says: dict[str, bytes] = {}
        self.fails = ""
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        self.asked.append(request.path)
        if request.path == self.fails:
            return Response("away", 503)
        if request.path in self.says:
            return Response(self.says[request.path], content_type="application/json")
        answers = {
            "/.well-known/openid-configuration": self._endpoints,
            "/oauth/authorize": self._authorize,
            "/oauth/token": self._token,
            "/oauth/userinfo": self._user,
        }
        return answers[request.path](request)

    def _endpoints(self, request: Request) -> Response:
        named = {"authorization": "authorize", "token": "token", "userinfo": "userinfo"}
        return of({f"{name}_endpoint": f"{request.host_url}oauth/{path}" for name, path in named.items()})

    def _authorize(self, request: Request) -> Response:
        asked = request.args.to_dict()
        assert (asked["client_id"], asked["response_type"], asked["scope"]) == (CLIENT, "code", "openid profile")
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self._codes)}"
        self._codes[code] = asked
        to = f"{asked['redirect_uri']}?code={code}&state={asked['state']}"
        return Response("", 302, {"Location": to})

    def _token(self, request: Request) -> Response:
        given = request.form
        asked = self._codes.pop(given["code"], None)
        digest = hashlib.sha256(given["code_verifier"].encode()).digest()
        who = request.authorization
        right = (
            asked is not None
            and who is not None
            and (who.username, who.password) == (CLIENT, SECRET)
            and given["grant_type"] == "authorization_code"
            and given["redirect_uri"] == asked["redirect_uri"]
            and base64.urlsafe_b64encode(digest).decode().rstrip("=") == asked["code_challenge"]
        )
        return of({"access_token": "t", "token_type": "bearer"}) if right else of({"error": "invalid_grant"}, 400)

    def _user(self, request: Request) -> Response:
        assert request.headers["authorization"] == "Bearer t"
        return of({"sub": "1", "preferred_username": self.name})


def of(content: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status, content_type="application/json")


@pytest.fixture
def provider() -> Iterator[Provider]:
    one = Provider()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, one, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        named = {"OPENID_PROVIDER_URL": f"http://127.0.0.1:{server.server_port}/", "OAUTH_CLIENT_ID": CLIENT}
        named |= {"OAUTH_CLIENT_SECRET": SECRET, "OAUTH_SCOPES": "openid profile", "SPACE_ID": "owner/musiceval"}
        named |= {"SPACE_HOST": f"{urlsplit(HERE).netloc},music.example.org", "SPACE_AUTHOR_NAME": "owner"}
        for name, value in named.items():
            patch.setenv(name, value)
        yield one
    server.shutdown()


@pytest.fixture
def space(provider: Provider, tmp_path: Path) -> Iterator[TestClient]:
    """The app on a Space without a password, asked as a browser asks."""
    app = build_app(PAGES, Settings(data=tmp_path, admin_users="second, third"))
    with TestClient(app, base_url=HERE, follow_redirects=False) as one:
        yield one


def at_the_provider(space: TestClient) -> str:
    """Begin, and go through the provider's page; return where that leads back to."""
    begun = space.get("/admin/hugging-face")
    assert begun.status_code == 303
    cookie = set(begun.headers["set-cookie"].split("; "))
    assert {"HttpOnly", "Secure", "SameSite=lax", "Path=/admin/callback", f"Max-Age={BEGUN_S}"} <= cookie
    return str(httpx.get(begun.headers["location"]).headers["location"])


def logged(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["owner", "second", "third"])
def test_who_may_signs_in(space: TestClient, provider: Provider, tmp_path: Path, name: str) -> None:
    provider.name = name
    page = space.get("/admin/")
    assert ('href="hugging-face"' in page.text, "<form" in page.text) == (True, False)
    back = at_the_provider(space)
    assert back.startswith(f"{HERE}/admin/callback?")
    answer = space.get(back, headers=FOLLOWED)
    # A page and no redirection: after one that another site began, no browser sends a strict cookie.
    assert (answer.status_code, 'content="0; url=./"' in answer.text) == (200, True)
    (cookie,) = [one for one in answer.headers.get_list("set-cookie") if one.startswith("musiceval-administrator=")]
    assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/admin/", f"Max-Age={SESSION_S}"} <= set(cookie.split("; "))
    assert space.get("/admin/").text == "the page"
    (line,) = logged(tmp_path)
    assert (line["what"], line["done"], f'as "{name}" of Hugging Face' in line["about"]) == ("Sign in", True, True)
    assert space.post("/admin/sign-out").status_code == 303
    assert space.get("/admin/config").status_code == 401


@pytest.mark.parametrize("name", ["somebody", "Owner", "owner ", "second,third", "<b>owner</b>"])
def test_who_may_not_is_told(space: TestClient, provider: Provider, tmp_path: Path, name: str) -> None:
    provider.name = name
    answer = space.get(at_the_provider(space), headers=FOLLOWED)
    assert (answer.status_code, "musiceval-administrator" in str(answer.headers)) == (403, False)
    assert "of Hugging Face may not administrate this Space" in answer.text
    assert "<b>" not in answer.text
    (line,) = logged(tmp_path)
    assert (line["done"], name in line["what"]) == (False, True)
    assert space.get("/admin/config").status_code == 401


def test_what_was_not_begun_here_does_not_come_back(space: TestClient, provider: Provider, tmp_path: Path) -> None:
    """A made-up state; the right one in another browser, or a second time; none at all. Nobody asks the provider."""
    back = at_the_provider(space)
    query = parse_qs(urlsplit(back).query)
    kept = dict(space.cookies)
    provider.asked.clear()
    made_up = f"/admin/callback?code={query['code'][0]}&state="

    def tries(address: str, cookie: str) -> int:
        space.cookies.clear()
        said = space.get(address, headers={**FOLLOWED, "cookie": f"musiceval-sign-in={cookie}"} if cookie else FOLLOWED)
        assert ("begun in this browser" in said.text, "administrator=" in str(said.headers)) == (True, False)
        return said.status_code

    own = kept["musiceval-sign-in"].strip('"')
    assert [tries(f"{made_up}x", own), tries(made_up, own), tries("/admin/callback", own)] == [403] * 3
    assert [tries(back, ""), tries(back, "."), tries(f"{made_up}x", "x.y")] == [403] * 3
    assert provider.asked == []
    assert space.get(back, headers={**FOLLOWED, "cookie": f"musiceval-sign-in={own}"}).status_code == 200
    assert tries(back, own) == 403
    assert len(logged(tmp_path)) == 8


@pytest.mark.parametrize("wrong", ["verifier", "code"])
def test_another_code_or_verifier_is_refused_there(space: TestClient, wrong: str) -> None:
    back = at_the_provider(space)
    own = space.cookies["musiceval-sign-in"].strip('"')
    if wrong == "verifier":
        space.cookies.clear()
        own = f"{own.partition('.')[0]}.{'x' * 64}"
    else:
        back = back.replace("code=code-0", "code=stolen")
    answer = space.get(back, headers={**FOLLOWED, "cookie": f"musiceval-sign-in={own}"})
    assert (answer.status_code, "did not say who you are" in answer.text) == (403, True)


NONSENSE = [b"", b"<html>", b"[]", b"null", b"{}", b'{"preferred_username": 7}', b'{"preferred_username": ""}', b"\xff"]


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/oauth/token", "/oauth/userinfo"])
def test_a_provider_that_is_away_or_answers_nonsense(space: TestClient, provider: Provider, path: str) -> None:
    for says in (None, *NONSENSE):
        provider.says.clear()
        provider.fails = ""
        back = at_the_provider(space)
        if says is None:
            provider.fails = path
        else:
            provider.says[path] = says
        answer = space.get(back, headers=FOLLOWED)
        assert (answer.status_code, "administrator=" in str(answer.headers)) == (403, False), says
        begun = space.get("/admin/hugging-face").status_code
        assert begun == (403 if path.endswith("configuration") else 303)
    assert space.get("/admin/").status_code == 200


def test_a_provider_that_nobody_reaches(provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENID_PROVIDER_URL", f"http://127.0.0.1:{free_port()}")
    with TestClient(build_app(PAGES, Settings(data=tmp_path)), base_url=HERE, follow_redirects=False) as space:
        assert space.get("/admin/hugging-face").status_code == 403


def test_tries_are_few(space: TestClient) -> None:
    said = [space.get("/admin/hugging-face") for _ in range(21)]
    assert [one.status_code for one in said] == [303] * 20 + [429]
    assert "Wait 30 s" in said[-1].text


def test_the_password_stays(provider: Provider, tmp_path: Path) -> None:
    app = build_app(PAGES, Settings(data=tmp_path, admin_password="correct horse"))
    with TestClient(app, base_url=HERE, follow_redirects=False) as space:
        page = space.get("/admin/").text
        assert ('href="hugging-face"' in page, "<form" in page) == (True, True)
        assert space.post("/admin/", data={"password": "correct horse"}).status_code == 303


def test_elsewhere_there_is_none(tmp_path: Path) -> None:
    with TestClient(build_app(PAGES, Settings(data=tmp_path)), base_url=HERE, follow_redirects=False) as one:
        assert "hugging-face" not in one.get("/admin/").text
        assert one.get("/admin/hugging-face").status_code == 403
    with pytest.raises(SettingsError, match="hf_oauth: true"):
        HuggingFace.of_space("somebody", {})


@pytest.mark.browser
def test_a_browser_goes_on_signed_in(provider: Provider, browser: Browser, tmp_path: Path) -> None:
    """It comes from another site, and sends the strict cookie all the same."""
    settings = Settings(data=tmp_path, port=free_port())
    app = build_app(PAGES, settings)
    here = f"http://localhost:{settings.port}/admin/"  # the provider is at 127.0.0.1, another site
    administration = app.state.administration
    administration.hugging_face = dataclasses.replace(administration.hugging_face, callback=f"{here}callback")
    with running(app, settings):
        page = browser.new_page()
        page.goto(here)
        page.get_by_role("link", name="Sign in with Hugging Face").click()
        expect(page.get_by_text("the page", exact=True)).to_be_visible()
        expect(page).to_have_url(here)
        page.close()
