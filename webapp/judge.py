"""The model that judges now, for all visitors, and what else a visitor may have judge a clip.

Another model takes its place without a restart. A score that has begun goes on with the scorer that it began
with. The new one is loaded and verified whole before it takes over, so there is never a moment without a
judge.

A visitor may choose another model of the registry for a clip where it can be used and the administrator offers it,
and the official CLAP *zero-shot* (`core.zero_shot`) where it was fetched, until a judge stands on it. What is chosen is
loaded when it is asked for first, and few are kept: the one that was asked for longest ago goes first.
"""

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from annotation.results.judged import LoadedJudge
from core.audio import AudioLimits
from core.errors import CheckpointError, MusicEvalError
from core.readers import Readers, ReadLimits
from core.scorer import EMBEDDED_JUDGE, Scorer
from core.settings import Settings, pick_device
from core.towers.official import OFFICIAL, find_official
from core.training.registry import Model, ModelRegistry
from core.zero_shot import load_scorer
from webapp.html import render

JUDGE, ZERO_SHOT, FIRST = "judge", "zero-shot", "first"  # what a visitor chooses; FIRST: the app began with it
MOST_LOADED = 2  # models beside the one that judges and the one that the app began with
_NAMED = "model:"  # begins the choice of a model of the registry
_READERS = 2  # as many as read beside a model on two cores
_MOST_READING_S = 30.0  # of one file; the longest clip takes a few
_NOTE = (
    "Nobody’s ratings calibrated it: alignment comes from CLAP’s own similarity of clip and prompt, and "
    "impression from comparing the clip with descriptions of good and bad music, or is a rank among reference "
    "clips where a preference head was fetched. Good for a rough order. "
    "It is loaded when it is first used, which takes up to a minute."
)


class LoadedScorers:
    """At most so many scorers, each loaded when it is asked for first; the one used longest ago goes first."""

    def __init__(self, most: int = MOST_LOADED) -> None:
        self._most = most
        self._scorers: OrderedDict[str, Scorer] = OrderedDict()
        self._loading = threading.Lock()

    def __len__(self) -> int:
        return len(self._scorers)

    def get(self, key: str, load: Callable[[], Scorer]) -> Scorer:
        """Return the scorer of a key; raises what loading raises."""
        with self._loading:
            if key not in self._scorers:
                while len(self._scorers) >= self._most:  # before another is loaded: memory holds no more
                    self._scorers.popitem(last=False)
                self._scorers[key] = load()
            self._scorers.move_to_end(key)
            return self._scorers[key]


class Judge:
    """The active scorer; the app begins with the one given, and those in the registry may take its place."""

    def __init__(self, scorer: Scorer, registry: ModelRegistry, base_folder: Path = EMBEDDED_JUDGE) -> None:
        self.scorer, self.registry = scorer, registry
        self._base_folder = base_folder
        self.name: str | None = None
        self.loaded = LoadedScorers()
        self._first = scorer
        self._failed: set[str] = set()
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
    def title(self) -> str:
        """What the model that judges is called."""
        called = {model.name: model.called for model in self.registry.models()} if self.name else {}
        return called.get(self.name or "", self.scorer.checkpoint.id)

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

    def offered(self) -> list[Model]:
        """Return what else visitors may choose of the registry: what can be used, and has not failed to load."""
        models = self.registry.models()
        return [one for one in models if one.is_offered and one.name != self.name and _key(one) not in self._failed]

    def named(self, name: str | None) -> Scorer:
        """Return a model of the registry, loaded; None for the one that the app begins with."""
        if name is None or name == self.name:
            return self._first if name is None else self.scorer
        key = _key(self.registry.model(name))
        try:
            return self.loaded.get(key, lambda: self._load(name))
        except MusicEvalError:
            self._failed.add(key)
            raise

    def _load(self, name: str | None) -> Scorer:
        if name is None:
            return self._first
        return Scorer.load(self.registry.model(name).folder, self.limits, self.device, readers=self.readers)


def _key(model: Model) -> str:
    """What a loaded model goes by: another under its name is another."""
    return f"{model.name} {model.trained_at.timestamp()}"


class ModelMenu:
    """What a visitor may choose to judge a clip."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def choices(self) -> list[tuple[str, str]]:
        """Return the title and the name of each choice; the first is taken without asking."""
        judge = self._judge
        choices = [(f"The judge of this page: {judge.title}", JUDGE)]
        if judge.name is not None:
            choices.append((judge.base, FIRST))
        choices += [(model.called, f"{_NAMED}{model.name}") for model in judge.offered()]
        if judge.scorer.checkpoint.tower.name != OFFICIAL.tower and not _missing():
            choices.append(("Official CLAP, zero-shot (uncalibrated)", ZERO_SHOT))
        return choices

    def update(self, chosen: str = JUDGE) -> Any:
        """Return what the menu shows: nothing where there is no choice, and what is chosen where it is there."""
        choices = self.choices()
        there = chosen if chosen in dict(choices).values() else JUDGE
        return gr.update(choices=choices, value=there, visible=len(choices) > 1)

    def asked(self, name: str) -> str:
        """Return the choice of that title or name, as an address gives it; that of the judge where there is none."""
        wanted = name.strip().casefold()
        for title, choice in self.choices()[1:]:
            if wanted in (title.casefold(), choice.removeprefix(_NAMED).casefold()):
                return choice
        return JUDGE

    def title(self, choice: str | None) -> str:
        """Return what a choice is called."""
        titles = {name: title for title, name in self.choices()[1:]}
        return titles.get(choice or JUDGE, self._judge.title)

    def note(self, choice: str) -> str:
        """Return as HTML what to know of a choice, or why it cannot be had; nothing for the judge."""
        if choice == ZERO_SHOT:
            return render("notice.html", text=_missing() or _NOTE)
        found = [model for model in self._judge.offered() if choice == f"{_NAMED}{model.name}"]
        return render("judge_note.html", model=found[0]) if found else ""

    def scorer(self, choice: str | None) -> Scorer:
        """Return what judges a clip; a CheckpointError for what is not offered, or cannot be loaded."""
        judge = self._judge
        if choice in (None, "", JUDGE):
            return judge.scorer
        if choice == FIRST:
            return judge.named(None)
        if choice == ZERO_SHOT:
            limits, device, readers = judge.limits, judge.device, judge.readers
            return judge.loaded.get(
                ZERO_SHOT, lambda: load_scorer(None, OFFICIAL.tower, limits, device, readers=readers)
            )
        found = [model.name for model in judge.offered() if choice == f"{_NAMED}{model.name}"]
        if not found:
            raise CheckpointError("This judge is not offered any more. Choose another one.")
        return judge.named(found[0])


def _missing() -> str:
    """Say why the official CLAP cannot be had; "" where it can."""
    try:
        find_official(Settings.from_environment(os.environ))
    except CheckpointError as error:
        return str(error)
    return ""
