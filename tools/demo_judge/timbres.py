"""Sounds by rule: two small tables of synthesis parameters, and one function that plays each.

A pitched timbre is a sum of harmonics with a spectral slope, formants, a decay that grows with frequency,
vibrato, breath and drive; a drum is a gliding tone with filtered noise. Samples are float32 mono; times in
seconds, frequencies in hertz, pitches in MIDI numbers (69 = 440 Hz).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

Samples = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000  # the rate of MusicEval's clips
NOTE_S = 3.0  # the longest note that is played
COLOURS = 3  # variants of each timbre: another instrument of the same make


@dataclass(frozen=True)
class Timbre:
    """A pitched instrument."""

    words: tuple[str, ...]  # how captions call it
    low: int
    high: int
    slope: float
    even: float = 1.0
    stretch: float = 0.0
    attack_s: float = 0.01
    decay_s: float = 0.0
    dulling: float = 0.0
    release_s: float = 0.08
    vibrato: float = 0.0  # depth as a share of the frequency
    breath: float = 0.0
    drive: float = 0.0
    formants_hz: tuple[float, ...] = ()


# fmt: off
TIMBRES: Mapping[str, Timbre] = {
    "piano": Timbre(("piano", "grand piano", "acoustic piano", "keyboard"), 40, 88, 1.4, stretch=0.0004, attack_s=0.003, decay_s=1.1, dulling=0.5),
    "electric piano": Timbre(("electric piano", "Rhodes", "keys", "e-piano"), 44, 84, 2.2, even=0.5, attack_s=0.004, decay_s=1.3, dulling=1.2),
    "organ": Timbre(("organ", "Hammond organ", "church organ", "electric organ"), 40, 86, 1.1, even=1.3, attack_s=0.02, vibrato=0.002),
    "acoustic guitar": Timbre(("acoustic guitar", "steel-string guitar", "fingerpicked guitar", "strummed guitar"), 40, 80, 1.0, attack_s=0.002, decay_s=0.7, dulling=1.1),
    "electric guitar": Timbre(("electric guitar", "e-guitar", "distorted guitar", "guitar riff"), 40, 80, 0.8, attack_s=0.003, decay_s=2.0, dulling=0.15, drive=4.0),
    "harp": Timbre(("harp", "plucked strings", "lyre", "zither"), 45, 92, 1.7, attack_s=0.002, decay_s=0.9, dulling=0.8),
    "strings": Timbre(("strings", "violins", "string orchestra", "string section", "cello"), 43, 90, 1.0, attack_s=0.12, release_s=0.2, vibrato=0.006, breath=0.03, formants_hz=(450.0, 1200.0)),
    "trumpet": Timbre(("trumpet", "brass", "horn section", "solo trumpet"), 52, 84, 0.6, attack_s=0.03, vibrato=0.004, breath=0.02, formants_hz=(1200.0, 2200.0)),
    "flute": Timbre(("flute", "wooden flute", "pan flute", "recorder"), 60, 94, 2.4, attack_s=0.06, vibrato=0.006, breath=0.12),
    "clarinet": Timbre(("clarinet", "woodwind", "bass clarinet", "oboe"), 50, 84, 1.1, even=0.1, attack_s=0.04, vibrato=0.003, breath=0.03),
    "celesta": Timbre(("celesta", "music box", "glockenspiel", "bells"), 64, 100, 2.0, stretch=0.006, attack_s=0.002, decay_s=0.6, dulling=0.9),
    "vibraphone": Timbre(("vibraphone", "marimba", "mallets", "xylophone"), 52, 90, 2.8, even=0.2, stretch=0.002, attack_s=0.002, decay_s=0.8, dulling=1.5, vibrato=0.001),
    "female voice": Timbre(("female voice", "female vocalist", "woman singing", "female singer", "soprano"), 57, 79, 0.9, attack_s=0.07, vibrato=0.009, breath=0.04, formants_hz=(800.0, 1250.0, 2900.0)),
    "male voice": Timbre(("male voice", "male vocalist", "man singing", "male singer", "baritone"), 43, 65, 0.7, attack_s=0.07, vibrato=0.008, breath=0.04, formants_hz=(600.0, 1050.0, 2500.0)),
    "synth lead": Timbre(("synth lead", "synthesizer", "synth", "synth melody"), 48, 90, 0.9, attack_s=0.008, vibrato=0.004, drive=1.5),
    "synth pad": Timbre(("synth pad", "warm pad", "ambient synth", "lush pads"), 40, 84, 1.6, attack_s=0.35, release_s=0.5, vibrato=0.003),
    "bass guitar": Timbre(("bass guitar", "bass", "electric bass", "bass line"), 28, 52, 1.3, attack_s=0.004, decay_s=1.2, dulling=0.9),
    "synth bass": Timbre(("synth bass", "low end", "sub bass", "heavy bass"), 28, 50, 1.0, attack_s=0.005, drive=2.0),
    "double bass": Timbre(("double bass", "upright bass", "contrabass", "walking bass"), 28, 52, 1.8, attack_s=0.015, decay_s=0.7, dulling=1.0),
}
# fmt: on


@dataclass(frozen=True)
class Drum:
    """A struck sound: a tone that glides from one pitch to another, and a band of noise."""

    start_hz: float
    end_hz: float
    tone_s: float
    noise: float
    band_hz: tuple[float, float]
    noise_s: float


# fmt: off
DRUMS: Mapping[str, Drum] = {
    "kick": Drum(140.0, 45.0, 0.16, 0.08, (1000.0, 4000.0), 0.01),
    "snare": Drum(220.0, 170.0, 0.09, 0.8, (800.0, 7000.0), 0.12),
    "hat": Drum(0.0, 0.0, 0.0, 0.5, (5000.0, 7800.0), 0.04),
    "open hat": Drum(0.0, 0.0, 0.0, 0.5, (4500.0, 7800.0), 0.25),
    "crash": Drum(0.0, 0.0, 0.0, 0.6, (2500.0, 7800.0), 0.9),
    "clap": Drum(0.0, 0.0, 0.0, 0.9, (900.0, 3500.0), 0.09),
    "low conga": Drum(190.0, 165.0, 0.2, 0.15, (600.0, 2500.0), 0.02),
    "high conga": Drum(290.0, 260.0, 0.13, 0.2, (900.0, 3500.0), 0.02),
    "timbale": Drum(420.0, 395.0, 0.18, 0.3, (1500.0, 6000.0), 0.05),
    "cowbell": Drum(560.0, 558.0, 0.16, 0.05, (2000.0, 5000.0), 0.02),
    "dum": Drum(120.0, 85.0, 0.25, 0.12, (300.0, 1500.0), 0.03),
    "tek": Drum(480.0, 430.0, 0.05, 0.5, (2000.0, 6500.0), 0.03),
    "tambourine": Drum(0.0, 0.0, 0.0, 0.5, (4000.0, 7800.0), 0.09),
    "shaker": Drum(0.0, 0.0, 0.0, 0.35, (3500.0, 7500.0), 0.05),
    "tom": Drum(160.0, 100.0, 0.22, 0.2, (400.0, 2500.0), 0.04),
}
# fmt: on


def pitch_hz(midi: float) -> float:
    """Frequency of a MIDI pitch in equal temperament at 440 Hz."""
    return float(440.0 * 2.0 ** ((midi - 69.0) / 12.0))


@functools.lru_cache(maxsize=1500)
def note(name: str, midi: int, colour: int) -> Samples:
    """One long note of a timbre, :data:`NOTE_S` seconds, peak about 1; read-only, since it is kept."""
    timbre = TIMBRES[name]
    random = np.random.default_rng([midi, colour, *name.encode()])
    t = np.arange(int(NOTE_S * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    sound = _harmonics(timbre, pitch_hz(midi), t, slope=timbre.slope * (0.85 + 0.15 * colour), random=random)
    if timbre.drive:
        sound = np.tanh(timbre.drive * sound)
    if timbre.breath:
        hiss = signal.sosfilt(_band(pitch_hz(midi), 6000.0), random.standard_normal(len(t)))
        sound = sound + timbre.breath * hiss.astype(np.float32)
    sound = sound * np.minimum(1.0, t / timbre.attack_s)
    done: Samples = (sound / (np.abs(sound).max() + 1e-9)).astype(np.float32)
    done.setflags(write=False)
    return done


def _harmonics(timbre: Timbre, frequency_hz: float, t: Samples, slope: float, random: np.random.Generator) -> Samples:
    wobble = timbre.vibrato / 5.5 * np.sin(2 * np.pi * 5.5 * t + random.uniform(0, 6)) / (2 * np.pi)
    phase = 2 * np.pi * frequency_hz * (t + wobble.astype(np.float32))
    turn = np.exp(1j * phase - timbre.dulling * t).astype(np.complex64)
    wave, total = turn.copy(), np.zeros(len(t), dtype=np.float32)
    for k in range(1, max(1, min(20, int(7600 / frequency_hz))) + 1):
        gain = k**-slope * (timbre.even if k % 2 == 0 else 1.0) * _formant_gain(timbre, k * frequency_hz)
        if timbre.stretch:
            partial = k * np.sqrt(1 + timbre.stretch * k * k)
            wave = np.exp(1j * (partial * phase + 0.1 * k) - k * timbre.dulling * t).astype(np.complex64)
        total += np.float32(gain) * wave.imag
        if not timbre.stretch:
            wave = wave * turn
    return total * np.exp(-t / timbre.decay_s) if timbre.decay_s else total


def _formant_gain(timbre: Timbre, frequency_hz: float) -> float:
    if not timbre.formants_hz:
        return 1.0
    peaks = (np.exp(-(((frequency_hz - f) / (0.18 * f + 90)) ** 2)) for f in timbre.formants_hz)
    return float(0.12 + sum(peaks))


@functools.lru_cache(maxsize=256)
def hit(name: str, colour: int) -> Samples:
    """One stroke of a drum of :data:`DRUMS`, peak about 1; read-only, since it is kept."""
    drum = DRUMS[name]
    random = np.random.default_rng([colour, *name.encode()])
    length_s = 4 * max(drum.tone_s, drum.noise_s)
    t = np.arange(int(length_s * SAMPLE_RATE_HZ), dtype=np.float32) / SAMPLE_RATE_HZ
    tune = 1.0 + 0.12 * (colour - 1)
    sound = np.zeros(len(t))
    if drum.tone_s:
        glide_hz = drum.end_hz + (drum.start_hz - drum.end_hz) * np.exp(-t / 0.03)
        phase = 2 * np.pi * np.cumsum(tune * glide_hz) / SAMPLE_RATE_HZ
        sound += (np.sin(phase) + 0.35 * np.sin(1.51 * phase)) * np.exp(-t / drum.tone_s)
    hiss = signal.sosfilt(_band(*drum.band_hz), random.standard_normal(len(t))) * np.exp(-t / drum.noise_s)
    sound += drum.noise * hiss / (np.abs(hiss).max() + 1e-9)
    done: Samples = (sound / (np.abs(sound).max() + 1e-9)).astype(np.float32)
    done.setflags(write=False)
    return done


def _band(low_hz: float, high_hz: float) -> NDArray[np.float64]:
    nyquist_hz = SAMPLE_RATE_HZ / 2
    edges = (min(low_hz, 0.6 * nyquist_hz), min(high_hz, 0.98 * nyquist_hz))
    return signal.butter(2, edges, "bandpass", fs=SAMPLE_RATE_HZ, output="sos")  # type: ignore[no-any-return]
