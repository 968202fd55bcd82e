"""Checkpoints: one folder with everything that a score depends on.

    config.json          identity, tower, input policy, scales, provenance, SHA-256 of every weight file
    model*.safetensors   weights of tower and heads (in shards with an index where they are large)
    metrics.json         what was measured on held-out data; scoring takes its intervals from it
    README.md            the model card
    vocab.json, merges.txt    or whatever the tower's tokenizer reads

``config.json`` is written last, so a folder that is not whole does not load. A folder that training made has
more files (`core.training.folder`); none of them is read for a score.

The SHA-256 of ``config.json`` names the checkpoint: it covers the weights and ``metrics.json`` through their
hashes; folders from before `metrics_sha256` load as they are. Weights may be stored in float16; they are
always computed with in float32. Files are verified before they are parsed, and safetensors holds tensors
only, so a folder from elsewhere cannot run code.

``config.json`` says what kind the heads are (`core.heads`): ``activation`` of the paper's, or the ``parts`` of
heads over sequences. Folders from before there was a choice hold the paper's.
"""

import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from core.audio import InputPolicy
from core.errors import CheckpointError, ScaleError, shown_name
from core.files import json_text, sha256_of, write_atomically
from core.heads import Heads, SequenceHeads, SequenceParts
from core.ranges import why_no_range
from core.scales import MAX_SCORE, MIN_SCORE, MUSICEVAL, Scale, Scales, keys
from core.towers import Tower, restore_tower

FORMAT = 1  # raised when a folder of an older program could no longer be read
MAX_SHARD_SIZE = "9MB"  # code hosts take files up to 10 MB without large-file storage

CONFIG_FILE, METRICS_FILE, CARD_FILE = "config.json", "metrics.json", "README.md"
RUN_FILE, PROGRESS_FILE, LOG_FILE, STATE_FILE = "run.json", "progress.json", "log.csv", "state.pt"
PREDICTIONS_FILE, SPLIT_FILE = "predictions.csv", "split.csv"
CURVES_FILE, SCATTER_FILE = "curves.svg", "scatter.svg"
_WEIGHT_FILES = "model*.safetensors"
_ANY_CLIPS = "clips that the model was not trained on"  # of folders that do not say more
_DEMO_CAVEAT = "trained on composed music and simulated raters"  # of folders that store no caveat


@dataclass(frozen=True)
class ErrorEstimate:
    """How far a checkpoint's scores were from the panel's on clips it was not trained on."""

    level: float  # share of these clips whose error was at most `absolute_error`, between 0 and 1
    absolute_error: Mapping[str, float]  # by scale that they were rated on; empty where they were too few to say
    error_per_spread: Mapping[str, float]  # the same as a multiple of `Heads.spread`; empty where heads have none
    n_clips: int
    n_systems: int
    data: str  # what the clips and ratings were, in words
    which: str  # which clips these were, in words: what of them the model was not trained on
    no_range: str  # why `absolute_error` is empty


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint, in eval mode and float32."""

    id: str
    sha256: str  # of ``config.json``, and through it of the weights
    demo: bool  # whether it was trained on simulated ratings
    # What was not real in its training, part of a sentence: "trained on simulated ratings"; empty if nothing. It
    # stands wherever a score of the model is shown.
    caveat: str
    tower: Tower
    heads: Heads
    policy: InputPolicy
    error_estimate: ErrorEstimate | None  # None where nothing was measured: then scores have no intervals
    metrics: dict[str, Any]  # this and the next: the two JSON files, whole
    config: dict[str, Any]

    @property
    def is_embedded(self) -> bool:
        """Whether it is the demo model that comes with MusicEval, or one made as that was."""
        is_marked = bool(self.config.get("provenance", {}).get("embedded"))
        return self.demo and (is_marked or self.caveat == _DEMO_CAVEAT)

    @property
    def scales(self) -> Scales:
        """What it predicts."""
        return self.heads.scales


def save_checkpoint(
    folder: Path,
    *,
    checkpoint_id: str,
    tower: Tower,
    heads: Heads,
    policy: InputPolicy,
    metrics: Mapping[str, Any],
    model_card: str,
    demo: bool,
    provenance: Mapping[str, Any],
    caveat: str = "",
    dtype: torch.dtype = torch.float32,
    max_shard_size: str = MAX_SHARD_SIZE,
) -> None:
    """Write a checkpoint folder; files of an earlier checkpoint in it are replaced.

    `checkpoint_id` is a short name, shown with every score, `model_card` Markdown; `provenance` says how the checkpoint
    came to be: data, seed, recipe. `metrics` must hold ``held_out`` with what `ErrorEstimate` has (``level`` as
    ``interval_level``, ``absolute_error`` as ``absolute_error_quantile``, null where there is ``no_range``, and
    ``error_per_spread`` as ``spread_quantile``), else CheckpointError.
    """
    from huggingface_hub import save_torch_state_dict  # nobody who scores needs it

    _parse_error_estimate(metrics, heads.scales)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    save_torch_state_dict(dict(_named_weights(tower, heads, dtype)), folder, max_shard_size=max_shard_size)
    for path in tower.tokenizer_files():
        if path.parent.resolve() != folder.resolve():
            shutil.copyfile(path, folder / path.name)
    write_atomically(folder / METRICS_FILE, json_text(metrics))
    write_atomically(folder / CARD_FILE, model_card)
    config = {
        "format": FORMAT,
        "id": checkpoint_id,
        "demo": demo,
        "caveat": caveat or (_DEMO_CAVEAT if demo else ""),
        "tower": tower.name,
        "input_policy": asdict(policy),
        "scales": [scale.to_json() for scale in heads.scales],
        **_described(heads),
        "stored_as": str(dtype).removeprefix("torch."),
        "provenance": dict(provenance),
        "weights_sha256": {path.name: sha256_of(path) for path in sorted(folder.glob(_WEIGHT_FILES))},
        "metrics_sha256": sha256_of(folder / METRICS_FILE),
    }
    write_atomically(folder / CONFIG_FILE, json_text(config))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load and verify a checkpoint folder. The global random state is left as it was.

    Parameters
    ----------
    folder : Path
        That `save_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        If the folder is missing or no checkpoint, or a file of it is missing or damaged (the message names
        it).
    """
    if not _is_file(folder / CONFIG_FILE):
        raise CheckpointError(
            f"{_shown_folder(folder)} is not a model folder. "
            f"Give a folder that holds {CONFIG_FILE}, {METRICS_FILE} and model.safetensors."
        )
    config = _read_json(folder / CONFIG_FILE)
    metrics = read_metrics(folder, config)
    try:
        if config["format"] != FORMAT:
            raise CheckpointError(
                f"The model folder has format {config['format']!r}; this version of MusicEval reads format "
                f"{FORMAT}. Update MusicEval or save the model again."
            )
        stored = config.get("scales")  # absent in folders of before: then MusicEval's
        scales = MUSICEVAL if stored is None else tuple(map(Scale.from_json, stored))
        weights = _read_weights(folder, config["weights_sha256"])
        tower = restore_tower(str(config["tower"]), _part(weights, "tower."), folder)
        demo = bool(config["demo"])
        return Checkpoint(
            id=str(config["id"]),
            sha256=hashlib.sha256(_read(folder / CONFIG_FILE)).hexdigest(),
            demo=demo,
            caveat=str(config.get("caveat", _DEMO_CAVEAT if demo else "")),
            policy=InputPolicy.from_json(config["input_policy"]),
            error_estimate=_parse_error_estimate(metrics, scales),
            tower=tower,
            heads=_restore_heads(tower, scales, config, _part(weights, "heads."), folder),
            metrics=metrics,
            config=config,
        )
    except (KeyError, TypeError, AttributeError, ScaleError) as error:
        raise damaged(folder / CONFIG_FILE) from error


