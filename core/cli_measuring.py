"""The commands that measure: ``python -m core evaluate | baselines | ablation``."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli_options import (
    cache_option,
    data_option,
    device_option,
    make_reading,
    make_split,
    make_split_if_given,
    open_cache,
    reading_options,
    recipe_changes,
    share_bar,
    source_options,
    split_options,
    tower_option,
)
from core.command import Command, as_json, at_most_one, path_option, print_json
from core.errors import DataError, MetricError, shown_name
from core.splits import Split
from core.training.recipe import USUAL, changed_recipe

if TYPE_CHECKING:
    from core.cli_options import Sources
    from core.controls import Controls
    from core.evaluation import Measured, Predictions
    from core.metrics import Agreement
    from core.opinions import Reading
    from core.people import PeopleAgreement
    from core.rated_clips import RatedClips
    from core.scales import Scales

SIMULATED = "The ratings are simulated: these figures say nothing about what experts hear."


@click.command(cls=Command)
@path_option("--table", "FILE", "CSV file of both scores")
@path_option("--answer", "FILE", "answer of the AudioMOS Challenge; needs --data")
@click.option(
    "--model",
    metavar="DIR",
    type=Path,
    multiple=True,
    help="folder of a model; needs --data. Given again, the models of a split's folds, each on its own test part",
)
@path_option("--data", "PATH", "rated clips that an answer is about, or a model hears")
@path_option(
    "--system-truth", "FILE", "scores of the systems to compare with (default: the means of the clips evaluated)"
)
@as_json
@reading_options
@split_options(make_split_if_given)
@click.option(
    "--part",
    type=click.Choice(("train", "dev", "test", "all")),
    help="what a model is measured on (default: the test part of --split, or of the model's own split; all "
    "clips where it was trained on other data)",
)
@path_option("--predictions", "FILE", "write a model's predictions, as --table reads them")
@cache_option
@device_option
def evaluate(data: Path | None, system_truth: Path | None, as_json: bool, **given: Any) -> None:
    """Measure predicted scores, or a model, against rated clips.

    Prints Table I of the MusicEval paper, with bootstrap intervals; of a model on a table of ratings also how far it
    agrees with people, and how far it could.
    """
    model = given["model"] or None
    at_most_one(required=True, table=given["table"], answer=given["answer"], model=model)
    judged = _judge(data, **given) if model and data else _read(data, **given)
    measured, people = _measure(judged, system_truth), _people(judged)
    truth = f"the scores in {system_truth.name}" if system_truth else "the means of the clips evaluated"
    notes = [*judged.notes, *measured.why_not(), *judged.controls.in_words(measured)]
    if as_json:
        about = {"part": judged.part, "system_truth": truth, "notes": notes}
        of_a_model = {"data": data.name, **judged.controls.to_json(), **about} if model and data else {"notes": notes}
        of_people = {"people": {of.scale.key: of.to_json() for of in people}} if people else {}
        print_json(measured.to_json() | measured.reasons_to_json() | of_a_model | of_people)
    else:
        print("\n".join([*_shown(judged, measured, people, truth), *notes, *_compared(judged, people)]))


def _shown(judged: "_Judged", measured: "Measured", people: "Sequence[PeopleAgreement]", truth: str) -> Iterator[str]:
    """Table I, where systems are known or a control stands in it; then the agreement with people."""
    from core.people import as_text
    from core.table_one import table_one_as_text

    if not people or judged.controls.measured or _has_systems(judged):
        yield table_one_as_text(measured, judged.controls.titled())
        yield ""
    if people:
        yield from as_text(people)
    if not people or _has_systems(judged):
        yield f"System truth: {truth}."


def _has_systems(judged: "_Judged") -> bool:
    return any(judged.predictions.table["system_id"])


def _compared(judged: "_Judged", people: "Sequence[PeopleAgreement]") -> list[str]:
    from core.evaluation import comparison

    if people and not _has_systems(judged):
        return []
    return [comparison(list(judged.predictions.table["clip_id"]), judged.data)]


def _people(judged: "_Judged") -> "list[PeopleAgreement]":
    """How a model agrees with people; nothing where it was not measured on a table of ratings."""
    from core.people import measure_people

    opinions = judged.data.opinions if judged.data else None
    return measure_people(judged.predictions, opinions) if opinions and judged.part else []


def _no_controls() -> "Controls":
    from core.controls import Controls

    return Controls()


@dataclass(frozen=True)
class _Judged:
    """Predictions beside ratings, and what is known of them."""

    predictions: "Predictions"
    data: "RatedClips | None" = None  # all of the data
    notes: tuple[str, ...] = ()
    part: str | None = None
    controls: "Controls" = dataclasses.field(default_factory=_no_controls)


def _read(data: Path | None, table: Path | None, answer: Path | None, reading: "Reading", **of_a_model: Any) -> _Judged:
    """Read predictions, and the rated clips that they are about where these are given."""
    from core.evaluation import read_answer, read_predictions
    from core.musiceval import read_source

    if not of_a_model["model"] and any(of_a_model[name] for name in ("split", "part", "predictions")):
        raise DataError("A table or an answer is measured whole: --split, --part, --predictions need --model.")
    if not data and reading != make_reading():
        raise DataError("--clips, --scale and --scale-range say how --data is read. Give it, or leave them out.")
    if table:
        if data:
            raise DataError("A table has its ratings in it. Give --data with --answer or --model only.")
        read = read_predictions(table)
        return _Judged(read, notes=read.notes)
    if not data or not answer:
        what = "An answer" if answer else "A model"
        raise DataError(f"{what} has no ratings in it. Give the rated clips that it is about with --data.")
    clips = read_source(data, reading)
    read = read_answer(answer, clips)
    return _Judged(read, clips, (*clips.notes, *read.notes))


def _judge(data: Path, model: Sequence[Path], predictions: Path | None, reading: "Reading", **how: Any) -> _Judged:
    """Predict with a model, or those of the folds of a split, what the raters said of clips."""
    from core.musiceval import is_simulated, read_source

    clips = read_source(data, reading)
    found = [_judge_with(of, clips, **how) for of in model]
    judged = found[0] if len(found) == 1 else _together(found, clips)
    if predictions:
        judged.predictions.to_csv(predictions)
    return dataclasses.replace(judged, notes=(*judged.notes, *([SIMULATED] if is_simulated(data) else [])))


def _together(found: Sequence[_Judged], clips: "RatedClips") -> _Judged:
    """What the models of folds say, each of other clips, as if one had said it; without controls."""
    import pandas as pd

    from core.evaluation import Predictions

    table = pd.concat([of.predictions.table for of in found], ignore_index=True)
    if twice := list(table.loc[table["clip_id"].duplicated(), "clip_id"]):
        raise DataError(
            f"Several of these models are measured on the clip {shown_name(twice[0])}. Give the models of the folds of "
            "one split, each trained on this data with another --fold."
        )
    if len({of.predictions.scales for of in found}) > 1:
        raise DataError("These models predict different scales. Give the models of the folds of one split.")
    there = clips.table["clip_id"][clips.table["clip_id"].isin(table["clip_id"])]
    table = table.set_index("clip_id").loc[there].reset_index()
    said = f"Measured on {len(table)} of {len(clips)} clips, each by one of {len(found)} models."
    notes = dict.fromkeys([said, *(note for of in found for note in of.notes)])
    return _Judged(Predictions(table, found[0].predictions.scales), clips, tuple(notes), found[0].part)


def _judge_with(model: Path, clips: "RatedClips", **how: Any) -> _Judged:
    """Predict with a model what the raters said of the clips that the options choose."""
    from core.checkpoint import load_checkpoint
    from core.controls import Controls, measure_controls
    from core.embeddings import Asked, clip_values, embed_clips
    from core.evaluation import judged
    from core.heads import cosines
    from core.measured_part import ALL, choose_clips
    from core.prompts import as_read_by

    checkpoint = load_checkpoint(model)
    clips = as_read_by(clips, checkpoint.tower)
    chosen = choose_clips(clips, model, how["split"], how["part"])
    asked = Asked.by(checkpoint.heads)
    cache = open_cache(how["cache"], how["device"], checkpoint.tower, checkpoint.policy, asked=asked)
    with share_bar() as progress:
        embedded = embed_clips(chosen.clips, cache, progress)
    said = judged(chosen.clips, clip_values(checkpoint.heads, embedded), checkpoint.scales)
    read_as = clips.opinions.read_as if clips.opinions else ()
    notes = [*chosen.notes, *read_as, *clips.notes, *clips.same_audio(), *_of_one_side(clips, checkpoint.scales)]
    notes += chosen.clips.about_unread(said.scales)
    if checkpoint.caveat:
        notes.append(f"About this model: {checkpoint.caveat}.")
    rows = [*range(len(clips))] if chosen.part == ALL else chosen.parted.rows(chosen.part)
    is_held_out = chosen.part != "train"
    controls = measure_controls(chosen.parted, rows, cosines(embedded)) if is_held_out else Controls()
    return _Judged(said, clips, tuple(notes), chosen.part, controls)


def _of_one_side(clips: "RatedClips", predicted: "Scales") -> Iterator[str]:
    """Say on which scales there are only ratings, or only predictions."""
    sides = (
        (clips.scales, predicted, "the model does not predict it"),
        (predicted, clips.scales, "the clips are not rated on it"),
    )
    for some, others, why in sides:
        for scale in some:
            missing = scale.key not in [other.key for other in others]
            if missing and not any(note.startswith(f"{scale.title} is not") for note in clips.notes):
                yield f"{scale.title} is not measured: {why}."


def _measure(judged: _Judged, system_truth: Path | None) -> "Measured":
    """Measure what can be measured; a MetricError where that is nothing."""
    from core.evaluation import measure, read_system_scores

    measured = measure(judged.predictions, read_system_scores(system_truth) if system_truth else None)
    if not measured.agreement:
        raise MetricError(measured.why_not()[0])
    return measured


TITLES: Mapping[str, str] = {
    "recipe": "the recipe",
    "mean": "training mean",
    "system": "system's training mean",
    "cosine": "plain cosine",
    "blind": "prompt alone, no audio",
    "shuffled": "shuffled scores",
}
FOLDED = (
    "What knows nothing follows the training mean, which is low where the clips held out are rated high: "
    "over several folds its correlation tends to lie below 0."
)


@click.command(cls=Command)
@data_option
@reading_options
@click.option("--recipe", type=click.Choice(("ordinal", "frozen")), default=USUAL, help="how it learns")
@tower_option
@split_options(make_split, default="systems")
@recipe_changes
@cache_option
@device_option
@as_json
def baselines(
    data: Path,
    reading: "Reading",
    recipe: str,
    tower: str,
    split: Split,
    changes: Mapping[str, Any],
    cache: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure a recipe against what cannot listen.

    Prints a Markdown table: the recipe and its controls, on clips held out.
    """
    chosen = changed_recipe(recipe, changes)

    from core.embeddings import Asked, embed_clips
    from core.musiceval import is_simulated, read_source
    from core.prompts import as_read_by
    from core.towers import load_tower
    from core.training.baselines import compare
    from core.training.check import learnable

    clips, start = read_source(data, reading), load_tower(tower)
    clips = learnable(as_read_by(clips, start.tower))
    kept = open_cache(cache, device, start.tower, start.policy, chosen.precision, Asked(**chosen.asks()))
    with share_bar() as progress:
        measured = compare(clips, embed_clips(clips, kept, progress), split, chosen, progress)
    if as_json:
        print_json({method: of.to_json() for method, of in measured.items()})
        return
    print("\n".join(_tables(measured, recipe)))
    folds = f"all {split.folds} folds together" if split.folds else "the test part"
    print(f"{dataclasses.replace(split, folds=0, fold=0).in_words().capitalize()}; {folds}.")
    if split.folds:
        print(FOLDED)
    for sentence in [
        *clips.notes,
        *clips.about_unread(clips.scales),
        *measured["recipe"].why_not(),
        *_about_controls(clips, split, measured),
    ]:
        print(sentence)
    if is_simulated(data):
        print(SIMULATED)


