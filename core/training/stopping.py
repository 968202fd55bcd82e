"""Stopping on request: SIGINT (Ctrl+C) and SIGTERM, at a moment when everything can be saved."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopAsked(BaseException):  # as KeyboardInterrupt: no error, and nothing that catches errors catches it
    """A signal asked to stop.

    Attributes
    ----------
    exit_code : int
        128 and the signal's number, as shells count.
    """

    def __init__(self, number: int | None) -> None:
        super().__init__(number)
        self.exit_code = 128 + (number or signal.SIGTERM)


class StopSignals:
    """While this context is open, a signal raises `StopAsked`, or within `deferred` is only noted.

    A second signal is not deferred. In a thread other than the main one, signals are left alone.

    Attributes
    ----------
    asked : int or None
        The first signal that came.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._is_deferred = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._take) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Note signals; whoever opened this looks at `asked` and stops when it is good."""
        self._is_deferred = True
        try:
            yield
        finally:
            self._is_deferred = False

    def _take(self, number: int, _: FrameType | None) -> None:
        is_first = self.asked is None
        self.asked = number
        if not (self._is_deferred and is_first):
            raise StopAsked(number)
