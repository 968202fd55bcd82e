"""A folder of any file system that fsspec knows: a path, ``file://``, ``s3://``, ``hf://``.

An object is there whole or not at all: object stores promise it, and on a local disk a file gets its name when it is
complete. What a file system raises is its own; here it becomes a `StorageError`, if it does so three times.

Source: https://filesystem-spec.readthedocs.io/en/latest/api.html.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.errors import StorageError, StudyError, shown_name
from core.files import write_atomically

T = TypeVar("T")
Given = TypeVar("Given")
AT_ONCE = 16  # objects on their way; each may be a clip, in memory
_WAITS_S = (0.1, 0.3)  # before the second try and the third


class Storage:
    """Objects under a URL, each by its name of parts with ``/`` between; `StudyError` if the URL cannot be opened."""

    def __init__(self, url: str) -> None:
        try:
            self._files, self._root = fsspec.url_to_fs(url)
        except (ImportError, ValueError, TypeError) as error:
            raise StudyError(f"The storage cannot be opened: {error}.") from error
        self._local = isinstance(self._files, LocalFileSystem)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the lengths in bytes of what lies directly in a folder, by its names in order; a folder has 0."""
        found = _insist("listed", lambda: self._listed(self._path(folder))) or ()
        named = {str(one["name"]).rstrip("/").rpartition("/")[2]: int(one["size"] or 0) for one in found}
        return {name: named[name] for name in sorted(named) if not name.endswith(".part")}

    def read(self, name: str) -> bytes | None:
        """Return an object; None where there is none."""
        return _insist("read", lambda: bytes(self._files.cat_file(self._path(name))))

    def read_each(self, names: Iterable[str]) -> list[bytes | None]:
        """Return many objects, in their order, several at a time."""
        return at_once(self.read, names)

    def fetch(self, name: str, file: Path) -> None:
        """Copy an object into a file, where there is one."""
        _insist("read", lambda: self._files.get_file(self._path(name), str(file)))

    def put(self, name: str, content: bytes | Path) -> None:
        """Keep an object: when this returns, it is there after a power cut."""
        path = self._path(name)
        if self._local:
            _insist("written", lambda: _put_on_disk(Path(path), content))
        elif isinstance(content, Path):
            _insist("written", lambda: self._files.put_file(str(content), path))
        else:
            _insist("written", lambda: self._files.pipe_file(path, content))

    def remove(self, name: str) -> None:
        """Delete an object, or a folder with all that is in it."""
        _insist("deleted", lambda: self._files.rm(self._path(name), recursive=True))

    def remove_each(self, names: Iterable[str]) -> None:
        """Delete many objects, several at a time."""
        at_once(lambda name: _insist("deleted", lambda: self._files.rm_file(self._path(name))), names)

    def _listed(self, path: str) -> Any:
        self._files.invalidate_cache()
        return self._files.ls(path, detail=True)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def at_once(action: Callable[[Given], T], given: Iterable[Given]) -> list[T]:
    """Do something for many, several at a time, and return it in order: where a store fails, each takes seconds."""
    with ThreadPoolExecutor(AT_ONCE, "storage") as threads:
        return list(threads.map(action, given))


def _put_on_disk(path: Path, content: bytes | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = content if isinstance(content, bytes) else lambda unfinished: shutil.copyfile(content, unfinished)
    write_atomically(path, whole, durable=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name too is there after a power cut
    finally:
        os.close(folder)


def _insist(what: str, action: Callable[[], T]) -> T | None:
    """Do something that may fail for a moment; None where there is no such object."""
    for wait_s in (*_WAITS_S, None):
        try:
            return action()
        except FileNotFoundError:
            return None
        except Exception as error:  # each file system has errors of its own
            if wait_s is None:
                said = " ".join(str(error).split()) or type(error).__name__
                raise StorageError(f"The storage could not be {what}: {shown_name(said)}.") from error
            time.sleep(wait_s)
    return None
