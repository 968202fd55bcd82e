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
_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))  # of Docker and Podman
_VARIABLES = ("SPACE_ID", "KUBERNETES_SERVICE_HOST")
KNOWN = "I know that ratings may be lost"


def refuse_unknown(is_lost: bool, is_known: bool) -> None:
    """Raise `StudyError` where a study would be opened whose ratings may be lost, and nobody says that they know."""
    if is_lost and not is_known:
        raise StudyError(f'{NOT_DURABLE} To open a study all the same, tick "{KNOWN}", or give --ratings-may-be-lost.')


def is_lost_with_machine(settings: Settings, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a restart may lose the ratings: the disk of a container without a volume, and no other place."""
    contained = any(name in environment for name in _VARIABLES) or any(mark.exists() for mark in _MARKS)
    return (
        contained
        and not settings.journal_url
        and not is_postgresql(settings.database_url)
        and _mount_of(settings.data.absolute()) == Path("/")
    )


def _mount_of(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.is_mount())
