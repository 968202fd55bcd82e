"""Tuning, key and rhythm: each measure follows what it is named for, and nothing else."""

import numpy as np
import pytest
import torch
from torch import Tensor

from core.audio import WINDOW_SAMPLES
from core.checkpoint import load_checkpoint
from core.model_files import EMBEDDED_JUDGE
from core.towers.ears import FRAMES, EarsTower
from core.towers.notes import MEASURES, OF_PARTIALS, measures

RATE_HZ = 48_000
WHOLE, IN_FRAMES, IN_STRETCHES, BEST_KEY, CLEAR_KEY, IN_SCALE = range(6)
ONE_KEY, AGAIN, ENTROPY = 8, 10, 13
C_MAJOR = (0, 2, 4, 5, 7, 9, 11, 12)


@pytest.fixture(scope="module")
def tower() -> EarsTower:
    tower = load_checkpoint(EMBEDDED_JUDGE).tower
    assert isinstance(tower, EarsTower)
    return tower


def played(semitones: list[float], each_s: float = 0.25, jitter_s: float = 0.0) -> np.ndarray:
    """Notes from middle C on, one after the other, over and over."""
    random, sound = np.random.default_rng(0), np.zeros(WINDOW_SAMPLES + RATE_HZ, dtype=np.float32)
    seconds = np.arange(int(1.5 * each_s * RATE_HZ)) / RATE_HZ
    for place in range(int(10 / each_s)):
        hz = 261.63 * 2 ** (semitones[place % len(semitones)] / 12)
        note = sum(np.sin(2 * np.pi * k * hz * seconds) / k for k in range(1, 6)) * np.exp(-6 * seconds)
        start = max(0, int((place * each_s + random.uniform(-jitter_s, jitter_s)) * RATE_HZ))
        sound[start : start + len(note)] += 0.1 * note
    return sound[:WINDOW_SAMPLES]


def measured(tower: EarsTower, *sounds: np.ndarray) -> Tensor:
    windows = torch.from_numpy(np.stack(sounds))
    return measures(windows, tower.features(windows)[:, :FRAMES])


def melody(seed: int = 1) -> list[float]:
    return [float(note) for note in np.random.default_rng(seed).choice(C_MAJOR, 40)]


def test_notes_out_of_tune(tower: EarsTower) -> None:
    detuned = (np.array(melody()) + np.random.default_rng(2).uniform(-0.4, 0.4, 40)).tolist()
    well, ill = measured(tower, played(melody()), played(detuned))
    assert (ill[:IN_STRETCHES] < well[:IN_STRETCHES] - 0.1).all()


def test_another_concert_pitch_is_in_tune(tower: EarsTower) -> None:
    well, higher = measured(tower, played(melody()), played([note + 0.37 for note in melody()]))
    torch.testing.assert_close(higher[:BEST_KEY], well[:BEST_KEY], rtol=0, atol=0.05)
    torch.testing.assert_close(higher[BEST_KEY:AGAIN], well[BEST_KEY:AGAIN], rtol=0, atol=0.1)


def test_notes_outside_the_key(tower: EarsTower) -> None:
    chromatic = [float(note) for note in np.random.default_rng(3).integers(0, 12, 40)]
    inside, outside = measured(tower, played(melody()), played(chromatic))
    for measure in (BEST_KEY, IN_SCALE, ONE_KEY):
        assert float(outside[measure]) < float(inside[measure]) - 0.1, measure


def test_another_key_is_no_fault(tower: EarsTower) -> None:
    here, there = measured(tower, played(melody()), played([note + 3 for note in melody()]))
    torch.testing.assert_close(there[BEST_KEY:AGAIN], here[BEST_KEY:AGAIN], rtol=0, atol=0.1)


def test_notes_out_of_time(tower: EarsTower) -> None:
    well, ill = measured(tower, played(melody()), played(melody(), jitter_s=0.12))
    assert float(ill[AGAIN]) < float(well[AGAIN]) - 0.1
    assert float(ill[ENTROPY]) > float(well[ENTROPY])


def test_silence_has_measures(tower: EarsTower) -> None:
    found = measured(tower, np.zeros(WINDOW_SAMPLES, dtype=np.float32))
    assert found.shape == (1, MEASURES + 1)
    assert found.isfinite().all()


def notes(found: Tensor, to_a_frame: float) -> Tensor:
    """A window with these measures, and so many partials to a frame."""
    return torch.cat([found, torch.tensor([to_a_frame])])[None]


def test_only_what_is_unusual_is_told(tower: EarsTower) -> None:
    lowest, highest, half = tower.usual_notes
    assert not tower.unusual(notes((lowest + highest) / 2, 9.0)).any()
    [far] = tower.unusual(notes(lowest - 3 * half, 9.0))
    assert far[:MEASURES].tolist() == pytest.approx([3.0] * MEASURES, rel=1e-3)
    assert not far[MEASURES:].any()


def test_a_few_partials_say_little_of_tuning_and_key(tower: EarsTower) -> None:
    lowest, _, half = tower.usual_notes
    [far] = tower.unusual(notes(lowest - 3 * half, 0.25))
    assert far[:MEASURES].tolist() == pytest.approx([0.75] * OF_PARTIALS + [3.0] * (MEASURES - OF_PARTIALS), rel=1e-3)


def test_drums_have_few_partials(tower: EarsTower) -> None:
    random = np.random.default_rng(0)
    drums = np.zeros(WINDOW_SAMPLES, dtype=np.float32)
    drums[:: RATE_HZ // 2] = 1.0
    drums += 0.01 * random.normal(size=WINDOW_SAMPLES).astype(np.float32)
    few, many = measured(tower, drums, played(melody()))[:, MEASURES]
    assert few < 1 < many


def restored_without(tower: EarsTower, *left_out: str) -> EarsTower:
    weights = {name: weight for name, weight in tower.weights().items() if name not in left_out}
    return EarsTower.restore(weights, EMBEDDED_JUDGE)


def test_a_tower_of_before_listens_to_notes_however_few(tower: EarsTower) -> None:
    lowest, _, half = tower.usual_notes
    before = restored_without(tower, "enough_partials")
    for to_a_frame in (0.0, 0.25, 9.0):
        [far] = before.unusual(notes(lowest - 3 * half, to_a_frame))
        assert torch.equal(far[:MEASURES], (lowest - (lowest - 3 * half)) / half)


def test_a_tower_of_before_finds_nothing_unusual(tower: EarsTower) -> None:
    before = restored_without(tower, "usual_notes", "enough_partials")
    features = tower.features(played(melody())[None])
    assert not before.hear(features)[1][..., -2 * MEASURES :].any()
    assert before.hear(features)[1][..., : -2 * MEASURES].any()
    assert all(weight.isfinite().all() for weight in before.weights().values() if weight.is_floating_point())
