import numpy as np
import pytest

from tools.judge.damages import DAMAGES, HARMLESS, damage, harmless
from tools.judge.sounds import RATE_HZ, random_notes, rms


@pytest.fixture(scope="module")
def sound():
    return (0.1 * random_notes(4.0, np.random.default_rng(5))).astype(np.float32)


def log_mel(sound):
    import librosa

    mel = librosa.feature.melspectrogram(y=sound, sr=RATE_HZ, n_fft=512, hop_length=256, n_mels=48)
    return np.log10(1e4 * mel + 1)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_keeps_length_and_loudness_and_the_strong_one_changes_more(sound, name):
    copies = [damage(sound, name, strength, np.random.default_rng(1)) for strength in (0, 1)]
    for copy in copies:
        assert copy.shape == sound.shape
        assert copy.dtype == np.float32
        assert rms(copy) == pytest.approx(rms(sound), rel=0.02)
    mild, strong = (np.abs(log_mel(copy) - log_mel(sound)).mean() for copy in copies)
    assert 0.01 < mild < strong


@pytest.mark.parametrize("name", [*DAMAGES])
def test_the_same_seed_damages_in_the_same_way(sound, name):
    first, second = (damage(sound, name, 1, np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_dull_copy_has_no_highs_and_a_thin_one_no_lows(sound):
    def share_above(copy, hz):
        power = np.abs(np.fft.rfft(copy)) ** 2
        return power[np.fft.rfftfreq(len(copy), 1 / RATE_HZ) > hz].sum() / power.sum()

    random = np.random.default_rng(0)
    assert share_above(damage(sound, "dull", 1, random), 1200) < 0.02 < share_above(sound, 1200)
    assert share_above(damage(sound, "thin", 1, random), 900) > 0.9 > share_above(sound, 900)


def test_dropouts_are_silent(sound):
    copy = damage(sound, "dropouts", 1, np.random.default_rng(0))
    assert 0.2 < np.mean(copy == 0) - np.mean(sound == 0) < 0.31


def test_noise_has_its_ratio(sound):
    copy = damage(sound, "noise", 1, np.random.default_rng(0))
    gain = np.dot(copy, sound) / np.dot(sound, sound)
    assert 20 * np.log10(gain * rms(sound) / rms(copy - gain * sound)) == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize("name", HARMLESS)
def test_what_must_not_matter_leaves_the_music(sound, name):
    copy = harmless(sound, name, np.random.default_rng(1))
    assert copy.shape == sound.shape
    assert np.abs(copy).max() <= 1
    assert not np.array_equal(copy, sound)
    lags = np.fft.irfft(np.fft.rfft(copy, 2**17) * np.conj(np.fft.rfft(sound, 2**17)))
    assert lags.max() / (rms(copy) * rms(sound) * len(sound)) > 0.9
    lag = (lags.argmax() + 2**16) % 2**17 - 2**16
    shift_ms = 1000 * abs(lag) / RATE_HZ
    assert 5 <= shift_ms <= 500 if name in {"later", "earlier"} else shift_ms < 1