def _about_controls(clips: "RatedClips", split: Split, measured: "Mapping[str, Measured]") -> Iterator[str]:
    """Say why a control is missing, and where the system's mean shows that the split is an easy one."""
    from core.controls import HEADLINE, NO_PROMPTS, NOT_IN_TRAIN
    from core.evaluation import NO_SYSTEMS

    for name in TITLES:
        if name not in measured:
            why = NO_PROMPTS if clips.has_prompts else "the clips have no prompts."
            yield f'There is no row "{TITLES[name]}": {why}'
    if measured["system"] == measured["mean"]:
        why = NOT_IN_TRAIN if clips.n_systems else NO_SYSTEMS
        yield f"The {TITLES['system']} is the {TITLES['mean']}: {why}"
    if clips.n_systems and split.kind != "systems":
        yield HEADLINE


def _tables(measured: "Mapping[str, Measured]", recipe: str) -> Iterator[str]:
    """A Markdown table for each level, with 95 % intervals."""
    scales = measured["recipe"].scales
    columns = [(scale, metric) for scale in scales for metric in ("mse", "srcc")]
    for level in ("utterance", "system"):
        titles = [f"{scale.title}, {metric.upper()}" for scale, metric in columns]
        n = next((of.n for of in measured["recipe"].on(level).values()), "too few")
        if level == "system" and not any(of.on(level) for of in measured.values()):
            continue
        yield f"| {level.capitalize()} level, n = {n} | {' | '.join(titles)} |"
        yield f"|---{'|---' * len(columns)}|"
        for method, title in TITLES.items():
            on = measured[method].on(level) if method in measured else {}
            cells = [_cell(on.get(scale.key), metric) for scale, metric in columns]
            shown = f"{title} `{recipe}`" if method == "recipe" else title
            yield f"| {shown} | {' | '.join(cells)} |"
        yield ""


