"""Command line of the demo material: ``python -m core demo build | scorecard | compose | release``."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any


def add_commands(commands: "argparse._SubParsersAction[Any]") -> None:
    """Add ``demo`` and its own commands to the parser of ``python -m core``."""
    demo = commands.add_parser(
        "demo",
        help="build the demo model, measure it, compose clips and data sets",
        description="The embedded demo material.",
    )
    actions = demo.add_subparsers(required=True, metavar="ACTION")
    _add_build(actions)
    _add_scorecard(actions)
    _add_compose(actions)
    _add_release(actions)


def _add_build(actions: "argparse._SubParsersAction[Any]") -> None:
    build = actions.add_parser("build", help="train the demo model from a seed and save it")
    build.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        type=Path,
        default=Path("build/checkpoint"),
        help="checkpoint folder to write (default: %(default)s)",
    )
    build.add_argument("--seed", type=int, help="another seed than the committed model's")
    build.add_argument("--pieces", type=int, help="pieces in the training pool")
    build.add_argument("--batches", type=int, help="batches of 64 of the contrastive training")
    build.add_argument("--systems", type=int, help="simulated systems that the heads learn from")
    build.set_defaults(run=_build)


def _add_scorecard(actions: "argparse._SubParsersAction[Any]") -> None:
    card = actions.add_parser("scorecard", help="measure a model on data that it was not trained on")
    card.add_argument("--model", metavar="DIR", type=Path, help="model folder (default: the demo model)")
    card.add_argument("--systems", type=int, default=16, help="unseen simulated systems")
    card.add_argument("--clips", type=int, default=30, help="clips of each")
    card.add_argument(
        "--reference-data", metavar="DIR", type=Path, help="folder of real clips and recordings"
    )
    card.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    card.set_defaults(run=_scorecard)


def _add_compose(actions: "argparse._SubParsersAction[Any]") -> None:
    compose = actions.add_parser("compose", help="write the example clips of the page as WAV files")
    compose.add_argument("-o", "--output", metavar="DIR", type=Path, required=True, help="folder to write to")
    compose.set_defaults(run=_compose)


def _add_release(actions: "argparse._SubParsersAction[Any]") -> None:
    release = actions.add_parser("release", help="compose a rated data set in the layout of MusicEval")
    release.add_argument("--clips", type=int, required=True, help="clips in all; MusicEval has 2748")
    release.add_argument(
        "--duration-s", type=float, default=10.0, help="length of each (default: %(default)g)"
    )
    release.add_argument("--systems", type=int, default=31, help="simulated systems (default: %(default)s)")
    release.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    release.add_argument(
        "-o", "--output", metavar="DIR", type=Path, required=True, help="new folder to write"
    )
    release.set_defaults(run=_release)


def _build(arguments: argparse.Namespace) -> None:
    from core.demo.build import BuildRecipe, build

    recipe = BuildRecipe()
    if arguments.seed is not None:
        recipe = dataclasses.replace(recipe, seed=arguments.seed)
    if arguments.systems is not None:
        recipe = dataclasses.replace(recipe, rated_systems=arguments.systems)
    if arguments.pieces is not None:  # the tuning keeps its share
        recipe = dataclasses.replace(recipe, pieces=arguments.pieces, tuning_pieces=arguments.pieces // 2)
    if arguments.batches is not None:
        contrast = dataclasses.replace(recipe.contrast, batches=arguments.batches)
        tuning = dataclasses.replace(recipe.tuning, batches=arguments.batches // 4)
        recipe = dataclasses.replace(recipe, contrast=contrast, tuning=tuning)
    build(recipe, arguments.output)
    print((arguments.output / "README.md").read_text(encoding="utf-8"))


def _scorecard(arguments: argparse.Namespace) -> None:
    from core.demo import scorecard
    from core.scorer import Scorer

    scorer = Scorer.load(arguments.model)
    card = {
        "simulated": scorecard.simulated(scorer, arguments.systems, arguments.clips),
        "faults": scorecard.heard_faults(scorer),
    }
    if arguments.reference_data is not None:
        card["real"] = scorecard.real(scorer, arguments.reference_data)
    print(json.dumps(card, indent=2) if arguments.json else scorecard.report(card))


def _compose(arguments: argparse.Namespace) -> None:
    from core.demo.examples import write_examples

    for example in write_examples(arguments.output):
        print(f"{example.path}  {example.prompt} ({example.note})")


def _release(arguments: argparse.Namespace) -> None:
    from core.demo.release import write_release
    from core.sources import read_source

    write_release(arguments.output, arguments.clips, arguments.duration_s, arguments.systems, arguments.seed)
    table = read_source(arguments.output).table
    parts = ", ".join(f"{part} {(table['split'] == part).sum()}" for part in ("train", "dev", "test"))
    print(f"{arguments.output}: {len(table)} clips of {table['system_id'].nunique()} systems ({parts})")
    print("Composed music and simulated ratings: do not report figures from it as results on MusicEval.")
