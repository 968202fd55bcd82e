"""What a file holds, told by its container and not by its first header.

A decoder trusts the first header that it meets. But a file may hold more than that says (recordings put one
behind another, a count of frames that is too small, sizes that a killed recorder never filled in), or less (a
download that broke off). So the container is walked before anything is decoded:

    WAV, RF64, W64, AIFF, CAF, AU    the size of the chunk of samples against what is there
    these, FLAC, MP3             one file behind another, of whatever kind
    Ogg (RFC 3533)               links of a chain; a stream's last page carries the end flag
    MP3, AAC                     frames are counted, tags and counts of frames between them left out
    MP4, Matroska (RFC 9559)     one file behind another; the last box, or the segment, against what is there

`split` gives the recordings of a file, each with a header that is true, so that a decoder reads each to its
end. Nothing here decodes, and nothing fails: what is not understood is one part as it came.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from core.mpeg import JUNK_BYTES, TAGS, Mp3Frames, aac_end, aac_frame, id3_end, unknown_bytes

_STARTS = {  # of files that may stand behind another; what is there 4 or 8 bytes on, chance does not make
    **dict.fromkeys((b"RIFF", b"RF64", b"BW64", b"RIFX"), (8, (b"WAVE",))),
    b"FORM": (8, (b"AIFF", b"AIFC")),
    b"fLaC": (4, (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22")),  # the head of the block that comes first
    b".snd": (4, (b"\x00\x00\x00\x18", b"\x00\x00\x00\x20")),
    b"riff": (4, (b"\x2e\x91\xcf\x11",)),
    b"caff": (4, (b"\x00\x01\x00\x00",)),
    b"OggS": (4, (b"\x00\x02\x00\x00",)),
}
_EBML = b"\x1aE\xdf\xa3"
_SEGMENT = b"\x18S\x80g"
_OGG_CODECS = {
    b"\x01vorbis": "Ogg Vorbis",
    b"OpusHead": "Ogg Opus",
    b"\x7fFLAC": "FLAC in Ogg",
    b"Speex   ": "Speex in Ogg",
}
_BEGINNINGS = (  # of kinds that are only named
    (b"0&\xb2u\x8ef\xcf\x11", "Windows Media"),
    (b"MThd", "MIDI, which holds notes and no sound"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"%PDF", "a PDF document"),
    (b"MAC ", "Monkey's Audio"),
    (b"wvpk", "WavPack"),
)
_BOX_HEADS = (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")
_MP4_BOXES = {*_BOX_HEADS, b"moof", b"mfra", b"sidx", b"styp", b"uuid", b"meta", b"udta", b"pdin", b"emsg", b"prft"}
_OF_SEGMENT = {  # ids of what stands in a segment, and of what stands in a cluster
    *map(
        bytes.fromhex, ("114d9b74", "1549a966", "1654ae6b", "1f43b675", "1c53bb6b", "1941a469", "1043a770", "1254c367")
    ),
    *map(bytes.fromhex, ("ec", "bf", "e7", "a3", "a0", "ab", "a7", "5854", "af")),
}


@dataclass(frozen=True)
class Part:
    """One recording of a file.

    Attributes
    ----------
    kind : str
        In words; empty where nobody knows.
    data : bytes
        With a header that a decoder may trust, as far as the container can be mended.
    there : float or None
        The share of what the header promises that is there, 1 where nothing is missing; None where the
        recording breaks off and nothing tells how long it was.
    counts : bool
        Whether the length that a decoder reads from the header tells what should be there.
    tracks : int
        How many sound tracks play at once, as far as the container tells.
    unread_bytes : int
        What stands behind the recording and is neither sound nor known.
    """

    kind: str
    data: bytes
    there: float | None = 1.0
    counts: bool = True
    tracks: int = 1
    unread_bytes: int = 0


def split(data: bytes) -> list[Part]:
    """Find the recordings of a file."""
    if data[:4] == b"OggS":
        return list(_ogg_parts(data))
    if data[4:8] in _BOX_HEADS:
        return list(_mp4_parts(data))
    if data[:4] == _EBML:
        return [_matroska_part(part) for part in _cut(data, _ebml_starts(data))]
    parts: list[Part] = []
    while (end := _next_start(data)) is not None and data[:4] != b"OggS":
        parts.append(_part(data[:end]))
        data = data[end:]
    return [*parts, *([_part(data)] if data[:4] != b"OggS" else _ogg_parts(data))]


def _part(data: bytes) -> Part:
    """Return the one recording of a file that is in no container of several."""
    body = data[id3_end(data) :][:12] if data[:3] == b"ID3" else data[:12]
    if body[:4] == b"fLaC":
        return Part("FLAC", data, unread_bytes=_behind_flac(data))
    if data[:4] == b".snd":
        return _au(data)
    if layout := _layout(data):
        return _mend(data, layout)
    if aac_frame(body):
        end = aac_end(data)
        return Part("AAC", data, None if end > len(data) else 1.0, counts=False, unread_bytes=unknown_bytes(data, end))
    frames = Mp3Frames(data)
    if frames.runs:
        breaks_off = frames.is_cut and frames.n_promised < frames.n_frames
        unread = 0 if frames.is_cut else unknown_bytes(data, frames.runs[-1][1])
        return Part("MP3", frames.mended(), None if breaks_off else 1.0, unread_bytes=unread)
    return Part(next((kind for beginning, kind in _BEGINNINGS if data.startswith(beginning)), ""), data)


def _next_start(data: bytes) -> int | None:
    """Return where another file begins behind the samples that the first one's header counts."""
    layout = _layout(data)
    samples = layout and _samples_of(data, layout)
    counted = samples and samples.size > 0 and samples.end <= len(data)
    first = samples.end if samples and counted else _head_end(data)
    found = (next(filter(partial(_is_start, data), _find_all(data, kind, first)), None) for kind in _STARTS)
    return min((at for at in found if at is not None), default=None)


