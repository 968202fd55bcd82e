"""Scores rows of a manifest, some at a time: what one machine, each GPU and each worker of a cluster run.

Clips are read, checked and brought to the model's input policy in threads beside the model; windows of all
clips go through the tower together, each prompt once. A row gets the score that `core.scorer` gives its clip,
within 1e-5 in float32, whatever rows it is among. A clip that cannot be scored gives a row that says why.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.audio import AudioLimits, ClipSource, condition, read_clip
from core.embedded_clips import EmbeddedClips, clip_values
from core.embeddings import EmbeddingCache
from core.errors import AudioError, shown_name
from core.faults import find_faults
from core.file_reading import in_order
from core.many.manifest import Row
from core.many.records import Cells
from core.many.table import FAILED, OK, to_record
from core.scales import SCALES, clamp
from core.scorer import Scorer, intervals
from core.zero_shot import load_scorer

_READERS = 2  # beside a model on the same cores
_GPU_READERS = 8  # beside each GPU
_AHEAD = 2  # clips that are read ahead, for each thread

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judging:
    """How rows are scored; can be sent to another process.

    Attributes
    ----------
    model : Path or None
        Checkpoint folder; None is the embedded demo checkpoint.
    cache : Path or None
        Folder of the embeddings; None keeps none.
    precision : str
        As `core.embeddings.EmbeddingCache` takes it.
    limits : AudioLimits
    zero_shot : str or None
        A tower that judges without trained heads, in place of the model.
    """

    model: Path | None
    cache: Path | None
    precision: str
    limits: AudioLimits
    zero_shot: str | None = None

    def scorer(self) -> Scorer:
        """Load what judges, as `core.zero_shot.load_scorer` does."""
        return load_scorer(self.model, self.zero_shot, self.limits)


@dataclass(frozen=True)
class _Heard:
    """What is known of a row's clip before the model hears it; `reason` says why that is nothing."""

    sha256: str = ""
    duration_s: float | None = None
    warnings: tuple[str, ...] = ()
    kept: Tensor | None = None
    samples: NDArray[np.float32] | None = None
    reason: str = ""


def local_file(row: Row) -> Path:
    """Give the path of a row's clip.

    Raises
    ------
    AudioError
        The row names no file.
    """
    if row.path is None:
        raise AudioError("The row names no file. Fill in the column file.")
    return row.path


class RowScorer:
    """Scores rows on one device.

    Parameters
    ----------
    scorer : Scorer
        Its tower moves to the device.
    judging : Judging
    device : str
        As torch names it, such as ``cuda:1``.
    fetch : callable
        From a row to its clip, as `core.audio.read_clip` takes it; raises AudioError, and runs in a thread.

    Raises
    ------
    DataError
        There is no such precision.
    """

    def __init__(
        self, scorer: Scorer, judging: Judging, device: str, fetch: Callable[[Row], ClipSource] = local_file
    ) -> None:
        tower, policy = scorer.checkpoint.tower.to(device), scorer.checkpoint.policy
        self._cache = EmbeddingCache(judging.cache, tower, policy, judging.precision, judging.limits)
        self._readers = _READERS if device == "cpu" else _GPU_READERS
        self._scorer, self._fetch = scorer, fetch

    def score(self, rows: Sequence[Row]) -> list[Cells]:
        """Score rows.

        Returns
        -------
        list of dict
            One record (`core.many.table`) for each row, in order.
        """
        heard, embeddings = self._hear(rows)
        judged = [(row, clip) for row, clip in zip(rows, heard, strict=True) if not clip.reason]
        audio = [embeddings[clip.sha256] for _, clip in judged]
        values = iter(self._values(audio, [row.prompt for row, _ in judged]) if judged else ())
        checkpoint = self._scorer.checkpoint
        return [
            to_record(
                row,
                model=checkpoint.id,
                model_sha256=checkpoint.sha256,
                status=FAILED if clip.reason else OK,
                reason=clip.reason,
                **({} if clip.reason else self._cells(row, clip, next(values))),
            )
            for row, clip in zip(rows, heard, strict=True)
        ]

    def _hear(self, rows: Sequence[Row]) -> tuple[list[_Heard], dict[str, Tensor]]:
        """What is known of each row's clip, and the embeddings of the clips by SHA-256."""
        heard: list[_Heard] = []
        embeddings: dict[str, Tensor] = {}

        def new() -> Iterator[tuple[str, NDArray[np.float32]]]:
            asked = set()
            with ThreadPoolExecutor(self._readers) as threads:
                for clip in in_order(threads, self._read, rows, _AHEAD * self._readers):
                    heard.append(replace(clip, kept=None, samples=None))
                    if clip.kept is not None:
                        embeddings[clip.sha256] = clip.kept
                    elif clip.samples is not None and clip.sha256 not in asked:
                        asked.add(clip.sha256)
                        yield clip.sha256, clip.samples

        computed = dict(self._cache.stream(new()))
        return heard, {**embeddings, **computed}

    def _read(self, row: Row) -> _Heard:
        """Runs in a thread."""
        try:
            clip = read_clip(self._fetch(row), self._scorer.limits)
            warnings = tuple(warning.code for warning in find_faults(clip))
            kept = self._cache.find(clip.sha256)
            policy = self._scorer.checkpoint.policy
            samples = None if kept is not None else condition(clip.samples, clip.sample_rate_hz, policy)
            return _Heard(clip.sha256, clip.duration_s, warnings, kept, samples)
        except AudioError as error:
            return _Heard(reason=str(error))
        except Exception as error:  # a fault of ours in one clip of a million must not end the run
            logger.exception("%s cannot be scored", row.file)
            name = shown_name(Path(row.file).name)
            return _Heard(reason=f"{name} cannot be scored: {type(error).__name__}, a fault of this program.")

    def _values(self, audio: Sequence[Tensor], prompts: Sequence[str]) -> NDArray[np.float64]:
        """Both values of each clip, (n_clips, 2), not clamped."""
        owner = torch.repeat_interleave(torch.tensor([len(windows) for windows in audio]))
        clips = EmbeddedClips(torch.cat(list(audio)), owner, self._cache.text(prompts))
        return clip_values(self._scorer.checkpoint.heads, clips)

    def _cells(self, row: Row, clip: _Heard, values: NDArray[np.float64]) -> Cells:
        scores = [clamp(float(value)) for value in values]
        held_out = self._scorer.checkpoint.held_out
        around = intervals(scores, held_out)
        bounds = {scale: getattr(around, scale) if around else (None, None) for scale in SCALES}
        of_model = [warning.code for warning in self._scorer.model_warnings()]
        of_prompt = [warning.code for warning in self._scorer.prompt_warnings(row.prompt)]
        return {
            **dict(zip(SCALES, scores, strict=True)),
            **{f"{scale}_low": low for scale, (low, _) in bounds.items()},
            **{f"{scale}_high": high for scale, (_, high) in bounds.items()},
            "interval_level": around.level if around else None,
            "duration_s": clip.duration_s,
            "sha256": clip.sha256,
            "warnings": ";".join([*of_model, *clip.warnings, *of_prompt]),
        }
