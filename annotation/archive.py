"""A ZIP file of which every byte is known before it is sent, so that any part of it can be sent alone.

Its members are stored as they are: clips hardly shrink. Of a clip its length and its CRC are enough, until its own
bytes are asked for. Headers and the directory are those of Python's `zipfile`.

Source: APPNOTE.TXT of the ZIP format, section 4.3.
"""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from annotation.material.files import ClipFile

_BLOCK_BYTES = 1_000_000
_READABLE = 0o600 << 16  # for the user who unpacks it


@dataclass(frozen=True)
class Archive:
    """A ZIP file; `tag` is of its bytes alone, and two with the same tag are equal."""

    name: str
    size: int
    tag: str
    _parts: Sequence[bytes | ClipFile]

    @classmethod
    def of(cls, name: str, members: Mapping[str, bytes | ClipFile], at: datetime) -> "Archive":
        """Lay out the members, in a folder of the archive's name; raises as `ClipFile.digest` does."""
        parts: list[bytes | ClipFile] = []
        entries: list[zipfile.ZipInfo] = []
        tag, size = hashlib.sha256(), 0
        for place, content in members.items():
            entry = zipfile.ZipInfo(f"{name}/{place}", at.timetuple()[:6])
            entry.external_attr, entry.header_offset = _READABLE, size
            if isinstance(content, ClipFile):
                sha256, entry.CRC = content.digest()
            else:
                sha256, entry.CRC = hashlib.sha256(content).hexdigest(), zlib.crc32(content)
            entry.file_size = entry.compress_size = _length(content)
            header = entry.FileHeader()
            tag.update(header + sha256.encode())
            entries.append(entry)
            parts += [header, content]
            size += len(header) + _length(content)
        parts.append(_directory(entries, size))
        return cls(f"{name}.zip", size + _length(parts[-1]), tag.hexdigest(), parts)

    def read(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end`, and read no clip that has none of them.

        Raises as `ClipFile.read` does.
        """
        end, before = self.size if end is None else end, 0
        for part in self._parts:
            after = before + _length(part)
            if before < end and start < after:
                content = part.read()[0] if isinstance(part, ClipFile) else part
                first, last = max(start - before, 0), min(end, after) - before
                for place in range(first, last, _BLOCK_BYTES):
                    yield content[place : min(place + _BLOCK_BYTES, last)]
            before = after


def _length(part: bytes | ClipFile) -> int:
    return part.n_bytes if isinstance(part, ClipFile) else len(part)


def _directory(entries: Sequence[zipfile.ZipInfo], start: int) -> bytes:
    end = _End(start)
    with zipfile.ZipFile(end, "w") as archive:
        archive.infolist().extend(entries)
    return bytes(end.written)


class _End(io.RawIOBase):
    """The end of a ZIP file whose members, so many bytes, are elsewhere."""

    def __init__(self, start: int) -> None:
        self.written = bytearray()
        self._start = start

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._start + len(self.written)

    def write(self, block: Any) -> int:
        self.written += block
        return len(block)
