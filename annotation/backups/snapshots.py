"""A backup: the database as of one moment, and the clips of its studies, once each by the SHA-256 of their files.

    backups/20260301T120000.000000Z/musiceval.sqlite   SQLite's online backup of a running server's database
    backups/20260301T120000.000000Z/manifest.json      written last: without it a backup is not whole
    clips/SHA256.wav                                   shared by all backups

What comes back is verified before it has its place, the database last; nothing that is there is overwritten.
"""

import contextlib
import hashlib
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import func, select

from annotation.backups.journal import drop_before, identity, position, replay
from annotation.backups.storage import Storage, at_once
from annotation.database import Database, is_known
from annotation.schema import Clip, Rater, Response, Study, Trial
from annotation.studies import clip_path
from core import __version__
from core.errors import StudyError, counted, shown_name
from core.files import first_of, sha256_of, write_atomically

_BACKUPS, _CLIPS, _MANIFEST, _DATABASE = "backups", "clips", "manifest.json", "musiceval.sqlite"
_AS_NAME = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
_LEFT_BY_THE_SYSTEM = ("lost+found",)

Say = Callable[[str], None]


class Manifest(BaseModel):
    """What a whole backup holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: str  # of MusicEval
    revision: str  # of the tables
    database_sha256: str
    clips: dict[str, int]  # bytes by SHA-256
    missing: list[str]  # files of clips that were not what was ingested when the backup was made
    ratings: dict[str, int]  # clips that were rated by a rater, by study
    database: int = 0  # as the journal knows it; 0: it has none
    commit: int = 0  # the latest of the journal that is in it


@dataclass(frozen=True)
class Backup:
    """A backup that is whole, with what was found amiss in the clips beside it."""

    name: str
    manifest: Manifest
    amiss: tuple[str, ...] = ()

    def text(self) -> str:
        """Return it in words: a line, and one for each study."""
        manifest = self.manifest
        total, clips = sum(manifest.ratings.values()), len(manifest.clips)
        lines = [
            f"The backup {self.name} has {counted(total, 'rating')} and {counted(clips, 'clip')}.",
            *(f"  {study}: {counted(n, 'rating')}" for study, n in sorted(manifest.ratings.items())),
        ]
        if self.amiss:
            lines.append(f"! {self._amiss()}")
        return "\n".join(lines)

    def refuse_amiss(self) -> None:
        """Raise `StudyError` where clips of it are amiss."""
        if self.amiss:
            raise StudyError(self._amiss())

    def _amiss(self) -> str:
        return f"Clips whose audio is missing, or is not what was ingested: {first_of(self.amiss)}."


@dataclass(frozen=True)
class _Content:
    files: dict[Path, str]  # hashes by the clips' files
    ratings: dict[str, int]  # by study
    revision: str
    database: int
    commit: int


class _TornError(Exception):
    """Why a backup is not whole."""


def back_up(database: Database, data: Path, storage: Storage, keep: int | None = None) -> Backup:
    """Back a database up with its clips, while others write; keep so many of the newest backups, or all for now."""
    name = _next_name(storage)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _DATABASE
        database.backup(copy)
        found = _content(copy, data)
        clips, missing = _put_clips(storage, found.files)
        manifest = Manifest(
            version=__version__,
            revision=found.revision,
            database_sha256=sha256_of(copy),
            clips=clips,
            missing=missing,
            ratings=found.ratings,
            database=found.database,
            commit=found.commit,
        )
        storage.put(f"{_BACKUPS}/{name}/{_DATABASE}", copy)
    storage.put(f"{_BACKUPS}/{name}/{_MANIFEST}", manifest.model_dump_json(indent=2).encode())
    if keep is not None:
        drop_old(storage, keep)
    return Backup(name, manifest, tuple(missing))


def verify(storage: Storage, say: Say) -> Backup:
    """Read the newest whole backup with all its clips; `say` which are passed over because they are not whole."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _DATABASE
        backup = _newest(storage, copy, say)
        if _content(copy, Path(folder)).ratings != backup.manifest.ratings:
            raise StudyError(f"The backup {backup.name} has other ratings than it says.")
    amiss = [sha256 for sha256 in backup.manifest.clips if not _is_sound(storage.read(_clip(sha256)), sha256)]
    return Backup(backup.name, backup.manifest, (*backup.manifest.missing, *amiss))


