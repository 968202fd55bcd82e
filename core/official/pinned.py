"""Files that others publish on the Hugging Face hub, pinned: found, fetched, verified before they are used.

A pinned file is known by its size and SHA-256. It is looked for in the hub's cache (``HF_HOME``), and fetched
from the revision named here with `huggingface_hub` (``HF_ENDPOINT`` and proxies hold as usual; under
``HF_HUB_OFFLINE`` nothing is fetched). While it is fetched it has the ending ``.part``; it gets its name only
after size and hash were checked, so a file with its name is whole. `huggingface_hub` itself throws a
cut download away when the process ends; the ``.part`` file stays, and the next call goes on where it ends.
"""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import CheckpointError, shown_name
from core.file_reading import sha256_of

_PART = ".part"


@dataclass(frozen=True)
class PinnedFile:
    """One file of a repository on the hub, at one revision.

    Attributes
    ----------
    repository, revision, name : str
    size_bytes : int
    sha256 : str
        Hexadecimal.
    """

    repository: str
    revision: str
    name: str
    size_bytes: int
    sha256: str

    @property
    def shown_size(self) -> str:
        """The size in words, for messages."""
        return show_size(self.size_bytes)


def show_size(n_bytes: int) -> str:
    """Give a number of bytes as a person reads it: ``2.35 GB``, ``899 kB``; decimal units."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:.3g} {unit}"
    return f"{n_bytes} bytes"


def verify(path: Path, pinned: PinnedFile) -> None:
    """Check that a file is the pinned one, byte for byte, without reading anything out of it.

    Raises
    ------
    CheckpointError
        It is missing, of another size (the file is then not hashed), or of another content.
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
        raise CheckpointError(
            f"{shown_name(path.name)} is missing or cannot be read ({error.strerror})."
        ) from error
    if sha256 != pinned.sha256:
        raise CheckpointError(
            f"{shown_name(path.name)} is not {pinned.name} of {pinned.repository}, or is damaged: its "
            f"SHA-256 begins {sha256[:12]}, not {pinned.sha256[:12]}. It was not opened. Fetch it again."
        )


def in_hub_cache(pinned: PinnedFile) -> Path | None:
    """Where the hub's cache has the file at its revision; None where it has not. Not verified."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(pinned.repository, pinned.name, revision=pinned.revision)
    return Path(found) if isinstance(found, str) else None


def check_free_space(folder: Path, needed_bytes: int) -> None:
    """Check that a folder's file system has room.

    Raises
    ------
    CheckpointError
        It has not.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < needed_bytes:
        raise CheckpointError(
            f"There is not enough room on the disk: {show_size(needed_bytes)} are needed and "
            f"{show_size(free_bytes)} are free. Make room, or name a folder on another disk with HF_HOME."
        )


def missing_bytes(pinned: PinnedFile, folder: Path) -> int:
    """How much of a file is still to be fetched into a folder."""
    whole, part = folder / pinned.name, folder / f"{pinned.name}{_PART}"
    there = next((file.stat().st_size for file in (whole, part) if file.is_file()), 0)
    return max(0, pinned.size_bytes - there)


def download(pinned: PinnedFile, folder: Path, otherwise: str) -> Path:
    """Fetch a file into a folder, with a progress bar on stderr, and verify it.

    Parameters
    ----------
    pinned : PinnedFile
    folder : Path
        Must exist. Where it holds the file already, or a part of it, no more is fetched than is missing.
    otherwise : str
        A sentence on how to do without the download, for the errors.

    Returns
    -------
    Path
        The file under its own name.

    Raises
    ------
    CheckpointError
        The hub cannot be reached or is not to be asked, the disk is full, or what came is not the pinned
        file. What was fetched until then stays as ``.part`` unless its content is wrong.
    """
    whole, part = folder / pinned.name, folder / f"{pinned.name}{_PART}"
    if whole.is_file():
        whole.replace(part)  # left by a process that ended: verified again
    if part.is_file() and part.stat().st_size > pinned.size_bytes:
        part.unlink()
    with _hub_errors(pinned, otherwise):
        _fetch(pinned, part)
    try:
        verify(part, pinned)
    except CheckpointError:
        part.unlink()  # going on from wrong bytes would never end
        raise
    return part.replace(whole)


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


@contextmanager
def _hub_errors(pinned: PinnedFile, otherwise: str) -> Iterator[None]:
    """Say in one sentence why a download ended."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    name = f"{pinned.name} ({pinned.shown_size}) of {pinned.repository}"
    again = "Give the command again; it goes on where it ended."
    try:
        yield
    except OfflineModeIsEnabled as error:
        raise CheckpointError(
            f"HF_HUB_OFFLINE is set: {name} is not fetched. Unset it. {otherwise}"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise CheckpointError(f"The hub refused {name} (HTTP {status}). {otherwise}") from error
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CheckpointError(
                f"The disk is full; {name} was fetched in part. Make room. {again}"
            ) from error
        raise CheckpointError(
            f"The download of {name} was cut ({type(error).__name__}). {again} {otherwise}"
        ) from error
