"""Clip and prompt in, two scores out.

Each window of a clip gets a value for each scale; the clip's value is their mean, taken before values are
clamped to the scale of 1 to 5. The interval around it is the checkpoint's held-out error, the same width
for every clip.

Scoring draws no random number, keeps no state and may run in several threads. A clip gets the same bits
each time: its windows go through the tower in the same batches, whatever else is being scored.
"""

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import core
from core.audio import (
    WINDOW_S,
    AudioLimits,
    Clip,
    ClipSource,
    condition,
    cut_window,
    read_clip,
    window_starts,
    window_times,
)
from core.checkpoint import Checkpoint, load_checkpoint
from core.faults import ScoreWarning, find_faults
from core.held_out import HeldOut
from core.scales import SCALES, clamp

DEMO_CHECKPOINT = Path(__file__).parent / "demo" / "checkpoint"
WINDOWS_PER_BATCH = 8  # memory stays flat however long the clip
MAX_KEPT_PROMPT_CHARACTERS = 1_000  # of a prompt in the provenance
WINDOW_POLICY: Mapping[str, Any] = {
    "window_s": WINDOW_S,
    "grid": "every 10 s from the start, the last window aligned to the end",
    "short_clips": "repeated to fill one window",
    "pooling": "mean of the windows",
}
_ZERO_SHOT = (
    "These scores are zero-shot: CLAP's own similarities, put on the scale of 1 to 5 and calibrated by no "
    "rating. Use them to put clips in a rough order, not as the scores of experts."
)
_PACKAGES = ("torch", "laion_clap", "librosa", "soxr", "numpy")

Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class WindowScore:
    """Both values of one window of a clip, clamped to the scale."""

    start_s: float
    end_s: float
    musical_impression: float
    textual_alignment: float


@dataclass(frozen=True)
class Intervals:
    """Where the panel's mean lies for a share of clips like those held out.

    Attributes
    ----------
    level : float
        That share, between 0 and 1.
    source : str
        Where the intervals come from, in words.
    musical_impression, textual_alignment : (low, high)
    """

    level: float
    source: str
    musical_impression: tuple[float, float]
    textual_alignment: tuple[float, float]


