"""What recording, transmission and neural models do to a sound, and what must not change its score.

Each damage has two strengths, 0 (a listener notices) and 1 (it spoils the clip), and keeps length and
loudness. Sound is float32 mono at 16 kHz.
"""

import io
from collections.abc import Callable, Mapping
from typing import Any

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy import signal

from tools.judge.sounds import RATE_HZ, Random, Samples, Wave, noise, rms

Damage = Callable[[Samples, int, Random], Wave]
Change = Callable[[Samples, Random], Wave]

FFT, HOP = 1024, 256
LIGHT_CODECS = (("MP3", "MPEG_LAYER_III", 0.7), ("OGG", "OPUS", 0.8))  # 56 and 58 kbit/s
OPUS_LOWEST, MP3_LOWEST = ("OGG", "OPUS", 1.0), ("MP3", "MPEG_LAYER_III", 0.95)  # 8 and 16 kbit/s


def damage(sound: Samples, name: str, strength: int, random: Random) -> Samples:
    """Apply one of DAMAGES."""
    return _like(sound, DAMAGES[name](sound, strength, random), rms(sound))


def harmless(sound: Samples, name: str, random: Random) -> Samples:
    """Apply one of HARMLESS."""
    return _like(sound, HARMLESS[name](sound, random), None)


def _like(sound: Samples, changed: Wave, level: float | None) -> Samples:
    """The length of the original, its loudness where that is asked for, and no sample above 1."""
    changed = librosa.util.fix_length(changed, size=len(sound)).astype(np.float32)
    gain = 1.0 if level is None else level / (rms(changed) + 1e-9)
    return changed * np.float32(min(gain, 0.99 / (np.abs(changed).max(initial=0.0) + 1e-9)))


def _spectrum(sound: Samples) -> NDArray[np.complex64]:
    return librosa.stft(sound, n_fft=FFT, hop_length=HOP)


def _sound(spectrum: NDArray[Any]) -> Samples:
    return librosa.istft(spectrum, n_fft=FFT, hop_length=HOP)


def _coded(sound: Samples, form: str, subtype: str, level: float) -> Samples:
    """Code and decode; libsndfile has the codecs."""
    file = io.BytesIO()
    extra = {"bitrate_mode": "CONSTANT"} if form == "MP3" else {}
    soundfile.write(file, sound, RATE_HZ, format=form, subtype=subtype, compression_level=level, **extra)
    file.seek(0)
    changed: Samples = soundfile.read(file, dtype="float32")[0]
    return changed


def _noisy(sound: Samples, strength: int, random: Random) -> Samples:
    added = noise(len(sound) / RATE_HZ, random, float(random.integers(2)))
    ratio_db = (18, 6)[strength]
    return sound + added * (rms(sound) / rms(added) * 10 ** (-ratio_db / 20))


def _clipped(sound: Samples, strength: int, random: Random) -> Samples:  # noqa: ARG001
    limit = rms(sound) * (1.2, 0.4)[strength]
    return np.clip(sound, -limit, limit)


def _dropouts(sound: Samples, strength: int, random: Random) -> Samples:
    spoiled, gone = sound.copy(), 0
    while gone < (0.08, 0.3)[strength] * len(sound):
        length = round(random.uniform(0.02, 0.2) * RATE_HZ)
        start = random.integers(max(1, len(sound) - length))
        spoiled[start : start + length] = 0
        gone += length
    return spoiled


def _dull(sound: Samples, strength: int, random: Random) -> Wave:  # noqa: ARG001
    changed: Wave = signal.sosfilt(signal.butter(6, (2500, 900)[strength], fs=RATE_HZ, output="sos"), sound)
    return changed


def _thin(sound: Samples, strength: int, random: Random) -> Wave:  # noqa: ARG001
    changed: Wave = signal.sosfilt(signal.butter(4, (500, 1300)[strength], "highpass", fs=RATE_HZ, output="sos"), sound)
    return changed


def _codec(sound: Samples, strength: int, random: Random) -> Samples:  # noqa: ARG001
    return _coded(sound, *(MP3_LOWEST, OPUS_LOWEST)[strength])


def _tokens(sound: Samples, strength: int, random: Random) -> Samples:  # noqa: ARG001
    """As a codec of few tokens: coarse steps of level and phase in each bin."""
    step_db, phases = ((6.0, 8), (12.0, 4))[strength]
    spectrum = _spectrum(sound)
    level_db = step_db * np.round(20 * np.log10(np.abs(spectrum) + 1e-6) / step_db)
    phase = np.round(np.angle(spectrum) * phases / (2 * np.pi)) * 2 * np.pi / phases
    return _sound(10 ** (level_db / 20) * np.exp(1j * phase))


