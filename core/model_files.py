"""What a model's folder says of it, and its files by name. Weights: `core.checkpoint`; a run's: `core.training.folder`.

Nothing here needs torch, which takes seconds to import.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.audio import InputPolicy
from core.errors import CheckpointError, ScaleError, shown_name
from core.ranges import why_no_range
from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL, Scale, Scales, keys
from core.scores import CheckpointFacts, ErrorEstimate

EMBEDDED_JUDGE = Path(__file__).parent / "embedded_judge"
FORMAT = 1  # raised when a folder of an older program could no longer be read

CONFIG_FILE, METRICS_FILE, CARD_FILE = "config.json", "metrics.json", "README.md"
RUN_FILE, PROGRESS_FILE, LOG_FILE, STATE_FILE = "run.json", "progress.json", "log.csv", "state.pt"
PREDICTIONS_FILE, SPLIT_FILE = "predictions.csv", "split.csv"
CURVES_FILE, SCATTER_FILE = "curves.svg", "scatter.svg"
_ANY_CLIPS = "clips that the model was not trained on"  # of folders that do not say more
DEMO_CAVEAT = "trained on composed music and simulated raters"  # of folders that store no caveat


@dataclass(frozen=True)
class Described:
    """What the folder of a checkpoint says of it."""

    id: str
    sha256: str  # of ``config.json``, and through it of the weights
    demo: bool  # whether it was trained on simulated ratings
    # What was not real in its training, part of a sentence: "trained on simulated ratings"; empty if nothing. It
    # stands wherever a score of the model is shown.
    caveat: str
    policy: InputPolicy
    scales: Scales  # what it predicts
    error_estimate: ErrorEstimate | None  # None where nothing was measured: then scores have no intervals
    metrics: dict[str, Any]  # this and the next: the two JSON files, whole
    config: dict[str, Any]

    @property
    def is_embedded(self) -> bool:
        """Whether it is the demo model that comes with MusicEval, or one made as that was."""
        is_marked = bool(self.config.get("provenance", {}).get("embedded"))
        return self.demo and (is_marked or self.caveat == DEMO_CAVEAT)

    @property
    def facts(self) -> CheckpointFacts:
        """What names it beside its scores."""
        return CheckpointFacts(self.id, self.sha256, self.demo, self.caveat)


def describe(folder: Path) -> Described:
    """Read what a folder says; a CheckpointError where it is no model's, of another format, or damaged."""
    if not _is_file(folder / CONFIG_FILE):
        raise CheckpointError(
            f"{shown_folder(folder)} is not a model folder. "
            f"Give a folder that holds {CONFIG_FILE}, {METRICS_FILE} and model.safetensors."
        )
    config = read_object(folder / CONFIG_FILE)
    metrics = read_metrics(folder, config)
    try:
        if config["format"] != FORMAT:
            raise CheckpointError(
                f"The model folder has format {config['format']!r}; this version of MusicEval reads format "
                f"{FORMAT}. Update MusicEval or save the model again."
            )
        stored = config.get("scales")  # absent in folders of before: then MusicEval's
        scales = MUSICEVAL if stored is None else tuple(map(Scale.from_json, stored))
        demo = bool(config["demo"])
        return Described(
            id=str(config["id"]),
            sha256=hashlib.sha256(read_bytes(folder / CONFIG_FILE)).hexdigest(),
            demo=demo,
            caveat=str(config.get("caveat", DEMO_CAVEAT if demo else "")),
            policy=InputPolicy.from_json(config["input_policy"]),
            scales=scales,
            error_estimate=parse_error_estimate(metrics, scales),
            metrics=metrics,
            config=config,
        )
    except (KeyError, TypeError, AttributeError, ScaleError) as error:
        raise damaged(folder / CONFIG_FILE) from error


def damaged(path: Path) -> CheckpointError:
    """Make the error for a file of a checkpoint that is not what it was when saved."""
    return CheckpointError(
        f"{shown_name(path.name)} of the model folder {shown_folder(path.parent)} is damaged. "
        "Copy or download the folder again."
    )


def read_metrics(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``metrics.json``; a CheckpointError if it is missing, or not what ``config.json`` says it is."""
    path = folder / METRICS_FILE
    known = config.get("metrics_sha256")  # absent in folders of before
    if known is not None and hashlib.sha256(read_bytes(path)).hexdigest() != known:
        raise damaged(path)
    return read_object(path)


def read_bytes(path: Path) -> bytes:
    """Read a file of a model folder; a CheckpointError where that fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{shown_name(path.name)} of the model folder {shown_folder(path.parent)} is missing or cannot "
            "be read. Copy or download the folder again."
        ) from error


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object of a model folder; a CheckpointError where it is none."""
    try:
        content = json.loads(read_bytes(path))
    except ValueError as error:
        raise damaged(path) from error
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def shown_folder(folder: Path) -> str:
    """Return what messages call a model folder."""
    return shown_name(folder.name or str(folder))


def parse_error_estimate(metrics: Mapping[str, Any], scales: Scales) -> ErrorEstimate:
    """Read how far scores were from a panel's; a CheckpointError where that is missing, or cannot be."""
    try:
        held_out = metrics["held_out"]
        n_clips, n_systems = int(held_out["n_clips"]), int(held_out["n_systems"])
        level = _within(0.0, held_out["interval_level"], 1.0)
        stored = held_out["absolute_error_quantile"]
        no_range = str(held_out.get("no_range", ""))
        per_spread = held_out.get("spread_quantile")
        if short := why_no_range(n_clips, n_systems):  # folders of before have a range of however few clips
            stored, per_spread, no_range = None, None, no_range or short
        elif stored is None and not no_range:
            raise ValueError(f"there are {n_clips} clips and no error")
        if not 0 <= n_systems <= n_clips:
            raise ValueError(f"there are {n_systems} systems of {n_clips} clips")
        return ErrorEstimate(
            level,
            _ranges(stored or {}, scales, MAX_SCORE - MIN_SCORE),
            _ranges(per_spread or {}, scales, math.inf),
            n_clips,
            n_systems,
            str(held_out["data"]),
            str(held_out.get("which") or _ANY_CLIPS),
            no_range,
        )
    except (KeyError, TypeError, ValueError) as problem:
        raise CheckpointError(
            f"{METRICS_FILE} lacks the held-out error that scores are shown with, or it cannot be ({problem!r}). "
            "Copy the model folder again, or measure the model again."
        ) from problem


def _ranges(stored: Mapping[str, Any], scales: Scales, most: float) -> dict[str, float]:
    """Errors by scale; a scale on which no clip was rated that was held out has none."""
    found = {key: _within(0.0, stored[key], most) for key in keys(scales) if key in stored}
    if stored and not found:
        raise ValueError(f"there are errors of {', '.join(stored)} and none of {', '.join(keys(scales))}")
    return found


def _within(low: float, value: Any, high: float) -> float:
    number = float(value)
    if not (low <= number <= high and math.isfinite(number)):
        raise ValueError(f"{number} is not from {low:g} to {high:g}")
    return number


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system takes
        return False
