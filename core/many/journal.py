"""The journal of a run over a manifest: what is finished survives whatever ends the run.

It is a file of JSON lines beside the output. The first says what is being scored with what, then comes a
line for each finished row, in the order of the manifest. Lines are appended in batches and forced to the
disk. A line that was cut off by a kill or a power failure, and whatever follows it, is dropped when the
journal is opened again: those rows are scored again, no other. One process at a time may have it open.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import DataError, shown_name
from core.many.records import Cells
from core.many.table import OK

FORMAT = 1


class Journal:
    """An open journal; `open_journal` makes one.

    Attributes
    ----------
    n_rows, n_ok : int
        How many rows are finished, and how many of them have scores.
    """

    def __init__(self, path: Path, file: BinaryIO, header: Mapping[str, Any]) -> None:
        self.n_rows = self.n_ok = 0
        self._path, self._file = path, file
        self._drop_what_was_cut(header)

    def append(self, records: Sequence[Cells]) -> None:
        """Add finished rows; they are on the disk when this returns."""
        self._write(records)
        self._count(records)

    def records(self) -> Iterator[Cells]:
        """Read the finished rows, in order."""
        with self._path.open("rb") as file:
            next(file)
            yield from map(json.loads, file)

    def remove(self) -> None:
        """Delete the file: what is in it has been written elsewhere."""
        self._path.unlink()

    def _drop_what_was_cut(self, header: Mapping[str, Any]) -> None:
        first = json.dumps(header).encode() + b"\n"
        self._file.seek(0)
        given = self._file.readline()
        if given != first and not first.startswith(given):
            self._refuse(given, header)
        sound = len(given) if given == first else 0
        for line in self._file if sound else ():
            record = _parse(line)
            if record is None:
                break
            sound += len(line)
            self._count([record])
        self._file.truncate(sound)
        if not sound:
            self._write([header])

    def _refuse(self, given: bytes, header: Mapping[str, Any]) -> None:
        begun = _parse(given) or {}
        if begun.get("format") != FORMAT:
            raise DataError(
                f"{shown_name(self._path.name)} is in the way: it is no journal of this program. Move it, or "
                "give another output."
            )
        other = ", ".join(key for key in header if begun.get(key) != header[key])
        raise DataError(
            f"{shown_name(self._path.name)} was begun with another {other}. Give another output, or delete "
            "that file to start again."
        )

    def _write(self, lines: Sequence[Mapping[str, Any]]) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())

    def _count(self, records: Sequence[Cells]) -> None:
        self.n_rows += len(records)
        self.n_ok += sum(record["status"] == OK for record in records)


@contextmanager
def open_journal(path: Path, header: Mapping[str, Any]) -> Iterator[Journal]:
    """Open a journal, or begin it.

    Parameters
    ----------
    path : Path
    header : mapping
        What must be the same to go on: key in words, value as JSON has it.

    Raises
    ------
    DataError
        It was begun for something else, is open in another process, or cannot be written.
    """
    with _opened(path) as file:
        yield Journal(path, file, {"format": FORMAT, **header})


def _opened(path: Path) -> BinaryIO:
    """The file, locked; the lock goes with it."""
    try:
        file = path.open("a+b")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise DataError(
            f"{shown_name(path.name)} is being written by another process. Wait for it."
        ) from error
    except OSError as error:
        raise DataError(f"{shown_name(path.name)} cannot be written: {error.strerror}.") from error
    return file


def _parse(line: bytes) -> dict[str, Any] | None:
    """A whole line's object; None where the line was cut off or is damaged."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
