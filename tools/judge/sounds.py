"""Sounds that are no music, and what is done to music so that it is none: the sanity suite.

A judge must rate each of them below every recording of people who play. Sound is float32 mono at 16 kHz,
with a peak of at most 1; the same generator of random numbers makes the same sound.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal

RATE_HZ = 16_000
PEAK = 0.5

Samples = NDArray[np.float32]
Wave = NDArray[np.floating[Any]]
Random = np.random.Generator

VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240), (530, 1840, 2480))
CHORDS = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11), (0, 3, 7, 10), (0, 5, 7), (0, 3, 6, 9))


def scaled(sound: Wave, peak: float = PEAK) -> Samples:
    """Bring the highest sample to a level; silence stays."""
    highest = np.abs(sound).max(initial=0.0)
    return (sound * (peak / highest if highest else 1.0)).astype(np.float32)


def rms(sound: Wave) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _times(duration_s: float) -> Wave:
    return np.arange(round(duration_s * RATE_HZ)) / RATE_HZ


def _tone(frequency_hz: float, duration_s: float, partials: int = 1, slope: float = 1.0) -> Wave:
    """Harmonics below the band's end, each weaker by its number to the power of the slope."""
    t = _times(duration_s)
    heard = [n for n in range(1, partials + 1) if n * frequency_hz < 0.45 * RATE_HZ]
    tone: Wave = np.sum([np.sin(2 * np.pi * n * frequency_hz * t) / n**slope for n in heard], axis=0)
    return tone


def _hz(midi: float) -> float:
    return float(440.0 * 2.0 ** ((midi - 69) / 12))


def sine(duration_s: float, random: Random) -> Samples:
    """One frequency between 80 Hz and 4 kHz."""
    return scaled(_tone(float(np.exp(random.uniform(np.log(80), np.log(4000)))), duration_s))


def mains_hum(duration_s: float, random: Random) -> Samples:
    """50 or 60 Hz and its overtones, the odd ones stronger."""
    mains_hz, t = float(random.choice((50, 60))), _times(duration_s)
    levels = random.uniform(0.1, 1.0, 12) * np.where(np.arange(12) % 2, 0.4, 1.0) / np.arange(1, 13) ** 0.5
    return scaled(np.sum([a * np.sin(2 * np.pi * mains_hz * n * t) for n, a in enumerate(levels, 1)], axis=0))


def held_chord(duration_s: float, random: Random) -> Samples:
    """Three or four notes that begin, and do not change any more."""
    root, chord = random.integers(48, 66), CHORDS[random.integers(len(CHORDS))]
    partials, slope = int(random.integers(1, 12)), random.uniform(1.0, 2.0)
    return scaled(np.sum([_tone(_hz(root + step), duration_s, partials, slope) for step in chord], axis=0))


