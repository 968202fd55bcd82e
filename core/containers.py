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
_JUNK_BYTES = 4_096  # behind the end of the sound: tags of some kind
_APE = b"APETAGEX"
_TAGS = (b"ID3", b"TAG", _APE, b"LYRICSBEGIN")


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
        kind = "WebM" if b"webm" in data[:64] else "Matroska"
        return [Part(kind, part, _segment_share(part), False) for part in _cut(data, _ebml_starts(data))]
    parts: list[Part] = []
    while (end := _next_start(data)) is not None and data[:4] != b"OggS":
        parts.append(_part(data[:end]))
        data = data[end:]
    return [*parts, *([_part(data)] if data[:4] != b"OggS" else _ogg_parts(data))]


def _part(data: bytes) -> Part:
    """Return the one recording of a file that is in no container of several."""
    body = data[_id3_end(data) :][:12] if data[:3] == b"ID3" else data[:12]
    if body[:4] == b"fLaC":
        return Part("FLAC", data, unread_bytes=_behind_flac(data))
    if data[:4] == b".snd":
        return _au(data)
    if layout := _layout(data):
        return _mend(data, layout)
    if _aac_frame(body):
        end = _aac_end(data)
        return Part("AAC", data, None if end > len(data) else 1.0, counts=False, unread_bytes=_unknown_bytes(data, end))
    frames = _Mp3Frames(data)
    if frames.runs:
        breaks_off = frames.is_cut and frames.n_promised < frames.n_frames
        unread = 0 if frames.is_cut else _unknown_bytes(data, frames.runs[-1][1])
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


def _ebml_starts(data: bytes) -> list[int]:
    """Where files begin; four bytes alone may stand in the sound by chance, with a document type they do not."""
    return [at for at in _find_all(data, _EBML) if b"B\x82" in data[at : at + 64]]


def _head_end(data: bytes) -> int:
    """Where tags end, and the blocks of a FLAC's head: they may hold the head of another file."""
    at = _id3_end(data) + 4
    is_last = data[at - 4 : at] != b"fLaC"
    while not is_last and at + 4 <= len(data):
        is_last = bool(data[at] & 0x80)  # RFC 9639, section 8.1
        at += 4 + int.from_bytes(data[at + 1 : at + 4])
    return at


def _segment_share(data: bytes) -> float | None:
    """None where a segment that tells its size ends behind the file's end."""
    at = data.find(_SEGMENT, 0, 256)
    if at < 0 or len(data) < at + 12 or not data[at + 4]:
        return 1.0
    length = 9 - data[at + 4].bit_length()  # a number of n bytes begins with n - 1 zero bits and a one
    size = int.from_bytes(data[at + 4 : at + 4 + length]) & ((1 << 7 * length) - 1)
    is_unknown = size == (1 << 7 * length) - 1
    return 1.0 if is_unknown or at + 4 + length + size <= len(data) else None


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
    unread = len(data) - end if len(data) - end > _JUNK_BYTES and not _is_tail(data[end:], layout) else 0
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
    unread = there - size if is_counted and there - size > _JUNK_BYTES else 0
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
    tags = [at for tag in _TAGS if (at := data.find(tag, last, end)) >= 0]
    return _unknown_bytes(data, min([end, *tags]))


def _unknown_bytes(data: bytes, end: int) -> int:
    """Return how many bytes stand behind the end of the sound, where they are neither few, nor zeros, nor tags."""
    behind = data[end:].lstrip(b"\0")
    behind = behind[_id3_end(behind) :]
    if behind[-128:-125] == b"TAG":
        behind = behind[:-128]
    if behind[-32:-24] == _APE:  # the size is that of what stands before its foot, and of the foot
        behind = behind[: -32 - int.from_bytes(behind[-20:-16], "little")]
    behind = behind.strip(b"\0")
    return 0 if len(behind) <= _JUNK_BYTES or behind.startswith(_TAGS) else len(behind)


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
    unread = 0 if _is_start(data, at) else _unknown_bytes(data, at)
    at = at if _is_start(data, at) else len(data)
    for link, part in zip(links, _cut(data[:at], [link.start for link in links]), strict=True):
        kind = link.kinds[0] if link.kinds else "Ogg"
        behind = unread if link is links[-1] else 0
        yield Part(kind, part, None if link.open_streams else 1.0, tracks=len(link.kinds), unread_bytes=behind)
    yield from split(data[at:]) if at < len(data) else ()


# MP4


def _mp4_parts(data: bytes) -> Iterator[Part]:
    starts, at, kinds = [0], 0, set[bytes]()
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        if kind == b"ftyp" and b"moov" in kinds:
            starts.append(at)
            kinds = set()
        kinds.add(kind)
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16])
        at = len(data) if size == 0 else at + max(size, 8)
    is_whole = at <= len(data) or not kinds <= {*_BOX_HEADS, b"moof", b"mfra", b"sidx", b"styp", b"uuid", b"meta"}
    *before, last = _cut(data, starts)
    yield from (Part("MP4 or M4A", part, counts=False) for part in before)
    yield Part("MP4 or M4A", last, 1.0 if is_whole else None, counts=False)


# AAC


def _aac_frame(data: bytes, at: int = 0) -> int:
    """Return the length of the ADTS frame (ISO 13818-7, 6.2) that stands there; 0 where there is none."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def _aac_end(data: bytes) -> int:
    """Return where the frames end: behind the file's end where the last is cut."""
    at = _id3_end(data)
    while length := _aac_frame(data, at):
        at += length
    return at


# MP3


