"""Tables in text files, read line by line, and everything that is wrong with them said at once.

A data set has thousands of lines; whoever repairs it wants to know all that is wrong, with file and line,
before anything starts. So readers add what they find to `Problems` and go on, and stop once, at the end.
"""

import csv
import io
import math
from collections.abc import Iterator
from pathlib import Path

from core.errors import DataError, shown_name
from core.scales import MAX_SCORE, MIN_SCORE

SHOWN_PROBLEMS = 20


class Problems:
    """What is wrong with one source of data.

    Parameters
    ----------
    source : str
        Basename of the file or folder.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.found: list[str] = []

    def add(self, place: str, what: str) -> None:
        """Note a problem: where, and what is wrong there, in half a sentence without a full stop."""
        self.found.append(f"{place}: {what}")

    def stop_if_any(self) -> None:
        """Raise what was found.

        Raises
        ------
        DataError
            A summary, then a line for each of the first `SHOWN_PROBLEMS` problems, in the order of finding.
        """
        if not self.found:
            return
        count = "1 problem" if len(self.found) == 1 else f"{len(self.found)} problems"
        more = len(self.found) - SHOWN_PROBLEMS
        rest = [f"and {more} more"] if more > 0 else []
        shown = "".join(f"\n  {line}" for line in [*self.found[:SHOWN_PROBLEMS], *rest])
        raise DataError(f"{shown_name(self.source)} cannot be used, it has {count}:{shown}")


def line_place(file: str, line: int) -> str:
    """Name a place in a file; lines count from 1."""
    return f"{file}, line {line}"


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank, from 1, without its end.

    Raises
    ------
    DataError
        The file cannot be read as UTF-8 text.
    """
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            yield number, line.rstrip("\r")


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]], Problems]:
    """Read a CSV file with a heading.

    Returns
    -------
    heading : list of str
    rows : list of (int, dict)
        The line on which the row begins, and its cells by column; without rows of another length.
    problems : Problems
        With the rows of another length in it.

    Raises
    ------
    DataError
        The file cannot be read as UTF-8 text, or is empty.
    """
    reader = csv.reader(io.StringIO(_text(path), newline=""))
    problems, line = Problems(path.name), 1
    heading: list[str] = []
    rows: list[tuple[int, dict[str, str]]] = []
    try:
        for cells in reader:
            if not heading:
                heading = cells
            elif len(cells) == len(heading):
                rows.append((line, dict(zip(heading, cells, strict=True))))
            elif cells:
                what = f"{len(cells)} instead of {len(heading)} cells"
                problems.add(line_place(path.name, line), what)
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{shown_name(path.name)}, line {line}, cannot be read as CSV: {error}.") from error
    if not heading:
        raise DataError(f"{shown_name(path.name)} cannot be read as a table: it is empty.")
    return heading, rows, problems


def parse_number(text: str) -> float:
    """A finite number.

    Raises
    ------
    ValueError
        It is none; the message is for the user.
    """
    try:
        number = float(text)
    except ValueError as error:
        raise ValueError(f"{shown_name(text)} is not a number") from error
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()} is not a finite number")
    return number


def parse_score(text: str) -> float:
    """A score from 1 to 5.

    Raises
    ------
    ValueError
        It is none; the message is for the user.
    """
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
