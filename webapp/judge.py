"""The model that judges now, for all visitors; another one takes its place without a restart.

A score that has begun goes on with the scorer that it began with. The new one is loaded and verified whole
before it takes over, so there is never a moment without a judge.
"""

import sys
import threading

import torch

from core.audio import AudioLimits
from core.devices import pick_device
from core.errors import CheckpointError
from core.scorer import Scorer
from core.settings import Settings
from core.training.shelf import ModelShelf


class Judge:
    """The active scorer.

    Parameters
    ----------
    scorer : Scorer
        The one that the app begins with.
    shelf : ModelShelf
        The models that may take its place.

    Attributes
    ----------
    scorer : Scorer
        Ask for it once for each score.
    name : str or None
        Of the active model on the shelf; None for the one that the app begins with.
    """

    def __init__(self, scorer: Scorer, shelf: ModelShelf) -> None:
        self.scorer = scorer
        self.shelf = shelf
        self.name: str | None = None
        self._first = scorer
        self._changing = threading.Lock()

    @classmethod
    def open(cls, settings: Settings) -> "Judge":
        """Begin with the model that the settings name, else with the one that judged last, else the demo's.

        Raises
        ------
        CheckpointError
            The named model, or the demo's, cannot be loaded. One that judged last and cannot be loaded is
            told on stderr.
        TrainingError
            This machine has no such device.
        """
        first = Scorer.load(settings.model, settings.limits, pick_device(settings.device))
        judge = cls(first, ModelShelf(settings.models))
        try:
            last = judge.shelf.active()
            if last is None:
                return judge
            if settings.model is None:
                judge.scorer, judge.name = judge._load(last), last
            else:
                judge.shelf.activate(None)
        except CheckpointError as error:
            sys.stderr.write(f"The model that judged last is not used; the demo model judges. {error}\n")
        return judge

    @property
    def base(self) -> str:
        """Name of the model that the app begins with."""
        return self._first.checkpoint.id

    @property
    def limits(self) -> AudioLimits:
        """What clips may be, whichever model judges."""
        return self._first.limits

    @property
    def device(self) -> torch.device:
        """Where the models run, whichever judges."""
        return self._first.checkpoint.tower.device

    def activate(self, name: str | None) -> None:
        """Let a model judge from now on.

        Parameters
        ----------
        name : str or None
            On the shelf; None for the one that the app begins with.

        Raises
        ------
        CheckpointError
            It cannot be loaded; then nothing has changed.
        """
        with self._changing:
            scorer = self._load(name)
            self.shelf.activate(name)
            self.scorer, self.name = scorer, name

    def back(self) -> None:
        """Let the model before judge again.

        Raises
        ------
        CheckpointError
            There is none, or it cannot be loaded; then nothing has changed.
        """
        with self._changing:
            name = self.shelf.previous()
            scorer = self._load(name)
            self.shelf.back()
            self.scorer, self.name = scorer, name

    def _load(self, name: str | None) -> Scorer:
        if name is None:
            return self._first
        return Scorer.load(self.shelf.model(name).folder, self.limits, self.device)
