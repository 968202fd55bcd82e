"""``python -m core fetch-clap``: fetches the official CLAP once; see `core.official.prepare`."""

import argparse
import os
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    """Add ``fetch-clap`` to the commands of ``python -m core``."""
    fetch = commands.add_parser(
        "fetch-clap",
        help="fetch the official CLAP and its tokenizer (2.35 GB)",
        description="Fetch the official CLAP and its tokenizer, verify them by size and SHA-256, and keep "
        "what a tower needs under HF_HOME: 0.8 of 2.35 GB. A download that was cut goes on where it ended.",
    )
    fetch.add_argument(
        "--from",
        metavar="FILE",
        dest="source",
        type=Path,
        help="a copy of the checkpoint brought by hand, instead of the download; "
        "vocab.json and merges.txt beside it are used too (default: what MUSICEVAL_CLAP_CHECKPOINT names)",
    )
    fetch.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> None:
    from core.official.prepare import fetch_official
    from core.official.tower import OFFICIAL
    from core.settings import Settings

    named = Settings.from_environment(os.environ).clap_checkpoint
    fetch_official(OFFICIAL, arguments.source or named, tell=print)
