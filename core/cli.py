"""The command line of the judge: ``python -m core score | embed | train | evaluate | baselines | fetch-clap``.

What holds for every command line stands in `core.command`.
"""

import contextlib
import dataclasses
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from core.command import (
    Function,
    Group,
    as_json,
    as_one,
    at_most_one,
    fields_as_one,
    misuse,
    path_option,
    print_json,
    progress_bar,
    quiet_decoders,
    run_command,
)
from core.errors import DataError, MetricError
from core.settings import DEVICES, Settings
from core.splits import KINDS, Split
from core.training.recipe import RECIPES, changeable_fields, changed_recipe

if TYPE_CHECKING:
    from core.audio import InputPolicy
    from core.batch.run import Counts, Judging
    from core.embeddings import EmbeddingCache
    from core.evaluation import Measured, Predictions
    from core.metrics import Agreement
    from core.rated_clips import RatedClips
    from core.scorer import Score
    from core.towers import Tower
    from core.training.recipe import RunProgress
    from core.training.run import RunFolder

app = Group(help="Score generated music, train and measure what scores it.")


_data = path_option("--data", "PATH", "rated clips", required=True)
_tower = click.option("--tower", metavar="NAME", default="small", help="small, or music-audioset")
_device = click.option("--device", type=click.Choice(DEVICES), default="auto", help="where the towers run")
_cache = path_option(
    "--cache", "DIR", "folder of the embeddings (default: embeddings/ in the folder that MUSICEVAL_DATA names)"
)


_SPLIT = {
    "seed": ("N", "of the draw"),
    "test_share": ("SHARE", "of clips, systems or prompts, held out to measure"),
    "dev_share": ("SHARE", "of the others, held out to stop training"),
    "folds": ("N", "deal clips into N test parts instead"),
    "fold": ("K", "which of them is the test part, from 0"),
}


def split_options(make: Function, default: str | None = None) -> Callable[[Function], Function]:
    """Have a command take the options of a split as one argument, `split`."""
    kind = click.option("--split", type=click.Choice(KINDS), default=default, help="how clips are held out")
    others = {
        name: click.option(f"--{name.replace('_', '-')}", metavar=metavar, default=getattr(Split, name), help=meaning)
        for name, (metavar, meaning) in _SPLIT.items()
    }
    return as_one("split", make, {"split": kind, **others})


def make_split(split: str | None, **values: Any) -> Split:
    """Return the split that options choose; without ``--split`` a random one."""
    return Split(split or Split.kind, **values)


def make_split_if_given(split: str | None, **values: Any) -> Split | None:
    """Return the split that options choose; None without ``--split``, and then there may be no others."""
    made = make_split(split, **values)
    if split is None and made != Split():
        raise DataError(f"A seed, shares or folds need --split, one of {', '.join(KINDS)}.")
    return made if split else None


_recipe_changes = fields_as_one("changes", changeable_fields())


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
    "CLAP (default), or small",
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
@click.option("--precision", default="float32", help="float32, or bfloat16: faster, scores within 0.02")
@_cache
@_device
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
    if how["zero_shot"] and how["model"]:
        raise misuse("--zero-shot goes without --model")
    if clip is not None and prompt is not None and manifest is None and output is None:
        _score_one(clip, prompt, as_json, **how)
    elif manifest is None and output is None:
        raise misuse("give CLIP and --prompt, or --manifest and --output")
    elif None in (manifest, output) or (clip, prompt) != (None, None) or as_json:
        raise misuse("--manifest goes with --output, and without CLIP, --prompt and --json")
    else:
        _score_many(str(manifest), str(output), **how)


def _score_one(path: Path, prompt: str, as_json: bool, **how: Any) -> None:
    from core.audio import read_clip
    from core.settings import pick_device
    from core.zero_shot import load_scorer

    settings = Settings.from_environment(os.environ)
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

    for scale in score.scales:
        value, interval = score[scale.key], "no interval"
        if score.intervals:
            low, high = score.intervals.bounds[scale.key]
            interval = f"{score.intervals.level:.0%} interval {low:.1f} to {high:.1f}"
        yield f"{scale.title:<20} {value:.1f} of 5   {scale.describe(value):<17} {interval}"
    yield ""
    yield f"{'Window':<15}" + "".join(f" {scale.title:>20}" for scale in score.scales)
    for window in score.windows:
        span = f"{show_time(window.start_s)} to {show_time(window.end_s)}"
        yield f"{span:<15}" + "".join(f" {window.values[scale.key]:>20.1f}" for scale in score.scales)
    yield ""
    for warning in score.warnings:
        yield f"! {warning.message}"
    model, audio = score.provenance.checkpoint, score.provenance.audio
    yield f"Model {model.id} ({model.sha256[:12]}), clip {audio.sha256[:12]} of {audio.duration_s:.1f} s"


