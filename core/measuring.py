"""What a trained judge is worth: its predictions of clips that it was not trained on, measured.

What cannot be measured, as a correlation over two systems, is left out, with the reason beside it; the rest
stands all the same.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from core import metrics
from core.errors import MetricError
from core.predictions import LEVELS, RESAMPLES, Levels, predicted
from core.scales import SCALE_TITLES, SCALES

INTERVAL_LEVEL = 0.9


def measure_all(table: pd.DataFrame, seed: int = 0) -> tuple[Levels, dict[str, dict[str, str]]]:
    """Measure predictions on both levels and scales, as far as possible.

    Parameters
    ----------
    table : DataFrame
        Of `core.embedded_clips.predict_table`.
    seed : int
        Of the intervals.

    Returns
    -------
    levels : dict
        ``{level: {scale: {"n": ..., "srcc": ..., "srcc_ci95": [low, high], ...}}}``, without what cannot be
        measured.
    not_measured : dict
        ``{level: {scale: reason}}``, without what was.
    """
    levels: Levels = {}
    not_measured: dict[str, dict[str, str]] = {}
    columns = [*SCALES, *map(predicted, SCALES)]
    tables = {LEVELS[0]: table, LEVELS[1]: table.groupby("system_id")[columns].mean()}
    for level, rows in tables.items():
        for scale in SCALES:
            truth, prediction = (rows[column].to_numpy(dtype=float) for column in (scale, predicted(scale)))
            try:
                measured = metrics.agreement(truth, prediction, RESAMPLES, seed)
            except MetricError as error:
                not_measured.setdefault(level, {})[scale] = str(error)
            else:
                levels.setdefault(level, {})[scale] = measured
    return levels, not_measured


def why_not_measured(reasons: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say in sentences what `measure_all` left out, and why."""
    return [
        f"{SCALE_TITLES[scale]}, {level} level, is not measured: {reason}"
        for level, of_scales in reasons.items()
        for scale, reason in of_scales.items()
    ]


def held_out(table: pd.DataFrame, data: str) -> dict[str, Any]:
    """The error that a checkpoint's intervals are made of (`core.checkpoint.HeldOut`).

    Parameters
    ----------
    table : DataFrame
        Of `core.embedded_clips.predict_table`, one clip at least.
    data : str
        What the clips and ratings are, in words.
    """
    quantiles = {
        scale: float(np.quantile((table[scale] - table[predicted(scale)]).abs(), INTERVAL_LEVEL))
        for scale in SCALES
    }
    return {
        "data": data,
        "n_clips": len(table),
        "n_systems": int(table["system_id"].nunique()),
        "interval_level": INTERVAL_LEVEL,
        "absolute_error_quantile": quantiles,
    }
