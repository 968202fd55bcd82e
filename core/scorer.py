"""Clips and prompts in, scores out: the one path of page, API, tool, command line and batches.

`Scorer.score_many` takes any number of clips; a single clip is a list of one (`Scorer.score`). Clips are
read, checked and brought to the checkpoint's input policy ahead of the tower (`core.windows`); windows of several
clips go through it together, each prompt once. A clip of which the judge would hear nothing gets no score
(`core.errors.SilenceError`). The heads say what the clip is worth, and each of its windows alone (`core.heads`:
for those of the paper the former is the mean of the latter, by what each window adds); then values are clamped
to 1 to 5. The interval around a value is the checkpoint's held-out error, wider where its heads are less sure.

Scoring draws no random number and may run in several threads. A clip gets the same score alone and in any
company, within 1e-6 in float32.
"""

import collections
import functools
import itertools
import logging
import platform
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

import core
from core.audio import AudioLimits, Clip, ClipSource
from core.checkpoint import Checkpoint, load_checkpoint
from core.embeddings import Asked, EmbeddingCache
from core.errors import AudioError, MusicEvalError, shown_name
from core.feed import Progress
from core.heads import EmbeddedClips
from core.model_files import EMBEDDED_JUDGE
from core.prepared import Prepared
from core.prompts import UNREADABLE, prompt_warnings
from core.ranges import bounded
from core.readers import Readers
from core.scales import clamp, keys
from core.scores import ErrorEstimate, Intervals, PreferenceRank, Provenance, Score, Unscored, WindowScore
from core.warnings import ScoreWarning
from core.windows import Feed

if TYPE_CHECKING:
    from core.preference import Preference

MAX_KEPT_PROMPT_CHARACTERS = 1_000  # of a prompt in the provenance
AT_ONCE = 32  # clips whose embeddings are held together: memory stays flat however many there are

_MOST_ITEMS = 1_000  # that ask for them
_PACKAGES = ("torch", "laion_clap", "librosa", "soxr", "numpy")
_ZERO_SHOT = (
    "These scores are zero-shot: CLAP's own similarities, put on the scale of 1 to 5 and calibrated by no "
    "rating. Use them to put clips in a rough order, not as the scores of experts."
)