def _score_many(manifest: str, output: str, ray: str | None, retry_failed: bool, **how: Any) -> None:
    """Score a clip list, with progress on stderr where that is a terminal."""
    from core.batch.run import all_devices, score_manifest
    from core.settings import pick_device

    judging, reports = _judging(on_cluster=ray is not None, **how), []
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
            )
    took_s, n_new = time.monotonic() - start_s, counts.n_rows - (reports[0].n_done if reports else 0)
    print(
        f"{counts.n_rows:,} rows: {counts.n_ok:,} ok, {counts.n_rows - counts.n_ok:,} failed. "
        f"{n_new:,} of them now, in {took_s:.1f} s ({n_new / took_s:.1f} rows a second); "
        f"peak memory {_peak_memory_gb():.2f} GB."
    )
    if counts.n_again:
        print(f"{counts.n_again:,} rows were scored again: their audio, the judge or its precision has changed.")
    for note in counts.notes:
        print(f"! {note}")


def _judging(on_cluster: bool, no_cache: bool, cache: Path | None, **how: Any) -> "Judging":
    from core.batch.run import Judging

    settings = Settings.from_environment(os.environ)
    own = None if on_cluster else settings.cache  # a cluster has no folder of its own
    kept = None if no_cache else cache or own
    model = how["model"] or settings.model
    return Judging(model, kept, how["precision"], settings.limits, how["zero_shot"])


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
@_data
@click.option("--tower", metavar="NAME", help="small, or music-audioset: the official CLAP (default: small)")
@path_option("--model", "DIR", "take the tower of this model instead")
@click.option("--precision", default="float32", help="float32, or bfloat16: faster, a cosine of 0.9999 away")
@_cache
@_device
def embed(data: Path, tower: str | None, model: Path | None, precision: str, cache: Path | None, device: str) -> None:
    """Embed rated clips, so that training takes seconds.

    Computes the embeddings of clips and prompts that are not there yet.
    """
    from core.checkpoint import load_checkpoint
    from core.embeddings import embed_clips
    from core.musiceval import read_source
    from core.towers import load_tower

    at_most_one(tower=tower, model=model)
    clips = read_source(data)
    given = load_checkpoint(model) if model else load_tower(tower or "small")
    kept = _open_cache(cache, device, given.tower, given.policy, precision)
    start_s = time.monotonic()
    with _share_bar() as progress:
        embed_clips(clips, kept, progress)
    print(
        f"{len(clips)} clips with their prompts: {kept.computed} embeddings computed, "
        f"{kept.found} already there, {time.monotonic() - start_s:.1f} s."
    )
    for note in (*clips.notes, *clips.same_audio()):
        print(f"! {note}")


def _open_cache(
    folder: Path | None, device: str, tower: "Tower", policy: "InputPolicy", precision: str = "float32"
) -> "EmbeddingCache":
    """Open the cache that options choose; the tower moves to their device."""
    from core.embeddings import EmbeddingCache
    from core.settings import pick_device

    settings = Settings.from_environment(os.environ)
    tower.to(pick_device(device))
    return EmbeddingCache(folder or settings.cache, tower, policy, precision, settings.limits)


def _share_bar() -> "contextlib.AbstractContextManager[Callable[..., None]]":
    return progress_bar(bar_format="{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}")


@app.command()
@_data
@click.option("--recipe", type=click.Choice([*RECIPES]), default="frozen", help="how it learns")
@_tower
@path_option("--output", "DIR", "folder of the run, then of the model", required=True)
@_cache
@_device
@split_options(make_split, default="random")
@_recipe_changes
def train(
    data: Path,
    recipe: str,
    tower: str,
    output: Path,
    cache: Path | None,
    device: str,
    split: Split,
    changes: Mapping[str, Any],
) -> None:
    """Train a judge on rated clips. The same command goes on with a run that was stopped."""
    chosen = changed_recipe(recipe, changes)

    from core.training.recipe import TrainingPlan
    from core.training.run import StopAsked
    from core.training.run import train as train_judge

    settings = Settings.from_environment(os.environ)
    plan = TrainingPlan(data, chosen, tower, split)
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
    with progress_bar(bar_format=form, miniters=0, disable=not is_shown) as show:

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
    from core.controls import as_good_as, titled
    from core.evaluation import table_one_as_text

    metrics, (measured, controls) = folder.metrics(), folder.measured()
    if measured.agreement:
        print(table_one_as_text(measured, titled(controls)), end="\n\n")
    for sentence in [*measured.why_not(), *as_good_as(measured, controls)]:
        print(sentence)
    print(_ranges(metrics["held_out"]))
    print(f"Epoch {metrics['best_epoch']} of {metrics['epochs']} is kept.")
    for sentence in metrics.get("doubts", ()):
        print(f"! {sentence}")
    print(f"Measured on the {metrics['part']} part. {metrics['comparison']}")
    what = "The model is" if metrics.get("learned", True) else "What is not trained is"
    print(f"{what} in {folder.path}. Score with --model, or set MUSICEVAL_MODEL for the app.")


