"""The loop that fits a judge to rated clips, the same on one process and on several.

Each epoch goes once through the training clips in an order that the seed and the epoch give. Process r of w
takes every w-th clip of a batch from the r-th on, puts them through in chunks, and weighs its sum of errors
with w over the batch's size, because gradients are averaged over processes: so a step is the same, within
float error, however many processes and chunks it takes. What is minimised (`core.training.objective`) is summed
over the scales, as in the authors' released code; logs have the mean of their L1. Nothing here draws a random
number outside a fork of the global generator; towers are in eval mode.

A clip of more windows than memory is to hold goes through in pieces. The gradient of its error with respect to
its value is decided by the whole clip, and the value is a mean over windows: so it is computed first, without
gradients, then each piece goes forward and backward by itself.

The learning rate follows from the number of steps done, so that going on needs no state of a scheduler; and
what going on needs is one file (`Fit.state_dict`), not the folder of `accelerate.save_state`, because a file
can be replaced at once.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from core.errors import TrainingError
from core.heads import EmbeddedClips, Heads
from core.metrics import LEAST_POINTS, srcc
from core.scales import keys
from core.towers.graphed import computing, rounding
from core.training.examples import Chunk, EmbeddedExamples, Examples, HeadsAlone
from core.training.objective import Objective, Pairs, Target, new_heads
from core.training.recipe import Recipe

LEAST_TO_CHOOSE = 20  # dev clips whose order tells one epoch from another
# L1 gradients often cancel out but for rounding; with the usual 1e-8 these remains would become steps.
_ADAM_EPSILON = 1e-6


class Alone:
    """What a fit on the CPU by one process takes for an accelerator.

    Those of accelerate share one state, so in a run of several processes any of them waits for the other processes.
    """

    device = torch.device("cpu")
    process_index, num_processes = 0, 1

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """The same model."""
        return model

    def no_sync(self, _: nn.Module) -> contextlib.AbstractContextManager[None]:
        """Nothing to wait for."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add gradients."""
        loss.backward()  # type: ignore[no-untyped-call]

    def reduce(self, tensor: Tensor, _: str) -> Tensor:
        """The sum over one process."""
        return tensor


def fit_heads(clips: EmbeddedClips, target: Target, recipe: Recipe, seed: int) -> Heads:
    """Train heads on embedded clips, in memory and on the CPU, as a run of a recipe that leaves the towers does.

    The dev part of the target may be empty.
    """
    heads = new_heads(clips.text.shape[1], target, seed, recipe, clips)
    fit_these(heads, clips, target, recipe, seed)
    return heads


def fit_these(
    heads: Heads, clips: EmbeddedClips, target: Target, recipe: Recipe, seed: int, pull: float = 0.0
) -> "FitState":
    """Train heads that there are, likewise; return how that went."""
    examples = EmbeddedExamples(heads.prepared(clips), Alone.device)
    fit = Fit(Alone(), HeadsAlone(heads), examples, target, recipe, seed, pull)
    fit.run()
    heads.eval().requires_grad_(False)
    return fit.state


@dataclass
class FitState:
    """Where a fit stands, apart from weights; epochs are counted from 0, and `best_epoch` from 1."""

    epoch: int = 0
    batch: int = 0  # the next one
    error_sum: float = 0.0  # L1 of the clips of the epoch so far, each the mean of its scales
    best_dev: float = math.inf  # what the recipe stops on, lower is better; so before an epoch and without a dev part
    best_epoch: int = 0
    seconds: float = 0.0  # of the epoch so far
    log: list[dict[str, float]] = field(default_factory=list)  # a row for each epoch that is over
    is_over: bool = False