def damaged(path: Path) -> CheckpointError:
    """Make the error for a file of a checkpoint that is not what it was when saved."""
    return CheckpointError(
        f"{shown_name(path.name)} of the model folder {_shown_folder(path.parent)} is damaged. "
        "Copy or download the folder again."
    )


def read_metrics(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``metrics.json``; a CheckpointError if it is missing, or not what ``config.json`` says it is."""
    path = folder / METRICS_FILE
    known = config.get("metrics_sha256")  # absent in folders of before
    if known is not None and hashlib.sha256(_read(path)).hexdigest() != known:
        raise damaged(path)
    return _read_json(path)


def _parse_error_estimate(metrics: Mapping[str, Any], scales: Scales) -> ErrorEstimate:
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


def _named_weights(tower: Tower, heads: Heads, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    for part, state in (("tower", tower.weights()), ("heads", heads.state_dict())):
        for key, value in state.items():
            stored = value.to(dtype) if value.is_floating_point() else value
            yield f"{part}.{key}", stored.detach().cpu().contiguous()


def _read_weights(folder: Path, weights_sha256: Mapping[str, str]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, sha256 in weights_sha256.items():
        path = folder / Path(name).name
        data = _read(path)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise damaged(path)
        try:
            shard = safetensors.torch.load(data)
        except SafetensorError as error:
            raise damaged(path) from error
        if not all(bool(tensor.isfinite().all()) for tensor in shard.values()):
            raise CheckpointError(f"{shown_name(name)} holds weights that are not finite. Train the model again.")
        weights.update(shard)
    return weights


def _described(heads: Heads) -> dict[str, Any]:
    """What ``config.json`` says of heads."""
    if isinstance(heads, SequenceHeads):
        return {"heads": "sequence", "parts": asdict(heads.parts)}
    return {"heads": "windows", "activation": heads.activation}


def _new_heads(tower: Tower, scales: Scales, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Heads:
    if "parts" in config:
        known = min(len(weights["frame_centre"]), tower.sequence_dim)  # less than the tower says now, perhaps
        return SequenceHeads(tower.dim, known, scales, SequenceParts(**config["parts"]))
    return Heads(tower.dim, scales, config.get("activation", "relu"))  # folders of before do not say


def _restore_heads(
    tower: Tower, scales: Scales, config: Mapping[str, Any], weights: Mapping[str, Tensor], folder: Path
) -> Heads:
    try:
        with torch.device("meta"):  # draws no random weights
            heads = _new_heads(tower, scales, config, weights)
        heads.load_state_dict(weights, assign=True)
    except (RuntimeError, KeyError) as error:
        raise CheckpointError(
            f"The weights in the model folder {_shown_folder(folder)} do not fit its heads. "
            "Use a model folder that this version of MusicEval has saved."
        ) from error
    return heads.float().eval().requires_grad_(False)


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{shown_name(path.name)} of the model folder {_shown_folder(path.parent)} is missing or cannot "
            "be read. Copy or download the folder again."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise damaged(path) from error
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system takes
        return False


def _shown_folder(folder: Path) -> str:
    return shown_name(folder.name or str(folder))
