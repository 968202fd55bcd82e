"""Downloads of exports: whole, once, for a short time, and for nobody without a ticket."""

import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from annotation.database import Database
from core.errors import StudyError
from tests.webapp.studies import SmallStudy, make_study
from webapp.study_export import LIFE_S, Exports
from webapp.venues import Venue

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Desk:
    exports: Exports
    client: TestClient
    study: SmallStudy
    folder: Path
    clock_s: list[float] = field(default_factory=lambda: [0.0])

    def get(self, address: str) -> httpx.Response:
        return self.client.get(f"/{address}")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    clock_s = [0.0]
    exports = Exports(Venue(database, tmp_path), lambda: clock_s[0])
    study = make_study(database, tmp_path, stimuli=2, raters=1)
    with TestClient(Starlette(routes=[exports.route])) as client:
        yield Desk(exports, client, study, tmp_path / "exports", clock_s)
    exports.close()
    database.close()


def test_the_download_is_the_export(desk: Desk) -> None:
    ticket = desk.exports.prepare(desk.study.name, NOW)
    assert ticket.name == f"{desk.study.name}-20260301T120000Z.zip"
    answer = desk.get(ticket.address)
    assert (answer.status_code, len(answer.content)) == (200, ticket.size_bytes)
    assert answer.headers["content-disposition"] == f'attachment; filename="{ticket.name}"'
    assert answer.headers["cache-control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        top = ticket.name.removesuffix(".zip")
        manifest = json.loads(archive.read(f"{top}/manifest.json"))
        assert manifest["content_sha256"] == ticket.content_sha256
        for name, sha256 in manifest["files"].items():
            assert hashlib.sha256(archive.read(f"{top}/{name}")).hexdigest() == sha256


def test_a_ticket_is_good_once(desk: Desk) -> None:
    ticket = desk.exports.prepare(desk.study.name, NOW)
    assert desk.client.head(f"/{ticket.address}").status_code == 405
    assert desk.get(ticket.address).status_code == 200
    assert list(desk.folder.iterdir()) == []
    again = desk.get(ticket.address)
    assert (again.status_code, again.text.split(".")[0]) == (
        404,
        "This download has been used, or has expired",
    )


def test_a_ticket_expires(desk: Desk) -> None:
    first = desk.exports.prepare(desk.study.name, NOW)
    desk.clock_s[0] = LIFE_S
    second = desk.exports.prepare(desk.study.name, NOW)
    assert len(list(desk.folder.iterdir())) == 1
    assert desk.get(first.address).status_code == 404
    assert desk.get(second.address).status_code == 200


@pytest.mark.parametrize("ticket", ["", "x" * 43, "..", "%2e%2e%2fmusiceval.sqlite", "%00"])
def test_nobody_gets_in_without_a_ticket(desk: Desk, ticket: str) -> None:
    waiting = desk.exports.prepare(desk.study.name, NOW)
    assert desk.client.get(f"/study/export/{ticket}").status_code in (404, 405)
    assert desk.get(waiting.address).status_code == 200


def test_tickets_cannot_be_guessed(desk: Desk) -> None:
    tickets = {desk.exports.prepare(desk.study.name, NOW).address.split("/")[-1] for _ in range(3)}
    assert {len(ticket) for ticket in tickets} == {43}
    assert not any(ticket in path.name for ticket in tickets for path in desk.folder.iterdir())


def test_an_export_that_fails_leaves_nothing(desk: Desk) -> None:
    with pytest.raises(StudyError, match="There is no study"):
        desk.exports.prepare("no-such", NOW)
    assert list(desk.folder.iterdir()) == []


def test_what_nobody_fetched_goes_at_the_end(desk: Desk) -> None:
    desk.exports.prepare(desk.study.name, NOW)
    desk.exports.close()
    assert list(desk.folder.iterdir()) == []


def test_what_a_killed_server_left_goes_at_the_next_start(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'musiceval.sqlite'}")
    old, new = tmp_path / "exports" / "old.zip", tmp_path / "exports" / "new.zip"
    work = tmp_path / "exports" / "work"
    work.mkdir(parents=True)
    for path in (old, new, work / "ratings.csv"):
        path.touch()
    long_ago_s = time.time() - LIFE_S - 1
    for path in (old, work):
        os.utime(path, (long_ago_s, long_ago_s))
    Exports(Venue(database, tmp_path))
    assert list((tmp_path / "exports").iterdir()) == [new]
    database.close()