class Fit:
    """A judge being fitted: it gives outputs for clips, and of it what asks for gradients is learned.

    Without dev rows the last epoch's weights are kept, otherwise the best epoch's. The seed is that of the
    order of clips. With a `pull`, weights but for offsets are drawn to where they begin, as weight decay draws
    them to 0.
    """

    def __init__(
        self,
        accelerator: Accelerator | Alone,
        judge: nn.Module,
        examples: Examples,
        target: Target,
        recipe: Recipe,
        seed: int,
        pull: float = 0.0,
    ) -> None:
        self.state = FitState()
        self.accelerator, self.judge = accelerator, judge.eval()
        self.recipe, self.seed = recipe, seed
        self._train, self._dev = (np.asarray(rows, dtype=np.int64) for rows in (target.train, target.dev))
        self._examples, self._keys, self._pairs = examples, keys(target.scales), target.pairs
        self.objective = Objective(target, recipe).to(accelerator.device)
        self._measured = int((self.objective.source[self._train] == 0).sum())  # clips that `train_l1` is of
        self._model = accelerator.prepare_model(judge)
        own = [weight for weight in judge.parameters() if weight.requires_grad]
        self._optimizer = _optimizer(own, [*self.objective.parameters()], recipe)
        self._best = self._copied()
        self._pull = pull
        self._began = [(weight, weight.detach().clone()) for weight in own if weight.ndim > 1 and pull]

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

        `after_step` is called with whether an epoch has just ended. If it returns True on any process, the
        fit stops on all of them, to be continued from `state_dict`.
        """
        while not self.state.is_over:
            order = np.random.default_rng([self.seed, self.state.epoch]).permutation(self._train).tolist()
            while self.state.batch < self.batches:
                start = self.state.batch * self.recipe.batch_size
                self._take_step(order[start : start + self.recipe.batch_size], self._pairs_of_step())
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
        """Return the values of clips, (n, n_scales) on the CPU, not clamped; all processes compute."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        values = torch.zeros(len(rows), len(self._keys), device=self.accelerator.device)
        mine = list(range(rank, len(rows), world))
        places = {rows[place]: place for place in mine}
        for chunk in self._examples.chunks([rows[place] for place in mine]):
            values[[places[row] for row in chunk.rows]] = _values(self._outputs(chunk, precision))
        total: Tensor = self.accelerator.reduce(values, "sum")
        return total.cpu()

    def release(self) -> None:
        """Let go of what processes share; the fit cannot go on."""
        del self._model
        if isinstance(self.accelerator, Accelerator):
            self.accelerator.free_memory()

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing needs: tensors, numbers, texts."""
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

    def _pairs_of_step(self) -> Pairs | None:
        """Those pairs, of all in an order of their own, that this step of the epoch takes."""
        if self._pairs is None:
            return None
        order = np.random.default_rng([self.seed, self.state.epoch, 1]).permutation(len(self._pairs))
        return self._pairs.take(np.array_split(order, self.batches)[self.state.batch].tolist())

    def _take_step(self, batch: list[int], pairs: Pairs | None) -> None:
        began = time.monotonic()
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.zero_grad(set_to_none=True)
        with self._dropping(), rounding(self.recipe.precision):
            error = self._sum([self._backward(batch, pairs)])[0]
        if not math.isfinite(error):
            raise TrainingError("The training error is no longer finite. Give a lower --learning-rate.")
        for weight, start in self._began:
            if weight.grad is not None:
                weight.grad += self._pull * (weight.detach() - start)
        self._optimizer.step()
        self.state.error_sum += error
        self.state.batch += 1
        self.state.seconds += time.monotonic() - began

    def _backward(self, batch: list[int], pairs: Pairs | None) -> float:
        """Compute the gradients of a batch's loss; return this process's sum of errors."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        is_whole = self.objective.needs_whole_batches
        mine = [*batch, *(pairs.rows() if pairs else ())] if is_whole else batch[rank::world]
        scale = (1.0 if is_whole else world) if mine else 0.0  # a process without a clip takes part with a weight of 0
        total = 0.0
        for is_last_chunk, chunk in _mark_last(self._examples.chunks(mine or batch[:1])):
            whole = self._outputs(chunk, self.recipe.precision) if len(chunk.pieces) > 1 else None
            for is_last, (inputs, share) in _mark_last(iter(chunk.pieces)):
                gathers = is_last and is_last_chunk  # gradients of all processes
                with contextlib.nullcontext() if gathers else self.accelerator.no_sync(self._model):
                    with self._autocast(self.recipe.precision):
                        outputs = self._model(*inputs).float()
                    known = outputs.detach() if whole is None else whole
                    gradient = self.objective.add_gradients(known, chunk.rows, len(batch), pairs)
                    self.accelerator.backward((gradient * outputs).sum() * share * scale)
            distances = self.objective.distances(_values(known), chunk.rows)[: len(batch)]
            total += float(distances.nanmean(dim=1).nansum()) if mine else 0.0
        return total / (world if is_whole else 1)

    @contextlib.contextmanager
    def _dropping(self) -> Iterator[None]:
        """Have the judge drop numbers, where the recipe says so: others in each step and process."""
        if not self.recipe.dropout:
            yield
            return
        device = self.accelerator.device
        seed = np.random.SeedSequence([self.seed, self.step, self.accelerator.process_index])
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            generator = torch.default_generator if device.type == "cpu" else _generator(device)
            generator.manual_seed(int(seed.generate_state(1)[0]))  # torch.manual_seed takes 3 ms
            self.judge.train()
            try:
                yield
            finally:
                self.judge.eval()

    def _outputs(self, chunk: Chunk, precision: str) -> Tensor:
        """Outputs for a chunk's clips, without gradients."""
        with torch.no_grad(), self._autocast(precision):
            shares = [self.judge(*inputs).float() * share for inputs, share in chunk.pieces]
        return torch.stack(shares).sum(dim=0)

    def _end_epoch(self) -> None:
        state, recipe = self.state, self.recipe
        row: dict[str, float] = {"epoch": state.epoch + 1, "train_l1": state.error_sum / max(self._measured, 1)}
        began = time.monotonic()
        row |= self._measured_on_dev()
        learning_rate = self._optimizer.param_groups[0]["lr"]
        seconds = round(state.seconds + time.monotonic() - began, 3)
        state.log.append({**row, "learning_rate": learning_rate, "seconds": seconds})
        state.epoch, state.batch, state.error_sum, state.seconds = state.epoch + 1, 0, 0.0, 0.0
        reached = self._reached(row)
        if not len(self._dev) or reached < state.best_dev or not state.best_epoch:
            state.best_dev = reached
            state.best_epoch = state.epoch
            self._best = self._copied()
        is_late = bool(recipe.patience and state.epoch - state.best_epoch >= recipe.patience)
        state.is_over = is_late or state.epoch >= self.epochs

    def _reached(self, row: Mapping[str, float]) -> float:
        """What tells the best epoch, lower is better; by too few dev clips' order it would be chance."""
        if self.recipe.stop_on == "srcc":
            return -row.get("dev_srcc", -math.inf) if len(self._dev) >= LEAST_TO_CHOOSE else -row["epoch"]
        return row.get("dev_l1", math.inf)

    def _measured_on_dev(self) -> dict[str, float]:
        if not len(self._dev):
            return {}
        rows = [int(row) for row in self._dev]
        values = self.values(rows, self.recipe.precision)  # not clamped: below 1 it still has to fall
        errors = self.objective.distances(values.to(self.accelerator.device), rows).double().nanmean(dim=0).tolist()
        by_scale = {key: error for key, error in zip(self._keys, errors, strict=True) if not math.isnan(error)}
        found = {"dev_l1": sum(by_scale.values()) / len(by_scale)}
        found |= {f"dev_l1_{key}": error for key, error in by_scale.items()}
        if len(rows) >= LEAST_POINTS:
            scores = self.objective.mos[rows].double().cpu().numpy()
            pairs = zip(self._keys, scores.T, values.double().numpy().T, strict=True)
            known = [(truth, said, ~np.isnan(truth)) for key, truth, said in pairs if key in by_scale]
            orders = [srcc(truth[of], said[of]) for truth, said, of in known if of.sum() >= LEAST_POINTS]
            found |= {"dev_srcc": sum(orders) / len(orders)} if orders and np.isfinite(orders).all() else {}
        return found

    def _learning_rate(self) -> float:
        if self.recipe.schedule == "constant":
            return self.recipe.learning_rate
        share = self.step / (self.epochs * self.batches)
        return self.recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * share))

    def _autocast(self, precision: str) -> contextlib.AbstractContextManager[None]:
        return computing(self.accelerator.device, precision)

    def _sum(self, numbers: Sequence[float]) -> list[float]:
        """Sums over all processes."""
        if self.accelerator.num_processes == 1:
            return list(numbers)
        total: Tensor = self.accelerator.reduce(
            torch.tensor(numbers, dtype=torch.float64, device=self.accelerator.device), "sum"
        )
        return [float(number) for number in total]

    def _learned(self) -> dict[str, nn.Parameter]:
        """What is learned, by name; of the objective offsets and scales of sources."""
        own = {name: weight for name, weight in self.judge.named_parameters() if weight.requires_grad}
        return own | {f"objective.{name}": weight for name, weight in self.objective.named_parameters()}

    def _copied(self) -> dict[str, Tensor]:
        return {name: weight.detach().cpu().clone() for name, weight in self._learned().items()}

    def _fill(self, weights: Mapping[str, Tensor]) -> None:
        own = self._learned()
        with torch.no_grad():
            for name, weight in weights.items():
                own[name].copy_(weight)


def _values(outputs: Tensor) -> Tensor:
    """Values of clips, (n, n_scales): the mean over members."""
    return outputs[..., 0].mean(dim=1)


def _optimizer(weights: list[nn.Parameter], of_sources: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    decay, free = recipe.weight_decay, list(of_sources)
    if recipe.optimizer == "adam":  # as in ridge regression, what a head begins with is not drawn to 0
        free += [weight for weight in weights if weight.ndim < 2]
        weights = [weight for weight in weights if weight.ndim > 1]
    groups: list[dict[str, Any]] = [{"params": weights, "weight_decay": decay}, {"params": free, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, recipe.learning_rate, eps=_ADAM_EPSILON)


def _generator(device: torch.device) -> torch.Generator:
    """What draws on a device that is no CPU."""
    return (
        torch.mps._get_default_mps_generator()
        if device.type == "mps"
        else torch.cuda.default_generators[device.index or 0]
    )


def _mark_last(items: Iterator[Any]) -> Iterator[tuple[bool, Any]]:
    """Each item, and whether it is the last."""
    previous = next(items)
    for item in items:
        yield False, previous
        previous = item
    yield True, previous
