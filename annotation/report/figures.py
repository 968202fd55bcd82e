"""The figures of the paper's section V from a study's valid ratings, as SVG and PNG, with what they show as a table.

Source: the MusicEval paper, figures 1 to 5: how often each point was given, the systems on each scale, and by an
attribute where one is given, the lengths of prompts; and the systems on two scales against each other.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from annotation.results.attributes import Groups
from annotation.results.scores import Results
from core.errors import printable
from core.plots import STYLE, colour, png, svg
from core.scales import MAX_SCORE, MIN_SCORE, Scale, Scales, keys

_POINTS = np.arange(MIN_SCORE, MAX_SCORE + 1)
_ENDS = (MIN_SCORE - 0.15, MAX_SCORE + 0.15)
_GREY = "#9ca3af"
_ROW_IN = 0.26  # inches of one system


@dataclass(frozen=True)
class Plot:
    """A figure: its name in file names, what it shows in words and as a table, and its drawing."""

    name: str
    caption: str
    table: pd.DataFrame
    figure: Figure

    @cached_property  # drawn twice, the layout would settle elsewhere
    def svg(self) -> str:
        """The drawing as an SVG file."""
        with mpl.rc_context(STYLE):
            return svg(self.figure)

    @property
    def png(self) -> bytes:
        """The drawing as a PNG file."""
        with mpl.rc_context(STYLE):
            return png(self.figure)


def figures(ratings: pd.DataFrame, results: Results) -> list[Plot]:
    """Draw all figures for which there are valid ratings; the tables are those of `annotation.results`."""
    if results.clips.empty:
        return []
    valid = ratings[ratings["status"] == "valid"]
    with mpl.rc_context(STYLE):
        return list(_figures(valid, results))


def _figures(valid: pd.DataFrame, results: Results) -> Iterator[Plot]:
    scales = results.scales
    given = points(valid, scales)
    caption = f"How often each point was given: {len(valid):,} valid ratings."
    yield Plot("distributions", caption, given, _distributions(given, scales))
    for n, scale in enumerate(scales):
        yield Plot(
            f"systems-{scale.key}",
            f"{scale.title} by system: each grey dot is the mean of a clip, the coloured one that of the system with "
            "its 95 % interval, where there are ratings enough for one.",
            results.clips[["clip", "system", scale.key]],
            _systems(results, scale, colour(n)),
        )
    for one, other in itertools.pairwise(scales):
        yield Plot(
            f"{other.key}-against-{one.key}",
            f"{other.title} against {one.title.lower()}: the systems, with their 95 % intervals.",
            results.systems[["system", *_with_ends(one), *_with_ends(other)]],
            _against(results.systems, one, other),
        )
    prompts = results.clips["prompt"].replace("", np.nan).dropna().drop_duplicates()
    if prompts.empty:  # ratings that were imported without prompts
        return
    words = pd.DataFrame({"prompt": prompts, "words": [len(prompt.split()) for prompt in prompts]})
    yield Plot("prompts", f"Lengths of the {len(prompts):,} prompts.", words, _prompt_lengths(words["words"]))


def points(valid: pd.DataFrame, scales: Scales) -> pd.DataFrame:
    """Return how often each point was given on each scale: ``points``, and a share in per cent under each title."""
    shares = {
        scale.title: 100 * valid[scale.key].value_counts(normalize=True).reindex(_POINTS, fill_value=0.0).to_numpy()
        for scale in scales
    }
    return pd.DataFrame({"points": _POINTS, **shares})


def _with_ends(scale: Scale) -> list[str]:
    return [f"{scale.key}{part}" for part in ("", "_low", "_high")]


def _distributions(given: pd.DataFrame, scales: Scales) -> Figure:
    figure = Figure(figsize=(6.4, 2.8), layout="constrained")
    axes = figure.add_subplot(xlabel="points", ylabel="share of ratings, %", xticks=_POINTS)
    width = 0.8 / len(scales)
    for n, scale in enumerate(scales):
        places = _POINTS + (n - (len(scales) - 1) / 2) * width
        axes.bar(places, given[scale.title], width, color=colour(n), label=scale.title)
    figure.legend(frameon=False, loc="outside upper left", ncols=len(scales))
    return figure


def _systems(results: Results, scale: Scale, hue: str) -> Figure:
    systems = results.systems.sort_values([scale.key, "system"], ascending=[True, False], ignore_index=True)
    figure = Figure(figsize=(6.4, 0.8 + _ROW_IN * len(systems)), layout="constrained")
    axes = figure.add_subplot(xlabel=f"{scale.title}, MOS", xlim=_ENDS, ylim=(-0.6, len(systems) - 0.4))
    random = np.random.default_rng(0)  # moves dots apart that would lie on each other
    for row, system in enumerate(systems["system"]):
        means = results.clips.loc[results.clips["system"] == system, scale.key]
        axes.scatter(means, row + random.uniform(-0.25, 0.25, len(means)), s=5, color=_GREY, alpha=0.5, linewidth=0)
    _bars(axes, systems, scale, None, hue)
    axes.set_yticks(range(len(systems)), [printable(name) for name in systems["system"]])
    return figure


def _against(systems: pd.DataFrame, one: Scale, other: Scale) -> Figure:
    figure = Figure(figsize=(4.8, 4.8), layout="constrained")
    axes = figure.add_subplot(
        xlabel=f"{one.title}, MOS", ylabel=f"{other.title}, MOS", xlim=_ENDS, ylim=_ENDS, aspect="equal"
    )
    _bars(axes, systems, one, other, colour(0))
    for row in systems.to_dict("records"):
        place = (row[one.key], row[other.key])
        axes.annotate(printable(row["system"]), place, (4, 3), textcoords="offset points", fontsize=7)
    return figure


def _bars(axes: Axes, systems: pd.DataFrame, across: Scale, up: Scale | None, hue: str) -> None:
    """Draw the systems' means with their intervals; without a scale upwards, in their order."""
    y = systems[up.key] if up else pd.Series(range(len(systems)))
    axes.errorbar(
        systems[across.key],
        y,
        xerr=_reach(systems, across),
        yerr=_reach(systems, up) if up else None,
        fmt="o",
        color=hue,
        markersize=4,
        linewidth=1.2,
    )


