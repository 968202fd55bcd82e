"""The downloads of a study: exports and reports are packed, served whole or in parts, and forgotten."""

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.testclient import TestClient

from annotation.database import Database
from annotation.schema import Rater
from annotation.studies import find_study, invite
from core.errors import StudyError
from tests.annotation.rooms import NOW
from tests.annotation.scripted import rate_all
from tests.webapp.layouts import laid_out
from tests.webapp.studies import SmallStudy, make_study, opened
from webapp.exports import DAY_S, EXPORT_LIFE_S, EXPORTS, clips_route, export_route, pack_export, report_route
from webapp.listening_api import StudyStore
from webapp.study import StudyPage


@pytest.fixture
def database(empty_database: Path, tmp_path: Path) -> Iterator[Database]:
    database = opened(Path(shutil.copy(empty_database, tmp_path / "musiceval.sqlite")))
    yield database
    database.close()


@dataclass
class Served:
    store: StudyStore
    study: SmallStudy
    client: TestClient

    @property
    def packed(self) -> list[Path]:
        return sorted((self.store.data / "exports").iterdir())


@contextlib.contextmanager
def serve(database: Database, data: Path) -> Iterator[Served]:
    store = StudyStore(database, data)
    study = make_study(database, data, stimuli=2, raters=1)
    with TestClient(Starlette(routes=[export_route(data), clips_route(store), report_route(store)])) as client:
        yield Served(store, study, client)


def rate_clips(served: Served) -> str:
    """Have the study rated; give the address of an export with its clips."""
    with served.store.database.read() as session:
        (rater_id,) = session.scalars(select(Rater.id))
    rate_all(served.store.database, rater_id, lambda _clip, _role: (5, 5), datetime.now(UTC) - timedelta(hours=1))
    return f"{EXPORTS}/{served.study.name}/clips.zip?at={datetime.now(UTC):%Y%m%dT%H%M%SZ}"


@pytest.fixture
def served(database: Database, tmp_path: Path) -> Iterator[Served]:
    with serve(database, tmp_path) as one:
        yield one


def test_the_download_is_the_export(served: Served) -> None:
    packed = pack_export(served.store, served.study.name, NOW)
    assert packed.name == f"{served.study.name}-20260301T120000Z.zip"
    assert re.fullmatch(r"\d+ kB", packed.size)
    answer = served.client.get(f"{EXPORTS}/{packed.name}")
    assert (answer.status_code, len(answer.content)) == (200, packed.size_bytes)
    assert answer.headers["content-disposition"] == f'attachment; filename="{packed.name}"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        top = packed.name.removesuffix(".zip")
        manifest = json.loads(archive.read(f"{top}/manifest.json"))
        assert manifest["content_sha256"] == packed.content_sha256
        for name, sha256 in manifest["files"].items():
            assert hashlib.sha256(archive.read(f"{top}/{name}")).hexdigest() == sha256


@pytest.mark.parametrize(
    "name", ["", "..", "%2e%2e%2fmusiceval.sqlite", "%00", "secret.txt", "study-20260301T120000Z.zip"]
)
def test_nothing_else_is_served(served: Served, name: str) -> None:
    pack_export(served.store, served.study.name, NOW)
    (served.store.data / "exports" / "secret.txt").write_text("a secret")
    assert served.client.get(f"{EXPORTS}/{name}").status_code == 404


def test_an_export_lives_for_an_hour(served: Served) -> None:
    old = pack_export(served.store, served.study.name, NOW)
    (abandoned,) = served.packed
    killed = abandoned.with_name("killed-amid-packing")
    killed.mkdir()
    os.utime(abandoned, (time.time() - EXPORT_LIFE_S - 1,) * 2)
    os.utime(killed, (time.time() - DAY_S - 1,) * 2)  # until then it may be a download that is under way
    assert served.client.get(f"{EXPORTS}/{old.name}").status_code == 404
    new = pack_export(served.store, served.study.name, datetime.now(UTC))
    assert [path.name for path in served.packed] == [new.name]
    assert served.client.get(f"{EXPORTS}/{new.name}").status_code == 200


def test_the_report_is_one_file(served: Served) -> None:
    answer = served.client.get(f"{EXPORTS}/{served.study.name}/report.html")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.search(rf'filename="{served.study.name}-report-.*\.html"', answer.headers["content-disposition"])
    assert served.client.get(f"{EXPORTS}/none/report.html").status_code == 404


def test_an_export_with_clips_is_made_while_it_is_sent(served: Served) -> None:
    address = f"{EXPORTS}/{served.study.name}/clips.zip"
    answer = served.client.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    (name,) = re.findall(r'attachment; filename="(.*)\.zip"', answer.headers["content-disposition"])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        manifest = json.loads(archive.read(f"{name}/manifest.json"))
        assert {entry.removeprefix(f"{name}/") for entry in archive.namelist()} == {"manifest.json", *manifest["files"]}
    assert served.packed == []
    head = served.client.head(address)
    assert (head.content, head.headers["content-length"]) == (b"", str(len(answer.content)))
    assert served.client.get(f"{EXPORTS}/nowhere/clips.zip").status_code == 404


