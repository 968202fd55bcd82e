"""Faults that can be seen in the samples: silence, clipping, too little music, a file that breaks off.

Each becomes a :class:`ScoreWarning`: the clip is scored all the same, and the warning stands beside the
scores.

Clipping is looked for at the clip's own peak, so it is found in a quieter copy too: at least three samples
in a row at the peak, with steep flanks. (The rounded top of a low note is flat as well, but widens quickly
just below its peak.) It is seen only where the flat tops are still there: resampling and lossy coding round
them off, and a single louder click hides them. A synthesised square wave looks, and sounds, like clipping.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.audio import SILENCE_PEAK, Clip

SHORT_CLIP_S = 3.0
MIN_SILENCE_S = 2.0
MAX_NAMED_PLACES = 3

_SILENCE_BELOW_PEAK = 0.001  # 60 dB down, so that a quieter copy is silent in the same places
_MIN_CLIPPED_PEAK = 0.01  # below -40 dBFS the steps of 16 bits look like plateaus
_MIN_RUN_SAMPLES = 3
_PLATEAU = 1.0 - 1e-4  # two steps of 16 bits below the peak
_SHOULDER = 0.95
_MAX_SHOULDER_WIDTH = 4.0  # times the plateau's; a rounded top has more than 7, a clipped one less than 2.5
_SAME_PLACE_S = 1.0

_Run = tuple[int, int]  # first sample, and the one after the last


@dataclass(frozen=True)
class ScoreWarning:
    """Something to know when reading a score.

    Attributes
    ----------
    code : str
        For programs: ``demo_model``, ``zero_shot``, ``silence``, ``clipping``, ``very_short``,
        ``incomplete``, ``prompt_empty`` or ``prompt_cut``.
    message : str
        For people: a plain sentence or two.
    """

    code: str
    message: str


def find_faults(clip: Clip) -> list[ScoreWarning]:
    """List the faults of a clip."""
    return list(_faults(clip))


def show_time(seconds: float) -> str:
    """Write a place in a clip as m:ss, rounded down."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def _faults(clip: Clip) -> Iterator[ScoreWarning]:
    if clip.missing_s:
        whole_s = clip.duration_s + clip.missing_s
        message = f"The file breaks off: {clip.duration_s:.1f} s of {whole_s:.1f} s could be read and are scored."
        yield ScoreWarning("incomplete", message)
    if clip.duration_s < SHORT_CLIP_S:
        length = f"This clip is only {clip.duration_s:.1f} s long"
        yield ScoreWarning("very_short", f"{length}; below {SHORT_CLIP_S:g} s there is little to judge.")
    peak = float(clip.peaks.max(initial=0.0))
    if peak < SILENCE_PEAK:
        yield ScoreWarning("silence", "This clip is silent, so its scores mean nothing.")
    elif silent := _silent_runs(clip, peak):
        places = _places(silent, clip.sample_rate_hz)
        yield ScoreWarning("silence", f"This clip is silent in {places}.")
    if clipped := _merge(_clipped_runs(clip.peaks, peak), int(_SAME_PLACE_S * clip.sample_rate_hz)):
        places = _places(clipped, clip.sample_rate_hz)
        yield ScoreWarning("clipping", f"This clip is clipped in {places}.")


def _silent_runs(clip: Clip, peak: float) -> list[_Run]:
    quiet = _runs(clip.peaks < peak * _SILENCE_BELOW_PEAK)
    return [(start, end) for start, end in quiet if end - start >= MIN_SILENCE_S * clip.sample_rate_hz]


def _clipped_runs(peaks: NDArray[np.float32], peak: float) -> list[_Run]:
    """Return where the flat tops are: runs at the peak whose shoulders are not much wider than themselves."""
    if peak < _MIN_CLIPPED_PEAK:
        return []
    tops = [(start, end) for start, end in _runs(peaks >= peak * _PLATEAU) if end - start >= _MIN_RUN_SAMPLES]
    shoulders = np.array(_runs(peaks >= peak * _SHOULDER))
    holding = np.searchsorted(shoulders[:, 0], [start for start, _ in tops], side="right") - 1
    widths = (shoulders[:, 1] - shoulders[:, 0])[holding]
    return [top for top, width in zip(tops, widths, strict=True) if width < _MAX_SHOULDER_WIDTH * (top[1] - top[0])]


def _runs(mask: NDArray[np.bool_]) -> list[_Run]:
    """Return each stretch of True."""
    edges = np.flatnonzero(np.diff(mask, prepend=False, append=False))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _merge(runs: list[_Run], gap_samples: int) -> list[_Run]:
    """Join runs that lie closer together than `gap_samples`."""
    merged: list[_Run] = []
    for start, end in runs:
        if merged and start - merged[-1][1] < gap_samples:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _places(runs: list[_Run], sample_rate_hz: int) -> str:
    """Write "2 places (0:04, 0:11 to 0:14)", naming at most `MAX_NAMED_PLACES`."""
    named = [_span(start / sample_rate_hz, end / sample_rate_hz) for start, end in runs[:MAX_NAMED_PLACES]]
    more = f" and {len(runs) - MAX_NAMED_PLACES} more" if len(runs) > MAX_NAMED_PLACES else ""
    return f"{len(runs)} {'place' if len(runs) == 1 else 'places'} ({', '.join(named)}{more})"


def _span(start_s: float, end_s: float) -> str:
    start, end = show_time(start_s), show_time(end_s)
    return start if start == end else f"{start} to {end}"
