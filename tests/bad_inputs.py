"""What people give that is not a clip, a prompt or a model folder, and what must come of it.

Each way into the scorer (Python, command line, page, API) is tried with the same lists.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.clips import pluck, write_clip

PROMPT = "A calm guitar line"

Build = Callable[[Path], tuple[Path, str]]


@dataclass(frozen=True)
class BadInput:
    """One clip with its prompt."""

    name: str
    build: Build  # from an empty folder to the clip's path and the prompt
    error: str | None = None  # a part of the sentence that refuses it; None where it is scored
    warning: str | None = None  # the code of a warning that the score must carry


@dataclass(frozen=True)
class BadModel:
    """A way to spoil a model folder: `spoil` gets a good copy and gives the folder to load."""

    name: str
    spoil: Callable[[Path], Path]
    error: str


def _clip(name: str, make: Callable[[Path], object]) -> Build:
    def build(folder: Path) -> tuple[Path, str]:
        make(folder / name)
        return folder / name, PROMPT

    return build


def _prompt(prompt: str) -> Build:
    return lambda folder: (write_clip(folder / "clip.wav"), prompt)


def _samples(*values: float, sample_rate_hz: int = 16_000) -> Callable[[Path], None]:
    """Write a clip that repeats the given values."""
    samples = np.resize(np.array(values, np.float32), sample_rate_hz)
    return lambda path: soundfile.write(path, samples, sample_rate_hz, subtype="FLOAT")


def _truncated(suffix: str, share: float) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        whole = write_clip(path.with_name("whole" + suffix), pluck(20.0)).read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])

    return make


def _two_hours(path: Path) -> None:
    with soundfile.SoundFile(path, "w", 8_000, 1, "PCM_16") as sound:
        for _ in range(120):
            sound.write(np.zeros(60 * 8_000, np.int16))


def _200_megabytes(path: Path) -> None:
    write_clip(path)
    with path.open("r+b") as file:
        file.truncate(200_000_000)


def _studio_master(path: Path) -> None:
    soundfile.write(path, np.stack([pluck(4.0, 96_000)] * 6, axis=1), 96_000, subtype="PCM_24")


def _playlist(path: Path) -> None:
    target = write_clip(path.with_name("private.wav"))
    path.write_text(f"#EXTM3U\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n")


BAD_INPUTS = (
    BadInput("missing file", lambda folder: (folder / "missing.wav", PROMPT), '"missing.wav" was not found'),
    BadInput("folder", _clip("folder.wav", lambda path: path.mkdir()), "is a folder"),
    BadInput("empty file", _clip("empty.wav", lambda path: path.touch()), "is empty (0 bytes)"),
    BadInput("text", _clip("text.wav", lambda path: path.write_text("Dear reader,\n")), "cannot be read as audio"),
    BadInput("playlist", _clip("list.m4a", _playlist), "cannot be read as audio"),
    BadInput("truncated MP3", _clip("half.mp3", _truncated(".mp3", 0.5)), warning="incomplete"),
    BadInput("MP3 header", _clip("head.mp3", _truncated(".mp3", 0.002)), "cannot be read as audio"),
    BadInput("truncated FLAC", _clip("half.flac", _truncated(".flac", 0.5)), warning="incomplete"),
    BadInput("zero samples", _clip("none.wav", lambda path: write_clip(path, pluck(0.0))), "has no samples"),
    BadInput("NaN", _clip("nan.wav", _samples(0.1, -0.1, float("nan"))), "not numbers (NaN or infinite)"),
    BadInput("infinity", _clip("inf.wav", _samples(0.1, float("inf"))), "not numbers (NaN or infinite)"),
    BadInput("0.1 s", _clip("blip.wav", lambda path: write_clip(path, pluck(0.1))), "0.10 s long; at least 0.5 s"),
    BadInput("2 hours", _clip("long.flac", _two_hours), "7200.0 s long; the limit is 600 s"),
    BadInput("200 MB", _clip("large.wav", _200_megabytes), "200.0 MB; the limit is 100 MB"),
    BadInput("96 kHz, 24 bits, 6 channels", _clip("master.wav", _studio_master)),
    BadInput("silence", _clip("silence.wav", _samples(0.0)), "is silent for the judge"),
    BadInput("constant", _clip("constant.wav", _samples(0.5)), "holds a constant value"),
    BadInput("truncated WAV", _clip("half.wav", _truncated(".wav", 0.5)), warning="incomplete"),
    BadInput("truncated OGG", _clip("half.ogg", _truncated(".ogg", 0.5)), warning="incomplete"),
    BadInput("1 s", _clip("short.wav", lambda path: write_clip(path, pluck(1.0))), warning="very_short"),
    BadInput("empty prompt", _prompt(""), warning="prompt_empty"),
    BadInput("blank prompt", _prompt(" \n\t"), warning="prompt_empty"),
    BadInput("100,000 characters", _prompt("piano and strings " * 5_556), warning="prompt_cut"),
    BadInput("HTML", _prompt("<script>alert(1)</script><img src=x onerror=alert(1)> &amp; piano")),
    BadInput("emoji", _prompt("🎹🔥 upbeat 👩‍👩‍👧 dance 🇯🇵")),
    BadInput("right to left", _prompt("بيانو هادئ \u202eפסנתר שקט"), warning="prompt_not_english"),
    BadInput("control characters", _prompt("piano\x00\x1b[31m\r\nstrings")),
)


def _replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def spoil(folder: Path) -> Path:
        path = sorted(folder.glob(name))[-1]
        path.write_bytes(change(path.read_bytes()))
        return folder

    return spoil


def _removed(name: str) -> Callable[[Path], Path]:
    def spoil(folder: Path) -> Path:
        sorted(folder.glob(name))[-1].unlink()
        return folder

    return spoil


def _flip_last_byte(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


BAD_MODELS = (
    BadModel("unknown folder", lambda folder: folder.with_name("elsewhere"), '"elsewhere" is not a model folder'),
    BadModel("file for a folder", lambda folder: folder / "README.md", '"README.md" is not a model folder'),
    BadModel("damaged weights", _replaced("*.safetensors", _flip_last_byte), '.safetensors" of the model folder'),
    BadModel("half the weights", _replaced("*.safetensors", lambda data: data[:999]), "is damaged"),
    BadModel("missing weights", _removed("*.safetensors"), "is missing or cannot be read"),
    BadModel("missing metrics", _removed("metrics.json"), '"metrics.json" of the model folder'),
    BadModel("damaged config", _replaced("config.json", lambda data: data[:40]), '"config.json" of the model folder'),
    BadModel("empty config", _replaced("config.json", lambda _: b"{}"), '"config.json" of the model folder'),
)
