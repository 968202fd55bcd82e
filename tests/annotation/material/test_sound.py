"""Every clip in one form: loudness, peak, length, fades, file; what still tells an anchor is said."""

import math
import struct
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
from numpy.typing import NDArray
from scipy import signal

from annotation.database import Database
from annotation.material.ingest import Entry, add_clip
from annotation.material.sound import Normalised, bandwidth_hz, loudness_lufs, normalise, parity, to_wav, true_peak_dbtp
from annotation.protocol import Protocol
from annotation.schema import Study
from annotation.studies import create
from core.audio import read_clip
from core.errors import AudioError
from tests.annotation.rooms import NOW
from tests.clips import pluck

RATE_HZ = 16_000


def normal(
    samples: NDArray[np.float32], rate_hz: int = RATE_HZ, longest_s: float = math.inf, **rules: float
) -> Normalised:
    return normalise(read_clip((samples, rate_hz)), Protocol(**rules), longest_s)


def noise(duration_s: float = 1.0, edge_hz: float = 0.0) -> NDArray[np.float32]:
    """White up to an edge."""
    samples = np.random.default_rng(1).normal(0, 0.1, round(duration_s * RATE_HZ)).astype(np.float32)
    if not edge_hz:
        return samples
    taps = signal.firwin(513, edge_hz, window=("kaiser", 12.0), fs=RATE_HZ)
    return signal.oaconvolve(samples, taps, mode="same").astype(np.float32)


def clicks(duration_s: float) -> NDArray[np.float32]:
    samples = np.zeros(round(duration_s * RATE_HZ), dtype=np.float32)
    samples[4000::8000] = 0.5
    return samples


@pytest.mark.parametrize("gain", [0.01, 1.0, 3.0])
def test_loudness_is_the_protocols_at_any_level(gain: float) -> None:
    sound = normal(pluck() * np.float32(gain))
    measured = pyloudnorm.Meter(RATE_HZ).integrated_loudness(sound.samples.astype(np.float64))
    assert measured == pytest.approx(-23.0, abs=0.01)
    assert sound.loudness_lufs == pytest.approx(-23.0, abs=1e-9)
    assert sound.gain_db == pytest.approx(normal(pluck()).gain_db - 20 * math.log10(gain), abs=1e-3)
    assert not sound.gain_lowered


def test_another_loudness() -> None:
    assert normal(pluck(), loudness_lufs=-30).loudness_lufs == pytest.approx(-30.0)


def test_gain_stops_at_the_peak_and_nothing_is_limited() -> None:
    source = clicks(4.0)
    sound = normal(source)
    assert sound.gain_lowered
    assert true_peak_dbtp(sound.samples) == pytest.approx(-1.0, abs=0.01)
    assert sound.loudness_lufs is not None
    assert sound.loudness_lufs < -24
    louder = source[4000:-4000] * 10 ** (sound.gain_db / 20)
    assert sound.samples[4000:-4000] == pytest.approx(louder, abs=1e-6)


def test_the_peak_between_samples_is_found() -> None:
    phase = np.pi / 2 * np.arange(RATE_HZ) + np.pi / 4  # a quarter of the rate, never sampled at its top
    sine = np.sin(phase).astype(np.float32) * signal.windows.tukey(RATE_HZ, 0.5).astype(np.float32)
    assert 20 * math.log10(np.abs(sine).max()) == pytest.approx(-3.01, abs=0.01)
    assert true_peak_dbtp(sine) == pytest.approx(0.0, abs=0.05)
    assert true_peak_dbtp(np.zeros(100, dtype=np.float32)) == -math.inf


def test_silence_is_not_made_louder() -> None:
    faint = np.full(RATE_HZ, 0.0005, dtype=np.float32)
    sound = normal(faint)
    assert (sound.loudness_lufs, sound.gain_db, sound.gain_lowered) == (None, 0.0, False)
    assert np.abs(sound.samples).max() <= 0.00051
    assert loudness_lufs(np.zeros(RATE_HZ, dtype=np.float32), RATE_HZ) is None


def test_shorter_than_a_block_of_the_meter() -> None:
    assert loudness_lufs(pluck(0.2), RATE_HZ) == pytest.approx(loudness_lufs(np.tile(pluck(0.2), 5), RATE_HZ), abs=0.5)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
def test_rate_and_length(rate_hz: int) -> None:
    sound = normal(pluck(3.0, rate_hz), rate_hz)
    assert (sound.sample_rate_hz, sound.duration_s) == (RATE_HZ, 3.0)
    same = normal(pluck(3.0)).samples
    assert np.corrcoef(sound.samples, same)[0, 1] > 0.999


def test_channels_are_mixed() -> None:
    stereo = np.stack([pluck(), np.zeros_like(pluck())], axis=1)
    assert normal(stereo).samples == pytest.approx(normal(pluck()).samples, abs=1e-6)


