"""What a plan names, read; and the model that was made of it, measured and written."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import core
from core import model_files
from core.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from core.controls import PROMPT, Controls, measure_controls
from core.evaluation import Predictions, comparison, error_estimate, judged, measure
from core.heads import Heads
from core.musiceval import is_published, is_simulated, read_source
from core.prompts import as_read_by
from core.rated_clips import RatedClips, audio_sha256, data_sha256, write_csv
from core.scales import Scales, keys
from core.splits import SPLITS, split_clips
from core.towers import StartingTower, load_tower, tower_sha256
from core.training.check import (
    DataCheck,
    check_data,
    doubts_of_learning,
    has_learned,
    learnable,
    measured_part,
    which_clips,
)
from core.training.folder import RunFolder
from core.training.lessons import Lessons
from core.training.loop import FitState
from core.training.moving import LEAST_CLIPS, Change, as_json, can_carry, in_words, recipe_of, refusals
from core.training.pairs import PairTable, read_pairs
from core.training.pairs import as_read_by as pairs_as_read_by
from core.training.recipe import CROSS_VALIDATED, TrainingPlan
from core.training.report import draw_curves, draw_scatter, model_card

_MAX_SHARD_SIZE = "2GB"
_PACKAGES = ("torch", "accelerate", "laion_clap", "librosa", "soxr", "numpy")


@dataclass(frozen=True)
class Material:
    """What a plan names, read: clips as the data has them, and in the parts of the split; and the tower."""

    plan: TrainingPlan
    source: RatedClips
    clips: RatedClips
    starting: StartingTower
    is_simulated: bool
    others: tuple[tuple[str, RatedClips], ...]  # by name
    pairs: tuple[PairTable, ...]
    lessons: Lessons
    judge: Checkpoint | None = None  # whose heads are moved

    @classmethod
    def read(cls, plan: TrainingPlan) -> Self:
        """Read it; a DataError or CheckpointError says what cannot be used."""
        source = read_source(plan.data)
        if plan.judge:
            return cls._of_judge(plan, source, load_checkpoint(plan.judge))
        clips = split_clips(source, plan.split)
        more = [(path.absolute().name, read_source(path)) for path in plan.more_data]
        tables = [read_pairs(path) for path in plan.pairs]
        simulated = any(map(is_simulated, (plan.data, *plan.more_data)))
        starting = load_tower(plan.tower)
        clips = learnable(as_read_by(clips, starting.tower))
        others = tuple((name, as_read_by(of, starting.tower)) for name, of in more)
        pairs = tuple(pairs_as_read_by(table, starting.tower) for table in tables)
        lessons = Lessons.of(clips, others, pairs, plan.weights)
        return cls(plan, source, clips, starting, simulated, others, pairs, lessons)

    @classmethod
    def _of_judge(cls, plan: TrainingPlan, source: RatedClips, judge: Checkpoint) -> Self:
        """What moves a judge: all clips teach, and its own heads say how."""
        clips, tower = source.with_parts(["train"] * len(source)), judge.tower
        clips = learnable(as_read_by(clips, tower), LEAST_CLIPS)
        plan = replace(plan, recipe=recipe_of(judge.heads), tower=tower.name)
        starting = StartingTower(tower.name, tower, judge.policy, tower_sha256(tower), judge.caveat)
        return cls(plan, source, clips, starting, is_simulated(plan.data), (), (), Lessons.of(clips), judge)

    @property
    def measured_part(self) -> str:
        """The test part; where there is none, the dev part. A judge that is moved is cross-validated."""
        return CROSS_VALIDATED if self.judge else measured_part(self.clips)

    @property
    def measured_rows(self) -> list[int]:
        """The clips of the measured part."""
        return [*range(len(self.clips))] if self.judge else self.clips.rows(self.measured_part)

    def measured_in_words(self) -> tuple[str, str]:
        """Return what was measured on, and which clips these are."""
        if self.judge:
            return self.in_words(), "clips, each by a judge that was moved without it"
        part = self.measured_part
        return f"the {part} part of {self.in_words()}", which_clips(self.clips, self.measured_rows, part)

    def check(self) -> DataCheck:
        """Say what stands against training on it; a DataError for what forbids it."""
        if self.judge:
            scales = self.judge.scales
            about = [*self.clips.notes, *self.clips.about_unread(self.clips.scales), *self.clips.same_audio()]
            DataCheck(tuple(refusals(self.clips, scales)), ()).stop_if_refused()
            return DataCheck((), (*can_carry(self.clips, scales), *about))
        found = check_data(self.clips, self.plan.recipe)
        found.stop_if_refused()
        notes = [
            note
            for _, clips in self.others
            for note in (*clips.notes, *clips.about_unread(clips.scales), *clips.same_audio())
        ]
        return replace(found, doubts=(*found.doubts, *notes, *self.lessons.notes))

    def lessons_of(self, clips: RatedClips) -> Lessons:
        """Return what is learned where the clips have other parts."""
        return Lessons.of(clips, self.others, self.pairs, self.plan.weights)

    @property
    def everything(self) -> Lessons:
        """All that anything can be learned from: nothing is held out."""
        return self.lessons_of(self.clips.with_parts(["train"] * len(self.clips)))

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

    def taught_in_words(self) -> str:
        """Return all that it learns from."""
        more = [f"the rated clips {name}" for name, _ in self.others]
        more += [f"the pairs {table.name}" for table in self.pairs]
        return " and ".join([", ".join([self.in_words(), *more[:-1]]), *more[-1:]])

    def describe(self, sha256: str) -> dict[str, Any]:
        """Return the plan as ``run.json`` has it: with what it names, and the programs that run it."""
        clips = self.clips
        data = {
            "name": self.plan.data.absolute().name,
            "sha256": sha256,
            "clips": len(clips),
            "systems": clips.n_systems,
            "scales": keys(clips.scales),
            "parts": {part: len(clips.rows(part)) for part in SPLITS},
            "simulated": self.is_simulated,
            "published": is_published(self.source),
        }
        weights = self.plan.weights[1:] or (1.0,) * len(self.others)
        more = [
            {"name": name, "sha256": data_sha256(of), "clips": len(of), "scales": keys(of.scales), "weight": weight}
            for (name, of), weight in zip(self.others, weights, strict=True)
        ]
        pairs = [{"name": of.name, "sha256": of.sha256, "pairs": len(of.pairs)} for of in self.pairs]
        tower = {"name": self.starting.name, "sha256": self.starting.sha256}
        versions = {package: version(package) for package in _PACKAGES}
        return {
            **self.plan.to_json(),
            "precision": self.plan.recipe.precision,
            "data": data,
            "more_data": more,
            "pairs": pairs,
            "judge": self.judge and {"id": self.judge.id, "sha256": self.judge.sha256},
            "tower": tower,
            "versions": {"musiceval": core.__version__, **versions, "python": platform.python_version()},
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def write_model(
    folder: RunFolder,
    material: Material,
    heads: Heads,
    values: Tensor,
    state: FitState,
    cosine: NDArray[np.float64] | None,
    elsewhere: Sequence[Mapping[str, Any]] = (),
    moved: Mapping[str, Change] | None = None,
    estimate: Mapping[str, Any] | None = None,
    blind: NDArray[np.float64] | None = None,
) -> None:
    """Measure a trained judge and write everything that its folder has, ``config.json`` last.

    The material's tower is as it is after training; the values, (n, n_scales), are what the judge says of the
    clips of the measured part; `cosine` is that of all clips where the tower was not trained, and `elsewhere` what
    was learned of how further sources rate, and `moved` what was gained by moving a judge. Ranges come from the
    `estimate`; without one from the measured part. `blind`, (n, n_scales), is what heads say that learned from prompts.
    """
    path, run, rows = folder.path, folder.run(), material.measured_rows
    predictions = judged(material.clips.take(rows), values.double().numpy(), heads.scales)
    measured = measure(predictions)
    controls = Controls()
    if not material.judge:
        controls = measure_controls(material.clips, rows, None if cosine is None else cosine[rows])
    if blind is not None:
        said = measure(judged(material.clips.take(rows), blind[rows], heads.scales), resamples=0)
        controls = replace(controls, measured={**controls.measured, PROMPT: said})
    metrics = {
        "part": material.measured_part,
        "held_out": estimate or error_estimate(predictions, *material.measured_in_words()),
        **measured.to_json(),
        **measured.reasons_to_json(),
        **controls.to_json(),
        "system_truth": "the means of the clips measured",
        "comparison": comparison(list(predictions.table["clip_id"]), material.source),
        **_course(material, state, moved),
        "elsewhere": list(elsewhere),
        "moved": as_json(moved) if moved else None,
        "data_sha256": run["data"]["sha256"],
        "split": run["split"],
    }
    _write_tables_and_figures(folder, material, predictions, heads.scales, state)
    name = path.absolute().name
    save_checkpoint(
        path,
        checkpoint_id=name,
        tower=material.starting.tower,
        heads=heads,
        policy=material.starting.policy,
        metrics=metrics,
        model_card=model_card(name, run, metrics, measured, material.in_words(), material.caveat),
        demo=material.is_simulated,
        provenance={"data": material.taught_in_words(), "run": run},
        caveat=material.caveat,
        max_shard_size=_MAX_SHARD_SIZE,
    )


def _write_tables_and_figures(
    folder: RunFolder, material: Material, predictions: Predictions, scales: Scales, state: FitState
) -> None:
    predictions.to_csv(folder.path / model_files.PREDICTIONS_FILE)
    parts = material.clips.table[["clip_id", "split"]].assign(audio_sha256=audio_sha256(material.clips))
    write_csv(parts, folder.path / model_files.SPLIT_FILE)
    folder.write(model_files.CURVES_FILE, draw_curves(state.log, scales, state.best_epoch))
    folder.write(model_files.SCATTER_FILE, draw_scatter(predictions))


def _course(material: Material, state: FitState, moved: Mapping[str, Change] | None) -> dict[str, Any]:
    """What training came to, and what stands against using it, as ``metrics.json`` has it."""
    clips, doubts = material.clips, material.check().doubts
    epochs = {"epochs": state.epoch, "best_epoch": state.best_epoch}
    if moved:
        said = in_words(clips.scales, moved)
        return {**epochs, "learned": any(change.beats for change in moved.values()), "doubts": [*said, *doubts]}
    learning = doubts_of_learning(state, clips.mos, clips)
    learned = has_learned(state, clips.mos, clips.rows("train"))
    return {**epochs, "learned": learned, "doubts": [*learning, *doubts]}
