"""Temporary folders that end with their process, however it ends: what a killed one left, the next one deletes.

Each has a file that its process keeps locked; the system lets go of a lock when a process dies.
"""

import atexit
import contextlib
import shutil
import tempfile
import time
from collections.abc import MutableMapping
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "musiceval-"
_LOCK = ".in-use"
_SHORT = "/tmp"
_MOST_CHARACTERS = 40
_YOUNG_S = 60  # a folder may have been made and not locked yet
_own: dict[Path, FileLock] = {}


def own_folder(kind: str, short: bool = False) -> Path:
    """Make a folder that this process alone can read; it goes when the process ends.

    A `short` one has a path of less than 60 characters: systems allow about 100 for a socket's.
    """
    within = _SHORT if short and len(tempfile.gettempdir()) > _MOST_CHARACTERS else None
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-", dir=within))
    lock = FileLock(folder / _LOCK)
    lock.acquire()
    _own[folder] = lock
    return folder


@atexit.register
def drop_own_folders() -> None:
    """Delete those of this process, which ends."""
    for folder in _own:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def uploads_folder() -> Path:
    """Return where this process keeps uploads; Gradio shares one folder among all apps, and users, of a machine."""
    return own_folder("uploads")


def shut_environment(environ: MutableMapping[str, str]) -> None:
    """Take away every ``GRADIO_*`` variable, for some win over what Gradio is told; name the folder for uploads.

    Gradio reads that when it is imported.
    """
    for name in [name for name in environ if name.startswith("GRADIO_")]:
        del environ[name]
    environ["GRADIO_TEMP_DIR"] = str(uploads_folder())


def drop_folders_of_the_dead() -> None:
    """Delete what killed processes left behind; other users' folders stay."""
    places = {Path(tempfile.gettempdir()), Path(_SHORT)}
    for lock in (lock for place in places for lock in place.glob(f"{_PREFIX}*/{_LOCK}")):
        with contextlib.suppress(OSError, Timeout):
            if lock.stat().st_mtime < time.time() - _YOUNG_S:
                with FileLock(lock, blocking=False):
                    shutil.rmtree(lock.parent)
