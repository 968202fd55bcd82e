"""The official CLAP, LAION's ``music_audioset_epoch_15_esc_90.14.pt``: found, loaded safely, checked.

The MusicEval paper fine-tunes it. `core.official.prepare` fetches it once and keeps what a tower needs of it
in one folder under ``HF_HOME`` (`prepared_folder`): the weights as safetensors, a third of the original,
which also holds the state of its optimiser, and RoBERTa's two tokenizer files. `load_official` reads that
folder, or the original where it lies.

Nothing is parsed before its size and SHA-256 are right, and only tensors are read: of a pickle's other
contents just NumPy's numbers, which the original holds beside its weights. Loading is strict but for
``position_ids``, which transformers no longer stores.
"""

import json
import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from core.audio import MODEL_SAMPLE_RATE_HZ, WINDOW_SAMPLES
from core.clap import RECOMPUTED, ClapTower
from core.errors import CheckpointError, shown_name
from core.official.pinned import PinnedFile, in_hub_cache, verify
from core.settings import Settings

PREPARED_WEIGHTS = "tower.safetensors"
PREPARED_RECORD = "tower.json"  # written last: a folder without it is not whole
_POSITION_IDS = "text_branch.embeddings.position_ids"
_TOO_ALIKE = 0.99  # cosine; a port of this checkpoint with a dead text tower has 0.9993 between any prompts
_FRONT_END_TOLERANCE = 1e-3  # of kernels of order 1 and mel filters of order 0.02; rounding is 1e-7

# What NumPy's numbers are put together from; the file names the first by its place in NumPy 1.
_NUMPY_NUMBERS: tuple[Any, ...] = (
    (np.core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]
    np.dtype,
    np.dtypes.Float32DType,
    np.dtypes.Float64DType,
    np.dtypes.Int64DType,
)

_ROBERTA = ("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b")


@dataclass(frozen=True)
class Official:
    """What is fetched for a tower.

    Attributes
    ----------
    tower : str
        A key of `core.laion.SPECS`.
    weights : PinnedFile
        laion-clap's checkpoint.
    tokenizer : tuple of PinnedFile
        RoBERTa's vocabulary and merges.
    prepared_bytes : int
        About how much of the weights is kept.
    """

    tower: str
    weights: PinnedFile
    tokenizer: tuple[PinnedFile, ...]
    prepared_bytes: int


