"""Whether the notes of a window are in tune, in key and in time: numbers that a tagger of music does not learn.

Partials are the peaks of a long spectrum. In tune: how closely they lie about one grid of semitones, as the length of
the mean of their directions on the circle of a semitone. In key: the chroma that they add up to beside the key profiles
of Krumhansl and Kessler (1982, Psychological Review 89). In time: how regular onsets are, by autocorrelation and by
their spectrum. None of them jumps where another key becomes the best, so a clip cut elsewhere measures much the same,
if it has notes: of a window with few partials, as of drums, tuning and key say nothing, so how many there are is told.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MEASURES = 15
OF_PARTIALS = 10  # of the measures, which come first: those of tuning and key

_FFT_SAMPLES, _HOP_SAMPLES, _RATE_HZ = 12_288, 3_072, 48_000
_LOWEST, _HIGHEST = 20, 1_024  # bins: 78 Hz to 4 kHz
_AROUND = 15  # bins on either side, above whose mean a partial rises
_RISE, _QUIETEST = 2.0, 10**-2.5  # in natural logarithms; to the window's loudest bin
_LOUDNESS = 0.7  # a partial counts with this power of its size
_A4_HZ = 440.0
_STRETCHES, _SEGMENTS = 8, 6
_PROFILES = (  # of a major and a minor key, from the tonic on
    (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
)
_SCALES = ((1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1), (1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0))
_PERIODS, _RATES = slice(12, 125), slice(5, 160)  # of onsets: in frames of 16 ms, and in cycles in 10 s
_LITTLE, _NO_NOTE = 1e-9, 1e-6


def measures(waveform: Tensor, spectrograms: Tensor) -> Tensor:
    """Return the measures of windows, (n, 480000), and of their logarithmic spectrograms, (n, 626, 96).

    These are (n, 16): the last is how many partials there are to a frame.
    """
    partials = _partials(waveform)
    tuning, centre = _tuning(partials)
    found = [tuning, _harmony(_chroma(partials, centre)), _rhythm(spectrograms), partials.to_a_frame()]
    return torch.cat(found, dim=1)


@dataclass(frozen=True)
class _Partials:
    """The partials of all frames of n windows, in one row."""

    n: int
    n_frames: int
    frame: Tensor  # counted on over windows
    semitone: Tensor  # from A4
    weight: Tensor

    def in_frames(self, values: Tensor, at: Tensor | int = 0, size: int = 1) -> Tensor:
        """Sums by frame, (n, n_frames, size), of values at some of the places of a frame."""
        sums = values.new_zeros(self.n * self.n_frames * size)
        return sums.index_add(0, self.frame * size + at, values).view(self.n, self.n_frames, size)

    def to_a_frame(self) -> Tensor:
        """How many there are in a frame, on average, (n, 1)."""
        return self.in_frames(torch.ones_like(self.weight)).mean(1)


def _partials(waveform: Tensor) -> _Partials:
    hann = torch.hann_window(_FFT_SAMPLES, device=waveform.device)
    spectrum = torch.stft(waveform, _FFT_SAMPLES, _HOP_SAMPLES, window=hann, center=False, return_complex=True)
    size = spectrum[:, _LOWEST - _AROUND : _HIGHEST + _AROUND].abs().transpose(1, 2)
    log, inner = (size / 3 + 1e-6).log(), slice(_AROUND, -_AROUND)
    rise = log[:, :, inner] - functional.avg_pool1d(log, 2 * _AROUND + 1, stride=1)
    below, at, above = log[:, :, _AROUND - 1 : 1 - _AROUND].unfold(2, 3, 1).unbind(-1)
    loud = size[:, :, inner]
    is_loud = loud > _QUIETEST * loud.amax((1, 2), keepdim=True)
    is_partial = (at > below) & (at >= above) & (rise > _RISE) & is_loud
    window, frame, place = is_partial.nonzero(as_tuple=True)
    before, here, after = (values[is_partial] for values in (below, at, above))
    vertex = 0.5 * (before - after) / (before - 2 * here + after - _LITTLE)  # of the parabola through the three
    hz = (place + _LOWEST + vertex.clamp(-0.5, 0.5)) * (_RATE_HZ / _FFT_SAMPLES)
    n, n_frames, _ = loud.shape
    return _Partials(n, n_frames, window * n_frames + frame, 12 * (hz / _A4_HZ).log2(), loud[is_partial] ** _LOUDNESS)


def _tuning(partials: _Partials) -> tuple[Tensor, Tensor]:
    """Closeness to the grid, (n, 3): of all partials, in frames, in stretches. And the grid's place, (n,)."""
    weight = partials.in_frames(partials.weight)[..., 0]
    points = partials.in_frames(torch.polar(partials.weight, 2 * math.pi * partials.semitone))[..., 0]
    in_frames = (_length(points, weight) * weight).sum(1) / (weight.sum(1) + _LITTLE)
    in_stretches = _length(_cut(points, _STRETCHES).sum(-1), _cut(weight, _STRETCHES).sum(-1)).mean(1)
    whole = points.sum(1)
    found = [_length(whole, weight.sum(1)), in_frames, in_stretches]
    return torch.stack(found, dim=1), whole.angle() / (2 * math.pi)


