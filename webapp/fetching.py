"""The official CLAP, fetched at a click: in a thread that goes on when the page is closed.

It is the download of ``python -m core fetch-clap``: what was fetched stays when it is cut, and the next click goes on.
"""

import threading
from dataclasses import dataclass

from core.errors import CheckpointError
from core.pinned import OFFICIAL, Official, find_official, missing_bytes, prepared_folder
from core.settings import Settings
from webapp.handlers import sentence_of


@dataclass(frozen=True)
class FetchState:
    """How far it is: whether it is there, or being fetched; `percent` of its bytes, and what was said last."""

    size: str
    is_there: bool
    is_running: bool
    percent: int
    said: str
    has_failed: bool


class Fetching:
    """Fetches the files of a tower, once at a time."""

    def __init__(self, official: Official = OFFICIAL) -> None:
        self._official = official
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._said, self._has_failed = "", False

    @property
    def is_running(self) -> bool:
        """Whether it is being fetched."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin, or go on; nothing while it is being fetched."""
        with self._starting:
            if self.is_running:
                return
            self._said, self._has_failed = "Starting.", False
            self._thread = threading.Thread(target=self._fetch, name="fetch-clap", daemon=True)
            self._thread.start()

    def join(self) -> None:
        """Wait until it has ended."""
        if self._thread:
            self._thread.join()

    def state(self) -> FetchState:
        """Return how far it is."""
        weights = self._official.weights
        missing = missing_bytes(weights, prepared_folder(self._official))
        percent = 100 * (weights.size_bytes - missing) // weights.size_bytes
        there = not self.is_running and self._is_there()
        return FetchState(weights.shown_size, there, self.is_running, percent, self._said, self._has_failed)

    def _is_there(self) -> bool:
        try:
            find_official(Settings.from_environment(), self._official)
        except CheckpointError:
            return False
        return True

    def _fetch(self) -> None:
        try:
            from core.towers.official import fetch_official  # late: torch

            fetch_official(self._official, None, self._say)
        except Exception as error:  # noqa: BLE001 - it is told on the page
            self._said, self._has_failed = sentence_of(error), True

    def _say(self, sentence: str) -> None:
        self._said = sentence
