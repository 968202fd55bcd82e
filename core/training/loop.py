"""The loop that fits a judge to rated clips, the same on one process and on several.

Clips come as the judge takes them in: `HeadsAlone` with `EmbeddedExamples` is the frozen recipe, `WholeJudge`
with `SoundExamples` the paper's. Both give a clip the mean of what its windows get, as `core.scorer` does.

Each epoch goes once through the training clips in an order that the seed and the epoch give. Process r of w
takes every w-th clip of a batch from the r-th on, puts them through in chunks, and weighs its sum of errors
with w over the batch's size, because gradients are averaged over processes: so a step is the same, within
float error, however many processes and chunks it takes. What is minimised is the sum of the scales' L1, as in
the authors' released code; logs have their mean. Nothing here draws a random number outside a fork of the
global generator; towers are in eval mode.

A clip of more windows than memory is to hold goes through in pieces. The gradient of its error is the sign of
the error, which the whole clip decides, times the sum of its windows' gradients: so its value is computed
first, without gradients, then each piece goes forward and backward by itself.

The learning rate follows from the number of steps done, so that going on needs no state of a scheduler; and
what going on needs is one file (`Fit.state_dict`), not the folder of `accelerate.save_state`, because a file
can be replaced at once.
"""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from core.audio import AudioLimits, Heard, InputPolicy, hear, read_whole_clip, split_windows, window_weights
from core.checkpoint import Heads
from core.embeddings import EmbeddedClips, pool
from core.errors import TrainingError, shown_name
from core.feed import in_order, read_all
from core.rated_clips import RatedClips
from core.scales import MUSICEVAL, Scales, keys
from core.towers import Tower
from core.training.recipe import Recipe

_MAX_READERS = 8  # threads that decode; more only hold more clips in memory
# L1 gradients often cancel out but for rounding; with the usual 1e-8 these remains would become steps.
_ADAM_EPSILON = 1e-6


def fit_heads(
    clips: EmbeddedClips,
    mos: Tensor,
    train: Sequence[int],
    dev: Sequence[int],
    recipe: Recipe,
    seed: int,
    scales: Scales = MUSICEVAL,
) -> Heads:
    """Train heads on embedded clips, in memory, as a run of the frozen recipe does.

    Parameters
    ----------
    clips : EmbeddedClips
    mos : Tensor, (n, n_scales)
    train, dev : sequence of int
        Rows of the clips; dev may be empty.
    recipe : Recipe
    seed : int
    scales : tuple of Scale
        Of the columns of `mos`; a head is trained for each.

    Returns
    -------
    Heads
        In eval mode, on the CPU.
    """
    accelerator = Accelerator(cpu=True)
    target = Target(scales, mos, train, dev)
    heads = new_heads(clips.text.shape[1], target, seed, recipe)
    examples = EmbeddedExamples(clips, accelerator.device)
    Fit(accelerator, HeadsAlone(heads), examples, target, recipe, seed).run()
    return heads.eval().requires_grad_(False)


@dataclass(frozen=True)
class Target:
    """What is to be learned: scores, (n_clips, n_scales), and rows to train on and, maybe, to stop on."""

    scales: Scales
    mos: Tensor
    train: Sequence[int]
    dev: Sequence[int]

    @classmethod
    def of(cls, clips: RatedClips) -> Self:
        """Return what clips with parts are to teach."""
        return cls(clips.scales, torch.tensor(clips.mos), clips.rows("train"), clips.rows("dev"))


def new_heads(dim: int, target: Target, seed: int, recipe: Recipe) -> Heads:
    """Return heads to be trained, from a seed, as the recipe starts them."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        heads = Heads(dim, target.scales, recipe.activation)
    if recipe.start == "plain":
        return heads
    for key, value in zip(heads, target.mos[list(target.train)].mean(dim=0), strict=True):
        nn.init.constant_(heads.get_parameter(f"{key}.4.bias"), float(value))
    return heads


class HeadsAlone(nn.Module):
    """Heads on embeddings of whole clips."""

    def __init__(self, heads: Heads) -> None:
        super().__init__()
        self.heads = heads

    def forward(self, audio: Tensor, owner: Tensor, text: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return values of clips, (n, n_scales); the parameters are those of `EmbeddedClips`."""
        return pool(self.heads(audio, text[owner]), owner, len(text), weight)


class WholeJudge(nn.Module):
    """Tower and heads; everything that the tower has learned goes on learning."""

    def __init__(self, tower: Tower, heads: Heads) -> None:
        super().__init__()
        self.tower, self.heads = tower, heads
        for weight in tower.learned_parameters():
            weight.requires_grad_(True)

    def forward(self, log_mel: Tensor, owner: Tensor, prompts: Sequence[str], weight: Tensor | None = None) -> Tensor:
        """Return values of clips, (n, n_scales), from spectrograms of windows, (n_windows, 1, 1001, 64)."""
        text = self.tower.embed_text(prompts)
        return pool(self.heads(self.tower.embed_features(log_mel), text[owner]), owner, len(prompts), weight)


