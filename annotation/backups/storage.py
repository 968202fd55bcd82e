"""A folder of any file system that fsspec knows: a path, ``file://``, ``s3://``, ``hf://``.

An object is there whole or not at all: object stores promise it, and on a local disk a file gets its name when it is
complete. What a file system raises is its own; here it becomes a `StorageError`.

Source: https://filesystem-spec.readthedocs.io/en/latest/api.html.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from core.errors import StorageError, StudyError, shown_name
from core.files import write_atomically


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
        with _telling("listed"):
            self._files.invalidate_cache()
            try:
                found = self._files.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
        named = {str(one["name"]).rstrip("/").rpartition("/")[2]: int(one["size"] or 0) for one in found}
        return {name: named[name] for name in sorted(named) if not name.endswith(".part")}

    def read(self, name: str) -> bytes | None:
        """Return an object; None where there is none."""
        with _telling("read"):
            try:
                return bytes(self._files.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def fetch(self, name: str, file: Path) -> bool:
        """Copy an object into a file; return whether there is one."""
        with _telling("read"):
            try:
                self._files.get_file(self._path(name), str(file))
            except FileNotFoundError:
                return False
        return True

    def put(self, name: str, content: bytes | Path) -> None:
        """Keep an object: when this returns, it is there after a power cut."""
        path = self._path(name)
        with _telling("written"):
            if self._local:
                _put_on_disk(Path(path), content)
            elif isinstance(content, Path):
                self._files.put_file(str(content), path)
            else:
                self._files.pipe_file(path, content)

    def remove(self, name: str) -> None:
        """Delete an object, or a folder with all that is in it."""
        with _telling("deleted"):
            try:
                self._files.rm(self._path(name), recursive=True)
            except FileNotFoundError:
                return

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def _put_on_disk(path: Path, content: bytes | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = content if isinstance(content, bytes) else lambda unfinished: shutil.copyfile(content, unfinished)
    write_atomically(path, whole, durable=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name too is there after a power cut
    finally:
        os.close(folder)


@contextmanager
def _telling(what: str) -> Iterator[None]:
    try:
        yield
    except StudyError:
        raise
    except Exception as error:  # each file system has errors of its own
        said = " ".join(str(error).split()) or type(error).__name__
        raise StorageError(f"The storage could not be {what}: {shown_name(said)}.") from error
