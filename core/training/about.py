"""What people say of a judge or a run: its title, a note, and whether visitors may choose it.

It lies in ``about.json`` beside the files of the folder and is no part of what a score depends on: a judge keeps its
folder's name and its hashes, whatever it is called.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from core.errors import TrainingError, shown_name
from core.files import json_text, write_atomically

ABOUT_FILE = "about.json"
MOST_TITLE, MOST_NOTE = 64, 2_000  # characters


@dataclass(frozen=True)
class About:
    """What is said of a folder; an empty title stands for the folder's name, `uploaded` for one from elsewhere."""

    title: str = ""
    note: str = ""
    offered: bool = False  # its title and what it learned from are then public
    uploaded: bool = False

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what is said; where it cannot be read nothing is."""
        try:
            stored = json.loads((folder / ABOUT_FILE).read_bytes())
            title, note = _line(str(stored.get("title", ""))), str(stored.get("note", ""))[:MOST_NOTE]
            return cls(title, note, stored.get("offered") is True, stored.get("uploaded") is True)
        except (OSError, ValueError, AttributeError):
            return cls()

    def write(self, folder: Path) -> None:
        """Write it; a TrainingError where a text is too long."""
        for what, text, most in (("title", self.title, MOST_TITLE), ("note", self.note, MOST_NOTE)):
            if len(text) > most:
                raise TrainingError(f"The {what} has {len(text):,} characters; {most:,} are the most. Shorten it.")
        if self.title != _line(self.title):
            raise TrainingError(f"{shown_name(self.title)} cannot be a title. Use one line of printable characters.")
        write_atomically(folder / ABOUT_FILE, json_text(asdict(self)))


def _line(text: str) -> str:
    """Return a text as a title may be."""
    return " ".join("".join(sign for sign in text if sign.isprintable()).split())[:MOST_TITLE]
