"""A training run as its folder tells of it: what was ordered, what it does, how it ended.

order.json      what was ordered
run.log         what the process said
progress.json   what training does (`core.training.run_folder`)
config.json     there when the run is done: the folder is a model by then
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from core.checkpoint import CONFIG_FILE
from core.errors import TrainingError, shown_name
from core.splits import Split
from core.training.run_folder import PROGRESS_FILE

RUNNING, DONE, STOPPED, FAILED, BROKEN_OFF = "running", "done", "stopped", "failed", "broken off"
ORDER_FILE, SAID_FILE = "order.json", "run.log"

_LOG_TAIL_BYTES = 4_000
_SAID_LINES = 12
_PROGRESS_BAR = "%|"
_NO_WORD = "It ended without a word. The machine may have been switched off, or have run out of memory."
_LAST_WORDS = "It ended before its work was done. The last that it said:"


@dataclass(frozen=True)
class RunOrder:
    """What is to be trained.

    Attributes
    ----------
    data : Path
        Rated clips, as `core.sources.read_source` takes them.
    recipe, tower : str
    split : Split
        Its seed is the run's too.
    fields : mapping of str to str
        Recipe fields that differ, by their names on the command line, without the hyphens in front.
    """

    data: Path
    recipe: str = "frozen"
    tower: str = "small"
    split: Split = field(default_factory=Split)
    fields: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        split, data = self.split.to_json(), str(self.data.absolute())
        return {**vars(self), "data": data, "split": split, "fields": dict(self.fields)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        split, data = Split.from_json(values["split"]), Path(values["data"])
        return cls(**{**values, "split": split, "data": data})

    def arguments(self) -> list[str]:
        """The options of ``train`` that say the same."""
        split = self.split
        shares = {"test-share": split.test_share, "dev-share": split.dev_share}
        folds = {"folds": split.folds, "fold": split.fold} if split.folds else {}
        named = {"data": self.data.absolute(), "recipe": self.recipe, "tower": self.tower}
        chosen = {**named, "split": split.kind, "seed": split.seed, **shares, **folds, **self.fields}
        return [f"--{name}={value}" for name, value in chosen.items()]


@dataclass(frozen=True)
class Run:
    """A run as it stands.

    Attributes
    ----------
    name : str
    folder : Path
    order : RunOrder
    state : str
        `RUNNING`, `DONE`, `STOPPED`, `FAILED`, or `BROKEN_OFF`: killed, or ended without saying why.
    phase : str
        Of a running one: "starting", "embedding", "training" or "measuring".
    message : str
        What it does, or why it ended; lines of a failure are told apart by newlines.
    share : float
        Of the work, 0 to 1.
    eta_s : float or None
    epoch, epochs : int
    """

    name: str
    folder: Path
    order: RunOrder
    state: str
    phase: str = "starting"
    message: str = ""
    share: float = 0.0
    eta_s: float | None = None
    epoch: int = 0
    epochs: int = 0


def read_run(folder: Path, running: bool) -> Run:
    """Read a run.

    Parameters
    ----------
    folder : Path
    running : bool
        Whether its process is there.

    Raises
    ------
    TrainingError
        The folder is not one of a run that was ordered.
    """
    name = folder.name
    try:
        order = RunOrder.from_json(json.loads((folder / ORDER_FILE).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"There is no run {shown_name(name)} that was started here.") from error
    told = _progress(folder)
    phase = told.pop("phase", "starting")
    if running:
        state = RUNNING
    elif (folder / CONFIG_FILE).is_file():
        state = DONE
    elif phase in (STOPPED, FAILED):
        state = phase
    else:
        state, told["message"] = BROKEN_OFF, _last_words(folder)
    return Run(name, folder, order, state, phase, **told)


def _progress(folder: Path) -> dict[str, Any]:
    """What training has told last; nothing before it has begun."""
    try:
        told = json.loads((folder / PROGRESS_FILE).read_bytes())
        return {key: told[key] for key in ("phase", "message", "share", "eta_s", "epoch", "epochs")}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        return {"message": f"{PROGRESS_FILE} of the run cannot be read ({type(error).__name__})."}


def _last_words(folder: Path) -> str:
    """The end of what a run has said, without its progress bars."""
    try:
        with (folder / SAID_FILE).open("rb") as log:
            log.seek(max(0, (folder / SAID_FILE).stat().st_size - _LOG_TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return _NO_WORD
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    told = [line for line in lines if line and _PROGRESS_BAR not in line]
    return "\n".join([_LAST_WORDS, *told[-_SAID_LINES:]]) if told else _NO_WORD
