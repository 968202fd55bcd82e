"""Whether ratings outlive this machine, as far as that can be told."""

import os
from collections.abc import Mapping
from pathlib import Path

from annotation.database import is_postgresql
from core.errors import StudyError
from core.settings import Settings

NOT_DURABLE = (
    "Ratings are not durable here: the data folder is on the disk of a container, which goes with it, and no journal "
    "is set. Mount a volume and name it with MUSICEVAL_DATA, or set MUSICEVAL_JOURNAL_URL, before raters are invited."
)
NO_DISK = (
    "Ratings may be lost here: the data folder is on a network file system or in a mounted bucket, where SQLite cannot "
    "lock its file, and no journal is set. Name a folder on a disk with MUSICEVAL_DATA and a journal with "
    "MUSICEVAL_JOURNAL_URL, or a PostgreSQL database, before raters are invited."
)
KNOWN = "I know that ratings may be lost"
_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))  # of Docker and Podman
_VARIABLES = ("SPACE_ID", "KUBERNETES_SERVICE_HOST")
_MOUNTS = Path("/proc/self/mounts")
_NETWORK = ("nfs", "cifs", "smb", "fuse")  # what the names of such file systems begin with
_LOCAL = ("fuseblk",)  # a disk of Windows


def refuse_unknown(danger: str, is_known: bool) -> None:
    """Raise `StudyError` where ratings are in `danger` of a study to be opened, and nobody says that they know."""
    if danger and not is_known:
        raise StudyError(f'{danger} To open a study all the same, tick "{KNOWN}", or give --ratings-may-be-lost.')


def danger_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> str:
    """Return why ratings may be lost, as a sentence; nothing where they outlive this machine.

    Source: https://www.sqlite.org/wal.html: "WAL does not work over a network filesystem".
    """
    if settings.journal_url or is_postgresql(settings.database_url):
        return ""
    place = _mount_of(settings.data.absolute())
    if _file_system(place).startswith(_NETWORK):
        return NO_DISK
    contained = any(name in environment for name in _VARIABLES) or any(mark.exists() for mark in _MARKS)
    return NOT_DURABLE if contained and place == Path("/") else ""


def _mount_of(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.is_mount())


def _file_system(place: Path) -> str:
    """Return the kind of a file system by where it is mounted; nothing where that cannot be told."""
    try:
        mounts = [line.split() for line in _MOUNTS.read_text().splitlines()]
    except OSError:
        return ""
    kinds = [kind for _, at, kind, *_ in mounts if at.replace("\\040", " ") == str(place)]
    return kinds[-1] if kinds and kinds[-1] not in _LOCAL else ""