_NO_SAMPLES = np.zeros(0, np.float32)
_Heard = tuple[Prepared, Tensor] | Unscored  # a clip, without its samples, and its embeddings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """A clip to score.

    Attributes
    ----------
    clip : Clip, or whatever `core.audio.read_clip` takes, or a function that returns that
        A function is called when the clip's turn comes, in a thread; it may raise AudioError. What is equal is
        read once.
    prompt : str
        What the music was asked to be; may be empty.
    name : str
        What messages call it.
    """

    clip: "Clip | ClipSource | Callable[[], ClipSource]"
    prompt: str
    name: str = "The clip"

    @property
    def key(self) -> Hashable:
        """What items have in common that ask for one clip."""
        is_known = isinstance(self.clip, str | Path | bytes) or callable(self.clip)
        return self.clip if is_known else id(self.clip)


class Scorer:
    """Scores clips with one checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
    limits : AudioLimits, optional
        What clips may be.
    device : torch.device or str, optional
        Where the tower goes; by default it stays where it is.
    cache : Path, optional
        Folder in which embeddings are kept; without one none are.
    precision : str
        Of the tower: ``float32``, or ``bfloat16``, which is faster and moves scores by less than 0.1.
    preference : Preference, optional
        What ranks clips among reference clips, beside the checkpoint's scores.
    readers : Readers, optional
        Processes in which clips are read; without them they are read here, in threads.

    Raises
    ------
    DataError
        There is no such precision.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        limits: AudioLimits | None = None,
        device: torch.device | str | None = None,
        cache: Path | None = None,
        precision: str = "float32",
        preference: "Preference | None" = None,
        readers: Readers | None = None,
    ) -> None:
        self.preference, self.readers = preference, readers
        self.checkpoint, self.limits, self.precision = checkpoint, limits or AudioLimits(), precision
        if device is not None:
            checkpoint.tower.to(device)
        tower, policy, heads = checkpoint.tower, checkpoint.policy, checkpoint.heads
        self._cache = EmbeddingCache(cache, tower, policy, precision, self.limits, Asked.by(heads))

    def expect(self, n_clips: int) -> None:
        """Say how many clips are to be scored, before the first."""
        self._cache.expect(n_clips)

    @property
    def batch(self) -> int:
        """Windows that go through the tower together."""
        return self._cache.batch

    @classmethod
    def load(
        cls,
        folder: Path | str | None = None,
        limits: AudioLimits | None = None,
        device: torch.device | str | None = None,
        cache: Path | None = None,
        precision: str = "float32",
        readers: Readers | None = None,
    ) -> "Scorer":
        """Make a scorer from a checkpoint folder; without one, from the embedded judge.

        Raises
        ------
        CheckpointError
            The folder holds no checkpoint, or a damaged one.
        DataError
            There is no such precision.
        """
        checkpoint = load_checkpoint(EMBEDDED_JUDGE if folder is None else Path(folder))
        return cls(checkpoint, limits, device, cache, precision, readers=readers)

    def score(self, clip: Clip | ClipSource, prompt: str, progress: Progress | None = None) -> Score:
        """Score a clip against its prompt.

        Parameters
        ----------
        clip : Clip, or whatever `core.audio.read_clip` takes
        prompt : str
            What the music was asked to be. Empty is allowed: then textual alignment means nothing, and a
            warning says so.
        progress : callable, optional
            Called with the share done (0 to 1) and what is being done.

        Raises
        ------
        AudioError
            If the clip cannot be scored; SilenceError, one of its kind, if the judge would hear nothing of it.
        """
        report = progress or (lambda *_: None)
        report(0.0, "Reading the clip")
        [result] = self.score_many([Item(clip, prompt)], report)
        if isinstance(result, Unscored):
            raise result.error
        report(1.0, "Done")
        return result

    def score_many(self, items: Iterable[Item], progress: Progress | None = None) -> Iterator[Score | Unscored]:
        """Score clips, in order; of one that cannot be scored the reason stands in its place.

        Items may be endless: `AT_ONCE` of them, and those that are read ahead, are held at a time. `progress` is called
        before each window, with the share of its clip that is done.
        """
        asked = collections.deque[tuple[list[Item], dict[Hashable, Item]]]()

        def distinct() -> Iterator[Item]:
            for some in _portions(items):
                asked.append((some, {item.key: item for item in some}))
                yield from asked[-1][1].values()

        heard = self._hear(distinct(), progress)
        for first in heard:
            some, by_key = asked.popleft()
            clips = itertools.chain([first], itertools.islice(heard, len(by_key) - 1))
            yield from self._score(some, dict(zip(by_key, clips, strict=True)))

    def model_warnings(self) -> list[ScoreWarning]:
        """Return what to know of the model, whatever it scores."""
        checkpoint = self.checkpoint
        warnings = [] if checkpoint.error_estimate else [ScoreWarning("zero_shot", _ZERO_SHOT)]
        if checkpoint.error_estimate and checkpoint.error_estimate.no_range:
            message = f"These scores have no range: {checkpoint.error_estimate.no_range}"
            warnings.append(ScoreWarning("no_range", message))
        elif checkpoint.error_estimate:
            known = checkpoint.error_estimate.absolute_error
            for scale in checkpoint.scales:
                if scale.key not in known:
                    message = f"{scale.title} has no range: none, or too few, of the clips held out have a score on it."
                    warnings.append(ScoreWarning("no_range", message))
        if self.preference and self.preference.why_none:
            warnings.append(ScoreWarning("no_references", self.preference.why_none))
        if checkpoint.caveat:
            name = "the demo model" if checkpoint.is_embedded else f"the model {checkpoint.id}"
            message = (
                f"These scores come from {name} ({checkpoint.caveat}): use them to look around, not to report results."
            )
            warnings.append(ScoreWarning("demo_model", message))
        return warnings

    def _score(self, items: Sequence[Item], clips: Mapping[Hashable, "_Heard"]) -> Iterator[Score | Unscored]:
        heard = [clips[item.key] for item in items]
        known = [clip for clip in heard if not isinstance(clip, Unscored)]
        prompts = [_writable(item.prompt) for item in items if not isinstance(clips[item.key], Unscored)]
        asked = zip((clip for clip, _ in known), prompts, strict=True)
        scores = self._judge(list(asked), [rows for _, rows in known]) if known else iter(())
        return (clip if isinstance(clip, Unscored) else next(scores) for clip in heard)

    def _hear(self, items: Iterable[Item], progress: Progress | None) -> Iterator["_Heard"]:
        """The clip of each item, in order."""
        checkpoint = self.checkpoint
        device, known = checkpoint.tower.device, lambda _, clip: self._cache.find(clip.kept_as)
        feed = Feed(checkpoint.policy, self.limits, self.readers, device, known)
        for heard, rows in self._cache.stream(feed.clips(items, _source), progress):
            if isinstance(rows, Exception):
                yield _unscored(heard.given, rows)
            else:
                yield replace(heard.clip(), samples=_NO_SAMPLES), rows

    def _judge(self, known: Sequence[tuple[Prepared, str]], rows: Sequence[Tensor]) -> Iterator[Score]:
        clips = self._cache.together(rows, [prompt for _, prompt in known])
        with torch.inference_mode():
            of_clips = self.checkpoint.heads.judge(clips)
            of_windows = self.checkpoint.heads.judge(clips.by_window())
            errors = self._errors(clips)
        of_passes = of_windows.reshape(-1, self.checkpoint.policy.passes, len(self.checkpoint.scales)).mean(dim=1)
        courses = torch.split(of_passes, [len(clip.times) for clip, _ in known])
        ranks = self.preference.rank(clips) if self.preference else [None] * len(clips)
        strange = [_strangeness(self.checkpoint.tower.resembles(of)) for of in clips.windows()]
        for (clip, prompt), *found in zip(known, of_clips, errors, courses, ranks, strange, strict=True):
            yield self._assemble(clip, prompt, *found)

    def _errors(self, clips: EmbeddedClips) -> list[dict[str, float]]:
        """How far the values of each clip may be from the panel's, by scale, where that is known."""
        known = self.checkpoint.error_estimate
        if known is None or not known.error_per_spread:
            return [dict(known.absolute_error) if known else {}] * len(clips)
        spread = self.checkpoint.heads.spread(clips)
        assert spread is not None
        scales = keys(self.checkpoint.scales)
        return [
            {
                scale: known.error_per_spread[scale] * of
                for scale, of in zip(scales, row, strict=True)
                if scale in known.error_per_spread
            }
            for row in bounded(spread.cpu().numpy()).tolist()
        ]

    def _assemble(
        self,
        clip: Prepared,
        prompt: str,
        of_clip: Tensor,
        errors: Mapping[str, float],
        course: Tensor,
        rank: PreferenceRank | None,
        strange: list[ScoreWarning],
    ) -> Score:
        checkpoint = self.checkpoint
        said = prompt_warnings(prompt, checkpoint.tower)
        unreadable = next((warning.message for warning in said if warning.code in UNREADABLE), "")
        missing = {scale.key: unreadable for scale in checkpoint.scales if scale.needs_prompt and unreadable}
        values = self._by_scale(of_clip, missing)
        return Score(
            checkpoint.scales,
            values,
            missing,
            _intervals(values, errors, checkpoint.error_estimate),
            tuple(
                WindowScore(*span, self._by_scale(row, missing)) for span, row in zip(clip.times, course, strict=True)
            ),
            (*self.model_warnings(), *strange, *clip.faults, *said),
            Provenance(
                checkpoint.facts,
                clip.facts,
                prompt[:MAX_KEPT_PROMPT_CHARACTERS],
                len(prompt),
                checkpoint.policy.window_policy,
                checkpoint.policy,
                checkpoint.error_estimate,
                dict(_versions()),
            ),
            clip.outline,
            rank,
        )

    def _by_scale(self, values: Tensor, missing: Mapping[str, str]) -> dict[str, float | None]:
        by_scale = zip(keys(self.checkpoint.scales), map(clamp, values.tolist()), strict=True)
        return {scale: None if scale in missing else value for scale, value in by_scale}


