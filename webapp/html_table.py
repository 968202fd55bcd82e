"""Tables as HTML: they wrap, scroll sideways on a narrow screen, and are read out with their headings."""

from collections.abc import Iterable, Sequence
from html import escape


def html_table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Lay out a table.

    Parameters
    ----------
    caption : str
    heads : sequence of str
        The first column names what a row is about.
    rows : iterable of sequences
        Texts, which are escaped, and numbers, which are set to the right.
    note : str
        Shown in place of a table that has no rows.

    Returns
    -------
    str
    """
    body = "".join(_row(row) for row in rows)
    if not body:
        return f'<p class="me-quiet">{escape(note)}</p>' if note else ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    return (
        f'<div class="me-scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="me-table"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: Sequence[object]) -> str:
    first, *others = row
    cells = "".join(
        f'<td class="me-number">{cell}</td>' if isinstance(cell, int | float) else f"<td>{_text(cell)}</td>"
        for cell in others
    )
    return f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>'


def _text(cell: object) -> str:
    return f"<bdi>{escape(str(cell))}</bdi>"
