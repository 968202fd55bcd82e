"""Times a listening test under load: raters at a steady pace against the real app, and what else is asked meanwhile.

``python -m tools.load --raters 200 --cycle 18 --clip 10 --seconds 60 --beside scoring``

Starts the app on a port of its own with an empty data folder and a study of noise. Raters come at random times
of the first cycle; each fetches a clip, waits, and submits. Printed is the time from a submission to the next
trial from the third cycle on, and whether the database holds what was acknowledged, no more and no less.
"""

import asyncio
import base64
import contextlib
import functools
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
import soundfile
from sqlalchemy import func, select

from annotation.backups.durable import open_studies
from annotation.database import Database
from annotation.material.ingest import Entry, add_clip
from annotation.material.sound import Normalised
from annotation.protocol import Protocol
from annotation.schema import Response
from annotation.studies import create, invite
from core.command import CONTEXT, EXIT_MISTAKE, EXIT_OK, Command, run_command
from core.settings import Settings
from tools.serving import ROOT, served, wait_for

_STIMULI = 400
_CLIP = ROOT / "webapp" / "examples" / "far-too-loud.flac"
# As browsers do, no connection is used again that the server may be closing: it does after 5 s.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=3)
_PROMPT = "Fast, energetic acoustic music with driving drums and strummed guitars."


@dataclass
class Seen:
    """What the raters saw."""

    warm_s: float  # before that everybody starts at once, which is not measured
    submitted_s: list[float] = field(default_factory=list)
    fetched_s: list[float] = field(default_factory=list)
    saved: int = 0
    errors: list[str] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    def note(self, times_s: list[float], since_s: float) -> None:
        if since_s > self.warm_s:
            times_s.append(time.monotonic() - since_s)


@dataclass(frozen=True)
class Load:
    """What the raters do; times are in seconds."""

    raters: int
    cycle: float
    clip: float
    seconds: float
    beside: str
    database: str
    journal: str