def test_excerpt() -> None:
    sound = normal(noise(5), excerpt_start_s=1.5, excerpt_length_s=2.0, fade_ms=0)
    assert sound.duration_s == 2.0
    assert sound.samples == pytest.approx(noise(5)[24_000:56_000] * 10 ** (sound.gain_db / 20), rel=1e-5, abs=1e-7)
    assert normal(noise(5), excerpt_start_s=4, excerpt_length_s=2).duration_s == 1.0
    with pytest.raises(AudioError, match=r"From 4.8 s on, 0.20 s are left; at least 0.5 s are needed"):
        normal(noise(5), excerpt_start_s=4.8)
    with pytest.raises(AudioError, match=r"From 9 s on, 0.00 s are left"):
        normal(noise(5), excerpt_start_s=9)


def test_a_long_recording_is_cut_to_its_loudest_stretch() -> None:
    envelope = np.repeat([0.1, 0.2, 1.0, 0.9, 0.1, 0.0], RATE_HZ).astype(np.float32)
    recording = noise(6) * envelope
    sound = normal(recording, longest_s=2.0, fade_ms=0)
    cut = recording[2 * RATE_HZ : 4 * RATE_HZ]
    assert sound.samples == pytest.approx(cut * 10 ** (sound.gain_db / 20), rel=1e-5, abs=1e-7)
    assert normal(recording, longest_s=6.0).duration_s == 6.0


def test_fades() -> None:
    steady = np.tile(np.array([0.2, -0.2], dtype=np.float32), RATE_HZ)
    sound = normal(steady)
    level = np.abs(sound.samples) / np.abs(sound.samples[RATE_HZ])
    assert level[0] < 0.001
    assert level[79:81] == pytest.approx([0.49, 0.51], abs=0.01)  # the middle of 10 ms
    assert level[160:-160] == pytest.approx(1.0)
    assert level[::-1] == pytest.approx(level, abs=1e-6)
    assert normal(steady[: RATE_HZ // 2], fade_ms=1000).duration_s == 0.5  # no longer than half the clip


@pytest.mark.parametrize("edge_hz", [3_000, 5_000])
def test_bandwidth(edge_hz: float) -> None:
    assert bandwidth_hz(noise(4, edge_hz), RATE_HZ) == pytest.approx(edge_hz, abs=300)
    assert bandwidth_hz(noise(4), RATE_HZ) == 8_000


def test_the_file_is_plain_pcm() -> None:
    samples = np.array([0.0, 0.5, -0.5, 1.0, -1.0, 2.0], dtype=np.float32)
    data = to_wav(samples, RATE_HZ)
    assert len(data) == 44 + 2 * 6
    header = struct.unpack("<4sI4s4sIHHIIHH4sI", data[:44])
    assert header == (
        b"RIFF", 48, b"WAVE", b"fmt ", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16, b"data", 12,
    )  # fmt: skip
    assert np.frombuffer(data[44:], "<i2").tolist() == [0, 16384, -16384, 32767, -32768, 32767]
    assert read_clip(to_wav(pluck(), RATE_HZ)).samples == pytest.approx(pluck(), abs=1 / 65_000)


# Parity of anchors and clips


@pytest.fixture
def study(database: Database) -> Study:
    with database.write() as session:
        return create(session, "one", Protocol(), 3, NOW)


@pytest.mark.parametrize(
    ("clips", "anchors", "said"),
    [
        ([noise(1.0), noise(2.0)], [noise(1.5), noise(1.0)], None),
        ([noise()], [], None),
        ([], [], None),
        ([noise(), 0 * noise()], [noise(), 0 * noise()], None),  # silence is not compared
        (
            [noise(1.0), noise(2.0)],
            [noise(2.5), noise(0.7), noise(2.05)],
            "2 of 3 anchors may be known by their length: anchor0.wav (2.5 s), anchor1.wav (0.7 s). "
            "The clips have 1.0 to 2.0 s.",
        ),
        (
            [noise()],
            [clicks(1.0), noise()],
            "1 of 2 anchors may be known by their loudness: anchor0.wav (-… LUFS). Most clips have -23.0 LUFS.",
        ),
        (
            [noise() for _ in range(30)] + [noise(edge_hz=4000)],
            [noise(edge_hz=4000), noise(edge_hz=7600)],
            "1 of 2 anchors may be known by their bandwidth: anchor0.wav (4.… kHz). Most clips have 8.0 kHz.",
        ),
        (
            [noise()],
            [noise(2.0 + number) for number in range(7)],
            "7 of 7 anchors may be known by their length: …, anchor4.wav (6.0 s) and 2 more. The clips have 1.0 s.",
        ),
    ],
    ids=["alike", "no anchors", "nothing", "silence", "length", "loudness", "bandwidth", "many"],
)
def test_what_still_tells_an_anchor_is_said(
    database: Database,
    study: Study,
    tmp_path: Path,
    clips: list[NDArray[np.float32]],
    anchors: list[NDArray[np.float32]],
    said: str | None,
) -> None:
    for kind, sounds in (("stimulus", clips), ("anchor", anchors)):
        for number, samples in enumerate(sounds):
            entry = Entry(f"deep/{kind}{number}.wav", "p", "S1", kind)
            assert add_clip(database, tmp_path, study, entry, f"{number}", normal(samples), NOW)
    found = parity(database, tmp_path, study)
    if said is None:
        assert found == []
    else:
        begins, _, ends = said.partition("…")
        (sentence,) = found
        assert sentence.startswith(begins)
        assert sentence.endswith(ends)
