"""The plot of systems: one line each, a dot for the score and a bar for its interval.

The same SVG stands in the page and is downloaded: its colours are the page's variables, each with the light
palette's value for where there are none. One unit is about a pixel on a narrow screen.
"""

import base64
from html import escape
from typing import Any
from xml.sax.saxutils import quoteattr

import pandas as pd

from core.scales import MAX_SCORE, MIN_SCORE, SCALE_TITLES
from webapp.theme import LIGHT, SANS

_WIDTH, _ROW, _TOP, _BOTTOM = 360, 22, 48, 34
_NAME_CHARACTERS = 17
_LEFT, _RIGHT = 124, 316  # where the scale begins and ends


def systems_plot(systems: pd.DataFrame, scale: str, unit: str = "MOS") -> str:
    """Draw the systems' scores on one scale, the best on top.

    Parameters
    ----------
    systems : DataFrame
        Of `annotation.results.ratings.system_table`, or of `core.many.leaderboard.leaderboard`.
    scale : str
    unit : str
        What the scores are.

    Returns
    -------
    str
        SVG.
    """
    rows = systems.sort_values([scale, "system"], ascending=[False, True]).to_dict("records")
    height = _TOP + _ROW * len(rows) + _BOTTOM
    points = range(int(MIN_SCORE), int(MAX_SCORE) + 1)
    foot = height - _BOTTOM
    grid = "".join(
        f'<path d="M{_across(point):g} {_TOP - 4}V{foot}" stroke="{_colour("line")}"/>'
        f"{_label(_across(point), foot + 14, str(point), 'middle', quiet=True)}"
        for point in points
    )
    body = "".join(_system(row, scale, _TOP + _ROW * number + _ROW / 2) for number, row in enumerate(rows))
    title = SCALE_TITLES[scale]
    said = f"{title} of {len(rows)} systems; the table below has the same figures."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' font-family={quoteattr(", ".join(SANS))} font-size="11" aria-label={quoteattr(said)}>'
        f'<g font-weight="600" font-size="13">{_label(0, 14, title)}</g>'
        f"{_label(0, 36, 'System', quiet=True)}{_label(_WIDTH, 36, 'Clips', 'end', quiet=True)}"
        f"{grid}{body}{_label(_LEFT, height - 4, f'{unit}; bar: 95 % interval', quiet=True)}</svg>"
    )


def download(svg: str, name: str) -> str:
    """Link to a plot as a file."""
    url = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
    return f'<a class="me-download" download="{escape(name)}.svg" href="{url}">Download SVG</a>'


def _system(row: dict[str, Any], scale: str, y: float) -> str:
    name = "".join(sign if sign.isprintable() else "?" for sign in row["system"])
    half = _NAME_CHARACTERS // 2  # names of systems often differ at their end
    shown = name if len(name) <= _NAME_CHARACTERS else f"{name[:half]}…{name[-half:]}"
    score, low, high = (row[f"{scale}{part}"] for part in ("", "_low", "_high"))
    around = f" [{low:.2f}, {high:.2f}]" if low == low else ""  # NaN: no interval
    low, high = (low, high) if low == low else (score, score)
    said = escape(f"{name}: {score:.2f}{around}, {row['n_clips']} clips")
    accent = _colour("accent")
    return (
        f"<g><title>{said}</title>{_label(0, y + 4, shown)}"
        f'<path d="M{_across(low):.1f} {y}H{_across(high):.1f}" stroke="{accent}" stroke-width="7"'
        ' stroke-opacity="0.35"/>'
        f'<circle cx="{_across(score):.1f}" cy="{y}" r="4.5" fill="{accent}"/>'
        f"{_label(_WIDTH, y + 4, str(row['n_clips']), 'end', quiet=True)}</g>"
    )


def _label(x: float, y: float, text: str, anchor: str = "start", *, quiet: bool = False) -> str:
    colour = _colour("quiet" if quiet else "ink")
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _across(score: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (score - MIN_SCORE) / (MAX_SCORE - MIN_SCORE)


def _colour(role: str) -> str:
    return f"var(--me-{role}, {getattr(LIGHT, role)})"