def _ranges(held_out: Mapping[str, Any]) -> str:
    """Say how wide the ranges of the model's scores are, or why they have none."""
    errors = held_out["absolute_error_quantile"]
    if not errors:
        return f"Its scores have no range: {held_out['no_range']}"
    widths = ", ".join(f"{error:.2f} ({key.replace('_', ' ')})" for key, error in errors.items())
    return f"Ranges of {held_out['interval_level']:.0%}: {widths} to either side, from {held_out['n_clips']} clips."


SIMULATED = "The ratings are simulated: these figures say nothing about what experts hear."


@app.command()
@path_option("--table", "FILE", "CSV file of both scores")
@path_option("--answer", "FILE", "answer of the AudioMOS Challenge; needs --data")
@path_option("--model", "DIR", "folder of a model; needs --data")
@path_option("--data", "PATH", "rated clips that an answer is about, or a model hears")
@path_option(
    "--system-truth", "FILE", "scores of the systems to compare with (default: the means of the clips evaluated)"
)
@as_json
@split_options(make_split_if_given)
@click.option(
    "--part",
    type=click.Choice(("train", "dev", "test", "all")),
    help="what a model is measured on (default: the test part of --split, or of the model's own split; all "
    "clips where it was trained on other data)",
)
@path_option("--predictions", "FILE", "write a model's predictions, as --table reads them")
@_cache
@_device
def evaluate(data: Path | None, system_truth: Path | None, as_json: bool, **given: Any) -> None:
    """Measure predicted scores, or a model, against rated clips.

    Prints Table I of the MusicEval paper, with bootstrap intervals.
    """
    from core.controls import as_good_as, titled
    from core.evaluation import comparison, table_one_as_text

    model = given["model"]
    at_most_one(required=True, table=given["table"], answer=given["answer"], model=model)
    judged = _judge(data, **given) if model and data else _read(data, **given)
    measured = _measure(judged, system_truth)
    controls = judged.controls
    truth = f"the scores in {system_truth.name}" if system_truth else "the means of the clips evaluated"
    notes = [*judged.notes, *measured.why_not(), *as_good_as(measured, controls)]
    if as_json:
        about = {"part": judged.part, "system_truth": truth, "notes": notes}
        of_controls = {name: of.to_json() for name, of in controls.items()}
        of_a_model = {"data": data.name, "controls": of_controls, **about} if model and data else {"notes": notes}
        print_json(measured.to_json() | measured.reasons_to_json() | of_a_model)
        return
    print(table_one_as_text(measured, titled(controls)))
    print(f"\nSystem truth: {truth}.")
    print("\n".join([*notes, comparison(list(judged.predictions.table["clip_id"]), judged.data)]))


@dataclass(frozen=True)
class _Judged:
    """Predictions beside ratings, and what is known of them."""

    predictions: "Predictions"
    data: "RatedClips | None" = None  # all of the data
    notes: tuple[str, ...] = ()
    part: str | None = None
    controls: "Mapping[str, Measured]" = dataclasses.field(default_factory=dict)


def _read(data: Path | None, table: Path | None, answer: Path | None, **of_a_model: Any) -> _Judged:
    """Read predictions, and the rated clips that they are about where these are given."""
    from core.evaluation import read_answer, read_predictions
    from core.musiceval import read_source

    if not of_a_model["model"] and any(of_a_model[name] for name in ("split", "part", "predictions")):
        raise DataError("A table or an answer is measured whole: --split, --part, --predictions need --model.")
    if table:
        if data:
            raise DataError("A table has its ratings in it. Give --data with --answer or --model only.")
        read = read_predictions(table)
        return _Judged(read, notes=read.notes)
    if not data or not answer:
        what = "An answer" if answer else "A model"
        raise DataError(f"{what} has no ratings in it. Give the rated clips that it is about with --data.")
    clips = read_source(data)
    read = read_answer(answer, clips)
    return _Judged(read, clips, (*clips.notes, *read.notes))


