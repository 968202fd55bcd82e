"""A simulated rater in front of the listening test: opens batches, listens, answers, goes away, comes back.

It does what the page does, through the same functions of `annotation.session.listening` and in the same
order, with a clock of its own: each call of `Listener.act` is one visit to the server, and tells when the
next one is. What it answers comes from `core.demo.panel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from sqlalchemy.orm import Session

from annotation.schema import Rater
from annotation.session import listening
from annotation.session.listening import Place, Task
from annotation.session.reply import Reply

Opinion = tuple[float, float]

# Median time from the end of a clip to the answer.
THINKS_S = {"honest": 8.0, "quitting": 8.0, "straight-lining": 1.5, "careless": 0.5}

_MINUTE_S, _HOUR_S = 60.0, 3600.0
_BREAK_S = 10 * _MINUTE_S
_NIGHT_S = 18 * _HOUR_S
_BATCHES_A_DAY = 3  # on average
_LOOKS_AGAIN_S = 12 * _HOUR_S  # whether clips have come free
_LEAVES = 0.02  # chance at each trial that a quitting rater closes the page
_NEVER_RETURNS = 0.05
_AWAY_S = (30 * _MINUTE_S, 5 * _HOUR_S, 72 * _HOUR_S, 240 * _HOUR_S)  # within and beyond lease and closing


class Answers(Protocol):
    """Whoever answers: one of `core.demo.panel`."""

    def rate(self, opinion: Opinion, random: np.random.Generator) -> tuple[int, int]:
        """Answer on both scales, given what the panel at large would say."""


@dataclass
class Listener:
    """A simulated rater at work.

    Attributes
    ----------
    rater : Rater
    kind : str
        One of `THINKS_S`. A quitting one leaves mid-batch now and then: for half an hour, for days, for good.
    answers : Answers
    random : numpy.random.Generator
    at_work_s : float
        Time spent on trials so far.
    finished : bool
        There was nothing left to rate at the last visit.
    """

    rater: Rater
    kind: str
    answers: Answers
    random: np.random.Generator
    at_work_s: float = 0.0
    finished: bool = False
    _task: Task | None = None  # on the page, its clip playing
    _clip: str = ""

    def act(self, session: Session, opinions: Mapping[str, Opinion], at: datetime) -> datetime | None:
        """Visit the server once.

        Parameters
        ----------
        session : Session
            In a write transaction.
        opinions : mapping of str to Opinion
            What the panel at large would say, by the opaque name of the clip.
        at : datetime

        Returns
        -------
        datetime or None
            When this rater comes again; None for never.
        """
        if self._task is None:
            place = self._arrive(session, at)
        else:
            place = self._answer(session, self._task, opinions[self._clip], at)
        self.finished = place.message == "complete"
        self._task = place.task
        if place.task is None:
            return at + timedelta(seconds=_LOOKS_AGAIN_S if place.step == "done" else self._rest_s())
        if self.kind == "quitting" and self.random.random() < _LEAVES:
            self._task = None  # the page is closed; coming back means asking for one's place again
            return None if self.random.random() < _NEVER_RETURNS else at + self._away()
        self._clip = listening.serve(session, self.rater, place.task.token, at)
        needed_s = place.task.duration_s + THINKS_S[self.kind] * float(self.random.lognormal(0.0, 0.4))
        self.at_work_s += needed_s
        return at + timedelta(seconds=needed_s)

    def _arrive(self, session: Session, at: datetime) -> Place:
        place = listening.start(session, self.rater, at)
        return listening.about(session, self.rater, {}, at) if place.step == "about" else place

    def _answer(self, session: Session, task: Task, opinion: Opinion, at: datetime) -> Place:
        impression, alignment = self.answers.rate(opinion, self.random)
        reply = Reply(impression, alignment, "", [[0.0, task.duration_s]])
        return listening.submit(session, self.rater, task.token, reply, at).place

    def _rest_s(self) -> float:
        return _NIGHT_S if self.random.random() < 1 / _BATCHES_A_DAY else _BREAK_S

    def _away(self) -> timedelta:
        return timedelta(seconds=float(self.random.choice(_AWAY_S)))
