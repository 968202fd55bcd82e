"""Fetches the official CLAP, verifies it, and keeps what a tower needs of it in one folder, ready to load.

The folder (`core.official.tower.prepared_folder`) holds ``tower.safetensors``, a third of the original,
``tower.json`` with its SHA-256, and RoBERTa's ``vocab.json`` and ``merges.txt``. An original that was fetched
is removed when the folder is whole; one in the hub's cache or brought by hand stays where it is.
"""

import fcntl
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError

from core.clap import ClapTower
from core.errors import CheckpointError, shown_name
from core.file_reading import sha256_of
from core.official.pinned import (
    PinnedFile,
    check_free_space,
    download,
    in_hub_cache,
    missing_bytes,
    verify,
)
from core.official.tower import (
    PREPARED_RECORD,
    PREPARED_WEIGHTS,
    Official,
    load_official,
    prepared_folder,
    prepared_pin,
)

_BY_HAND = "Or bring a copy by hand: `python -m core fetch-clap --from FILE`."


def fetch_official(official: Official, source: Path | None, tell: Callable[[str], None]) -> Path:
    """Fetch what is missing of the official tower, verify it, and keep it prepared.

    Parameters
    ----------
    official : Official
    source : Path or None
        A copy of the original brought by hand, which is then not fetched. Tokenizer files beside it are used.
    tell : callable
        Called with a sentence about each step.

    Returns
    -------
    Path
        ``tower.safetensors``, for `core.official.tower.load_official`.

    Raises
    ------
    CheckpointError
        As `core.official.pinned.download`, `core.official.pinned.verify` and
        `core.official.tower.load_official`.
    """
    folder = prepared_folder(official)
    prepared, original = folder / PREPARED_WEIGHTS, folder / official.weights.name
    with _alone(folder, tell):
        if _is_whole(folder, official):
            tell(f"The official CLAP is there and whole: {prepared}")
            return prepared
        found = source or in_hub_cache(official.weights)
        to_fetch_bytes = 0 if found else missing_bytes(official.weights, folder)
        check_free_space(folder, to_fetch_bytes + official.prepared_bytes)
        for file in official.tokenizer:
            _keep(file, folder, source)
        if found is None:
            tell(f"Fetching {official.weights.name}, {official.weights.shown_size}.")
            found = download(official.weights, folder, otherwise=_BY_HAND)
        tell(f"Loading and checking {found.name}.")
        _prepare(load_official(found, official), folder, official)
        original.unlink(missing_ok=True)
        tell(f"The official CLAP is ready: {prepared}")
    return prepared


@contextmanager
def _alone(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Keep other fetches out: two at once would write into the same part."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        turn = (folder / "fetch.lock").open("w")
    except OSError as error:
        raise CheckpointError(
            f"Nothing can be written to {shown_name(folder.name)} under HF_HOME ({error.strerror}). "
            "Name a folder that you may write to with HF_HOME."
        ) from error
    with turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Another process is fetching it; waiting for that.")
            fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def _is_whole(folder: Path, official: Official) -> bool:
    try:
        weights = prepared_pin(folder, official)
    except CheckpointError:  # no record, or one that does not fit: made again
        return False
    return all(_fits(folder / file.name, file) for file in (*official.tokenizer, weights))


def _fits(path: Path, file: PinnedFile) -> bool:
    try:
        verify(path, file)
    except CheckpointError:
        return False
    return True


def _keep(file: PinnedFile, folder: Path, source: Path | None) -> None:
    """Have a tokenizer file in the folder: already, from beside a source, the hub's cache, or the hub."""
    kept = folder / file.name
    if _fits(kept, file):
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
        record.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{PREPARED_WEIGHTS} could not be written under HF_HOME ({error}). Make room there, or name a "
            "folder on another disk with HF_HOME."
        ) from error