def restore(storage: Storage, file: Path, data: Path, say: Say, journaled: bool = False) -> Backup:
    """Bring the newest whole backup back: its database as `file`, its clips into the data folder, which are empty.

    What an earlier try brought back stays. Clips that are missing, or not what was ingested, are left out and named:
    ratings do not wait for them. What a journal has since is replayed; where the database is `journaled`, it goes on
    with that journal, and the folder may have other things in it.
    """
    _refuse_taken(file, ("wal", "shm", "journal", *(() if journaled else ("queue",))))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _DATABASE
        backup = _newest(storage, copy, say)
        replayed = replay(storage, copy, say)
        if not journaled:
            _forget_journal(copy)
        found = _content(copy, data)
        if not journaled:
            _refuse_others(data, found.files)
        try:
            for made in (data, file.parent):
                made.mkdir(mode=0o700, parents=True, exist_ok=True)
            amiss = _fetch_clips(storage, found.files)
            write_atomically(file, lambda unfinished: shutil.copyfile(copy, unfinished), durable=True)
        except OSError as error:
            raise StudyError(f"{shown_name(file.name)} cannot be written: {error.strerror}.") from error
    if replayed:
        say(f"After it, of the journal: {counted(replayed, 'commit')}.")
    return Backup(backup.name, backup.manifest.model_copy(update={"ratings": found.ratings}), tuple(amiss))


def newest_manifest(storage: Storage) -> Manifest | None:
    """Return what the newest backup says that has a manifest; None where there is none."""
    for name in reversed(_names(storage)):
        with contextlib.suppress(_TornError):
            return _manifest(storage, name)
    return None


def _forget_journal(copy: Path) -> None:
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA application_id = 0")
        connection.execute("PRAGMA user_version = 0")


def _content(copy: Path, data: Path) -> _Content:
    """Return what a database has that nobody else uses, brought to the newest tables.

    Hashes that it lacks, because it is of an earlier version, are noted in it.
    """
    database = Database(f"sqlite:///{copy}", durable=False)
    rated = select(Study.name, func.count(Response.id)).outerjoin(Rater, Rater.study_id == Study.id)
    rated = rated.outerjoin(Trial, Trial.rater_id == Rater.id).outerjoin(Response, Response.trial_id == Trial.id)
    try:
        with database.write() as session:
            ratings = dict(session.execute(rated.group_by(Study.name)).all())
            files = {}
            for clip, study in session.execute(select(Clip, Study).join(Study, Study.id == Clip.study_id)):
                path = clip_path(data, study, clip.name)
                if clip.wav_sha256 is None and path.is_file():
                    clip.wav_sha256 = sha256_of(path)
                if clip.duration_s is not None:  # else it was imported without audio
                    files[path] = clip.wav_sha256 or ""
            revision = session.connection().exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    finally:
        database.close()
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")  # one file, whole
        return _Content(files, ratings, str(revision), identity(connection), position(connection))


def _put_clips(storage: Storage, files: Mapping[Path, str]) -> tuple[dict[str, int], list[str]]:
    """Put the clips that are not there yet; return lengths by hash, and which have no sound file to put."""
    stored = storage.sizes(_CLIPS)
    clips, missing = {}, []
    for path, sha256 in files.items():
        n_bytes = path.stat().st_size if path.is_file() else None
        there = stored.get(f"{sha256}.wav")
        if there is None or n_bytes not in (there, None):
            if n_bytes is None or sha256_of(path) != sha256:
                missing.append(_name(path))
                continue
            storage.put(_clip(sha256), path)
            there = n_bytes
        clips[sha256] = there
    return clips, missing


def _names(storage: Storage) -> list[str]:
    return [name for name in storage.sizes(_BACKUPS) if _NAME.fullmatch(name)]


def _next_name(storage: Storage) -> str:
    """Return the name of a new backup: the time, and after all that are there, even if the clock was set back."""
    at, names = datetime.now(UTC), _names(storage)
    if names:
        at = max(at, datetime.strptime(names[-1], _AS_NAME).replace(tzinfo=UTC) + timedelta(microseconds=1))
    return f"{at:{_AS_NAME}}"


