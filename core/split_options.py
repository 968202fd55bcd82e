"""The options that choose a split, alike on every command line that takes one."""

import argparse

from core.errors import DataError
from core.splits import KINDS, Split


def add_split_options(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Add ``--split``, ``--seed``, ``--test-share``, ``--dev-share``, ``--folds`` and ``--fold``.

    Parameters
    ----------
    parser : ArgumentParser
    default : str, optional
        The split that is taken where none is given; None leaves ``split`` None, for a command that has
        another way to tell.
    """
    options = parser.add_argument_group("split")
    given = f" (default: {default})" if default else ""
    options.add_argument("--split", choices=KINDS, default=default, help=f"how clips are held out{given}")
    options.add_argument("--seed", type=int, default=Split.seed, help="of the draw (default: %(default)s)")
    options.add_argument(
        "--test-share",
        metavar="SHARE",
        type=float,
        default=Split.test_share,
        help="of clips, systems or prompts, held out to measure (default: %(default)s)",
    )
    options.add_argument(
        "--dev-share",
        metavar="SHARE",
        type=float,
        default=Split.dev_share,
        help="of the others, held out to stop training (default: %(default)s)",
    )
    options.add_argument(
        "--folds", metavar="N", type=int, default=Split.folds, help="deal clips into N test parts instead"
    )
    options.add_argument(
        "--fold", metavar="K", type=int, default=Split.fold, help="which of them is the test part, from 0"
    )


def split_from(arguments: argparse.Namespace) -> Split:
    """Give the split that parsed arguments choose; without ``--split`` a random one.

    Raises
    ------
    DataError
        There is no such split; the message says which there are.
    """
    return Split(
        arguments.split or Split.kind,
        arguments.seed,
        arguments.test_share,
        arguments.dev_share,
        arguments.folds,
        arguments.fold,
    )


def split_if_given(arguments: argparse.Namespace) -> Split | None:
    """Give the split that parsed arguments choose; None without ``--split``.

    Raises
    ------
    DataError
        There is no such split, or there are other options of a split without ``--split``.
    """
    split = split_from(arguments)
    if arguments.split:
        return split
    if split != Split():
        raise DataError(f"A seed, shares or folds need --split, one of {', '.join(KINDS)}.")
    return None
