"""Frames of MP3 and AAC, counted without decoding them, and the tags that stand around sound of every kind."""

from dataclasses import dataclass

JUNK_BYTES = 4_096  # behind the end of the sound: tags of some kind
_APE = b"APETAGEX"
TAGS = (b"ID3", b"TAG", _APE, b"LYRICSBEGIN")


# Tags


def id3_end(data: bytes, start: int = 0, most: int = 99) -> int:
    """Return where the ID3v2 tags end that a file begins with, or that stand at `start`."""
    while most and data[start : start + 3] == b"ID3" and len(data) > start + 10:
        size = data[start + 6 : start + 10]  # 28 bits, seven a byte
        start += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(size, (21, 14, 7, 0), strict=True))
        most -= 1
    return min(start, len(data))


def unknown_bytes(data: bytes, end: int) -> int:
    """Return how many bytes stand behind the end of the sound, where they are neither few, nor zeros, nor tags."""
    behind = data[end:].lstrip(b"\0")
    behind = behind[id3_end(behind) :]
    if behind[-128:-125] == b"TAG":
        behind = behind[:-128]
    if behind[-32:-24] == _APE:  # the size is that of what stands before its foot, and of the foot
        behind = behind[: -32 - int.from_bytes(behind[-20:-16], "little")]
    behind = behind.strip(b"\0")
    return 0 if len(behind) <= JUNK_BYTES or behind.startswith(TAGS) else len(behind)


# AAC


def aac_frame(data: bytes, at: int = 0) -> int:
    """Return the length of the ADTS frame (ISO 13818-7, 6.2) that stands there; 0 where there is none."""
    head = data[at : at + 7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return 0
    length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return length if length > 7 else 0


def aac_end(data: bytes) -> int:
    """Return where the frames end: behind the file's end where the last is cut."""
    at = id3_end(data)
    while length := aac_frame(data, at):
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


class Mp3Frames:
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
        start = id3_end(self._data)
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
            at = max(id3_end(self._data, at), at + 1) - 1
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
        if is_plain and self._opening_counts and self._opening[0] == id3_end(self._data, most=1):
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
