"""The plot of systems: one line each, a dot for the score and a bar for its interval.

The same SVG stands in the page and is downloaded: its colours are the page's variables, each with the light
palette's value for where there are none. One unit is about a pixel on a narrow screen.
"""

import math
from typing import Any

import pandas as pd
from markupsafe import Markup

from core.errors import printable
from core.scales import MAX_SCORE, MIN_SCORE, Scale
from webapp.html import file_address, render
from webapp.palette import LIGHT, SANS

_WIDTH, _ROW, _TOP, _BOTTOM = 360, 22, 48, 34
_LEFT, _RIGHT = 124, 316  # where the scale begins and ends
_NAME_CHARACTERS = 17


def systems_plot(systems: pd.DataFrame, scale: Scale, unit: str = "MOS") -> Markup:
    """Draw the systems' scores on one scale as SVG, the best on top.

    `systems` has columns ``system``, ``n_clips``, and the scale's key alone and with ``_low`` and ``_high``
    (NaN where there is no interval); `unit` says what the scores are.
    """
    rows = systems.sort_values([scale.key, "system"], ascending=[False, True]).to_dict("records")
    colours = {role: f"var(--me-{role}, {getattr(LIGHT, role)})" for role in ("ink", "quiet", "line", "accent")}
    return render(
        "systems_plot.svg",
        title=scale.title,
        unit=unit,
        systems=[_system(row, scale.key, _TOP + _ROW * (number + 0.5)) for number, row in enumerate(rows)],
        across=_across,
        width=_WIDTH,
        height=_TOP + _ROW * len(rows) + _BOTTOM,
        left=_LEFT,
        font=", ".join(SANS),
        **colours,
    )


def download(svg: str, name: str) -> Markup:
    """Return a link to a plot as a file."""
    link = Markup('<a class="me-download" download="{}.svg" href="{}">Download SVG</a>')
    return link.format(name, file_address(svg.encode(), "image/svg+xml"))


def _system(row: dict[str, Any], scale: str, y: float) -> dict[str, Any]:
    name = printable(row["system"])
    half = _NAME_CHARACTERS // 2  # names of systems often differ at their end
    score, low, high = row[scale], row[f"{scale}_low"], row[f"{scale}_high"]
    lacking = f" – ({row['no_interval']})" if row.get("no_interval") else ""
    around = lacking if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return {
        "title": f"{name}: {score:.2f}{around}, {row['n_clips']} clips",
        "short": name if len(name) <= _NAME_CHARACTERS else f"{name[:half]}…{name[-half:]}",
        "score": score,
        "low": score if math.isnan(low) else low,
        "high": score if math.isnan(low) else high,
        "n_clips": row["n_clips"],
        "y": y,
    }


def _across(score: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * (score - MIN_SCORE) / (MAX_SCORE - MIN_SCORE)
