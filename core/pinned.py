"""Files of the hub that are fetched once: each of one revision, its size and SHA-256 known, whole or not there.

``HF_ENDPOINT`` and proxies hold as usual; under ``HF_HUB_OFFLINE`` nothing is fetched. While a file is fetched its
name ends in ``.part``; it gets its own name only after size and hash were checked. The download is ours because
``hf_hub_download`` throws a cut one away, and the official CLAP is 2.4 GB: the ``.part`` stays, also when the process
is killed, and the next call goes on.
"""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import CheckpointError, shown_name
from core.files import sha256_of
from core.settings import Settings

PREPARED_WEIGHTS = "tower.safetensors"
PREPARED_RECORD = "tower.json"  # written last: a folder without it is not whole


@dataclass(frozen=True)
class PinnedFile:
    """One file of a repository on the hub, at one revision; the hash is hexadecimal, or empty: not known yet."""

    repository: str
    revision: str
    name: str
    size_bytes: int
    sha256: str

    @property
    def shown_size(self) -> str:
        """The size in words, for messages."""
        return show_size(self.size_bytes)

    @property
    def local_name(self) -> str:
        """The name without the repository's folders."""
        return Path(self.name).name


@dataclass(frozen=True)
class Official:
    """What is fetched for a tower."""

    tower: str  # a key of `core.towers.clap.SPECS`
    weights: PinnedFile  # laion-clap's checkpoint
    tokenizer: tuple[PinnedFile, ...]  # RoBERTa's vocabulary and merges
    prepared_bytes: int  # about how much of the weights is kept


_ROBERTA = ("FacebookAI/roberta-base", "e2da8e2f811d1448a5b465c236feacd80ffbac7b")
_VOCABULARY_SHA256 = "9e7f63c2d15d666b52e21d250d2e513b87c9b713cfa6987a82ed89e5e6e50655"
_MERGES_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
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
        PinnedFile(*_ROBERTA, "vocab.json", 898_823, _VOCABULARY_SHA256),
        PinnedFile(*_ROBERTA, "merges.txt", 456_318, _MERGES_SHA256),
    ),
    prepared_bytes=800_000_000,
)


def prepared_folder(official: Official = OFFICIAL) -> Path:
    """Return where a tower is kept: in the Hugging Face assets, so under ``HF_HOME``."""
    from huggingface_hub import constants

    return Path(constants.HF_ASSETS_CACHE) / "musiceval" / official.tower


def find_official(settings: Settings, official: Official = OFFICIAL) -> Path:
    """Find the checkpoint on this machine; nothing is verified or fetched.

    The setting `clap_checkpoint` comes first, then the prepared folder, then the original in the hub's cache.
    CheckpointError where it is nowhere; the message says how large it is and how to get it.
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


def verify(path: Path, pinned: PinnedFile) -> None:
    """Check that a file is the pinned one, byte for byte, without reading anything out of it.

    CheckpointError where it is missing, of another size (it is then not hashed), or of another content.
    """
    try:
        size_bytes = path.stat().st_size
        if size_bytes != pinned.size_bytes:
            raise CheckpointError(
                f"{shown_name(path.name)} has {size_bytes:,} bytes; {pinned.name} of {pinned.repository} has "
                f"{pinned.size_bytes:,}. It is another file or was cut: fetch it again."
            )
        sha256 = sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"{shown_name(path.name)} is missing or cannot be read ({error.strerror}).") from error
    if pinned.sha256 and sha256 != pinned.sha256:
        raise CheckpointError(
            f"{shown_name(path.name)} is not {pinned.name} of {pinned.repository}, or is damaged: its "
            f"SHA-256 begins {sha256[:12]}, not {pinned.sha256[:12]}. It was not opened. Fetch it again."
        )


def in_hub_cache(pinned: PinnedFile) -> Path | None:
    """Return where the hub's cache has the file at its revision, not verified; None where it has not."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(pinned.repository, pinned.name, revision=pinned.revision)
    return Path(found) if isinstance(found, str) else None


def show_size(n_bytes: int) -> str:
    """Write a number of bytes as a person reads it: ``2.35 GB``, ``899 kB``; decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes} bytes"


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Raise CheckpointError where a folder's file system has no room."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise CheckpointError(
            f"There is not enough room on the disk: {show_size(needed_bytes)} are needed and "
            f"{show_size(free_bytes)} are free. Make room, or name a folder on another disk with HF_HOME."
        )


def missing_bytes(pinned: PinnedFile, folder: Path) -> int:
    """Return how much of a file is still to be fetched into a folder."""
    for path in _places(pinned, folder):
        with contextlib.suppress(FileNotFoundError):  # it may get its own name at this moment
            return max(0, pinned.size_bytes - path.stat().st_size)
    return pinned.size_bytes


def download(pinned: PinnedFile, folder: Path, otherwise: str) -> Path:
    """Fetch what is missing of a file into a folder, with a progress bar on stderr, and verify it.

    `otherwise` tells how to do without: for the CheckpointError where the hub cannot be reached or is not to
    be asked, the disk is full, or what came is not the pinned file. What was fetched until then stays as
    ``.part`` unless its content is wrong.
    """
    whole, part = _places(pinned, folder)
    if whole.is_file():
        whole.replace(part)  # left by a process that ended: verified again
    if part.is_file() and part.stat().st_size > pinned.size_bytes:
        part.unlink()
    with hub_errors(f"{pinned.name} ({pinned.shown_size}) of {pinned.repository}", otherwise):
        _fetch(pinned, part)
    try:
        verify(part, pinned)
    except CheckpointError:
        part.unlink()  # going on from wrong bytes would never end
        raise
    return part.replace(whole)


def _places(pinned: PinnedFile, folder: Path) -> tuple[Path, Path]:
    return folder / pinned.local_name, folder / f"{pinned.local_name}.part"


def _fetch(pinned: PinnedFile, part: Path) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get

    with part.open("ab") as file:
        if file.tell() == pinned.size_bytes:
            return
        url = hf_hub_url(pinned.repository, pinned.name, revision=pinned.revision)
        offered = get_hf_file_metadata(url, token=False)  # the repositories are public
        if offered.size is not None and offered.size != pinned.size_bytes:
            raise CheckpointError(
                f"The hub offers {pinned.name} of {pinned.repository} with {offered.size:,} bytes; "
                f"{pinned.size_bytes:,} were expected. Nothing was fetched."
            )
        http_get(
            offered.location,
            file,
            resume_size=file.tell(),
            headers={"Accept-Encoding": "identity"},  # where to go on is counted in bytes of the file
            expected_size=pinned.size_bytes,
            displayed_filename=pinned.name,
        )


@contextlib.contextmanager
def hub_errors(name: str, otherwise: str) -> Iterator[None]:
    """Say in one sentence why a download ended; `name` is what was to be fetched."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    again = "Give the command again; it goes on where it ended."
    try:
        yield
    except (HTTPError, OSError) as error:  # the hub's own errors are among them
        if isinstance(error, OfflineModeIsEnabled):
            why = f"HF_HUB_OFFLINE is set: {name} is not fetched. Unset it. {otherwise}"
        elif isinstance(error, HfHubHTTPError):
            why = f"The hub refused {name} (HTTP {error.response.status_code}). {otherwise}"
        elif isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            why = f"The disk is full; {name} was fetched in part. Make room. {again}"
        else:
            why = f"The download of {name} was cut ({type(error).__name__}). {again} {otherwise}"
        raise CheckpointError(why) from error