def _vocoder(sound: Samples, strength: int, random: Random) -> Samples:  # noqa: ARG001
    """Pressed together by a phase vocoder and stretched again: frames are lost, transients smear."""
    factor = (1.5, 4.0)[strength]
    pressed = librosa.phase_vocoder(_spectrum(sound), rate=factor, hop_length=HOP)
    return _sound(librosa.phase_vocoder(pressed, rate=1 / factor, hop_length=HOP))


def _griffin_lim(sound: Samples, strength: int, random: Random) -> Samples:
    """From a mel spectrogram back to sound with guessed phases."""
    bands, rounds = ((96, 24), (40, 6))[strength]
    mel = librosa.feature.melspectrogram(y=sound, sr=RATE_HZ, n_fft=FFT, hop_length=HOP, n_mels=bands, power=1.0)
    basis = librosa.filters.mel(sr=RATE_HZ, n_fft=FFT, n_mels=bands)
    magnitude = np.maximum(0.0, np.linalg.pinv(basis) @ mel)
    return librosa.griffinlim(
        magnitude, n_iter=rounds, n_fft=FFT, hop_length=HOP, random_state=int(random.integers(2**31))
    )


def _holes(sound: Samples, strength: int, random: Random) -> Samples:
    """Tiles of the spectrogram are missing."""
    spectrum = _spectrum(sound)
    tiles = random.random((spectrum.shape[0] // 12 + 1, spectrum.shape[1] // 6 + 1)) < (0.25, 0.55)[strength]
    return _sound(spectrum * ~np.kron(tiles, np.ones((12, 6), bool))[: spectrum.shape[0], : spectrum.shape[1]])


def _warble(sound: Samples, strength: int, random: Random) -> Wave:
    """Speed that wavers, as of a warped record or a drifting model."""
    t, depth = np.arange(len(sound)), (0.006, 0.02)[strength]
    speed_hz = random.uniform(0.7, 6.0)
    bend = depth * RATE_HZ / (2 * np.pi * speed_hz) * np.sin(2 * np.pi * speed_hz * t / RATE_HZ)
    return np.interp(t + bend, t, sound)


def _smeared(sound: Samples, strength: int, random: Random) -> Samples:
    """Phases at random, in part or wholly: what was sharp in time becomes a wash."""
    spectrum = _spectrum(sound)
    return _sound(spectrum * np.exp(1j * (0.5, 1.0)[strength] * random.uniform(-np.pi, np.pi, spectrum.shape)))


def _ringing(sound: Samples, strength: int, random: Random) -> Wave:
    """The metallic ring of a short feedback."""
    delay = int(random.integers(20, 90))
    changed: Wave = signal.lfilter([1.0], np.r_[1.0, np.zeros(delay - 1), -(0.6, 0.85)[strength]], sound)
    return changed


def _later(sound: Samples, random: Random) -> Samples:
    """5 to 500 ms of silence in front."""
    return np.pad(sound, (round(float(np.exp(random.uniform(np.log(5), np.log(500)))) * RATE_HZ / 1000), 0))


def _earlier(sound: Samples, random: Random) -> Samples:
    """5 to 500 ms missing at the beginning; a length of silence at the end stands for what would follow."""
    return sound[round(float(np.exp(random.uniform(np.log(5), np.log(500)))) * RATE_HZ / 1000) :]


def _gain(sound: Samples, random: Random) -> Samples:
    return sound * np.float32(10 ** (random.uniform(-18, 6) / 20))


def _equalised(sound: Samples, random: Random) -> Wave:
    """A tilt of at most 3 dB above or below 1.5 kHz."""
    gain, k = 10 ** (random.uniform(-3, 3) / 20), np.tan(np.pi * 1500 / RATE_HZ)
    changed: Wave = signal.lfilter([(gain + k) / (1 + k), (k - gain) / (1 + k)], [1.0, (k - 1) / (1 + k)], sound)
    return changed


def _lightly_coded(sound: Samples, random: Random) -> Samples:
    return _coded(sound, *LIGHT_CODECS[random.integers(len(LIGHT_CODECS))])


DAMAGES: Mapping[str, Damage] = {
    "noise": _noisy,
    "clipping": _clipped,
    "dropouts": _dropouts,
    "dull": _dull,
    "thin": _thin,
    "codec": _codec,
    "tokens": _tokens,
    "vocoder": _vocoder,
    "griffin-lim": _griffin_lim,
    "holes": _holes,
    "warble": _warble,
    "smear": _smeared,
    "ringing": _ringing,
}
HARMLESS: Mapping[str, Change] = {
    "later": _later,
    "earlier": _earlier,
    "gain": _gain,
    "equaliser": _equalised,
    "light codec": _lightly_coded,
}
