"""The command line of the judge: ``python -m core score | embed | train | fetch-clap`` and what measures.

``evaluate | baselines | ablation`` stand in `core.cli_measuring`, ``gate`` in `core.cli_gate`.

What holds for every command line stands in `core.command`.
"""

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from core.cli_gate import gate
from core.cli_measuring import ablation, baselines, evaluate
from core.cli_options import (
    cache_option,
    data_option,
    device_option,
    make_judging,
    make_split,
    open_cache,
    reading_options,
    recipe_changes,
    share_bar,
    source_options,
    split_options,
    tower_option,
)
from core.command import (
    Group,
    as_json,
    at_most_one,
    misuse,
    path_option,
    print_json,
    progress_bar,
    quiet_decoders,
    run_command,
)
from core.errors import counted
from core.settings import Settings
from core.splits import Split
from core.training.recipe import CROSS_VALIDATED, RECIPES, USUAL, changed_recipe

if TYPE_CHECKING:
    from core.batch.parts import Part
    from core.batch.run import Counts
    from core.cli_options import Sources
    from core.opinions import Reading
    from core.scores import Score
    from core.training.folder import RunFolder
    from core.training.recipe import RunProgress

app = Group(help="Score generated music, train and measure what scores it.")


@app.command()
@click.argument("clip", metavar="[CLIP]", type=Path, required=False)
@click.option("--prompt", metavar="TEXT", help="what the music was asked to be")
@path_option("--model", "DIR", "model folder (default: the embedded judge)")
@click.option(
    "--zero-shot",
    metavar="[TOWER]",
    is_flag=False,
    flag_value="music-audioset",
    help="score without trained heads, calibrated by no rating, by a tower: music-audioset, the official "
    "CLAP (default), or ears",
)
@as_json
@click.option(
    "--manifest",
    metavar="PATH",
    help="many clips: a CSV, JSONL or Parquet file with the columns file and prompt, or a folder of audio "
    "files; a run that was interrupted goes on when the same command is given again",
)
@click.option("-o", "--output", metavar="FILE", help="where their scores go: .csv, .jsonl or .parquet")
@click.option("--retry-failed", is_flag=True, help="score those rows of a finished output again that failed")
@click.option(
    "--part", metavar="N/OF", help="score these rows alone, as one of an array of jobs: 3/64 are the rows 3, 67, 131 …"
)
@click.option("--merge", is_flag=True, help="put the scores of all parts together")
@click.option("--precision", default="float32", help="float32; tf32 or bfloat16: faster, scores within 0.1")
@cache_option
@device_option
@click.option("--no-cache", is_flag=True, help="keep no embeddings")
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="score on the Ray cluster at this address (local: one started here); manifest and output may be "
    "URIs, the output is a folder",
)
def score(
    clip: Path | None, prompt: str | None, manifest: str | None, output: str | None, as_json: bool, **how: Any
) -> None:
    """Score a clip against its prompt, or many clips.

    Prints musical impression and textual alignment, each from 1 to 5, or writes those of many clips to a table.
    """
    merges = how.pop("merge")
    if sum(map(bool, (how["ray"], how["part"], merges))) > 1:
        raise misuse("--part, --merge and --ray go without each other")
    if how["zero_shot"] and how["model"]:
        raise misuse("--zero-shot goes without --model")
    if clip is not None and prompt is not None and manifest is None and output is None:
        _score_one(clip, prompt, as_json, **how)
    elif manifest is None and output is None:
        raise misuse("give CLIP and --prompt, or --manifest and --output")
    elif None in (manifest, output) or (clip, prompt) != (None, None) or as_json:
        raise misuse("--manifest goes with --output, and without CLIP, --prompt and --json")
    elif merges:
        _merge(str(manifest), str(output))
    else:
        _score_many(str(manifest), str(output), **how)


def _score_one(path: Path, prompt: str, as_json: bool, **how: Any) -> None:
    from core.audio import read_clip
    from core.settings import pick_device
    from core.zero_shot import load_scorer

    settings = Settings.from_environment()
    with quiet_decoders():
        clip = read_clip(path, settings.limits)
    model, device = how["model"] or settings.model, pick_device(how["device"])
    score = load_scorer(model, how["zero_shot"], settings.limits, device).score(clip, prompt)
    if as_json:
        print_json(score.to_json())
    else:
        print("\n".join(_summary(score)))


def _summary(score: "Score") -> Iterator[str]:
    from core.warnings import show_time

    if score.preference:
        yield f"{'Musical impression':<20} {score.preference}"
    for scale in score.scales:
        value, interval = score[scale.key], "no interval"
        if value is None:
            yield f"{scale.title:<20} –          {score.missing[scale.key]}"
            continue
        if score.intervals and scale.key in score.intervals.bounds:
            low, high = score.intervals.bounds[scale.key]
            interval = f"{score.intervals.level:.0%} interval {low:.1f} to {high:.1f}"
        yield f"{scale.title:<20} {value:.1f} of 5   {scale.describe(value):<17} {interval}"
    yield ""
    yield f"{'Window':<15}" + "".join(f" {scale.title:>20}" for scale in score.scales)
    for window in score.windows:
        span = f"{show_time(window.start_s)} to {show_time(window.end_s)}"
        values = (window.values[scale.key] for scale in score.scales)
        yield f"{span:<15}" + "".join(f" {'–' if value is None else f'{value:.1f}':>20}" for value in values)
    yield ""
    for warning in score.warnings:
        yield f"! {warning.message}"
    model, audio = score.provenance.checkpoint, score.provenance.audio
    yield f"Model {model.id} ({model.sha256[:12]}), clip {audio.sha256[:12]} of {audio.duration_s:.1f} s"


