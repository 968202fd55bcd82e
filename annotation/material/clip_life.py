"""What can become of a clip while a study runs: retired, given another prompt, replaced by another recording.

A clip never changes: another prompt or recording is another clip, which takes the place of the one that is retired. So
ratings before and after are kept apart. Nobody gets a retired clip again, and its ratings stay and do not count. Each
of these is an event with its reason.
"""

import hashlib
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.database import Database, now
from annotation.life import note, refuse_archived
from annotation.material.files import ClipFile
from annotation.material.ingest import Entry, clip_row, digest_of, find_clip, prompt_row, write_clip_file
from annotation.material.sound import Normalised, read_normalised, to_wav
from annotation.schema import Batch, Clip, Study, Trial
from annotation.session import ledger
from annotation.studies import clip_path, find_study
from core.audio import ClipSource
from core.errors import StudyError, shown_name

_CHANGED = ("id", "prompt_id", "name", "wav_sha256", "added_at", "retired_at", "replaces_id")
LONGEST_PROMPT = 5_000


def find_by_name(session: Session, study: Study, name: str) -> Clip:
    """Return a clip in use by its opaque name; `StudyError` if there is none."""
    clip = session.scalar(select(Clip).where(Clip.study_id == study.id, Clip.name == name))
    if clip is None:
        raise StudyError(f"The study {study.name!r} has no clip {shown_name(name)}.")
    if clip.retired_at is not None:
        raise StudyError(f"This clip was retired at {clip.retired_at:%Y-%m-%d %H:%M} UTC already.")
    return clip


def retire(session: Session, study: Study, name: str, reason: str, at: datetime) -> None:
    """Take a clip out of use; trials of it that are not rated are let go. `StudyError` without a reason."""
    clip = find_by_name(session, study, name)
    _retire(session, study, clip, "retire", reason, at)


def _retire(session: Session, study: Study, clip: Clip, action: str, reason: str, at: datetime, **details: str) -> None:
    refuse_archived(study)
    if not reason.strip():
        raise StudyError("Say in a sentence why; it stays in the log.")
    clip.retired_at = at
    open_ones = select(Trial).join(Batch).where(Trial.clip_id == clip.id, Trial.state == "open", Batch.state == "open")
    ledger.release(session, session.scalars(open_ones).all())
    note(session, study, action, at, reason, clip.name, {"file": clip.source_file, **details})


def reprompt(database: Database, data: Path, study_name: str, name: str, prompt: str, reason: str) -> None:
    """Give a clip another prompt: it is retired, and the same recording takes its place under the new prompt."""
    prompt = prompt.strip()
    if not prompt or len(prompt) > LONGEST_PROMPT:
        raise StudyError(f"Give a prompt of 1 to {LONGEST_PROMPT:,} characters.")
    with database.read() as session:
        study = find_study(session, study_name)
        old = find_by_name(session, study, name)
        if old.prompt.text == prompt:
            raise StudyError("The clip has this prompt already.")
        wav = ClipFile.of(data, study, old.name, old.wav_sha256, old.duration_s).read()[0]

    def other(session: Session, study: Study, old: Clip, new_name: str, at: datetime) -> Clip:
        _refuse_known(session, study, Entry(old.source_file, prompt, old.system.name, old.kind), old.source_sha256)
        same = {column.key: getattr(old, column.key) for column in Clip.__table__.columns if column.key not in _CHANGED}
        new = {"name": new_name, "wav_sha256": hashlib.sha256(wav).hexdigest(), "added_at": at}
        return Clip(**same, **new, prompt=prompt_row(session, study, prompt))

    _succeed(database, data, study_name, name, "reprompt", reason, wav, other)


def replace(
    database: Database,
    data: Path,
    study_name: str,
    name: str,
    source: ClipSource,
    file: str,
    reason: str,
    read: Callable[..., Normalised] = read_normalised,
) -> Normalised:
    """Put another recording in the place of a clip: the same system and prompt, another file."""
    digest = digest_of(source)
    with database.read() as session:
        study = find_study(session, study_name)
        old = find_by_name(session, study, name)
        longest_s = old.duration_s if old.kind == "anchor" else math.inf
        same = select(Clip.id).where(Clip.study_id == study.id, Clip.source_sha256 == digest)
        if session.scalar(same.limit(1)) is not None:
            raise StudyError("The study has this recording already, or had it. Give another one.")
    sound = read(source, study.protocol, longest_s, name=shown_name(file))
    wav = to_wav(sound.samples, sound.sample_rate_hz)

    def other(session: Session, study: Study, old: Clip, new_name: str, at: datetime) -> Clip:
        entry = Entry(file, old.prompt.text, old.system.name, old.kind, dict(old.expected), old.explanation)
        return clip_row(session, study, entry, digest, sound, wav, new_name, at)

    _succeed(database, data, study_name, name, "replace", reason, wav, other)
    return sound


def _succeed(
    database: Database,
    data: Path,
    study_name: str,
    name: str,
    action: str,
    reason: str,
    wav: bytes,
    other: Callable[[Session, Study, Clip, str, datetime], Clip],
) -> None:
    """Retire a clip and add the other in its place, both or neither; the file is there before its row."""
    with database.read() as session:
        study = find_study(session, study_name)
    new_name = write_clip_file(data, study, wav)
    path = clip_path(data, study, new_name)
    try:
        with database.write() as session:
            study, at = find_study(session, study_name), now(session)
            old = find_by_name(session, study, name)
            new = other(session, study, old, new_name, at)
            new.replaces_id = old.id
            what = {"before": _shown(old), "after": _shown(new), "by": new_name}
            _retire(session, study, old, action, reason, at, **what)
            session.add(new)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _shown(clip: Clip) -> str:
    return f"{clip.source_file}: {clip.prompt.text}"


def _refuse_known(session: Session, study: Study, entry: Entry, digest: str | None) -> None:
    if digest is not None and find_clip(session, study, entry, digest) is not None:
        raise StudyError("The study had this recording with this prompt before. Give other words.")
