"""Where listening tests take place: the database of the settings, and the demo's.

A venue is a database and the folder of its clips. The demo has its own of both, in a temporary folder that is
filled when someone first asks for it, so that nothing of it can mix with an expert's study; the visits of its
visitors begin with ``demo.``.
"""

import atexit
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from annotation.database import Database
from annotation.material.demo_study import open_demo
from core.settings import Settings

_DEMO_SIGN = "demo."


@dataclass(frozen=True)
class Venue:
    """A database of listening tests, and the data folder of their clips.

    Attributes
    ----------
    sign : str
        What the visits here begin with, as the browser holds them.
    """

    database: Database
    data: Path
    sign: str = ""


class Venues:
    """All venues of a server.

    Parameters
    ----------
    settings : Settings
        The data folder and the database's URL.

    Raises
    ------
    StudyError
        If the database cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self.real = Venue(Database(settings.database_url), settings.data)
        self._demo: Venue | None = None
        self._opening = threading.Lock()

    def demo(self) -> Venue:
        """Give the demo's venue; the first call makes it, which takes seconds."""
        with self._opening:
            if self._demo is None:
                folder = tempfile.mkdtemp(prefix="musiceval-demo-study-")
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
                self._demo = Venue(*open_demo(Path(folder)), _DEMO_SIGN)
            return self._demo

    def of(self, visit: str) -> tuple[Venue, str] | None:
        """Give the venue of a visit, and the visit as it is known there; None where that is not open."""
        venue = self._demo if visit.startswith(_DEMO_SIGN) else self.real
        return None if venue is None else (venue, visit.removeprefix(venue.sign))

    def close(self) -> None:
        """Let go of the databases."""
        for venue in (self.real, self._demo):
            if venue is not None:
                venue.database.close()
