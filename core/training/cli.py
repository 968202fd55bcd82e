"""Command line of training: ``python -m core train``, alone or on several processes under ``torchrun``."""

import argparse
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.embed_options import add_embed_options
from core.split_options import add_split_options, split_from
from core.training.recipes import RECIPES, add_recipe_options, changed_recipe

if TYPE_CHECKING:
    from core.training.run_folder import RunFolder, RunProgress
    from core.training.trainer import Tell


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``train`` to the parser of ``python -m core``."""
    train = commands.add_parser(
        "train",
        help="train a judge on rated clips",
        description="Train a judge on rated clips. The same command goes on with a run that was stopped.",
    )
    train.add_argument("--data", metavar="PATH", type=Path, required=True, help="rated clips")
    train.add_argument(
        "--recipe", choices=[*RECIPES], default="frozen", help="how it learns (default: %(default)s)"
    )
    train.add_argument(
        "--tower", metavar="NAME", default="small", help="small, or music-audioset (default: %(default)s)"
    )
    train.add_argument(
        "--output", metavar="DIR", type=Path, required=True, help="folder of the run, then of the model"
    )
    add_embed_options(train)
    add_split_options(train, default="random")
    add_recipe_options(train)
    train.set_defaults(run=_train)


def _train(arguments: argparse.Namespace) -> None:
    recipe, split = changed_recipe(arguments.recipe, arguments), split_from(arguments)

    from core.settings import Settings
    from core.training.stopping import StopAsked
    from core.training.trainer import Plan, train

    settings = Settings.from_environment(os.environ)
    plan = Plan(
        data=arguments.data,
        recipe=recipe,
        tower=arguments.tower,
        split=split,
        seed=arguments.seed,
        output=arguments.output,
        cache=arguments.cache or settings.cache,
        device=arguments.device,
        limits=settings.limits,
    )
    try:
        with _bar() as tell:
            folder = train(plan, tell)
    except StopAsked as stop:
        raise SystemExit(stop.exit_code) from stop
    if _is_first():
        _report(folder)


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"  # as torchrun counts processes


@contextmanager
def _bar() -> "Iterator[Tell]":
    from tqdm import tqdm

    form = "{desc}: {percentage:3.0f}%|{bar}| {postfix}"
    is_off = not _is_first()
    with tqdm(total=1.0, bar_format=form, miniters=0, disable=is_off, file=sys.stderr) as bar:

        def tell(progress: "RunProgress") -> None:
            bar.set_description_str(progress.message, refresh=False)
            left_s = progress.eta_s
            bar.set_postfix_str(f"about {_show_time(left_s)} left" if left_s else "", refresh=False)
            bar.update(progress.share - bar.n)

        yield tell


def _show_time(seconds: float) -> str:
    minutes, rest_s = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest_s} s"


def _report(folder: "RunFolder") -> None:
    from core.measuring import why_not_measured
    from core.predictions import LEVELS
    from core.table_one import table_one

    metrics = folder.metrics()
    if any(level in metrics for level in LEVELS):
        print(table_one({level: metrics.get(level, {}) for level in LEVELS}))
    for sentence in why_not_measured(metrics["not_measured"]):
        print(sentence)
    if metrics["part"] == "dev":
        print("\nThere is no test part: measured on the dev part, which training stopped on.")
    print(f"\nMeasured on the {metrics['part']} part. {metrics['comparison']}")
    print(f"The model is in {folder.path}. Score with --model, or set MUSICEVAL_MODEL for the app.")
