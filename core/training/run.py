"""Training of judges on rated clips: from a data set and a plan to the folder of a model.

All processes of a run do the same; the first of them writes. Several machines share the folders of data,
embeddings and output. A run that was stopped or killed goes on where its last saved state left it, and on a
CPU with as many processes ends with the same weights as if it had not been. What its folder holds stands in
`core.training.folder`.
"""

import gc
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, Self

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list, gather_object
from torch import nn

from core.audio import AudioLimits
from core.embeddings import BATCH, Asked, EmbeddingCache
from core.errors import MusicEvalError
from core.feed import stop_if_any
from core.heads import EmbeddedClips, cosines
from core.rated_clips import data_sha256
from core.readers import Readers, readers_for
from core.scales import Scales
from core.settings import pick_device
from core.training.baselines import prompt_alone
from core.training.check import has_learned
from core.training.cross import estimate_by_system
from core.training.examples import EmbeddedExamples, HeadsAlone, SoundExamples, WholeJudge
from core.training.folder import RunFolder
from core.training.lessons import Lessons
from core.training.loop import Fit
from core.training.material import Material, write_model
from core.training.moving import changes, move
from core.training.objective import new_heads
from core.training.recipe import RunProgress, TrainingPlan

SAVE_EVERY_S = 300.0  # and at the end: the state of a whole judge is 2.4 GB, which a disk takes seconds for
_WAIT_FOR_OTHERS = timedelta(hours=24)  # one process may have to embed for all
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopAsked(BaseException):  # as KeyboardInterrupt: no error, and nothing that catches errors catches it
    """A signal asked to stop; `exit_code` is 128 and the signal's number, as shells count."""

    def __init__(self, number: int | None) -> None:
        super().__init__(number)
        self.exit_code = 128 + (number or signal.SIGTERM)


