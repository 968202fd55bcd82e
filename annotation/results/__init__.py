"""What a study has come to: ratings with their standing, MOS, how far they can be trusted, how far it is.

Figures and tables are said once, beside the results that they are of: the terminal prints them, and the page
lays the same ones out.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Figure(Generic[T]):
    """One figure of a result: its name, and what is said of it."""

    name: str
    say: Callable[[T], str]


@dataclass(frozen=True)
class Table:
    """A table whose first column names the row; `nothing` stands in place of one without rows."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[object]]
    nothing: str = ""

    def text(self) -> str:
        """Lay the table out for a terminal."""
        # Not by rich: it cuts cells to the width of the terminal, and takes names in brackets for markup.
        cells = [[str(cell) for cell in row] for row in (self.heads, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in cells)

    def captioned(self) -> str:
        """Lay it out below its caption, or say why it is empty."""
        return f"{self.caption}\n{self.text()}" if self.rows else self.nothing


def number(value: float | None, form: str = "z.2f") -> str:
    """Say a figure, without a minus before zero; what so few ratings cannot tell is a dash."""
    return "–" if value is None or math.isnan(value) else format(value, form)
