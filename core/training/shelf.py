"""The models that were trained here, and which of them judges.

Every folder of ``<data>/models`` with a ``config.json`` is a model. Which one judges is a ledger,
``activations.jsonl``: a line for each time that one was taken, none is ever changed, and going back is a new
line. A line without a model stands for the one that the app begins with: that of ``MUSICEVAL_MODEL``, or the
demo model.
"""

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.checkpoint import CONFIG_FILE, METRICS_FILE
from core.errors import CheckpointError, shown_name

RUN_FILE, PREDICTIONS_FILE = "run.json", "predictions.csv"
LEDGER_FILE = "activations.jsonl"
_DAMAGED = "It is damaged: {} is missing or cannot be read. Train it again."


@dataclass(frozen=True)
class Model:
    """A trained model, as its folder describes it; its weights are not looked at.

    Attributes
    ----------
    name : str
        Of its folder.
    folder : Path
    trained_at : datetime
    run : mapping
        ``run.json``: recipe, tower, split, data. Empty if the model came without.
    metrics : mapping
        ``metrics.json``: the levels of `core.predictions.Levels`, and how they were measured.
    demo : bool
        Whether the ratings were simulated.
    caveat : str
        What else was not real; "" for nothing.
    problem : str
        Why it cannot be used; "" for nothing.
    """

    name: str
    folder: Path
    trained_at: datetime
    run: Mapping[str, Any]
    metrics: Mapping[str, Any]
    demo: bool
    caveat: str
    problem: str


class ModelShelf:
    """The models in a folder, and the ledger of which one judges.

    Parameters
    ----------
    folder : Path
        Made when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._writing = threading.Lock()

    def models(self) -> list[Model]:
        """Give all models, the newest first, damaged ones among them."""
        configs = self.folder.glob(f"[!.]*/{CONFIG_FILE}")
        return sorted(map(_model, configs), key=lambda model: model.trained_at, reverse=True)

    def model(self, name: str) -> Model:
        """Give one model.

        Raises
        ------
        CheckpointError
            There is none of that name.
        """
        found = next((model for model in self.models() if model.name == name), None)
        if found is None:
            raise CheckpointError(f"There is no model {shown_name(name)}. It may have been deleted.")
        return found

    def active(self) -> str | None:
        """Give the name of the model that judges; None for the one that the app begins with."""
        stack = self._stack()
        return stack[-1] if stack else None

    def previous(self) -> str | None:
        """Give the model that `back` would take; None for the one that the app begins with.

        Raises
        ------
        CheckpointError
            No model was taken before.
        """
        stack = self._stack()
        if not stack:
            raise CheckpointError("There is no earlier model to go back to.")
        return stack[-2] if len(stack) > 1 else None

    def activate(self, name: str | None) -> None:
        """Note that a model judges from now on.

        Parameters
        ----------
        name : str or None
            None for the one that the app begins with.
        """
        self._note({"model": name})

    def back(self) -> None:
        """Note that the model before judges again.

        Raises
        ------
        CheckpointError
            No model was taken before.
        """
        self._note({"model": self.previous(), "back": True})

    def _note(self, entry: Mapping[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **entry})
        with self._writing, (self.folder / LEDGER_FILE).open("a", encoding="utf-8") as ledger:
            ledger.write(f"{line}\n")
            ledger.flush()
            os.fsync(ledger.fileno())

    def _stack(self) -> list[str | None]:
        """Walk through the ledger: taking a model puts it on top, going back takes the top away."""
        try:
            lines = (self.folder / LEDGER_FILE).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        stack: list[str | None] = []
        for number, line in enumerate(lines, 1):
            try:
                entry = json.loads(line)
                name, back = entry["model"], entry.get("back", False)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise CheckpointError(
                    f"Line {number} of {LEDGER_FILE} is damaged. Remove it to go on without it."
                ) from error
            if not back:
                stack.append(name)
            elif stack:
                stack.pop()
        return stack


def _model(config_path: Path) -> Model:
    folder = config_path.parent
    contents: dict[str, Mapping[str, Any]] = {}
    unread = []
    for name in (CONFIG_FILE, METRICS_FILE, RUN_FILE):
        try:
            content = json.loads((folder / name).read_bytes())
        except (OSError, ValueError):
            content = None
        if not isinstance(content, dict) and name != RUN_FILE:
            unread.append(name)
        contents[name] = content if isinstance(content, dict) else {}
    config = contents[CONFIG_FILE]
    weights = config.get("weights_sha256", {})
    unread += [name for name in weights if not (folder / Path(name).name).is_file()]
    return Model(
        folder.name,
        folder,
        datetime.fromtimestamp(config_path.stat().st_mtime, UTC),
        contents[RUN_FILE],
        contents[METRICS_FILE],
        demo=bool(config.get("demo", False)),
        caveat=str(config.get("caveat", "")),
        problem=_DAMAGED.format(", ".join(unread)) if unread else "",
    )