class StopSignals:
    """While this is open, a signal raises `StopAsked`, or is only noted in `asked` where `is_deferred`.

    A second signal is not deferred. In a thread other than the main one, signals are left alone.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self.is_deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self, number: int, _: FrameType | None) -> None:
        is_first = self.asked is None
        self.asked = number
        if not (self.is_deferred and is_first):
            raise StopAsked(number)


def train(
    plan: TrainingPlan,
    output: Path,
    cache: Path | None = None,
    device: str = "auto",
    limits: AudioLimits | None = None,
    progress: Callable[[RunProgress], None] | None = None,
    doubt: Callable[[str], None] | None = None,
) -> RunFolder:
    """Train as planned, or go on with what was begun; a finished run is left as it is.

    Parameters
    ----------
    plan : TrainingPlan
    output : Path
        Folder of the run, later of the model.
    cache : Path, optional
        Folder of embeddings; without it they are computed again when a run goes on.
    device : str
        One of `core.settings.DEVICES`.
    limits : AudioLimits, optional
        What clips may be.
    progress : callable, optional
        Called on the first process with what is being done.
    doubt : callable, optional
        Called on the first process, before training begins, with each sentence that stands against it.

    Returns
    -------
    RunFolder
        Finished.

    Raises
    ------
    MusicEvalError
        Data, tower, device or folder cannot be used, or the clips are too few; the message says why.
    StopAsked
        A signal asked to stop; the state is saved.
    """
    with StopSignals() as signals:
        accelerator = _accelerator(plan, device)
        run = _Run(plan, RunFolder(output), accelerator, signals, progress, doubt)
        try:
            run.to_the_end(cache, limits or AudioLimits())
        finally:
            del run
            if accelerator.num_processes > 1:
                gc.collect()  # what still holds the process group would abort the process when the group ends
                accelerator.end_training()
    return RunFolder(output)


def _accelerator(plan: TrainingPlan, device: str) -> Accelerator:
    return Accelerator(
        cpu=pick_device(device).type == "cpu",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=_WAIT_FOR_OTHERS),
            DistributedDataParallelKwargs(
                broadcast_buffers=False,  # in eval mode they never change
                find_unused_parameters=plan.recipe.fine_tune,  # the towers have parts that nothing here uses
            ),
        ],
    )


class _Run:
    """One call of `train`."""

    def __init__(
        self,
        plan: TrainingPlan,
        folder: RunFolder,
        accelerator: Accelerator,
        signals: StopSignals,
        progress: Callable[[RunProgress], None] | None,
        doubt: Callable[[str], None] | None,
    ) -> None:
        self.plan, self.folder = plan, folder
        self.accelerator, self.signals = accelerator, signals
        self._progress, self._doubt = progress, doubt
        self._is_ours = False
        self._last_saved = time.monotonic()

    def to_the_end(self, cache: Path | None, limits: AudioLimits) -> None:
        """Do everything that is not done."""
        try:
            material = Material.read(self.plan)
            doubts = material.check().doubts
            self._begin(material)
            if self._doubt and self._is_ours:
                for sentence in doubts:
                    self._doubt(sentence)
            if not self._agreed(self.folder.is_finished):
                if material.judge:
                    self._move_judge(material, cache, limits)
                    return
                n_heard = len(material.clips) if self.plan.recipe.fine_tune else 0
                with readers_for(n_heard, self.accelerator.num_processes, BATCH) as readers:
                    self._make_model(material, cache, limits, readers)
        except StopAsked:
            self._report_end("stopped", "Stopped; the same command goes on from here")
            raise
        except MusicEvalError as error:
            self._report_end("failed", str(error))
            raise

    def _begin(self, material: Material) -> None:
        first = self.accelerator.is_main_process
        sha256 = self._agreed(data_sha256(material.source) if first else "")
        if first:
            self.folder.begin(
                {
                    **material.describe(sha256),
                    "processes": self.accelerator.num_processes,
                    "device": self.accelerator.device.type,
                }
            )
            self._is_ours = not self.folder.is_finished
        self.accelerator.wait_for_everyone()

    def _make_model(self, material: Material, cache: Path | None, limits: AudioLimits, readers: Readers | None) -> None:
        target, tower, seed = material.lessons.target, material.starting.tower, self.plan.split.seed
        judge: nn.Module
        examples: SoundExamples | EmbeddedExamples
        cosine, estimate, blind = None, None, None
        if self.plan.recipe.fine_tune:
            heads = new_heads(tower.dim, target, seed, self.plan.recipe)
            examples = self._sound(material, limits, readers, cache)
            judge = WholeJudge(tower, heads, self._compiled_for)
        else:
            everything = material.everything
            of_everything = self._embedded(everything, material, cache, limits)
            clips = material.lessons.embedded_in(everything, of_everything)
            cosine = cosines(clips)
            heads = new_heads(tower.dim, target, seed, self.plan.recipe, clips)
            judge, examples = HeadsAlone(heads), EmbeddedExamples(heads.prepared(clips), self.accelerator.device)
        fit = Fit(self.accelerator, judge, examples, target, self.plan.recipe, seed)
        if saved := self.folder.read_state():
            fit.load_state_dict(saved)
        self.accelerator.wait_for_everyone()
        try:
            self._fit(fit, target.scales)
            self._report(RunProgress("measuring", "Measuring on clips that were held out"))
            values = fit.values(material.clips.rows(material.measured_part))
            if self.accelerator.is_main_process:
                if not self.plan.recipe.fine_tune:
                    estimate = estimate_by_system(material, everything, of_everything, self._report_measuring)
                    if material.clips.has_prompts and not (material.others or material.pairs):
                        blind = prompt_alone(clips, target, self.plan.recipe, seed)
                sources = fit.objective.sources_to_json()
                write_model(
                    self.folder, material, heads, values, fit.state, cosine, sources, estimate=estimate, blind=blind
                )
                self.folder.end()
            learned = has_learned(fit.state, material.clips.mos, material.clips.rows("train"))
            said = "The model is ready" if learned else "Nothing was learned"
            self._report(RunProgress("done" if learned else "unlearned", said, 1.0, 0.0, fit.state.epoch, fit.epochs))
            self.accelerator.wait_for_everyone()
        finally:
            fit.release()

    def _move_judge(self, material: Material, cache: Path | None, limits: AudioLimits) -> None:
        """Move the heads of a judge; it takes seconds, so there is no state to go on from."""
        judge, clips, seed = material.judge, material.clips, self.plan.split.seed
        assert judge is not None
        embedded = self._embedded(material.lessons, material, cache, limits)
        if self.accelerator.is_main_process:
            self._report(RunProgress("training", "Moving the judge, and without each part of the clips"))
            moved = move(judge.heads, clips, embedded, seed)
            gained = changes(clips, judge.scales, moved)
            self.folder.write_log(moved.state, judge.scales)
            write_model(
                self.folder, material, moved.heads, torch.from_numpy(moved.after), moved.state, None, moved=gained
            )
            self._report(RunProgress("done", "The model is ready", 1.0, 0.0, moved.state.epoch, moved.state.epoch))
        self.accelerator.wait_for_everyone()

    def _embedded(
        self, lessons: Lessons, material: Material, folder: Path | None, limits: AudioLimits
    ) -> EmbeddedClips:
        """The embeddings of all rows; what is not in the cache is shared out among the processes."""
        starting, device, recipe = material.starting, self.accelerator.device, material.plan.recipe
        asked = Asked(**recipe.asks())
        cache = EmbeddingCache(folder, starting.tower.to(device), starting.policy, recipe.precision, limits, asked)

        def report(share: float, message: str) -> None:
            self._report(RunProgress("embedding", message, share))

        if self.accelerator.num_processes > 1:
            cache.audio([lessons.rows[row].file for row in self._mine(len(lessons.rows))], report)
            self.accelerator.wait_for_everyone()
        return lessons.embed(cache, report)

    @property
    def _compiled_for(self) -> int:
        """Windows that the towers are compiled for; 0 where they are not."""
        recipe, is_gpu = self.plan.recipe, self.accelerator.device.type == "cuda"
        return recipe.micro_batch if recipe.compile and is_gpu else 0

    def _sound(
        self, material: Material, limits: AudioLimits, readers: Readers | None, cache: Path | None
    ) -> SoundExamples:
        """The clips; those that cannot be read are named before training begins."""
        self._report(RunProgress("embedding", "Looking through the clips"))
        chunk, starting = self.plan.recipe.micro_batch, material.starting
        tower = starting.tower.to(self.accelerator.device)
        sound = SoundExamples(material.clips, tower, starting.policy, chunk, limits, readers, cache)
        stop_if_any(gather_object(sound.unreadable(self._mine(len(material.clips)))))
        return sound

    def _mine(self, n_clips: int) -> range:
        """Rows that are this process's share of all clips."""
        return range(self.accelerator.process_index, n_clips, self.accelerator.num_processes)

    def _fit(self, fit: Fit, scales: Scales) -> None:
        began, begun_at = time.monotonic(), fit.step

        def after_step(is_end: bool) -> bool:
            if self.accelerator.is_main_process:
                seconds_each = (time.monotonic() - began) / (fit.step - begun_at)
                self._report(_training_progress(fit, seconds_each))
                if is_end:
                    self.folder.write_log(fit.state, scales)
                if time.monotonic() - self._last_saved >= SAVE_EVERY_S:
                    self.folder.save_state(fit.state_dict())
                    self._last_saved = time.monotonic()
            return self.signals.asked is not None

        self.signals.is_deferred = True
        fit.run(after_step)
        if self.accelerator.is_main_process:
            self.folder.write_log(fit.state, scales)
            self.folder.save_state(fit.state_dict())
        self.signals.is_deferred = False
        if not fit.state.is_over:
            raise StopAsked(self.signals.asked)

    def _agreed(self, value: Any) -> Any:
        """What the first process says."""
        return broadcast_object_list([value])[0]

    def _report_measuring(self, message: str, share: float) -> None:
        self._report(RunProgress("measuring", message, share))

    def _report_end(self, phase: str, message: str) -> None:
        """Report an end without a model, unless the folder is missing or another run's."""
        is_free = self.folder.path.is_dir() and not self.folder.is_begun
        if self._is_ours or is_free:
            self._report(RunProgress(phase, message))

    def _report(self, progress: RunProgress) -> None:
        if self.accelerator.is_main_process:
            self.folder.report(progress)
            if self._progress:
                self._progress(progress)


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
