"""Training of judges on rated clips: from a data set and a plan to the folder of a model.

All processes of a run do the same; the first of them writes. Several machines share the folders of data,
embeddings and output. A run that was stopped or killed goes on where its last saved state left it, and on a
CPU with as many processes ends with the same weights as if it had not been.

    run.json        what the run is: its plan, what that turned out to be, and with what it is computed
    progress.json   what it is doing
    log.csv         a row for each epoch; the one whose weights are kept, so far, has a 1 under ``kept``
    state.pt        what continuing needs; gone when the run is done

When it is done there are also what a checkpoint has (`core.checkpoint`), ``predictions.csv``, ``split.csv``,
``curves.svg`` and ``scatter.svg``. ``config.json`` comes last, so a run that is not done does not load as a
model. Each file appears whole, by renaming, so it can be read at any time.
"""

import csv
import gc
import io
import json
import os
import pickle
import platform
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pandas as pd
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor, nn

import core
from core import checkpoint
from core.audio import AudioLimits
from core.checkpoint import Heads, save_checkpoint
from core.controls import measure_controls, read_controls
from core.embeddings import EmbeddingCache, embed_clips
from core.errors import MusicEvalError, TrainingError, shown_name
from core.evaluation import Measured, comparison, error_estimate, judged, measure
from core.feed import stop_if_any
from core.files import json_text, write_atomically
from core.musiceval import is_published, is_simulated, read_source
from core.rated_clips import RatedClips, audio_sha256, data_sha256, write_csv
from core.scales import MUSICEVAL, Scale, Scales, keys
from core.settings import pick_device
from core.splits import SPLITS, split_clips
from core.towers import StartingTower, load_tower
from core.training.check import DataCheck, check_data, doubts_of_learning, has_learned, measured_part, which_clips
from core.training.loop import EmbeddedExamples, Fit, FitState, HeadsAlone, SoundExamples, Target, WholeJudge, new_heads
from core.training.recipe import RunProgress, TrainingPlan
from core.training.report import draw_curves, draw_scatter, model_card

SAVE_EVERY_S = 300.0  # and at the end: the state of a whole judge is 2.4 GB, which a disk takes seconds for
_REPORT_EVERY_S = 1.0
_WAIT_FOR_OTHERS = timedelta(hours=24)  # one process may have to embed for all
_MAX_SHARD_SIZE = "2GB"
_PACKAGES = ("torch", "accelerate", "laion_clap", "librosa", "soxr", "numpy")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_OWN_FILES = (
    *(checkpoint.LOG_FILE, checkpoint.STATE_FILE, checkpoint.PREDICTIONS_FILE, checkpoint.SPLIT_FILE),
    *(checkpoint.CURVES_FILE, checkpoint.SCATTER_FILE, checkpoint.CONFIG_FILE, checkpoint.METRICS_FILE),
    checkpoint.CARD_FILE,
)


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


def log_columns(scales: Scales) -> list[str]:
    """Return the columns of ``log.csv``."""
    of_scales = [f"dev_l1_{key}" for key in keys(scales)]
    return ["epoch", "train_l1", "dev_l1", *of_scales, "learning_rate", "seconds", "kept"]


