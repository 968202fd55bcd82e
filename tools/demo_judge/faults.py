"""The ladder of faults that generative models make, by rule.

Each fault has a severity from 0 (none) to 1 (as bad as models get) and a cost: what it takes from a
listener's impression at severity 1. What sounds like a machine costs more than a slip of the music: obvious
machine artefacts are what the lowest point of MusicEval's scale speaks of. Three faults spoil the notes
before they sound (detuning, rhythm, wrong notes), the others spoil the sound. Sound is float32 mono at
16 kHz.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy import signal

from tools.demo_judge.composer import Composition, Random, change
from tools.demo_judge.timbres import SAMPLE_RATE_HZ, Samples

SpoilNotes = Callable[[Composition, float, Random], Composition]
SpoilSound = Callable[[Samples, float, Random], Samples]

COSTS: Mapping[str, float] = {
    "noise": 3.4,
    "clipping": 2.8,
    "band limit": 2.6,
    "drop-outs": 2.8,
    "metallic": 3.0,
    "loops": 2.0,
    "abrupt cuts": 2.0,
    "detuning": 1.6,
    "rhythm jitter": 1.4,
    "wrong notes": 1.6,
}
NAMES = tuple(COSTS)
INAUDIBLE = 0.02  # a severity below is no fault yet

Severities = Mapping[str, float]


def impression(severities: Severities) -> float:
    """What a listener makes of a clip with these faults: 4.7 with none, towards 1 as they add up."""
    burden = sum(COSTS[name] * severity for name, severity in severities.items())
    return 1.0 + 3.7 * float(np.exp(-burden / 2.2))


def draw_habits(poor: float, random: Random) -> dict[str, float]:
    """Severities of what a model of some poorness (0 to 1) does wrong: a little of most, much of a few."""
    habits = poor * random.gamma(0.5, 0.22, len(NAMES))
    return {name: min(1.0, float(habit)) for name, habit in zip(NAMES, habits, strict=True)}


def draw_few(random: Random) -> dict[str, float]:
    """Severities of one to three faults, from mild to as bad as models get."""
    names = random.choice(NAMES, size=int(random.integers(1, 4)), replace=False)
    return {str(name): float(random.uniform(0.0, 1.0)) for name in names}


def spoil_notes(composition: Composition, severities: Severities, random: Random) -> Composition:
    """Apply the faults that models make in the music itself."""
    for name, fault in NOTE_FAULTS.items():
        if severities.get(name, 0.0) > INAUDIBLE:
            composition = fault(composition, severities[name], random)
    return composition


def spoil_sound(sound: Samples, severities: Severities, random: Random) -> Samples:
    """Apply the faults of the sound, in a fixed order; the length stays."""
    for name, fault in SOUND_FAULTS.items():
        if severities.get(name, 0.0) > INAUDIBLE:
            sound = fault(sound, severities[name], random).astype(np.float32)
    return sound


def _detune(composition: Composition, severity: float, random: Random) -> Composition:
    """Each note off by up to a quarter tone and more."""
    spread = 8.0 + 70.0 * severity
    notes = (dataclasses.replace(n, cents=float(random.normal(0, spread))) for n in composition.notes)
    return change(composition, tuple(notes))


def _jitter(composition: Composition, severity: float, random: Random) -> Composition:
    """Every onset early or late; at worst by an eighth note."""
    spread_s = 0.012 + 0.13 * severity

    def late(start_s: float) -> float:
        return max(0.0, start_s + float(random.normal(0, spread_s)))

    notes = (dataclasses.replace(n, start_s=late(n.start_s)) for n in composition.notes)
    strokes = (dataclasses.replace(s, start_s=late(s.start_s)) for s in composition.strokes)
    return change(composition, tuple(notes), tuple(strokes))


def _wrong_notes(composition: Composition, severity: float, random: Random) -> Composition:
    """A share of the notes a semitone or a tritone off."""
    share = 0.04 + 0.6 * severity
    steps = (-6, -1, 1, 6)
    notes = (
        dataclasses.replace(n, midi=n.midi + int(random.choice(steps))) if random.random() < share else n
        for n in composition.notes
    )
    return change(composition, tuple(notes))


def _rms(sound: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))) + 1e-9)


def _noise(sound: Samples, severity: float, random: Random) -> Samples:
    """Hiss, white to pink, from 30 dB below the music to 3 dB above it."""
    snr_db = 30.0 - 33.0 * severity
    hiss = random.standard_normal(len(sound))
    colour = random.choice((0.0, 0.0, 0.7))
    hiss = signal.lfilter([1 - colour], [1, -colour], hiss)
    noisy: Samples = sound + (hiss * (_rms(sound) / _rms(hiss) * 10 ** (-snr_db / 20))).astype(np.float32)
    return noisy


def _clip(sound: Samples, severity: float, _random: Random) -> Samples:
    """Hard clipping after 4 to 26 dB of overdrive."""
    drive = 10 ** ((4.0 + 22.0 * severity) / 20)
    peak = float(np.abs(sound).max() + 1e-9)
    return np.clip(sound * drive, -peak, peak)


def _band_limit(sound: Samples, severity: float, random: Random) -> Samples:
    """A steep low-pass from 5 kHz down to 700 Hz."""
    corner_hz = 5000.0 * (700.0 / 5000.0) ** severity
    sos = signal.butter(int(random.choice((2, 4, 6))), corner_hz, fs=SAMPLE_RATE_HZ, output="sos")
    return signal.sosfilt(sos, sound).astype(np.float32)  # type: ignore[no-any-return]


def _drop_outs(sound: Samples, severity: float, random: Random) -> Samples:
    """Gaps of 20 to 500 ms; up to 40 % of the time."""
    spoiled, gone, wanted = sound.copy(), 0, (0.03 + 0.4 * severity) * len(sound)
    ramp = np.linspace(1, 0, 32, dtype=np.float32)
    while gone < wanted:
        length = int(random.uniform(0.02, 0.1 + 0.4 * severity) * SAMPLE_RATE_HZ)
        start = int(random.integers(0, max(1, len(sound) - length)))
        spoiled[start : start + 32] *= ramp[: len(spoiled[start : start + 32])]
        spoiled[start + 32 : start + length] = 0
        gone += length
    return spoiled


def _metallic(sound: Samples, severity: float, random: Random) -> Samples:
    """What vocoders and low-rate codecs do: smeared phases, holes in the spectrum, a ring."""
    _, _, spectrum = signal.stft(sound, nperseg=512, noverlap=384)
    smear = np.exp(1j * severity * random.uniform(-np.pi, np.pi, spectrum.shape))
    holes = random.random((spectrum.shape[0] // 8 + 1, spectrum.shape[1] // 6 + 1)) < 0.45 * severity
    mask = 1 - np.kron(holes, np.ones((8, 6)))[: spectrum.shape[0], : spectrum.shape[1]]
    _, smeared = signal.istft(spectrum * smear * mask, nperseg=512, noverlap=384)
    delay = int(random.integers(20, 90))
    ringing = signal.lfilter([1.0], np.r_[1.0, np.zeros(delay - 1), -0.75 * severity], smeared[: len(sound)])
    return _fit(ringing * (_rms(sound) / _rms(ringing)), len(sound))


def _loops(sound: Samples, severity: float, random: Random) -> Samples:
    """A short stretch that sticks and repeats, like a scratched record."""
    spoiled, stuck = sound.copy(), int((0.1 + 0.6 * severity) * len(sound))
    piece = int(random.uniform(0.05, 0.25) * SAMPLE_RATE_HZ)
    start = int(random.integers(0, max(1, len(sound) - stuck)))
    loop = sound[start : start + piece]
    spoiled[start : start + stuck] = np.resize(loop, len(spoiled[start : start + stuck]))
    return spoiled


def _cuts(sound: Samples, severity: float, random: Random) -> Samples:
    """Jumps to another place, each after a hard stop of 30 to 200 ms, and an end in mid-phrase."""
    count = 1 + int(10 * severity)
    places = np.sort(random.integers(0, len(sound), count))
    pieces = [piece.copy() for piece in np.split(sound, places)]
    for piece in pieces:
        stop = int(random.uniform(0.03, 0.2) * SAMPLE_RATE_HZ)
        piece[-min(stop, len(piece)) :] = 0.0
    joined: Samples = np.concatenate([pieces[i] for i in random.permutation(len(pieces))])
    joined[int(len(joined) * (1 - 0.15 * severity * random.random())) :] = 0.0
    return joined


def _fit(sound: Samples, length: int) -> Samples:
    return np.pad(sound[:length], (0, max(0, length - len(sound)))).astype(np.float32)


NOTE_FAULTS: Mapping[str, SpoilNotes] = {"detuning": _detune, "rhythm jitter": _jitter, "wrong notes": _wrong_notes}
SOUND_FAULTS: Mapping[str, SpoilSound] = {
    "loops": _loops,
    "abrupt cuts": _cuts,
    "metallic": _metallic,
    "clipping": _clip,
    "band limit": _band_limit,
    "noise": _noise,
    "drop-outs": _drop_outs,
}
