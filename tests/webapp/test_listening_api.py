"""The listening test's routes, asked directly: what is refused, what is stored, what no answer tells."""

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from sqlalchemy import select, update

from annotation.database import Database
from annotation.schema import Answer, Batch, Clip, Consent, Problem, Response, Trial
from annotation.session.exclusions import exclude
from annotation.studies import clip_path, find_study
from core.settings import Settings
from tests.webapp.studies import RemoteRater, SmallStudy, answer, make_study, rows, state

HTML = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script> &amp; {{value}}"
NOT_SIGNED_IN = {"error": "You are not signed in. Enter your access code.", "code": "signed_out", "values": {}}
NOT_OPEN = {"error": "This clip is not open for you. Reload the page.", "code": "not_yours", "values": {}}
# Of a visit: each with a body that would do.
ROUTES = {
    "place": ("GET", None),
    "about": ("POST", {"answers": {}}),
    "start": ("POST", {}),
    "rate": ("POST", answer({"token": "x", "duration_s": 1})),
    "problem": ("POST", {"token": "x", "comment": ""}),
    "leave": ("POST", {}),
    "clip/x": ("GET", None),
    "sound-check": ("GET", None),
}
BAD_VISITS = [
    None, "", "Bearer", b"Bearer \xff", "Bearer x", "Bearer demo.", "Bearer demo.x", "Basic eDp4",
    f"Bearer {'x' * 5000}", "Bearer ' OR 1=1 --",
]  # fmt: skip


# Whoever is not signed in


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize("path", ROUTES)
def test_without_a_visit_nothing_is_answered(http: httpx.Client, path: str) -> None:
    method, body = ROUTES[path]
    for visit in BAD_VISITS:
        headers = {} if visit is None else {"Authorization": visit}
        said = http.request(method, f"/listening/{path}", json=body, headers=headers)
        assert (said.status_code, said.json()) == (401, NOT_SIGNED_IN), visit


@pytest.mark.usefixtures("nothing_stored")
def test_a_visit_stands_in_no_other_place(http: httpx.Client, rater: RemoteRater) -> None:
    visit = rater.headers["Authorization"].removeprefix("Bearer ")
    tries = [{"params": {"visit": visit}}, {"cookies": {"visit": visit}}, {"headers": {"Authorization": visit}}]
    for more in tries:
        assert httpx.get(f"{http.base_url}listening/place", **more).status_code == 401


@pytest.mark.usefixtures("nothing_stored")
def test_a_code_that_is_not_known(http: httpx.Client, code: str) -> None:
    for wrong in ("", "WRONG", code[:-1], f"{code}2", "' OR 1=1 --", HTML):
        said = http.post("/listening/enter", json={"code": wrong})
        assert (said.status_code, said.json()) == (
            401,
            {"error": "This code is not known. Check it for typing mistakes.", "code": "code_unknown", "values": {}},
        )


@pytest.mark.usefixtures("nothing_stored")
def test_a_code_that_is_no_text(http: httpx.Client) -> None:
    for said in (None, 5, True, ["x"], {"code": "x"}):
        assert http.post("/listening/enter", json={"code": said}).status_code == 400


def test_a_code_is_read_kindly(http: httpx.Client, code: str) -> None:
    typed = code.lower().replace("-", " ")
    assert http.post("/listening/enter", json={"code": f" {typed} "}).status_code == 200


def test_who_has_left_is_signed_out_here_and_not_elsewhere(http: httpx.Client, code: str) -> None:
    rater, elsewhere = RemoteRater(http, code), RemoteRater(http, code)
    assert rater.post("leave").json() == {}
    assert rater.get("place").status_code == 401
    assert elsewhere.get("place").status_code == 200


# Whose is a token


def test_another_raters_token_is_as_good_as_a_made_up_one(
    database: Database, rater: RemoteRater, other: RemoteRater
) -> None:
    theirs = other.begin()
    rater.begin()
    before = rows(database)
    for token in (theirs["token"], "x", "", "ü", "0" * 43, None, 5, [theirs["token"]], HTML):
        task = {"token": token, "duration_s": 0.1}
        for said in (rater.rate(task), rater.post("problem", token=token, comment="")):
            assert (said.status_code, said.json()) == (404, NOT_OPEN), token
    for token in (theirs["token"], "x", "0" * 43):
        said = rater.get(f"clip/{token}")
        assert (said.status_code, said.json()) == (404, NOT_OPEN)
    assert rows(database) == before


@pytest.mark.usefixtures("nothing_stored")
def test_a_later_token_of_ones_own_gives_no_clip(database: Database, rater: RemoteRater) -> None:
    task = rater.begin()
    with database.read() as session:
        batch = session.execute(select(Trial.batch_id).where(Trial.token == task["token"])).scalar_one()
        query = select(Trial.token).where(Trial.batch_id == batch).order_by(Trial.position)
        tokens = list(session.scalars(query))
    assert tokens[1] == task["next_token"]
    assert [rater.get(f"clip/{token}").status_code for token in tokens] == [200, 200, 404, 404, 404, 404]
    assert rater.rate({"token": tokens[1], "duration_s": 0.2}).status_code == 400