@dataclass(frozen=True)
class Score:
    """What the judge says of a clip.

    Attributes
    ----------
    musical_impression, textual_alignment : float
        From 1 to 5, not rounded.
    intervals : Intervals or None
        None where nothing is known of the model's error.
    windows : tuple of WindowScore
        The course of both values over the clip.
    warnings : tuple of ScoreWarning
    provenance : dict
        Everything the score depends on: checkpoint, clip, prompt, policies, versions.
    """

    musical_impression: float
    textual_alignment: float
    intervals: Intervals | None
    windows: tuple[WindowScore, ...]
    warnings: tuple[ScoreWarning, ...]
    provenance: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Give the score as plain dicts, lists, strings and finite numbers."""
        around = self.intervals
        bounds = {scale: list(getattr(around, scale)) for scale in SCALES} if around else {}
        return {
            "musical_impression": self.musical_impression,
            "textual_alignment": self.textual_alignment,
            "intervals": {"level": around.level, "source": around.source, **bounds} if around else None,
            "windows": [asdict(window) for window in self.windows],
            "warnings": [asdict(warning) for warning in self.warnings],
            "provenance": self.provenance,
        }


class Scorer:
    """Scores clips with one checkpoint.

    Parameters
    ----------
    checkpoint : Checkpoint
    limits : AudioLimits, optional
        What clips may be.
    device : torch.device, optional
        Where the tower goes; by default it stays where it is.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        limits: AudioLimits | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.checkpoint = checkpoint
        if device is not None:
            checkpoint.tower.to(device)
        self.limits = limits or AudioLimits()

    @classmethod
    def load(
        cls,
        folder: Path | None = None,
        limits: AudioLimits | None = None,
        device: torch.device | None = None,
    ) -> "Scorer":
        """Make a scorer from a checkpoint folder; without one, from the embedded demo checkpoint.

        Raises
        ------
        CheckpointError
        """
        return cls(load_checkpoint(DEMO_CHECKPOINT if folder is None else Path(folder)), limits, device)

    def score(self, source: ClipSource | Clip, prompt: str, progress: Progress | None = None) -> Score:
        """Score a clip against its prompt.

        Parameters
        ----------
        source : Clip, or whatever `core.audio.read_clip` takes
        prompt : str
            What the music was asked to be. Empty is allowed: then textual alignment means nothing, and a
            warning says so.
        progress : callable, optional
            Called with the share done (0 to 1) and what is being done.

        Returns
        -------
        Score

        Raises
        ------
        AudioError
            If the clip cannot be scored.
        """
        tell = progress or _tell_nobody
        tell(0.0, "Reading the clip")
        clip = source if isinstance(source, Clip) else read_clip(source, self.limits)
        prompt = prompt.encode("utf-8", "replace").decode(
            "utf-8"
        )  # lone surrogates cannot be written as JSON
        samples = condition(clip.samples, clip.sample_rate_hz, self.checkpoint.policy)
        values = self._values(samples, prompt, tell)
        tell(1.0, "Done")
        impression, alignment = (clamp(float(value)) for value in values.mean(axis=0))
        return Score(
            impression,
            alignment,
            intervals=intervals((impression, alignment), self.checkpoint.held_out),
            windows=tuple(_window_scores(values, samples.size, clip.duration_s)),
            warnings=(*self.model_warnings(), *find_faults(clip), *self.prompt_warnings(prompt)),
            provenance=self._provenance(clip, prompt),
        )

    def _values(self, samples: NDArray[np.float32], prompt: str, tell: Progress) -> NDArray[np.float64]:
        """Both values of each window, not clamped: shape (n_windows, 2)."""
        starts = window_starts(samples.size)
        values: list[NDArray[np.float64]] = []
        with torch.inference_mode():
            text = self.checkpoint.tower.embed_text([prompt]).cpu()
            for first in range(0, len(starts), WINDOWS_PER_BATCH):
                tell(first / len(starts), f"Listening: window {first + 1} of {len(starts)}")
                batch = [cut_window(samples, start) for start in starts[first : first + WINDOWS_PER_BATCH]]
                audio = self.checkpoint.tower.embed_audio(np.stack(batch)).cpu()
                scored = self.checkpoint.heads(audio, text.expand(len(batch), -1))
                values.append(scored.double().numpy())
        return np.concatenate(values)

    def model_warnings(self) -> list[ScoreWarning]:
        """What to know of the model, whatever it scores."""
        warnings = [] if self.checkpoint.held_out else [ScoreWarning("zero_shot", _ZERO_SHOT)]
        if not self.checkpoint.caveat:
            return warnings
        model = "the demo model" if self.checkpoint.demo else "a model"
        message = (
            f"These scores come from {model} ({self.checkpoint.caveat}): "
            "use them to look around, not to report results."
        )
        return [*warnings, ScoreWarning("demo_model", message)]

    def prompt_warnings(self, prompt: str) -> list[ScoreWarning]:
        """What to know of a prompt."""
        if not prompt.strip():
            message = "There is no prompt, so the textual alignment means nothing."
            return [ScoreWarning("prompt_empty", message)]
        if self.checkpoint.tower.is_cut(prompt):
            message = "The prompt is longer than the model reads; only its beginning counts."
            return [ScoreWarning("prompt_cut", message)]
        return []

    def _provenance(self, clip: Clip, prompt: str) -> dict[str, Any]:
        checkpoint = self.checkpoint
        return {
            "checkpoint": {
                "id": checkpoint.id,
                "sha256": checkpoint.sha256,
                "demo": checkpoint.demo,
                "caveat": checkpoint.caveat,
            },
            "audio": {
                "sha256": clip.sha256,
                "duration_s": clip.duration_s,
                "sample_rate_hz": clip.sample_rate_hz,
                "channels": clip.channels,
            },
            "prompt": prompt[:MAX_KEPT_PROMPT_CHARACTERS],
            "prompt_characters": len(prompt),
            "window_policy": dict(WINDOW_POLICY),
            "input_policy": asdict(checkpoint.policy),
            "held_out": asdict(checkpoint.held_out) if checkpoint.held_out else None,
            "versions": {
                "musiceval": core.__version__,
                **{package: version(package) for package in _PACKAGES},
                "python": platform.python_version(),
            },
        }


def _tell_nobody(share: float, doing: str) -> None:
    pass


def _window_scores(values: NDArray[np.float64], n_samples: int, duration_s: float) -> Iterator[WindowScore]:
    for (start_s, end_s), row in zip(window_times(n_samples), values, strict=True):
        yield WindowScore(start_s, min(end_s, duration_s), *(clamp(float(value)) for value in row))


def intervals(clip_values: Sequence[float], held_out: HeldOut | None) -> Intervals | None:
    """Intervals around a clip's two values, from the held-out error; None without one."""
    if held_out is None:
        return None
    bounds = [
        (clamp(value - held_out.absolute_error[scale]), clamp(value + held_out.absolute_error[scale]))
        for scale, value in zip(SCALES, clip_values, strict=True)
    ]
    source = (
        f"held-out error: for {held_out.level:.0%} of {held_out.n_clips} clips of {held_out.n_systems} "
        f"systems that the model was not trained on ({held_out.data}), "
        "the raters' mean was at most this far away"
    )
    return Intervals(held_out.level, source, *bounds)