class RunFolder:
    """The folder of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reported = ("", 0.0)

    @property
    def is_begun(self) -> bool:
        """Whether a run began here."""
        return (self.path / checkpoint.RUN_FILE).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the model is there."""
        return (self.path / checkpoint.CONFIG_FILE).is_file()

    def begin(self, run: Mapping[str, Any]) -> None:
        """Make the folder and write ``run.json``; a run that is there already is left as it began.

        A TrainingError if the folder holds another run, or what would be overwritten, or cannot be written.
        """
        try:
            if self.is_begun:
                self._check_same(run)
                return
            taken = [name for name in _OWN_FILES if (self.path / name).exists()]
            if taken:
                raise TrainingError(
                    f"The folder {shown_name(self.path.name)} has a {taken[0]} that is not of a training "
                    "run. Give a new folder."
                )
            self.path.mkdir(parents=True, exist_ok=True)
            self.write(checkpoint.RUN_FILE, json_text(run))
        except OSError as error:
            raise TrainingError(
                f"The folder {shown_name(self.path.name)} cannot be written: {error.strerror}."
            ) from error

    def run(self) -> dict[str, Any]:
        """Return ``run.json``; a TrainingError if it is missing or damaged."""
        return self._read_json(checkpoint.RUN_FILE)

    def metrics(self) -> dict[str, Any]:
        """Return ``metrics.json`` of a finished run; a TrainingError if it is missing or damaged."""
        return self._read_json(checkpoint.METRICS_FILE)

    def measured(self) -> tuple[Measured, dict[str, Measured]]:
        """Return how well the model of a finished run agrees with the raters, and its controls."""
        metrics, stored = self.metrics(), self._read_json(checkpoint.CONFIG_FILE).get("scales", [])
        try:
            scales = tuple(map(Scale.from_json, stored)) or MUSICEVAL
            return Measured.from_json(metrics, scales), read_controls(metrics, scales)
        except (ValueError, TypeError, AttributeError) as error:
            raise self._damaged(checkpoint.METRICS_FILE) from error

    def report(self, progress: RunProgress) -> None:
        """Write ``progress.json``, once a second at most while the phase is the same."""
        phase, reported_at = self._reported
        if progress.phase == phase and time.monotonic() - reported_at < _REPORT_EVERY_S:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.write(checkpoint.PROGRESS_FILE, json_text({**asdict(progress), "at": now, "pid": os.getpid()}))
        self._reported = (progress.phase, time.monotonic())

    def write_log(self, state: FitState, scales: Scales) -> None:
        """Write ``log.csv``; values that a row does not have are empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, log_columns(scales), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "kept": int(row["epoch"] == state.best_epoch)} for row in state.log)
        self.write(checkpoint.LOG_FILE, text.getvalue())

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write ``state.pt``."""
        write_atomically(self.path / checkpoint.STATE_FILE, lambda path: torch.save(state, path), durable=True)

    def read_state(self) -> dict[str, Any] | None:
        """Return ``state.pt``; None where there is none, a TrainingError if it is damaged."""
        try:
            state = torch.load(self.path / checkpoint.STATE_FILE, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{checkpoint.STATE_FILE} in {shown_name(self.path.name)} is damaged, so the run cannot go "
                "on. Delete the folder and train again."
            ) from error
        return dict(state)

    def end(self) -> None:
        """Remove what only continuing needed."""
        (self.path / checkpoint.STATE_FILE).unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        write_atomically(self.path / name, text)

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise self._damaged(name) from error
        return dict(content)

    def _damaged(self, name: str) -> TrainingError:
        return TrainingError(
            f"{name} in {shown_name(self.path.name)} is missing or damaged. Train again in a new folder."
        )

    def _check_same(self, run: Mapping[str, Any]) -> None:
        before, now = (_identity(of) for of in (self.run(), json.loads(json_text(run))))
        different = [
            f"{key} is {now.get(key)!r}, was {before.get(key)!r}"
            for key in {**before, **now}
            if before.get(key) != now.get(key)
        ]
        if different:
            raise TrainingError(
                f"The folder {shown_name(self.path.name)} holds another run: {'; '.join(different)}. "
                "Give the same options to continue it, or a new folder."
            )


