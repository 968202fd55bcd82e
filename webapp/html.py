"""HTML of the pages, from the templates beside this file: whatever is put in is escaped (Jinja2)."""

import base64
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from annotation.results import Table
from core.tables import escape_cell
from core.templates import html_templates
from webapp.retention import kept_for

_MOST_ROWS = 30  # of a table, before the rest is folded
_HERE = Path(__file__).parent
_TEMPLATES = html_templates(_HERE / "templates")
_TEMPLATES.globals["kept_for"] = kept_for


def render(template: str, **values: Any) -> Markup:
    """Fill a template; what is not `Markup` is escaped."""
    return Markup(_TEMPLATES.get_template(template).render(values))


def static(*names: str) -> str:
    """Return files of the folder ``static``, one below the other."""
    return "\n".join((_HERE / "static" / name).read_text(encoding="utf-8") for name in names)


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> Markup:
    """Lay out a table whose first column names the row; `note` stands in place of a table without rows.

    What follows the first rows of a long one is folded: a browser lays that out once it is opened.
    """
    return render("table.html", caption=caption, heads=heads, rows=list(rows), note=note, most=_MOST_ROWS)


def shown_table(table: Table) -> Markup:
    """Lay out a table of `annotation.results`."""
    return html_table(table.caption, table.heads, table.rows, table.nothing)


def csv_address(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the address of a file that holds a table; it opens in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([[escape_cell(str(cell)) for cell in row] for row in (heads, *rows)])
    return file_address(b"\xef\xbb\xbf" + text.getvalue().encode(), "text/csv")


def file_address(content: bytes, kind: str) -> str:
    """Return the address of a file that is its own content."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
