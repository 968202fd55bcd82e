import numpy as np
import pytest

from tools.demo_judge import faults
from tools.demo_judge.composer import compose, draw_attributes
from tools.demo_judge.rendering import render


@pytest.fixture(scope="module")
def composition():
    random = np.random.default_rng(8)
    return compose(draw_attributes(random, "pop"), 6.0, random)


@pytest.fixture(scope="module")
def sound(composition):
    return render(composition, np.random.default_rng(0))


def rms(samples):
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


@pytest.mark.parametrize("name", faults.SOUND_FAULTS)
def test_a_fault_of_the_sound_grows_with_its_severity(sound, name):
    spoiled = [faults.spoil_sound(sound, {name: severity}, np.random.default_rng(1)) for severity in (0.0, 0.1, 1.0)]
    errors = [rms(s - sound) for s in spoiled]
    assert errors[0] == 0.0
    assert min(errors[1:]) > 0.0
    if name == "abrupt cuts":  # the same music moved about: what grows is how much of it is stopped
        errors = [np.mean(s == 0.0) for s in spoiled]
    assert errors[0] < errors[1] < errors[2]
    assert all(s.shape == sound.shape and s.dtype == np.float32 and np.isfinite(s).all() for s in spoiled)


@pytest.mark.parametrize("name", faults.NOTE_FAULTS)
def test_a_fault_of_the_notes_grows_with_its_severity(composition, name):
    def distance(severity):
        spoiled = faults.spoil_notes(composition, {name: severity}, np.random.default_rng(1))
        before, after = (
            np.array([(n.midi, n.cents / 100, n.start_s) for n in c.notes]) for c in (composition, spoiled)
        )
        return np.abs(before - after).mean()

    assert distance(0.0) == 0.0
    assert 0.0 < distance(0.1) < distance(1.0)


def test_noise_has_its_signal_to_noise_ratio(sound):
    hiss = faults.spoil_sound(sound, {"noise": 0.5}, np.random.default_rng(0)) - sound
    assert 20 * np.log10(rms(sound) / rms(hiss)) == pytest.approx(30.0 - 33.0 * 0.5, abs=0.1)


def test_drop_outs_are_silent(sound):
    spoiled = faults.spoil_sound(sound, {"drop-outs": 1.0}, np.random.default_rng(0))
    assert 0.2 < np.mean(spoiled == 0.0) < 0.5


def test_a_band_limit_takes_the_highs(sound):
    spoiled = faults.spoil_sound(sound, {"band limit": 1.0}, np.random.default_rng(0))
    highs = slice(3000 * 6, None)  # bins from 3 kHz
    assert rms(np.abs(np.fft.rfft(spoiled))[highs]) < 0.2 * rms(np.abs(np.fft.rfft(sound))[highs])


def test_impressions_fall_with_every_fault_and_stay_on_the_scale():
    assert faults.impression({}) == pytest.approx(4.7)
    for name in faults.NAMES:
        assert 4.7 > faults.impression({name: 0.3}) > faults.impression({name: 1.0}) > 1.0
    worst = faults.impression(dict.fromkeys(faults.NAMES, 1.0))
    assert 1.0 < worst < 1.1
