"""Options that several of the judge's commands have, and what they choose."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.command import Function, as_one, fields_as_one, path_option, progress_bar
from core.errors import DataError
from core.settings import DEVICES, Settings
from core.splits import KINDS, Split
from core.training.recipe import changeable_fields

if TYPE_CHECKING:
    from core.audio import InputPolicy
    from core.batch.run import Judging
    from core.embeddings import Asked, EmbeddingCache
    from core.opinions import Reading
    from core.towers import Tower

data_option = path_option("--data", "PATH", "rated clips", required=True)
tower_option = click.option("--tower", metavar="NAME", default="ears", help="ears, music-audioset or muq")
device_option = click.option("--device", type=click.Choice(DEVICES), default="auto", help="where the towers run")
cache_option = path_option(
    "--cache", "DIR", "folder of the embeddings (default: embeddings/ in the folder that MUSICEVAL_DATA names)"
)


_SPLIT = {
    "seed": ("N", "of the draw"),
    "test_share": ("SHARE", "of clips, systems or prompts, held out to measure"),
    "dev_share": ("SHARE", "of the others, held out to stop training"),
    "folds": ("N", "deal clips into N test parts instead"),
    "fold": ("K", "which of them is the test part, from 0"),
}


def split_options(make: Function, default: str | None = None) -> Callable[[Function], Function]:
    """Have a command take the options of a split as one argument, `split`."""
    kind = click.option("--split", type=click.Choice(KINDS), default=default, help="how clips are held out")
    others = {
        name: click.option(f"--{name.replace('_', '-')}", metavar=metavar, default=getattr(Split, name), help=meaning)
        for name, (metavar, meaning) in _SPLIT.items()
    }
    return as_one("split", make, {"split": kind, **others})


def make_split(split: str | None, **values: Any) -> Split:
    """Return the split that options choose; without ``--split`` a random one."""
    return Split(split or Split.kind, **values)


def make_split_if_given(split: str | None, **values: Any) -> Split | None:
    """Return the split that options choose; None without ``--split``, and then there may be no others."""
    made = make_split(split, **values)
    if split is None and made != Split():
        raise DataError(f"A seed, shares or folds need --split, one of {', '.join(KINDS)}.")
    return made if split else None


@dataclass(frozen=True)
class Sources:
    """What there is to learn from, as options name it."""

    data: tuple[Path, ...]
    weights: tuple[float, ...]
    pairs: tuple[Path, ...]


def source_options(function: Function) -> Function:
    """Have a command take tables of rated clips and of pairs as one argument, `sources`."""
    many: dict[str, Any] = {"multiple": True, "type": Path}
    others = "given again: others that teach as well, each with an offset and a scale of its own"
    options = {
        "data": click.option(
            "--data", metavar="PATH", required=True, help=f"rated clips, which are split and measured; {others}", **many
        ),
        "weight": click.option(
            "--weight", metavar="X", type=float, multiple=True, help="how much each --data counts, in their order"
        ),
        "pairs": click.option("--pairs", metavar="FILE", help="table of clips of which one is better", **many),
    }
    return as_one("sources", lambda data, weight, pairs: Sources(data, weight, pairs), options)(function)


recipe_changes = fields_as_one("changes", changeable_fields())


def reading_options(function: Function) -> Function:
    """Have a command take how a table of ratings is read as one argument, `reading`."""
    options = {
        "clips": path_option("--clips", "PATH", "of ratings: a table of their clips and files, or a folder of files"),
        "scale": click.option(
            "--scale", metavar="KEY", help="what the column rating is of (default: musical_impression)"
        ),
        "scale_range": click.option(
            "--scale-range",
            nargs=2,
            type=float,
            metavar="WORST BEST",
            help="ends of the range that people rated on (default: 1 5, or those in a column's name, rating_0_to_5)",
        ),
    }
    return as_one("reading", make_reading, options)(function)


def make_reading(
    clips: Path | None = None, scale: str | None = None, scale_range: tuple[float, float] | None = None
) -> "Reading":
    """Return how options ask for a table of ratings to be read."""
    from core.opinions import Reading

    return Reading(clips, scale or Reading.scale, scale_range)


def open_cache(
    folder: Path | None,
    device: str,
    tower: "Tower",
    policy: "InputPolicy",
    precision: str = "float32",
    asked: "Asked | None" = None,
) -> "EmbeddingCache":
    """Open the cache that options choose; the tower moves to their device."""
    from core.embeddings import EmbeddingCache
    from core.settings import pick_device

    settings = Settings.from_environment()
    tower.to(pick_device(device))
    return EmbeddingCache(folder or settings.cache, tower, policy, precision, settings.limits, asked)


def make_judging(on_cluster: bool, no_cache: bool, cache: Path | None, **how: Any) -> "Judging":
    """Return how options have many clips scored."""
    from core.batch.run import Judging

    settings = Settings.from_environment()
    own = None if on_cluster else settings.cache  # a cluster has no folder of its own
    kept = None if no_cache else cache or own
    model = how["model"] or settings.model
    return Judging(model, kept, how["precision"], settings.limits, how.get("zero_shot"))


def share_bar() -> "contextlib.AbstractContextManager[Callable[..., None]]":
    """Return a bar of the share that is done."""
    return progress_bar(bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}")