def _length(points: Tensor, weight: Tensor) -> Tensor:
    return points.abs() / (weight + _LITTLE)


def _cut(values: Tensor, parts: int) -> Tensor:
    """Frames, the last axis, in equal parts; (…, parts, frames of each)."""
    length = values.shape[-1] // parts
    return values[..., : parts * length].reshape(*values.shape[:-1], parts, length)


def _chroma(partials: _Partials, centre: Tensor) -> Tensor:
    """How much of each pitch class there is in frames, (n, n_frames, 12)."""
    pitch_class = (partials.semitone - centre[partials.frame // partials.n_frames]).round().long() % 12
    return partials.in_frames(partials.weight, pitch_class, 12) + _NO_NOTE


def _harmony(chroma: Tensor) -> Tensor:
    """How clear the key is, (n, 7): how well segments keep to it, or to any, among others."""
    total = chroma.sum(1)
    best, second = _likeness(total).topk(2).values.unbind(-1)
    share = total / total.sum(-1, keepdim=True)
    in_scale = (share @ _in_all_keys(total.new_tensor(_SCALES)).T).amax(-1)
    segments = _likeness(_cut(chroma.transpose(1, 2), _SEGMENTS).sum(-1).transpose(1, 2))
    any_key, one_key = segments.amax(-1), (segments.mean(1), segments.amin(1))
    found = [best, best - second, in_scale, any_key.mean(1), any_key.amin(1), *(of.amax(-1) for of in one_key)]
    return torch.stack(found, dim=1)


def _likeness(chroma: Tensor) -> Tensor:
    """Correlation of chroma, (…, 12), with the profiles of the 24 keys."""
    return _standard(chroma) @ _standard(_in_all_keys(chroma.new_tensor(_PROFILES))).T / 12


def _in_all_keys(rows: Tensor) -> Tensor:
    """What is said of pitch classes from the tonic on, (2, 12), for each of 24 keys."""
    return torch.stack([row.roll(key) for row in rows for key in range(12)])


def _standard(values: Tensor) -> Tensor:
    spread = values.std(-1, keepdim=True, correction=0)
    return (values - values.mean(-1, keepdim=True)) / (spread + _LITTLE)


def _rhythm(spectrograms: Tensor) -> Tensor:
    """How much of the onsets comes again after some period, and how much of them lies at few rates, (n, 5)."""
    rises = spectrograms.diff(dim=1).relu().mean(-1)
    usual = functional.avg_pool1d(rises[:, None], 9, 1, 4, count_include_pad=False)[:, 0]
    onsets = (rises - usual).relu()
    onsets = onsets - onsets.mean(1, keepdim=True)
    n = onsets.shape[1]
    likeness = torch.fft.irfft(torch.fft.rfft(onsets, 2 * n).abs().square(), 2 * n)
    again = (likeness / (likeness[:, :1] + _LITTLE))[:, _PERIODS]
    power = torch.fft.rfft(onsets * torch.hann_window(n, device=onsets.device)).abs()[:, _RATES].square()
    share = power / (power.sum(1, keepdim=True) + _LITTLE)
    entropy = -(share * (share + _LITTLE).log()).sum(1)
    few = share.topk(5).values.sum(1)
    return torch.stack([again.amax(1), again.topk(6).values.mean(1), again.std(1), entropy, few], dim=1)
