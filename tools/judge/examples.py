"""The examples on the page: clips that a text-to-music model made, some of them damaged on purpose."""

import csv
from collections.abc import Iterable
from pathlib import Path

import librosa
import numpy as np
import soundfile

from core.files import json_text, write_atomically
from tools.judge.damages import damage
from tools.judge.packages import fetch, known
from tools.judge.sounds import RATE_HZ

LISTED, FAULTS = (Path(__file__).with_name(f"{name}.csv") for name in ("examples", "faults"))
SOURCE = "immich-memories-music"
DURATION_S = 16.0
SOURCES = """# Where the example clips come from

A text-to-music model, ACE-Step 1.5, made them; they are of the PyPI package {name} {version} ({licence}).
Some were damaged on purpose, as their notes say. Titles, prompts, and what is no music are this project's.
"""
SHOWN = ("title", "prompt", "note", "file")


def write_examples(folder: Path, packages: Path) -> None:
    """Write clips and ``examples.json`` into a folder; `packages` is where what is fetched is kept."""
    [package] = [package for package in known() if package.name == SOURCE]
    fetched = fetch([package], packages)[SOURCE]
    tracks = fetched.root / "immich_memories_music/tracks"
    listed = _rows(LISTED)
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(listed):
        file, start_s = tracks / f"{row['track']}.opus", float(row["start_s"])
        if row["damage"]:
            sound, rate_hz = librosa.load(file, sr=RATE_HZ, offset=start_s, duration=DURATION_S)
            sound = damage(sound, row["damage"], 1, np.random.default_rng(number))
        else:
            sound, rate_hz = librosa.load(file, sr=None, mono=False, offset=start_s, duration=DURATION_S)
        soundfile.write(folder / row["file"], sound.T, rate_hz)
    _write_faults(folder)
    shown = [*_shown(listed, is_fault=False), *_shown(_rows(FAULTS), is_fault=True)]
    said = SOURCES.format(name=package.name, version=fetched.version, licence=package.licence)
    write_atomically(folder / "SOURCES.md", said)
    write_atomically(folder / "examples.json", json_text(shown))


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _shown(rows: Iterable[dict[str, str]], is_fault: bool) -> list[dict[str, str | bool]]:
    return [{name: row[name] for name in SHOWN} | {"is_fault": is_fault} for row in rows]


def _write_faults(folder: Path) -> None:
    """Write what gets no score, or a warning, one of each kind; two are parts of examples."""
    faults, time_s = folder / "faults", np.arange(5 * RATE_HZ) / RATE_HZ
    faults.mkdir(exist_ok=True)
    soundfile.write(faults / "silence.flac", np.zeros(5 * RATE_HZ), RATE_HZ)
    hum = sum(np.sin(2 * np.pi * 50 * part * time_s) / part for part in (1, 2, 3, 4, 6)) / 4
    soundfile.write(faults / "mains-hum.flac", hum, RATE_HZ)
    sound, rate_hz = soundfile.read(folder / "calm-morning.ogg", frames=10_000)
    soundfile.write(faults / "too-short.flac", sound, rate_hz)
    (faults / "no-sound.wav").write_text("A text that somebody has called a sound.\n", encoding="utf-8")
    whole = (folder / "lost-phases.ogg").read_bytes()
    (faults / "breaks-off.ogg").write_bytes(whole[: len(whole) // 2])
