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
from core.errors import CheckpointError, shown_name
from core.files import json_text, sha256_of, write_atomically
from core.heads import Heads, SequenceHeads, SequenceParts
from core.model_files import (
    CARD_FILE,
    CONFIG_FILE,
    DEMO_CAVEAT,
    FORMAT,
    METRICS_FILE,
    Described,
    damaged,
    describe,
    parse_error_estimate,
    read_bytes,
    shown_folder,
)
from core.scales import Scales
from core.towers import Tower, restore_tower

MAX_SHARD_SIZE = "9MB"  # code hosts take files up to 10 MB without large-file storage

_WEIGHT_FILES = "model*.safetensors"


@dataclass(frozen=True)
class Checkpoint(Described):
    """A loaded checkpoint, in eval mode and float32: what its folder says of it, and its weights."""

    tower: Tower
    heads: Heads


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

    parse_error_estimate(metrics, heads.scales)
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
        "caveat": caveat or (DEMO_CAVEAT if demo else ""),
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
    described = describe(folder)
    config = described.config
    try:
        weights = _read_weights(folder, config["weights_sha256"])
        tower = restore_tower(str(config["tower"]), _part(weights, "tower."), folder)
        heads = _restore_heads(tower, described.scales, config, _part(weights, "heads."), folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / CONFIG_FILE) from error
    return Checkpoint(**vars(described), tower=tower, heads=heads)


def _named_weights(tower: Tower, heads: Heads, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    for part, state in (("tower", tower.weights()), ("heads", heads.state_dict())):
        for key, value in state.items():
            stored = value.to(dtype) if value.is_floating_point() else value
            yield f"{part}.{key}", stored.detach().cpu().contiguous()


def _read_weights(folder: Path, weights_sha256: Mapping[str, str]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, sha256 in weights_sha256.items():
        path = folder / Path(name).name
        data = read_bytes(path)
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
            f"The weights in the model folder {shown_folder(folder)} do not fit its heads. "
            "Use a model folder that this version of MusicEval has saved."
        ) from error
    return heads.float().eval().requires_grad_(False)


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
