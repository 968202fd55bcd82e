"""The folder of a training run, which becomes the folder of the model.

    run.json        what the run is: its configuration, and with what it is computed
    progress.json   what it is doing
    log.csv         a row for each epoch
    state.pt        what continuing needs; gone when the run is done

When it is done there are also what a checkpoint has (`core.checkpoint`), ``predictions.csv``, ``split.csv``,
``curves.svg`` and ``scatter.svg``. ``config.json`` comes last, so a run that is not done does not load as a
model. Each file appears whole, by renaming, so it can be read at any time.
"""

import csv
import io
import json
import os
import pickle
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from core.checkpoint import CARD_FILE, CONFIG_FILE, METRICS_FILE
from core.errors import TrainingError, shown_name
from core.scales import SCALES

RUN_FILE = "run.json"
PROGRESS_FILE = "progress.json"
LOG_FILE = "log.csv"
STATE_FILE = "state.pt"
PREDICTIONS_FILE = "predictions.csv"
SPLIT_FILE = "split.csv"
CURVES_FILE = "curves.svg"
SCATTER_FILE = "scatter.svg"
LOG_COLUMNS = (
    "epoch",
    "train_l1",
    "dev_l1",
    *(f"dev_l1_{scale}" for scale in SCALES),
    "learning_rate",
    "seconds",
)
_TELL_EVERY_S = 1.0


@dataclass(frozen=True)
class RunProgress:
    """What a run is doing.

    Attributes
    ----------
    phase : str
        "embedding", "training", "measuring", "done", "stopped" or "failed".
    message : str
        A sentence.
    share : float
        Of this phase, 0 to 1.
    eta_s : float or None
        Of this phase, if it goes through all epochs.
    epoch, epochs : int
        Epochs done, and at most to do.
    """

    phase: str
    message: str
    share: float = 0.0
    eta_s: float | None = None
    epoch: int = 0
    epochs: int = 0


class RunFolder:
    """The folder of a run.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told = ("", 0.0)

    @property
    def is_begun(self) -> bool:
        """Whether a run began here."""
        return (self.path / RUN_FILE).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the model is there."""
        return (self.path / CONFIG_FILE).is_file()

    def begin(self, run: Mapping[str, Any]) -> None:
        """Make the folder and write ``run.json``; a run that is there already is left as it began.

        Raises
        ------
        TrainingError
            The folder holds another run, or something that would be overwritten, or cannot be written.
        """
        try:
            if self.is_begun:
                self._check_same(run)
                return
            taken = [name for name in _OWN_FILES if (self.path / name).exists()]
            if taken:
                raise TrainingError(
                    f"The folder {shown_name(self.path.name)} has a {taken[0]} that is not of a training "
                    "run. Give a new folder."
                )
            self.path.mkdir(parents=True, exist_ok=True)
            self.write(RUN_FILE, _json_text(run))
        except OSError as error:
            raise TrainingError(
                f"The folder {shown_name(self.path.name)} cannot be written: {error.strerror}."
            ) from error

    def run(self) -> dict[str, Any]:
        """Read ``run.json``.

        Raises
        ------
        TrainingError
            It is missing or damaged.
        """
        return self._read_json(RUN_FILE)

    def metrics(self) -> dict[str, Any]:
        """Read ``metrics.json`` of a finished run.

        Raises
        ------
        TrainingError
            It is missing or damaged.
        """
        return self._read_json(METRICS_FILE)

    def tell(self, progress: RunProgress) -> None:
        """Write ``progress.json``, once a second at most while the phase is the same."""
        phase, told_at = self._told
        if progress.phase == phase and time.monotonic() - told_at < _TELL_EVERY_S:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.write(PROGRESS_FILE, _json_text({**asdict(progress), "at": now, "pid": os.getpid()}))
        self._told = (progress.phase, time.monotonic())

    def write_log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write ``log.csv``; values that a row does not have are empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, LOG_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        self.write(LOG_FILE, text.getvalue())

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write ``state.pt``, through to the disk."""
        unfinished = self._unfinished(STATE_FILE)
        with unfinished.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self.path / STATE_FILE)

    def read_state(self) -> dict[str, Any] | None:
        """Read ``state.pt``; None where there is none.

        Raises
        ------
        TrainingError
            It is damaged.
        """
        try:
            state = torch.load(self.path / STATE_FILE, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{STATE_FILE} in {shown_name(self.path.name)} is damaged, so the run cannot go on. "
                "Delete the folder and train again."
            ) from error
        return dict(state)

    def end(self) -> None:
        """Remove what only continuing needed."""
        (self.path / STATE_FILE).unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        unfinished = self._unfinished(name)
        unfinished.write_text(text, encoding="utf-8", newline="")
        unfinished.replace(self.path / name)

    def _unfinished(self, name: str) -> Path:
        return self.path / f"{name}.part"

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"{name} in {shown_name(self.path.name)} is missing or damaged. Train again in a new folder."
            ) from error
        return dict(content)

    def _check_same(self, run: Mapping[str, Any]) -> None:
        before, now = (dict(_flat(_identity(of))) for of in (self.run(), _as_read(run)))
        different = [
            f"{key} is {now.get(key)!r}, was {before.get(key)!r}"
            for key in {**before, **now}
            if before.get(key) != now.get(key)
        ]
        if different:
            raise TrainingError(
                f"The folder {shown_name(self.path.name)} holds another run: {'; '.join(different)}. "
                "Give the same options to continue it, or a new folder."
            )


_OWN_FILES = (
    *(LOG_FILE, STATE_FILE, PREDICTIONS_FILE, SPLIT_FILE, CURVES_FILE, SCATTER_FILE),
    *(CONFIG_FILE, METRICS_FILE, CARD_FILE),
)


def _identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run must have in common with the one that it continues; data may have moved."""
    same = {key: run.get(key) for key in ("recipe", "tower", "split", "seed")}
    return {**same, "data": {"sha256": run.get("data", {}).get("sha256")}}


def _json_text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _as_read(content: Mapping[str, Any]) -> dict[str, Any]:
    return dict(json.loads(_json_text(content)))


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value by its dotted key."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
