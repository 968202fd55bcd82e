"""`/metrics`: a monitor that sends the token learns how much is asked, rated and scored; nobody else anything."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from starlette.testclient import TestClient

from annotation.database import Database, now
from annotation.schema import Batch
from core.scorer import Scorer
from core.settings import SHORTEST_TOKEN, Settings
from tests.webapp.conftest import free_port, in_process, make_app
from tests.webapp.studies import RemoteRater, make_study
from webapp.metrics import SCORING

TOKEN = "t" * SHORTEST_TOKEN
SENT = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(port=free_port(), data=tmp_path, metrics_token=TOKEN)


@pytest.fixture
def client(scorer: Scorer, settings: Settings) -> Iterator[TestClient]:
    with in_process(make_app(scorer, settings)) as one:
        yield one


def samples(client: TestClient) -> dict[tuple[str, ...], float]:
    """Values by name and labels."""
    answer = client.get("/metrics", headers=SENT)
    assert answer.status_code == 200
    return {
        (one.name, *(value for name, value in sorted(one.labels.items()) if name != "le")): one.value
        for family in text_string_to_metric_families(answer.text)
        for one in family.samples
    }


def test_both_processes_tell(client: TestClient) -> None:
    client.get("/health")
    with SCORING.labels("clip").time():
        pass
    found = samples(client)
    assert found["musiceval_request_seconds_count", "GET", "/health", "200"] == 1
    assert found["musiceval_ratings",] == 0
    assert found["musiceval_open_batches", "running"] == found["musiceval_open_batches", "lapsed"] == 0
    assert found["musiceval_waiting_events",] == 0
    assert found["musiceval_scoring_seconds_count", "clip"] >= 1
    assert ("musiceval_server_process_open_fds",) in found


def test_only_who_sends_the_token_is_told(client: TestClient) -> None:
    for headers in ({}, {"Authorization": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}, {"x-musiceval-metrics": "1"}):
        answer = client.get("/metrics", headers=headers)
        assert (answer.status_code, "musiceval_r" in answer.text) == (401, False)


def test_the_pages_tell_nobody_but_the_server(scorer: Scorer, tmp_path: Path) -> None:
    with in_process(make_app(scorer, Settings(data=tmp_path))) as client:
        for method in ("GET", "HEAD", "POST", "PUT"):
            answer = client.request(method, "/metrics", headers={**SENT, "x-musiceval-metrics": "1"})
            assert answer.status_code in (404, 405)
            assert "musiceval" not in answer.text


def test_labels_are_few_words_whatever_is_asked(client: TestClient) -> None:
    for path in ("/listening/clip/a-secret-token", "/listening/a/b/c", "/listening/", "/admin/x", "/who/knows"):
        client.get(path)
    client.request("BREW", "/listening/rate")
    routes = {labels[2] for labels in samples(client) if labels[0] == "musiceval_request_seconds_count"}
    assert routes == {
        "/listening/clip/{token}",
        "/listening/other",
        "/listening/",
        "/admin",
        "pages",
        "/listening/rate",
    }


def test_every_metric_is_documented(client: TestClient) -> None:
    text = (Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(musiceval_\w+)", text))
    told = {
        re.sub(r"^(musiceval_(?:server|pages)_process_).*", r"\1", family.name)
        for family in text_string_to_metric_families(client.get("/metrics", headers=SENT).text)
        if not family.name.endswith("_created")
    }
    assert told == documented


def test_ratings_and_leases_are_counted(client: TestClient, settings: Settings) -> None:
    database = Database(settings.database_url)
    study = make_study(database, settings.data, training=0)
    rater = RemoteRater(client, study.codes[0])
    task = rater.begin()
    rater.hear(task)
    rater.rate(task).raise_for_status()
    found = samples(client)
    assert (
        found["musiceval_ratings",] == found["musiceval_request_seconds_count", "POST", "/listening/rate", "200"] == 1
    )
    assert (found["musiceval_open_batches", "running"], found["musiceval_open_batches", "lapsed"]) == (1, 0)
    with database.write() as session:
        session.execute(update(Batch).values(lease_until=now(session) - timedelta(minutes=1)))
    database.close()
    found = samples(client)
    assert (found["musiceval_open_batches", "running"], found["musiceval_open_batches", "lapsed"]) == (0, 1)
