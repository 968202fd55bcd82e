import time

import numpy as np
import pytest

from tools.demo_judge.composer import SCALES, compose, draw_attributes
from tools.demo_judge.genres import GENRES
from tools.demo_judge.rendering import render
from tools.demo_judge.timbres import SAMPLE_RATE_HZ, TIMBRES, note, pitch_hz


def piece(seed, genre=None, duration_s=10.0):
    random = np.random.default_rng(seed)
    return compose(draw_attributes(random, genre), duration_s, random), random


def test_a_seed_gives_the_same_music_again():
    first, second = (render(*piece(11)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, render(*piece(12)))


@pytest.mark.parametrize("genre", GENRES)
def test_every_genre_sounds(genre):
    composition, random = piece(5, genre)
    sound = render(composition, random)
    assert composition.notes or composition.strokes
    assert sound.shape == (10 * SAMPLE_RATE_HZ,)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-3)
    seconds = sound.reshape(10, -1)
    assert (np.sqrt((seconds**2).mean(axis=1)) > 1e-3).sum() >= 8  # music from beginning to end


def test_melodies_and_chords_keep_to_the_scale():
    composition, _ = piece(21, "pop")
    used = {n.midi % 12 for n in composition.notes}
    scale = SCALES[composition.attributes.mode]
    assert any(used <= {(tonic + step) % 12 for step in scale} for tonic in range(12))


@pytest.mark.parametrize("genre", ["waltz", "rock", "ambient", "solo"])
def test_instruments_play_what_they_can(genre):
    for seed in range(5):
        for played in piece(seed, genre)[0].notes:
            timbre = TIMBRES[played.timbre]
            assert timbre.low <= played.midi <= timbre.high + 12


def test_a_faster_piece_has_its_beats_closer():
    drums = [s.start_s for s in piece(3, "dance")[0].strokes if s.drum == "kick"]
    tempo_bpm = draw_attributes(np.random.default_rng(3), "dance").tempo_bpm
    assert np.median(np.diff(sorted(drums))) == pytest.approx(60 / tempo_bpm, abs=0.03)


def test_a_note_has_its_pitch():
    sound = note("flute", 69, 0)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    loudest_hz = np.argmax(spectrum) * SAMPLE_RATE_HZ / len(sound)
    assert pitch_hz(69) == 440.0
    assert loudest_hz == pytest.approx(440.0, abs=3.0)


def test_there_are_at_least_ten_timbres_that_differ():
    spectra = []
    for name, timbre in TIMBRES.items():
        sound = note(name, (timbre.low + timbre.high) // 2, 1)
        spectra.append(np.log(np.abs(np.fft.rfft(sound))[:8000] + 1e-3))
    likeness = np.corrcoef(spectra)
    assert len(TIMBRES) >= 10
    assert likeness[~np.eye(len(TIMBRES), dtype=bool)].max() < 0.995


def test_composing_is_fifty_times_as_fast_as_playing():
    for seed in range(30):  # notes are kept once played
        render(*piece(seed))
    rates = []
    for batch in range(3):
        started = time.process_time()
        for seed in range(100 + 10 * batch, 110 + 10 * batch):
            render(*piece(seed))
        rates.append(100.0 / (time.process_time() - started))
    assert max(rates) > 50
