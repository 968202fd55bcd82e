import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from core.audio import read_clip
from core.faults import ScoreWarning, find_faults
from tests.clips import pluck

RATE_HZ = 16_000


def faults(samples: NDArray[np.generic], sample_rate_hz: int = RATE_HZ) -> list[ScoreWarning]:
    return find_faults(read_clip((samples, sample_rate_hz)))


def clipped_at(*places_s: float, duration_s: float = 90.0, gain: float = 1.0) -> NDArray[np.float32]:
    """Plucks of which half a second from each place is driven into a limit of 0.9."""
    samples = pluck(duration_s)
    for place_s in places_s:
        where = slice(int(place_s * RATE_HZ), int((place_s + 0.4) * RATE_HZ))
        samples[where] = np.clip(samples[where] * 10, -0.9, 0.9)
    return samples * np.float32(gain)


def silent_at(*spans_s: tuple[float, float]) -> NDArray[np.float32]:
    samples = pluck(20.0)
    for start_s, end_s in spans_s:
        samples[int(start_s * RATE_HZ) : int(end_s * RATE_HZ)] = 0.0
    return samples


def tone(pitch_hz: float, amplitude: float, sample_rate_hz: int, limit: float = 1.0) -> NDArray[np.int16]:
    wave = np.sin(2 * np.pi * pitch_hz * np.arange(4 * sample_rate_hz) / sample_rate_hz)
    return (np.clip(wave, -limit, limit) * amplitude * 32_767).astype(np.int16)


def test_a_sound_clip_has_no_fault() -> None:
    assert faults(pluck(20.0)) == []


@pytest.mark.parametrize("gain", [1.0, 0.25])
@pytest.mark.parametrize(
    ("places_s", "shown"),
    [
        ((4.0,), "1 place (0:04)"),
        ((4.0, 11.0, 79.5), "3 places (0:04, 0:11, 1:19)"),
        ((1.0, 4.0, 11.0, 19.0, 30.0), "5 places (0:01, 0:04, 0:11 and 2 more)"),
        ((4.0, 4.5, 5.0, 5.5), "1 place (0:04 to 0:05)"),
    ],
)
def test_clipping_and_its_places(places_s: tuple[float, ...], shown: str, gain: float) -> None:
    expected = ScoreWarning("clipping", f"This clip is clipped in {shown}.")
    assert faults(clipped_at(*places_s, gain=gain)) == [expected]


def test_clipping_in_one_of_two_channels() -> None:
    stereo = np.stack([clipped_at(4.0), pluck(90.0)], axis=1)
    assert [warning.message for warning in faults(stereo)] == ["This clip is clipped in 1 place (0:04)."]


@pytest.mark.parametrize("pitch_hz", [20.0, 50.0, 440.0])
@pytest.mark.parametrize("amplitude", [0.02, 0.1, 1.0])
@pytest.mark.parametrize("sample_rate_hz", [16_000, 48_000, 192_000])
def test_rounded_tops_are_not_clipping(pitch_hz: float, amplitude: float, sample_rate_hz: int) -> None:
    assert faults(tone(pitch_hz, amplitude, sample_rate_hz), sample_rate_hz) == []
    clipped = faults(tone(pitch_hz, amplitude, sample_rate_hz, limit=0.97), sample_rate_hz)
    assert [warning.code for warning in clipped] == ["clipping"]


def test_resampling_hides_clipping() -> None:
    assert faults(soxr.resample(clipped_at(4.0), RATE_HZ, 44_100), 44_100) == []


def test_silence_throughout() -> None:
    expected = [ScoreWarning("silence", "This clip is silent, so its scores mean nothing.")]
    assert faults(np.zeros(10 * RATE_HZ)) == expected
    assert faults(np.resize(np.array([3, -3], np.int16), 10 * RATE_HZ)) == expected


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_silent_stretches(gain: float) -> None:
    samples = silent_at((4.0, 7.0), (9.0, 10.5), (18.0, 20.0)) * np.float32(gain)
    message = "This clip is silent in 2 places (0:04 to 0:07, 0:18 to 0:20)."
    assert faults(samples) == [ScoreWarning("silence", message)]


def test_very_short() -> None:
    expected = ScoreWarning("very_short", "This clip is only 2.9 s long; below 3 s there is little to judge.")
    assert faults(pluck(2.9)) == [expected]
    assert faults(pluck(3.0)) == []