def _newest(storage: Storage, file: Path, say: Say) -> Backup:
    """Copy the database of the newest whole backup into a file."""
    for name in reversed(_names(storage)):
        try:
            return Backup(name, _fetched(storage, name, file))
        except _TornError as torn:
            say(f"! The backup {name} is not whole and is passed over: {torn}.")
    raise StudyError("There is no whole backup. Name the folder or the URL that backup wrote to.")


def _fetched(storage: Storage, name: str, file: Path) -> Manifest:
    manifest = _manifest(storage, name)
    if not is_known(manifest.revision):
        raise StudyError(
            f"The backup {name} is of a newer version of MusicEval ({shown_name(manifest.version)}). Nothing was "
            "changed. Update MusicEval."
        )
    file.unlink(missing_ok=True)
    storage.fetch(f"{_BACKUPS}/{name}/{_DATABASE}", file)
    if not file.exists() or sha256_of(file) != manifest.database_sha256:
        raise _TornError("its database is missing, or is not what was backed up")
    try:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise _TornError("its database is damaged")
    return manifest


def _manifest(storage: Storage, name: str) -> Manifest:
    content = storage.read(f"{_BACKUPS}/{name}/{_MANIFEST}")
    if content is None:
        raise _TornError("it was not finished")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise _TornError("its manifest cannot be read") from error


def _refuse_taken(file: Path, parts: Sequence[str]) -> None:
    for path in (file, *(Path(f"{file}-{part}") for part in parts)):
        if path.exists():
            raise StudyError(
                f"{shown_name(path.name)} is there already. Nothing was changed: a backup comes back only where there "
                "is no database. Name an empty folder with MUSICEVAL_DATA."
            )


def _refuse_others(data: Path, files: Mapping[Path, str]) -> None:
    """Refuse a folder in which there is anything but clips of the backup."""
    there = (path for path in data.rglob("*") if path.is_file() and path.parent.name not in _LEFT_BY_THE_SYSTEM)
    for path in there:
        if path not in files or sha256_of(path) != files[path]:
            raise StudyError(
                f"The data folder has something in it ({shown_name(path.name)}). Nothing was changed. Name an empty "
                "folder with MUSICEVAL_DATA."
            )


def _fetch_clips(storage: Storage, files: Mapping[Path, str]) -> list[str]:
    """Bring the clips back, several at a time; return the names of those that could not be had."""
    there = at_once(lambda clip: _fetch_clip(storage, *clip), files.items())
    return [_name(path) for path, is_there in zip(files, there, strict=True) if not is_there]


def _fetch_clip(storage: Storage, path: Path, sha256: str) -> bool:
    """Return whether the file of a clip is there, as it was ingested."""
    if path.exists():
        return True
    content = storage.read(_clip(sha256))
    if content is None or not _is_sound(content, sha256):
        return False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content, durable=True)
    except OSError as error:
        raise StudyError(f"The clips cannot be written to the data folder: {error.strerror}.") from error
    return True


def drop_old(storage: Storage, keep: int) -> None:
    """Delete the backups before the newest whole ones, and the clips that were in these alone."""
    names = _names(storage)
    manifests: dict[str, Manifest] = {}
    for name in names:
        with contextlib.suppress(_TornError):
            manifests[name] = _manifest(storage, name)
    if not manifests:
        return
    kept = list(manifests)[-keep:]
    old = [name for name in names if name < kept[0]]
    at_once(lambda name: storage.remove(f"{_BACKUPS}/{name}"), old)
    clips = {name: set(manifest.clips) for name, manifest in manifests.items()}
    needed = set().union(*(clips[name] for name in kept))
    drop_before(storage, min(manifests[name].commit for name in kept))  # the newest may be of a server of before
    unneeded = set().union(*(clips[name] for name in old if name in clips)) - needed
    storage.remove_each(map(_clip, unneeded))


def _clip(sha256: str) -> str:
    return f"{_CLIPS}/{sha256}.wav"


def _name(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.name}"


def _is_sound(content: bytes | None, sha256: str) -> bool:
    return content is not None and hashlib.sha256(content).hexdigest() == sha256
