"""Notes to sound: instruments mixed, a room around them, a tone.

Sound is float32 mono at 16 kHz, the rate of MusicEval's clips. Rooms and tones vary widely and cost nothing
in quality, so that the small model does not take a room or a dull recording for a fault.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from tools.demo_judge.composer import Composition, Note, Random
from tools.demo_judge.timbres import COLOURS, SAMPLE_RATE_HZ, TIMBRES, Samples, hit, note

RELEASE_CURVE = 4.0


def render(composition: Composition, random: Random) -> Samples:
    """Play a composition."""
    length = int(composition.duration_s * SAMPLE_RATE_HZ)
    dry = np.zeros(length + SAMPLE_RATE_HZ, dtype=np.float32)
    colours = {name: int(random.integers(COLOURS)) for name in sorted({n.timbre for n in composition.notes})}
    for played in composition.notes:
        _add(dry, played.start_s, _sound(played, colours[played.timbre]))
    drum_gain, colour = random.uniform(0.5, 1.0), int(random.integers(COLOURS))
    for stroke in composition.strokes:
        _add(dry, stroke.start_s, hit(stroke.drum, colour) * np.float32(drum_gain * stroke.velocity))
    return master(_tone(_room(dry, random), random)[:length], random)


def _sound(played: Note, colour: int) -> Samples:
    timbre = TIMBRES[played.timbre]
    held, release = int(played.duration_s * SAMPLE_RATE_HZ), int(timbre.release_s * SAMPLE_RATE_HZ)
    whole = note(played.timbre, played.midi, colour)
    whole = _bend(whole, played.cents, held + release) if played.cents else whole[: held + release]
    sound = whole * np.float32(played.velocity * 0.35)
    tail = len(sound) - held
    if tail > 0:
        sound[held:] *= np.exp(-RELEASE_CURVE * np.arange(tail, dtype=np.float32) / release)
    sound[-64:] *= np.linspace(1, 0, len(sound[-64:]), dtype=np.float32)
    return sound


def _bend(sound: Samples, cents: float, length: int) -> Samples:
    places = np.arange(min(length, len(sound))) * 2.0 ** (cents / 1200.0)
    return np.interp(places, np.arange(len(sound)), sound, right=0.0).astype(np.float32)


def _add(mix: Samples, start_s: float, sound: Samples) -> None:
    start = int(start_s * SAMPLE_RATE_HZ)
    end = min(len(mix), start + len(sound))
    if start < end:
        mix[start:end] += sound[: end - start]


def _room(dry: Samples, random: Random) -> Samples:
    """Reverberation by decaying noise; a third of the pieces stay dry."""
    if random.random() < 0.33:
        return dry
    decay_s, wet = random.uniform(0.08, 0.7), random.uniform(0.1, 0.5)
    t = np.arange(int(min(1.2, 4 * decay_s) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    response = random.standard_normal(len(t)) * np.exp(-t / decay_s)
    response = signal.lfilter([0.4], [1, -0.6], response)  # walls swallow the highs
    echo = signal.oaconvolve(dry, response / np.sqrt(np.sum(response**2)))[: len(dry)]
    mixed: Samples = ((1 - wet) * dry + wet * echo).astype(np.float32)
    return mixed


def _tone(sound: Samples, random: Random) -> Samples:
    """A gentle tilt and one broad peak or dip, as microphones, rooms and mixing desks give."""
    sos = np.vstack([_shelf(random.uniform(-5, 5)), _peak(random.uniform(150, 5000), random.uniform(-6, 6))])
    return signal.sosfilt(sos, sound).astype(np.float32)  # type: ignore[no-any-return]


def _shelf(gain_db: float, corner_hz: float = 1500.0) -> NDArray[np.float64]:
    """First-order high shelf as a second-order section."""
    gain, k = 10 ** (gain_db / 20), np.tan(np.pi * corner_hz / SAMPLE_RATE_HZ)
    return np.array([[(gain + k) / (1 + k), (k - gain) / (1 + k), 0.0, 1.0, (k - 1) / (1 + k), 0.0]])


def _peak(centre_hz: float, gain_db: float, q: float = 0.8) -> NDArray[np.float64]:
    """Peaking filter (R. Bristow-Johnson's audio cookbook)."""
    w, a = 2 * np.pi * centre_hz / SAMPLE_RATE_HZ, 10 ** (gain_db / 40)
    alpha, c = np.sin(w) / (2 * q), np.cos(w)
    b0, b1, b2 = 1 + alpha * a, -2 * c, 1 - alpha * a
    a0, a1, a2 = 1 + alpha / a, -2 * c, 1 - alpha / a
    return np.array([[b0 / a0, b1 / a0, b2 / a0, 1.0, a1 / a0, a2 / a0]])


def master(sound: Samples, random: Random) -> Samples:
    """Gentle compression, fades at both ends, peak at 0.9."""
    loud = sound / (np.abs(sound).max() + 1e-9)
    if random.random() < 0.5:
        loud = np.tanh(random.uniform(0.5, 1.6) * loud)
    fade = np.linspace(0, 1, 160, dtype=np.float32)
    loud[:160] *= fade
    loud[-160:] *= fade[::-1]
    mastered: Samples = (0.9 * loud / (np.abs(loud).max() + 1e-9)).astype(np.float32)
    return mastered