_RATES_HZ = (44_100, 48_000, 32_000)
_KBPS = {  # layer III
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SEARCHED_BYTES = 65_536  # for the first frame, behind the tags
_FRAMES_AND_BYTES = 3  # flags of an Info frame: it holds the numbers of frames and of bytes


@dataclass(frozen=True)
class _Frame:
    length: int
    rate_hz: int
    information: int  # where an Info frame says so


class _Mp3Frames:
    """The frames of an MP3: runs of sound, without tags and without frames that only count."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.runs: list[tuple[int, int]] = []
        self.n_frames = self.n_promised = self.n_heads = 0
        self.is_cut = False  # whether the last frame is
        self._opening = 0, _Frame(0, 0, 0)  # where the first frame is; it is the one that counts, if any is
        self._opening_counts = False
        self._walk(self._first())

    def _first(self) -> int | None:
        start = _id3_end(self._data)
        for at in range(start, min(start + _SEARCHED_BYTES, len(self._data) - 4)):
            if self._data[at] == 0xFF and self._is_followed(at):
                return at
        return None

    def _is_followed(self, at: int, rate_hz: int | None = None) -> bool:
        """Whether a frame is here and another behind it, which chance alone does not make."""
        frame = self._frame(at)
        if frame is None or rate_hz not in (None, frame.rate_hz):
            return False
        following = self._frame(at + frame.length)
        return following is not None and following.rate_hz == frame.rate_hz

    def _frame(self, at: int) -> _Frame | None:
        head = self._data[at : at + 4]
        if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] & 0x18 == 0x08:
            return None  # no sync, not layer III, or a version that is reserved
        is_first_version, is_half = head[1] & 0x18 == 0x18, head[1] & 0x18 == 0
        kbps_index, rate_index = head[2] >> 4, head[2] >> 2 & 3
        if kbps_index in (0, 15) or rate_index == 3:
            return None
        rate_hz = _RATES_HZ[rate_index] // (1 if is_first_version else 4 if is_half else 2)
        kbps, is_mono = _KBPS[is_first_version][kbps_index], head[3] >> 6 == 3
        length = (144_000 if is_first_version else 72_000) * kbps // rate_hz + (head[2] >> 1 & 1)
        side = (17 if is_mono else 32) if is_first_version else (9 if is_mono else 17)
        return _Frame(length, rate_hz, 4 + side)

    def _walk(self, at: int | None) -> None:
        rate_hz = None
        while at is not None and at < len(self._data):
            frame = self._frame(at)
            if frame is None or rate_hz not in (None, frame.rate_hz):
                at = self._next(at, rate_hz)
                continue
            if rate_hz is None:
                self._opening, rate_hz = (at, frame), frame.rate_hz
            if at + frame.length > len(self._data):
                self.is_cut = True
                break
            if not self._counts(at, frame):
                self.n_frames += 1
                is_adjacent = self.runs and self.runs[-1][1] == at
                start = self.runs.pop()[0] if is_adjacent else at
                self.runs.append((start, at + frame.length))
            at += frame.length

    def _next(self, at: int, rate_hz: int | None) -> int | None:
        """Return where frames go on behind tags or damage."""
        if self._data[at : at + 3] == b"ID3":
            at = max(_id3_end(self._data, at), at + 1) - 1
        while (at := self._data.find(b"\xff", at + 1)) >= 0:
            if self._is_followed(at, rate_hz):
                return at
        return None

    def _counts(self, at: int, frame: _Frame) -> bool:
        """Whether a frame holds no sound and counts the others; the count is noted."""
        mark = at + frame.information
        is_info = self._data[mark : mark + 4] in (b"Xing", b"Info")
        is_vbri = self._data[at + 36 : at + 40] == b"VBRI"
        if is_info and self._data[mark + 7] & 1:
            self.n_promised += int.from_bytes(self._data[mark + 8 : mark + 12])
        if is_vbri:
            self.n_promised += int.from_bytes(self._data[at + 50 : at + 54])
        self._opening_counts |= is_info and at == self._opening[0]
        self.n_heads += is_info or is_vbri
        return is_info or is_vbri

    def mended(self) -> bytes:
        """Return the file with one frame that counts all others; as it came where that is so."""
        is_plain = self.n_heads == 1 and len(self.runs) == 1 and self.n_promised >= self.n_frames
        if is_plain and self._opening_counts and self._opening[0] == _id3_end(self._data, most=1):
            return self._data
        count = max(self.n_frames, self.n_promised)
        sound = b"".join(self._data[start:end] for start, end in self.runs)
        return self._counting_frame(count, len(sound)) + sound

    def _counting_frame(self, n_frames: int, n_bytes: int) -> bytes:
        start, frame = self._opening
        head = bytearray(self._data[start : start + frame.length])
        if not self._opening_counts:
            head[4:] = bytes(frame.length - 4)
            head[1] |= 1  # without a checksum
            head[frame.information : frame.information + 8] = b"Info" + bytes([0, 0, 0, _FRAMES_AND_BYTES])
        at = frame.information + 8
        counts = [n_frames] * (head[at - 1] & 1) + [n_bytes + len(head)] * (head[at - 1] >> 1 & 1)
        for value in counts:
            head[at : at + 4] = value.to_bytes(4)
            at += 4
        return bytes(head)


def _id3_end(data: bytes, start: int = 0, most: int = 99) -> int:
    """Return where the ID3v2 tags end that a file begins with, or that stand at `start`."""
    while most and data[start : start + 3] == b"ID3" and len(data) > start + 10:
        size = data[start + 6 : start + 10]  # 28 bits, seven a byte
        start += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
        most -= 1
    return min(start, len(data))
