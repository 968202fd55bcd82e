"""Sound files and tables as people have them: broken off, joined, silent, exported by a spreadsheet. All made here."""

import io
import shutil
import struct
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.clips import pluck

RATE_HZ = 16_000
HAS_FFMPEG = shutil.which("ffmpeg") is not None


def made(suffix: str, duration_s: float = 4.0, samples: NDArray[np.float32] | None = None, hz: int = RATE_HZ) -> bytes:
    """Return a file that libsndfile writes, of plucks or the samples given."""
    file = io.BytesIO()
    kinds = {"opus": ("OGG", "OPUS"), "ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III")}
    kind, coding = kinds.get(suffix, (suffix.upper(), "PCM_16"))
    soundfile.write(file, pluck(duration_s, hz) if samples is None else samples, hz, format=kind, subtype=coding)
    return file.getvalue()


def encoded(name: str, *options: str, duration_s: float = 4.0) -> bytes:
    """Return a file that ffmpeg writes, of plucks."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.wav"), Path(folder, name)
        source.write_bytes(made("wav", duration_s))
        subprocess.run(["ffmpeg", "-v", "error", "-i", str(source), *options, str(target)], check=True)
        return target.read_bytes()


def with_tags(data: bytes, *sizes: int) -> bytes:
    """Put ID3 tags before a file."""
    tags = (b"ID3\x03\0\0" + bytes([0, 0, size >> 7, size & 0x7F]) + bytes(size) for size in sizes)
    return b"".join(tags) + data


def without_count(mp3: bytes) -> bytes:
    """Return an MP3 without the frame that counts the others."""
    return mp3[mp3.find(mp3[:2], 4) :]


def with_count(mp3: bytes, factor: float) -> bytes:
    """Return an MP3 whose first frame counts the others wrongly."""
    data = bytearray(mp3)
    at = data.find(b"Info") if b"Info" in data else data.find(b"Xing")
    (count,) = struct.unpack_from(">I", data, at + 8)
    struct.pack_into(">I", data, at + 8, round(count * factor))
    return bytes(data)


def with_sizes(wav: bytes, size: int, outer: int) -> bytes:
    """Return a WAV that tells other sizes of its samples and of itself."""
    data = bytearray(wav)
    struct.pack_into("<I", data, 4, outer)
    struct.pack_into("<I", data, 40, size)
    return bytes(data)


def half(data: bytes) -> bytes:
    """Return what a download that broke off leaves."""
    return data[: len(data) // 2]


def packed(names: dict[str, bytes], encoding: str = "utf-8") -> bytes:
    """Return a ZIP with names in an encoding and without the flag that says so, as other systems write it."""
    file = io.BytesIO()
    stand_ins = {name: f"{n}".ljust(len(name.encode(encoding)), "x") for n, name in enumerate(names)}
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in names.items():
            archive.writestr(stand_ins[name], data)
    data = file.getvalue()
    for name, stand_in in stand_ins.items():
        data = data.replace(stand_in.encode(), name.encode(encoding))
    return data


@dataclass(frozen=True)
class Sound:
    """A file that people give: how much of it is heard, and the code or the words that must stand beside it."""

    name: str
    make: Callable[[], bytes]
    heard_s: float | None  # None where it is refused
    said: str = ""
    needs_ffmpeg: bool = False


def _tone() -> bytes:
    return made("flac", samples=0.5 * np.sin(2 * np.pi * 18_000 * np.arange(4 * 44_100) / 44_100), hz=44_100)


def _quiet_start() -> NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ)
    return np.concatenate([np.zeros(4 * RATE_HZ), noise]).astype(np.float32)


SILENT, INCOMPLETE = "is silent for the judge", "incomplete"
SOUNDS = (
    # The judge hears (next to) nothing.
    Sound("music.flac", lambda: made("flac"), 4.0),
    Sound("inverted.flac", lambda: made("flac", samples=np.stack([pluck(), -pluck()], axis=1)), None, SILENT),
    Sound("constant.flac", lambda: made("flac", samples=np.full(4 * RATE_HZ, 0.5)), None, SILENT),
    Sound("tone.flac", _tone, None, SILENT),
    Sound("faint.flac", lambda: made("flac", samples=0.4 + 0.0005 * pluck()), None, SILENT),
    # More than the first header says.
    Sound("joined.mp3", lambda: made("mp3", 2.5) + made("mp3", 5.5), 8.0),
    Sound("joined.flac", lambda: made("flac", 2.5) + made("flac", 5.5), 8.0),
    Sound("joined.wav", lambda: made("wav", 2.5) + made("wav", 5.5), 8.0),
    Sound("chained.ogg", lambda: made("ogg", 2.5) + made("ogg", 5.5), 8.0),
    Sound("a_third.mp3", lambda: with_count(made("mp3", 8.0), 1 / 3), 8.0),
    Sound("two_tags.mp3", lambda: with_tags(without_count(made("mp3", 8.0)), 100, 3_000), 8.0),
    Sound("one_tag.mp3", lambda: with_tags(without_count(made("mp3", 8.0)), 100), 8.0),
    # Less, or the same.
    Sound("half.wav", lambda: half(made("wav", 8.0)), 4.0, INCOMPLETE),
    Sound("half.ogg", lambda: half(made("ogg", 8.0)), 2.7, INCOMPLETE),
    Sound("half.flac", lambda: half(made("flac", 8.0)), 4.0, INCOMPLETE),
    Sound("half.m4a", lambda: half(encoded("a.m4a", "-movflags", "+faststart", duration_s=8.0)), 4.0, INCOMPLETE, True),
    Sound("quiet_start.mp3", lambda: with_tags(without_count(made("mp3", samples=_quiet_start())), 100, 3_000), 8.0),
    Sound("zero_sizes.wav", lambda: with_sizes(made("wav", 8.0), 0, 0), 8.0),
    Sound("flac.oga", lambda: encoded("a.oga", "-c:a", "flac"), 4.0, "", True),
    Sound("junk.wav", lambda: made("wav") + bytes(range(255)) * 40, 4.0, INCOMPLETE),
    # Limits.
    Sound("short.flac", lambda: made("flac", 0.498), None, "0.49 s long; at least 0.5 s are needed"),
)

ROW = "c1.wav,A calm piano,S1\n"
TWO = f"file,prompt,system\n{ROW}c2.wav,Loud drums,S2\n"


@dataclass(frozen=True)
class Table:
    """A list of clips: how many rows it has, or the words that refuse it."""

    name: str
    content: str | bytes
    taken: int | str
    code: str = ""  # of a warning of each row


TABLES = (
    Table("plain", TWO, 2),
    Table("spreadsheet", TWO.encode("utf-16"), 2),
    Table("unclosed quote", 'file,prompt,system\nc1.wav,"Rock,S1\nc2.wav,Calm,S1\n', "line 2: a quote"),
    Table(
        "two stray quotes", 'file,prompt,system\nc1.wav,"Rock,S1\nc2.wav,Calm",S1\nc3.wav,Jazz,S1\n', "line 2: a quoted"
    ),
    Table("trailing rows", TWO + ",,\n,,\n", 2),
    Table("trailing rows with id", f"id,file,prompt,system\n1,{ROW}2,{ROW},,,\n,,,\n", 2),
    Table("trailing columns", f"file,prompt,system,,\n{ROW.strip()},,\n", 1),
    Table("heading spaces", "file, prompt, system\nc1.wav, A calm piano, S1\n", 1),
    Table("cell spaces", TWO + "c3.wav ,Jazz trio,S1 \n", 3),
    Table("semicolons", "\ufefffile;prompt;system\nc1.wav;Rock riff, loud;S1\n", 1),
    Table("blank first line", f"\nfile,prompt,system\n{ROW}", 1),
    Table("Windows paths", "file,prompt,system\n.\\c1.wav,A calm piano,S1\nsub\\c4.wav,A calm piano,S1\n", 2),
    Table("composed names", "file,prompt,system\nCaf\u00e9.wav,A calm piano,S1\n", 1),
    Table("not English", "file,prompt,system\nc1.wav,缓慢而悲伤的钢琴曲,S1\n", 1, "prompt_not_english"),
    Table("not UTF-8", "file,prompt,system\nc1.wav,缓慢而悲伤的钢琴曲,S1\n".encode("gbk"), "it may be GBK"),
    Table("column twice", "file,prompt,system,prompt\nc1.wav,a,S1,b\n", "has two columns 'prompt'"),
)


def write_table(table: Table, folder: Path) -> Path:
    """Write a table and the clips that it may name."""
    (folder / "sub").mkdir()
    for number, name in enumerate(("c1.wav", "c2.wav", "c3.wav", "sub/c4.wav", "Cafe\u0301.wav")):
        (folder / name).write_bytes(made("wav", 0.6 + 0.01 * number))
    path = folder / "clips.csv"
    path.write_bytes(table.content if isinstance(table.content, bytes) else table.content.encode())
    return path
