"""Tables of texts: the one reader of every list of clips, of ratings and of predictions.

What people, programs and spreadsheets write is read alike:

    encoding      UTF-8, or UTF-16 or UTF-32 with its mark. Others are refused: the same bytes are letters of several
    separator     comma, semicolon or tab: by which the first row has most of the columns that are asked for; or
                  what a first line such as ``sep=;`` says
    numbers       may have a decimal comma where semicolons separate the cells
    spaces        around names and cells are no part of them, nor are characters there that have no width
    headings      may be in other case, and have spaces or hyphens for underscores
    empty rows    are passed over, and so are columns without a name and a cell
    apostrophes   that `escape_cell` wrote are taken away

What could be read in two ways is refused with its line: a column that is there twice, a row of another length, a
quote that does not close, a quoted text over several lines one of which looks like a row of its own: it has as many
cells, with numbers where numbers are asked for and the name of a file where one belongs.

Rows are read as they are asked for, so a table may be larger than memory. Python's own csv reads the cells: pandas
and Arrow know neither the line on which a row stands, nor a row that is broken among good ones.
"""

import codecs
import csv
import functools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from core.errors import DataError, shown_name
from core.files import Problems, line_place
from core.scales import MAX_SCORE, MIN_SCORE

SEPARATORS = (",", ";", "\t")
NO_TEXT = frozenset({"", "nan", "none", "null", "n/a", "#n/a", "<na>", "-", "–", "—"})  # in small letters

_FILES = ("file", "audio_path")  # columns that name a file

