"""How plots look, and their SVG: the same bytes each time, text as text, nothing in a name taken for a formula."""

import io
from typing import Any

from matplotlib.figure import Figure

STYLE: Any = {
    "svg.hashsalt": "musiceval",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 9,
}
_COLOURS = ("#2563eb", "#c2410c", "#0f766e", "#7c3aed", "#a16207", "#be123c")


def colour(n: int) -> str:
    """Return the colour of the n-th scale, from 0."""
    return _COLOURS[n % len(_COLOURS)]


def png(figure: Figure) -> bytes:
    """Return a figure as a PNG file for print; to be called under `STYLE`."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=300, metadata={"Software": None})
    return content.getvalue()


def svg(figure: Figure) -> str:
    """Return a figure as an SVG file; to be called under `STYLE`."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
