"""What still tells an anchor from the clips is said."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from annotation.database import Database
from annotation.material.clips import Entry, add_clip
from annotation.material.parity import parity
from annotation.material.sound import normalise
from annotation.protocol import Protocol
from annotation.schema import Study
from annotation.studies import create
from core.audio import read_clip
from tests.annotation.rooms import NOW

RATE_HZ = 16_000


@pytest.fixture
def study(database: Database) -> Study:
    with database.write() as session:
        return create(session, "one", Protocol(), 3, NOW)


def noise(duration_s: float = 1.0, edge_hz: float = 0.0) -> NDArray[np.float32]:
    samples = np.random.default_rng(1).normal(0, 0.1, round(duration_s * RATE_HZ)).astype(np.float32)
    if not edge_hz:
        return samples
    taps = signal.firwin(257, edge_hz, window=("kaiser", 10.0), fs=RATE_HZ)
    return signal.oaconvolve(samples, taps, mode="same").astype(np.float32)


def compare(
    database: Database,
    folder: Path,
    study: Study,
    clips: list[NDArray[np.float32]],
    anchors: list[NDArray[np.float32]],
) -> list[str]:
    for kind, sounds in (("stimulus", clips), ("anchor", anchors)):
        for number, samples in enumerate(sounds):
            sound = normalise(read_clip((samples, RATE_HZ)), Protocol())
            entry = Entry(f"deep/{kind}{number}.wav", "p", "S1", kind)
            assert add_clip(database, folder, study, entry, f"{number}", sound, NOW)
    return parity(database, folder, study)


def test_alike(database: Database, study: Study, tmp_path: Path) -> None:
    clips = [noise(1.0), noise(2.0)]
    assert compare(database, tmp_path, study, clips, [noise(1.5), noise(1.0)]) == []


def test_nothing_to_compare(database: Database, study: Study, tmp_path: Path) -> None:
    assert parity(database, tmp_path, study) == []
    assert compare(database, tmp_path, study, [noise()], []) == []


def test_length(database: Database, study: Study, tmp_path: Path) -> None:
    found = compare(
        database, tmp_path, study, [noise(1.0), noise(2.0)], [noise(2.5), noise(0.7), noise(2.05)]
    )
    assert found == [
        "2 of 3 anchors may be known by their length: anchor0.wav (2.5 s), anchor1.wav (0.7 s). "
        "The clips have 1.0 to 2.0 s."
    ]


def test_loudness(database: Database, study: Study, tmp_path: Path) -> None:
    clicks = np.zeros(RATE_HZ, dtype=np.float32)
    clicks[4000::8000] = 0.5
    (found,) = compare(database, tmp_path, study, [noise()] * 1, [clicks, noise()])
    assert found.startswith("1 of 2 anchors may be known by their loudness: anchor0.wav (-")
    assert found.endswith("LUFS). Most clips have -23.0 LUFS.")


def test_bandwidth(database: Database, study: Study, tmp_path: Path) -> None:
    clips = [noise() for _ in range(30)] + [noise(edge_hz=4000)]
    (found,) = compare(database, tmp_path, study, clips, [noise(edge_hz=4000), noise(edge_hz=7600)])
    assert found.startswith("1 of 2 anchors may be known by their bandwidth: anchor0.wav (4.")
    assert found.endswith("kHz). Most clips have 8.0 kHz.")


def test_silence_is_not_compared(database: Database, study: Study, tmp_path: Path) -> None:
    silence = np.zeros(RATE_HZ, dtype=np.float32)
    assert compare(database, tmp_path, study, [noise(), silence], [noise(), silence]) == []


def test_a_long_list_is_cut(database: Database, study: Study, tmp_path: Path) -> None:
    (found,) = compare(database, tmp_path, study, [noise()], [noise(2.0 + n) for n in range(7)])
    assert "anchor4.wav (6.0 s) and 2 more. The clips have 1.0 s." in found
