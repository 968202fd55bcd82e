import numpy as np
import pytest

from tools.judge import sounds
from tools.judge.sounds import RATE_HZ, SPOILT_MUSIC, SYNTHETIC, rms

LENGTH_S = 3.0


def random(seed=0):
    return np.random.default_rng(seed)


def spectrum(sound):
    return np.abs(np.fft.rfft(sound)) ** 2, np.fft.rfftfreq(len(sound), 1 / RATE_HZ)


def octave_power(sound, low_hz):
    power, frequencies = spectrum(sound)
    return power[(frequencies >= low_hz) & (frequencies < 2 * low_hz)].sum()


@pytest.fixture(scope="module")
def melody():
    t = np.arange(3 * RATE_HZ) / RATE_HZ
    notes = np.repeat([262.0, 330.0, 392.0, 523.0, 440.0, 349.0], RATE_HZ // 2)
    return (0.3 * np.sin(2 * np.pi * np.cumsum(notes) / RATE_HZ) * np.exp(-2 * (t % 0.5))).astype(np.float32)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_sound_has_its_length_and_is_the_same_each_time(name):
    made = [SYNTHETIC[name](LENGTH_S, random(seed)) for seed in (1, 1, 2)]
    assert [len(sound) for sound in made] == [round(LENGTH_S * RATE_HZ)] * 3
    assert all(sound.dtype == np.float32 and np.abs(sound).max() <= sounds.PEAK + 1e-6 for sound in made)
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize("seed", range(3))
def test_a_sine_is_one_frequency(seed):
    power, frequencies = spectrum(sounds.sine(LENGTH_S, random(seed)))
    peak = power.argmax()
    assert 80 <= frequencies[peak] <= 4000
    assert power[peak - 3 : peak + 4].sum() / power.sum() > 0.9


def test_hum_is_the_mains_and_its_overtones():
    power, frequencies = spectrum(sounds.mains_hum(LENGTH_S, random()))
    loud = frequencies[power > power.max() / 1000]
    assert loud.min() in {50.0, 60.0}
    np.testing.assert_allclose(loud % loud.min(), 0.0, atol=1e-6)


def test_a_chord_holds():
    sound = sounds.held_chord(LENGTH_S, random())
    halves = [spectrum(half)[0] for half in np.split(sound, 2)]
    assert np.corrcoef(*halves)[0, 1] > 0.99
    power, _ = spectrum(sound)
    tops = (power > power.max() / 50) & (power == np.maximum.reduce([np.roll(power, k) for k in range(-9, 10)]))
    assert np.sum(tops) >= 3


def test_clicks_are_short_and_regular():
    sound = sounds.clicks(LENGTH_S, random())
    loud = np.flatnonzero(np.abs(sound) > 0.4)
    starts = loud[np.diff(loud, prepend=-RATE_HZ) > 200]
    assert np.mean(sound != 0) < 0.06
    assert len(set(np.diff(starts))) == 1


@pytest.mark.parametrize(("name", "slope_db"), [("white noise", 3.0), ("pink noise", 0.0), ("brown noise", -3.0)])
def test_noise_has_its_colour(name, slope_db):
    sound = SYNTHETIC[name](LENGTH_S, random())
    levels_db = [10 * np.log10(octave_power(sound, low_hz)) for low_hz in (125, 250, 500, 1000, 2000, 4000)]
    assert np.mean(np.diff(levels_db)) == pytest.approx(slope_db, abs=0.5)


def test_near_silence_is_80_db_down():
    assert 20 * np.log10(rms(sounds.near_silence(LENGTH_S, random()))) == pytest.approx(-80, abs=0.5)


def test_random_notes_begin_and_end_while_a_chord_does_not():
    def unrest(sound):
        frames = np.abs(np.fft.rfft(sound[: len(sound) // 1600 * 1600].reshape(-1, 1600)))
        return np.mean(np.abs(np.diff(frames, axis=0))) / frames.mean()

    assert unrest(sounds.random_notes(LENGTH_S, random())) > 2 * unrest(sounds.held_chord(LENGTH_S, random()))


def test_babble_has_syllables():
    sound = sounds.babble(10.0, random())
    envelope = np.sqrt(np.mean(sound[: len(sound) // 320 * 320].reshape(-1, 320) ** 2, axis=1))
    power, frequencies = np.abs(np.fft.rfft(envelope - envelope.mean())) ** 2, np.fft.rfftfreq(len(envelope), 0.02)
    assert power[(frequencies > 2) & (frequencies < 9)].sum() > 0.4 * power.sum()  # as speech: 2 to 9 a second


@pytest.mark.parametrize("name", SPOILT_MUSIC)
def test_what_is_done_to_music_keeps_its_length_and_changes_it(melody, name):
    spoilt, again = (SPOILT_MUSIC[name](melody, random(3)) for _ in range(2))
    np.testing.assert_array_equal(spoilt, again)
    assert spoilt.shape == melody.shape
    assert spoilt.dtype == np.float32
    assert rms(spoilt - melody) > 0.3 * rms(melody)


def test_backwards_twice_is_forwards(melody):
    np.testing.assert_array_equal(sounds.backwards(sounds.backwards(melody, random()), random()), melody)


def test_shuffling_keeps_the_spectrum_and_the_stretches(melody):
    moved = sounds.shuffled(melody, random())
    assert rms(moved) == pytest.approx(rms(melody), rel=0.1)
    assert np.abs(np.correlate(moved[::8], melody[::8], "valid"))[0] < 0.5 * np.sum(melody[::8] ** 2)


def test_two_keys_hold_each_note_twice():
    note = (0.3 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)).astype(np.float32)
    power, frequencies = spectrum(sounds.two_keys(note, random()))
    heard = sorted(frequencies[np.argsort(power)[::-1][:40]])
    assert any(abs(f - 440) < 3 for f in heard)
    assert any(min(abs(f - 466.2), abs(f - 622.3)) < 8 for f in heard)


def test_what_sticks_repeats_to_the_end(melody):
    sound = sounds.stuck(melody, random())
    same = [np.array_equal(sound[-4000:], sound[-4000 - period : -period]) for period in range(1600, 8001)]
    assert any(same)
