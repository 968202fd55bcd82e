"""What no answer of the listening test's routes tells: roles, names, where things lie."""

from urllib.parse import quote

import httpx
import pytest
from sqlalchemy import select

from annotation.database import Database
from annotation.schema import Trial
from core.settings import Settings
from tests.webapp.studies import RemoteRater, SmallStudy


def test_every_answer_is_kept_nowhere_and_has_no_validator(rater: RemoteRater, code: str, http: httpx.Client) -> None:
    task = rater.begin()
    answers = [
        http.post("/listening/enter", json={"code": code}),
        http.post("/listening/enter", json={"code": "WRONG"}),
        http.get("/listening/place"),
        rater.get("place"),
        rater.get("sound-check"),
        rater.get(f"clip/{task['token']}"),
        rater.get(f"clip/{task['token']}"),
        rater.get("clip/x"),
        rater.rate(task, 0),
        rater.post("problem", token="x"),
        rater.get("nothing"),
    ]
    for said in answers:
        names = {"date", "cache-control", "content-length", "content-type"}
        names |= {"content-security-policy", "referrer-policy", "x-content-type-options", "x-frame-options"}
        assert said.headers.keys() == names, said.url
        assert said.headers["cache-control"] == "no-store"


def test_no_part_of_a_clip_is_sent(rater: RemoteRater) -> None:
    task = rater.begin()
    whole = rater.get(f"clip/{task['token']}")
    conditions = {"Range": "bytes=0-9", "If-None-Match": "*", "If-Modified-Since": "Sun, 01 Jan 2090 00:00:00 GMT"}
    said = rater.client.get(f"/listening/clip/{task['token']}", headers=rater.headers | conditions)
    assert (said.status_code, said.content) == (200, whole.content)


def test_the_roles_of_a_batch_cannot_be_told_apart(database: Database, rater: RemoteRater) -> None:
    heard = rater.batch()
    with database.read() as session:
        query = select(Trial.token, Trial.role, Trial.clip_id)
        trials = {token: (role, clip) for token, role, clip in session.execute(query)}
    roles = [trials[task["token"]][0] for task, _ in heard]
    assert sorted(roles) == ["anchor", "duplicate", *["stimulus"] * 4]
    clips = {task["token"]: trials[task["token"]][1] for task, _ in heard}
    assert len(set(clips.values())) == len(clips) - 1  # one comes twice
    assert len({str(said.url) for _, said in heard}) == len(heard)
    told = {
        tuple((name, value) for name, value in said.headers.raw if name not in (b"date", b"content-length"))
        for _, said in heard
    }
    assert len(told) == 1
    assert {tuple(task) for task, _ in heard} == {
        ("token", "prompt", "duration_s", "position", "count", "practice", "next_token", "time_left_s")
    }
    assert [(task["position"], task["count"], task["practice"]) for task, _ in heard] == [
        (number, 6, False) for number in range(1, 7)
    ]


@pytest.mark.parametrize(
    "pattern",
    ["{0}", "file={0}", "gradio_api/file={0}", "gradio_api/file={1}", "gradio_api/file/{0}", "static/{0}", "data/{2}"],
)
def test_the_data_folder_is_not_served(
    address: str, study: SmallStudy, database: Database, settings: Settings, pattern: str
) -> None:
    files = [path for path in settings.data.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".sqlite", ".wav"}
    for path in files[:5] + files[-5:]:
        target = pattern.format(path, quote(str(path), safe=""), path.relative_to(settings.data))
        said = httpx.get(f"{address}{target}", follow_redirects=False)
        assert not said.content.startswith((b"RIFF", b"SQLite")), target
        assert said.status_code >= 300 or "window.gradio_config" in said.text, target
