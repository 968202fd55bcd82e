"""Command line of the embeddings: ``python -m core embed``."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.embed_options import add_embed_options, open_cache, progress_bar

if TYPE_CHECKING:
    from core.audio import InputPolicy
    from core.clap import ClapTower


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``embed`` to the parser of ``python -m core``."""
    embed = commands.add_parser(
        "embed",
        help="embed rated clips, so that training and measuring take seconds",
        description="Compute the embeddings of rated clips and their prompts that are not there yet.",
    )
    embed.add_argument("--data", metavar="PATH", type=Path, required=True, help="rated clips")
    towers = embed.add_mutually_exclusive_group()
    towers.add_argument(
        "--tower", metavar="NAME", help="small, or music-audioset: the official CLAP (default: small)"
    )
    towers.add_argument("--model", metavar="DIR", type=Path, help="take the tower of this model instead")
    embed.add_argument(
        "--precision",
        default="float32",
        help="float32, or bfloat16: faster, a cosine of 0.9999 away (default: %(default)s)",
    )
    add_embed_options(embed)
    embed.set_defaults(run=_embed)


def _embed(arguments: argparse.Namespace) -> None:
    from core.embedded_clips import embed_clips
    from core.sources import read_source

    clips = read_source(arguments.data)
    cache = open_cache(arguments, *_tower(arguments), arguments.precision)
    start_s = time.monotonic()
    with progress_bar() as tell:
        embed_clips(clips, cache, tell)
    took_s = time.monotonic() - start_s
    print(
        f"{len(clips)} clips with their prompts: {cache.computed} embeddings computed, "
        f"{cache.found} already there, {took_s:.1f} s."
    )


def _tower(arguments: argparse.Namespace) -> "tuple[ClapTower, InputPolicy]":
    from core.checkpoint import load_checkpoint
    from core.towers import load_tower

    given = load_checkpoint(arguments.model) if arguments.model else load_tower(arguments.tower or "small")
    return given.tower, given.policy
