"""Clip lists whose clips came with them, as files and ZIP archives: what the pages offer to visitors.

A row's ``file`` is only compared with the names of what came: no path is built from it and nothing is
unpacked to the disk, so nothing else on the machine can be reached. Two paths fit when the shorter is the end
of the longer: ``S1/a.wav`` is ``clips/S1/a.wav`` of an archive, and ``a.wav``, which came alone and has lost
its folder. What fits several files, and a file that fits several paths, is nobody's clip: a wrong clip would
get a score that looks right.

An archive that does not say that its names are UTF-8 has them in an encoding of its maker's country, as ZIPs of
Windows do. Then a row asks for a file if one of the usual encodings makes its path of the name's bytes.

Sizes in an archive are claims. So its directory is read only up to a limit, and a clip only up to the largest
clip's size, whatever its entry says.

Clips that came without a list make one (`list_clips`): each has the prompt that came beside it, or one for all.

A list must fit in memory. What is larger goes to ``python -m core score --manifest``.
"""

import itertools
import re
import unicodedata
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

from core.audio import AudioLimits, ClipSource
from core.batch.manifest import AUDIO_SUFFIXES, PROMPT_BYTES, ClipList, Row, check_format
from core.errors import AudioError, BatchError, DataError, shown_name
from core.files import first_of
from core.tables import stripped

_MOST_AT_ONCE = 4_000_000  # bytes of an archive's directory: some 40,000 files
_PIECE_BYTES = _MEGABYTE = 1_000_000
# zipfile unpacks the other methods without a limit: a megabyte of bzip2 may be gigabytes.
_BOUNDED_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_UTF8_NAMES = 0x800  # the flag of an entry
_ENCODINGS = ("utf-8", "gb18030", "big5", "shift_jis", "euc_kr", "cp1252", "cp1251", "cp866", "cp850", "cp437")
_LOST = re.compile(r"""[<>:"|?*`$!{}\x00-\x1f\x7f]""")  # what the name of an upload may lose on its way

_Clip = Path | tuple[zipfile.ZipFile, zipfile.ZipInfo]
_File = tuple[str, Callable[[], bytes]]  # a path, and what reads a short file
_Named = tuple[frozenset[str], _Clip]  # a clip and its path, in each encoding that it may be written in


@dataclass(frozen=True)
class ListLimits:
    """What a visitor's clip list may be."""

    max_rows: int = 1_000  # A few minutes of work for the small model on two cores
    max_bytes: int = 5 * _MEGABYTE  # A thousand rows with the longest prompts that are read
    max_audio_s: float = 36_000.0  # of its clips together: some five minutes for the small model on two cores
    max_work_s: float = 1_800.0  # that it may take, others' turns left out
    max_text: int = 10_000_000  # characters of all cells: a Parquet file may hold far more text than it has bytes


