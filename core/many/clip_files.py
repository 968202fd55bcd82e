"""Clips that came together, as files and as ZIP archives, found by the names that rows give them.

A row's ``file`` is only compared with the names of what came: no path is built from it and nothing is
unpacked to the disk, so nothing else on the machine can be reached. Two paths fit when the shorter is the end
of the longer: ``S1/a.wav`` is ``clips/S1/a.wav`` of an archive, and ``a.wav``, which came alone and has lost
its folder. What fits several files, and a file that fits several paths, is nobody's clip: a wrong clip would
get a score that looks right.

Sizes in an archive are claims. So its directory is read only up to a limit, and a clip only up to the largest
clip's size, whatever its entry says.
"""

import re
import unicodedata
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from core.audio import AudioLimits, ClipSource
from core.errors import AudioError, DataError, shown_name

_MOST_AT_ONCE = 4_000_000  # bytes of an archive's directory: some 40,000 files
_PIECE_BYTES = 1_000_000
_MEGABYTE = 1_000_000
_LOST = re.compile(r"""[<>:"|?*`$!{}\x00-\x1f\x7f]""")  # what the name of an upload may lose on its way

_Clip = Path | tuple[zipfile.ZipFile, zipfile.ZipInfo]


class ClipFiles:
    """Files and archives, open until the block ends.

    Parameters
    ----------
    paths : sequence of Path
        What has the suffix ``.zip`` is an archive.
    files : iterable of str
        What rows ask for.
    limits : AudioLimits

    Raises
    ------
    DataError
        An archive cannot be read.
    """

    def __init__(self, paths: Sequence[Path], files: Iterable[str], limits: AudioLimits) -> None:
        self._limits = limits
        self._open = ExitStack()
        self._clips: list[tuple[str, _Clip]] = []
        with ExitStack() as opened:
            for path in paths:
                self._add(path, opened)
            self._open = opened.pop_all()
        self._fitting = self._fit({_normal(file) for file in files})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def n_unused(self) -> int:
        """How many files no row asks for."""
        return len(self._clips) - len({number for fitting in self._fitting.values() for number in fitting})

    def find(self, file: str) -> ClipSource:
        """Give a clip, as `core.audio.read_clip` takes it; may be called from several threads.

        Parameters
        ----------
        file : str
            One of those that rows ask for.

        Raises
        ------
        AudioError
            No file fits, several do, or other rows ask for the same one; or it cannot be unpacked.
        """
        fitting = self._fitting[_normal(file)]
        if not fitting:
            raise AudioError(f"{shown_name(file)} is not among the files. Add it, alone or in a ZIP.")
        if len(fitting) > 1:
            raise AudioError(f"{shown_name(file)} fits {len(fitting)} of the files. Give more of its path.")
        if sum(fitting[0] in others for others in self._fitting.values()) > 1:
            name = shown_name(PurePosixPath(_normal(file)).name)
            raise AudioError(
                f"Rows name {name} in several folders, but there is one. Give a ZIP with their folders."
            )
        _, clip = self._clips[fitting[0]]
        return clip if isinstance(clip, Path) else self._unpack(*clip)

    def _fit(self, asked: set[str]) -> dict[str, list[int]]:
        by_name = defaultdict(list)
        for number, (path, _) in enumerate(self._clips):
            by_name[PurePosixPath(path).name].append(number)
        return {
            file: [
                number
                for number in by_name[PurePosixPath(file).name]
                if _ends_alike(self._clips[number][0], file)
            ]
            for file in asked
        }

    def _add(self, path: Path, opened: ExitStack) -> None:
        if path.suffix.lower() != ".zip":
            self._clips.append((_normal(path.name), path))
            return
        try:
            file = _Bounded(opened.enter_context(path.open("rb")))
            archive = opened.enter_context(zipfile.ZipFile(file))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            name = shown_name(path.name)
            raise DataError(f"{name} cannot be read as a ZIP archive. Pack it again.") from error
        entries = (entry for entry in archive.infolist() if not entry.is_dir())
        self._clips += [(_normal(entry.filename), (archive, entry)) for entry in entries]

    def _unpack(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        name = shown_name(PurePosixPath(entry.filename).name)
        content = bytearray()
        try:
            with archive.open(entry) as file:
                while piece := file.read(_PIECE_BYTES):
                    content += piece
                    if len(content) > self._limits.max_bytes:
                        allowed = self._limits.max_bytes / _MEGABYTE
                        raise AudioError(f"{name} unpacks to more than {allowed:g} MB, the limit. Cut it.")
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            raise AudioError(
                f"{name} cannot be unpacked: it is damaged, encrypted or packed in an unusual way."
            ) from error
        return bytes(content)


class _Bounded:
    """A file that gives little at once: zipfile reads an archive's directory in one piece."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        return True

    def read(self, n_bytes: int = -1) -> bytes:
        content = self._file.read(min(n_bytes, _MOST_AT_ONCE + 1) if n_bytes >= 0 else _MOST_AT_ONCE + 1)
        if len(content) > _MOST_AT_ONCE:
            raise ValueError(n_bytes)
        return content


def _normal(path: str) -> str:
    """Write a path so that two can be compared: composed letters, slashes, no root, no dots."""
    parts = _LOST.sub("", unicodedata.normalize("NFC", path)).replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", ".", ".."))


def _ends_alike(one: str, other: str) -> bool:
    """Whether the shorter of two paths is the end of the longer."""
    ends = one.split("/")[::-1], other.split("/")[::-1]
    return all(ours == theirs for ours, theirs in zip(*ends, strict=False))
