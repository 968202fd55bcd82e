"""Faults that can be seen in the samples: silence, clipping, too little music, a file that was not read whole.

Each becomes a :class:`ScoreWarning`: the clip is scored all the same, and the warning stands beside the
scores. A clip of which nothing can be heard is refused before (`core.audio.hear`). Silence and level are
looked for in what the judge hears, clipping in the clip as it was given.

Clipping is looked for at the clip's own peak, so it is found in a quieter copy too: at least three samples
in a row at the peak, with steep flanks. (The rounded top of a low note is flat as well, but widens quickly
just below its peak.) It is seen only where the flat tops are still there: resampling and lossy coding round
them off, and a single louder click hides them. A synthesised square wave looks, and sounds, like clipping.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.audio import NEAR_SILENCE, Clip, Heard
from core.errors import counted, shown_beyond
from core.files import first_of

SHORT_CLIP_S = 3.0
MIN_SILENCE_S = 2.0
MAX_NAMED_PLACES = 3
MAX_GAIN_DB = 30.0  # a clip at -53 LUFS: what a microphone hears of a silent room is not far below

_FILTER_S = 0.02  # how far the sound beside a silence rings into it, by the filters of the policy
_MIN_CLIPPED_PEAK = 0.01  # below -40 dBFS the steps of 16 bits look like plateaus
_MIN_RUN_SAMPLES = 3
_PLATEAU = 1.0 - 1e-4  # two steps of 16 bits below the peak
_SHOULDER = 0.95
_MAX_SHOULDER_WIDTH = 4.0  # times the plateau's; a rounded top has more than 7, a clipped one less than 2.5
_MAX_PLATEAU_S = 0.05  # half a period of 10 Hz: a longer one is a constant and no sound cut off
_SAME_PLACE_S = 1.0

Run = tuple[int, int]  # first sample, and the one after the last


@dataclass(frozen=True)
class ScoreWarning:
    """Something to know when reading a score."""

    code: str  # for programs: docs/scoring.md has them all
    message: str  # for people: a plain sentence or two


def find_faults(clip: Clip, heard: Heard) -> list[ScoreWarning]:
    """List the faults of a clip, given as it came and as the judge hears it."""
    return list(_faults(clip, heard))


def show_time(seconds: float) -> str:
    """Write a place in a clip as m:ss, rounded down."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def is_clipped(clip: Clip) -> bool:
    """Return whether the tops of a clip are cut off anywhere."""
    return bool(clipped_places(clip))


def clipped_places(clip: Clip) -> list[Run]:
    """Return where the tops of a clip are cut off, in samples; what lies less than a second apart is one place."""
    peak = float(clip.peaks.max(initial=0.0))
    return merge(_clipped_runs(clip.peaks, peak, clip.sample_rate_hz), int(_SAME_PLACE_S * clip.sample_rate_hz))


def _faults(clip: Clip, heard: Heard) -> Iterator[ScoreWarning]:
    if clip.incomplete:
        yield ScoreWarning("incomplete", f"The file {clip.incomplete}. What was read is scored.")
    if clip.duration_s < SHORT_CLIP_S:
        length = f"This clip is only {shown_beyond(clip.duration_s, SHORT_CLIP_S, 1)} s long"
        yield ScoreWarning("very_short", f"{length}; below {SHORT_CLIP_S:g} s there is little to judge.")
    if heard.gain_db > MAX_GAIN_DB:
        louder = f"This clip is so quiet that it was made {heard.gain_db:.0f} dB louder to be judged"
        yield ScoreWarning("very_quiet", f"{louder}: noise that goes with it was made louder, too.")
    if silent := list(_silent_runs(clip, heard)):
        places = places_in_words(silent, heard.policy.sample_rate_hz)
        yield ScoreWarning("silence", f"This clip is silent in {places}.")
    if clipped := clipped_places(clip):
        places = places_in_words(clipped, clip.sample_rate_hz)
        yield ScoreWarning("clipping", f"This clip is clipped in {places}.")


def _silent_runs(clip: Clip, heard: Heard) -> Iterator[Run]:
    """Yield silences in what is heard, in samples of the policy's rate from the clip's beginning.

    What was skipped at both ends counts: the clip is silent there.
    """
    rate_hz = heard.policy.sample_rate_hz
    magnitude, ringing = np.abs(heard.samples), int(_FILTER_S * rate_hz)
    start, n_samples = round(heard.start_s * rate_hz), round(clip.duration_s * rate_hz)
    quiet = np.ones(max(n_samples, start + magnitude.size), dtype=bool)
    quiet[start : start + magnitude.size] = magnitude < magnitude.max(initial=0.0) * NEAR_SILENCE
    for first, end in runs(quiet, MIN_SILENCE_S * rate_hz - 2 * ringing):
        yield first, min(end + ringing, n_samples)


def _clipped_runs(peaks: NDArray[np.float32], peak: float, sample_rate_hz: int) -> list[Run]:
    """Return where the flat tops are: runs at the peak whose shoulders are not much wider than themselves."""
    if peak < _MIN_CLIPPED_PEAK:
        return []
    longest = _MAX_PLATEAU_S * sample_rate_hz
    flat = runs(peaks >= peak * _PLATEAU, _MIN_RUN_SAMPLES)
    tops = [(start, end) for start, end in flat if end - start <= longest]
    if not tops:
        return []
    shoulders = np.array(runs(peaks >= peak * _SHOULDER))
    holding = np.searchsorted(shoulders[:, 0], [start for start, _ in tops], side="right") - 1
    widths = (shoulders[:, 1] - shoulders[:, 0])[holding]
    return [top for top, width in zip(tops, widths, strict=True) if width < _MAX_SHOULDER_WIDTH * (top[1] - top[0])]


def runs(mask: NDArray[np.bool_], least: float = 1) -> list[Run]:
    """Return each stretch of True, of at least so many."""
    padded = np.zeros(mask.size + 2, dtype=bool)
    padded[1:-1] = mask
    edges = np.flatnonzero(padded[1:] != padded[:-1]).reshape(-1, 2)
    long = edges[edges[:, 1] - edges[:, 0] >= least]
    return [(start, end) for start, end in long.tolist()]


def merge(runs: list[Run], gap_samples: int) -> list[Run]:
    """Join runs that lie closer together than `gap_samples`."""
    merged: list[Run] = []
    for start, end in runs:
        if merged and start - merged[-1][1] < gap_samples:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def places_in_words(runs: list[Run], sample_rate_hz: int) -> str:
    """Write "2 places (0:04, 0:11 to 0:14)", naming at most `MAX_NAMED_PLACES`."""
    named = [_span(start / sample_rate_hz, end / sample_rate_hz) for start, end in runs]
    return f"{counted(len(runs), 'place')} ({first_of(named, MAX_NAMED_PLACES)})"


def _span(start_s: float, end_s: float) -> str:
    start, end = show_time(start_s), show_time(end_s)
    return start if start == end else f"{start} to {end}"
