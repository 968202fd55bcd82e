"""A folder that appears when everything is in it, and not before."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import StudyError, shown_name


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside the one asked for; at the end it takes the name, unless something was raised.

    Parameters
    ----------
    folder : Path
        A new or an empty folder; those above it are made.

    Yields
    ------
    Path
        Where to write. Its depth is the same, so relative paths out of it hold.

    Raises
    ------
    StudyError
        If the folder has something in it or cannot be written.
    """
    folder = folder.resolve()
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StudyError(f"{shown_name(folder.name)} has something in it. Give a new folder.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}.part")
        unfinished.mkdir()
        try:
            yield unfinished
            unfinished.replace(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise StudyError(f"{shown_name(folder.name)} cannot be written: {error.strerror}.") from error
