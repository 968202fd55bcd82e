"""What cannot have listened, measured beside a judge on the same clips.

    mean     the training clips' mean score, whatever the clip
    system   the mean score of the training clips of the clip's own system: it knows what made the clip

Who knows the system alone is already good where the systems of the measured clips are in the train part: on
MusicEval's own labels better, by SRCC, than the paper's judge. So it stands beside every result on such clips.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.evaluation import LEVELS, Measured, Predictions, measure
from core.rated_clips import RatedClips
from core.scales import Scales, keys

MEAN, SYSTEM = "mean", "system"
TITLES: Mapping[str, str] = {MEAN: "training mean", SYSTEM: "system's training mean"}


def control_values(clips: RatedClips) -> dict[str, NDArray[np.float64]]:
    """Return what each control says of clips with parts, (n, n_scales), having seen their train part."""
    train = clips.rows("train")
    mean = np.tile(clips.mos[train].mean(axis=0), (len(clips), 1))
    names = keys(clips.scales)
    of_systems = clips.take(train).table.groupby("system_id")[names].mean()
    known = clips.table["system_id"].isin(of_systems.index).to_numpy()
    system = mean.copy()
    system[known] = of_systems.loc[clips.table["system_id"][known], names].to_numpy()
    return {MEAN: mean, SYSTEM: system}


def knows_systems(clips: RatedClips, rows: Sequence[int]) -> bool:
    """Return whether any of these clips' systems is in the train part."""
    systems = clips.table["system_id"]
    return bool(set(systems.iloc[list(rows)]) & set(systems.iloc[clips.rows("train")]))


def measure_controls(clips: RatedClips, rows: Sequence[int]) -> dict[str, Measured]:
    """Measure the controls on some of the clips, without intervals.

    Nothing where there is no train part; no `SYSTEM` where none of the clips' systems is in it.
    """
    if not clips.rows("train"):
        return {}
    there = [MEAN, SYSTEM] if knows_systems(clips, rows) else [MEAN]
    values = control_values(clips)
    tested = clips.take(rows)
    return {name: measure(Predictions.of(tested, values[name][rows], clips.scales), resamples=0) for name in there}


def read_controls(metrics: Mapping[str, Any], scales: Scales) -> dict[str, Measured]:
    """Read them from ``metrics.json``; older ones have none. A ValueError for a number that cannot be."""
    return {name: Measured.from_json(of, scales) for name, of in metrics.get("controls", {}).items() if name in TITLES}


def titled(controls: Mapping[str, Measured]) -> dict[str, Measured]:
    """Return the controls by their titles, as `core.evaluation.table_one` takes them."""
    return {TITLES[name]: of for name, of in controls.items()}


def as_good_as(measured: Measured, controls: Mapping[str, Measured]) -> list[str]:
    """Say on which scales and levels who knows the system alone is in no worse order than the judge."""
    if SYSTEM not in controls:
        return []
    said = []
    for scale in measured.scales:
        for level in LEVELS:
            own, control = (of.on(level).get(scale.key) for of in (measured, controls[SYSTEM]))
            ours, theirs = (of.figures.get("srcc") if of else None for of in (own, control))
            if ours is not None and theirs is not None and theirs >= ours:
                said.append(f"{scale.title.lower()}, {level} level (SRCC {theirs:.3f} against {ours:.3f})")
    if not said:
        return []
    return [f"Who knows only which system made a clip does as well: {'; '.join(said)}. Hold out whole systems."]