def _reach(systems: pd.DataFrame, scale: Scale) -> Any:
    """Return how far an interval goes below and above the mean: nowhere, where there is none."""
    mean, low, high = (systems[column] for column in _with_ends(scale))
    return np.nan_to_num(np.array([mean - low, high - mean], float)).clip(0.0)


def _prompt_lengths(words: pd.Series) -> Figure:
    figure = Figure(figsize=(6.4, 2.4), layout="constrained")
    axes = figure.add_subplot(xlabel="words", ylabel="prompts")
    step = max(1, math.ceil((words.max() - words.min() + 1) / 30))
    axes.hist(words, list(np.arange(words.min(), words.max() + step + 1, step) - 0.5), color=_GREY, edgecolor="white")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    return figure


def attribute_figure(groups: Groups) -> Plot | None:
    """Draw the means of groups of systems on all scales; none where no group has systems enough."""
    known = groups.table.dropna(subset=list(keys(groups.scales))).reset_index(drop=True)
    if known.empty:
        return None
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.2 + _ROW_IN * len(groups.scales) * len(known)), layout="constrained")
        axes = figure.add_subplot(xlabel="mean of the systems’ MOS", xlim=_ENDS, ylim=(-0.6, len(known) - 0.4))
        for n, scale in enumerate(groups.scales):
            places = pd.Series(range(len(known))) + ((len(groups.scales) - 1) / 2 - n) * 0.6 / len(groups.scales)
            reach = _reach(known, scale)
            axes.errorbar(
                known[scale.key], places, xerr=reach, fmt="o", color=colour(n), markersize=4, label=scale.title
            )
        named = [f"{printable(row['attribute'])} ({row['n_systems']})" for row in known.to_dict("records")]
        axes.set_yticks(range(len(known)), named)
        figure.legend(frameon=False, loc="outside upper left", ncols=len(groups.scales))
        caption = "Systems by attribute, with the number of systems: means with their 95 % intervals."
        return Plot("attributes", caption, known, figure)