OFFICIAL = Official(
    tower="music-audioset",
    weights=PinnedFile(
        "lukewys/laion_clap",
        "b3708341862f581175dba5c356a4ebf74a9b6651",
        "music_audioset_epoch_15_esc_90.14.pt",
        2_352_471_003,
        "fae3e9c087f2909c28a09dc31c8dfcdacbc42ba44c70e972b58c1bd1caf6dedd",
    ),
    tokenizer=(
        PinnedFile(
            *_ROBERTA,
            "vocab.json",
            898_823,
            "9e7f63c2d15d666b52e21d250d2e513b87c9b713cfa6987a82ed89e5e6e50655",
        ),
        PinnedFile(
            *_ROBERTA,
            "merges.txt",
            456_318,
            "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        ),
    ),
    prepared_bytes=800_000_000,
)


def prepared_folder(official: Official = OFFICIAL) -> Path:
    """Where `core.official.prepare` keeps a tower: in the Hugging Face assets, so under ``HF_HOME``."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "musiceval" / official.tower


def find_official(settings: Settings, official: Official = OFFICIAL) -> Path:
    """Find the checkpoint on this machine; nothing is verified or fetched.

    Parameters
    ----------
    settings : Settings
        `clap_checkpoint` comes first, if set; then the prepared folder; then the hub's cache.
    official : Official

    Returns
    -------
    Path
        ``tower.safetensors`` of a prepared folder, or the original.

    Raises
    ------
    CheckpointError
        It is not there; the message says how large it is and how to get it.
    """
    named = settings.clap_checkpoint
    if named is not None:
        if not named.is_file():
            raise CheckpointError(
                f"MUSICEVAL_CLAP_CHECKPOINT names {shown_name(named.name)}, which is not there. "
                f"Give the path of {official.weights.name}."
            )
        return named
    if (prepared_folder(official) / PREPARED_RECORD).is_file():
        return prepared_folder(official) / PREPARED_WEIGHTS
    cached = in_hub_cache(official.weights)
    if cached is None:
        raise CheckpointError(
            f"The official CLAP ({official.weights.name}, {official.weights.shown_size}) is not on this "
            "machine. Fetch it with `python -m core fetch-clap`, or give a copy brought by hand: "
            "`python -m core fetch-clap --from FILE`. Its terms of use stand with its publisher, "
            f"{official.weights.repository} on huggingface.co."
        )
    return cached


def load_official(path: Path | None = None, official: Official = OFFICIAL) -> ClapTower:
    """Load and check the official tower, in eval mode; the global random state is left as it was.

    Parameters
    ----------
    path : Path, optional
        The original, or ``tower.safetensors`` of a prepared folder; by default what `find_official` finds
        with the settings of the environment.
    official : Official

    Raises
    ------
    CheckpointError
        A file is missing, not the pinned one, or holds more than tensors; the weights are not those of this
        tower; or the tower takes unrelated prompts or clips for the same.
    """
    path = path or find_official(Settings.from_environment(os.environ), official)
    tokenizer_folder = _find_tokenizer(path.parent, official)
    if path.suffix == ".safetensors":
        tower = ClapTower.restore(official.tower, _prepared_weights(path, official), tokenizer_folder)
    else:
        stored = _original_weights(path, official)
        learned = {key: value for key, value in stored.items() if not RECOMPUTED.search(key)}
        tower = ClapTower.restore(official.tower, learned, tokenizer_folder)
        _check_front_end(tower, stored)
    check_tower(tower)
    return tower


def check_tower(tower: ClapTower) -> None:
    """Check that a tower tells two unrelated prompts, and two unrelated clips, apart.

    Raises
    ------
    CheckpointError
        It does not.
    """
    seconds = np.arange(WINDOW_SAMPLES) / MODEL_SAMPLE_RATE_HZ
    chord = sum(np.sin(2 * np.pi * hertz * seconds) for hertz in (220.0, 277.2, 329.6)) / 10
    beats = np.random.default_rng(0).normal(0.0, 0.1, WINDOW_SAMPLES) * np.exp(-20 * (seconds % 0.25))
    with torch.inference_mode():
        pairs = {
            "prompts": tower.embed_text(["a slow solo piano ballad", "fast distorted heavy metal drums"]),
            "clips": tower.embed_audio(np.stack([chord, beats]).astype(np.float32)),
        }
    for what, (one, other) in pairs.items():
        cosine = float(functional.cosine_similarity(one, other, dim=0))
        if not cosine < _TOO_ALIKE:  # also where it is not a number
            raise CheckpointError(
                f"The tower takes two unrelated {what} for the same (cosine {cosine:.4f}). Its weights or "
                "its tokenizer do not fit this version of laion-clap, torch or transformers: install "
                "requirements.txt again."
            )


def _find_tokenizer(beside: Path, official: Official) -> Path:
    """Give the folder with the tokenizer: beside the weights, prepared, or in the hub's cache."""
    cached = in_hub_cache(official.tokenizer[0])
    for folder in (beside, prepared_folder(official), *([cached.parent] if cached else [])):
        files = [(folder / file.name, file) for file in official.tokenizer]
        if all(path.is_file() for path, _ in files):
            for path, file in files:
                verify(path, file)
            return folder
    names = " and ".join(file.name for file in official.tokenizer)
    raise CheckpointError(
        f"The official CLAP needs RoBERTa's {names}, which are not on this machine. Fetch them with "
        "`python -m core fetch-clap`, or lay them beside the checkpoint."
    )


def _original_weights(path: Path, official: Official) -> dict[str, Tensor]:
    verify(path, official.weights)
    try:
        with torch.serialization.safe_globals(list(_NUMPY_NUMBERS)):
            # Mapped: of a file that is mostly the optimiser's state, only the weights are read into memory.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{shown_name(path.name)} holds more than tensors, or is no checkpoint. It was not loaded."
        ) from error
    stored = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(stored, Mapping):
        stored = {}
    weights = {str(key).removeprefix("module."): value for key, value in stored.items()}
    weights.pop(_POSITION_IDS, None)
    if not weights or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{shown_name(path.name)} is not a checkpoint of laion-clap.")
    return weights


def _check_front_end(tower: ClapTower, stored: Mapping[str, Tensor]) -> None:
    """The fixed kernels that a checkpoint holds must be those that we compute from the configuration."""
    own = {key: value for key, value in tower.clap.state_dict().items() if RECOMPUTED.search(key)}
    theirs = {key for key in stored if RECOMPUTED.search(key)}
    if own.keys() != theirs or not all(
        own[key].shape == stored[key].shape
        and torch.allclose(own[key].float(), stored[key].float(), rtol=0, atol=_FRONT_END_TOLERANCE)
        for key in theirs
    ):
        raise CheckpointError(
            "The checkpoint was trained with another audio front end than this laion-clap computes. Install "
            "requirements.txt again."
        )


def _prepared_weights(path: Path, official: Official) -> dict[str, Tensor]:
    verify(path, prepared_pin(path.parent, official))
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CheckpointError(
            f"{shown_name(path.name)} is damaged. Give `python -m core fetch-clap`."
        ) from error


def prepared_pin(folder: Path, official: Official) -> PinnedFile:
    """Give what the prepared weights were when they were written.

    Raises
    ------
    CheckpointError
        There is no record, or they were not made from the original that is pinned now.
    """
    source = official.weights
    try:
        record = json.loads((folder / PREPARED_RECORD).read_text(encoding="utf-8"))
        if record["source_sha256"] != source.sha256:
            raise ValueError(record["source_sha256"])
        size_bytes, sha256 = int(record["size_bytes"]), str(record["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{shown_name(PREPARED_WEIGHTS)} has no {PREPARED_RECORD} beside it that fits. "
            "Give `python -m core fetch-clap`."
        ) from error
    return PinnedFile(source.repository, source.revision, PREPARED_WEIGHTS, size_bytes, sha256)