def _merge(manifest: str, output: str) -> None:
    from core.batch.parts import merge

    n_rows, n_ok = merge(Path(manifest).absolute(), Path(output))
    print(f"{counted(n_rows, 'row')}: {n_ok:,} ok, {n_rows - n_ok:,} failed.")


def _part(text: str | None) -> "Part | None":
    from core.batch.parts import Part

    try:
        return None if text is None else Part.read(text)
    except ValueError as error:
        raise misuse("--part is as 3/64: which part, of how many") from error


def _score_many(manifest: str, output: str, ray: str | None, retry_failed: bool, part: str | None, **how: Any) -> None:
    """Score a clip list, with progress on stderr where that is a terminal."""
    from core.batch.run import all_devices, score_manifest
    from core.settings import pick_device

    judging, reports = make_judging(on_cluster=ray is not None, **how), []
    start_s = time.monotonic()
    if ray:
        from core.batch.ray import score_on_ray

        counts = score_on_ray(manifest, output, judging, ray, how["device"] in ("auto", "cuda"))
    else:
        with quiet_decoders() as stderr, rows_bar(stderr) as show:
            logging.basicConfig(stream=stderr)

            def report(counts: "Counts") -> None:
                reports.append(counts)
                show(counts)

            counts = score_manifest(
                Path(manifest).absolute(),
                Path(output),
                judging,
                all_devices(pick_device(how["device"])),
                report,
                retry_failed=retry_failed,
                part=_part(part),
            )
    took_s, n_new = time.monotonic() - start_s, counts.n_rows - (reports[0].n_done if reports else 0)
    print(
        f"{counted(counts.n_rows, 'row')}: {counts.n_ok:,} ok, {counts.n_rows - counts.n_ok:,} failed. "
        f"{n_new:,} of them now, in {took_s:.1f} s ({n_new / took_s:.1f} rows a second); "
        f"peak memory {_peak_memory_gb():.2f} GB."
    )
    if counts.n_again:
        print(f"Scored again: {counted(counts.n_again, 'row')}, whose audio, judge or precision has changed.")
    for note in counts.notes:
        print(f"! {note}")


@contextlib.contextmanager
def rows_bar(stderr: TextIO) -> "Iterator[Callable[[Counts], None]]":
    """Yield a function that shows rows done, rows failed and time left; on a terminal only."""
    with progress_bar(unit=" rows", file=stderr, disable=None) as show:
        yield lambda counts: show(counts.n_done, note=f"{counts.n_done - counts.n_ok:,} failed", total=counts.n_rows)


def _peak_memory_gb() -> float:
    """Of this process, since it began."""
    import resource  # not there on Windows, where `core.settings` says what to do

    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


@app.command()
@data_option
@reading_options
@click.option("--tower", metavar="NAME", help="ears, music-audioset (the official CLAP) or muq (default: ears)")
@path_option("--model", "DIR", "take the tower of this model instead")
@click.option("--precision", default="float32", help="float32, or bfloat16: faster, a cosine of 0.9999 away")
@cache_option
@device_option
def embed(
    data: Path,
    reading: "Reading",
    tower: str | None,
    model: Path | None,
    precision: str,
    cache: Path | None,
    device: str,
) -> None:
    """Embed rated clips, so that training takes seconds.

    Computes the embeddings of clips and prompts that are not there yet.
    """
    from core.checkpoint import load_checkpoint
    from core.embeddings import embed_clips
    from core.musiceval import read_source
    from core.towers import load_tower

    at_most_one(tower=tower, model=model)
    clips = read_source(data, reading)
    given = load_checkpoint(model) if model else load_tower(tower or "ears")
    kept = open_cache(cache, device, given.tower, given.policy, precision)
    start_s = time.monotonic()
    with share_bar() as progress:
        embed_clips(clips, kept, progress)
    print(
        f"{counted(len(clips), 'clip')} with prompts: {kept.computed} embeddings computed, "
        f"{kept.found} already there, {time.monotonic() - start_s:.1f} s."
    )
    for note in (*clips.notes, *clips.same_audio()):
        print(f"! {note}")


