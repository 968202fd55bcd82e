"""The files of clips: what raters hear is what was ingested, or nothing.

The database has the SHA-256 of each file. A process hashes a file when it first needs it; after that the file's
inode, size and times stand for its content. A study of an earlier version has no hashes: until its clip is first
sent, when its hash is noted, the file must have the length that the clip has.
"""

import errno
import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from annotation.schema import Clip, Study
from annotation.studies import clip_path
from core.errors import BusyError, StudyError

MISSING = "The file of this clip is missing, or cannot be read."
CHANGED = "The file of this clip is not the one that was ingested."
_HEADER_BYTES = 44
_MOST_KNOWN = 50_000
_NO_FAULT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_Stamp = tuple[int, ...]


class Digest(NamedTuple):
    """What a file holds."""

    sha256: str
    crc32: int  # by which a ZIP knows it


_known: dict[_Stamp, Digest] = {}


@dataclass(frozen=True)
class ClipFile:
    """The file of a clip, and what it must hold."""

    path: Path
    sha256: str | None  # None: not known yet
    n_bytes: int

    @classmethod
    def of(cls, data: Path, study: Study, name: str, sha256: str | None, duration_s: float | None) -> "ClipFile":
        """Find the file of a clip; one that was imported without audio has none."""
        n_samples = round((duration_s or 0.0) * study.protocol.sample_rate_hz)
        return cls(clip_path(data, study, name), sha256, _HEADER_BYTES + 2 * n_samples)

    @property
    def is_expected(self) -> bool:
        """Whether there must be a file: ratings can be imported without audio."""
        return self.n_bytes > _HEADER_BYTES

    def read(self) -> tuple[bytes, Digest]:
        """Return the content; `StudyError` if it is not what was ingested, `BusyError` if no clip can be reached."""
        with self._opened() as file:
            stamp = _stamp(file)
            wav = file.read()
            unchanged = _stamp(file) == stamp
        digest = _known.get(stamp) if unchanged else None
        if digest is None:
            digest = Digest(hashlib.sha256(wav).hexdigest(), zlib.crc32(wav))
        if unchanged:
            _keep(stamp, digest)
        return wav, self._right(digest, len(wav))

    def digest(self) -> Digest:
        """Return what the file holds, without reading it where that is known; raises as `read` does."""
        with self._opened() as file:
            known = _known.get(_stamp(file))
        return self._right(known, self.n_bytes) if known else self.read()[1]

    def fault(self) -> str:
        """Say what is wrong with the file; nothing where it is what was ingested."""
        try:
            self.digest()
        except StudyError as error:
            return str(error)
        return ""

    def looks_right(self) -> bool:
        """Return whether a file of this length is there: all that can be told of thousands at once."""
        try:
            return self.path.stat().st_size == self.n_bytes
        except OSError:
            return False

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        try:
            with self.path.open("rb") as file:
                yield file
        except OSError as error:
            if error.errno in _NO_FAULT_OF_FILES:
                raise
            if not self.path.parent.is_dir():  # a disk is away, and no rater is to lose all their clips for it
                raise BusyError(
                    "The clips of this study cannot be reached. Tell whoever runs it.", "clips_away"
                ) from error
            raise StudyError(MISSING) from error

    def _right(self, digest: Digest, n_bytes: int) -> Digest:
        if n_bytes != self.n_bytes or self.sha256 not in (None, digest.sha256):
            raise StudyError(CHANGED)
        return digest


def clip_files(session: Session, data: Path, study: Study) -> dict[str, ClipFile]:
    """Return the files of all clips of a study, by the clips' names."""
    query = select(Clip.name, Clip.wav_sha256, Clip.duration_s).where(Clip.study_id == study.id).order_by(Clip.id)
    return {row.name: ClipFile.of(data, study, *row) for row in session.execute(query)}


def _stamp(file: BinaryIO) -> _Stamp:
    """Return what changes when a file does; nobody can set the third time."""
    at = os.fstat(file.fileno())
    return at.st_dev, at.st_ino, at.st_size, at.st_mtime_ns, at.st_ctime_ns


def _keep(stamp: _Stamp, digest: Digest) -> None:
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    _known[stamp] = digest