@dataclass(frozen=True)
class Chunk:
    """Whole clips that go through together, by row: at once, or a single one in pieces.

    A piece is what the judge is called with, and its share of the clip's windows.
    """

    rows: list[int]
    pieces: Sequence[tuple[tuple[Any, ...], float]]


class EmbeddedExamples:
    """Clips by their embeddings."""

    def __init__(self, clips: EmbeddedClips, device: torch.device) -> None:
        self._audio, self._text = clips.audio.to(device), clips.text.to(device)
        self._weight = clips.audio.new_ones(len(clips.audio)) if clips.weight is None else clips.weight
        self._counts = torch.bincount(clips.owner, minlength=len(clips.text))
        self._starts = self._counts.cumsum(0) - self._counts
        self._device = device

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        """All rows at once: embeddings are small."""
        if not len(rows):
            return
        chosen = torch.as_tensor(np.asarray(rows, dtype=np.int64))
        counts = self._counts[chosen]
        owner = torch.repeat_interleave(counts)
        place_in_clip = torch.arange(len(owner)) - (counts.cumsum(0) - counts)[owner]
        windows = self._starts[chosen][owner] + place_in_clip
        device, weight = self._device, self._weight[windows].to(self._device)
        audio, text = self._audio[windows.to(device)], self._text[chosen.to(device)]
        yield Chunk(chosen.tolist(), [((audio, owner.to(device), text, weight), 1.0)])


_Windows = tuple[NDArray[np.float32], list[float]]  # of a clip, and how much each counts


class SoundExamples:
    """Clips decoded as they are needed, by threads that read ahead while the towers work.

    A chunk, and each piece of a longer clip, has at most `chunk_windows` windows.
    """

    def __init__(
        self,
        clips: RatedClips,
        tower: Tower,
        policy: InputPolicy,
        chunk_windows: int,
        limits: AudioLimits | None = None,
    ) -> None:
        self._paths = [Path(path) for path in clips.table["audio_path"]]
        self._prompts = list(clips.table["prompt"])
        self._tower, self._policy, self._chunk_windows = tower, policy, chunk_windows
        self._limits = limits or AudioLimits()
        self._readers = min(_MAX_READERS, os.cpu_count() or 1)

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        """Whole clips, a few at a time."""
        chunk: list[int] = []
        heard: list[_Windows] = []
        for row, windows in self._read_ahead(rows):
            n_windows = len(windows[0])
            if chunk and sum(len(of) for of, _ in heard) + n_windows > self._chunk_windows:
                yield Chunk(chunk, [(self._inputs(chunk, heard), 1.0)])
                chunk, heard = [], []
            if n_windows > self._chunk_windows:
                yield Chunk([row], list(self._pieces(row, windows)))
                continue
            chunk.append(row)
            heard.append(windows)
        if chunk:
            yield Chunk(chunk, [(self._inputs(chunk, heard), 1.0)])

    def unreadable(self, rows: Sequence[int]) -> list[str]:
        """Return what is wrong with the clips that cannot be read."""
        problems: list[str] = []
        for _ in read_all(self._check, [self._paths[row] for row in rows], problems):
            pass
        return problems

    def _read_ahead(self, rows: Sequence[int]) -> Iterator[tuple[int, _Windows]]:
        """Windows of each clip; at most two clips a thread wait in memory."""
        with ThreadPoolExecutor(self._readers) as readers:
            yield from zip(rows, in_order(readers, self._windows, rows, 2 * self._readers), strict=True)

    def _pieces(self, row: int, heard: _Windows) -> Iterator[tuple[tuple[Any, ...], float]]:
        windows, weights = heard
        for start in range(0, len(windows), self._chunk_windows):
            some = slice(start, start + self._chunk_windows)
            yield self._inputs([row], [(windows[some], weights[some])]), sum(weights[some]) / sum(weights)

    def _inputs(self, chunk: list[int], heard: list[_Windows]) -> tuple[Tensor, Tensor, list[str], Tensor]:
        owner = torch.repeat_interleave(torch.tensor([len(weights) for _, weights in heard]))
        log_mel = self._tower.features(np.concatenate([windows for windows, _ in heard]))
        weight = torch.tensor([weight for _, weights in heard for weight in weights])
        device = log_mel.device
        return log_mel, owner.to(device), [self._prompts[row] for row in chunk], weight.to(device)

    def _windows(self, row: int) -> _Windows:
        samples = self._check(self._paths[row]).at_48k()
        return split_windows(samples, self._policy.passes), window_weights(samples.size, self._policy)

    def _check(self, path: Path) -> Heard:
        return hear(read_whole_clip(path, self._limits), self._policy, shown_name(path.name))


