"""Judges by name: found, called something else, taken away and brought back, sent and received.

An archive of a judge is a ZIP of what its folder holds for a score and for people (`CARRIED`). What comes from
elsewhere is unpacked into a folder of its own and loaded whole, as every checkpoint is, before it gets a name; so its
hashes are right, its weights are tensors and its scales are known. Nothing that could hold code is taken.
"""

import gzip
import io
import re
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath

from core.batch.uploads import open_zip, unpack
from core.errors import CheckpointError, MusicEvalError, TrainingError, shown_name
from core.model_files import CONFIG_FILE
from core.training.about import About
from core.training.registry import ModelRegistry

CARRIED = re.compile(r"[\w-][\w.-]{0,99}\.(safetensors|json|txt|txt\.gz|md|csv|svg)")
NOT_CARRIED = frozenset({"order.json", "progress.json"})  # of the machine that trained it
MOST_FILES, MOST_FILE_BYTES, MOST_BYTES = 500, 100_000_000, 1_000_000_000  # of an archive, unpacked
_DELETED = ".deleted-judges"
_BLOCK_BYTES = 1_000_000


def describe(registry: ModelRegistry, name: str, title: str, note: str) -> None:
    """Say what a judge is called, and a note; a TrainingError where another has the title."""
    model, title = registry.model(name), " ".join(title.split())
    taken = {
        text.casefold() for other in registry.models() if other.name != name for text in (other.called, other.name)
    }
    if title.casefold() in taken:
        raise TrainingError(f"Another judge is called {shown_name(title)}. Choose another title.")
    title = "" if title == name else title
    replace(model.about, title=title, note=note.strip()).write(model.folder)


def offer(registry: ModelRegistry, name: str, offered: bool) -> None:
    """Let visitors choose a judge, or not."""
    model = registry.model(name)
    replace(model.about, offered=offered).write(model.folder)


def delete(registry: ModelRegistry, name: str) -> None:
    """Put a judge away; the one put away before is gone for good. A TrainingError for the one that judges."""
    model, kept = registry.model(name), registry.folder / _DELETED
    if registry.active() == name:
        raise TrainingError(f"{shown_name(model.called)} judges now. Use another judge first, then delete this one.")
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    model.folder.rename(kept / name)


def deleted(registry: ModelRegistry) -> str | None:
    """Return the name of the judge that was put away last, for `restore`."""
    return next((path.name for path in (registry.folder / _DELETED).glob("*")), None)


def restore(registry: ModelRegistry) -> str:
    """Bring back the judge that was put away last; a TrainingError if there is none."""
    name = deleted(registry)
    if name is None or (registry.folder / name).exists():
        raise TrainingError("There is no deleted judge that could be brought back.")
    (registry.folder / _DELETED / name).rename(registry.folder / name)
    return name


def carried(folder: Path) -> list[Path]:
    """Return the files of a judge that are sent."""
    return [path for path in sorted(folder.iterdir()) if path.is_file() and _is_carried(path.name)]


def _is_carried(name: str) -> bool:
    return bool(CARRIED.fullmatch(name)) and name not in NOT_CARRIED


def pack(folder: Path) -> Iterator[bytes]:
    """Yield the archive of a judge, block by block: it is nowhere whole."""
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:
        for path in carried(folder):
            entry = zipfile.ZipInfo.from_file(path, f"{folder.name}/{path.name}")
            with path.open("rb") as file, archive.open(entry, "w") as member:
                while block := file.read(_BLOCK_BYTES):
                    member.write(block)
                    yield sink.take()
            yield sink.take()
    yield sink.take()


class _Sink(io.RawIOBase):
    """What was written since it was last taken."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, block: object) -> int:
        given = bytes(block)  # type: ignore[call-overload]
        self._written += given
        return len(given)

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def receive(registry: ModelRegistry, file: Path) -> str:
    """Take a judge from an archive, verified whole; return its name.

    A DataError or CheckpointError where the archive is none, or the judge cannot be loaded.
    """
    registry.folder.mkdir(parents=True, exist_ok=True)
    unfinished = registry.folder / f".received-{secrets.token_hex(4)}"
    unfinished.mkdir()
    try:
        wanted = _unpack_judge(file, unfinished)
        identity = _verified(unfinished)
        replace(About.read(unfinished), uploaded=True, offered=False).write(unfinished)
        name = _free_name(registry, wanted or identity)
        about, names = About.read(unfinished), {model.called.casefold() for model in registry.models()}
        if about.title.casefold() in names:
            replace(about, title="").write(unfinished)
        unfinished.rename(registry.folder / name)
        return name
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _verified(folder: Path) -> str:
    """Load a judge, and forget it; return what it calls itself."""
    from core.checkpoint import load_checkpoint  # late: torch

    try:
        return load_checkpoint(folder).id
    except MusicEvalError:
        raise
    except Exception as error:  # whatever a file from elsewhere makes torch or a tokenizer raise
        raise CheckpointError("The judge in the archive cannot be loaded. Pack its folder again.") from error


def _unpack_judge(file: Path, folder: Path) -> str:
    """Write the files of the archive's one judge into a folder; return the name of its folder in the archive."""
    with ExitStack() as opened:
        archive = open_zip(file, opened)
        entries = {PurePosixPath(entry.filename): entry for entry in archive.infolist() if not entry.is_dir()}
        homes = {path.parent for path in entries if path.name == CONFIG_FILE}
        if len(homes) != 1:
            raise CheckpointError(f"{shown_name(file.name)} holds {len(homes)} judges. Pack the folder of one.")
        home = homes.pop()
        others = [path for path in entries if path.parent != home or not _is_carried(path.name)]
        if others:
            raise CheckpointError(
                f"{shown_name(file.name)} holds {shown_name(others[0].name)}, which is no part of a judge. Pack what "
                f"Download gives: weights as safetensors, {CONFIG_FILE}, lists of words, card and tables."
            )
        left = MOST_BYTES
        if len(entries) > MOST_FILES:
            raise CheckpointError(f"{shown_name(file.name)} holds more than {MOST_FILES} files.")
        for path, entry in entries.items():
            content = unpack(archive, entry, min(MOST_FILE_BYTES, left))
            left -= len(content)
            if path.suffix == ".gz":
                _check_unpacked(content, path.name)
            (folder / path.name).write_bytes(content)
    return home.name


def _check_unpacked(content: bytes, name: str) -> None:
    """Refuse a list that unpacks to far more than any tokenizer has."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            too_much = len(file.read(MOST_FILE_BYTES + 1)) > MOST_FILE_BYTES
    except (OSError, EOFError, zlib.error) as error:
        raise CheckpointError(f"{shown_name(name)} of the archive is damaged. Pack the folder again.") from error
    if too_much:
        raise CheckpointError(f"{shown_name(name)} of the archive unpacks to too much.")


def _free_name(registry: ModelRegistry, wanted: str) -> str:
    """Return a folder's name like the one that is wanted, which none has."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-_")[:56] or "judge"
    names = [plain, *(f"{plain}-{number}" for number in range(2, 1_000))]
    return next(name for name in names if not (registry.folder / name).exists())
