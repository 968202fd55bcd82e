"""Command line of the controls: ``python -m core baselines``."""

import argparse
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.embed_options import add_embed_options, open_cache, progress_bar
from core.scales import SCALE_TITLES, SCALES
from core.split_options import add_split_options, split_from
from core.training.recipes import add_recipe_options, changed_recipe

if TYPE_CHECKING:
    from core.predictions import Levels

TITLES: Mapping[str, str] = {
    "frozen": "the recipe `frozen`",
    "mean": "training mean",
    "blind": "prompt alone, no audio",
    "shuffled": "shuffled scores",
}
FOLDED = (
    "What knows nothing follows the training mean, which is low where the clips held out are rated high: "
    "over several folds its correlation tends to lie below 0."
)
_SHOWN = ("mse", "srcc")


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``baselines`` to the parser of ``python -m core``."""
    baselines = commands.add_parser(
        "baselines",
        help="measure the frozen recipe against controls that cannot listen",
        description="Print a Markdown table: the frozen recipe and three controls, on clips held out.",
    )
    baselines.add_argument("--data", metavar="PATH", type=Path, required=True, help="rated clips")
    baselines.add_argument(
        "--tower", metavar="NAME", default="small", help="small or music-audioset (default: %(default)s)"
    )
    add_split_options(baselines, default="systems")
    add_recipe_options(baselines)
    add_embed_options(baselines)
    baselines.add_argument("--json", action="store_true", help="print one JSON object, with all metrics")
    baselines.set_defaults(run=_baselines)


def _baselines(arguments: argparse.Namespace) -> None:
    from core.controls import compare
    from core.embedded_clips import embed_clips
    from core.measured_clips import describe
    from core.sources import is_simulated, read_source
    from core.towers import load_tower

    clips, split = read_source(arguments.data), split_from(arguments)
    recipe = changed_recipe("frozen", arguments)
    start = load_tower(arguments.tower)
    cache = open_cache(arguments, start.tower, start.policy, recipe.precision)
    with progress_bar() as tell:
        measured = compare(clips, embed_clips(clips, cache, tell), split, recipe, tell)
    if arguments.json:
        print(json.dumps(measured, indent=2, allow_nan=False))
        return
    print("\n".join(_tables(measured)))
    folds = f"all {split.folds} folds together" if split.folds else "the test part"
    print(f"{describe(dataclasses.replace(split, folds=0, fold=0)).capitalize()}; {folds}.")
    if split.folds:
        print(FOLDED)
    if is_simulated(arguments.data):
        print("The ratings are simulated: these figures say nothing about what experts hear.")


def _tables(measured: "Mapping[str, Levels]") -> Iterator[str]:
    """A Markdown table for each level, with 95 % intervals."""
    columns = [(scale, metric) for scale in SCALES for metric in _SHOWN]
    for level, of_recipe in measured["frozen"].items():
        titles = [f"{SCALE_TITLES[scale]}, {metric.upper()}" for scale, metric in columns]
        yield f"| {level.capitalize()} level, n = {of_recipe[SCALES[0]]['n']} | {' | '.join(titles)} |"
        yield f"|---{'|---' * len(columns)}|"
        for method, title in TITLES.items():
            figures = measured[method][level]
            yield f"| {title} | {' | '.join(_cell(figures[scale], metric) for scale, metric in columns)} |"
        yield ""


def _cell(figures: Mapping[str, Any], metric: str) -> str:
    if metric not in figures:
        return "–"
    interval = figures.get(f"{metric}_ci95")
    return f"{figures[metric]:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
