"""The model card of a trained judge, written from what its run and its measuring stored."""

from collections.abc import Iterator, Mapping
from typing import Any

from core.metrics import METRICS
from core.predictions import LEVELS
from core.scales import SCALE_TITLES, SCALES
from core.training.recipes import RECIPES

_SPLIT_WORDS = {
    "official": "the parts that the data came with",
    "random": "clip by clip, at random",
    "systems": "by system: no system has clips in two parts",
    "prompts": "by prompt: no prompt has clips in two parts",
}


def model_card(name: str, run: Mapping[str, Any], metrics: Mapping[str, Any], data: str, caveat: str) -> str:
    """Write the card.

    Parameters
    ----------
    name : str
        Of the model.
    run, metrics : mapping
        ``run.json`` and ``metrics.json``.
    data : str
        What it was trained on, in words.
    caveat : str
        Of the checkpoint.

    Returns
    -------
    str
        Markdown.
    """
    sections = [
        [f"# {name}: a judge of generated music"],
        [f"**Not an expert panel: {caveat}.** Do not report its scores."] if caveat else [],
        [
            "It predicts two scores from 1 to 5 for a clip of music and its prompt: musical impression",
            "(overall quality) and textual alignment (fit to the prompt). A CLAP embeds sound and text; two",
            "heads read the scores from the embeddings.",
        ],
        ["## Data", "", *_data(run, data)],
        ["## Training", "", *_training(run, metrics)],
        [f"## Measured on the {metrics['part']} part", "", *_figures(metrics)],
        ["## Limits", "", *_limits(run, metrics)],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _data(run: Mapping[str, Any], data: str) -> Iterator[str]:
    described, parts = run["data"], run["data"]["parts"]
    yield f"- {data[0].upper()}{data[1:]}: {described['clips']} clips of {described['systems']} systems."
    yield f"- Split {_SPLIT_WORDS[run['split']['kind']]}: {_counts(parts)}; seed {run['split']['seed']}."
    yield f"- SHA-256 of the data: `{described['sha256']}`. Each clip's part is in `split.csv`."


def _counts(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {part}" for part, count in parts.items())


def _training(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    recipe = run["recipe"]
    learned = "Towers and heads are trained" if recipe["fine_tune"] else "Only the heads are trained"
    yield f"- Recipe `{recipe['name']}`. {learned}, to the least mean absolute error of both scores."
    usual = RECIPES[recipe["name"]].to_json()
    values = (
        f"{key.replace('_', ' ')} {value}{'' if value == usual[key] else f' (the recipe has {usual[key]})'}"
        for key, value in recipe.items()
        if key not in ("name", "fine_tune")
    )
    yield f"- {'; '.join(values)}."
    yield f"- {metrics['epochs']} epochs; the weights are those after epoch {metrics['best_epoch']}."
    yield f"- Tower `{run['tower']['name']}`, before training `{run['tower']['sha256']}`."
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    yield f"- Seed {run['seed']}, {run['processes']} process(es) on {run['device']}; {versions}."


def _figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    held_out = metrics["held_out"]
    error = held_out["absolute_error_quantile"]
    yield (
        f"For {held_out['interval_level']:.0%} of {held_out['n_clips']} clips of {held_out['n_systems']} "
        f"systems the raters' mean is at most {error[SCALES[0]]:.2f} (musical impression) and "
        f"{error[SCALES[1]]:.2f} (textual alignment) away from the score."
    )
    if any(level in metrics for level in LEVELS):
        yield ""
        yield f"| scale | level | n | {' | '.join(name.upper() for name in METRICS)} |"
        yield f"|---|---|---|{'---|' * len(METRICS)}"
        yield from _rows(metrics)
        yield ""
        yield "In brackets: 95 % bootstrap intervals, over clips or over systems. Curves: `curves.svg`,"
        yield "`scatter.svg`; predictions: `predictions.csv`."
    for level, reasons in metrics["not_measured"].items():
        for scale, reason in reasons.items():
            yield ""
            yield f"Not measured, {SCALE_TITLES[scale].lower()} at {level} level: {reason}"


def _rows(metrics: Mapping[str, Any]) -> Iterator[str]:
    for level in LEVELS:
        for scale, row in metrics.get(level, {}).items():
            cells = (
                f"{row[name]:.3f} [{row[f'{name}_ci95'][0]:.3f}, {row[f'{name}_ci95'][1]:.3f}]"
                for name in METRICS
            )
            yield f"| {SCALE_TITLES[scale].lower()} | {level} | {row['n']} | {' | '.join(cells)} |"


def _limits(run: Mapping[str, Any], metrics: Mapping[str, Any]) -> Iterator[str]:
    yield "- It knows what its panel heard and thought. Other music, other raters: measure again."
    if run["split"]["kind"] in ("official", "random"):
        yield "- Systems and prompts of the measured clips were in training; on new ones it may do worse."
    if metrics["part"] == "dev":
        yield "- There is no test part: training stopped where these very clips came out best."
    if metrics["held_out"]["n_systems"] < 10:
        yield f"- Figures over {metrics['held_out']['n_systems']} systems are little more than hints."