def _cell(of: "Agreement | None", metric: str) -> str:
    if of is None or metric not in of.figures:
        return "–"
    low, high = of.intervals.get(metric, (None, None))
    return f"{of.figures[metric]:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")


@click.command(cls=Command)
@source_options
@tower_option
@split_options(make_split, default="random")
@click.option("--repeats", metavar="N", type=click.IntRange(min=1), default=5, help="seeds, of the folds and the heads")
@recipe_changes
@cache_option
@device_option
@as_json
def ablation(
    sources: "Sources",
    tower: str,
    split: Split,
    repeats: int,
    changes: Mapping[str, Any],
    cache: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Measure what each part of the recipe ordinal gains.

    Prints a Markdown table: the recipe whole, and without each of its parts, on clips and pairs held out.
    """
    recipe = changed_recipe("ordinal", changes)

    from core.embeddings import Asked
    from core.musiceval import is_simulated
    from core.towers import load_tower
    from core.training.ablation import Taught, ablate

    taught, start = Taught.read(sources.data, sources.pairs, sources.weights), load_tower(tower)
    taught = taught.read_by(start.tower)
    if split.kind != "official" and not split.folds:
        split = dataclasses.replace(split, folds=5)
    kept = open_cache(cache, device, start.tower, start.policy, recipe.precision, Asked(frames=True, tokens=True))
    with share_bar() as progress:
        found = ablate(taught, kept, recipe, split, repeats, progress)
    if as_json:
        print_json(found.to_json())
        return
    print("\n".join([*found.as_table(), *taught.notes()]))
    folds = f"{split.folds} folds" if split.folds else "the test part"
    kind = dataclasses.replace(split, folds=0, fold=0).in_words().capitalize()
    print(f"{kind}; {folds}, {repeats} times; figures are means, gains are the whole recipe's, in brackets 95 %.")
    if any(map(is_simulated, sources.data)):
        print(SIMULATED)
