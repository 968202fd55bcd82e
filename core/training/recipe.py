"""What is trained: a plan, the recipe in it that says how, and what is told of its progress.

Four recipes are known. The first three minimise the sum of the scales' mean absolute errors (L1, MusicEval,
section V.B), of a clip's value: the mean of what its windows get.

    paper      the towers are trained with the heads, by stochastic gradient descent
    released   the same with the heads of the authors' released code, which are affine
    frozen     only the heads are trained, on embeddings computed once: seconds on a CPU
    ordinal    the same with heads over sequences (`core.heads.SequenceHeads`), each part of which can be
               switched off; what is minimised stands in `core.training.objective`

What differs from the authors' released code:

* but in `released`, the heads have ReLU between their layers (`core.checkpoint`);
* clips are resampled to 48 kHz; the released code hands 16 kHz to a tower that takes it for 48;
* the whole clip is heard, in windows of 10 s, and a clip shorter than that is repeated to fill one, in
  training as in scoring; the released code takes one window, pads with zeros in training and repeats later;
* the towers are in eval mode while they are trained, as in effect they are there: no dropout, and batch
  normalisation by what the tower knows, so that a clip's value does not depend on the clips beside it;
* training stops on the dev part of the split given; the released code has the official one.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from core.errors import TrainingError
from core.settings import PRECISIONS
from core.splits import Split

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine")
ACTIVATIONS = ("relu", "affine")  # keys of `core.heads.ACTIVATIONS`; importing that takes seconds
STARTS = ("mean", "plain")
LOSSES = ("l1", "squared", "bins")
CRITERIA = ("l1", "srcc")
_CHOICES = {
    **{"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS},
    **{"activation": ACTIVATIONS, "start": STARTS, "loss": LOSSES, "stop_on": CRITERIA},
}
CROSS_VALIDATED = "cross-validated"  # the measured part of a judge that was moved: all clips, by folds
USUAL_EPOCHS, LEAST_STEPS = 30, 500  # where a recipe does not say how many epochs
_FIXED = ("name", "fine_tune", "sequence")  # what makes a recipe the one it is


def _field(meaning: str) -> Any:
    return field(metadata={"meaning": meaning})


@dataclass(frozen=True)
class Recipe:
    """How a judge is trained. Each field but the first two is an option of ``python -m core train``.

    A TrainingError says of a value that cannot be which can.
    """

    name: str = _field("which recipe it is, or began as")
    fine_tune: bool = _field("train the towers, too")
    sequence: bool = _field("the heads hear frames and words, not windows and prompts")
    optimizer: str = _field("sgd, adam or adamw")
    learning_rate: float = _field("of the first step")
    schedule: str = _field("learning rate over all epochs: constant, or cosine down to nothing")
    momentum: float = _field("of sgd")
    weight_decay: float = _field("of adamw, times the learning rate, each step; of others, added to gradients")
    batch_size: int = _field("clips a step, over all processes")
    micro_batch: int = _field("at most so many windows are put through the towers at once; bounds memory only")
    epochs: int = _field("at most so many; 0: 30, or as many as make 500 steps")
    patience: int = _field("stop after so many epochs that are not better on the dev part; 0: never")
    precision: str = _field("of the towers: float32, tf32 or bfloat16")
    compile: bool = _field("compile the towers on a GPU: a minute at the beginning, then half the time of a step")
    activation: str = _field("between the layers of heads on windows: relu, or affine for none")
    start: str = _field("last bias of heads on windows: the training clips' mean, or plain: drawn as all weights are")
    loss: str = _field("l1, squared, or bins: 20 of them, softened by how sure the raters' mean is")
    ranking: float = _field("weight of the order of the clips of a batch, beside the loss; 0: none")
    margin: float = _field("points by which the better clip of a pair should lead")
    pair_weight: float = _field("weight of the pairs, beside the loss")
    stop_on: str = _field(
        "what tells the best epoch on the dev part: l1, or srcc, the mean over scales, from 20 clips on"
    )
    attention: bool = _field("frames count by weights that are learned; off: all alike")
    product: bool = _field("alignment is learned from the product of both embeddings; off: not")
    tokens: bool = _field("alignment is learned from words that attend to frames; off: not")
    hidden: int = _field("width of the hidden layer of heads over sequences; 0: none")
    bound: float = _field("standardised numbers are bent so that none is larger; 0: they are not")
    dropout: float = _field("share of numbers that heads over sequences do not see in a step")
    seeds: int = _field("so many heads over sequences from different seeds, whose values are averaged")

    def __post_init__(self) -> None:
        allowed = {name: (getattr(self, name) in of, " or ".join(of)) for name, of in _CHOICES.items()}
        for name in ("batch_size", "micro_batch", "seeds"):
            allowed[name] = (getattr(self, name) >= 1, "a whole number from 1")
        for name in ("epochs", "patience", "hidden"):
            allowed[name] = (getattr(self, name) >= 0, "a whole number from 0")
        allowed["learning_rate"] = (0 < self.learning_rate < math.inf, "a number above 0")
        for name in ("weight_decay", "ranking", "bound", "margin", "pair_weight"):
            allowed[name] = (0 <= getattr(self, name) < math.inf, "a number from 0")
        for name in ("momentum", "dropout"):
            allowed[name] = (0 <= getattr(self, name) < 1, "a number from 0 and below 1")
        for name, (is_one, what) in allowed.items():
            if not is_one:
                value = getattr(self, name)
                raise TrainingError(f"The recipe's {name} is {value!r}; it must be {what}.")
        asked = [name for name, off in _OF_SEQUENCES.items() if getattr(self, name) != off]
        if self.loss == "bins":
            asked.append("loss bins")
        if self.ranking and self.fine_tune:
            raise TrainingError(
                f"The recipe {self.name} has too little of a batch in memory to rank it. Take frozen or ordinal."
            )
        if asked and not self.sequence:
            raise TrainingError(
                f"The heads of the recipe {self.name} hear no frames, so it has no {', '.join(asked)}. Take ordinal."
            )

    def most_epochs(self, batches: int) -> int:
        """Epochs of so many batches that are gone through if nothing stops them before."""
        return self.epochs or max(USUAL_EPOCHS, math.ceil(LEAST_STEPS / batches))

    def asks(self) -> dict[str, bool]:
        """Return what its heads must have embedded, as `core.embeddings.Asked` takes it."""
        return {"frames": self.sequence, "tokens": self.sequence and self.tokens}

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return dataclasses.asdict(self)


_OF_SEQUENCES: Mapping[str, Any] = {  # how heads on windows have what only those over sequences have
    **dict.fromkeys(("attention", "product", "tokens"), False),
    **{"hidden": 0, "bound": 0.0, "dropout": 0.0, "seeds": 1},
}
_ON_WINDOWS: Mapping[str, Any] = {
    **{"sequence": False, "loss": "l1", "ranking": 0.0, "stop_on": "l1", "margin": 1.0, "pair_weight": 1.0},
    **_OF_SEQUENCES,
}
# Of recipes that were stored before there was a choice.
_BEFORE: Mapping[str, Any] = {"activation": "relu", "start": "mean", "compile": False, **_ON_WINDOWS}

_PAPER = Recipe(
    **_ON_WINDOWS,
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
    compile=False,
    activation="relu",  # "MLP", section V.A
    start="plain",  # from the mean, gradients nearly cancel out and 20 epochs pass without a better dev L1
)
RECIPES: Mapping[str, Recipe] = {
    "paper": _PAPER,
    "released": dataclasses.replace(_PAPER, name="released", activation="affine"),
    "frozen": Recipe(
        **_ON_WINDOWS,
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
        compile=False,
        activation="relu",
        start="mean",  # no epochs are spent on finding it
    ),
    "ordinal": Recipe(
        name="ordinal",
        fine_tune=False,
        sequence=True,
        optimizer="adam",  # its weight decay is that of ridge regression
        learning_rate=1e-2,
        schedule="cosine",
        momentum=0.0,
        weight_decay=0.1,
        batch_size=64,  # a small panel in one step, which ranks all of it
        micro_batch=16,  # not used: embeddings are small
        epochs=150,  # seconds for a small panel; of 52 clips, 500 steps of a third of the rate say the same
        patience=0,  # the learning rate ends at nothing
        precision="float32",
        compile=False,
        activation="relu",
        start="mean",
        loss="bins",
        ranking=1.0,
        margin=1.0,
        pair_weight=1.0,
        stop_on="srcc",  # what is reported
        attention=True,
        product=True,
        tokens=True,
        hidden=0,
        bound=3.0,
        dropout=0.2,
        seeds=1,
    ),
}
# Above frozen by an SRCC of 0.17 (0.03 to 0.31) on the survey, 52 clips and impression alone: docs/training.md.
USUAL = "ordinal"


def changeable_fields() -> list["dataclasses.Field[Any]"]:
    """Return the fields that `changed_recipe` can change; what each means is in its metadata."""
    return [known for known in dataclasses.fields(Recipe) if known.name not in _FIXED]


def changed_recipe(name: str, changes: Mapping[str, Any]) -> Recipe:
    """Return a known recipe with other values of some fields; None leaves a field as it is.

    A TrainingError if there is no such recipe or field, or a value cannot be.
    """
    if name not in RECIPES:
        raise TrainingError(f"There is no recipe {name!r}. The recipes are {', '.join(RECIPES)}.")
    known = [field.name for field in changeable_fields()]
    given = {field: value for field, value in changes.items() if value is not None}
    if unknown := [field for field in given if field not in known]:
        raise TrainingError(f"A recipe has no {', '.join(unknown)}. It has {', '.join(known)}.")
    return dataclasses.replace(RECIPES[name], **given)


@dataclass(frozen=True)
class TrainingPlan:
    """What is to be trained, on what: what a page or a command orders, what runs, and what is stored.

    Attributes
    ----------
    data : Path
        Rated clips, as `core.musiceval.read_source` takes them: the reference, which is split and measured.
    recipe : Recipe
    tower : str
        A key of `core.towers.TOWERS`.
    split : Split
        Its seed is also that of the heads' first weights and of the order of clips.
    more_data : tuple of Path
        Other rated clips, which teach as well (`core.training.lessons`).
    weights : tuple of float
        How much each table of rated clips counts, the reference first; empty: all alike.
    pairs : tuple of Path
        Tables of pairs (`core.training.pairs`).
    judge : Path, optional
        Folder of a judge whose heads are moved toward the data (`core.training.moving`); recipe and tower are its
        own then, and nothing is held out.

    A TrainingError if the weights are not one for each table, or the recipe trains towers on more than one.
    """

    data: Path
    recipe: Recipe = RECIPES[USUAL]
    tower: str = "ears"
    split: Split = field(default_factory=Split)
    more_data: tuple[Path, ...] = ()
    weights: tuple[float, ...] = ()
    pairs: tuple[Path, ...] = ()
    judge: Path | None = None

    def __post_init__(self) -> None:
        n_tables = 1 + len(self.more_data)
        if self.weights and (len(self.weights) != n_tables or min(self.weights) <= 0):
            raise TrainingError(
                f"There are {n_tables} tables of rated clips and the weights {', '.join(map(str, self.weights))}. "
                "Give a weight above 0 for each table, or none."
            )
        if self.judge and (self.more_data or self.pairs or self.weights):
            raise TrainingError("A judge is moved by one table of rated clips, and by no pairs. Leave the others out.")
        if self.recipe.fine_tune and (self.more_data or self.pairs):
            raise TrainingError(
                f"The recipe {self.recipe.name} learns from one table of rated clips. Take frozen or ordinal for more."
            )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "data": str(self.data.absolute()),
            "more_data": [str(path.absolute()) for path in self.more_data],
            "weights": list(self.weights),
            "pairs": [str(path.absolute()) for path in self.pairs],
            "judge": None if self.judge is None else str(self.judge.absolute()),
            "recipe": self.recipe.to_json(),
            "tower": self.tower,
            "split": self.split.to_json(),
            "seed": self.split.seed,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave, or an order of before, which names its recipe."""
        recipe = stored["recipe"]
        if isinstance(recipe, str):
            types: Mapping[str, Any] = {known.name: known.type for known in changeable_fields()}
            fields = {name.replace("-", "_"): text for name, text in stored["fields"].items()}
            made = changed_recipe(recipe, {name: types[name](text) for name, text in fields.items()})
        else:
            made = Recipe(**{**_BEFORE, **recipe})
        more, pairs = (tuple(map(Path, stored.get(name, ()))) for name in ("more_data", "pairs"))
        split, weights = Split.from_json(stored["split"]), tuple(stored.get("weights", ()))
        judge = Path(stored["judge"]) if stored.get("judge") else None
        return cls(Path(stored["data"]), made, stored["tower"], split, more, weights, pairs, judge)

    def arguments(self) -> list[str]:
        """Return the options of ``python -m core train`` that say the same."""
        if self.judge:
            return [f"--from={self.judge.absolute()}", f"--data={self.data.absolute()}", f"--seed={self.split.seed}"]
        split, usual = self.split, RECIPES[self.recipe.name].to_json()
        tables = [("data", path.absolute()) for path in (self.data, *self.more_data)]
        tables += [("pairs", path.absolute()) for path in self.pairs]
        several = [*tables, *(("weight", weight) for weight in self.weights)]
        chosen: dict[str, Any] = {"recipe": self.recipe.name, "tower": self.tower}
        chosen |= {"split": split.kind, "seed": split.seed}
        chosen |= {"test-share": split.test_share, "dev-share": split.dev_share}
        chosen |= {"folds": split.folds, "fold": split.fold} if split.folds else {}
        changed = {key: value for key, value in self.recipe.to_json().items() if value != usual[key]}
        chosen |= {key.replace("_", "-"): value for key, value in changed.items()}
        return [f"--{name}={value}" for name, value in (*several, *chosen.items())]


@dataclass(frozen=True)
class RunProgress:
    """What a run is doing, as ``progress.json`` has it."""

    phase: str = "starting"  # or "embedding", "training", "measuring", "done", "unlearned", "stopped", "failed"
    message: str = ""  # a sentence, or lines
    share: float = 0.0  # of this phase, 0 to 1
    eta_s: float | None = None  # of this phase, if it goes through all epochs
    epoch: int = 0  # epochs done,
    epochs: int = 0  # and at most to do
