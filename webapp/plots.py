"""Drawings of a result as inline SVG and HTML: a score on its scale, and both scores over the clip's time.

Conventions
-----------
Shapes are SVG stretched to their box (strokes keep their width); text is HTML placed in percent beside them,
so it has the page's size at every width. Musical impression is the solid line in the accent colour, textual
alignment the dashed one in the text's colour: they differ in dash and lightness, not in hue alone. Times are
in seconds, scores in [1, 5].
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.faults import show_time
from core.scales import MAX_SCORE, MIN_SCORE, SCALE_TITLES, SCALE_WORDS, SCALES

_WAVEFORM_BINS = 400
_TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300)
_MOST_TICKS = 5

_STRETCHED = 'preserveAspectRatio="none" aria-hidden="true"'

Window = Mapping[str, float]


def score_track(scale: str, value: float | None = None, interval: Sequence[float] | None = None) -> str:
    """Draw a score and its interval on the line from 1 to 5.

    Parameters
    ----------
    scale : str
        One of `core.scales.SCALES`.
    value : float, optional
        Without one the empty scale is drawn.
    interval : pair of float, optional

    Returns
    -------
    str
        HTML, hidden from screen readers: the numbers stand beside it as text.
    """
    marks = "".join(f'<i class="me-tick" style="left:{_across(point)}%"></i>' for point in range(1, 6))
    if interval is not None:
        low, high = (_across(end) for end in interval)
        marks += f'<b class="me-band" style="left:{low:.2f}%;width:{high - low:.2f}%"></b>'
    if value is not None:
        marks += f'<b class="me-mark" style="left:{_across(value):.2f}%"></b>'
    first, *_, last = SCALE_WORDS[scale]
    ends = f"<span>{MIN_SCORE:g} {first}</span><span>{MAX_SCORE:g} {last}</span>"
    return (
        '<div class="me-scale" aria-hidden="true">'
        f'<div class="me-line">{marks}</div><div class="me-ends">{ends}</div></div>'
    )


def timeline(samples: NDArray[np.float32], duration_s: float, windows: Sequence[Window]) -> str:
    """Draw the waveform of a clip and the course of both scores under it.

    Parameters
    ----------
    samples : ndarray of shape (n,)
        The whole clip, mono.
    duration_s : float
    windows : sequence of mappings
        ``start_s``, ``end_s`` and both scores, in the order of time.

    Returns
    -------
    str
        HTML: a slider over the clip's time. The page's script moves its hand.
    """
    times = "".join(
        f'<i style="left:{100 * tick / duration_s:.2f}%">{show_time(tick)}</i>' for tick in _ticks(duration_s)
    )
    return (
        f'<div class="me-plot" role="slider" tabindex="0" data-duration="{duration_s:.3f}"'
        f' aria-label="Position in the clip" aria-valuemin="0" aria-valuemax="{duration_s:.1f}"'
        f' aria-valuenow="0" aria-valuetext="0:00 of {show_time(duration_s)}">'
        f'<svg class="me-wave" {_STRETCHED} viewBox="0 -1 {_WAVEFORM_BINS} 2">'
        f'<path d="{_waveform(samples)}"/></svg>'
        f'{_courses(windows, duration_s)}<b class="me-hand"></b>'
        f'<div class="me-times" aria-hidden="true">{times}</div></div>'
    )


def legend() -> str:
    """Name the two lines of `timeline`."""
    return "".join(f'<span class="me-key {_CLASSES[scale]}">{SCALE_TITLES[scale]}</span>' for scale in SCALES)


_CLASSES = dict(zip(SCALES, ("me-impression", "me-alignment"), strict=True))


def _across(score: float) -> float:
    """Place a score on the way from 1 to 5, in percent."""
    return 100 * (score - MIN_SCORE) / (MAX_SCORE - MIN_SCORE)


def _courses(windows: Sequence[Window], duration_s: float) -> str:
    """Draw both scores between the lines of the grid, 5 at the top."""
    points = range(1, 6)
    grid = "".join(f'<line x1="0" x2="1" y1="{point}" y2="{point}"/>' for point in points)
    paths = "".join(
        f'<path class="{_CLASSES[scale]}" d="{_course(windows, scale, duration_s)}"/>' for scale in SCALES
    )
    labels = "".join(f'<i style="top:{100 - _across(point):g}%">{point}</i>' for point in points)
    return (
        f'<div class="me-courses"><svg {_STRETCHED} viewBox="0 0 1 4"><g transform="matrix(1 0 0 -1 0 5)">'
        f'{grid}{paths}</g></svg><div class="me-scores" aria-hidden="true">{labels}</div></div>'
    )


def _waveform(samples: NDArray[np.float32]) -> str:
    """Outline the clip's peaks, relative to its loudest, as an SVG path of one closed shape."""
    edges = np.linspace(0, samples.size, min(_WAVEFORM_BINS, samples.size) + 1).astype(int)[:-1]
    peaks = np.maximum.reduceat(np.abs(samples), edges)
    peaks = np.maximum(peaks / max(float(peaks.max()), 1e-9), 0.01)
    x = (np.arange(peaks.size) + 0.5) * _WAVEFORM_BINS / peaks.size
    upper = [f"{at:.1f} {-peak:.3f}" for at, peak in zip(x, peaks, strict=True)]
    lower = [f"{at:.1f} {peak:.3f}" for at, peak in zip(x[::-1], peaks[::-1], strict=True)]
    return "M" + "L".join(upper + lower) + "Z"


def _course(windows: Sequence[Window], scale: str, duration_s: float) -> str:
    """Draw a score window by window as steps; where two windows overlap they change in the middle of it."""
    borders = [(left["end_s"] + right["start_s"]) / 2 for left, right in pairwise(windows)]
    starts, ends = [0.0, *borders], [*borders, duration_s]
    steps = [
        f"{start / duration_s:.4f} {window[scale]:.3f}H{end / duration_s:.4f}"
        for window, start, end in zip(windows, starts, ends, strict=True)
    ]
    return "M" + "L".join(steps)


def _ticks(duration_s: float) -> list[float]:
    """Choose round times for the axis, at most six of them, the first at 0."""
    step = next((tick for tick in _TICKS_S if duration_s / tick <= _MOST_TICKS), _TICKS_S[-1])
    return [float(step * index) for index in range(math.floor(duration_s / step) + 1)]
