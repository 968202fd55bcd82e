"""The model that judges now, for all visitors, and what else a visitor may have judge a clip.

Another model takes its place without a restart. A score that has begun goes on with the scorer that it began
with. The new one is loaded and verified whole before it takes over, so there is never a moment without a
judge.

The models that were trained here are the administrator's to choose among. A visitor may choose the official
CLAP *zero-shot* (`core.zero_shot`) until a judge stands on it; it is loaded when it is asked for first, and
kept.
"""

import os
import sys
import threading
from pathlib import Path

import torch

from annotation.results.judged import LoadedJudge
from core.audio import AudioLimits
from core.errors import CheckpointError
from core.readers import Readers, ReadLimits
from core.scorer import EMBEDDED_JUDGE, Scorer
from core.settings import Settings, pick_device
from core.towers.official import OFFICIAL, find_official
from core.training.manager import ModelRegistry
from core.zero_shot import load_scorer
from webapp.html import render

JUDGE, ZERO_SHOT = "judge", "zero-shot"
_READERS = 2  # as many as read beside a model on two cores
_MOST_READING_S = 30.0  # of one file; the longest clip takes a few
_NOTE = (
    "Nobody’s ratings calibrated it: alignment comes from CLAP’s own similarity of clip and prompt, and "
    "impression from comparing the clip with descriptions of good and bad music, or is a rank among reference "
    "clips where a preference head was fetched. Good for a rough order. "
    "It is loaded when it is first used, which takes up to a minute."
)


class Judge:
    """The active scorer; the app begins with the one given, and those in the registry may take its place."""

    def __init__(self, scorer: Scorer, registry: ModelRegistry, base_folder: Path = EMBEDDED_JUDGE) -> None:
        self.scorer, self.registry = scorer, registry
        self._base_folder = base_folder
        self.name: str | None = None
        self._first = scorer
        self._changing = threading.Lock()

    @classmethod
    def open(cls, settings: Settings) -> "Judge":
        """Begin with the model of the settings, else with the one that judged last, else the embedded one."""
        first = settings.model or EMBEDDED_JUDGE
        readers = Readers(_READERS, ReadLimits(time_s=_MOST_READING_S))
        scorer = Scorer.load(first, settings.limits, pick_device(settings.device), readers=readers)
        judge = cls(scorer, ModelRegistry(settings.models), first)
        try:
            last = judge.registry.active()
            if last is not None and settings.model is None:
                judge.scorer, judge.name = judge._load(last), last
            elif last is not None:
                judge.registry.activate(None)
        except CheckpointError as error:
            sys.stderr.write(f"The model that judged last is not used; {judge.base} judges. {error}\n")
        return judge

    @property
    def base(self) -> str:
        """Name of the model that the app begins with."""
        return self._first.checkpoint.id

    @property
    def folder(self) -> Path:
        """Where the model is that judges."""
        return self._base_folder if self.name is None else self.registry.model(self.name).folder

    @property
    def limits(self) -> AudioLimits:
        """What clips may be, whichever model judges."""
        return self._first.limits

    @property
    def readers(self) -> Readers | None:
        """Processes in which what visitors send is read, whichever judges."""
        return self._first.readers

    @property
    def device(self) -> torch.device:
        """Where the models run, whichever judges."""
        return self._first.checkpoint.tower.device

    def keeping(self, cache: Path) -> LoadedJudge:
        """Return the model that judges now, as one that keeps in a folder what it heard."""
        now = self.scorer
        return LoadedJudge(Scorer(now.checkpoint, now.limits, cache=cache, readers=now.readers), self.folder)

    def activate(self, name: str | None) -> None:
        """Let a model of the registry judge from now on; None for the one that the app begins with."""
        with self._changing:
            scorer = self._load(name)
            self.registry.activate(name)
            self.scorer, self.name = scorer, name

    def back(self) -> None:
        """Let the model before judge again."""
        with self._changing:
            name = self.registry.previous()
            scorer = self._load(name)
            self.registry.back()
            self.scorer, self.name = scorer, name

    def _load(self, name: str | None) -> Scorer:
        if name is None:
            return self._first
        return Scorer.load(self.registry.model(name).folder, self.limits, self.device, readers=self.readers)


class ModelMenu:
    """What a visitor may choose to judge a clip."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._zero_shot: Scorer | None = None
        self._loading = threading.Lock()

    def choices(self) -> list[tuple[str, str]]:
        """Return the title and the name of each choice; the first is taken without asking."""
        judge = self._judge.scorer.checkpoint
        choices = [(f"The judge of this page: {judge.id}", JUDGE)]
        if judge.tower.name != OFFICIAL.tower:
            choices.append(("Official CLAP, zero-shot (uncalibrated)", ZERO_SHOT))
        return choices

    def note(self, choice: str) -> str:
        """Return as HTML what to know of a choice, or why it cannot be had; nothing for the judge."""
        if choice != ZERO_SHOT:
            return ""
        try:
            find_official(Settings.from_environment(os.environ))
        except CheckpointError as error:
            return render("notice.html", text=error)
        return render("notice.html", text=_NOTE)

    def scorer(self, choice: str | None) -> Scorer:
        """Return what judges a clip."""
        if choice != ZERO_SHOT:
            return self._judge.scorer
        with self._loading:
            if self._zero_shot is None:
                limits, device, readers = self._judge.limits, self._judge.device, self._judge.readers
                self._zero_shot = load_scorer(None, OFFICIAL.tower, limits, device, readers=readers)
            return self._zero_shot
