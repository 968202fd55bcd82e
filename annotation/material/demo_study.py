"""The demo study: a small listening test of composed clips, for whoever wants to try the page without a code.

It lives in a database of its own, apart from real studies. Everything in it was composed by rule (`demo/`):
the clips of four simulated systems, and clean pieces that stand in for the human-made anchors (their source
says so). What visitors rate there is nobody's expert opinion, and is never exported.
"""

import functools
import json
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.material.ingest import Entry, add_clip
from annotation.material.sound import normalise, to_wav
from annotation.protocol import Protocol
from annotation.schema import Rater
from annotation.studies import create, find_study
from core.audio import read_clip

DEMO = "demo"
PROTOCOL = Protocol(
    raters_per_clip=1_000_000,  # visitors come and go: a clip is never done
    batch_size=4,
    anchors=1,
    duplicate_distance=2,
    training=2,
)
_CLIPS = Path(__file__).parent / "demo"
_SEED = 20


def open_demo(folder: Path) -> tuple[Database, Path]:
    """Make the demo study in an empty folder; return its database and the folder of its clips."""
    database, at = Database(f"sqlite:///{folder / 'demo.sqlite'}"), datetime.now(UTC)
    with database.write() as session:
        study = create(session, DEMO, PROTOCOL, _SEED, at, demo=True)
    for row in json.loads((_CLIPS / "clips.json").read_text(encoding="utf-8")):
        clip = read_clip(_CLIPS / row.pop("sound"))
        add_clip(database, folder, study, Entry(**row), clip.sha256, normalise(clip, PROTOCOL), at)
    return database, folder


def new_visitor(session: Session, at: datetime) -> Rater:
    """Add someone who tries the demo study: a rater without a code."""
    study = find_study(session, DEMO)
    before = session.scalar(select(func.count()).where(Rater.study_id == study.id)) or 0
    visitor = Rater(study=study, pseudonym=f"visitor {before + 1}", code_sha256=None, invited_at=at)
    session.add(visitor)
    session.flush()
    return visitor


@functools.lru_cache(maxsize=8)
def sound_check(protocol: Protocol = PROTOCOL) -> bytes:
    """Return a WAV file as loud as the clips of a study with this protocol, to set the volume by."""
    sound = normalise(read_clip(_CLIPS / "sound-check.ogg"), protocol)
    return to_wav(sound.samples, sound.sample_rate_hz)