@app.command()
@source_options
@click.option(
    "--from",
    "judge",
    metavar="DIR",
    type=Path,
    help="move the heads of this judge toward the data, from 20 rated clips on; recipe and tower are the judge's",
)
@click.option("--recipe", type=click.Choice([*RECIPES]), default=USUAL, help="how it learns")
@tower_option
@path_option("--output", "DIR", "folder of the run, then of the model", required=True)
@cache_option
@device_option
@split_options(make_split, default="random")
@recipe_changes
def train(
    sources: "Sources",
    judge: Path | None,
    recipe: str,
    tower: str,
    output: Path,
    cache: Path | None,
    device: str,
    split: Split,
    changes: Mapping[str, Any],
) -> None:
    """Train a judge on rated clips. The same command goes on with a run that was stopped."""
    if judge and (recipe != USUAL or any(value is not None for value in changes.values())):
        raise misuse("--from takes the recipe of the judge: it goes without --recipe and its fields")
    chosen = changed_recipe(recipe, changes)

    from core.training.recipe import TrainingPlan
    from core.training.run import StopAsked
    from core.training.run import train as train_judge

    settings = Settings.from_environment()
    first, *more = sources.data
    plan = TrainingPlan(first, chosen, tower, split, tuple(more), sources.weights, sources.pairs, judge)
    is_first = os.environ.get("RANK", "0") == "0"  # as torchrun counts processes
    try:
        with _run_bar(is_first) as progress:
            kept = cache or settings.cache
            folder = train_judge(plan, output, kept, device, settings.limits, progress, doubt=_doubt)
    except StopAsked as stop:
        raise click.exceptions.Exit(stop.exit_code) from stop
    if is_first:
        _report(folder)


def _doubt(sentence: str) -> None:
    click.echo(f"! {sentence}", err=True)


@contextlib.contextmanager
def _run_bar(is_shown: bool) -> "Iterator[Callable[[RunProgress], None]]":
    form = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}{postfix}"
    with progress_bar(bar_format=form, miniters=0, disable=None if is_shown else True) as show:

        def report(progress: "RunProgress") -> None:
            left_s = progress.eta_s
            show(progress.share, progress.message, f"about {show_wait(left_s)} left" if left_s else "")

        yield report


def show_wait(seconds: float) -> str:
    """Return a time to wait in words, rounded up."""
    minutes, rest_s = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest_s} s"


def _report(folder: "RunFolder") -> None:
    from core.table_one import table_one_as_text

    metrics, (measured, controls) = folder.metrics(), folder.measured()
    if measured.agreement:
        print(table_one_as_text(measured, controls.titled()), end="\n\n")
    for sentence in [*measured.why_not(), *controls.in_words(measured)]:
        print(sentence)
    print(_ranges(metrics["held_out"]))
    print(f"Epoch {metrics['best_epoch']} of {metrics['epochs']} is kept.")
    for sentence in metrics.get("doubts", ()):
        print(f"! {sentence}")
    how = "by cross-validation" if metrics["part"] == CROSS_VALIDATED else f"on the {metrics['part']} part"
    print(f"Measured {how}. {metrics['comparison']}")
    what = "The model is" if metrics.get("learned", True) else "What is not trained is"
    print(f"{what} in {folder.path}. Score with --model, or set MUSICEVAL_MODEL for the app.")


def _ranges(held_out: Mapping[str, Any]) -> str:
    """Say how wide the ranges of the model's scores are, or why they have none."""
    errors = held_out["absolute_error_quantile"]
    if not errors:
        return f"Its scores have no range: {held_out['no_range']}"
    widths = ", ".join(f"{error:.2f} ({key.replace('_', ' ')})" for key, error in errors.items())
    held = ", ".join(f"{of['all']:.0%}" for of in held_out["coverage"].values())
    return (
        f"Ranges of {held_out['interval_level']:.0%}: {widths} to either side, from {held_out['n_clips']} clips of "
        f"{held_out['n_systems']} systems. Made of all other systems, they hold {held} of a system's clips."
    )


app.add_command(gate)
app.add_command(evaluate)
app.add_command(baselines)
app.add_command(ablation)


@app.command("fetch-clap")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    type=Path,
    help="a copy of the checkpoint brought by hand, instead of the download; vocab.json and merges.txt "
    "beside it are used too (default: what MUSICEVAL_CLAP_CHECKPOINT names)",
)
@click.option("--preference", is_flag=True, help="also fetch TuneJury's head A1, which knows what people prefer")
@path_option("--reference", "FOLDER", "clips among which --preference ranks others; 20 or more")
def fetch_clap(source: Path | None, preference: bool, reference: Path | None) -> None:
    """Fetch the official CLAP and its tokenizer (2.35 GB).

    They are verified by size and SHA-256, and what a tower needs is kept under HF_HOME: 0.8 of 2.35 GB. A
    download that was cut goes on where it ended.
    """
    if reference and not preference:
        raise misuse("--reference goes with --preference")

    from core.pinned import OFFICIAL
    from core.preference import fetch_preference
    from core.settings import pick_device
    from core.towers.official import fetch_official
    from core.zero_shot import measure_references

    settings = Settings.from_environment()
    given = source or settings.clap_checkpoint
    fetch_official(OFFICIAL, given, report=print)
    if preference:
        fetch_preference(OFFICIAL, given and given.parent, report=print)
    if reference:
        with quiet_decoders():
            measure_references(reference, settings.limits, pick_device(settings.device), report=print)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m core`` and return its exit code."""
    return run_command("python -m core", app, argv)
