"""What stands beside a trained model for people: two plots as SVG, and the model card.

The plots are the course of its training, and predicted against rated scores; the same bytes each time.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from core.controls import Controls
from core.evaluation import LEVELS, Measured, Predictions, predicted
from core.metrics import METRICS
from core.plots import STYLE, colour, svg
from core.scales import MAX_SCORE, MIN_SCORE, Scales
from core.training.recipe import RECIPES


def draw_curves(log: Sequence[Mapping[str, float]], scales: Scales, kept: int) -> str:
    """Draw mean absolute errors by epoch, the rows of ``log.csv``: training, dev, and dev by scale.

    A line marks the epoch whose weights are kept.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.add_subplot(xlabel="epoch", ylabel="mean absolute error (L1)")
        rows = pd.DataFrame(log)
        curves = {"train_l1": ("training", "#6b7280", "-"), "dev_l1": ("dev", "#111827", "-")}
        for n, scale in enumerate(scales):
            curves[f"dev_l1_{scale.key}"] = (f"dev, {scale.title.lower()}", colour(n), "--")
        for column, (label, hue, line) in curves.items():
            if column in rows:
                marker = "o" if len(rows) == 1 else ""
                axes.plot(rows["epoch"], rows[column], line, color=hue, label=label, marker=marker)
        axes.axvline(kept, color="#9ca3af", linestyle=":", label=f"epoch {kept} is kept")
        axes.legend(frameon=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return svg(figure)


def draw_scatter(predictions: Predictions) -> str:
    """Draw predicted against rated scores, a point for each clip and a ring for each system's mean."""
    scales = predictions.scales
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.6 * len(scales), 3.8), layout="constrained")
        ends = (MIN_SCORE - 0.1, MAX_SCORE + 0.1)
        for n, scale in enumerate(scales):
            axes = figure.add_subplot(1, len(scales), n + 1, title=scale.title)
            axes.set(xlabel="rated", ylabel="predicted", xlim=ends, ylim=ends, aspect="equal")
            axes.plot(ends, ends, color="#9ca3af", linewidth=0.8)
            x, y = scale.key, predicted(scale.key)
            table = predictions.on(scale)
            systems = table[table["system_id"] != ""].groupby("system_id")[[x, y]].mean()
            axes.scatter(table[x], table[y], s=6, alpha=0.4, color=colour(n))
            axes.scatter(systems[x], systems[y], s=36, facecolors="none", edgecolors="#111827")
        return svg(figure)


_SPLIT_WORDS = {
    "official": "the parts that the data came with",
    "random": "clip by clip, at random",
    "systems": "by system: no system has clips in two parts",
    "prompts": "by prompt: no prompt has clips in two parts",
}


def model_card(
    name: str, run: Mapping[str, Any], metrics: Mapping[str, Any], measured: Measured, data: str, caveat: str
) -> str:
    """Return the model card, Markdown.

    `run` and `metrics` are ``run.json`` and ``metrics.json``, `measured` what these say of agreement, `data`
    what the model was trained on, in words.
    """
    usual, controls = RECIPES[run["recipe"]["name"]].to_json(), Controls.from_json(metrics, measured.scales)
    template = Path(__file__).with_name("model_card.md").read_text(encoding="utf-8")
    environment = jinja2.Environment(  # Markdown: nothing is to be escaped
        autoescape=False, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(template).render(
        name=name,
        data_words=data,
        run=run,
        recipe=run["recipe"],
        changed={key: was for key, was in usual.items() if run["recipe"][key] != was},
        metrics=metrics,
        error=metrics["held_out"],
        measured=measured,
        controls=controls.titled(),
        beside=controls.in_words(measured),
        levels=LEVELS,
        metric_names=list(METRICS),
        split_words=_SPLIT_WORDS[run["split"]["kind"]],
        caveat=caveat,
    )
