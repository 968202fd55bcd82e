"""What every command line that embeds clips shares: where embeddings are kept, the device, a progress bar."""

import argparse
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.devices import DEVICES

if TYPE_CHECKING:
    from core.audio import InputPolicy
    from core.clap import ClapTower
    from core.embeddings import EmbeddingCache
    from core.scorer import Progress


def add_embed_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--cache`` and ``--device``."""
    parser.add_argument(
        "--cache",
        metavar="DIR",
        type=Path,
        help="folder of the embeddings (default: embeddings/ in the folder that MUSICEVAL_DATA names)",
    )
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="where the towers run (default: %(default)s)"
    )


def open_cache(
    arguments: argparse.Namespace, tower: "ClapTower", policy: "InputPolicy", precision: str = "float32"
) -> "EmbeddingCache":
    """Open the cache that parsed arguments choose; the tower moves to their device.

    Raises
    ------
    TrainingError
        There is no such device.
    DataError
        There is no such precision.
    """
    from core.devices import pick_device
    from core.embeddings import EmbeddingCache
    from core.settings import Settings

    settings = Settings.from_environment(os.environ)
    tower.to(pick_device(arguments.device))
    return EmbeddingCache(arguments.cache or settings.cache, tower, policy, precision, settings.limits)


@contextlib.contextmanager
def progress_bar() -> Iterator["Progress"]:
    """Show on stderr what is being done and how long it will take; nothing before the first call."""
    from tqdm import tqdm

    bar: Any = None

    def tell(share: float, doing: str) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(
                desc=doing, total=1.0, bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
            )
        bar.set_description_str(doing, refresh=False)
        bar.update(share - bar.n)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()
