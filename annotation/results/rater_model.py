"""Raters modelled: each adds a bias to what a clip deserves, and noise of a size of their own.

A score is quality(clip) + bias(rater) + inconsistency(rater) * noise. The maximum-likelihood fit alternates
between the three, weighting each rater by 1 / inconsistency²; biases are shifted to a mean of zero at the
end. Any rater may have rated any clips, some of them twice. The steps are those of the reference
implementation (`sureal.P910AnnexEModel`), which fills a table of all clips by all raters for each of them.
Source: ITU-T P.910, Annex E; Z. Li et al., "A simple model for subject behavior in subjective experiments",
HVEI 2020.

With n ratings a clip the inconsistency comes out low by a factor of about sqrt(1 - 1/n): 0.89 at five. And
the likelihood has no upper bound: where clips have few ratings, the fit may come to follow one rater exactly,
whose inconsistency then falls to zero; below `LEAST_INCONSISTENCY` it says that, and nothing about the rater.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
_MOST_STEPS = 1000
_CONVERGED = 1e-8  # change of all qualities in a step, as a Euclidean norm
_SMALLEST_VARIANCE = 1e-8  # of a rater whom the fit meets exactly
LEAST_INCONSISTENCY = 0.1  # points; answering in whole points alone makes one of 0.29


@dataclass(frozen=True)
class RaterModel:
    """A fit.

    Attributes
    ----------
    quality : (clips,) array
        In points of the scale, freed of the raters' biases.
    bias, inconsistency : (raters,) array
        In points; the inconsistency is a standard deviation.
    bias_low, bias_high, inconsistency_low, inconsistency_high : (raters,) array
        95 % intervals: the bias as a mean of so many ratings, the inconsistency by the chi-squared law.
    """

    quality: Numbers
    bias: Numbers
    bias_low: Numbers
    bias_high: Numbers
    inconsistency: Numbers
    inconsistency_low: Numbers
    inconsistency_high: Numbers


def fit(clip: NDArray[np.intp], rater: NDArray[np.intp], score: Numbers) -> RaterModel:
    """Fit the model.

    Parameters
    ----------
    clip, rater : (n,) arrays of int
        Of each rating, counted from 0; every number up to the largest must occur.
    score : (n,) array

    Returns
    -------
    RaterModel
    """
    of_clip, of_rater = np.bincount(clip), np.bincount(rater)
    quality = np.bincount(clip, score) / of_clip
    bias = np.bincount(rater, score - quality[clip]) / of_rater
    for _ in range(_MOST_STEPS):
        before = quality
        variance = _variance(score - quality[clip] - bias[rater], rater, of_rater)
        weight = 1.0 / (variance[rater] + _SMALLEST_VARIANCE)
        quality = np.bincount(clip, weight * (score - bias[rater])) / np.bincount(clip, weight)
        bias = np.bincount(rater, score - quality[clip]) / of_rater
        if np.linalg.norm(before - quality) < _CONVERGED:
            break
    shift, inconsistency = bias.mean(), np.sqrt(variance)
    reach = stats.norm.ppf(0.975) * inconsistency / np.sqrt(of_rater)
    return RaterModel(
        quality=quality + shift,
        bias=bias - shift,
        bias_low=bias - shift - reach,
        bias_high=bias - shift + reach,
        inconsistency=inconsistency,
        inconsistency_low=inconsistency * np.sqrt(of_rater / stats.chi2.ppf(0.975, of_rater)),
        inconsistency_high=inconsistency * np.sqrt(of_rater / stats.chi2.ppf(0.025, of_rater)),
    )


def _variance(residual: Numbers, rater: NDArray[np.intp], of_rater: NDArray[np.intp]) -> Numbers:
    mean = np.bincount(rater, residual) / of_rater
    return np.bincount(rater, (residual - mean[rater]) ** 2) / of_rater
