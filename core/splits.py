"""Splits of rated clips into train, dev and test: how they were made, stored with what was trained on them.

    official   the parts that the data came with
    random     clip by clip: 85 % and 15 %, as in the MusicEval paper, section V
    systems    all clips of a system go to the same part: how does the judge do on a model it never heard?
    prompts    all clips of a prompt go to the same part

The dev part, which training stops on, is taken from the 85 % in the same way; the paper names none, so
without it (`dev_share` 0) the parts are the paper's. With folds, the clips, systems or prompts are dealt into
so many parts of nearly equal size, each of them the test part of one split. A split follows from the data,
its kind and its seed, whatever the order of the rows.

The same audio is never on both sides: clips whose files are equal go to the same part, and with them all that
is of their systems or prompts, where these are held out. The official split stays as it came.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from core.errors import DataError

if TYPE_CHECKING:  # so that command lines have the options of a split without pandas
    from core.rated_clips import RatedClips

SPLITS = ("train", "dev", "test")
KINDS = ("official", "random", "systems", "prompts")
_UNITS: Mapping[str, str] = {"random": "clip_id", "systems": "system_id", "prompts": "prompt"}


@dataclass(frozen=True)
class Split:
    """How clips are split.

    A DataError says of a value that cannot be which can.
    """

    kind: str = "random"  # one of `KINDS`
    seed: int = 0  # of the draw; the official split needs none
    test_share: float = 0.15  # of all clips, systems or prompts, without folds; the paper's
    dev_share: float = 0.1  # of those that are not in the test part
    folds: int = 0  # with two or more,
    fold: int = 0  # this one, counted from 0, is the test part

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
            raise DataError(f"There is no fold {self.fold} of {self.folds}. Folds are two or more, counted from 0.")

    def in_words(self) -> str:
        """Return a few words for it."""
        if self.kind == "official":
            return "official"
        what = "clips at random" if self.kind == "random" else f"{self.kind} held out"
        fold = f", fold {self.fold} of {self.folds}" if self.folds else ""
        return f"{what}{fold}, seed {self.seed}"

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave; other keys are a DataError."""
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = [key for key in values if key not in known]
        if unknown:
            raise DataError(f"A split has no {', '.join(unknown)}. It has {', '.join(known)}.")
        return cls(**values)


def split_clips(clips: "RatedClips", split: Split) -> "RatedClips":
    """Return the same clips with their parts; a DataError where they are too few, or not split officially."""
    import numpy as np

    if split.kind == "official":
        _check_official(clips)
        return clips
    apart = list(clips.table[_UNITS[split.kind]])
    units = _joined(apart, clips.audio_ids())
    names = sorted(set(units))
    shuffled = [names[i] for i in np.random.default_rng(split.seed).permutation(len(names))]
    what = split.kind.replace("random", "clips")
    test, dev = _held_out(shuffled, split, what if len(names) == len(set(apart)) else f"{what} that share no audio")
    parts = {**dict.fromkeys(names, "train"), **dict.fromkeys(dev, "dev"), **dict.fromkeys(test, "test")}
    return clips.with_parts([parts[unit] for unit in units])


def _joined(units: list[str], audio: list[str]) -> list[str]:
    """Name each clip's unit by the first in the alphabet of all that share audio with it, in one step or more."""
    first = {unit: unit for unit in units}

    def find(unit: str) -> str:
        while first[unit] != unit:
            unit = first[unit]
        return unit

    seen: dict[str, str] = {}
    for unit, sound in zip(units, audio, strict=True):
        one, other = sorted((find(unit), find(seen.setdefault(sound, unit))))
        first[other] = one
    return [find(unit) for unit in units]


def _held_out(shuffled: list[str], split: Split, what: str) -> tuple[list[str], list[str]]:
    """The test part and the dev part of shuffled clips, systems or prompts."""
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


def _check_official(clips: "RatedClips") -> None:
    parts = list(clips.table["split"])
    outside = parts.count("")
    if outside == len(parts):
        raise DataError("This data came without a split. Give another: random, systems or prompts.")
    if outside:
        raise DataError(f"{outside} of {len(parts)} clips are in no part of the official split.")
    missing = [part for part in SPLITS if part not in parts]
    if "train" in missing or len(missing) > 1:
        raise DataError(f"The official split of this data has no {' and no '.join(missing)} part.")
