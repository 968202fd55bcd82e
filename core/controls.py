"""What a judge must beat, measured beside it on the same clips.

    mean     the training clips' mean score, whatever the clip
    system   the mean score of the training clips of the clip's own system: it knows what made the clip
    cosine   the plain cosine of clip and prompt in the judge's joint space, for what needs a prompt: what the tower
             knows before any head has learned. It is on no scale, so it has no MSE
    prompt   heads that learned from the prompt alone, and never heard a clip: of judges whose towers were not trained

Who knows the system alone is already good where the systems of the measured clips are in the train part: on
MusicEval's own labels better, by SRCC, than the paper's judge. So it stands beside every result on such clips, and
figures to report are those of systems that were held out, by folds.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from core.evaluation import LEVELS, NO_SYSTEMS, Measured, Predictions, measure
from core.rated_clips import RatedClips
from core.scales import Scales, keys

MEAN, SYSTEM, COSINE, PROMPT = "mean", "system", "cosine", "prompt"
TITLES: Mapping[str, str] = {
    MEAN: "training mean",
    SYSTEM: "system's training mean",
    COSINE: "plain cosine",
    PROMPT: "prompt alone",
}
NO_TRAIN = "the clips have no train part of which a mean could be taken."
NOT_IN_TRAIN = "training had none of the systems of these clips."
NO_PROMPTS = "no scale of these clips needs a prompt."
NOT_AT_HAND = "the towers were trained with the heads; python -m core evaluate measures it."
HEADLINE = (
    "The split does not hold systems out, and on such a split the system's mean alone beats the published judge on "
    "MusicEval's own labels. Report figures on held-out systems, by folds: --split systems --folds 5."
)


@dataclass(frozen=True)
class Controls:
    """Controls by name: what was measured, and why others were not, in half a sentence."""

    measured: Mapping[str, Measured] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def titled(self) -> dict[str, Measured]:
        """Return those that were measured by their titles, as `core.table_one.table_one` takes them."""
        return {TITLES[name]: of for name, of in self.measured.items()}

    def in_words(self, measured: Measured) -> list[str]:
        """Say what they mean for a judge that was measured on the same clips, and what is missing."""
        missing = []
        for reason in dict.fromkeys(self.missing.values()):
            names = [TITLES[name] for name, why in self.missing.items() if why == reason]
            missing.append(f"There is no {' and no '.join(names)} beside it: {reason}")
        held_out = [HEADLINE] if SYSTEM in self.measured else []
        return [*as_good_as(measured, self.measured), *held_out, *missing]

    def to_json(self) -> dict[str, Any]:
        """Return ``{"controls": {name: figures}, "no_controls": {name: reason}}``."""
        return {"controls": {name: of.to_json() for name, of in self.measured.items()}, "no_controls": {**self.missing}}

    @classmethod
    def from_json(cls, metrics: Mapping[str, Any], scales: Scales) -> Self:
        """Read ``metrics.json``; older ones have none. A ValueError for a number that cannot be."""
        stored = {name: of for name, of in metrics.get("controls", {}).items() if name in TITLES}
        missing = {name: str(why) for name, why in metrics.get("no_controls", {}).items() if name in TITLES}
        return cls({name: Measured.from_json(of, scales) for name, of in stored.items()}, missing)


def control_values(clips: RatedClips) -> dict[str, NDArray[np.float64]]:
    """Return what the means say of clips with parts, (n, n_scales), having seen their train part."""
    train = clips.rows("train")
    names = keys(clips.scales)
    mean = np.tile(clips.table[names].iloc[train].to_numpy(dtype=float).mean(axis=0), (len(clips), 1))
    of_systems = clips.take(train).table.groupby("system_id")[names].mean()
    known = clips.table["system_id"].isin(of_systems.index).to_numpy() & (clips.table["system_id"] != "").to_numpy()
    system = mean.copy()
    system[known] = of_systems.loc[clips.table["system_id"][known], names].to_numpy()
    return {MEAN: mean, SYSTEM: system}


def knows_systems(clips: RatedClips, rows: Sequence[int]) -> bool:
    """Return whether any of these clips' systems is in the train part."""
    systems = clips.table["system_id"]
    return bool(set(systems.iloc[list(rows)]) & set(systems.iloc[clips.rows("train")]) - {""})


def measure_controls(clips: RatedClips, rows: Sequence[int], cosine: NDArray[np.float64] | None = None) -> Controls:
    """Measure the controls on some of the clips, without intervals.

    `cosine`, (len(rows),), is what `cosines` says of these rows, None where that is not at hand.
    """
    tested, measured, missing = clips.take(rows), dict[str, Measured](), dict[str, str]()
    if not clips.rows("train"):
        missing |= {MEAN: NO_TRAIN, SYSTEM: NO_TRAIN}
    else:
        there = [MEAN, SYSTEM] if knows_systems(clips, rows) else [MEAN]
        values = control_values(clips)
        for name in there:
            said = Predictions.of(tested, values[name][list(rows)], clips.scales)
            measured[name] = measure(said, resamples=0)
        missing |= {} if SYSTEM in there else {SYSTEM: NOT_IN_TRAIN if clips.n_systems else NO_SYSTEMS}
    prompted = tuple(scale for scale in clips.scales if scale.needs_prompt)
    if not prompted:
        missing[COSINE] = NO_PROMPTS
    elif cosine is None:
        missing[COSINE] = NOT_AT_HAND
    else:
        measured[COSINE] = measure_cosine(said_by_cosine(tested, cosine), resamples=0)
    return Controls(measured, missing)


def said_by_cosine(clips: RatedClips, cosine: NDArray[np.float64]) -> Predictions:
    """Put the cosine of each clip, (n,), beside its ratings on the scales that need a prompt."""
    prompted = tuple(scale for scale in clips.scales if scale.needs_prompt)
    return Predictions.of(clips, np.tile(cosine[:, None], len(prompted)), prompted)


def measure_cosine(predictions: Predictions, resamples: int | None) -> Measured:
    """Measure it; a cosine is in no points, so there is no MSE."""
    measured = measure(predictions, resamples=resamples)
    without = {
        at: dataclasses.replace(
            of,
            figures={name: figure for name, figure in of.figures.items() if name != "mse"},
            intervals={name: ends for name, ends in of.intervals.items() if name != "mse"},
        )
        for at, of in measured.agreement.items()
    }
    return dataclasses.replace(measured, agreement=without)


def as_good_as(measured: Measured, controls: Mapping[str, Measured]) -> list[str]:
    """Say on which scales and levels who knows the system alone, or the cosine, is in no worse order than the judge."""
    who = {SYSTEM: "Who knows only which system made a clip", COSINE: "The plain cosine, without any head,"}
    sentences = []
    for name, control in controls.items():
        said = []
        for scale in measured.scales if name in who else ():
            for level in LEVELS:
                found = [of.on(level).get(scale.key) for of in (measured, control)]
                ours, theirs = (of.figures.get("srcc") if of else None for of in found)
                if ours is not None and theirs is not None and theirs >= ours:
                    said.append(f"{scale.title.lower()}, {level} level (SRCC {theirs:.3f} against {ours:.3f})")
        if said:
            sentences.append(f"{who[name]} does as well: {'; '.join(said)}.")
    return sentences
