"""Files: found by the names in lists, all that is wrong said at once, and written whole or not at all.

A data set has thousands of lines; whoever repairs it wants to know all that is wrong, with file and line,
before anything starts. So readers add what they find to `Problems`, go on, and stop once, at the end. (pandas
and pydantic name no lines.) What is written gets its name when it is complete, so it can be read at any time.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.errors import DataError, StudyError, counted, shown_name

SHOWN_PROBLEMS = 20
SHOWN_NAMES = 5
_NAMES_AND_NUMBERS = re.compile(r""""[^"]*"|'[^']*'|\d[\d.,]*""")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def find_file(path: Path) -> Path:
    """Return where a file lies that a list names; the path as it is where it lies nowhere.

    As it is written; otherwise with slashes for the backslashes of Windows, and with accents composed or
    decomposed, as macOS writes them.
    """
    if _is_there(path):
        return path
    found = Path(path.anchor)
    for name in path.parts[1:] if path.anchor else path.parts:
        pieces = (name,) if _is_there(found / name) else name.replace("\\", "/").split("/")
        for piece in pieces:
            forms = (found / form for form in (piece, *(unicodedata.normalize(of, piece) for of in ("NFC", "NFD"))))
            found = next(filter(_is_there, forms), found / piece)
    return found if _is_there(found) else path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that is not ours
        return False


def json_text(content: Any) -> str:
    """Return JSON as it stands in files: indented, with its last line ended."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_atomically(path: Path, content: str | bytes | Callable[[Path], object], durable: bool = False) -> None:
    """Write a file beside its place and rename it, so that it is there whole or as it was."""
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        if callable(content):
            content(unfinished)
        else:
            unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder beside the one asked for; at the end it takes the name, unless something was raised.

    Its depth is the same, so relative paths out of it hold. A StudyError where the name is taken or cannot be
    written.
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


class Problems:
    """What is wrong with one source of data, known by the basename of its file or folder."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[str] = []

    def add(self, place: str, what: str) -> None:
        """Note a problem: where, and what is wrong there, in half a sentence without a full stop."""
        self.found.append(f"{place}: {what}")

    def stop_if_any(self) -> None:
        """Raise what was found as a DataError: a summary, and a line for each of the first problems."""
        if not self.found:
            return
        shown = "".join(f"\n  {line}" for line in self._shown())
        raise DataError(
            f"{shown_name(self.source)} cannot be used, it has {counted(len(self.found), 'problem')}:{shown}"
        )

    def _shown(self) -> Iterator[str]:
        """All problems; where they are many, the first of each kind, so that none hides the others."""
        kinds: dict[str, list[str]] = {}
        for line in self.found:
            kinds.setdefault(_kind(line) if len(self.found) > SHOWN_PROBLEMS else line, []).append(line)
        of_each = max(1, SHOWN_PROBLEMS // len(kinds))
        for lines in [*kinds.values()][:SHOWN_PROBLEMS]:
            yield from lines[:of_each]
            if (more := len(lines) - of_each) > 0:
                yield f"and {more:,} more like {'these' if of_each > 1 else 'this'}"
        if (more := len(kinds) - SHOWN_PROBLEMS) > 0:
            yield f"and {counted(more, 'more kind')}"


def _kind(problem: str) -> str:
    """What is wrong, whatever the place, names and numbers."""
    return _NAMES_AND_NUMBERS.sub("", problem.partition(": ")[2])


def line_place(file: str, line: int) -> str:
    """Return the name of a place in a file; lines count from 1."""
    return f"{file}, line {line}"


def first_of(names: Sequence[str], most: int = SHOWN_NAMES) -> str:
    """Name the first of many things, and say how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")
