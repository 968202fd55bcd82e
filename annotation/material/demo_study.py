"""The demo study: a small listening test of composed clips, for whoever wants to try the page without a code.

It lives in a database of its own, apart from real studies. Everything in it is composed by rule: the clips of
four simulated systems, and clean pieces that stand in for the human-made anchors (their source says so). What
visitors rate there is nobody's expert opinion, and is never exported.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.material.clips import Entry, add_clip
from annotation.material.sound import normalise, to_wav
from annotation.protocol import Protocol
from annotation.schema import Rater
from annotation.studies import create, find_study
from core.audio import read_clip
from core.demo import captions, faults, panel
from core.demo.composer import Attributes, compose, draw_attributes
from core.demo.rendering import render
from core.demo.timbres import SAMPLE_RATE_HZ, Samples

DEMO = "demo"
PROTOCOL = Protocol(
    raters_per_clip=1_000_000,  # visitors come and go: a clip is never done
    batch_size=4,
    anchors=1,
    duplicate_distance=2,
    training=2,
)
CLIP_S = 8.0
_SEED = 20
_SYSTEMS, _CLIPS_EACH, _ANCHORS = 4, 2, 3
_CHECK_S = 10.0


@dataclass(frozen=True)
class _Lesson:
    attributes: Attributes
    severities: dict[str, float]
    entry: Entry


_LESSONS = (
    _Lesson(
        Attributes("piano solo", 66, "major", "calm", "piano", "piano", "none", "none", "sparse"),
        {},
        Entry(
            "composed: practice 1",
            "A calm, slow piano solo in a major key.",
            "composed",
            "training",
            4.0,
            5.0,
            "Clean sound, steady rhythm and a melody that goes somewhere, if a simple one: a good 4. "
            "Everything that the prompt asks for is there.",
        ),
    ),
    _Lesson(
        Attributes("rock", 128, "minor", "energetic", "electric guitar", "electric guitar", "bass guitar",
                   "driving", "dense"),
        {"noise": 0.6, "drop-outs": 0.6},
        Entry(
            "composed: practice 2",
            "A tender lullaby on a music box.",
            "composed",
            "training",
            2.0,
            1.0,
            "Hiss and gaps are obvious machine artefacts, so the impression is poor. "
            "And it is rock music: nothing of the prompt is there.",
        ),
    ),
)  # fmt: skip


def open_demo(folder: Path) -> tuple[Database, Path]:
    """Make the demo study in a folder of its own.

    Parameters
    ----------
    folder : Path
        An empty one; it holds the database and the clips.

    Returns
    -------
    database : Database
    data : Path
        The folder of its clips.
    """
    database, at = Database(f"sqlite:///{folder / 'demo.sqlite'}"), datetime.now(UTC)
    with database.write() as session:
        study = create(session, DEMO, PROTOCOL, _SEED, at, demo=True)
    for entry, samples in _pieces():
        clip = read_clip((samples, SAMPLE_RATE_HZ))
        add_clip(database, folder, study, entry, clip.sha256, normalise(clip, PROTOCOL), at)
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
    """Give a composed piece as loud as the clips of a study, to set the volume by.

    Parameters
    ----------
    protocol : Protocol
        Of the study: its rate and loudness count.

    Returns
    -------
    bytes
        A WAV file.
    """
    attributes = Attributes(
        "jazz", 132, "major", "happy", "piano", "piano", "double bass", "swing", "moderate"
    )
    samples = _play(attributes, {}, np.random.default_rng([_SEED, 3]), _CHECK_S)
    sound = normalise(read_clip((samples, SAMPLE_RATE_HZ)), protocol)
    return to_wav(sound.samples, sound.sample_rate_hz)


def _pieces() -> Iterator[tuple[Entry, Samples]]:
    for clip in panel.simulate(_SYSTEMS, _CLIPS_EACH, _SEED, CLIP_S):
        yield Entry(f"composed: {clip.clip_id}", clip.prompt, clip.system_id), clip.sound()
    for number in range(1, _ANCHORS + 1):
        random = np.random.default_rng([_SEED, 1, number])
        attributes = draw_attributes(random)
        file = f"composed stand-in for a human-made recording, {number}"
        prompt = captions.write(attributes, random).text
        yield Entry(file, prompt, "stand-in", "anchor"), _play(attributes, {}, random, CLIP_S)
    for number, lesson in enumerate(_LESSONS, 1):
        random = np.random.default_rng([_SEED, 2, number])
        yield lesson.entry, _play(lesson.attributes, lesson.severities, random, CLIP_S)


def _play(
    attributes: Attributes, severities: dict[str, float], random: np.random.Generator, duration_s: float
) -> Samples:
    composition = compose(attributes, duration_s, random)
    dry = render(faults.spoil_notes(composition, severities, random), random)
    return faults.spoil_sound(dry, severities, random)
