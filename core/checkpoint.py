"""Checkpoints: one folder with everything that a score depends on.

    config.json          identity, tower, input policy, provenance, SHA-256 of every weight file
    model*.safetensors   weights of tower and heads (in shards with an index where they are large)
    metrics.json         what was measured on held-out data; scoring takes its intervals from it
    README.md            the model card
    vocab.json, merges.txt    RoBERTa's tokenizer, where the tower reads prompts with it

``config.json`` is written last, so a folder that is not whole does not load. A folder that training made has
more files (`core.training.run_folder`); none of them is read for a score.

The SHA-256 of ``config.json`` names the checkpoint: it covers the weights through their hashes. Weights may
be stored in float16; they are always computed with in float32. Files are verified before they are parsed,
and safetensors holds tensors only, so a folder from elsewhere cannot run code.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError
from torch import Tensor

from core.audio import InputPolicy
from core.clap import ClapTower
from core.errors import CheckpointError, shown_name
from core.file_reading import sha256_of
from core.heads import Heads
from core.held_out import METRICS_FILE as METRICS_FILE  # one of the folder's files, like those below
from core.held_out import HeldOut, parse_held_out

FORMAT = 1  # raised when a folder of an older program could no longer be read
MAX_SHARD_SIZE = "9MB"  # code hosts take files up to 10 MB without large-file storage
CONFIG_FILE = "config.json"
CARD_FILE = "README.md"
_WEIGHT_FILES = "model*.safetensors"
_DEMO_CAVEAT = "trained on composed music and simulated raters"  # of folders that store no caveat


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint, in eval mode and float32.

    Attributes
    ----------
    id : str
    sha256 : str
        Of ``config.json``, and through it of the weights.
    demo : bool
        Whether it was trained on simulated ratings.
    caveat : str
        What was not real in its training, part of a sentence: "trained on simulated ratings"; empty if
        nothing. It stands wherever a score of the model is shown.
    tower, heads : ClapTower, Heads
    policy : InputPolicy
    held_out : HeldOut or None
        None where nothing was measured: then scores have no intervals.
    metrics, config : dict
        The two JSON files, whole.
    """

    id: str
    sha256: str
    demo: bool
    caveat: str
    tower: ClapTower
    heads: Heads
    policy: InputPolicy
    held_out: HeldOut | None
    metrics: dict[str, Any]
    config: dict[str, Any]


def save_checkpoint(
    folder: Path,
    *,
    checkpoint_id: str,
    tower: ClapTower,
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

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    checkpoint_id : str
        A short name, shown with every score.
    tower, heads : ClapTower, Heads
    policy : InputPolicy
        What the training clips were like.
    metrics : mapping
        Must hold ``held_out`` as :class:`HeldOut` describes it (``interval_level`` and
        ``absolute_error_quantile`` in the file).
    model_card : str
        Markdown.
    demo : bool
    provenance : mapping
        How the checkpoint came to be: data, seed, recipe.
    caveat : str
        See :class:`Checkpoint`.
    dtype : torch.dtype
        How floating-point weights are stored.
    max_shard_size : str
        Of a weight file.

    Raises
    ------
    CheckpointError
        If `metrics` lacks what scoring needs.
    """
    parse_held_out(metrics)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).unlink(missing_ok=True)
    weights = dict(_named_weights(tower, heads, dtype))
    save_torch_state_dict(weights, folder, max_shard_size=max_shard_size)
    for path in tower.tokenizer_files():
        shutil.copyfile(path, folder / path.name)
    config = {
        "format": FORMAT,
        "id": checkpoint_id,
        "demo": demo,
        "caveat": caveat or (_DEMO_CAVEAT if demo else ""),
        "tower": tower.spec.name,
        "input_policy": asdict(policy),
        "stored_as": str(dtype).removeprefix("torch."),
        "provenance": dict(provenance),
        "weights_sha256": {path.name: sha256_of(path) for path in sorted(folder.glob(_WEIGHT_FILES))},
    }
    _write_json(folder / METRICS_FILE, metrics)
    (folder / CARD_FILE).write_text(model_card, encoding="utf-8")
    _write_json(folder / CONFIG_FILE, config)


def load_checkpoint(folder: Path) -> Checkpoint:
    """Load and verify a checkpoint folder. The global random state is left as it was.

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
    config, metrics = _read_json(folder / CONFIG_FILE), _read_json(folder / METRICS_FILE)
    try:
        _check_format(config["format"])
        policy, held_out = InputPolicy(**config["input_policy"]), parse_held_out(metrics)
        weights = _read_weights(folder, config["weights_sha256"])
        tower, heads = _build(str(config["tower"]), folder, weights)
        identity, demo = str(config["id"]), bool(config["demo"])
        caveat = str(config.get("caveat", _DEMO_CAVEAT if demo else ""))
    except (KeyError, TypeError, AttributeError) as error:
        raise damaged(folder / CONFIG_FILE) from error
    sha256 = hashlib.sha256(_read(folder / CONFIG_FILE)).hexdigest()
    return Checkpoint(identity, sha256, demo, caveat, tower, heads, policy, held_out, metrics, config)


def damaged(path: Path) -> CheckpointError:
    """Make the error for a file of a checkpoint that is not what it was when saved."""
    return CheckpointError(
        f"{shown_name(path.name)} of the model folder {_shown_folder(path.parent)} is damaged. "
        "Copy or download the folder again."
    )


def _named_weights(tower: ClapTower, heads: Heads, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
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
            raise CheckpointError(
                f"{shown_name(name)} holds weights that are not finite. Train the model again."
            )
        weights.update(shard)
    return weights


def _build(tower_name: str, folder: Path, weights: Mapping[str, Tensor]) -> tuple[ClapTower, Heads]:
    tower = ClapTower.restore(tower_name, _part(weights, "tower."), tokenizer_folder=folder)
    with torch.device("meta"):  # draws no random weights
        heads = Heads(tower.dim)
    try:
        heads.load_state_dict(_part(weights, "heads."), assign=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights in the model folder {_shown_folder(folder)} do not fit its heads. "
            "Use a model folder that this version of MusicEval has saved."
        ) from error
    return tower.eval().requires_grad_(False), heads.float().eval().requires_grad_(False)


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}


def _check_format(given: object) -> None:
    if given != FORMAT:
        raise CheckpointError(
            f"The model folder has format {given!r}; this version of MusicEval reads format {FORMAT}. "
            "Update MusicEval or save the model again."
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{shown_name(path.name)} of the model folder {_shown_folder(path.parent)} is missing or cannot "
            "be read. Copy or download the folder again."
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file system takes
        return False


def _shown_folder(folder: Path) -> str:
    return shown_name(folder.name or str(folder))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(_read(path))
    except ValueError as error:
        raise damaged(path) from error
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text + "\n", encoding="utf-8")
    unfinished.replace(path)
