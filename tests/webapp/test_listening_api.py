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
from annotation.schema import Answer, Batch, Clip, Consent, Problem, Rating, Trial
from annotation.session.screening import exclude
from annotation.studies import clip_path, find_study
from core.settings import Settings
from tests.webapp.studies import RemoteRater, SmallStudy, answer, make_study, rows, state

HTML = (
    "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script> &amp; {{value}}"
)
NOT_SIGNED_IN = {"error": "You are not signed in. Enter your access code."}
NOT_OPEN = {"error": "This clip is not open for you. Reload the page."}
# Of a visit: each with a body that would do.
ROUTES = {
    "place": ("GET", None),
    "about": ("POST", {"answers": {}}),
    "start": ("POST", {}),
    "rate": (
        "POST",
        {"token": "x", "musical_impression": 3, "textual_alignment": 3, "comment": "", "played": []},
    ),
    "problem": ("POST", {"token": "x", "comment": ""}),
    "leave": ("POST", {}),
    "clip/x": ("GET", None),
    "sound-check": ("GET", None),
}
BAD_VISITS: list[str | bytes | None] = [
    None,
    "",
    "Bearer",
    b"Bearer \xff",
    "Bearer x",
    "Bearer demo.",
    "Bearer demo.x",
    "Basic eDp4",
    f"Bearer {'x' * 5000}",
    "Bearer ' OR 1=1 --",
]


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
    tries = [
        {"params": {"visit": visit}},
        {"cookies": {"visit": visit}},
        {"headers": {"Authorization": visit}},
    ]
    for more in tries:
        assert httpx.get(f"{http.base_url}listening/place", **more).status_code == 401


@pytest.mark.usefixtures("nothing_stored")
def test_a_code_that_is_not_known(http: httpx.Client, code: str) -> None:
    for wrong in ("", "WRONG", code[:-1], f"{code}2", "' OR 1=1 --", HTML):
        said = http.post("/listening/enter", json={"code": wrong})
        assert (said.status_code, said.json()) == (
            401,
            {"error": "This code is not known. Check it for typing mistakes."},
        )


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize("said", [None, 5, True, ["x"], {"code": "x"}], ids=str)
def test_a_code_that_is_no_text(http: httpx.Client, said: object) -> None:
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
        rating = session.scalars(select(Rating).join(Trial).where(Trial.token == task["token"])).one()
    assert (rating.musical_impression, rating.textual_alignment) == (2, 2)


def test_a_hundred_clicks_at_once_are_one_rating(
    database: Database, rater: RemoteRater, address: str
) -> None:
    task = rater.begin()
    rater.hear(task)

    def click(score: int) -> str:
        said = httpx.post(f"{address}listening/rate", json=answer(task, score, score), headers=rater.headers)
        return str(said.raise_for_status().json()["outcome"])

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(click, [1 + number % 5 for number in range(100)]))
    assert sorted(outcomes) == ["already"] * 99 + ["saved"]
    with database.read() as session:
        assert len(session.scalars(select(Rating).join(Trial).where(Trial.token == task["token"])).all()) == 1


def test_two_tabs_that_start_at_once_share_a_batch(rater: RemoteRater, address: str) -> None:
    rater.post("about", answers={})

    def start(_: int) -> str:
        said = httpx.post(f"{address}listening/start", json={}, headers=rater.headers)
        return str(said.raise_for_status().json()["task"]["token"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(16)))) == 1


@pytest.mark.usefixtures("nothing_stored")
@pytest.mark.parametrize(
    "pattern",
    [
        "../{0}",
        "../../../../../../../../{0}",
        "..%2f..%2f..%2f{1}",
        "%2e%2e/%2e%2e/{0}",
        "..%5c..%5c{1}",
        "/{0}",
        "//{0}",
        "{1}",
        "file:%2f%2f{1}",
        "{1}%00.wav",
        "{2}",
        "{2}.wav",
        "..;/{0}",
    ],
)
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


@pytest.mark.parametrize(
    "score", [0, 6, -1, 10**30, "five", "3", "", None, True, 3.0, 3.5, 1e999, [3], {"value": 3}], ids=str
)
@pytest.mark.parametrize("scale", ["musical_impression", "textual_alignment"])
def test_a_made_up_score(
    database: Database, made_up: tuple[RemoteRater, dict[str, Any]], scale: str, score: object
) -> None:
    rater, task = made_up
    before = rows(database)
    body = json.dumps(answer(task) | {scale: score}).encode()
    headers = rater.headers | {"Content-Type": "application/json"}
    said = rater.client.post("/listening/rate", content=body, headers=headers)
    assert said.status_code == 400
    assert said.json().keys() == {"error"}
    assert rows(database) == before
    assert state(database, task["token"]) == "open"


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


@pytest.mark.parametrize("body", [b'{"musical_impression": NaN}', b'{"musical_impression": Infinity}'])
def test_a_number_that_json_does_not_know(made_up: tuple[RemoteRater, dict[str, Any]], body: bytes) -> None:
    rater, task = made_up
    whole = body.replace(
        b"{", json.dumps({"token": task["token"], "textual_alignment": 3})[:-1].encode() + b", "
    )
    assert rater.client.post("/listening/rate", content=whole, headers=rater.headers).status_code == 400


@pytest.mark.parametrize(
    "played",
    [
        None,
        5,
        "all",
        [[1]],
        [[1, 0]],
        [[-1, 0]],
        [["0", "1"]],
        [[0, 99]],
        [[0, 1e999]],
        [[0, 0]] * 1001,
    ],
    ids=lambda played: str(played)[:20],
)
def test_listening_that_cannot_be(
    made_up: tuple[RemoteRater, dict[str, Any]], database: Database, played: object
) -> None:
    rater, task = made_up
    body = json.dumps(answer(task) | {"played": played})
    said = rater.client.post("/listening/rate", content=body, headers=rater.headers)
    assert said.status_code == 400
    assert state(database, task["token"]) == "open"


@pytest.mark.parametrize(
    "comment", [None, 5, ["x"], "x" * 2001, "\ud800"], ids=lambda comment: repr(comment)[:9]
)
def test_a_comment_that_is_none(
    made_up: tuple[RemoteRater, dict[str, Any]], database: Database, comment: object
) -> None:
    rater, task = made_up
    for path in ("rate", "problem"):
        body = json.dumps(answer(task) | {"comment": comment})
        said = rater.client.post(f"/listening/{path}", content=body, headers=rater.headers)
        assert said.status_code == 400
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
    study = make_study(
        database,
        settings.data,
        training=0,
        prompt=f"{HTML} {{}}".replace("{{value}}", "{{{{value}}}}"),
    )
    rater = RemoteRater(http, study.codes[0])
    task = rater.begin()
    assert task["prompt"].startswith(HTML)
    rater.hear(task)
    rater.post("rate", **answer(task) | {"comment": HTML}).raise_for_status()
    with database.read() as session:
        rating = session.scalars(select(Rating).join(Trial).where(Trial.token == task["token"])).one()
    assert rating.comment == HTML


@pytest.mark.parametrize(
    "answers",
    [None, "x", [], {"age": "5"}, {"training": 5}, {"training": "a lot"}, {"instrument": "x" * 201}],
    ids=str,
)
def test_answers_about_oneself_that_cannot_be(
    database: Database, code: str, http: httpx.Client, answers: object
) -> None:
    rater = RemoteRater(http, code)
    before = rows(database)
    assert rater.post("about", answers=answers).status_code == 400
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
        assert consent.text == here["consent"]
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