class Examples(Protocol):
    """Clips as a judge takes them in."""

    def chunks(self, rows: Sequence[int]) -> Iterator[Chunk]:
        """Yield whole clips in portions that memory holds."""


@dataclass
class FitState:
    """Where a fit stands, apart from weights; epochs are counted from 0, and `best_epoch` from 1."""

    epoch: int = 0
    batch: int = 0  # the next one
    error_sum: float = 0.0  # of the clips of the epoch so far, each the mean of its scales
    best_dev_l1: float = math.inf  # before the first epoch, and where there is no dev part
    best_epoch: int = 0
    seconds: float = 0.0  # of the epoch so far
    log: list[dict[str, float]] = field(default_factory=list)  # a row for each epoch that is over
    is_over: bool = False


class Fit:
    """A judge being fitted: it gives (n, n_scales) values of n clips, and what asks for gradients is learned.

    Without dev rows the last epoch's weights are kept, otherwise the best epoch's. The seed is that of the
    order of clips.
    """

    def __init__(
        self, accelerator: Accelerator, judge: nn.Module, examples: Examples, target: Target, recipe: Recipe, seed: int
    ) -> None:
        self.state = FitState()
        self.accelerator, self.judge = accelerator, judge.eval()
        self.recipe, self.seed = recipe, seed
        self._train, self._dev = (np.asarray(rows, dtype=np.int64) for rows in (target.train, target.dev))
        self._examples, self._keys = examples, keys(target.scales)
        self._mos = target.mos.float().to(accelerator.device)
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

        `after_step` is called with whether an epoch has just ended. If it returns True on any process, the
        fit stops on all of them, to be continued from `state_dict`.
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
        """Return the values of clips, (n, n_scales) on the CPU, not clamped; all processes compute."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        values = torch.zeros(len(rows), len(self._keys), device=self.accelerator.device)
        mine = list(range(rank, len(rows), world))
        places = {rows[place]: place for place in mine}
        for chunk in self._examples.chunks([rows[place] for place in mine]):
            values[[places[row] for row in chunk.rows]] = self._values_of(chunk, precision)
        total: Tensor = self.accelerator.reduce(values, "sum")
        return total.cpu()

    def release(self) -> None:
        """Let go of what processes share; the fit cannot go on."""
        del self._model
        if self.accelerator.num_processes > 1:
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
        """Compute the gradients of a batch's mean error; return this process's sum of errors."""
        rank, world = self.accelerator.process_index, self.accelerator.num_processes
        mine = batch[rank::world]
        scale = world / len(batch) if mine else 0.0  # a process without a clip takes part with a weight of 0
        total = 0.0
        for is_last_chunk, chunk in _mark_last(self._examples.chunks(mine or batch[:1])):
            whole = self._values_of(chunk, self.recipe.precision) if len(chunk.pieces) > 1 else None
            for is_last, (inputs, share) in _mark_last(iter(chunk.pieces)):
                gathers = is_last and is_last_chunk  # gradients of all processes
                with contextlib.nullcontext() if gathers else self.accelerator.no_sync(self._model):
                    with self._autocast(self.recipe.precision):
                        values = self._model(*inputs).float()
                    errors = (values.detach() if whole is None else whole) - self._mos[chunk.rows]
                    self.accelerator.backward((errors.sign() * values).sum() * share * scale)
            total += float(errors.abs().mean(dim=1).sum()) if mine else 0.0
        return total

    def _values_of(self, chunk: Chunk, precision: str) -> Tensor:
        """Values of a chunk's clips, without gradients."""
        with torch.no_grad(), self._autocast(precision):
            shares = [self.judge(*inputs).float() * share for inputs, share in chunk.pieces]
        return torch.stack(shares).sum(dim=0)

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
        values = self.values(rows, self.recipe.precision)  # not clamped: below 1 it still has to fall
        errors = (values - self._mos[rows].cpu()).abs().double().mean(dim=0).tolist()
        by_scale = {f"dev_l1_{key}": error for key, error in zip(self._keys, errors, strict=True)}
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


def _optimizer(weights: list[nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            weights, recipe.learning_rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay
        )
    return torch.optim.AdamW(weights, recipe.learning_rate, weight_decay=recipe.weight_decay, eps=_ADAM_EPSILON)


def _mark_last(items: Iterator[Any]) -> Iterator[tuple[bool, Any]]:
    """Each item, and whether it is the last."""
    previous = next(items)
    for item in items:
        yield False, previous
        previous = item
    yield True, previous
