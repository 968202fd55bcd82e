"""Training of a judge on rated clips: from a data set and a recipe to the folder of a model.

All processes of a run do the same; the first of them writes. Several machines share the folders of data,
embeddings and output. A run that was stopped or killed goes on where its last saved state left it, and on a
CPU with as many processes ends with the same weights as if it had not been.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

from core.audio import AudioLimits
from core.devices import pick_device
from core.embedded_clips import EmbeddedClips, data_sha256, embed_clips
from core.embeddings import EmbeddingCache
from core.errors import MusicEvalError
from core.file_reading import stop_if_any
from core.heads import Heads
from core.scales import SCALES
from core.splits import Split
from core.training.examples import EmbeddedExamples, HeadsAlone, SoundExamples, WholeJudge
from core.training.fitting import Fit, new_heads
from core.training.recipes import Recipe
from core.training.run_folder import RunFolder, RunProgress
from core.training.stopping import StopAsked, StopSignals
from core.training.trained_model import Material, describe_run, write_model

SAVE_EVERY_S = 300.0  # within an epoch
SAVE_AT_MOST_EVERY_S = 1.0  # epochs of a frozen recipe take less time than saving
_WAIT_FOR_OTHERS = timedelta(hours=24)  # one process may have to embed for all

Tell = Callable[[RunProgress], None]


@dataclass(frozen=True)
class Plan:
    """What is to be trained, on what, where to.

    Attributes
    ----------
    data : Path
        As `core.sources.read_source` takes it.
    recipe : Recipe
    tower : str
        A key of `core.towers.TOWERS`.
    split : Split
    seed : int
        Of the heads' first weights and of the order of clips.
    output : Path
        Folder of the run, later of the model.
    cache : Path
        Folder of embeddings.
    device : str
        One of `core.devices.DEVICES`.
    limits : AudioLimits
        What clips may be.
    """

    data: Path
    recipe: Recipe
    tower: str
    split: Split
    seed: int
    output: Path
    cache: Path
    device: str = "auto"
    limits: AudioLimits = field(default_factory=AudioLimits)


def fit_heads(
    clips: EmbeddedClips,
    mos: Tensor,
    train: Sequence[int],
    dev: Sequence[int],
    recipe: Recipe,
    seed: int,
) -> Heads:
    """Train heads on embedded clips, in memory, as a run of the frozen recipe does.

    Parameters
    ----------
    clips : EmbeddedClips
    mos : Tensor, (n, 2)
    train, dev : sequence of int
        Rows of the clips; dev may be empty.
    recipe : Recipe
    seed : int

    Returns
    -------
    Heads
        In eval mode, on the CPU.
    """
    accelerator = Accelerator(cpu=True)
    heads = new_heads(clips.text.shape[1], mos[list(train)].mean(dim=0), seed)
    examples = EmbeddedExamples(clips, accelerator.device)
    Fit(accelerator, HeadsAlone(heads), examples, mos, (train, dev), recipe, seed).run()
    return heads.eval().requires_grad_(False)


def train(plan: Plan, tell: Tell | None = None) -> RunFolder:
    """Train as planned, or go on with what was begun; a finished run is left as it is.

    Parameters
    ----------
    plan : Plan
    tell : callable, optional
        Called on the first process with what is being done.

    Returns
    -------
    RunFolder
        Finished.

    Raises
    ------
    MusicEvalError
        Data, tower, device or folder cannot be used; the message says why.
    StopAsked
        A signal asked to stop; the state is saved.
    """
    with StopSignals() as signals:
        run = _Run(plan, signals, tell)
        try:
            run.to_the_end()
        finally:
            if run.accelerator.num_processes > 1:
                gc.collect()  # what still holds the process group would abort the process when the group ends
                run.accelerator.end_training()
    return run.folder


class _Run:
    """One call of `train`."""

    def __init__(self, plan: Plan, signals: StopSignals, tell: Tell | None) -> None:
        self.plan, self.signals = plan, signals
        self.accelerator = _accelerator(plan)
        self.folder = RunFolder(plan.output)
        self._tell_caller = tell
        self._is_ours = False
        self._last_saved = time.monotonic()

    def to_the_end(self) -> None:
        """Do everything that is not done."""
        try:
            material = Material.read(self.plan.data, self.plan.split, self.plan.tower)
            run = self._begin(material)
            if not self._agreed(self.folder.is_finished):
                self._make_model(material, run)
        except StopAsked:
            self._tell_end("stopped", "Stopped; the same command goes on from here")
            raise
        except MusicEvalError as error:
            self._tell_end("failed", str(error))
            raise

    def _begin(self, material: Material) -> dict[str, Any]:
        """What the run is; on the first process as ``run.json`` has it."""
        plan, first = self.plan, self.accelerator.is_main_process
        sha256 = self._agreed(data_sha256(material.clips) if first else "")
        run = {
            "recipe": plan.recipe.to_json(),
            "split": plan.split.to_json(),
            "seed": plan.seed,
            "precision": plan.recipe.precision,
            "processes": self.accelerator.num_processes,
            "device": self.accelerator.device.type,
            **describe_run(material, sha256),
        }
        if first:
            self.folder.begin(run)
            run, self._is_ours = self.folder.run(), not self.folder.is_finished
        self.accelerator.wait_for_everyone()
        return run

    def _make_model(self, material: Material, run: dict[str, Any]) -> None:
        fit, heads = self._prepare(material)
        try:
            self._fit(fit)
            self._tell(RunProgress("measuring", "Measuring on clips that were held out"))
            values = fit.values(material.rows(material.measured_part))
            if self.accelerator.is_main_process:
                write_model(self.folder, run, material, heads, values, fit.state)
                self.folder.end()
            self._tell(RunProgress("done", "The model is ready", 1.0, 0.0, fit.state.epoch, fit.epochs))
            self.accelerator.wait_for_everyone()
        finally:
            fit.release()

    def _prepare(self, material: Material) -> tuple[Fit, Heads]:
        """The fit, as far as it is, and its heads."""
        plan, tower = self.plan, material.starting.tower
        mos = torch.tensor(material.clips.table[list(SCALES)].to_numpy())
        parts = (material.rows("train"), material.rows("dev"))
        heads = new_heads(tower.dim, mos[parts[0]].mean(dim=0), plan.seed)
        examples = self._sound(material) if plan.recipe.fine_tune else self._embedded(material)
        judge: nn.Module = WholeJudge(tower, heads) if plan.recipe.fine_tune else HeadsAlone(heads)
        fit = Fit(self.accelerator, judge, examples, mos, parts, plan.recipe, plan.seed)
        if saved := self.folder.read_state():
            fit.load_state_dict(saved)
        self.accelerator.wait_for_everyone()
        return fit, heads

    def _embedded(self, material: Material) -> EmbeddedExamples:
        """The clips' embeddings; what is not in the cache is shared out among the processes."""
        plan, starting, device = self.plan, material.starting, self.accelerator.device
        tower = starting.tower.to(device)
        cache = EmbeddingCache(plan.cache, tower, starting.policy, plan.recipe.precision, plan.limits)
        paths = [Path(path) for path in material.clips.table["audio_path"]]
        mine = [paths[row] for row in self._mine(len(paths))]
        cache.audio(mine, lambda share, message: self._tell(RunProgress("embedding", message, share)))
        self.accelerator.wait_for_everyone()
        return EmbeddedExamples(embed_clips(material.clips, cache), device)

    def _sound(self, material: Material) -> SoundExamples:
        """The clips; those that cannot be read are told before training begins."""
        self._tell(RunProgress("embedding", "Looking through the clips"))
        chunk, starting = self.plan.recipe.micro_batch, material.starting
        sound = SoundExamples(material.clips, starting.tower, starting.policy, chunk, self.plan.limits)
        stop_if_any(gather_object(sound.unreadable(self._mine(len(material.clips)))))
        return sound

    def _mine(self, n_clips: int) -> range:
        """Rows that are this process's share of all clips."""
        return range(self.accelerator.process_index, n_clips, self.accelerator.num_processes)

    def _fit(self, fit: Fit) -> None:
        began, begun_at = time.monotonic(), fit.step

        def after_step(is_end: bool) -> bool:
            if self.accelerator.is_main_process:
                seconds_each = (time.monotonic() - began) / (fit.step - begun_at)
                self._tell(_training_progress(fit, seconds_each))
                self._save(fit, is_end)
            return self.signals.asked is not None

        with self.signals.deferred():
            fit.run(after_step)
            if self.accelerator.is_main_process:
                self.folder.write_log(fit.state.log)
                self.folder.save_state(fit.state_dict())
        if not fit.state.is_over:
            raise StopAsked(self.signals.asked)

    def _save(self, fit: Fit, is_end: bool) -> None:
        if is_end:
            self.folder.write_log(fit.state.log)
        since_s = time.monotonic() - self._last_saved
        if since_s >= (SAVE_AT_MOST_EVERY_S if is_end else SAVE_EVERY_S):
            self.folder.save_state(fit.state_dict())
            self._last_saved = time.monotonic()

    def _agreed(self, value: Any) -> Any:
        """What the first process says."""
        return broadcast_object_list([value])[0]

    def _tell_end(self, phase: str, message: str) -> None:
        """Tell an end without a model, unless the folder is missing or another run's."""
        is_free = self.folder.path.is_dir() and not self.folder.is_begun
        if self._is_ours or is_free:
            self._tell(RunProgress(phase, message))

    def _tell(self, progress: RunProgress) -> None:
        if not self.accelerator.is_main_process:
            return
        self.folder.tell(progress)
        if self._tell_caller:
            self._tell_caller(progress)


def _accelerator(plan: Plan) -> Accelerator:
    return Accelerator(
        cpu=pick_device(plan.device).type == "cpu",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=_WAIT_FOR_OTHERS),
            DistributedDataParallelKwargs(
                broadcast_buffers=False,  # in eval mode they never change
                find_unused_parameters=plan.recipe.fine_tune,  # the towers have parts that nothing here uses
            ),
        ],
    )


def _training_progress(fit: Fit, seconds_each: float) -> RunProgress:
    state, epochs = fit.state, fit.epochs
    steps = epochs * fit.batches
    message = f"Epoch {min(state.epoch + 1, epochs)} of at most {epochs}"
    if state.log:
        losses = {name: state.log[-1].get(f"{name}_l1") for name in ("train", "dev")}
        shown = [f"{name} L1 {loss:.3f}" for name, loss in losses.items() if loss is not None]
        message = f"{message}, {', '.join(shown)}"
    left_s = seconds_each * (steps - fit.step)
    return RunProgress("training", message, fit.step / steps, left_s, state.epoch, epochs)