@pytest.mark.usefixtures("nothing_stored")
def test_an_expired_token(database: Database, rater: RemoteRater) -> None:
    task = rater.begin()
    with database.write() as session:
        past = datetime.now(UTC) - timedelta(hours=1)
        session.execute(update(Batch).where(Batch.state == "open").values(lease_until=past))
    said = rater.get(f"clip/{task['token']}")
    assert (said.status_code, said.json()) == (404, NOT_OPEN)
    assert rater.place()["task"]["token"] == task["token"]  # the rater is back, and still needed
    assert rater.get(f"clip/{task['token']}").status_code == 200


def test_a_token_of_a_batch_that_was_taken_out(database: Database, rater: RemoteRater) -> None:
    task = rater.begin()
    rater.hear(task)
    with database.write() as session:
        batch = session.scalars(select(Batch).join(Trial).where(Trial.token == task["token"])).one()
        exclude(session, batch, "A trial.", "tester", datetime.now(UTC))
    before = rows(database)
    for said in (
        rater.rate(task),
        rater.post("problem", token=task["token"], comment=""),
        rater.get(f"clip/{task['token']}"),
    ):
        assert (said.status_code, said.json()) == (404, NOT_OPEN)
    assert rows(database) == before


def test_a_token_that_has_its_answer(database: Database, rater: RemoteRater) -> None:
    task = rater.begin()
    rater.hear(task)
    assert rater.rate(task, 2, 2).json()["outcome"] == "saved"
    before = rows(database)
    again = rater.rate(task, 5, 5)
    assert (again.status_code, again.json()["outcome"]) == (200, "already")
    assert rater.get(f"clip/{task['token']}").status_code == 404
    assert rows(database) == before
    with database.read() as session:
        response = session.scalars(select(Response).join(Trial).where(Trial.token == task["token"])).one()
        assert response.scores == {"musical_impression": 2, "textual_alignment": 2}


def test_a_hundred_clicks_at_once_are_one_rating(database: Database, rater: RemoteRater) -> None:
    task = rater.begin()
    rater.hear(task)

    def click(score: int) -> str:
        return str(rater.rate(task, score, score).raise_for_status().json()["outcome"])

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(click, [1 + number % 5 for number in range(100)]))
    assert sorted(outcomes) == ["already"] * 99 + ["saved"]
    with database.read() as session:
        assert len(session.scalars(select(Response).join(Trial).where(Trial.token == task["token"])).all()) == 1


def test_two_tabs_that_start_at_once_share_a_batch(rater: RemoteRater) -> None:
    rater.post("about", answers={})

    def start(_: int) -> str:
        return str(rater.post("start").raise_for_status().json()["task"]["token"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(16)))) == 1


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    "pattern",
    [
        "../{0}", "../../../../../../../../{0}", "..%2f..%2f..%2f{1}", "%2e%2e/%2e%2e/{0}", "..%5c..%5c{1}",
        "/{0}", "//{0}", "{1}", "file:%2f%2f{1}", "{1}%00.wav", "{2}", "{2}.wav", "..;/{0}",
    ],
)  # fmt: skip
def test_no_token_is_a_path(
    address: str, rater: RemoteRater, database: Database, settings: Settings, study: SmallStudy, pattern: str
) -> None:
    rater.begin()
    with database.read() as session:
        found = find_study(session, study.name)
        name = session.scalars(select(Clip.name).where(Clip.study_id == found.id)).first() or ""
        path = str(clip_path(settings.data, found, name))
    for secret in (path, str(settings.data / "musiceval.sqlite"), "/etc/passwd"):
        place = urlsplit(address)
        connection = http.client.HTTPConnection(place.hostname or "", place.port or 0, timeout=20)
        target = pattern.format(secret.lstrip("/"), quote(secret, safe=""), name)
        connection.request("GET", f"/listening/clip/{target}", headers=rater.headers)
        said = connection.getresponse()
        body = said.read()
        assert said.status == 404, target
        assert not any(word in body for word in (b"RIFF", b"SQLite", b"root:")), target


# What is no rating


@pytest.fixture(scope="module")
def made_up(address: str, settings: Settings) -> Iterator[tuple[RemoteRater, dict[str, Any]]]:
    """A rater who has heard a clip, and its task: the server waits for scores."""
    database = Database(settings.database_url)
    study = make_study(database, settings.data, training=0)
    with httpx.Client(base_url=address, timeout=20) as client:
        rater = RemoteRater(client, study.codes[0])
        task = rater.begin()
        rater.hear(task)
        yield rater, task
        assert rater.rate(task).json()["outcome"] == "saved"
    database.close()


