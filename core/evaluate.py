"""Command line of measuring: ``python -m core evaluate``."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from core.ratings import RatedClips


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``evaluate`` to the parser of ``python -m core``."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure predicted scores against rated ones",
        description="Print Table I of the MusicEval paper for predicted scores, with bootstrap intervals.",
    )
    predictions = evaluate.add_mutually_exclusive_group(required=True)
    predictions.add_argument("--table", metavar="FILE", type=Path, help="CSV file of both scores")
    predictions.add_argument(
        "--answer", metavar="FILE", type=Path, help="answer of the AudioMOS Challenge; needs --data"
    )
    evaluate.add_argument("--data", metavar="PATH", type=Path, help="rated clips that the answer is about")
    evaluate.add_argument(
        "--system-truth",
        metavar="FILE",
        type=Path,
        help="scores of the systems to compare with (default: the means of the clips evaluated)",
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    evaluate.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from core.predictions import measure, read_system_scores
    from core.table_one import comparison, table_one

    table, data = _read(arguments)
    given = arguments.system_truth
    measured = measure(table, read_system_scores(given) if given else None)
    if arguments.json:
        print(json.dumps(measured, indent=2, allow_nan=False))
        return
    print(table_one(measured))
    print(
        f"\nSystem truth: {f'the scores in {given.name}' if given else 'the means of the clips evaluated'}."
    )
    print(comparison(list(table["clip_id"]), data))


def _read(arguments: argparse.Namespace) -> "tuple[pd.DataFrame, RatedClips | None]":
    """The predictions, and the rated clips that they are about where these are given."""
    from core.predictions import read_answer, read_predictions
    from core.sources import read_source

    if arguments.table:
        if arguments.data:
            raise DataError("A table has its ratings in it. Give --data with --answer only.")
        return read_predictions(arguments.table), None
    if not arguments.data:
        raise DataError("An answer has no ratings in it. Give the rated clips that it is about with --data.")
    data = read_source(arguments.data)
    return read_answer(arguments.answer, data), data
