"""The examples on the page: clips that a text-to-music model made, some of them damaged on purpose."""

import csv
from pathlib import Path

import librosa
import numpy as np
import soundfile

from core.files import json_text, write_atomically
from tools.judge.damages import damage
from tools.judge.packages import fetch, known
from tools.judge.sounds import RATE_HZ

LISTED = Path(__file__).with_suffix(".csv")
SOURCE = "immich-memories-music"
DURATION_S = 16.0
SOURCES = """# Where the example clips come from

A text-to-music model, ACE-Step 1.5, made them; they are of the PyPI package {name} {version} ({licence}).
Some were damaged on purpose, as their notes say. Titles and prompts are this project's.
"""
SHOWN = ("title", "prompt", "note", "file")


def write_examples(folder: Path, packages: Path) -> None:
    """Write clips and ``examples.json`` into a folder; `packages` is where what is fetched is kept."""
    [package] = [package for package in known() if package.name == SOURCE]
    fetched = fetch([package], packages)[SOURCE]
    tracks = fetched.root / "immich_memories_music/tracks"
    with LISTED.open(encoding="utf-8", newline="") as table:
        listed = list(csv.DictReader(table))
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(listed):
        file, start_s = tracks / f"{row['track']}.opus", float(row["start_s"])
        if row["damage"]:
            sound, rate_hz = librosa.load(file, sr=RATE_HZ, offset=start_s, duration=DURATION_S)
            sound = damage(sound, row["damage"], 1, np.random.default_rng(number))
        else:
            sound, rate_hz = librosa.load(file, sr=None, mono=False, offset=start_s, duration=DURATION_S)
        soundfile.write(folder / row["file"], sound.T, rate_hz)
    shown = [{name: row[name] for name in SHOWN} for row in listed]
    said = SOURCES.format(name=package.name, version=fetched.version, licence=package.licence)
    write_atomically(folder / "SOURCES.md", said)
    write_atomically(folder / "examples.json", json_text(shown))
