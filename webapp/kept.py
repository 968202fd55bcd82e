"""What visitors made, kept for a day at addresses that nobody can guess; here the results of single clips.

What is kept of a result is what the page showed, its prompt, its model, and where its clip lies among the uploads.
All of it goes after a day, or `MUSICEVAL_KEPT_DAYS`, at the visitor's wish, and with the server's process.
"""

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from webapp.retention import kept_s
from webapp.temporary import own_folder

MOST = 5_000  # results; the oldest go first
_MOST_BYTES = 2_000_000_000  # of them
_NAME_BYTES = 16
_NAME = re.compile(r"[\w-]{22}", re.ASCII)


@dataclass(frozen=True)
class Kept:
    """A result as the page shows it, and what was asked; `clip` is the path of an upload.

    To be set beside others it has its score as `core.scores.Score.to_json` gives it, the titles of its scales, what
    judged it, and its course over the clip as the page draws it.
    """

    html: str
    clip: str
    prompt: str
    model: str
    plot: str = ""
    score: dict[str, Any] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)
    judge: str = ""  # "by", its name and hash
    duration_s: float = 0.0

    @property
    def name(self) -> str:
        """The visitor's name of the clip."""
        return Path(self.clip).name

    @property
    def asked(self) -> str:
        """The prompt, in words."""
        return f"for “{self.prompt}”" if self.prompt.strip() else "without a prompt"


def new_name() -> str:
    """Return a name of 128 random bits."""
    return secrets.token_urlsafe(_NAME_BYTES)


class NamedFiles:
    """JSON objects, a file each, for a day. `clock` gives seconds since 1970."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder, self._clock = folder, clock

    def write(self, name: str, content: object, most: int, most_bytes: int) -> None:
        """Keep an object; of the others the oldest go, where they are too many. OSError where the disk is full."""
        self._drop_old(most - 1, most_bytes)
        self._file(name).write_text(json.dumps(content), encoding="utf-8")

    def read(self, name: str) -> dict[str, Any] | None:
        """Return what is kept under a name; None if it is gone, or never was."""
        try:
            if not _NAME.fullmatch(name) or self._is_old(self._file(name)):
                return None
            content: dict[str, Any] = json.loads(self._file(name).read_text(encoding="utf-8"))
            return content
        except (OSError, ValueError):
            return None

    def forget(self, name: str) -> None:
        """Keep it no longer; an upload goes when its day is over."""
        if _NAME.fullmatch(name):
            self._file(name).unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _is_old(self, file: Path) -> bool:
        return file.stat().st_mtime < self._clock() - kept_s()

    def _drop_old(self, most: int, most_bytes: int) -> None:
        files = sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        for number, file in enumerate(files):
            most_bytes -= file.stat().st_size
            if number >= most or most_bytes < 0 or self._is_old(file):
                file.unlink(missing_ok=True)


class KeptResults(NamedFiles):
    """The results."""

    def __init__(self, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(folder or own_folder("results"), clock)

    def keep(self, make: Callable[[str], Kept]) -> Kept:
        """Keep what is made for a name, and return it; where it cannot be kept, what is made for no name."""
        return self.keep_named(make)[1]

    def keep_named(self, make: Callable[[str], Kept]) -> tuple[str, Kept]:
        """As `keep`; also return the name, "" where it cannot be kept."""
        kept = make(name := new_name())
        try:
            self.write(name, asdict(kept), MOST, _MOST_BYTES)
        except OSError:  # the disk is full: what was left of it goes with the day
            return "", make("")
        return name, kept

    def find(self, name: str) -> Kept | None:
        """Return the result with a name; None if it is gone, or never was."""
        found = self.read(name)
        return Kept(**found) if found else None
