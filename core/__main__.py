"""The command line: ``python -m core score``, ``embed``, ``train``, ``evaluate``, ``demo`` and others.

A result goes to stdout. A user's mistake is one line on stderr (with a line more for each
problem of a data set) and exit code 2, never a traceback. What a command needs is imported when it runs, so
that ``--help`` is there at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.baselines import add_command as add_baselines
from core.bench.cli import add_command as add_bench
from core.command import Parser, quiet_decoders, run_command
from core.demo.cli import add_commands
from core.embed import add_command as add_embed
from core.evaluate import add_command as add_evaluate
from core.many.cli import add_many_options, check_arguments, score_many
from core.official.cli import add_command as add_fetch
from core.training.cli import add_command as add_train

if TYPE_CHECKING:
    from core.scorer import Score


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m core`` and give its exit code; see `core.command.run_command`."""
    return run_command(build_parser, argv)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; each sets ``run``, a function of the parsed arguments."""
    parser = Parser(
        prog="python -m core",
        description="Score generated music, train and measure what scores it, build the demo material.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    score = commands.add_parser(
        "score",
        help="score a clip against its prompt, or many clips",
        description="Print musical impression and textual alignment of a clip, each from 1 to 5, or write "
        "those of many clips to a table.",
    )
    score.add_argument(
        "clip", metavar="CLIP", type=Path, nargs="?", help="audio file (WAV, FLAC, OGG, Opus, MP3, M4A)"
    )
    score.add_argument("--prompt", metavar="TEXT", help="what the music was asked to be")
    score.add_argument("--model", metavar="DIR", type=Path, help="model folder (default: the demo model)")
    score.add_argument(
        "--zero-shot",
        metavar="TOWER",
        nargs="?",
        const="music-audioset",
        help="score without trained heads, calibrated by no rating, by a tower: music-audioset, the official "
        "CLAP (default), or small",
    )
    score.add_argument("--json", action="store_true", help="print one JSON object instead of a summary")
    add_many_options(score)
    score.set_defaults(run=partial(_score, score))
    add_embed(commands)
    add_train(commands)
    add_evaluate(commands)
    add_baselines(commands)
    add_fetch(commands)
    add_bench(commands)
    add_commands(commands)
    return parser


def _score(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    if wrong := check_arguments(arguments):
        parser.error(wrong)
    if arguments.manifest:
        print(score_many(arguments))
    else:
        _score_one(arguments)


def _score_one(arguments: argparse.Namespace) -> None:
    from core.audio import read_clip
    from core.devices import pick_device
    from core.settings import Settings
    from core.zero_shot import load_scorer

    settings = Settings.from_environment(os.environ)
    with quiet_decoders():
        clip = read_clip(arguments.clip, settings.limits)
    model, device = arguments.model or settings.model, pick_device(arguments.device)
    scorer = load_scorer(model, arguments.zero_shot, settings.limits, device)
    score = scorer.score(clip, arguments.prompt)
    if arguments.json:
        print(json.dumps(score.to_json(), indent=2, allow_nan=False))
    else:
        print("\n".join(_summary(score)))


def _summary(score: "Score") -> Iterator[str]:
    from core.faults import show_time
    from core.scales import SCALE_TITLES, SCALES, describe

    for scale in SCALES:
        value, interval = getattr(score, scale), "no interval"
        if score.intervals:
            low, high = getattr(score.intervals, scale)
            interval = f"{score.intervals.level:.0%} interval {low:.1f} to {high:.1f}"
        yield f"{SCALE_TITLES[scale]:<20} {value:.1f} of 5   {describe(scale, value):<17} {interval}"
    yield ""
    yield f"{'Window':<15} {SCALE_TITLES[SCALES[0]]:>20} {SCALE_TITLES[SCALES[1]]:>20}"
    for window in score.windows:
        span = f"{show_time(window.start_s)} to {show_time(window.end_s)}"
        yield f"{span:<15} {window.musical_impression:>20.1f} {window.textual_alignment:>20.1f}"
    yield ""
    for warning in score.warnings:
        yield f"! {warning.message}"
    model, audio = score.provenance["checkpoint"], score.provenance["audio"]
    clip = f"clip {audio['sha256'][:12]} of {audio['duration_s']:.1f} s"
    yield f"Model {model['id']} ({model['sha256'][:12]}), {clip}"


if __name__ == "__main__":
    sys.exit(main())
