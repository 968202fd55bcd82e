"""The loop that fits a judge to rated clips, the same on one process and on several.

Each epoch goes once through the training clips in an order that the seed and the epoch give. Process r of w
takes every w-th clip of a batch from the r-th on, puts them through in chunks of whole clips, and weighs its
sum of errors with w over the batch's size, because gradients are averaged over processes: so a step is the
same, within float error, however many processes and chunks it takes. Nothing here draws a random number
outside a fork of the global generator; towers are in eval mode.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from core.errors import TrainingError
from core.heads import Heads
from core.scales import MAX_SCORE, MIN_SCORE, SCALES
from core.training.recipes import Recipe

# L1 gradients often cancel out but for rounding; with the usual 1e-8 these remains would become steps.
_ADAM_EPSILON = 1e-6


class Examples(Protocol):
    """Clips as a judge takes them in."""

    def chunks(self, rows: Sequence[int]) -> Iterator[tuple[list[int], tuple[Any, ...]]]:
        """Whole clips in portions that memory holds: their rows, and what the judge is called with."""
        ...


@dataclass
class FitState:
    """Where a fit stands, apart from weights.

    Attributes
    ----------
    epoch, batch : int
        The next batch, counted from 0.
    error_sum : float
        Of the epoch so far: errors of all its clips, mean of both scales.
    best_dev_l1 : float
        Of the best epoch so far; infinite before the first, and where there is no dev part.
    best_epoch : int
        Counted from 1.
    seconds : float
        Of the epoch so far.
    log : list of dict
        A row for each epoch that is over.
    is_over : bool
    """

    epoch: int = 0
    batch: int = 0
    error_sum: float = 0.0
    best_dev_l1: float = math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)
    is_over: bool = False


class Fit:
    """A judge being fitted.

    Parameters
    ----------
    accelerator : Accelerator
    judge : Module
        Gives (n, 2) values of n clips; its parameters that ask for gradients are learned.
    examples : Examples
    mos : Tensor, (n, 2)
    train, dev : sequence of int
        Rows; without dev rows the last epoch's weights are kept, otherwise the best epoch's.
    recipe : Recipe
    seed : int
        Of the order of clips.
    """

    def __init__(
        self,
        accelerator: Accelerator,
        judge: nn.Module,
        examples: Examples,
        mos: Tensor,
        parts: tuple[Sequence[int], Sequence[int]],
        recipe: Recipe,
        seed: int,
    ) -> None:
        self.state = FitState()
        self.accelerator = accelerator
        self.recipe = recipe
        self.seed = seed
        self.judge = judge.eval()
        self._train, self._dev = (np.asarray(rows, dtype=np.int64) for rows in parts)
        self._examples, self._mos = examples, mos.float().to(accelerator.device)
        self._model = accelerator.prepare_model(judge)
        self._optimizer = _optimizer([p for p in judge.parameters() if p.requires_grad], recipe)
        self._best = self._copied()

    @property
    def batches(self) -> int:
        """Steps of an epoch."""
        return math.ceil(len(self._train) / self.recipe.batch_size)

    @property
    def epochs(self) -> int:
        """At most so many."""
        return self.recipe.most_epochs(self.batches)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.epoch * self.batches + self.state.batch

    def run(self, after_step: Callable[[bool], bool] | None = None) -> None:
        """Fit until the epochs are over, or patience is; then the judge has the weights that are kept.

        Parameters
        ----------
        after_step : callable, optional
            Called after each step with whether an epoch has just ended. If it returns True on any process,
            the fit stops on all of them, to be continued from `state_dict`.
        """
        while not self.state.is_over:
            order = np.random.default_rng([self.seed, self.state.epoch]).permutation(self._train).tolist()
            while self.state.batch < self.batches:
                start = self.state.batch * self.recipe.batch_size
                self._take_step(order[start : start + self.recipe.batch_size])
                is_end = self.state.batch == self.batches
                if is_end:
                    self._end_epoch()
                asked = bool(after_step and after_step(is_end))
                if self._sum([float(asked)])[0] and not self.state.is_over:
                    return
                if is_end:
                    break
        self._fill(self._best)

    def values(self, rows: Sequence[int], precision: str = "float32") -> Tensor:
        """What the judge says of clips, (n, 2) on the CPU, not clamped; all processes compute together."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        values = torch.zeros(len(rows), len(SCALES), device=self.accelerator.device)
        mine = list(range(rank, len(rows), world))
        places = {rows[place]: place for place in mine}
        with torch.no_grad(), self._autocast(precision):
            for chunk, inputs in self._examples.chunks([rows[place] for place in mine]):
                values[[places[row] for row in chunk]] = self.judge(*inputs).float()
        total: Tensor = self.accelerator.reduce(values, "sum")
        return total.cpu()

    def release(self) -> None:
        """Let go of what processes share; the fit cannot go on."""
        del self._model
        if self.accelerator.num_processes > 1:
            self.accelerator.free_memory()

    def state_dict(self) -> dict[str, Any]:
        """Everything that continuing needs: tensors, numbers, texts."""
        return {
            "state": asdict(self.state),
            "weights": self._copied(),
            "best": self._best,
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on where `state_dict` was taken."""
        self.state = FitState(**saved["state"])
        self._best = saved["best"]
        self._fill(saved["weights"])
        self._optimizer.load_state_dict(saved["optimizer"])

    def _take_step(self, batch: list[int]) -> None:
        began = time.monotonic()
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        error = self._sum([self._backward(batch)])[0]
        if not math.isfinite(error):
            raise TrainingError("The training error is no longer finite. Give a lower --learning-rate.")
        self._optimizer.step()
        self.state.error_sum += error
        self.state.batch += 1
        self.state.seconds += time.monotonic() - began

    def _backward(self, batch: list[int]) -> float:
        """Gradients of a batch's mean error; gives this process's sum of errors."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        mine = batch[rank::world]
        scale = world / len(batch) if mine else 0.0  # a process without a clip takes part with a weight of 0
        total = 0.0
        for is_last, (rows, inputs) in _mark_last(self._examples.chunks(mine or batch[:1])):
            waits = contextlib.nullcontext() if is_last else self.accelerator.no_sync(self._model)
            with waits:
                with self._autocast(self.recipe.precision):
                    values = self._model(*inputs).float()
                error = (values - self._mos[rows]).abs().mean(dim=1).sum()
                self.accelerator.backward(error * scale)
            total += float(error.detach()) if mine else 0.0
        return total

    def _end_epoch(self) -> None:
        state, recipe = self.state, self.recipe
        row: dict[str, float] = {"epoch": state.epoch + 1, "train_l1": state.error_sum / len(self._train)}
        began = time.monotonic()
        row |= self._dev_l1()
        learning_rate = self._optimizer.param_groups[0]["lr"]
        seconds = round(state.seconds + time.monotonic() - began, 3)
        state.log.append({**row, "learning_rate": learning_rate, "seconds": seconds})
        state.epoch, state.batch, state.error_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        if not len(self._dev) or row["dev_l1"] < state.best_dev_l1:
            state.best_dev_l1 = row.get("dev_l1", math.inf)
            state.best_epoch = state.epoch
            self._best = self._copied()
        is_late = bool(recipe.patience and state.epoch - state.best_epoch >= recipe.patience)
        state.is_over = is_late or state.epoch >= self.epochs

    def _dev_l1(self) -> dict[str, float]:
        if not len(self._dev):
            return {}
        rows = [int(row) for row in self._dev]
        values = self.values(rows, self.recipe.precision).clamp(MIN_SCORE, MAX_SCORE)
        errors = (values - self._mos[rows].cpu()).abs().double().mean(dim=0).tolist()
        by_scale = {f"dev_l1_{scale}": error for scale, error in zip(SCALES, errors, strict=True)}
        return {"dev_l1": sum(errors) / len(errors), **by_scale}

    def _learning_rate(self) -> float:
        if self.recipe.schedule == "constant":
            return self.recipe.learning_rate
        share = self.step / (self.epochs * self.batches)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def _autocast(self, precision: str) -> torch.autocast:
        device = self.accelerator.device.type
        return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")

    def _sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes."""
        if self.accelerator.num_processes == 1:
            return list(numbers)
        total: Tensor = self.accelerator.reduce(
            torch.tensor(numbers, dtype=torch.float64, device=self.accelerator.device), "sum"
        )
        return [float(number) for number in total]

    def _copied(self) -> dict[str, Tensor]:
        learned = (pair for pair in self.judge.named_parameters() if pair[1].requires_grad)
        return {name: weight.detach().cpu().clone() for name, weight in learned}

    def _fill(self, weights: Mapping[str, Tensor]) -> None:
        own = dict(self.judge.named_parameters())
        with torch.no_grad():
            for name, weight in weights.items():
                own[name].copy_(weight)


def new_heads(dim: int, mean: Tensor, seed: int) -> Heads:
    """Heads to be trained, from a seed; their last bias is the mean, (2,), of the training clips."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        heads = Heads(dim)
    for scale, value in zip(SCALES, mean, strict=True):
        nn.init.constant_(getattr(heads, scale)[-1].get_parameter("bias"), float(value))
    return heads


def _optimizer(weights: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            weights, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    return torch.optim.AdamW(
        weights, recipe.learning_rate, weight_decay=recipe.weight_decay, eps=_ADAM_EPSILON
    )


def _mark_last(items: Iterator[Any]) -> Iterator[tuple[bool, Any]]:
    """Each item, and whether it is the last."""
    previous = next(items)
    for item in items:
        yield False, previous
        previous = item
    yield True, previous
