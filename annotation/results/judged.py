"""The judge beside the panel: it scores a study's rated clips, and its scores are set against the ratings.

What was predicted is measured and drawn as everywhere else (`core.evaluation`). It takes a model, so nothing of it is
computed unasked; embeddings that are kept make the second time cheap.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sqlalchemy import exists, select

from annotation.database import Database
from annotation.export import rated_clips
from annotation.results import Table, number
from annotation.schema import Clip, Study
from annotation.studies import find_study
from core.errors import StudyError, counted
from core.files import first_of
from core.rated_clips import RatedClips
from core.scales import Scale, Scales, keys
from core.settings import Settings, pick_device

if TYPE_CHECKING:
    from core.evaluation import Measured, Predictions
    from core.metrics import Agreement
    from core.scorer import Scorer

MOST_SHOWN = 20  # clips, where the table is printed
_PROMPT_CHARACTERS = 60
_OVER = {"utterance": "clips", "system": "systems"}

Report = Callable[[int, int], None]  # how many are done, of how many


@dataclass(frozen=True)
class LoadedJudge:
    """What scores, and the folder that it was loaded from."""

    scorer: "Scorer"
    folder: Path

    @classmethod
    def load(cls, folder: Path | None, settings: Settings) -> "LoadedJudge":
        """Load a model of a folder; without one, that of the settings, or the one that comes with MusicEval."""
        from core.model_files import EMBEDDED_JUDGE
        from core.scorer import Scorer  # late: it brings the models' libraries

        chosen = folder or settings.model or EMBEDDED_JUDGE
        device = pick_device(settings.device)
        return cls(Scorer.load(chosen, settings.limits, device, cache=settings.cache), chosen)


@dataclass(frozen=True)
class JudgedPanel:
    """What a judge says of a study's rated clips, beside what the panel said."""

    study: str
    judge: str
    predictions: "Predictions"
    files: Mapping[str, str]  # what each clip was called before it was normalised
    prompts: Mapping[str, str]
    notes: tuple[str, ...]  # what is to be known of the judge, and of clips that are left out

    @property
    def scales(self) -> Scales:
        """Those that the study was rated on and the judge predicts."""
        return self.predictions.scales

    @property
    def title(self) -> str:
        """What stands above it."""
        return f"The judge {self.judge} beside the panel of {self.study}"

    @cached_property
    def measured(self) -> "Measured":
        """How well they agree."""
        from core.evaluation import measure

        return measure(self.predictions)

    @property
    def sentences(self) -> list[str]:
        """The notes, then what is not measured, and why."""
        return [*self.notes, *self.measured.why_not()]

    @property
    def agreement_table(self) -> Table:
        """How well they agree on each scale, over clips and over systems."""
        rows = [
            (scale.title, f"{found.n} {_OVER[level]}", _figure(found, "srcc"), _figure(found, "mse"))
            for scale in self.scales
            for level in _OVER
            if (found := self.measured.agreement.get((level, scale.key))) is not None
        ]
        heads = ("Scale", "Over", "SRCC [95 % interval]", "MSE [95 % interval]")
        return Table("Predicted against rated", heads, rows, "There are too few clips to measure anything.")

    @cached_property
    def clips(self) -> pd.DataFrame:
        """A row a clip, those first on which judge and panel disagree most on any scale; the last column names it."""
        from core.evaluation import predicted

        found = self.predictions.table
        columns = {
            "File": found["clip_id"].map(self.files),
            "System": found["system_id"],
            "Prompt": found["clip_id"].map(self.prompts),
        }
        apart = {scale.key: found[predicted(scale.key)] - found[scale.key] for scale in self.scales}
        for scale in self.scales:
            columns |= {
                f"{scale.short} rated": found[scale.key].round(2),
                f"{scale.short} predicted": found[predicted(scale.key)].round(2),
                f"{scale.short} difference": apart[scale.key].round(2),
            }
        most = pd.DataFrame(apart).abs().max(axis=1)
        order = most.sort_values(ascending=False, kind="stable", na_position="last").index
        return pd.DataFrame(columns | {"Clip": found["clip_id"]}).loc[order].reset_index(drop=True)

    @property
    def disagreement_table(self) -> Table:
        """The clips on which they disagree most."""
        shown = self.clips.head(MOST_SHOWN)
        shown = shown.assign(
            Prompt=[shorten(prompt, _PROMPT_CHARACTERS, placeholder=" …") for prompt in shown["Prompt"]]
        )
        rows = [[number(cell) if isinstance(cell, float) else cell for cell in row] for row in shown.to_numpy(object)]
        return Table("Clips on which judge and panel disagree most: predicted less rated", list(shown.columns), rows)

    @property
    def scatter(self) -> str:
        """Draw predicted against rated scores as SVG: a point for each clip, a ring for each system's mean."""
        from core.training.report import draw_scatter

        return draw_scatter(self.predictions)

    def to_json(self) -> dict[str, Any]:
        """Return all figures by level and scale, and the clips in the order of `clips`; null for no figure."""
        return {
            "study": self.study,
            "judge": self.judge,
            "agreement": self.measured.to_json(),
            **self.measured.reasons_to_json(),
            "doubts": list(self.notes),
            "clips": list(self._clips_to_json()),
        }

    def _clips_to_json(self) -> Iterator[dict[str, Any]]:
        from core.evaluation import predicted

        found = self.predictions.table.set_index("clip_id")
        for clip in self.clips["Clip"]:
            row = found.loc[clip]
            scores = {
                scale.key: {"rated": _or_null(row[scale.key]), "predicted": _or_null(row[predicted(scale.key)])}
                for scale in self.scales
            }
            of_clip = {"file": self.files[clip], "system": row["system_id"], "prompt": self.prompts[clip]}
            yield {"clip": clip, **of_clip, "scores": scores}

    def text(self) -> str:
        """Lay it out for a terminal."""
        tables = (self.agreement_table.captioned(), self.disagreement_table.captioned())
        return "\n\n".join([self.title, *tables, "\n".join(self.sentences)])


