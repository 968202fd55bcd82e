"""Steps of fine-tuning, timed as a run takes them: ``python -m tools.bench --train``.

A run's own parts on clips with scores that were drawn: time depends on neither. All clips are one step, so an epoch
is a step: the first with reading and spectrograms, the others with what is kept of these.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from core.audio import InputPolicy
from core.rated_clips import RatedClips
from core.readers import readers_for
from core.scales import MUSICEVAL, keys
from core.towers import Tower
from core.training.examples import SoundExamples, WholeJudge
from core.training.loop import Alone, Fit
from core.training.objective import Target, new_heads
from core.training.recipe import RECIPES

_PROMPT = "calm piano music"


@dataclass(frozen=True)
class Steps:
    """Seconds that steps of so many clips took."""

    device: str
    precision: str
    compiled: bool
    n_clips: int
    clip_s: float
    first_s: float  # with reading, spectrograms and what is compiled
    later_s: list[float]

    @property
    def step_s(self) -> float:
        """The median after the first epoch."""
        return median(self.later_s)

    def to_json(self) -> dict[str, Any]:
        """Give all figures as plain numbers and strings."""
        return {**dataclasses.asdict(self), "step_s": self.step_s, "clips_per_s": self.n_clips / self.step_s}

    def lines(self) -> Iterator[str]:
        """Give them in words."""
        compiled = ", compiled" if self.compiled else ""
        yield f"Steps of {self.n_clips} clips of {self.clip_s:g} s, the official tower with random weights,"
        yield f"{self.precision}{compiled}, {self.device}."
        yield f"The first epoch: {self.first_s:.2f} s, with reading and spectrograms"
        among = f"median of {len(self.later_s)}, {min(self.later_s):.2f} to {max(self.later_s):.2f}"
        yield f"A step after it: {self.step_s:.2f} s ({among}), {self.n_clips / self.step_s:.2f} clips a second"


def time_steps(
    tower: Tower, paths: Sequence[Path], clip_s: float, device: str, precision: str, compiled: bool, runs: int
) -> Steps:
    """Train a tower by the paper's recipe on clips, all of them a step, for an epoch and `runs` more."""
    compiled = compiled and tower.device.type == "cuda"
    whole: dict[str, Any] = {"batch_size": len(paths), "epochs": runs + 1, "patience": 0}
    recipe = dataclasses.replace(RECIPES["paper"], precision=precision, compile=compiled, **whole)
    scores = np.random.default_rng(0).uniform(1, 5, (len(paths), len(MUSICEVAL)))
    clips = RatedClips(_table(paths, scores))
    target = Target(MUSICEVAL, torch.tensor(scores), range(len(paths)), [])
    judge = WholeJudge(tower, new_heads(tower.dim, target, 0, recipe), recipe.micro_batch if compiled else 0)
    accelerator = Alone() if tower.device.type == "cpu" else Accelerator()
    with readers_for(len(paths), 1) as readers:
        examples = SoundExamples(clips, tower, InputPolicy(), recipe.micro_batch, readers=readers)
        fit = Fit(accelerator, judge.to(tower.device), examples, target, recipe, 0)
        fit.run()
    first_s, *later_s = (row["seconds"] for row in fit.state.log)
    return Steps(device, precision, compiled, len(paths), clip_s, first_s, later_s)


def _table(paths: Sequence[Path], scores: NDArray[np.float64]) -> pd.DataFrame:
    about = {"clip_id": [path.stem for path in paths], "audio_path": [str(path) for path in paths]}
    about |= {"prompt_id": about["clip_id"], "system_id": about["clip_id"]}
    return pd.DataFrame(about | {"prompt": _PROMPT} | dict(zip(keys(MUSICEVAL), scores.T, strict=True)))