_MARKS = {  # those of UTF-32 first: one begins with that of UTF-16
    **dict.fromkeys((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "utf-32"),
    **dict.fromkeys((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "utf-16"),
    codecs.BOM_UTF8: "utf-8-sig",
}
_BLANK = r"[\s\u00ad\u200b-\u200f\u2060\ufeff]+"  # spaces, and what is copied with a text and not seen
_EDGES = re.compile(rf"^{_BLANK}|{_BLANK}$")
_WORKBOOK = b"PK\x03\x04"  # how a file of Excel begins, and every other ZIP
_BYTES_AT_ONCE = 1_000_000
_NAMED_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")
# With apostrophes before it, so that escaping can be undone; programs drop blanks, and take wide signs for plain ones.
_FORMULA = re.compile(r"'*(\s*[=+\-@＝＋－＠]|[\t\r\n])")


@dataclass(frozen=True)
class Line:
    """A row of a table: the line on which it begins, from 1, and its cells by column."""

    number: int
    cells: dict[str, str]


@dataclass(frozen=True)
class TextTable:
    """A table of texts; its file was looked through, and its rows are still to be read."""

    path: Path
    columns: tuple[str, ...]  # their names; those without one are left out
    separator: str
    _encoding: str
    _names: tuple[str, ...]  # with those that are empty, but for the last ones
    _numbers: frozenset[str]
    _has_heading: bool

    def rows(self, problems: Problems) -> Iterator[Line]:
        """Read the rows; those that cannot be are noted in `problems` and left out."""
        is_heading = self._has_heading
        for record in _records(self.path, self._encoding, self.separator):
            wrong = record.wrong or ("" if is_heading else self._misfit(record))
            if wrong:
                problems.add(line_place(problems.source, record.line), wrong)
            elif not is_heading:
                yield Line(record.line, self._by_name(record.cells))
            is_heading = False

    def _misfit(self, record: "_Record") -> str:
        """Say in half a sentence why a row does not fit the columns; nothing where it does."""
        n_named, cells = len(self._names), record.cells
        if len(cells) < n_named or any(cells[n_named:]):
            return f"{len(cells)} instead of {n_named} cells"
        nameless = [cell for name, cell in zip(self._names, cells, strict=False) if not name and cell]
        if nameless:
            return f"{shown_name(nameless[0])} stands under no heading"
        first, *others = record.lines
        swallowed = [line for line, text in enumerate(others, record.line + 1) if self._is_row(text)]
        if swallowed and first.count(self.separator) >= n_named - 1:  # so the first line is a whole row as well
            what = "which looks like a row of its own. Close or remove the quote"
            return f"a quoted text goes on over line {swallowed[0]}, {what}"
        return ""

    def _is_row(self, line: str) -> bool:
        """Whether a line that a quoted text goes on over looks like a row."""
        cells = [cell.strip(' \t\r\n"') for cell in line.split(self.separator)]
        by_name = dict(zip(self._names, cells, strict=False))
        files = [PurePosixPath(by_name[name]).suffix for name in _FILES if name in by_name]
        numbers = [cell for name, cell in by_name.items() if name in self._numbers and cell]
        return len(cells) == len(self._names) > 1 and all(files) and all(map(_is_number, numbers))

    def _by_name(self, cells: Sequence[str]) -> dict[str, str]:
        return {name: self._cell(name, cell) for name, cell in zip(self._names, cells, strict=False) if name}

    def _cell(self, name: str, cell: str) -> str:
        if self.separator == ";" and name in self._numbers and _DECIMAL_COMMA.fullmatch(cell):
            return cell.replace(",", ".")
        return cell


def open_table(path: Path, texts: Sequence[str], numbers: Sequence[str] = (), has_heading: bool = True) -> TextTable:
    """Look a table through and return it with its columns; DataError where it cannot be read as one.

    There may be others than the columns of `texts` and `numbers` that are asked for. Without a heading they are all
    columns, in this order.
    """
    asked = (*texts, *numbers)
    encoding = _encoding(path)
    fit = {each: _fit(_first_record(path, encoding, each), texts, numbers, has_heading) for each in SEPARATORS}
    separator = _named_separator(path, encoding) or max(SEPARATORS, key=lambda each: fit[each])
    names = as_asked(_first_row(path, encoding, separator), asked) if has_heading else asked
    while names and not names[-1]:
        names = names[:-1]
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise DataError(f"{shown_name(path.name)} has two columns {', '.join(map(repr, twice))}. Keep one.")
    columns = tuple(name for name in names if name)
    return TextTable(path, columns, separator, encoding, names, frozenset(numbers), has_heading)


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not blank, from 1, without its end."""
    with _opened(path, _encoding(path)) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n")


def read_text(path: Path) -> str:
    """Return what a file says, decoded as a table is."""
    with _opened(path, _encoding(path)) as file:
        return file.read()


@dataclass(frozen=True)
class _Record:
    line: int
    cells: list[str]
    lines: tuple[str, ...] = ("",)  # as they stand in the file
    wrong: str = ""  # in half a sentence; then there are no cells


class _Lines:
    """The lines of a file, and those of them that the row which is being read is made of."""

    def __init__(self, file: TextIO) -> None:
        self._file, self.number = file, 0
        self.of_row: list[str] = []

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = next(self._file)
        self.number += 1
        self.of_row.append(line)
        return line


def _records(path: Path, encoding: str, separator: str) -> Iterator[_Record]:
    """Each row that is not empty, with its cells as they are meant."""
    with _opened(path, encoding) as file:
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
        while True:
            start = lines.number + 1
            lines.of_row.clear()
            try:
                cells = [read_cell(cell) for cell in next(reader)]
            except StopIteration:
                return
            except csv.Error as error:
                yield _Record(start, [], wrong=_said(error))
                continue
            is_separator = start == 1 and _NAMED_SEPARATOR.fullmatch(lines.of_row[0])
            if any(cells) and not is_separator:
                yield _Record(start, cells, tuple(lines.of_row))


def _said(error: csv.Error) -> str:
    if "unexpected end" in str(error):
        return 'a quote (") is opened here and never closed'
    if "expected after" in str(error):
        return 'a quoted text goes on after its closing quote ("). A quote within it is written twice'
    return str(error)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _first_record(path: Path, encoding: str, separator: str) -> _Record:
    record = next(_records(path, encoding, separator), None)
    if record is None:
        raise _unreadable(path, "it is empty")
    return record


def _first_row(path: Path, encoding: str, separator: str) -> list[str]:
    record = _first_record(path, encoding, separator)
    if record.wrong:
        raise DataError(f"{shown_name(path.name)}, line {record.line}, cannot be read: {record.wrong}.")
    return record.cells


def _fit(first: _Record, texts: Sequence[str], numbers: Sequence[str], has_heading: bool) -> tuple[int, int]:
    """How well the first row fits what is asked for; the greater the better."""
    n_cells = len(first.cells)
    if has_heading:
        asked = (*texts, *numbers)
        return len({*as_asked(first.cells, asked)} & {*asked}), n_cells
    is_whole = n_cells == len(texts) + len(numbers)
    return (1 + sum(map(_is_number, first.cells[len(texts) :])) if is_whole else 0), n_cells


def _named_separator(path: Path, encoding: str) -> str | None:
    with _opened(path, encoding) as file:
        named = _NAMED_SEPARATOR.fullmatch(file.readline())
    return named[1] if named else None


@contextmanager
def _opened(path: Path, encoding: str) -> Iterator[TextIO]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            yield file
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _unreadable(path, "it was changed while it was read") from error


def _encoding(path: Path) -> str:
    """How a file is encoded; a DataError where it is no text, or that is not sure."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
        encoding = next((encoding for mark, encoding in _MARKS.items() if start.startswith(mark)), "utf-8")
        if start == _WORKBOOK:
            raise _unreadable(path, 'it is a workbook. Save its sheet as "CSV UTF-8"')
        if (b"\0" in start and encoding == "utf-8") or not _decodes(path, encoding):
            maybe = " (it may be UTF-16 without its mark)" if b"\0" in start else ""
            if not maybe and _decodes(path, "gb18030"):
                maybe = " (it may be GBK, as spreadsheets in Chinese write)"
            raise _unreadable(path, f'it is not UTF-8 text{maybe}. Save it as "CSV UTF-8"')
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    return encoding


def _decodes(path: Path, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        with path.open("rb") as file:
            while piece := file.read(_BYTES_AT_ONCE):
                decoder.decode(piece)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"{shown_name(path.name)} cannot be read: {why}.")


def stripped(text: str) -> str:
    """Return a text without the spaces around it, and without characters there that have no width."""
    return _EDGES.sub("", text)


def as_asked(names: Iterable[str], asked: Iterable[str]) -> tuple[str, ...]:
    """Return names of columns, those as they are asked for that differ in case, spaces or hyphens only."""
    known = {_plain(name): name for name in asked}
    return tuple(known.get(_plain(name), name) for name in names)


@functools.lru_cache
def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", stripped(name)).casefold()


def escape_cell(cell: Any) -> Any:
    """Keep a spreadsheet from taking a text for a formula: an apostrophe before ``= + - @``, tab and line breaks.

    The signs count after blanks, and full-width too. What is no text stays as it is.

    Source: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    return f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell


def unescape_cell(text: str) -> str:
    """Undo `escape_cell`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


def read_cell(cell: str) -> str:
    """Return the text of a cell, not escaped and without what stands around it: what is escaped may be a blank."""
    return stripped(unescape_cell(cell if cell.startswith("'") else stripped(cell)))


def means_nothing(text: str) -> bool:
    """Whether a text is one of `NO_TEXT`: what programs and people write where there is none."""
    return stripped(text).casefold() in NO_TEXT


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