def put(given: Load) -> int:
    """Run the load and print what was seen; return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        url = given.database or f"sqlite:///{data / 'musiceval.sqlite'}"
        codes = _fill(url, data, given.raters, given.clip)
        with _app(url, data, given) as (address, number):
            seen = asyncio.run(_load(address, codes, given, number))
        stored = _stored(Database(url))
        if given.journal:
            kept = Settings(data=data / "again", journal_url=given.journal)
            stored = min(stored, _stored(open_studies(kept, print, begins=True)))
    print(f"{given.raters} raters, a rating every {given.cycle:g} s each, beside {given.beside}")
    print(f"measured {len(seen.submitted_s)}, saved {seen.saved}, stored {stored}, errors {len(seen.errors)}")
    for name, times in (("submit to next", seen.submitted_s), ("clip", seen.fetched_s)):
        p50, p95, p100 = np.percentile(np.multiply(times, 1000), [50, 95, 100])
        print(f"{name:<15} median {p50:.0f} ms, 95 % {p95:.0f} ms, longest {p100:.0f} ms")
    before, after = seen.memory_mb
    print(f"memory          {before:.0f} MB when all had begun, {after:.0f} MB at the end")
    print(*sorted(set(seen.errors)), sep="\n")
    return EXIT_OK if stored == seen.saved and not seen.errors else EXIT_MISTAKE


def _fill(url: str, data: Path, raters: int, clip_s: float) -> list[str]:
    database, at = Database(url), datetime.now(UTC)
    with database.write() as session:
        protocol = Protocol(raters_per_clip=raters, training=0)
        study = create(session, "load", protocol, 1, at)
    hz = protocol.sample_rate_hz
    noise = (np.random.default_rng(1).standard_normal(round(clip_s * hz)) / 20).astype("f4")
    for number in range(_STIMULI + 20):
        kind = "stimulus" if number < _STIMULI else "anchor"
        entry = Entry(file=f"{number}.wav", prompt="noise", system=f"system-{number % 10}", kind=kind)
        add_clip(database, data, study, entry, str(number), Normalised(noise, hz, -23.0, 0.0, False), at)
    with database.write() as session:
        codes = [code for _, code in invite(session, study, raters, at, without_practice=True)]
    database.close()
    return codes


@contextlib.contextmanager
def _app(url: str, data: Path, given: Load) -> Iterator[tuple[str, int]]:
    """Run the app; give its address and its process."""
    own = {"MUSICEVAL_DATA": str(data), "MUSICEVAL_DATABASE_URL": url}
    if given.journal:
        own["MUSICEVAL_JOURNAL_URL"] = given.journal
    if given.beside == "disk":
        own["MUSICEVAL_RESERVE_MB"] = str(10**9)
    started_s = time.monotonic()
    with served(own) as (address, app):
        for what, path in (("raters", "listening/"), ("pages", "config")):
            wait_for(f"{address}{path}", app)
            print(f"{what} served {time.monotonic() - started_s:.1f} s after the start")
        yield address, app.pid


async def _load(address: str, codes: list[str], given: Load, number: int) -> Seen:
    seen = Seen(time.monotonic() + 2 * given.cycle)
    end_s = seen.warm_s + given.seconds
    beside = asyncio.create_task(_again(BESIDE[given.beside], address, end_s))
    asyncio.get_running_loop().call_later(2 * given.cycle, lambda: seen.memory_mb.append(_memory_mb(number)))
    await asyncio.gather(*(_rater(address, code, seen, given, end_s) for code in codes))
    seen.memory_mb.append(_memory_mb(number))
    beside.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beside
    return seen


def _memory_mb(number: int) -> float:
    """Return what a process and all that it started take, what they share counted once."""
    of = {int(path.parent.name): path.read_text().rsplit(")")[-1].split() for path in Path("/proc").glob("[0-9]*/stat")}
    family, grown = {number}, True
    while grown:
        more = {child for child, facts in of.items() if int(facts[1]) in family} - family
        family, grown = family | more, bool(more)
    rolled = (Path(f"/proc/{one}/smaps_rollup").read_text() for one in family)
    return sum(int(re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)[0]) for text in rolled) / 1e3


async def _rater(address: str, code: str, seen: Seen, given: Load, end_s: float) -> None:
    """Rate as one browser: a client for all would look through all connections at each request, and be the limit."""
    try:
        async with httpx.AsyncClient(base_url=address, timeout=60, limits=_LIMITS, verify=False) as client:
            await asyncio.sleep(random.uniform(0, given.cycle))
            await _rate_on(client, code, seen, given, end_s)
    except (httpx.HTTPError, KeyError) as error:
        seen.errors.append(repr(error))


async def _rate_on(client: httpx.AsyncClient, code: str, seen: Seen, given: Load, end_s: float) -> None:
    entered = await client.post("/listening/enter", json={"code": code})
    headers = {"Authorization": f"Bearer {entered.json()['visit']}"}

    async def post(path: str, **body: Any) -> dict[str, Any]:
        while True:
            answer = await client.post(f"/listening/{path}", json=body, headers=headers)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return dict(answer.raise_for_status().json())
            await asyncio.sleep(float(answer.headers["Retry-After"]))  # as the page does

    place = await post("about", answers={})
    while time.monotonic() < end_s:
        if place["step"] == "ready":
            place = await post("start")
        task, begun_s = place["task"], time.monotonic()
        (await client.get(f"/listening/clip/{task['token']}", headers=headers)).raise_for_status()
        seen.note(seen.fetched_s, begun_s)
        await asyncio.sleep(max(given.cycle - (time.monotonic() - begun_s), task["duration_s"] + 0.1))
        scores = {"musical_impression": random.choice((3, 4)), "textual_alignment": random.choice((3, 4))}
        submitted_s = time.monotonic()
        said = await post("rate", token=task["token"], comment="", played=[[0, task["duration_s"]]], **scores)
        seen.note(seen.submitted_s, submitted_s)
        seen.saved += said["outcome"] == "saved"
        place = said["place"]


# What is asked beside


async def _again(action: Callable[[httpx.AsyncClient], Awaitable[None]], address: str, end_s: float) -> None:
    async with httpx.AsyncClient(base_url=address, timeout=120, limits=_LIMITS) as client:
        while time.monotonic() < end_s:
            await action(client)


async def _nothing(_: httpx.AsyncClient) -> None:
    await asyncio.sleep(0.2)


async def _scoring(client: httpx.AsyncClient) -> None:
    """Two visitors who score without a pause."""
    given = {"clip": base64.b64encode(_CLIP.read_bytes()).decode(), "prompt": _PROMPT}
    params = {"name": "score", "arguments": given}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {"Accept": "application/json, text/event-stream"}
    answers = await asyncio.gather(*(client.post("/gradio_api/mcp/", json=body, headers=headers) for _ in range(2)))
    assert all("musical_impression" in answer.text for answer in answers)


async def _views(client: httpx.AsyncClient) -> None:
    """Fifty page views at once, again and again."""
    await asyncio.gather(*(client.get("/") for _ in range(50)))


async def _bodies(client: httpx.AsyncClient) -> None:
    """JSON as large and as manifold as is let through, ten at once."""
    body = json.dumps({"data": ["x" * 900_000, [1] * 19_000], "fn_index": 0, "session_hash": "load"})
    headers = {"Content-Type": "application/json"}
    await asyncio.gather(*(client.post("/gradio_api/queue/join", content=body, headers=headers) for _ in range(10)))


async def _uploads(client: httpx.AsyncClient) -> None:
    """Two uploads of 50 MB at once."""

    async def part() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'
        for _ in range(50):
            yield b"0" * 1_000_000
        yield b"\r\n--x--\r\n"

    sizes = [len(chunk) async for chunk in part()]
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Content-Length": str(sum(sizes))}
    await asyncio.gather(*(client.post("/gradio_api/upload", content=part(), headers=headers) for _ in range(2)))


async def _connections(client: httpx.AsyncClient) -> None:
    """Five hundred connections that send half a head, for two seconds."""
    host, port = client.base_url.host, client.base_url.port or 80
    opened = await asyncio.gather(*(asyncio.open_connection(host, port) for _ in range(500)))
    for _, writer in opened:
        writer.write(b"GET / HTTP/1.1\r\nHo")
    await asyncio.sleep(2)
    for _, writer in opened:
        writer.close()


async def _lists(client: httpx.AsyncClient) -> None:
    """Two lists of two hundred clips each."""
    rows, clips = await asyncio.to_thread(_two_hundred)
    await asyncio.gather(*(_score_list(client, rows, clips) for _ in range(2)))


@functools.cache
def _two_hundred() -> tuple[list[str], bytes]:
    names = [f"{number}.flac" for number in range(200)]
    clips = _zipped({name: _CLIP.read_bytes() + name.encode() for name in names})
    return [f"{name},Fast music" for name in names], clips


async def _bombs(client: httpx.AsyncClient) -> None:
    """A list of small files that take as much memory and time as is let through."""
    await _score_list(client, *await asyncio.to_thread(_small_files))


@functools.cache
def _small_files() -> tuple[list[str], bytes]:
    large = io.BytesIO()
    soundfile.write(large, np.zeros((60_000_000, 1), np.int16), 192_000, format="FLAC")
    names = [f"{number}.flac" for number in range(8)]
    return [f"{name},bomb" for name in names], _zipped({name: large.getvalue() + name.encode() for name in names})


def _zipped(files: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


async def _score_list(client: httpx.AsyncClient, rows: Sequence[str], clips: bytes) -> None:
    table = "\n".join(["file,prompt", *rows]).encode()
    files = [("files", ("list.csv", table)), ("files", ("clips.zip", clips))]
    manifest, archive = (await client.post("/gradio_api/upload", files=files)).raise_for_status().json()
    given = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in (manifest, archive)]
    asked = await client.post("/gradio_api/call/score_batch", json={"data": [given[0], [given[1]]]})
    number = asked.raise_for_status().json()["event_id"]
    answer = await client.get(f"/gradio_api/call/score_batch/{number}", timeout=None)
    assert "event: complete" in answer.text, answer.text[:500]


async def _training(_client: httpx.AsyncClient) -> None:
    """A training of a judge, as the page starts it: a process that yields to others."""
    with tempfile.TemporaryDirectory() as folder:
        await asyncio.to_thread(_rated, Path(folder))
        command = ["nice", sys.executable, "-m", "core", "train", "--data=rated.csv", "--output=judge", "--cache=kept"]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, said[-500:]


def _rated(folder: Path) -> None:
    """Write a table of sixty rated clips of noise."""
    draws = np.random.default_rng(1)
    lines = ["clip_id,audio_path,prompt,prompt_id,system_id,musical_impression,textual_alignment,split"]
    for number in range(60):
        path = folder / f"{number}.wav"
        soundfile.write(path, draws.standard_normal(16_000 * 10) / 20, 16_000)
        impression, alignment = draws.integers(1, 6, 2)
        lines.append(f"{number},{path},Calm piano {number},{number},S{number % 12},{impression},{alignment},")
    (folder / "rated.csv").write_text("\n".join(lines) + "\n")


BESIDE: dict[str, Callable[[httpx.AsyncClient], Awaitable[None]]] = {
    "nothing": _nothing,
    "scoring": _scoring,
    "views": _views,
    "bodies": _bodies,
    "uploads": _uploads,
    "connections": _connections,
    "lists": _lists,
    "bombs": _bombs,
    "training": _training,
    "disk": _uploads,
}


def _stored(database: Database) -> int:
    with database.read() as session:
        stored = session.scalar(select(func.count(Response.id))) or 0
    database.close()
    return stored


@click.command(cls=Command, context_settings=CONTEXT)
@click.option("--raters", metavar="N", type=click.IntRange(1), default=20, help="who rate at once")
@click.option("--cycle", metavar="S", type=float, default=18.0, help="seconds from one rating to the next")
@click.option("--clip", metavar="S", type=float, default=10.0, help="seconds that a clip lasts")
@click.option("--seconds", metavar="S", type=float, default=60.0, help="how long it goes on")
@click.option("--beside", type=click.Choice(sorted(BESIDE)), default="nothing", help="what else is asked meanwhile")
@click.option("--database", metavar="URL", default="", help="an empty PostgreSQL database, in place of SQLite's file")
@click.option("--journal", metavar="URL", default="", help="an empty place for a journal, which is counted too")
def load(**given: Any) -> None:
    """Time a listening test in the real app: raters at a steady pace, and what else is asked meanwhile."""
    sys.exit(put(Load(**given)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``python -m tools.load`` and return its exit code."""
    return run_command("python -m tools.load", load, argv)


if __name__ == "__main__":
    sys.exit(main())
