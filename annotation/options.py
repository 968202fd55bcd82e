"""Options of the command line: made from the fields of a dataclass, and the few that commands share."""

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any


def add_fields(parser: argparse.ArgumentParser, plan: type, leave_out: Sequence[str] = ()) -> None:
    """Add an option for each field of a dataclass.

    Parameters
    ----------
    parser : ArgumentParser
    plan : type
        Its fields have defaults, and metadata with a ``meaning`` and perhaps ``choices``.
    leave_out : sequence of str
        Fields without an option.
    """
    for rule in dataclasses.fields(plan):
        if rule.name in leave_out:
            continue
        choices = rule.metadata.get("choices") or None
        parser.add_argument(
            f"--{rule.name.replace('_', '-')}",
            type=type(rule.default),
            default=rule.default,
            choices=choices,
            metavar=None if choices else {int: "N", float: "X"}.get(type(rule.default), "TEXT"),
            help=f"{rule.metadata['meaning'].replace('%', '%%')} (default: %(default)s)",
        )


def fields(arguments: argparse.Namespace, plan: type, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """Give what was chosen for the options of `add_fields`, by field."""
    names = [rule.name for rule in dataclasses.fields(plan) if rule.name not in leave_out]
    return {name: getattr(arguments, name) for name in names}


def one_line(given: str) -> str:
    """Take an argument that is one line of text: no control characters, no bytes that are not UTF-8."""
    if not given.isprintable():
        raise argparse.ArgumentTypeError("give one line of text")
    return given


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a summary")
