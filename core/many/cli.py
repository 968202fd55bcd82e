"""Command line of runs over many clips: ``python -m core score --manifest``."""

import argparse
import contextlib
import logging
import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from core.command import quiet_decoders
from core.embed_options import add_embed_options

if TYPE_CHECKING:
    from core.many.rows import Judging
    from core.many.run import Counts

_GIGABYTE = 1_000_000_000


def add_many_options(score: argparse.ArgumentParser) -> None:
    """Add to ``score`` what it takes for many clips."""
    many = score.add_argument_group("many clips")
    many.add_argument(
        "--manifest",
        metavar="PATH",
        help="a CSV, JSONL or Parquet file with the columns file and prompt, or a folder of audio files; a "
        "run that was interrupted goes on when the same command is given again",
    )
    many.add_argument("-o", "--output", metavar="FILE", help="where scores go: .csv, .jsonl or .parquet")
    many.add_argument(
        "--retry-failed", action="store_true", help="score those rows of a finished output again that failed"
    )
    many.add_argument(
        "--precision",
        default="float32",
        help="float32, or bfloat16: faster, scores within 0.02 (default: %(default)s)",
    )
    add_embed_options(many)
    many.add_argument("--no-cache", action="store_true", help="keep no embeddings")
    many.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="score on the Ray cluster at this address (local: one started here); manifest and output may be "
        "URIs, the output is a folder",
    )


def check_arguments(arguments: argparse.Namespace) -> str:
    """Say what is wrong with the arguments of ``score`` taken together; nothing is an empty text."""
    if arguments.zero_shot and arguments.model:
        return "--zero-shot goes without --model"
    one = [arguments.clip, arguments.prompt]
    many = [arguments.manifest, arguments.output]
    if arguments.manifest is None and arguments.output is None:
        return "" if None not in one else "give CLIP and --prompt, or --manifest and --output"
    if None in many or one != [None, None] or arguments.json:
        return "--manifest goes with --output, and without CLIP, --prompt and --json"
    return ""


def score_many(arguments: argparse.Namespace) -> str:
    """Score a manifest, with progress on stderr where that is a terminal.

    Parameters
    ----------
    arguments : Namespace
        As `check_arguments` accepts them.

    Returns
    -------
    str
        What came of it.
    """
    counts, n_before, took_s = _on_ray(arguments) if arguments.ray else _here(arguments)
    outcome = f"{counts.n_rows:,} rows: {counts.n_ok:,} ok, {counts.n_rows - counts.n_ok:,} failed."
    n_new = counts.n_rows - n_before
    now = f"{n_new:,} of them now, in {took_s:.1f} s ({n_new / took_s:.1f} rows a second)"
    return f"{outcome} {now}; peak memory {_peak_memory_gb():.2f} GB."


def _here(arguments: argparse.Namespace) -> "tuple[Counts, int, float]":
    from core.devices import pick_device
    from core.many.run import score_manifest
    from core.many.workers import all_devices

    devices = all_devices(pick_device(arguments.device))
    start_s = time.monotonic()
    with quiet_decoders() as stderr, contextlib.closing(_Bar(stderr)) as bar:
        logging.basicConfig(stream=stderr)
        counts = score_manifest(
            Path(arguments.manifest).absolute(),
            Path(arguments.output),
            _judging(arguments),
            devices,
            bar.tell,
            retry_failed=arguments.retry_failed,
        )
    return counts, bar.n_before, time.monotonic() - start_s


def _on_ray(arguments: argparse.Namespace) -> "tuple[Counts, int, float]":
    from core.many.on_ray import score_on_ray

    start_s = time.monotonic()
    use_gpus = arguments.device in ("auto", "cuda")
    counts = score_on_ray(arguments.manifest, arguments.output, _judging(arguments), arguments.ray, use_gpus)
    return counts, 0, time.monotonic() - start_s


def _judging(arguments: argparse.Namespace) -> "Judging":
    from core.many.rows import Judging
    from core.settings import Settings

    settings = Settings.from_environment(os.environ)
    own = None if arguments.ray else settings.cache  # a cluster has no folder of its own
    cache = None if arguments.no_cache else arguments.cache or own
    model = arguments.model or settings.model
    return Judging(model, cache, arguments.precision, settings.limits, arguments.zero_shot)


class _Bar:
    """Rows done, rows failed, time left; on a terminal only."""

    def __init__(self, stderr: TextIO) -> None:
        self.n_before = 0
        self._stderr = stderr
        self._bar: Any = None

    def tell(self, counts: "Counts") -> None:
        from tqdm import tqdm

        if self._bar is None:
            self.n_before = counts.n_done
            self._bar = tqdm(
                total=counts.n_rows, initial=counts.n_done, unit=" rows", file=self._stderr, disable=None
            )
        self._bar.set_postfix_str(f"{counts.n_done - counts.n_ok:,} failed", refresh=False)
        self._bar.update(counts.n_done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _peak_memory_gb() -> float:
    """Of this process, since it began."""
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _GIGABYTE
