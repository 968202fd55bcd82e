"""Recipes: how a judge is trained on rated clips.

Two are known. Both minimise the mean absolute error of both scales (L1, MusicEval, section V.B), of a clip's
value: the mean of what its windows get.

    paper    the towers are trained with the heads, by stochastic gradient descent
    frozen   only the heads are trained, on embeddings computed once: seconds on a CPU

What differs from the authors' released code, in both:

* the heads have ReLU between their layers (`core.heads`); the released ones have none, so each is one affine
  map. Their last bias begins at the training clips' mean, so that no epochs are spent on finding it;
* clips are resampled to 48 kHz; the released code hands 16 kHz to a tower that takes it for 48;
* the whole clip is heard, in windows of 10 s, and a clip shorter than that is repeated to fill one, in
  training as in scoring; the released code takes one window, pads with zeros in training and repeats later;
* the towers are in eval mode while they are trained, as in effect they are there: no dropout, and batch
  normalisation by what the tower knows, so that a clip's value does not depend on the clips beside it;
* training stops on the dev part of the split given; the released code has the official one.
"""

import argparse
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.devices import PRECISIONS
from core.errors import TrainingError

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("constant", "cosine")
_CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS}
USUAL_EPOCHS, LEAST_STEPS = 30, 500  # where a recipe does not say how many epochs
_FIXED = ("name", "fine_tune")  # what makes a recipe the one it is


def _field(meaning: str) -> Any:
    return field(metadata={"meaning": meaning})


@dataclass(frozen=True)
class Recipe:
    """How a judge is trained. Each field but the first two is an option of ``python -m core train``.

    Raises
    ------
    TrainingError
        A value that cannot be; the message says which can.
    """

    name: str = _field("which recipe it is, or began as")
    fine_tune: bool = _field("train the towers, too")
    optimizer: str = _field("sgd or adamw")
    learning_rate: float = _field("of the first step")
    schedule: str = _field("learning rate over all epochs: constant, or cosine down to nothing")
    momentum: float = _field("of sgd")
    weight_decay: float = _field("of adamw, times the learning rate, each step; of sgd, added to gradients")
    batch_size: int = _field("clips a step, over all processes")
    micro_batch: int = _field("windows that a process puts through the towers at once; bounds memory only")
    epochs: int = _field("at most so many; 0: 30, or as many as make 500 steps")
    patience: int = _field("stop after so many epochs without a better dev L1; 0: never")
    precision: str = _field("of the towers: float32 or bfloat16")

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise self._wrong(name, " or ".join(allowed))
        for name in ("batch_size", "micro_batch"):
            if getattr(self, name) < 1:
                raise self._wrong(name, "a whole number from 1")
        for name in ("epochs", "patience"):
            if getattr(self, name) < 0:
                raise self._wrong(name, "a whole number from 0")
        if not 0 < self.learning_rate < float("inf"):
            raise self._wrong("learning_rate", "a number above 0")
        if not 0 <= self.weight_decay < float("inf"):
            raise self._wrong("weight_decay", "a number from 0")
        if not 0 <= self.momentum < 1:
            raise self._wrong("momentum", "a number from 0 and below 1")

    def _wrong(self, name: str, allowed: str) -> TrainingError:
        return TrainingError(f"The recipe's {name} is {getattr(self, name)!r}; it must be {allowed}.")

    def most_epochs(self, batches: int) -> int:
        """Epochs of so many batches that are gone through if nothing stops them before."""
        return self.epochs or max(USUAL_EPOCHS, math.ceil(LEAST_STEPS / batches))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return dataclasses.asdict(self)


RECIPES: Mapping[str, Recipe] = {
    "paper": Recipe(
        name="paper",
        fine_tune=True,
        optimizer="sgd",  # section V.B
        learning_rate=5e-4,  # section V.B
        schedule="constant",
        momentum=0.9,  # the released code; the paper names none
        weight_decay=0.0,  # the released code
        batch_size=64,  # section V.B
        micro_batch=16,  # about 12 GB for the official tower in float32
        epochs=1000,  # the released code: in effect, until patience ends
        patience=20,  # the released code
        precision="float32",  # equal on every device within float error
    ),
    "frozen": Recipe(
        name="frozen",
        fine_tune=False,
        optimizer="adamw",  # reaches in seconds what takes sgd minutes
        learning_rate=1e-3,  # tried 3e-4 to 3e-3
        schedule="cosine",
        momentum=0.0,
        weight_decay=3.0,  # strong: a panel is noisier than it is large; tried 0.1 to 10 on held-out systems
        batch_size=64,  # the paper's
        micro_batch=16,  # not used: embeddings are small
        epochs=0,  # of 20 to 190 tried, 30 are about the best on held-out systems; too few for 100 clips
        patience=0,  # the learning rate ends at nothing; the epoch with the best dev L1 is kept
        precision="float32",
    ),
}


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of a recipe that can be changed; see `changed_recipe`."""
    options = parser.add_argument_group("recipe", "what stands in the recipe, changed")
    for recipe_field in _changeable():
        options.add_argument(
            f"--{recipe_field.name.replace('_', '-')}",
            metavar="X",
            type=recipe_field.type,
            help=recipe_field.metadata["meaning"],
        )


def changed_recipe(name: str, arguments: argparse.Namespace) -> Recipe:
    """Give a recipe with the changes of parsed arguments.

    Raises
    ------
    TrainingError
        There is no such recipe, or a value cannot be.
    """
    if name not in RECIPES:
        raise TrainingError(f"There is no recipe {name!r}. The recipes are {', '.join(RECIPES)}.")
    given = {known.name: getattr(arguments, known.name) for known in _changeable()}
    changes = {key: value for key, value in given.items() if value is not None}
    return dataclasses.replace(RECIPES[name], **changes)


def _changeable() -> list["dataclasses.Field[Any]"]:
    return [known for known in dataclasses.fields(Recipe) if known.name not in _FIXED]
