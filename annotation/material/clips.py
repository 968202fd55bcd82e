"""Clips of a study: from a sound in the study's form to a file and its row.

The file is on disk, whole and under an opaque name, before the row says so: whatever interrupts, no row is
without its file. What a clip *is* (its kind, system, prompt and the source's bytes) decides whether it is in
the study already.
"""

import contextlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database
from annotation.material.sound import Normalised, to_wav
from annotation.schema import Clip, Prompt, Study, System
from annotation.studies import clip_path
from core.errors import StudyError

_NAME_BYTES = 16


@dataclass(frozen=True)
class Entry:
    """What a manifest says of a clip; `file` is the source as it is named there."""

    file: str
    prompt: str
    system: str
    kind: str = "stimulus"
    expected_musical_impression: float | None = None
    expected_textual_alignment: float | None = None
    explanation: str | None = None


def find_clip(session: Session, study: Study, entry: Entry, source_sha256: str) -> Clip | None:
    """Find a clip that is in the study already."""
    return session.scalar(
        select(Clip)
        .join(System)
        .join(Prompt)
        .where(
            Clip.study_id == study.id,
            Clip.kind == entry.kind,
            Clip.source_sha256 == source_sha256,
            System.name == entry.system,
            Prompt.text == entry.prompt,
        )
    )


def add_clip(
    database: Database,
    data: Path,
    study: Study,
    entry: Entry,
    source_sha256: str,
    sound: Normalised,
    at: datetime,
) -> bool:
    """Write a clip's file, then its row.

    Parameters
    ----------
    database : Database
    data : Path
        Folder of the listening tests.
    study : Study
    entry : Entry
    source_sha256 : str
    sound : Normalised
    at : datetime
        Now.

    Returns
    -------
    bool
        False if another process has added the clip meanwhile; then its file stays the only one.

    Raises
    ------
    StudyError
        If the file cannot be written.
    """
    name = secrets.token_hex(_NAME_BYTES)
    path = clip_path(data, study, name)
    _write(path, to_wav(sound.samples, sound.sample_rate_hz))
    with database.write() as session:
        if find_clip(session, study, entry, source_sha256) is not None:
            path.unlink()
            return False
        session.add(
            Clip(
                study_id=study.id,
                kind=entry.kind,
                system=_system(session, study, entry.system),
                prompt=_prompt(session, study, entry.prompt),
                name=name,
                source_file=entry.file,
                source_sha256=source_sha256,
                duration_s=sound.duration_s,
                loudness_lufs=sound.loudness_lufs,
                gain_db=sound.gain_db,
                gain_lowered=sound.gain_lowered,
                expected_musical_impression=entry.expected_musical_impression,
                expected_textual_alignment=entry.expected_textual_alignment,
                explanation=entry.explanation,
                added_at=at,
            )
        )
    return True


def _write(path: Path, content: bytes) -> None:
    """Under another name first, so that a file is whole or not there."""
    unfinished = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise StudyError(f"The clip cannot be written to the data folder: {error.strerror}.") from error


def _system(session: Session, study: Study, name: str) -> System:
    found = session.scalar(select(System).where(System.study_id == study.id, System.name == name))
    return found or System(study_id=study.id, name=name)


def _prompt(session: Session, study: Study, text: str) -> Prompt:
    found = session.scalar(select(Prompt).where(Prompt.study_id == study.id, Prompt.text == text))
    return found or Prompt(study_id=study.id, text=text)
