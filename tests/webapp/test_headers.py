"""What every answer tells the browser."""

import base64
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.responses import RedirectResponse

from core.scorer import Scorer
from core.settings import Settings
from tests.webapp.conftest import in_process, make_app, sign_in
from webapp.headers import SecurityHeaders

PATHS = ("/", "/config", "/theme.css", "/nowhere", "/listening/place", "/gradio_api/mcp", "/gradio_api/file=x")


@pytest.fixture(scope="module")
def app(scorer: Scorer, tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    return make_app(scorer, Settings(data=tmp_path_factory.mktemp("headers")))


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Iterator[TestClient]:
    with in_process(app) as one:
        sign_in(app, one)
        yield one


def policy(text: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in text.split(";"))}


@pytest.mark.parametrize("path", [*PATHS, "/admin/", "/admin/config", "/admin/export/x"])
def test_every_answer_has_them(served: TestClient, path: str) -> None:
    answer = served.get(path)
    admin = path.startswith("/admin")
    allowed = policy(answer.headers["content-security-policy"])
    assert not admin or answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["x-frame-options"] == ("DENY" if admin else "SAMEORIGIN")
    assert allowed["frame-ancestors"] == ["'none'" if admin else "'self'"]
    assert (allowed["object-src"], allowed["base-uri"], allowed["form-action"]) == (["'none'"], ["'self'"], ["'self'"])
    sources = {source for name in allowed for source in allowed[name]}
    assert {source for source in sources if not source.startswith("'")} == {"data:", "blob:"}  # no other site


def test_the_raters_page_runs_its_own_script_and_nothing_else(served: TestClient) -> None:
    answer = served.get("/listening/")
    allowed = policy(answer.headers["content-security-policy"])
    for element, name in (("script", "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed.pop(name) == [f"'sha256-{digest}'"]
    assert allowed.pop("connect-src") == allowed.pop("img-src") == allowed.pop("frame-ancestors") == ["'self'"]
    assert allowed.pop("media-src") == ["blob:"]
    assert {source for sources in allowed.values() for source in sources} == {"'none'"}


def test_the_raters_page_comes_packed_to_who_takes_that(served: TestClient) -> None:
    packed, plain = served.get("/listening/"), served.get("/listening/", headers={"accept-encoding": "identity"})
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert packed.text == plain.text
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert served.get("/listening").headers["location"] == "./listening/"


def test_refusals_have_them_too(served: TestClient) -> None:
    for answer in (
        served.post("/gradio_api/queue/join", content=b"x" * 2_000_000),
        served.get("/monitoring"),
        served.get("/", headers={"host": "<"}),
    ):
        assert answer.status_code >= 400
        assert "frame-ancestors" in answer.headers["content-security-policy"]


def test_a_space_shows_the_visitors_page_and_never_the_administrators(
    scorer: Scorer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPACE_ID", "someone/musiceval")
    with in_process(make_app(scorer, Settings(data=tmp_path))) as one:
        visitors, admin = one.get("/").headers, one.get("/admin/").headers
        assert policy(visitors["content-security-policy"])["frame-ancestors"] == ["'self'", "https://huggingface.co"]
        assert "x-frame-options" not in visitors
        assert policy(admin["content-security-policy"])["frame-ancestors"] == ["'none'"]
        assert admin["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("leads", "told"),
    [
        ("http://evil.example/there?a=b", "/there?a=b"),
        ("http://evil.example//other.example/", "/other.example/"),
        ("./", "./"),
        ("https://fixed.example/", "https://fixed.example/"),
    ],
)
def test_no_redirection_repeats_the_host(leads: str, told: str) -> None:
    app = SecurityHeaders(RedirectResponse(leads), framed_by_spaces=False)
    one = TestClient(app, base_url="http://evil.example", follow_redirects=False)
    assert one.get("/").headers["location"] == told


def test_no_redirection_of_the_app_repeats_the_host(app: FastAPI, served: TestClient) -> None:
    for path in ("/admin", "/gradio_api/info/", "/theme.css/", "/config/", "/listening/place/", "/admin/config/"):
        answer = served.get(path, headers={"host": "evil.example"})
        assert "evil.example" not in answer.headers.get("location", "")