MADE_UP = {
    "musical_impression": [
        "0", "6", "-1", f"{10**30}", '"five"', '"3"', '""', "null", "true", "3.0", "3.5", "1e999", "[3]",
        '{"value": 3}', "NaN", "Infinity",
    ],
    "played": [
        "null", "5", '"all"', "[[1]]", "[[1, 0]]", "[[-1, 0]]", '[["0", "1"]]', "[[0, 99]]", "[[0, 1e999]]",
        "[[0, NaN]]", "[[true, 1]]", "[[0, 1, 2]]", str([[0, 0]] * 1001),
    ],
    "comment": ["null", "5", '["x"]', f'"{"x" * 2001}"', r'"\ud800"'],
    "beauty": ["3"],  # no scale of the study
}  # fmt: skip
MADE_UP["textual_alignment"] = MADE_UP["musical_impression"]


@pytest.mark.parametrize("key", MADE_UP)
def test_what_is_made_up_stores_nothing(
    database: Database, made_up: tuple[RemoteRater, dict[str, Any]], key: str
) -> None:
    rater, task = made_up
    before = rows(database)
    headers = rater.headers | {"Content-Type": "application/json"}
    for value in MADE_UP[key]:
        whole = {name: given for name, given in answer(task).items() if name != key}
        body = f'{json.dumps(whole)[:-1]}, "{key}": {value}}}'
        said = rater.client.post("/listening/rate", content=body, headers=headers)
        assert (said.status_code, said.json().keys()) == (400, {"error", "code", "values"}), value
        if key == "comment":
            body = f'{{"token": "{task["token"]}", "comment": {value}}}'
            assert rater.client.post("/listening/problem", content=body, headers=headers).status_code == 400
    assert rows(database) == before
    assert state(database, task["token"]) == "open"


@pytest.mark.usefixtures("nothing_stored")
def test_a_rating_before_the_clip_can_have_been_heard(rater: RemoteRater) -> None:
    task = rater.begin()
    unheard = rater.rate(task)
    assert (unheard.status_code, unheard.json()["error"]) == (
        400,
        "This clip was not played yet. Listen to it to its end once.",
    )
    rater.get(f"clip/{task['token']}")
    early = rater.rate(task)
    assert (early.status_code, early.json()["error"]) == (
        400,
        "The clip cannot have been heard yet. Listen to it to its end once.",
    )


def test_a_prompt_and_a_comment_are_texts(database: Database, settings: Settings, http: httpx.Client) -> None:
    study = make_study(database, settings.data, training=0, prompt=f"{HTML} {{}}".replace("{{value}}", "{{{{value}}}}"))
    rater = RemoteRater(http, study.codes[0])
    task = rater.begin()
    assert task["prompt"].startswith(HTML)
    rater.hear(task)
    rater.post("rate", **answer(task) | {"comment": HTML}).raise_for_status()
    with database.read() as session:
        response = session.scalars(select(Response).join(Trial).where(Trial.token == task["token"])).one()
    assert response.comment == HTML


def test_answers_about_oneself_that_cannot_be(database: Database, code: str, http: httpx.Client) -> None:
    rater = RemoteRater(http, code)
    before = rows(database)
    unlike = ({"age": "5"}, {"training": 5}, {"training": "a lot"}, {"instrument": "x" * 201})
    for answers in (None, "x", [], *unlike):
        assert rater.post("about", answers=answers).status_code == 400, answers
    assert rows(database) == before
    assert rater.place()["step"] == "about"


def test_consent_and_answers_are_stored(database: Database, code: str, http: httpx.Client) -> None:
    rater = RemoteRater(http, code)
    here = rater.place()
    assert (here["step"], here["demo"], rater.post("start").json()["step"]) == ("about", False, "about")
    given = {question["key"]: (question["options"] or ["viola"])[0] for question in here["questions"]}
    assert rater.post("about", answers=given).json()["step"] == "ready"
    with database.read() as session:
        consent = session.scalars(select(Consent).order_by(Consent.id.desc())).first()
        assert consent is not None
        assert consent.text == here["consent"]["usual"]
        query = select(Answer.question, Answer.answer).where(Answer.rater_id == consent.rater_id)
        assert dict(session.execute(query).all()) == given  # type: ignore[arg-type]


def test_a_clip_that_does_not_play_is_reported_once(database: Database, rater: RemoteRater) -> None:
    task = rater.begin()
    for _ in range(2):
        said = rater.post("problem", token=task["token"], comment="Silence.").json()
        assert said["task"]["token"] == task["next_token"]
    assert state(database, task["token"]) == "released"
    with database.read() as session:
        problems = session.scalars(select(Problem).join(Trial).where(Trial.token == task["token"])).all()
    assert [problem.comment for problem in problems] == ["Silence."]