def _is_start(data: bytes, at: int) -> bool:
    offset, wanted = _STARTS.get(data[at : at + 4], (0, ()))
    return data[at + offset : at + offset + 4] in wanted


def _cut(data: bytes, starts: list[int]) -> list[bytes]:
    if len(starts) < 2:
        return [data]
    return [data[start:end] for start, end in zip([0, *starts[1:]], [*starts[1:], len(data)], strict=True)]


def _find_all(data: bytes, wanted: bytes, start: int = 0) -> Iterator[int]:
    at = data.find(wanted, start)
    while at >= 0:
        yield at
        at = data.find(wanted, at + 1)


def _head_end(data: bytes) -> int:
    """Where tags end, and the blocks of a FLAC's head: they may hold the head of another file."""
    at = id3_end(data) + 4
    is_last = data[at - 4 : at] != b"fLaC"
    while not is_last and at + 4 <= len(data):
        is_last = bool(data[at] & 0x80)  # RFC 9639, section 8.1
        at += 4 + int.from_bytes(data[at + 1 : at + 4])
    return at


# Chunks: WAV and its kin


@dataclass(frozen=True)
class _Layout:
    kind: str
    first: int  # where the first chunk is
    id_bytes: int
    size_bytes: int
    order: Literal["little", "big"]  # of a size's bytes
    samples: bytes  # the id of the chunk that holds them begins so
    align: int = 2
    counts_head: bool = False  # whether a size counts its own head


_RIFF = _Layout("WAV", 12, 4, 4, "little", b"data")
_LARGE_KINDS = (b"RF64", b"BW64")
_RIFF_KINDS = {b"RIFF": _RIFF, **dict.fromkeys(_LARGE_KINDS, _RIFF), b"RIFX": replace(_RIFF, order="big")}
_CHUNK_LAYOUTS = {
    b"FORM": _Layout("AIFF", 12, 4, 4, "big", b"SSND"),
    b"caff": _Layout("CAF", 8, 4, 8, "big", b"data", align=1),
    b"riff": _Layout("W64", 40, 16, 8, "little", b"data", align=8, counts_head=True),
}