def _identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run must have in common with the one that it continues, by dotted key; data may have moved."""
    same = {key: run.get(key) for key in ("recipe", "tower", "split", "seed")}
    same["data"] = {"sha256": run.get("data", {}).get("sha256")}
    flat: dict[str, Any] = pd.json_normalize(same).astype(object).to_dict("records")[0]
    return flat


@dataclass(frozen=True)
class Material:
    """What a plan names, read: clips as the data has them, and in the parts of the split; and the tower."""

    plan: TrainingPlan
    source: RatedClips
    clips: RatedClips
    starting: StartingTower
    is_simulated: bool

    @classmethod
    def read(cls, plan: TrainingPlan) -> Self:
        """Read it; a DataError or CheckpointError says what cannot be used."""
        source = read_source(plan.data)
        clips = split_clips(source, plan.split)
        return cls(plan, source, clips, load_tower(plan.tower), is_simulated(plan.data))

    @property
    def measured_part(self) -> str:
        """The test part; where there is none, the dev part."""
        return measured_part(self.clips)

    def check(self) -> DataCheck:
        """Say what stands against training on it; a DataError for what forbids it."""
        found = check_data(self.clips, self.plan.recipe)
        found.stop_if_refused()
        return found

    @property
    def caveat(self) -> str:
        """What is not real in it (`core.checkpoint.Checkpoint`)."""
        ratings = "trained on simulated ratings" if self.is_simulated else ""
        return "; ".join(part for part in (ratings, self.starting.caveat) if part)

    def in_words(self) -> str:
        """Return what the data is."""
        name = self.plan.data.absolute().name
        kind = "the MusicEval release" if is_published(self.source) else f"the rated clips {name}"
        return f"{kind}, with simulated ratings" if self.is_simulated else kind

    def describe(self, data_sha256: str) -> dict[str, Any]:
        """Return the plan as ``run.json`` has it: with what it names, and the programs that run it."""
        clips = self.clips
        data = {
            "name": self.plan.data.absolute().name,
            "sha256": data_sha256,
            "clips": len(clips),
            "systems": int(clips.table["system_id"].nunique()),
            "scales": keys(clips.scales),
            "parts": {part: len(clips.rows(part)) for part in SPLITS},
            "simulated": self.is_simulated,
            "published": is_published(self.source),
        }
        tower = {"name": self.starting.name, "sha256": self.starting.sha256}
        versions = {package: version(package) for package in _PACKAGES}
        return {
            **self.plan.to_json(),
            "precision": self.plan.recipe.precision,
            "data": data,
            "tower": tower,
            "versions": {"musiceval": core.__version__, **versions, "python": platform.python_version()},
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def write_model(folder: RunFolder, material: Material, heads: Heads, values: Tensor, state: FitState) -> None:
    """Measure a trained judge and write everything that its folder has, ``config.json`` last.

    The material's tower is as it is after training; the values, (n, n_scales), are what the judge says of the
    clips of the measured part.
    """
    data, path, run = material.in_words(), folder.path, folder.run()
    rows = material.clips.rows(material.measured_part)
    predictions = judged(material.clips.take(rows), values.double().numpy(), heads.scales)
    measured = measure(predictions)
    controls = measure_controls(material.clips, rows)
    metrics = {
        "part": material.measured_part,
        "held_out": error_estimate(
            predictions,
            f"the {material.measured_part} part of {data}",
            which_clips(material.clips, rows, material.measured_part),
        ),
        **measured.to_json(),
        **measured.reasons_to_json(),
        "controls": {name: of.to_json() for name, of in controls.items()},
        "system_truth": "the means of the clips measured",
        "comparison": comparison(list(predictions.table["clip_id"]), material.source),
        **_course(material, state),
        "data_sha256": run["data"]["sha256"],
        "split": run["split"],
    }
    predictions.to_csv(path / checkpoint.PREDICTIONS_FILE)
    parts = material.clips.table[["clip_id", "split"]].assign(audio_sha256=audio_sha256(material.clips))
    write_csv(parts, path / checkpoint.SPLIT_FILE)
    folder.write(checkpoint.CURVES_FILE, draw_curves(state.log, heads.scales, state.best_epoch))
    folder.write(checkpoint.SCATTER_FILE, draw_scatter(predictions))
    name = path.absolute().name
    save_checkpoint(
        path,
        checkpoint_id=name,
        tower=material.starting.tower,
        heads=heads,
        policy=material.starting.policy,
        metrics=metrics,
        model_card=model_card(name, run, metrics, measured, data, material.caveat),
        demo=material.is_simulated,
        provenance={"data": data, "run": run},
        caveat=material.caveat,
        max_shard_size=_MAX_SHARD_SIZE,
    )


def _course(material: Material, state: FitState) -> dict[str, Any]:
    """What training came to, and what stands against using it, as ``metrics.json`` has it."""
    clips = material.clips
    learning = doubts_of_learning(state, clips.mos, clips)
    return {
        "epochs": state.epoch,
        "best_epoch": state.best_epoch,
        "learned": has_learned(state, clips.mos, clips.rows("train")),
        "doubts": [*learning, *material.check().doubts],
    }


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
                self._make_model(material, cache, limits)
        except StopAsked:
            self._report_end("stopped", "Stopped; the same command goes on from here")
            raise
        except MusicEvalError as error:
            self._report_end("failed", str(error))
            raise

    def _begin(self, material: Material) -> None:
        first = self.accelerator.is_main_process
        sha256 = self._agreed(data_sha256(material.clips) if first else "")
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

    def _make_model(self, material: Material, cache: Path | None, limits: AudioLimits) -> None:
        target, tower, seed = Target.of(material.clips), material.starting.tower, self.plan.split.seed
        heads = new_heads(tower.dim, target, seed, self.plan.recipe)
        judge: nn.Module
        examples: SoundExamples | EmbeddedExamples
        if self.plan.recipe.fine_tune:
            judge, examples = WholeJudge(tower, heads), self._sound(material, limits)
        else:
            judge, examples = HeadsAlone(heads), self._embedded(material, cache, limits)
        fit = Fit(self.accelerator, judge, examples, target, self.plan.recipe, seed)
        if saved := self.folder.read_state():
            fit.load_state_dict(saved)
        self.accelerator.wait_for_everyone()
        try:
            self._fit(fit, target.scales)
            self._report(RunProgress("measuring", "Measuring on clips that were held out"))
            values = fit.values(material.clips.rows(material.measured_part))
            if self.accelerator.is_main_process:
                write_model(self.folder, material, heads, values, fit.state)
                self.folder.end()
            learned = has_learned(fit.state, material.clips.mos, material.clips.rows("train"))
            said = "The model is ready" if learned else "Nothing was learned"
            self._report(RunProgress("done" if learned else "unlearned", said, 1.0, 0.0, fit.state.epoch, fit.epochs))
            self.accelerator.wait_for_everyone()
        finally:
            fit.release()

    def _embedded(self, material: Material, folder: Path | None, limits: AudioLimits) -> EmbeddedExamples:
        """The clips' embeddings; what is not in the cache is shared out among the processes."""
        starting, device, precision = material.starting, self.accelerator.device, self.plan.recipe.precision
        cache = EmbeddingCache(folder, starting.tower.to(device), starting.policy, precision, limits)
        paths = [Path(path) for path in material.clips.table["audio_path"]]
        mine = [paths[row] for row in self._mine(len(paths))]
        cache.audio(mine, lambda share, message: self._report(RunProgress("embedding", message, share)))
        self.accelerator.wait_for_everyone()
        return EmbeddedExamples(embed_clips(material.clips, cache), device)

    def _sound(self, material: Material, limits: AudioLimits) -> SoundExamples:
        """The clips; those that cannot be read are named before training begins."""
        self._report(RunProgress("embedding", "Looking through the clips"))
        chunk, starting = self.plan.recipe.micro_batch, material.starting
        sound = SoundExamples(material.clips, starting.tower, starting.policy, chunk, limits)
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
