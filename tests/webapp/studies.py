"""Small studies with real files for tests of the pages, and a rater who speaks HTTP.

Everything that must never reach a rater's browser carries a canary: a word that stands nowhere else.
"""

import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import func, select, update

from annotation.database import Database
from annotation.material.ingest import Entry, add_clip
from annotation.material.sound import Normalised
from annotation.protocol import Protocol
from annotation.schema import Base, Clip, Trial
from annotation.studies import create, invite

CANARY = "ZAUNKOENIG"  # in the names of systems and files, in paths and explanations of what is hidden
FIRST_CLIP_ID = 76_543_001  # so that a clip's number is told from other numbers
SAMPLE_RATE_HZ = 16_000
SMALL = {"batch_size": 4, "anchors": 1, "duplicates": 1, "duplicate_distance": 2}


def opened(file: Path) -> Database:
    return Database(f"sqlite:///{file}", durable=False)


@dataclass(frozen=True)
class SmallStudy:
    name: str
    codes: list[str]


def make_study(
    database: Database,
    data: Path,
    stimuli: int = 8,
    anchors: int = 2,
    training: int = 1,
    raters: int = 2,
    duration_s: float = 0.2,
    prompt: str = "Prompt {}",
    **protocol: Any,
) -> SmallStudy:
    """Make a study of noise; clips are a little longer from one to the next."""
    at = datetime.now(UTC)
    name = f"study-{secrets.token_hex(4)}"
    random = np.random.default_rng(1)
    with database.write() as session:
        study = create(session, name, Protocol(**{**SMALL, **protocol}), 7, at)
    kinds = ["stimulus"] * stimuli + ["anchor"] * anchors + ["practice"] * training
    for number, kind in enumerate(kinds):
        samples = (random.standard_normal(round((duration_s + number / 1000) * SAMPLE_RATE_HZ)) / 20).astype("f4")
        entry = Entry(
            file=f"{CANARY}-folder/{CANARY}-{kind}-{number}.flac",
            prompt=prompt.format(number),
            system=f"{CANARY}-system-{number % 2}",
            kind=kind,
            expected={"musical_impression": 4.0, "textual_alignment": 2.0} if kind == "practice" else {},
            explanation="Noise, as it should be." if kind == "practice" else None,
        )
        sound = Normalised(samples, SAMPLE_RATE_HZ, -23.0, 0.0, False)
        add_clip(database, data, study, entry, f"{CANARY}-{number}", sound, at)
    with database.write() as session:
        new = Clip.study_id == study.id
        session.execute(update(Clip).where(new, Clip.id < FIRST_CLIP_ID).values(id=Clip.id + FIRST_CLIP_ID))
        codes = [code for _, code in invite(session, study, raters, at, without_practice=True)]
    return SmallStudy(name, codes)


class RemoteRater:
    """A rater who asks the server as the page does.

    Parameters
    ----------
    client : httpx.Client
        With the server's address as base.
    code : str
    """

    def __init__(self, client: httpx.Client, code: str) -> None:
        self.client = client
        self.code = code
        entered = client.post("/listening/enter", json={"code": code}).raise_for_status()
        self.headers = {"Authorization": f"Bearer {entered.json()['visit']}"}

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"/listening/{path}", headers=self.headers)

    def post(self, path: str, **body: Any) -> httpx.Response:
        return self.client.post(f"/listening/{path}", json=body, headers=self.headers)

    def place(self) -> dict[str, Any]:
        return dict(self.get("place").raise_for_status().json())

    def begin(self) -> dict[str, Any]:
        """Agree where that is still to do, and start the next batch; give the first task."""
        if self.place()["step"] == "about":
            self.post("about", answers={}).raise_for_status()
        return dict(self.post("start").raise_for_status().json()["task"])

    def hear(self, task: dict[str, Any]) -> httpx.Response:
        """Fetch the clip of a task, and let its duration pass."""
        clip = self.get(f"clip/{task['token']}").raise_for_status()
        time.sleep(task["duration_s"] + 0.02)
        return clip

    def rate(self, task: dict[str, Any], impression: object = 4, alignment: object = 3) -> httpx.Response:
        return self.post("rate", **answer(task, impression, alignment))

    def batch(self) -> list[tuple[dict[str, Any], httpx.Response]]:
        """Answer a batch; give each task with the answer that carried its clip."""
        heard = []
        task = self.begin()
        while task:
            heard.append((task, self.hear(task)))
            task = self.rate(task).raise_for_status().json()["place"]["task"]
        return heard


def answer(task: dict[str, Any], impression: object = 4, alignment: object = 3) -> dict[str, Any]:
    """What the page sends for a task."""
    return {
        "token": task["token"],
        "musical_impression": impression,
        "textual_alignment": alignment,
        "comment": "",
        "played": [[0.0, task["duration_s"]]],
    }


def rows(database: Database) -> dict[str, int]:
    """How much each table holds."""
    with database.read() as session:
        return {
            name: session.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in Base.metadata.tables.items()
        }


def state(database: Database, token: str) -> str:
    """Of the trial with this token."""
    with database.read() as session:
        return session.execute(select(Trial.state).where(Trial.token == token)).scalar_one()