@dataclass(frozen=True)
class UploadedList:
    """The rows of a clip list, and what was taken otherwise than it is written, in sentences."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def read_list(path: Path, taken: Iterable[str], limits: ListLimits | None = None) -> UploadedList:
    """Read a clip list and check it as `ClipList.check` does; BatchError where it is over the limits."""
    name, limits = shown_name(path.name), limits or ListLimits()
    is_parquet = check_format(path) == ".parquet"
    if max(path.stat().st_size, _unpacked_bytes(path) if is_parquet else 0) > limits.max_bytes:
        allowed = limits.max_bytes / _MEGABYTE
        raise BatchError(f"{name} has more than {allowed:g} MB, the most for a clip list. Split it.")
    clip_list = ClipList.check(path, taken, most_rows=limits.max_rows)
    if clip_list.n_rows > limits.max_rows:
        raise BatchError(
            f"{name} has more than {limits.max_rows:,} rows, the most that a clip list has here. Split "
            "it, or score it on the command line: python -m core score --manifest."
        )
    return UploadedList(tuple(_bounded(clip_list.rows(), name, limits)), clip_list.notes)


def list_clips(paths: Sequence[Path], prompt: str, limits: ListLimits | None = None) -> UploadedList:
    """Make a row of each clip that came; its prompt is the ``.txt`` file beside it, else `prompt`.

    BatchError where there is no clip, or they are over the limits.
    """
    limits, others = limits or ListLimits(), list[str]()
    with ExitStack() as opened:
        found = (row for place in _places(paths, opened) for row in _clips_of(place, stripped(prompt), others))
        numbered = (replace(row, id=str(number)) for number, row in enumerate(found, 1))
        rows = tuple(_bounded(itertools.islice(numbered, limits.max_rows + 1), "The list", limits))
    if not rows:
        raise BatchError("There is no clip among the files. Give audio files, or a ZIP of them.")
    if len(rows) > limits.max_rows:
        raise BatchError(f"There are more than {limits.max_rows:,} clips, the most for a list. Split them.")
    left_out = f"Left out, because they are neither a clip nor the prompt of one: {first_of(others)}."
    return UploadedList(rows, (left_out,) if others else ())


def _bounded(rows: Iterable[Row], name: str, limits: ListLimits) -> Iterator[Row]:
    n_characters = 0
    for row in rows:
        n_characters += sum(len(str(cell)) for cell in (row.file, row.prompt, row.id, row.system, row.others))
        if n_characters > limits.max_text:
            raise BatchError(f"{name} has more than {limits.max_text:,} characters of text. Split it.")
        yield row


def _places(paths: Sequence[Path], opened: ExitStack) -> Iterator[list[_File]]:
    """Yield the files that came alone, then those of each archive."""
    yield [(path.name, partial(_start_of, path)) for path in paths if not _is_zip(path)]
    for path in filter(_is_zip, paths):
        archive = open_zip(path, opened)
        yield [
            (entry.filename, partial(unpack, archive, entry, PROMPT_BYTES))
            for entry in archive.infolist()
            if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")
        ]


def _clips_of(files: Sequence[_File], prompt: str, others: list[str]) -> Iterator[Row]:
    """Yield a row for each clip among files that lie together; `others` grows by what is in none."""
    texts = {_stem(name): (name, read) for name, read in files if _suffix(name) == ".txt"}
    clips = [name for name, _ in files if _suffix(name) in AUDIO_SUFFIXES]
    for name in clips:
        said, fault = _prompt_in(*texts[_stem(name)]) if _stem(name) in texts else (prompt, "")
        yield Row("", name, said, "", None, fault=fault)
    taken = {*clips, *(texts[stem][0] for stem in map(_stem, clips) if stem in texts)}
    others += [name for name, _ in files if name not in taken]


def _prompt_in(name: str, read: Callable[[], bytes]) -> tuple[str, str]:
    """Return the prompt in a text file, and a sentence where that cannot be read."""
    try:
        return stripped(read().decode("utf-8-sig")), ""
    except DataError as error:
        return "", f"The prompt: {error}"
    except UnicodeDecodeError:
        return "", f"The prompt: {shown_name(PurePosixPath(name).name)} is not UTF-8. Save it as UTF-8."


def _start_of(path: Path) -> bytes:
    if path.stat().st_size > PROMPT_BYTES:
        raise DataError(f"{shown_name(path.name)} has more than {PROMPT_BYTES:,} bytes. Shorten it.")
    return path.read_bytes()


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _stem(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


def _unpacked_bytes(path: Path) -> int:
    """What a Parquet file says that it unpacks to."""
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{shown_name(path.name)} cannot be read as a table.") from error
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))


class ClipFiles:
    """Files and archives (with the suffix ``.zip``), open until the block ends; found by what rows ask for."""

    def __init__(self, paths: Iterable[Path], files: Iterable[str], limits: AudioLimits) -> None:
        self._limits = limits
        self._clips: list[_Named] = []
        with ExitStack() as opened:
            for path in paths:
                self._clips += _archived(path, opened) if _is_zip(path) else [(frozenset([_normal(path.name)]), path)]
            self._open = opened.pop_all()
        self._fitting = self._fit({_normal(file) for file in files})
        self._rows_of = Counter(number for fitting in self._fitting.values() for number in fitting)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def n_unused(self) -> int:
        """How many files no row asks for."""
        return len(self._clips) - len(self._rows_of)

    def find(self, file: str) -> ClipSource:
        """Return the clip that a row asks for; may be called from several threads."""
        fitting = self._fitting[_normal(file)]
        if not fitting:
            raise AudioError(f"{shown_name(file)} is not among the files. Add it, alone or in a ZIP.")
        if len(fitting) > 1:
            raise AudioError(f"{shown_name(file)} fits {len(fitting)} of the files. Give more of its path.")
        if self._rows_of[fitting[0]] > 1:
            name = shown_name(PurePosixPath(_normal(file)).name)
            raise AudioError(f"Rows name {name} in several folders, but there is one. Give a ZIP with their folders.")
        _, clip = self._clips[fitting[0]]
        return clip if isinstance(clip, Path) else self._unpack(*clip)

    def _fit(self, asked: set[str]) -> dict[str, list[int]]:
        """Which files fit what is asked for."""
        by_name: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for number, (paths, _) in enumerate(self._clips):
            for path in paths:
                by_name[PurePosixPath(path).name][number].append(path)
        return {
            file: [
                number
                for number, paths in by_name.get(PurePosixPath(file).name, {}).items()
                if any(_ends_alike(path, file) for path in paths)
            ]
            for file in asked
        }

    def _unpack(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
        try:
            return unpack(archive, entry, self._limits.max_bytes)
        except DataError as error:
            raise AudioError(str(error)) from error


def open_zip(path: Path, opened: ExitStack) -> zipfile.ZipFile:
    """Open an archive until the stack ends; a DataError where its directory is damaged or too large."""
    try:
        file = _Bounded(opened.enter_context(path.open("rb")))
        return opened.enter_context(zipfile.ZipFile(file))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(f"{shown_name(path.name)} cannot be read as a ZIP archive. Pack it again.") from error


def unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most_bytes: int) -> bytes:
    """Return what an entry holds; a DataError where it is damaged, or more than is allowed, whatever it says."""
    name, content = shown_name(PurePosixPath(entry.filename).name), bytearray()
    try:
        if entry.compress_type not in _BOUNDED_METHODS:
            raise ValueError(entry.compress_type)
        with archive.open(entry) as file:
            while len(content) <= most_bytes and (piece := file.read(_PIECE_BYTES)):
                content += piece
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{name} cannot be unpacked: it is damaged, encrypted or packed in an unusual way.") from error
    if len(content) > most_bytes:
        raise DataError(f"{name} unpacks to more than {most_bytes / _MEGABYTE:g} MB, the limit. Cut it.")
    return bytes(content)


def _archived(path: Path, opened: ExitStack) -> list[_Named]:
    archive = open_zip(path, opened)
    return [(_paths(entry), (archive, entry)) for entry in archive.infolist() if not entry.is_dir()]


def _paths(entry: zipfile.ZipInfo) -> frozenset[str]:
    """Return the path of an entry, in each encoding that it may be written in."""
    paths = {_normal(entry.filename)}
    if not entry.flag_bits & _UTF8_NAMES:
        name = entry.orig_filename.encode("cp437", "replace")  # zipfile takes all for that
        for encoding in _ENCODINGS:
            with suppress(UnicodeDecodeError):
                paths.add(_normal(name.decode(encoding)))
    return frozenset(paths)


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
