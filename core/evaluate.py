"""Command line of measuring: ``python -m core evaluate``."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.embed_options import add_embed_options, open_cache, progress_bar
from core.errors import DataError, MetricError
from core.split_options import add_split_options, split_if_given

if TYPE_CHECKING:
    import pandas as pd

    from core.predictions import Levels
    from core.ratings import RatedClips


@dataclass(frozen=True)
class _Measured:
    """Predictions beside ratings, and what is known of them."""

    table: "pd.DataFrame"
    data: "RatedClips | None" = None  # all of the data
    notes: tuple[str, ...] = ()
    part: str | None = None


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``evaluate`` to the parser of ``python -m core``."""
    evaluate = commands.add_parser(
        "evaluate",
        help="measure predicted scores, or a model, against rated clips",
        description="Print Table I of the MusicEval paper for predicted scores, with bootstrap intervals.",
    )
    predictions = evaluate.add_mutually_exclusive_group(required=True)
    predictions.add_argument("--table", metavar="FILE", type=Path, help="CSV file of both scores")
    predictions.add_argument(
        "--answer", metavar="FILE", type=Path, help="answer of the AudioMOS Challenge; needs --data"
    )
    predictions.add_argument("--model", metavar="DIR", type=Path, help="folder of a model; needs --data")
    evaluate.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        help="rated clips that an answer is about, or a model hears",
    )
    evaluate.add_argument(
        "--system-truth",
        metavar="FILE",
        type=Path,
        help="scores of the systems to compare with (default: the means of the clips evaluated)",
    )
    evaluate.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    add_split_options(evaluate)
    evaluate.add_argument(
        "--part",
        choices=("train", "dev", "test", "all"),
        help="what a model is measured on (default: the test part of --split, or of the model's own split; "
        "all clips where it was trained on other data)",
    )
    evaluate.add_argument(
        "--predictions", metavar="FILE", type=Path, help="write a model's predictions, as --table reads them"
    )
    add_embed_options(evaluate)
    evaluate.set_defaults(run=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from core.table_one import comparison, table_one

    measured = _read(arguments)
    given = arguments.system_truth
    levels, missing = _measure(measured, given)
    truth = f"the scores in {given.name}" if given else "the means of the clips evaluated"
    notes = [*measured.notes, *missing]
    if arguments.json:
        about = {"part": measured.part, "system_truth": truth, "notes": notes}
        of_a_model = {"data": arguments.data.name, **about} if arguments.model else {}
        print(json.dumps(levels | of_a_model, indent=2, allow_nan=False))
        return
    print(table_one(levels))
    print(f"\nSystem truth: {truth}.")
    print("\n".join([*notes, comparison(list(measured.table["clip_id"]), measured.data)]))


def _measure(measured: _Measured, system_truth: Path | None) -> "tuple[Levels, list[str]]":
    """Measure all of it; of a model what can be measured, with sentences about what cannot."""
    from core.measuring import measure_all, why_not_measured
    from core.predictions import LEVELS, measure, read_system_scores

    if system_truth or not measured.part:
        return measure(measured.table, read_system_scores(system_truth) if system_truth else None), []
    levels, reasons = measure_all(measured.table)
    missing = why_not_measured(reasons)
    if not levels:
        raise MetricError(missing[0])
    return {level: levels.get(level, {}) for level in LEVELS}, missing


def _read(arguments: argparse.Namespace) -> _Measured:
    """The predictions, and the rated clips that they are about where these are given."""
    from core.predictions import read_answer, read_predictions
    from core.sources import read_source

    if not arguments.model and (split_if_given(arguments) or arguments.part or arguments.predictions):
        raise DataError(
            "A table or an answer is measured whole: --split, --part, --predictions need --model."
        )
    if arguments.table:
        if arguments.data:
            raise DataError("A table has its ratings in it. Give --data with --answer or --model only.")
        return _Measured(read_predictions(arguments.table))
    if not arguments.data:
        what = "An answer" if arguments.answer else "A model"
        raise DataError(f"{what} has no ratings in it. Give the rated clips that it is about with --data.")
    data = read_source(arguments.data)
    if arguments.answer:
        return _Measured(read_answer(arguments.answer, data), data)
    return _judge(arguments, data)


def _judge(arguments: argparse.Namespace, data: "RatedClips") -> _Measured:
    """What a model predicts of the rated clips that the arguments choose."""
    from core.checkpoint import load_checkpoint
    from core.embedded_clips import clip_values, embed_clips, predict_table
    from core.measured_clips import choose_clips
    from core.ratings import write_csv
    from core.sources import is_simulated

    checkpoint = load_checkpoint(arguments.model)
    chosen = choose_clips(data, arguments.model, split_if_given(arguments), arguments.part)
    cache = open_cache(arguments, checkpoint.tower, checkpoint.policy)
    with progress_bar() as tell:
        embedded = embed_clips(chosen.clips, cache, tell)
    table = predict_table(chosen.clips, clip_values(checkpoint.heads, embedded))
    if arguments.predictions:
        write_csv(table, arguments.predictions)
    notes = [*chosen.notes]
    if checkpoint.caveat:
        notes.append(f"About this model: {checkpoint.caveat}.")
    if is_simulated(arguments.data):
        notes.append("The ratings are simulated: these figures say nothing about what experts hear.")
    return _Measured(table, data, tuple(notes), chosen.part)