def _portions(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Items that ask for at most `AT_ONCE` clips."""
    some: list[Item] = []
    keys: set[Hashable] = set()
    for item in items:
        some.append(item)
        keys.add(item.key)
        if len(keys) == AT_ONCE or len(some) == _MOST_ITEMS:
            yield some
            some, keys = [], set()
    if some:
        yield some


def _source(item: Item) -> Clip | ClipSource:
    return item.clip() if callable(item.clip) else item.clip


def _unscored(item: Item, error: Exception) -> Unscored:
    if isinstance(error, AudioError):
        return Unscored(str(error), error)
    if isinstance(error, MusicEvalError):
        raise error
    logger.error("%s cannot be scored", item.name, exc_info=error)  # a fault of ours must not end a run of a million
    what = f"{type(error).__name__}, a fault of this program"
    return Unscored(f"{shown_name(item.name)} cannot be scored: {what}.", error)


def _strangeness(resembled: str) -> list[ScoreWarning]:
    if not resembled:
        return []
    what = f"This clip sounds more like {resembled} than like any music that the model knows"
    return [ScoreWarning("no_music", f"{what}, so its scores may mean nothing.")]


def _intervals(
    values: Mapping[str, float | None], errors: Mapping[str, float], known: ErrorEstimate | None
) -> Intervals | None:
    if known is None or not errors:
        return None
    told = ((scale, value, errors[scale]) for scale, value in values.items() if value is not None and scale in errors)
    bounds = {scale: (clamp(value - error), clamp(value + error)) for scale, value, error in told}
    wider = ", wider where the model is less sure" if known.error_per_spread else ""
    source = (
        f"held-out error: for {known.level:.0%} of {known.n_clips} {known.which} "
        f"({known.n_systems} systems; {known.data}), the raters' mean was at most this far away{wider}"
    )
    return Intervals(known.level, source, bounds)


def _writable(prompt: str) -> str:
    """Replace lone surrogates, which cannot be written as JSON."""
    return prompt.encode("utf-8", "replace").decode("utf-8")


@functools.cache
def _versions() -> dict[str, str]:
    packages = {package: version(package) for package in _PACKAGES}
    return {"musiceval": core.__version__, **packages, "python": platform.python_version()}
