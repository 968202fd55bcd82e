"""The official CLAP, LAION's ``music_audioset_epoch_15_esc_90.14.pt``: fetched once, loaded safely, checked.

The MusicEval paper fine-tunes it. What a tower needs of it is kept in one folder under ``HF_HOME``
(`prepared_folder`): ``tower.safetensors``, a third of the original, which also holds the state of its
optimiser; ``tower.json`` with the SHA-256 of that; and RoBERTa's ``vocab.json`` and ``merges.txt``.
`load_official` reads that folder, or the original where it lies. An original that was fetched is removed
when the folder is whole; one in the hub's cache or brought by hand stays where it is.

Nothing is parsed before its size and SHA-256 are right, and only tensors are read: of a pickle's other
contents just NumPy's numbers, which the original holds beside its weights. Loading is strict but for
``position_ids``, which transformers no longer stores.

Files come from the Hugging Face hub, as `core.pinned` fetches them.
"""

import contextlib
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.nn import functional

from core.audio import MODEL_SAMPLE_RATE_HZ, WINDOW_SAMPLES
from core.errors import CheckpointError, shown_name
from core.files import sha256_of, write_atomically
from core.pinned import (
    OFFICIAL,
    PREPARED_RECORD,
    PREPARED_WEIGHTS,
    Official,
    PinnedFile,
    check_free_space,
    download,
    find_official,
    in_hub_cache,
    missing_bytes,
    prepared_folder,
    verify,
)
from core.settings import Settings
from core.towers import Tower
from core.towers.clap import RECOMPUTED, ClapTower

_BY_HAND = "Or bring a copy by hand: `python -m core fetch-clap --from FILE`."
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


def load_official(path: Path | None = None, official: Official = OFFICIAL) -> ClapTower:
    """Load and check the official tower, in eval mode; the global random state is left as it was.

    `path` is the original, or ``tower.safetensors`` of a prepared folder; by default what `find_official`
    finds. CheckpointError where a file is missing, not the pinned one, or holds more than tensors; where the
    weights are not those of this tower; and where it takes unrelated prompts or clips for the same.
    """
    path = path or find_official(Settings.from_environment(), official)
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


def check_tower(tower: Tower) -> None:
    """Raise CheckpointError where a tower takes two unrelated prompts, or clips, for the same."""
    seconds = np.arange(WINDOW_SAMPLES) / MODEL_SAMPLE_RATE_HZ
    chord = sum(np.sin(2 * np.pi * hertz * seconds) for hertz in (220.0, 277.2, 329.6)) / 10
    beats = np.random.default_rng(0).normal(0.0, 0.1, WINDOW_SAMPLES) * np.exp(-20 * (seconds % 0.25))
    with torch.inference_mode():
        pairs = {
            "prompts": tower.embed_text(["a slow solo piano ballad", "fast distorted heavy metal drums"]),
            "clips": tower.embed_features(tower.features(np.stack([chord, beats]).astype(np.float32))),
        }
    for what, (one, other) in pairs.items():
        cosine = float(functional.cosine_similarity(one, other, dim=0))
        if not cosine < _TOO_ALIKE:  # also where it is not a number
            raise CheckpointError(
                f"The tower takes two unrelated {what} for the same (cosine {cosine:.4f}). Its weights or "
                "its tokenizer do not fit this version of laion-clap, torch or transformers: install "
                "requirements.txt again."
            )


def fetch_official(official: Official, source: Path | None, report: Callable[[str], None]) -> Path:
    """Fetch what is missing of the official tower, verify it, and return ``tower.safetensors`` of it.

    `source` is a copy of the original brought by hand, which is then not fetched; tokenizer files beside it
    are used. `report` is called with a sentence about each step.
    """
    folder = prepared_folder(official)
    prepared = folder / PREPARED_WEIGHTS
    with alone(folder, report):
        if _is_whole(folder, official):
            report(f"The official CLAP is there and whole: {prepared}")
            return prepared
        found = source or in_hub_cache(official.weights)
        to_fetch_bytes = 0 if found else missing_bytes(official.weights, folder)
        check_free_space(folder, to_fetch_bytes + official.prepared_bytes)
        for file in official.tokenizer:
            _keep(file, folder, source)
        if found is None:
            report(f"Fetching {official.weights.name}, {official.weights.shown_size}.")
            found = download(official.weights, folder, otherwise=_BY_HAND)
        report(f"Loading and checking {found.name}.")
        _prepare(load_official(found, official), folder, official)
        (folder / official.weights.name).unlink(missing_ok=True)
        report(f"The official CLAP is ready: {prepared}")
    return prepared


@contextlib.contextmanager
def alone(folder: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Keep other fetches out: two at once would write into the same part."""
    lock = filelock.FileLock(folder / "fetch.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            report("Another process is fetching it; waiting for that.")
            lock.acquire()
    except OSError as error:
        raise CheckpointError(
            f"Nothing can be written to {shown_name(folder.name)} under HF_HOME ({error.strerror}). "
            "Name a folder that you may write to with HF_HOME."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _is_whole(folder: Path, official: Official) -> bool:
    with contextlib.suppress(CheckpointError):  # what does not fit is made again
        for file in (*official.tokenizer, _prepared_pin(folder, official)):
            verify(folder / file.name, file)
        return True
    return False


def _keep(file: PinnedFile, folder: Path, source: Path | None) -> None:
    """Have a tokenizer file in the folder: already, from beside a source, the hub's cache, or the hub."""
    kept = folder / file.name
    with contextlib.suppress(CheckpointError):
        verify(kept, file)
        return
    beside = source.parent / file.name if source else None
    found = beside if beside and beside.is_file() else in_hub_cache(file)
    if found is None:
        download(file, folder, otherwise=f"Or lay {file.name} beside the checkpoint. {_BY_HAND}")
    else:
        verify(found, file)
        shutil.copyfile(found, kept)


def _prepare(tower: ClapTower, folder: Path, official: Official) -> None:
    """Write the weights, then the record that makes them count."""
    record, weights = folder / PREPARED_RECORD, folder / PREPARED_WEIGHTS
    learned = {key: value.contiguous() for key, value in tower.weights().items()}
    try:
        record.unlink(missing_ok=True)
        safetensors.torch.save_file(learned, weights)
        content = {
            "source_sha256": official.weights.sha256,
            "size_bytes": weights.stat().st_size,
            "sha256": sha256_of(weights),
        }
        write_atomically(record, json.dumps(content, indent=2) + "\n")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{PREPARED_WEIGHTS} could not be written under HF_HOME ({error}). Make room there, or name a "
            "folder on another disk with HF_HOME."
        ) from error


def _find_tokenizer(beside: Path, official: Official) -> Path:
    """Return the folder with the tokenizer: beside the weights, prepared, or in the hub's cache."""
    cached = in_hub_cache(official.tokenizer[0])
    for folder in (beside, prepared_folder(official), *([cached.parent] if cached else [])):
        if all((folder / file.name).is_file() for file in official.tokenizer):
            for file in official.tokenizer:
                verify(folder / file.name, file)
            return folder
    raise CheckpointError(
        "The official CLAP needs RoBERTa's vocab.json and merges.txt, which are not on this machine. Fetch "
        "them with `python -m core fetch-clap`, or lay them beside the checkpoint."
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
    verify(path, _prepared_pin(path.parent, official))
    try:
        return safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{shown_name(path.name)} is damaged. Give `python -m core fetch-clap`.") from error


def _prepared_pin(folder: Path, official: Official) -> PinnedFile:
    """Return what the prepared weights were when they were written, from the original that is pinned now."""
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