def _judge(data: Path, model: Path, predictions: Path | None, **how: Any) -> _Judged:
    """Predict with a model what the raters said of the clips that the options choose."""
    from core.checkpoint import load_checkpoint
    from core.controls import measure_controls
    from core.embeddings import clip_values, embed_clips
    from core.evaluation import judged
    from core.measured_part import ALL, choose_clips
    from core.musiceval import is_simulated, read_source
    from core.rated_clips import write_csv

    clips, checkpoint = read_source(data), load_checkpoint(model)
    chosen = choose_clips(clips, model, how["split"], how["part"])
    cache = _open_cache(how["cache"], how["device"], checkpoint.tower, checkpoint.policy)
    with _share_bar() as progress:
        embedded = embed_clips(chosen.clips, cache, progress)
    said = judged(chosen.clips, clip_values(checkpoint.heads, embedded), checkpoint.scales)
    if predictions:
        write_csv(said.table, predictions)
    notes = [*chosen.notes, *clips.notes, *clips.same_audio()]
    if checkpoint.caveat:
        notes.append(f"About this model: {checkpoint.caveat}.")
    if is_simulated(data):
        notes.append(SIMULATED)
    rows = [*range(len(clips))] if chosen.part == ALL else chosen.parted.rows(chosen.part)
    controls = measure_controls(chosen.parted, rows) if chosen.part != "train" else {}
    return _Judged(said, clips, tuple(notes), chosen.part, controls)


def _measure(judged: _Judged, system_truth: Path | None) -> "Measured":
    """Measure what can be measured; a MetricError where that is nothing."""
    from core.evaluation import measure, read_system_scores

    measured = measure(judged.predictions, read_system_scores(system_truth) if system_truth else None)
    if not measured.agreement:
        raise MetricError(measured.why_not()[0])
    return measured


TITLES: Mapping[str, str] = {
    "frozen": "the recipe `frozen`",
    "mean": "training mean",
    "system": "system's training mean",
    "blind": "prompt alone, no audio",
    "shuffled": "shuffled scores",
}
FOLDED = (
    "What knows nothing follows the training mean, which is low where the clips held out are rated high: "
    "over several folds its correlation tends to lie below 0."
)


@app.command()
@_data
@_tower
@split_options(make_split, default="systems")
@_recipe_changes
@_cache
@_device
@as_json
def baselines(
    data: Path, tower: str, split: Split, changes: Mapping[str, Any], cache: Path | None, device: str, as_json: bool
) -> None:
    """Measure the frozen recipe against what cannot listen.

    Prints a Markdown table: the recipe and four controls, on clips held out.
    """
    recipe = changed_recipe("frozen", changes)

    from core.embeddings import embed_clips
    from core.musiceval import is_simulated, read_source
    from core.towers import load_tower
    from core.training.baselines import compare

    clips, start = read_source(data), load_tower(tower)
    kept = _open_cache(cache, device, start.tower, start.policy, recipe.precision)
    with _share_bar() as progress:
        measured = compare(clips, embed_clips(clips, kept, progress), split, recipe, progress)
    if as_json:
        print_json({method: of.to_json() for method, of in measured.items()})
        return
    print("\n".join(_tables(measured)))
    folds = f"all {split.folds} folds together" if split.folds else "the test part"
    print(f"{dataclasses.replace(split, folds=0, fold=0).in_words().capitalize()}; {folds}.")
    if split.folds:
        print(FOLDED)
    for sentence in measured["frozen"].why_not():
        print(sentence)
    if is_simulated(data):
        print(SIMULATED)


def _tables(measured: "Mapping[str, Measured]") -> Iterator[str]:
    """A Markdown table for each level, with 95 % intervals."""
    scales = measured["frozen"].scales
    columns = [(scale, metric) for scale in scales for metric in ("mse", "srcc")]
    for level in ("utterance", "system"):
        titles = [f"{scale.title}, {metric.upper()}" for scale, metric in columns]
        n = next((of.n for of in measured["frozen"].on(level).values()), "too few")
        yield f"| {level.capitalize()} level, n = {n} | {' | '.join(titles)} |"
        yield f"|---{'|---' * len(columns)}|"
        for method, title in TITLES.items():
            on = measured[method].on(level)
            cells = [_cell(on.get(scale.key), metric) for scale, metric in columns]
            yield f"| {title} | {' | '.join(cells)} |"
        yield ""


def _cell(of: "Agreement | None", metric: str) -> str:
    if of is None or metric not in of.figures:
        return "–"
    low, high = of.intervals.get(metric, (None, None))
    return f"{of.figures[metric]:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


@app.command("fetch-clap")
@click.option(
    "--from",
    "source",
    metavar="FILE",
    type=Path,
    help="a copy of the checkpoint brought by hand, instead of the download; vocab.json and merges.txt "
    "beside it are used too (default: what MUSICEVAL_CLAP_CHECKPOINT names)",
)
def fetch_clap(source: Path | None) -> None:
    """Fetch the official CLAP and its tokenizer (2.35 GB).

    They are verified by size and SHA-256, and what a tower needs is kept under HF_HOME: 0.8 of 2.35 GB. A
    download that was cut goes on where it ended.
    """
    from core.towers.official import OFFICIAL, fetch_official

    named = Settings.from_environment(os.environ).clap_checkpoint
    fetch_official(OFFICIAL, source or named, report=print)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command of ``python -m core`` and return its exit code."""
    return run_command("python -m core", app, argv)
