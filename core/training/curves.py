"""Plots beside a trained model, as SVG: the course of its training, and predicted against rated scores."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from core.predictions import predicted
from core.scales import MAX_SCORE, MIN_SCORE, SCALE_TITLES, SCALES

_STYLE: Any = {"svg.hashsalt": "musiceval", "svg.fonttype": "none", "axes.spines.top": False}
_STYLE |= {"axes.spines.right": False, "font.size": 9}
_COLOURS = {"musical_impression": "#2563eb", "textual_alignment": "#c2410c"}


def draw_curves(log: Sequence[Mapping[str, float]]) -> str:
    """Draw mean absolute errors by epoch: training, dev, and dev by scale.

    Parameters
    ----------
    log : sequence of mapping
        Rows of ``log.csv`` (`core.training.run_folder.LOG_COLUMNS`); without a dev part there is one curve.

    Returns
    -------
    str
        An SVG document, the same bytes each time.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot(xlabel="epoch", ylabel="mean absolute error (L1)")
        rows = pd.DataFrame(log)
        curves = {
            "train_l1": ("training", "#6b7280", "-"),
            "dev_l1": ("dev", "#111827", "-"),
            **{
                f"dev_l1_{scale}": (f"dev, {scale.replace('_', ' ')}", _COLOURS[scale], "--")
                for scale in SCALES
            },
        }
        for column, (label, colour, line) in curves.items():
            if column in rows:
                marker = "o" if len(rows) == 1 else ""
                axes.plot(rows["epoch"], rows[column], line, color=colour, label=label, marker=marker)
        axes.legend(frameon=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure)


def draw_scatter(table: pd.DataFrame) -> str:
    """Draw predicted against rated scores, a point for each clip and a ring for each system's mean.

    Parameters
    ----------
    table : DataFrame
        Of `core.embedded_clips.predict_table`.

    Returns
    -------
    str
        An SVG document, the same bytes each time.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.8), layout="constrained")
        columns = [*SCALES, *map(predicted, SCALES)]
        systems = table.groupby("system_id")[columns].mean()
        ends = (MIN_SCORE - 0.1, MAX_SCORE + 0.1)
        for place, scale in enumerate(SCALES, 1):
            axes = figure.add_subplot(1, 2, place, title=SCALE_TITLES[scale])
            axes.set(xlabel="rated", ylabel="predicted", xlim=ends, ylim=ends)
            axes.plot(ends, ends, color="#9ca3af", linewidth=0.8)
            axes.scatter(table[scale], table[predicted(scale)], s=6, alpha=0.4, color=_COLOURS[scale])
            axes.scatter(
                systems[scale], systems[predicted(scale)], s=36, facecolors="none", edgecolors="#111827"
            )
            axes.set_aspect("equal")
        return _svg(figure)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
