"""What is measured in the signal of a clip, and what of it is a fault: peaks, offset, clicks, clipping, silence.

All of it is measured in the file as it came, before anything is resampled or made louder for a judge. The true peak
(`core.levels`) and the offset are those of the worst channel; clicks and silence are looked for in the mix to mono.

A *click* is a place where the sound jumps, and nothing for 50 ms before and behind it comes near that jump: an edge
between two pieces that were joined, a lost block, a single wrong sample. The bend of the waveform (its second
difference) there is `_STANDS_OUT` times as strong as anywhere around. The beginning of a drum is none: what follows
it is as sharp. The edges of a synthesised wave come again within 50 ms, and are none. Nor is what lies within 0.1 s
of either end, where clips are cut.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.audio import NEAR_SILENCE, AudioLimits, Clip, Samples, read_clip
from core.errors import counted, shown_beyond
from core.gate.limits import SignalLimits
from core.levels import decibels
from core.warnings import clipped_places, merge, runs

_BLOCK_S = 0.001  # as long as a click is at most
_AROUND_BLOCKS = 50  # before and behind it
_STANDS_OUT = 8.0
_LEAST_JUMP = 0.02  # of the clip's peak: a jump 34 dB below it is hardly heard
_SAME_CLICK_S = 0.01
_ENDS_S = 0.1


@dataclass(frozen=True)
class Signal:
    """What was measured in a clip."""

    true_peak_dbtp: float
    dc_offset: float
    clicks: int
    clipped_places: int
    silence_s: float  # the longest
    incomplete: str = ""  # what of the file was not read, as `core.audio.Clip.incomplete` says it

    def faults(self, limits: SignalLimits) -> list[str]:
        """Say what is beyond the limits, a sentence each."""
        found = [f"The file {self.incomplete}."] if self.incomplete else []
        if self.true_peak_dbtp > limits.max_true_peak:
            shown = shown_beyond(self.true_peak_dbtp, limits.max_true_peak, 1)
            found.append(f"Its true peak is {shown} dBTP, above {limits.max_true_peak:g}.")
        if self.dc_offset > limits.max_dc:
            shown = shown_beyond(self.dc_offset, limits.max_dc, 3)
            found.append(f"It has a DC offset of {shown}, above {limits.max_dc:g}.")
        if self.clicks > limits.max_clicks:
            found.append(f"It has {counted(self.clicks, 'click')}, above {limits.max_clicks}.")
        if self.clipped_places > limits.max_clipped:
            found.append(f"It is clipped in {counted(self.clipped_places, 'place')}, above {limits.max_clipped}.")
        if self.silence_s > limits.max_silence:
            shown = shown_beyond(self.silence_s, limits.max_silence, 1)
            found.append(f"It is silent for {shown} s, above {limits.max_silence:g}.")
        return found


def measure_file(path: str, limits: AudioLimits) -> Signal:
    """Read a file and measure it; AudioError as `core.audio.read_clip`."""
    return measure_signal(read_clip(path, limits, true_peak=True))


def measure_signal(clip: Clip) -> Signal:
    """Measure a clip that was read with its true peak."""
    assert clip.true_peak is not None
    return Signal(
        decibels(clip.true_peak),
        clip.offset,
        len(clicks(clip.samples, clip.sample_rate_hz)),
        len(clipped_places(clip)),
        longest_silence_s(clip.samples, clip.sample_rate_hz),
        clip.incomplete,
    )


def clicks(samples: Samples, sample_rate_hz: int) -> list[tuple[int, int]]:
    """Return where the clicks of samples, (n,), are: the first sample of each, and the one behind its last."""
    block = max(2, round(_BLOCK_S * sample_rate_hz))
    bend = np.abs(np.diff(samples, 2))
    if bend.size < block:
        return []
    sharpest = np.maximum.reduceat(bend, range(0, bend.size, block))
    stands_out = sharpest > _STANDS_OUT * _around(sharpest)
    is_heard = sharpest > _LEAST_JUMP * float(np.abs(samples).max())
    ends = round(_ENDS_S * sample_rate_hz / block)
    is_inside = np.arange(sharpest.size) >= ends
    is_inside &= is_inside[::-1]
    found = [(start * block, end * block) for start, end in runs(stands_out & is_heard & is_inside)]
    return merge(found, int(_SAME_CLICK_S * sample_rate_hz))


def longest_silence_s(samples: Samples, sample_rate_hz: int) -> float:
    """Return how long samples, (n,), stay 60 dB below their peak; a constant offset is silence."""
    magnitude = np.abs(samples - samples.mean(dtype=np.float64))
    quiet = runs(magnitude <= NEAR_SILENCE * magnitude.max(initial=0.0))
    return max((end - start for start, end in quiet), default=0) / sample_rate_hz


def _around(sharpest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest value before and behind each block, without its neighbours."""
    reach = np.pad(sharpest, _AROUND_BLOCKS + 1)
    before = np.lib.stride_tricks.sliding_window_view(reach, _AROUND_BLOCKS).max(axis=1)
    behind = before[_AROUND_BLOCKS + 3 :]
    largest: NDArray[np.float32] = np.maximum(before[: sharpest.size], behind[: sharpest.size])
    return largest
