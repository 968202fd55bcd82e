"""Files: read line by line with all that is wrong said at once, and written whole or not at all.

A data set has thousands of lines; whoever repairs it wants to know all that is wrong, with file and line,
before anything starts. So readers add what they find to `Problems`, go on, and stop once, at the end. (pandas
and pydantic name no lines.) What is written gets its name when it is complete, so it can be read at any time.
"""

import csv
import hashlib
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DataError, StudyError, shown_name
from core.scales import MAX_SCORE, MIN_SCORE

SHOWN_PROBLEMS = 20


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        more = len(self.found) - SHOWN_PROBLEMS
        rest = [f"and {more} more"] if more > 0 else []
        shown = "".join(f"\n  {line}" for line in [*self.found[:SHOWN_PROBLEMS], *rest])
        raise DataError(f"{shown_name(self.source)} cannot be used, it has {count}:{shown}")


def line_place(file: str, line: int) -> str:
    """Return the name of a place in a file; lines count from 1."""
    return f"{file}, line {line}"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not blank, from 1, without its end."""
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


@dataclass(frozen=True)
class TextTable:
    """A CSV file as text: the lines on which rows begin, and their cells by column."""

    heading: list[str]
    rows: list[tuple[int, dict[str, str]]]
    problems: Problems  # rows of another length, which are left out


def read_csv(path: Path) -> TextTable:
    """Read a CSV file with a heading; a DataError if it is empty or not UTF-8 text."""
    reader = csv.reader(io.StringIO(_text(path), newline=""))
    table, line = TextTable([], [], Problems(path.name)), 1
    try:
        for cells in reader:
            if not table.heading:
                table.heading.extend(cells)
            elif len(cells) == len(table.heading):
                table.rows.append((line, dict(zip(table.heading, cells, strict=True))))
            elif cells:
                what = f"{len(cells)} instead of {len(table.heading)} cells"
                table.problems.add(line_place(path.name, line), what)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{shown_name(path.name)}, line {line}, cannot be read as CSV: {error}.") from error
    if not table.heading:
        raise DataError(f"{shown_name(path.name)} cannot be read as a table: it is empty.")
    return table


def parse_number(text: str) -> float:
    """Return a finite number, or raise ValueError with half a sentence for the user."""
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{shown_name(text)} is not a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()} is not a finite number")
    return number


def parse_score(text: str) -> float:
    """Return a score from 1 to 5, or raise ValueError with half a sentence for the user."""
    score = parse_number(text)
    if not MIN_SCORE <= score <= MAX_SCORE:
        raise ValueError(f"the score {score:g} is not from {MIN_SCORE:g} to {MAX_SCORE:g}")
    return score


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise DataError(f"{shown_name(path.name)} cannot be read as a table: {why}.") from error
