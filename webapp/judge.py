"""The model that judges now, for all visitors, and what else a visitor may have judge a clip.

Another model takes its place without a restart. A score that has begun goes on with the scorer that it began
with. The new one is loaded and verified whole before it takes over, so there is never a moment without a
judge.

A visitor may choose another model of the registry for a clip where it can be used and the administrator offers it,
and the official CLAP *zero-shot* (`core.zero_shot`) where it was fetched, until a judge stands on it. What is chosen is
loaded when it is asked for first, and few are kept: the one that was asked for longest ago goes first.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from annotation.results.judged import LoadedJudge
from core.audio import AudioLimits
from core.errors import CheckpointError, MusicEvalError
from core.model_files import EMBEDDED_JUDGE, Described, describe
from core.pinned import OFFICIAL, find_official
from core.readers import Readers, ReadLimits
from core.settings import Settings, pick_device
from core.training.registry import Model, ModelRegistry
from webapp.html import render

if TYPE_CHECKING:
    from core.scorer import Scorer

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
    """At most `MOST_LOADED` scorers, each loaded when it is asked for first; the one used longest ago goes first."""

    def __init__(self) -> None:
        self._scorers: OrderedDict[str, Scorer] = OrderedDict()
        self._loading = threading.Lock()

    def __len__(self) -> int:
        return len(self._scorers)

    def get(self, key: str, load: "Callable[[], Scorer]") -> "Scorer":
        """Return the scorer of a key; raises what loading raises."""
        with self._loading:
            if key not in self._scorers:
                while len(self._scorers) >= MOST_LOADED:  # before another is loaded: memory holds no more
                    self._scorers.popitem(last=False)
                self._scorers[key] = load()
            self._scorers.move_to_end(key)
            return self._scorers[key]


class Judge:
    """The model that judges; the app begins with one, and those in the registry may take its place.

    With a `scorer` it is loaded; without one, the model of `base_folder` is when somebody asks for `scorer` first.
    What its folder says is known before (`about`).
    """

    def __init__(
        self,
        scorer: "Scorer | None",
        registry: ModelRegistry,
        base_folder: Path = EMBEDDED_JUDGE,
        limits: AudioLimits | None = None,
        device: str = "auto",
        readers: Readers | None = None,
        name: str | None = None,
    ) -> None:
        self.registry, self.name, self.device = registry, name, device
        self.limits = scorer.limits if scorer else limits or AudioLimits()
        self.readers = scorer.readers if scorer else readers
        self.loaded = LoadedScorers()
        self._base_folder, self._first, self._now = base_folder, scorer, scorer
        self._described = scorer.checkpoint if scorer else describe(base_folder if name is None else self.folder)
        self._base = scorer.checkpoint.id if scorer else describe(base_folder).id
        self._failed: set[str] = set()
        self._changing = threading.Lock()

    @classmethod
    def open(cls, settings: Settings) -> "Judge":
        """Begin with the model of the settings, else with the one that judged last, else the embedded one."""
        registry = ModelRegistry(settings.models)
        last = registry.active()
        if last is not None and settings.model is not None:
            registry.activate(None)
            last = None
        readers = Readers(_READERS, ReadLimits(time_s=_MOST_READING_S))
        given = (settings.model or EMBEDDED_JUDGE, settings.limits, settings.device, readers)
        try:
            return cls(None, registry, *given, last)
        except CheckpointError as error:
            if last is None:
                raise
            judge = cls(None, registry, *given)
            judge._say_not_used(error)
            return judge

    @property
    def scorer(self) -> "Scorer":
        """What judges now, loaded; the first who asks loads it, and nobody waits while another is to take its place."""
        return self._now or self._begin()

    @scorer.setter
    def scorer(self, scorer: "Scorer") -> None:
        self._now = scorer

    @property
    def about(self) -> Described:
        """What the folder of the model says that judges now."""
        return self._now.checkpoint if self._now else self._described

    @property
    def base(self) -> str:
        """Name of the model that the app begins with."""
        return self._base

    @property
    def title(self) -> str:
        """What the model that judges is called."""
        called = {model.name: model.called for model in self.registry.models()} if self.name else {}
        return called.get(self.name or "", self.about.id)

    @property
    def folder(self) -> Path:
        """Where the model is that judges."""
        return self._base_folder if self.name is None else self.registry.model(self.name).folder

    def keeping(self, cache: Path) -> LoadedJudge:
        """Return the model that judges now, as one that keeps in a folder what it heard."""
        from core.scorer import Scorer  # late, as in all this module: torch

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

    def named(self, name: str | None) -> "Scorer":
        """Return a model of the registry, loaded; None for the one that the app begins with."""
        if name is None or name == self.name:
            return self._load(None) if name is None else self.scorer
        key = _key(self.registry.model(name))
        try:
            return self.loaded.get(key, lambda: self._load(name))
        except MusicEvalError:
            self._failed.add(key)
            raise

    def _begin(self) -> "Scorer":
        with self._changing:
            if self._now is None:
                try:
                    self._now = self._load(self.name)
                except CheckpointError as error:
                    if self.name is None:
                        raise
                    self._say_not_used(error)
                    self.name, self._now = None, self._load(None)
            return self._now

    def _load(self, name: str | None) -> "Scorer":
        from core.scorer import Scorer

        if name is None and self._first is not None:
            return self._first
        folder = self._base_folder if name is None else self.registry.model(name).folder
        scorer = Scorer.load(folder, self.limits, pick_device(self.device), readers=self.readers)
        if name is None:
            self._first = scorer
        return scorer

    def load_zero_shot(self) -> "Scorer":
        """Load the official CLAP without trained heads."""
        from core.zero_shot import load_scorer

        return load_scorer(None, OFFICIAL.tower, self.limits, pick_device(self.device), readers=self.readers)

    def _say_not_used(self, error: CheckpointError) -> None:
        sys.stderr.write(f"The model that judged last is not used; {self.base} judges. {error}\n")


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
        if judge.about.config.get("tower") != OFFICIAL.tower and not _missing():
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

    def scorer(self, choice: str | None) -> "Scorer":
        """Return what judges a clip; a CheckpointError for what is not offered, or cannot be loaded."""
        judge = self._judge
        if choice in (None, "", JUDGE):
            return judge.scorer
        if choice == FIRST:
            return judge.named(None)
        if choice == ZERO_SHOT:
            return judge.loaded.get(ZERO_SHOT, judge.load_zero_shot)
        found = [model.name for model in judge.offered() if choice == f"{_NAMED}{model.name}"]
        if not found:
            raise CheckpointError("This judge is not offered any more. Choose another one.")
        return judge.named(found[0])


def _missing() -> str:
    """Say why the official CLAP cannot be had; "" where it can."""
    try:
        find_official(Settings.from_environment())
    except CheckpointError as error:
        return str(error)
    return ""