def judge_beside_panel(
    database: Database, data: Path, study_name: str, judge: LoadedJudge, report: Report | None = None
) -> JudgedPanel:
    """Let a judge score the clips of a study that have valid ratings, and set its scores beside them.

    StudyError where there are no such clips, none has its audio, or the judge predicts none of the study's scales.
    """
    from core.evaluation import Predictions

    checkpoint = judge.scorer.checkpoint
    study, known = _read_study(database, study_name)
    if not set(keys(study.scales)) & set(keys(checkpoint.scales)):
        raise StudyError(
            f"The judge {checkpoint.id} predicts {_titles(checkpoint.scales)}, and the study was rated on "
            f"{_titles(study.scales)}: there is nothing to compare. Train a judge from this study."
        )
    clips, missing = rated_clips(database, data.resolve(), study_name)
    files, prompts = known["file"].to_dict(), dict(zip(clips.table["clip_id"], clips.table["prompt"], strict=True))
    values, unscored = _score(judge.scorer, clips, files, report)
    predictions = Predictions.of(clips, values, checkpoint.scales)
    notes = [
        *(["The ratings of this study are not those of experts."] if study.demo else []),
        *(warning.message for warning in judge.scorer.model_warnings()),
        _learned(judge.folder, known.loc[clips.table["clip_id"]]),
        *_left_out([files[clip] for clip in missing], unscored, predictions),
    ]
    return JudgedPanel(study.name, checkpoint.id, predictions, files, prompts, tuple(notes))


def _read_study(database: Database, study_name: str) -> tuple[Study, pd.DataFrame]:
    """Return a study, and of its clips what they were called and the hashes of their files."""
    with database.read() as session:
        study = find_study(session, study_name)
        heard = exists().where(Clip.study_id == study.id, Clip.duration_s.is_not(None))
        if study.imported is not None and not session.scalar(select(heard)):
            raise StudyError("The ratings of this study came without audio: there is nothing that a judge could hear.")
        query = select(Clip.name, Clip.source_file, Clip.wav_sha256, Clip.source_sha256)
        rows = session.execute(query.where(Clip.study_id == study.id)).all()
    return study, pd.DataFrame(rows, columns=["clip", "file", "wav", "source"]).set_index("clip")


def _score(
    scorer: "Scorer", clips: RatedClips, files: Mapping[str, str], report: Report | None
) -> tuple[NDArray[np.float64], list[str]]:
    """Return scores, (n_clips, n_scales), NaN where there is none; and why clips have no score at all."""
    from core.scorer import Item
    from core.scores import Unscored

    scales = keys(scorer.checkpoint.scales)
    values = np.full((len(clips), len(scales)), np.nan)
    unscored: list[str] = []
    items = [
        Item(Path(row["audio_path"]), row["prompt"], files[row["clip_id"]]) for row in clips.table.to_dict("records")
    ]
    for n, (item, score) in enumerate(zip(items, scorer.score_many(items), strict=True)):
        if isinstance(score, Unscored):
            unscored.append(f"{item.name} ({score.reason})")
        else:
            values[n] = [np.nan if score.values[key] is None else score.values[key] for key in scales]
        if report:
            report(n + 1, len(items))
    return values, unscored


def _left_out(missing: Sequence[str], unscored: Sequence[str], predictions: "Predictions") -> Iterator[str]:
    if missing:
        what = counted(len(missing), "clip")
        yield f"Left out, as their audio is missing or is not what raters heard: {what}, {first_of(missing)}."
    if unscored:
        yield f"The judge cannot score {counted(len(unscored), 'clip')}: {first_of(unscored)}."
    scored = max(len(predictions.on(scale)) for scale in predictions.scales)
    for scale in predictions.scales:
        if unread := scored - len(predictions.on(scale)):
            yield f"{scale.title} leaves out {counted(unread, 'clip')} with a prompt that the judge cannot read."


def _learned(folder: Path, hashes: pd.DataFrame) -> str:
    """Say how many of the clips the judge learned from, as far as its folder tells."""
    from core.model_files import SPLIT_FILE

    try:
        split = pd.read_csv(folder / SPLIT_FILE, encoding="utf-8-sig", dtype=str)
        learned = set(split.loc[split["split"] != "test", "audio_sha256"])
    except (OSError, ValueError, KeyError):
        return "Whether the judge learned from clips of this study is not known: its folder does not name its clips."
    count = int((hashes["wav"].isin(learned) | hashes["source"].isin(learned)).sum())
    if count:
        return f"The judge learned from {count} of these {counted(len(hashes), 'clip')}: on them this is no test of it."
    return "The judge learned from none of these files; the same music in other files cannot be told."


def _titles(scales: Iterable[Scale]) -> str:
    return " and ".join(scale.title.lower() for scale in scales)


def _or_null(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _figure(found: "Agreement", metric: str) -> str:
    if metric not in found.figures:
        return number(None)
    ends = found.intervals.get(metric)
    return number(found.figures[metric]) + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else "")
