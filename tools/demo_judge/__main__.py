"""What makes the embedded judge: ``python -m tools.demo_judge build | scorecard | examples | release``."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from core.command import Group, as_json, path_option, print_json, run_command

app = Group(help="Build the embedded judge, measure it, compose clips and data sets.")


@app.command()
@click.option("-o", "--output", metavar="DIR", type=Path, default=Path("build/checkpoint"), help="folder to write")
@click.option("--seed", type=int, help="another seed than the committed model's")
@click.option("--pieces", type=int, help="pieces in the training pool")
@click.option("--batches", type=int, help="batches of 64 of the contrastive training")
@click.option("--systems", type=int, help="simulated systems that the heads learn from")
def build(output: Path, seed: int | None, pieces: int | None, batches: int | None, systems: int | None) -> None:
    """Train the embedded judge from a seed and save it."""
    from tools.demo_judge.build import BuildRecipe, build

    recipe = BuildRecipe()
    if seed is not None:
        recipe = dataclasses.replace(recipe, seed=seed)
    if systems is not None:
        recipe = dataclasses.replace(recipe, rated_systems=systems)
    if pieces is not None:  # the tuning keeps its share
        recipe = dataclasses.replace(recipe, pieces=pieces, tuning_pieces=pieces // 2)
    if batches is not None:
        contrast = dataclasses.replace(recipe.contrast, batches=batches)
        tuning = dataclasses.replace(recipe.tuning, batches=batches // 4)
        recipe = dataclasses.replace(recipe, contrast=contrast, tuning=tuning)
    build(recipe, output)
    print((output / "README.md").read_text(encoding="utf-8"))


@app.command()
@path_option("--model", "DIR", "model folder (default: the embedded judge)")
@click.option("--systems", type=int, default=16, help="unseen simulated systems")
@click.option("--clips", type=int, default=30, help="clips of each")
@path_option("--reference-data", "DIR", "folder of real clips and recordings")
@as_json
def scorecard(model: Path | None, systems: int, clips: int, reference_data: Path | None, as_json: bool) -> None:
    """Measure a model on data that it was not trained on."""
    from core.scorer import Scorer
    from tools.demo_judge import scorecard

    scorer = Scorer.load(model)
    card = {"simulated": scorecard.simulated(scorer, systems, clips), "faults": scorecard.heard_faults(scorer)}
    if reference_data is not None:
        card["real"] = scorecard.real(scorer, reference_data)
    if as_json:
        print_json(card)
    else:
        print(scorecard.report(card))


@app.command()
@click.option("-o", "--output", metavar="DIR", type=Path, help="write them there (default: over the committed ones)")
def examples(output: Path | None) -> None:
    """Compose the example clips of the page, and the clips of the demo study."""
    from tools.demo_judge.examples import write_demo_study, write_examples

    root = Path(__file__).parents[2]
    write_examples(output / "examples" if output else root / "webapp/examples")
    write_demo_study(output / "demo" if output else root / "annotation/material/demo")


@app.command()
@click.option("--clips", type=int, required=True, help="clips in all; MusicEval has 2748")
@click.option("--duration-s", type=float, default=10.0, help="length of each")
@click.option("--systems", type=int, default=31, help="simulated systems")
@click.option("--seed", type=int, default=0, help="same seed, same bytes")
@click.option("-o", "--output", metavar="DIR", type=Path, required=True, help="new folder to write")
def release(clips: int, duration_s: float, systems: int, seed: int, output: Path) -> None:
    """Compose a rated data set in the layout of MusicEval."""
    from core.musiceval import read_source
    from tools.demo_judge.release import write_release

    write_release(output, clips, duration_s, systems, seed)
    table = read_source(output).table
    parts = ", ".join(f"{part} {(table['split'] == part).sum()}" for part in ("train", "dev", "test"))
    print(f"{output}: {len(table)} clips of {table['system_id'].nunique()} systems ({parts})")
    print("Composed music and simulated ratings: do not report figures from it as results on MusicEval.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m tools.demo_judge`` and return its exit code."""
    return run_command("python -m tools.demo_judge", app, argv)


if __name__ == "__main__":
    sys.exit(main())