@dataclass(frozen=True)
class _Chunk:
    id: bytes
    at: int  # of its size
    body: int  # where its content begins
    size: int  # of its content, as it says
    end: int


def _chunks(data: bytes, layout: _Layout, start: int) -> Iterator[_Chunk]:
    head = layout.id_bytes + layout.size_bytes
    at = start + layout.first
    while at + head <= len(data):
        body = at + head
        size = _size(data, layout, at + layout.id_bytes) - head * layout.counts_head
        padded = -(-size // layout.align) * layout.align if size >= 0 else len(data)
        yield _Chunk(data[at : at + layout.id_bytes], at + layout.id_bytes, body, size, body + padded)
        at = body + padded


def _size(data: bytes, layout: _Layout, at: int) -> int:
    return int.from_bytes(data[at : at + layout.size_bytes], layout.order, signed=layout.size_bytes == 8)


def _layout(data: bytes) -> _Layout | None:
    return _CHUNK_LAYOUTS.get(data[:4]) or (_RIFF_KINDS.get(data[:4]) if data[8:12] == b"WAVE" else None)


def _samples_of(data: bytes, layout: _Layout) -> _Chunk | None:
    """Return the first chunk of samples, with the size that is told elsewhere where it is too large for its own."""
    told = None
    for chunk in _chunks(data, layout, 0):
        if chunk.id == b"ds64" and data[:4] in _LARGE_KINDS:
            told = int.from_bytes(data[chunk.body + 8 : chunk.body + 16], "little")
        if chunk.id.startswith(layout.samples):
            return _sized(chunk, told) if told is not None and chunk.size == 0xFFFF_FFFF else chunk
    return None


def _mend(data: bytes, layout: _Layout) -> Part:
    """Make the size of the samples true, and tell how much of what it was is there."""
    kind, found = layout.kind, _samples_of(data, layout)
    if found is None:
        return Part(kind, data)
    said = found.end if kind == "CAF" else _said_end(data, layout)  # a CAF tells the size of its chunks alone
    if data[:4] in _LARGE_KINDS:
        data = b"RIFF" + data[4:]
    behind = [*itertools.takewhile(_is_named, _chunks(data, layout, found.end - layout.first))]
    end = max([found.end, *(chunk.end for chunk in behind if chunk.end <= len(data))])
    if kind == "WAV" and (more := [chunk for chunk in behind if chunk.id == found.id]):
        sound = b"".join(data[chunk.body : chunk.body + chunk.size] for chunk in (found, *more))
        data, found = data[: found.body] + sound, _sized(found, len(sound))
        end = found.end
    size, there = found.size, len(data) - found.body
    never_filled_in = size <= 0 or (size > there and size >= 0x7FFF_0000)
    unread = len(data) - end if len(data) - end > JUNK_BYTES and not _is_tail(data[end:], layout) else 0
    tells_too_little = unread and not found.end - 1 <= said <= end + 1  # the file says that it is longer
    if tells_too_little or (never_filled_in and there and not _is_tail(data[found.body :], layout)):
        return Part(kind, _with_size(data, layout, found, _samples_end(data, layout, found) - found.body))
    if size > there:
        return Part(kind, _with_size(data, layout, found, there), there / size, counts=False)
    end = found.end if kind == "W64" else end  # libsndfile takes its chunks behind the samples for more of them
    return Part(kind, _with_size(data[:end], layout, found, size), unread_bytes=unread)


def _said_end(data: bytes, layout: _Layout) -> int:
    """Return where a file ends by its own head."""
    if data[:4] in _LARGE_KINDS and data[12:16] == b"ds64":
        return 8 + int.from_bytes(data[20:28], "little")
    return _size(data, layout, layout.first - layout.id_bytes - layout.size_bytes) + 8 * (not layout.counts_head)


def _sized(chunk: _Chunk, size: int) -> _Chunk:
    return replace(chunk, size=size, end=chunk.body + size + size % 2)


def _is_named(chunk: _Chunk) -> bool:
    return chunk.size >= 0 and chunk.id[:4].isascii() and chunk.id[:4].decode().isprintable()


def _samples_end(data: bytes, layout: _Layout, samples: _Chunk) -> int:
    """Where samples end whose size is not known: before the chunks behind them, or with the file."""
    at = max(data.rfind(name, samples.body) for name in (b"LIST", b"id3 "))
    return at if at >= 0 and _is_tail(data[at:], layout) else len(data)


def _au(data: bytes) -> Part:
    head, size = int.from_bytes(data[4:8]), int.from_bytes(data[8:12])
    there, is_counted = len(data) - head, 0 < size < 0x7FFF_0000
    unread = there - size if is_counted and there - size > JUNK_BYTES else 0
    return Part("AU", data, there / size if is_counted and 0 < there < size else 1.0, unread_bytes=unread)


def flac_without_count(data: bytes) -> bytes:
    """Return a FLAC whose head does not tell how many samples follow, so that a decoder reads on to the end."""
    at = data.find(b"fLaC") + 21  # RFC 9639: the count is the last 36 bits before the checksum
    return data[:at] + bytes([data[at] & 0xF0, 0, 0, 0, 0]) + data[at + 5 :]


def _behind_flac(data: bytes) -> int:
    """Return how many bytes at least stand behind the last frame and are no tags (RFC 9639, sections 8.2 and 9.1)."""
    start = data.find(b"fLaC")
    longest = int.from_bytes(data[start + 15 : start + 18])  # frame, where the encoder told it
    last, head = len(data), _head_end(data)
    while (last := max(data.rfind(sync, head, last) for sync in (b"\xff\xf8", b"\xff\xf9"))) >= 0:
        if _is_flac_frame(data[last : last + 16]):
            break
    if not longest or last < 0:
        return 0
    end = last + longest
    tags = [at for tag in TAGS if (at := data.find(tag, last, end)) >= 0]
    return unknown_bytes(data, min([end, *tags]))


def _is_flac_frame(head: bytes) -> bool:
    """Whether the head of a frame is what its checksum says."""
    if len(head) < 16 or head[3] & 1:
        return False
    coded = max(8 - (head[4] ^ 0xFF).bit_length(), 1)  # bytes of the frame's number
    block, rate = head[2] >> 4, head[2] & 15
    length = 4 + coded + {6: 1, 7: 2}.get(block, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    check = 0
    for byte in head[:length]:
        check ^= byte
        for _ in range(8):
            check = (check << 1 ^ 0x07 * (check >> 7)) & 0xFF
    return length < 16 and check == head[length]


def _is_tail(rest: bytes, layout: _Layout) -> bool:
    """Whether bytes behind the samples are chunks, a tag or zeros, and no more samples."""
    if not rest.strip(b"\0") or rest.lstrip(b"\0")[:3] in (b"TAG", b"ID3", b"APE"):
        return True
    end = 0
    for chunk in _chunks(rest, layout, -layout.first):
        if not _is_named(chunk):
            return False
        end = chunk.end
    return end > 0 and end + layout.align >= len(rest) >= end - layout.align


def _with_size(data: bytes, layout: _Layout, chunk: _Chunk, size: int) -> bytes:
    said = size + (chunk.body - chunk.at + layout.id_bytes) * layout.counts_head
    return data[: chunk.at] + said.to_bytes(layout.size_bytes, layout.order) + data[chunk.body :]


# Ogg


@dataclass
class _Link:
    start: int
    open_streams: set[bytes]
    kinds: list[str]  # of its sound tracks


def _ogg_parts(data: bytes) -> Iterator[Part]:
    """Links of a chain; then what stands behind the last page, where that is another file."""
    links, has_sound, at = [_Link(0, set(), [])], False, 0
    while (page := data.find(b"OggS", at)) >= 0 and page + 27 <= len(data):
        flags, serial = data[page + 5], data[page + 14 : page + 18]
        n_segments = data[page + 26]
        length = 27 + n_segments + sum(data[page + 27 : page + 27 + n_segments])
        if flags & 2 and has_sound:  # a stream begins where others have sounded: another link
            links.append(_Link(page, set(), []))
            has_sound = False
        has_sound |= not flags & 2
        links[-1].open_streams.add(serial)
        packet = data[page + 27 + n_segments : page + 35 + n_segments] if flags & 2 else b""
        links[-1].kinds += [kind for head, kind in _OGG_CODECS.items() if packet.startswith(head)]
        inside = data.find(b"OggS\0", page + 4, page + length)
        at = inside if inside >= 0 else page + length  # another page inside: this one is cut
        if flags & 4 and inside < 0 and at <= len(data):
            links[-1].open_streams.discard(serial)
    at = len(data) - len(data[at:].lstrip(b"\0"))
    unread = 0 if _is_start(data, at) else unknown_bytes(data, at)
    at = at if _is_start(data, at) else len(data)
    for link, part in zip(links, _cut(data[:at], [link.start for link in links]), strict=True):
        kind = link.kinds[0] if link.kinds else "Ogg"
        behind = unread if link is links[-1] else 0
        yield Part(kind, part, None if link.open_streams else 1.0, tracks=len(link.kinds), unread_bytes=behind)
    yield from split(data[at:]) if at < len(data) else ()


# MP4 and Matroska: boxes in boxes


def _mp4_parts(data: bytes) -> Iterator[Part]:
    starts, kinds, junk = [0], set[bytes](), None
    at = 0
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"ftyp" and b"moov" in kinds:
            starts.append(at)
            kinds = set()
        if kind not in _MP4_BOXES and junk is None:
            junk = at
        kinds.add(kind)
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        at = len(data) if size == 0 else at + max(size, 8)
    is_whole = at <= len(data) or junk is not None
    unread = 0 if junk is None or at == len(data) else unknown_bytes(data, junk)  # boxes of other kinds end with it
    *before, last = _cut(data, starts)
    yield from (Part("MP4 or M4A", part, counts=False) for part in before)
    yield Part("MP4 or M4A", last, 1.0 if is_whole else None, counts=False, unread_bytes=unread)


def _matroska_part(data: bytes) -> Part:
    kind = "WebM" if b"webm" in data[:64] else "Matroska"
    at = data.find(_SEGMENT, 0, 256)
    element = _element(data, at) if at >= 0 else None
    if element is None:
        return Part(kind, data, counts=False)
    _, body, end = element
    if end is None:  # as live recordings have it
        return Part(kind, data, counts=False, unread_bytes=unknown_bytes(data, _elements_end(data, body)))
    return Part(kind, data, 1.0 if end <= len(data) else None, counts=False, unread_bytes=unknown_bytes(data, end))


def _elements_end(data: bytes, at: int) -> int:
    """Return where the elements of a segment, and of clusters, end that do not tell their sizes."""
    while (element := _element(data, at)) is not None and element[0] in _OF_SEGMENT:
        _, body, end = element
        at = body if end is None else end
    return min(at, len(data))


def _element(data: bytes, at: int) -> tuple[bytes, int, int | None] | None:
    """Return an element's id, where its body begins, and where it ends if it tells (RFC 8794, section 4)."""
    if at + 2 > len(data) or not data[at] or at + _width(data[at]) >= len(data):
        return None
    sized = at + _width(data[at])
    if not data[sized]:
        return None
    body, most = sized + _width(data[sized]), (1 << 7 * _width(data[sized])) - 1
    size = int.from_bytes(data[sized:body]) & most
    return data[at:sized], body, None if size == most else body + size


def _width(first: int) -> int:
    """How many bytes a number has, by its first one: n bytes begin with n - 1 zero bits and a one."""
    return 9 - first.bit_length()


def _ebml_starts(data: bytes) -> list[int]:
    """Where files begin; four bytes alone may stand in the sound by chance, with a document type they do not."""
    return [at for at in _find_all(data, _EBML) if b"B\x82" in data[at : at + 64]]
