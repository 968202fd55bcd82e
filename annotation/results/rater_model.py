"""Raters as ITU-T P.910, Annex E models them: bias and inconsistency, beside the clips' qualities.

Conventions: as in `annotation.results.agreement`; intervals are 95 %.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from annotation.results.agreement import Codes, Numbers

LEAST_DEGREES = 10  # of freedom, before a rater has a bias and an inconsistency
LEAST_INCONSISTENCY = 0.1  # points; answering in whole points alone makes one of 0.29

_MOST_STEPS = 1000
_CONVERGED = 1e-8  # change of all qualities in a step, as a Euclidean norm
_SMALLEST_VARIANCE = 1e-8  # of a rater whom the fit meets exactly


@dataclass(frozen=True)
class RaterModel:
    """A fit, in points: quality by clip, and a table of the raters.

    The table has the bias and the inconsistency (a standard deviation), each with ``_low`` and ``_high``: the
    bias by the normal law, with what is unsure of the clips' qualities, the inconsistency by the chi-squared one;
    and ``degrees``, which a rater's ratings have left to tell of it.
    """

    quality: Numbers
    raters: pd.DataFrame


def fit(clip: Codes, rater: Codes, score: Numbers, corrected: bool = True) -> RaterModel:
    """Model raters: a score is quality(clip) + bias(rater) + inconsistency(rater) * noise.

    The fit alternates between the three, weighting each rater by 1 / inconsistency²; biases are shifted to a
    mean of zero at the end. Any rater may have rated any clips, some of them twice. The steps are those of the
    reference implementation (`sureal.P910AnnexEModel`), which fills a table of all clips by all raters for each
    of them. Source: ITU-T P.910, Annex E; Z. Li et al., "A simple model for subject behavior in subjective
    experiments", HVEI 2020.

    The reference divides a rater's squared residuals by their number. That is low by a factor of about 1 - 1/n
    at n ratings a clip, because the clip's quality follows the rater, and where clips have few ratings it can
    fall to zero; no interval around it holds the truth. Here they are divided by the sum of (1 - leverage), unless
    `corrected` is False, which gives the reference's figures. Below `LEAST_INCONSISTENCY` the fit has come to
    follow one rater exactly, and says nothing about them.
    """
    of_clip, of_rater = np.bincount(clip), np.bincount(rater)
    quality = np.bincount(clip, score) / of_clip
    bias = np.bincount(rater, score - quality[clip]) / of_rater
    degrees: Numbers = of_rater.astype(float)
    share = 1 / of_clip[clip]  # of a rating in its clip's quality
    for _ in range(_MOST_STEPS):
        before = quality
        residual = score - quality[clip] - bias[rater]
        residual -= (np.bincount(rater, residual) / of_rater)[rater]
        if corrected:
            degrees = np.bincount(rater, (1 - share) * (1 - 1 / of_rater[rater])).astype(float)
        variance = np.bincount(rater, residual**2) / np.maximum(degrees, _SMALLEST_VARIANCE)
        weight = 1.0 / (variance[rater] + _SMALLEST_VARIANCE)
        share = weight / np.bincount(clip, weight)[clip]
        quality = np.bincount(clip, share * (score - bias[rater])).astype(float)
        bias = np.bincount(rater, score - quality[clip]) / of_rater
        if np.linalg.norm(before - quality) < _CONVERGED:
            break
    shift = bias.mean()
    raters = _raters(bias - shift, _bias_errors(clip, rater, weight), np.sqrt(variance), _degrees(clip, rater, share))
    return RaterModel(quality + shift, raters)


def _raters(bias: Numbers, errors: Numbers, inconsistency: Numbers, degrees: Numbers) -> pd.DataFrame:
    """Lay out what is known of each rater, with intervals."""
    from scipy import stats  # late: it takes half a second, and the pages begin without it

    reach = stats.norm.ppf(0.975) * errors
    known = np.maximum(degrees, 1.0)  # where there are fewer, nobody looks
    return pd.DataFrame(
        {
            "bias": bias,
            "bias_low": bias - reach,
            "bias_high": bias + reach,
            "inconsistency": inconsistency,
            "inconsistency_low": inconsistency * np.sqrt(known / stats.chi2.ppf(0.975, known)),
            "inconsistency_high": inconsistency * np.sqrt(known / stats.chi2.ppf(0.025, known)),
            "degrees": degrees,
        }
    )


def _degrees(clip: Codes, rater: Codes, share: Numbers) -> Numbers:
    """Return the degrees of freedom that a rater's ratings have to tell of the inconsistency.

    They are fewer than the sum of (1 - leverage): where a clip is rated by few, a residual tells as much of the
    others, and the weights follow the residuals. So they are those of a variance that is as unsure as the
    restricted likelihood's information says, of all raters together. Of two raters a clip it cannot be told who
    of them is inconsistent: then they are zero.
    """
    shares = np.zeros((clip.max() + 1, rater.max() + 1))
    np.add.at(shares, (clip, rater), share)
    alone = np.bincount(rater, (1 - 2 * share) * (1 - 1 / np.bincount(rater)[rater]))
    information = np.diag(alone) + shares.T @ shares
    values, vectors = np.linalg.eigh(information)
    unsure = (vectors**2 / np.maximum(values, _SMALLEST_VARIANCE)).sum(axis=1)
    degrees: Numbers = 1.0 / unsure
    return degrees


def _bias_errors(clip: Codes, rater: Codes, weight: Numbers) -> Numbers:
    """Return the standard error of each bias against the mean of all, qualities being estimated beside them."""
    table = np.zeros((clip.max() + 1, rater.max() + 1))
    np.add.at(table, (clip, rater), weight)
    information = np.diag(table.sum(axis=0)) - (table / table.sum(axis=1, keepdims=True)).T @ table
    # Biases are told up to a constant, so one direction has no information; rounding alone would give it some.
    covariance = np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    errors: Numbers = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    return errors