def clicks(duration_s: float, random: Random) -> Samples:
    """Clicks of 2 ms, 1 to 16 a second."""
    sound, period = np.zeros(len(_times(duration_s))), round(RATE_HZ / random.uniform(1, 16))
    sound[period // 2 :: period] = 1.0
    return scaled(signal.lfilter(np.hanning(32) * random.choice((-1, 1), 32), 1, sound))


def noise(duration_s: float, random: Random, slope: float) -> Samples:
    """Noise whose power falls with frequency to the power of the slope: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(random.standard_normal(len(_times(duration_s))))
    frequencies = np.fft.rfftfreq(len(_times(duration_s)), 1 / RATE_HZ)
    spectrum[1:] *= np.maximum(frequencies[1:], 20.0) ** (-slope / 2)
    spectrum[0] = 0
    return scaled(np.fft.irfft(spectrum, len(_times(duration_s))))


def white_noise(duration_s: float, random: Random) -> Samples:
    """Equal power at every frequency."""
    return noise(duration_s, random, 0.0)


def pink_noise(duration_s: float, random: Random) -> Samples:
    """Equal power in every octave."""
    return noise(duration_s, random, 1.0)


def brown_noise(duration_s: float, random: Random) -> Samples:
    """A rumble: 6 dB less in every octave."""
    return noise(duration_s, random, 2.0)


def wind(duration_s: float, random: Random) -> Samples:
    """A band of noise that swells and falls."""
    low_hz = random.uniform(100, 1500)
    band = signal.butter(2, (low_hz, low_hz * random.uniform(1.5, 4)), "bandpass", fs=RATE_HZ, output="sos")
    swell = 1 + 0.9 * np.sin(2 * np.pi * random.uniform(0.1, 2) * _times(duration_s))
    return scaled(signal.sosfilt(band, white_noise(duration_s, random)) * swell)


def near_silence(duration_s: float, random: Random) -> Samples:
    """What a converter makes of nothing: noise of -80 dB."""
    return (1e-4 * random.standard_normal(len(_times(duration_s)))).astype(np.float32)


def random_notes(duration_s: float, random: Random) -> Samples:
    """Notes of any pitch, at any time, of any length."""
    sound, partials = np.zeros(len(_times(duration_s))), int(random.integers(1, 8))
    for _ in range(round(duration_s * random.uniform(2, 8))):
        start, length_s = int(random.integers(len(sound))), random.uniform(0.1, 1.2)
        note = _tone(_hz(random.uniform(40, 90)), length_s, partials) * np.exp(-3 * _times(length_s) / length_s)
        sound[start : start + len(note)] += random.uniform(0.3, 1) * note[: len(sound) - start]
    return scaled(sound)


def babble(duration_s: float, random: Random) -> Samples:
    """Syllables of a synthetic voice: a pulse train through the formants of vowels, hisses in between."""
    pieces: list[Wave] = []
    pitch_hz, size = random.uniform(90, 230), random.uniform(0.95, 1.2)
    while sum(map(len, pieces)) < len(_times(duration_s)):
        t = _times(random.uniform(0.09, 0.25))
        phase = np.cumsum(pitch_hz * (1 + random.uniform(-0.15, 0.2) + 0.1 * t / t[-1])) / RATE_HZ
        voice = np.diff(np.floor(phase), prepend=0.0)
        for formant_hz in VOWELS_HZ[random.integers(len(VOWELS_HZ))]:
            voice = signal.lfilter(*signal.iirpeak(formant_hz * size, 6, fs=RATE_HZ), voice) + 0.3 * voice
        hiss = random.standard_normal(round(random.uniform(0.02, 0.09) * RATE_HZ)) * random.choice((0.02, 0.0))
        gap = np.zeros(round(RATE_HZ * random.choice((0.0, 0.03, 0.3), p=(0.6, 0.3, 0.1))))
        pieces += [scaled(voice * np.hanning(len(t))), hiss, gap]
    return scaled(np.concatenate(pieces)[: len(_times(duration_s))])


def backwards(sound: Samples, random: Random) -> Samples:  # noqa: ARG001 - one shape for all
    """The same sound from its end to its beginning."""
    return sound[::-1].copy()


def shuffled(sound: Samples, random: Random) -> Samples:
    """Stretches of 0.1 to 0.4 s in another order, with fades of 5 ms so that only the order is wrong."""
    length = round(random.uniform(0.1, 0.4) * RATE_HZ)
    pieces = [sound[start : start + length].copy() for start in range(0, len(sound), length)]
    fade = np.linspace(0, 1, 80, dtype=np.float32)
    for piece in pieces:
        ends = min(len(piece), len(fade))
        piece[:ends] *= fade[:ends]
        piece[-ends:] *= fade[:ends][::-1]
    return np.concatenate([pieces[i] for i in random.permutation(len(pieces))])


def two_keys(sound: Samples, random: Random) -> Samples:
    """The sound and itself a semitone or a tritone higher."""
    import librosa

    higher = librosa.effects.pitch_shift(sound, sr=RATE_HZ, n_steps=float(random.choice((1, 6))), n_fft=1024)
    return scaled(sound + higher * (rms(sound) / (rms(higher) + 1e-9)), float(np.abs(sound).max(initial=0.0)))


def stuck(sound: Samples, random: Random) -> Samples:
    """A stretch of 0.1 to 0.5 s that repeats to the end, like a scratched record."""
    length = round(random.uniform(0.1, 0.5) * RATE_HZ)
    start = int(random.integers(len(sound) // 4, max(len(sound) // 2, len(sound) // 4 + 1)))
    return np.concatenate([sound[:start], np.resize(sound[start : start + length], len(sound) - start)])


SYNTHETIC: Mapping[str, Callable[[float, Random], Samples]] = {
    "sine": sine,
    "mains hum": mains_hum,
    "held chord": held_chord,
    "clicks": clicks,
    "white noise": white_noise,
    "pink noise": pink_noise,
    "brown noise": brown_noise,
    "wind": wind,
    "near silence": near_silence,
    "random notes": random_notes,
    "babble": babble,
}
SPOILT_MUSIC: Mapping[str, Callable[[Samples, Random], Samples]] = {
    "backwards": backwards,
    "shuffled": shuffled,
    "two keys": two_keys,
    "stuck": stuck,
}