@dataclass
class Whole:
    """An export with clips of a study that nothing changes, at its address."""

    client: TestClient
    address: str
    answer: httpx.Response

    def part(self, asked: str, **headers: str) -> httpx.Response:
        return self.client.get(self.address, headers={"Range": asked, **headers})


@pytest.fixture(scope="module")
def whole(empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    data = tmp_path_factory.mktemp("whole")
    file = Path(shutil.copy(empty_database, data / "musiceval.sqlite"))
    with contextlib.closing(opened(file)) as database, serve(database, data) as served:
        address = rate_clips(served)
        yield Whole(served.client, address, served.client.get(address))


@pytest.mark.parametrize("tells", [True, False])
def test_a_download_that_broke_off_goes_on(whole: Whole, tells: bool) -> None:
    """As browsers do, which tell the ETag, and as ``curl -C -``, which does not."""
    content, headers = whole.answer.content, whole.answer.headers
    size, tag = len(content), headers["etag"]
    assert (headers["accept-ranges"], headers["content-length"]) == ("bytes", str(size))
    assert re.fullmatch(r'"[0-9a-f]{64}"', tag)
    assert len([name for name in zipfile.ZipFile(io.BytesIO(content)).namelist() if name.endswith(".wav")]) == 2
    for start in sorted({0, 1, size // 3, size // 2, size - 1}):
        rest = whole.part(f"bytes={start}-", **({"If-Range": tag} if tells else {}))
        assert (rest.status_code, rest.content) == (206, content[start:])
        assert rest.headers["content-range"] == f"bytes {start}-{size - 1}/{size}"
        assert (rest.headers["content-length"], rest.headers["etag"]) == (str(size - start), tag)


@pytest.mark.parametrize(
    ("asked", "first", "last"), [("0-0", 0, 0), ("10-19", 10, 19), ("-5", -5, -1), ("10-999999999", 10, -1)]
)
def test_a_range_of_a_download(whole: Whole, asked: str, first: int, last: int) -> None:
    content = whole.answer.content
    answer = whole.part(f"bytes={asked}")
    first, last = first % len(content), last % len(content)
    assert (answer.status_code, answer.content) == (206, content[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/{len(content)}"


@pytest.mark.parametrize(
    "asked", ["", "bytes=", "bytes=-", "bytes=0-1,4-5", "lines=1-2", "bytes=x-", "bytes=1--2", "bytes=5-4"]
)
def test_what_is_no_range_is_answered_with_all(whole: Whole, asked: str) -> None:
    answer = whole.part(asked)
    assert (answer.status_code, answer.content) == (200, whole.answer.content)


@pytest.mark.parametrize("start", [0, 1])
def test_behind_the_end_there_is_nothing(whole: Whole, start: int) -> None:
    size = len(whole.answer.content)
    for asked in (f"{size + start}-", f"{size + start}-{size + 9}", "-0"):
        answer = whole.part(f"bytes={asked}")
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


@pytest.mark.parametrize("tells", [True, False])
def test_a_study_that_has_changed_is_sent_anew(served: Served, tells: bool) -> None:
    clips = rate_clips(served)
    before = served.client.get(clips)
    with served.store.database.write() as session:
        invite(session, find_study(session, served.study.name), 1, NOW, without_practice=True)
    asked = {"Range": "bytes=100-"} | ({"If-Range": before.headers["etag"]} if tells else {})
    for _ in range(2):  # the second time it is what was sent last, and still not what was begun
        answer = served.client.get(clips, headers=asked)
        assert (answer.status_code, len(answer.content)) == (200, int(answer.headers["content-length"]))
        assert answer.headers["etag"] != before.headers["etag"]
        zipfile.ZipFile(io.BytesIO(answer.content)).close()


@pytest.mark.parametrize("at", ["yesterday", "20260301T120000Z", "29990101T000000Z"])
def test_an_address_of_clips_works_for_a_day(served: Served, at: str) -> None:
    assert served.client.get(f"{EXPORTS}/{served.study.name}/clips.zip?at={at}").status_code == 404


def test_what_cannot_be_exported_leaves_nothing(served: Served) -> None:
    with pytest.raises(StudyError):
        pack_export(served.store, "nowhere", NOW)
    assert served.packed == []


def test_the_page_links_to_the_export(served: Served) -> None:
    with laid_out():
        note = StudyPage(served.store, str).export(served.study.name)
    (name,) = re.findall(r'<a href="export/([^"]+)" download="\1">\1</a> \(\d+ kB\)', note)
    assert served.client.get(f"{EXPORTS}/{name}").status_code == 200
    (with_clips,) = re.findall(rf'<a href="(export/{served.study.name}/clips\.zip\?at=[^"]+)" download>', note)
    assert served.client.get(f"/admin/{with_clips}").status_code == 200
