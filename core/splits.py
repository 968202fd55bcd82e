"""Splits of rated clips into train, dev and test: how they were made, stored with what was trained on them.

    official   the parts that the data came with
    random     clip by clip: 85 % and 15 %, as in the MusicEval paper, section V
    systems    all clips of a system go to the same part: how does the judge do on a model it never heard?
    prompts    all clips of a prompt go to the same part

The dev part, which training stops on, is taken from the 85 % and split off in the same way; the paper names
none, so without it (`dev_share` 0) the parts are the paper's. With folds, the clips, systems or prompts are
dealt into so many parts of nearly equal size, each of them the test part of one split.

A split follows from the data, its kind and its seed, whatever the order of the rows.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from core.errors import DataError
from core.ratings import SPLITS, RatedClips

KINDS = ("official", "random", "systems", "prompts")
_UNITS: Mapping[str, str] = {"random": "clip_id", "systems": "system_id", "prompts": "prompt"}


@dataclass(frozen=True)
class Split:
    """How clips are split.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    seed : int
        Of the draw; the official split needs none.
    test_share : float
        Of all clips, systems or prompts; without folds.
    dev_share : float
        Of those that are not in the test part.
    folds, fold : int
        With two folds or more, fold number `fold`, counted from 0, is the test part.

    Raises
    ------
    DataError
        A value that cannot be; the message says which can.
    """

    kind: str = "random"
    seed: int = 0
    test_share: float = 0.15  # the paper's
    dev_share: float = 0.1
    folds: int = 0
    fold: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"There is no split {self.kind!r}. The splits are {', '.join(KINDS)}.")
        if not (0 < self.test_share < 1 and 0 <= self.dev_share < 1):
            raise DataError("The shares of a split lie between 0 and 1, and the test part is not empty.")
        if self.seed < 0:
            raise DataError(f"The seed of a split is {self.seed}. Give a whole number from 0.")
        if self.folds == 0 and self.fold == 0:
            return
        if self.kind == "official":
            raise DataError("The official split has no folds. The others have: random, systems, prompts.")
        if self.folds < 2 or not 0 <= self.fold < self.folds:
            raise DataError(
                f"There is no fold {self.fold} of {self.folds}. Folds are two or more, counted from 0."
            )

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave.

        Raises
        ------
        DataError
            There are other keys than the fields of a split.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [key for key in values if key not in known]
        if unknown:
            raise DataError(f"A split has no {', '.join(unknown)}. It has {', '.join(known)}.")
        return cls(**values)


def split_clips(clips: RatedClips, split: Split) -> RatedClips:
    """Split clips.

    Parameters
    ----------
    clips : RatedClips
    split : Split

    Returns
    -------
    RatedClips
        The same rows, each with its part in the column `split`.

    Raises
    ------
    DataError
        There are too few clips, systems or prompts, or no official split.
    """
    if split.kind == "official":
        _check_official(clips)
        return clips
    units = clips.table[_UNITS[split.kind]]
    names = sorted(set(units))
    shuffled = [names[i] for i in np.random.default_rng(split.seed).permutation(len(names))]
    test, dev = _held_out(shuffled, split)
    parts = {**dict.fromkeys(names, "train"), **dict.fromkeys(dev, "dev"), **dict.fromkeys(test, "test")}
    return RatedClips(clips.table.assign(split=units.map(parts)))


def _held_out(shuffled: list[str], split: Split) -> tuple[list[str], list[str]]:
    """The test part and the dev part of shuffled clips, systems or prompts."""
    what = split.kind.replace("random", "clips")
    needed = max(3 if split.dev_share else 2, split.folds)
    if len(shuffled) < needed:
        raise DataError(f"{len(shuffled)} {what} are too few for this split. It needs {needed}.")
    if split.folds:
        test = shuffled[split.fold :: split.folds]
    else:
        test = shuffled[: max(1, round(split.test_share * len(shuffled)))]
    rest = [name for name in shuffled if name not in set(test)]
    dev = rest[: max(1, round(split.dev_share * len(rest)))] if split.dev_share else []
    if len(dev) == len(rest):
        raise DataError(f"{len(shuffled)} {what} leave none to train on. Hold out a smaller share.")
    return test, dev


def _check_official(clips: RatedClips) -> None:
    parts = clips.table["split"]
    outside = int((parts == "").sum())
    if outside == len(parts):
        raise DataError("This data came without a split. Give another: random, systems or prompts.")
    if outside:
        raise DataError(f"{outside} of {len(parts)} clips are in no part of the official split.")
    missing = [part for part in SPLITS if part not in set(parts)]
    if "train" in missing or len(missing) > 1:
        raise DataError(f"The official split of this data has no {' and no '.join(missing)} part.")
