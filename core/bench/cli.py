"""Command line of the benchmark, ``python -m core bench``: the official tower here, beside laion-clap's."""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.devices import DEVICES, pick_device

if TYPE_CHECKING:
    from core.bench.report import Report


def add_command(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``bench`` to the parser of ``python -m core``."""
    bench = commands.add_parser(
        "bench",
        help="time the official tower against laion-clap",
        description="Time embedding clips with a tower of the official size and random weights, ours and "
        "laion-clap's, in turns on this machine.",
    )
    bench.add_argument(
        "--clips",
        metavar="DIR",
        type=Path,
        help="cut clips from those in this folder (default: composed)",
    )
    bench.add_argument(
        "--count", metavar="N", type=_positive, default=40, help="clips in a run (default: %(default)s)"
    )
    bench.add_argument(
        "--runs", metavar="N", type=_positive, default=5, help="paired runs (default: %(default)s)"
    )
    bench.add_argument("--precision", default="bfloat16", help="of ours (default: %(default)s)")
    bench.add_argument(
        "--device", choices=DEVICES, default="auto", help="where both run (default: %(default)s)"
    )
    bench.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    bench.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> None:
    report = measure(arguments)
    print(json.dumps(report.to_json(), indent=2) if arguments.json else "\n".join(report.lines()))


def measure(arguments: argparse.Namespace) -> "Report":
    """Make the clips and both towers, and time them.

    Parameters
    ----------
    arguments : Namespace
        ``clips``, ``count``, ``runs``, ``precision`` and ``device`` as the command takes them.

    Raises
    ------
    DataError
        Clips that cannot be used, or no such precision.
    TrainingError
        No such device.
    """
    from core.audio import InputPolicy
    from core.bench.clips import write_bench_clips
    from core.bench.report import Report, name_device
    from core.bench.runs import laion_clap, matrix_gflops, official_tower, time_pairs, time_parts
    from core.embeddings import EmbeddingCache

    device = pick_device(arguments.device)
    tower = official_tower(device)
    ours = EmbeddingCache(None, tower, InputPolicy(), arguments.precision)
    load, *_ = os.getloadavg() if hasattr(os, "getloadavg") else (0.0,)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_bench_clips(arguments.clips, Path(folder), arguments.count)
        pairs = time_pairs(laion_clap(tower), ours, paths, arguments.runs)
        parts = time_parts(tower, ours, paths[0])
    return Report(
        device=name_device(device),
        precision=arguments.precision,
        n_clips=len(paths),
        load=load,
        pairs=pairs,
        parts=parts,
        matrix_gflops=matrix_gflops(device, arguments.precision),
    )


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)
