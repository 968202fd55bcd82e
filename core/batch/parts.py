"""A clip list in parts, each scored by a command of its own, as an array of jobs runs them; and the whole of them.

Part 3 of 64 are the rows 3, 67, 131 and so on, and its scores lie in ``scores.3-of-64.csv``. So parts have no row in
common, have every row together, and take about as long as each other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from core.batch.manifest import (
    OWN_COLUMNS,
    RANK,
    Cells,
    ClipList,
    Columns,
    check_format,
    from_cells,
    read_records,
    write_records,
)
from core.errors import DataError, counted, shown_name
from core.files import Problems, first_of

_PLACE = re.compile(r"\.(\d+)-of-(\d+)$")
_SAME = ("model", "model_sha256", "precision")
_NUMBERS = (RANK, "interval_level", "duration_s")


@dataclass(frozen=True)
class Part:
    """One of several parts, counted from 1."""

    number: int
    of: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Read ``3/64``; ValueError for anything else."""
        number, _, of = text.partition("/")
        part = cls(int(number), int(of))
        if not 1 <= part.number <= part.of:
            raise ValueError(text)
        return part

    def file(self, output: Path) -> Path:
        """Return where its scores go."""
        return output.with_name(f"{output.stem}.{self.number}-of-{self.of}{output.suffix}")

    def rows(self, clip_list: ClipList) -> ClipList:
        """Return its rows of a list."""
        return clip_list.every(self.of, self.number - 1)


def merge(path: Path, output: Path) -> tuple[int, int]:
    """Put the scores of all parts of a list together; return the number of rows, and of those that have scores.

    DataError where parts are missing or not whole, were scored by several judges, or are of another list.
    """
    check_format(output)
    clip_list, files = ClipList.check(path), _parts(output)
    n_ok = 0

    def records() -> Iterator[Cells]:
        nonlocal n_ok
        for record in _in_order(clip_list, files, columns):
            n_ok += record["status"] == "ok"
            yield record

    columns = _columns(files[0])
    write_records(output, columns, records())
    return clip_list.n_rows, n_ok


def _parts(output: Path) -> list[Path]:
    """The tables of the parts beside an output, in order."""
    found: dict[Part, Path] = {}
    for file in output.parent.glob(f"*{output.suffix}"):
        place = _PLACE.search(file.stem)
        if place and file.stem[: place.start()] == output.stem:
            found[Part(int(place[1]), int(place[2]))] = file
    several = sorted({part.of for part in found})
    if len(several) != 1:
        why = f"of {' and of '.join(map(str, several))}" if several else "none"
        raise DataError(f"Parts of {shown_name(output.name)} are missing: there are {why}. Score each with --part.")
    missing = [str(n) for n in range(1, several[0] + 1) if Part(n, several[0]) not in found]
    if missing:
        what = f"{counted(len(missing), 'part')} of {shown_name(output.name)}"
        raise DataError(f"{what} of {several[0]} are not finished: {first_of(missing)}. Score each with --part.")
    return [found[Part(n, several[0])] for n in range(1, several[0] + 1)]


def _columns(file: Path) -> Columns:
    """The columns of a table of scores, and which are numbers."""
    first: Cells = next(iter(_records(file, ())), {})
    scales = [name for name in first if f"{name}_low" in first]
    numbers = {*_NUMBERS, *scales, *(f"{name}_{bound}" for name in scales for bound in ("low", "high"))}
    return {name: float if name in numbers else str for name in first}


def _records(file: Path, numbers: tuple[str, ...]) -> Iterator[Cells]:
    problems = Problems(file.name)
    yield from (cells for _, cells in read_records(file, problems, numbers))
    problems.stop_if_any()


def _in_order(clip_list: ClipList, files: list[Path], columns: Columns) -> Iterator[Cells]:
    numbers = tuple(name for name, kind in columns.items() if kind is float)
    tables = [_records(file, numbers) for file in files]
    judges: set[tuple[object, ...]] = set()
    for number, row in enumerate(clip_list.rows()):
        file, cells = files[number % len(files)], next(tables[number % len(files)], {})
        if any(str(cells.get(name) or "").strip() != getattr(row, name) for name in OWN_COLUMNS):
            raise DataError(f"{shown_name(file.name)} is of another clip list, or was changed. Score this part again.")
        judges.add(tuple(cells.get(name) for name in _SAME))
        if len(judges) > 1:
            raise DataError(f"{shown_name(file.name)} was scored by another judge or precision. Score this part again.")
        yield {**from_cells({name: cells.get(name) for name in columns}, columns), **row.others}
