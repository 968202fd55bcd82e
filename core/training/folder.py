"""The folder of a training run.

    run.json        what the run is: its plan, what that turned out to be, and with what it is computed
    progress.json   what it is doing
    log.csv         a row for each epoch; the one whose weights are kept, so far, has a 1 under ``kept``
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
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core import model_files
from core.controls import Controls
from core.errors import TrainingError, shown_name
from core.evaluation import Measured
from core.files import json_text, write_atomically
from core.scales import MUSICEVAL, Scale, Scales, keys
from core.training.loop import FitState
from core.training.recipe import RunProgress

_REPORT_EVERY_S = 1.0
_OWN_FILES = (
    *(model_files.LOG_FILE, model_files.STATE_FILE, model_files.PREDICTIONS_FILE, model_files.SPLIT_FILE),
    *(model_files.CURVES_FILE, model_files.SCATTER_FILE, model_files.CONFIG_FILE, model_files.METRICS_FILE),
    model_files.CARD_FILE,
)


def log_columns(scales: Scales) -> list[str]:
    """Return the columns of ``log.csv``."""
    of_scales = [f"dev_l1_{key}" for key in keys(scales)]
    return ["epoch", "train_l1", "dev_l1", *of_scales, "dev_srcc", "learning_rate", "seconds", "kept"]


class RunFolder:
    """The folder of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reported = ("", 0.0)

    @property
    def is_begun(self) -> bool:
        """Whether a run began here."""
        return (self.path / model_files.RUN_FILE).is_file()

    @property
    def is_finished(self) -> bool:
        """Whether the model is there."""
        return (self.path / model_files.CONFIG_FILE).is_file()

    def begin(self, run: Mapping[str, Any]) -> None:
        """Make the folder and write ``run.json``; a run that is there already is left as it began.

        A TrainingError if the folder holds another run, or what would be overwritten, or cannot be written.
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
            self.write(model_files.RUN_FILE, json_text(run))
        except OSError as error:
            raise TrainingError(
                f"The folder {shown_name(self.path.name)} cannot be written: {error.strerror}."
            ) from error

    def run(self) -> dict[str, Any]:
        """Return ``run.json``; a TrainingError if it is missing or damaged."""
        return self._read_json(model_files.RUN_FILE)

    def metrics(self) -> dict[str, Any]:
        """Return ``metrics.json`` of a finished run; a TrainingError if it is missing or damaged."""
        return self._read_json(model_files.METRICS_FILE)

    def measured(self) -> tuple[Measured, Controls]:
        """Return how well the model of a finished run agrees with the raters, and its controls."""
        metrics, stored = self.metrics(), self._read_json(model_files.CONFIG_FILE).get("scales", [])
        try:
            scales = tuple(map(Scale.from_json, stored)) or MUSICEVAL
            return Measured.from_json(metrics, scales), Controls.from_json(metrics, scales)
        except (ValueError, TypeError, AttributeError) as error:
            raise self._damaged(model_files.METRICS_FILE) from error

    def report(self, progress: RunProgress) -> None:
        """Write ``progress.json``, once a second at most while the phase is the same."""
        phase, reported_at = self._reported
        if progress.phase == phase and time.monotonic() - reported_at < _REPORT_EVERY_S:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.write(model_files.PROGRESS_FILE, json_text({**asdict(progress), "at": now, "pid": os.getpid()}))
        self._reported = (progress.phase, time.monotonic())

    def write_log(self, state: FitState, scales: Scales) -> None:
        """Write ``log.csv``; values that a row does not have are empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, log_columns(scales), lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "kept": int(row["epoch"] == state.best_epoch)} for row in state.log)
        self.write(model_files.LOG_FILE, text.getvalue())

    def save_state(self, state: Mapping[str, Any]) -> None:
        """Write ``state.pt``."""
        write_atomically(self.path / model_files.STATE_FILE, lambda path: torch.save(state, path), durable=True)

    def read_state(self) -> dict[str, Any] | None:
        """Return ``state.pt``; None where there is none, a TrainingError if it is damaged."""
        try:
            state = torch.load(self.path / model_files.STATE_FILE, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{model_files.STATE_FILE} in {shown_name(self.path.name)} is damaged, so the run cannot go "
                "on. Delete the folder and train again."
            ) from error
        return dict(state)

    def end(self) -> None:
        """Remove what only continuing needed."""
        (self.path / model_files.STATE_FILE).unlink(missing_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a file of the folder."""
        write_atomically(self.path / name, text)

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads((self.path / name).read_bytes())
        except (OSError, ValueError) as error:
            raise self._damaged(name) from error
        return dict(content)

    def _damaged(self, name: str) -> TrainingError:
        return TrainingError(
            f"{name} in {shown_name(self.path.name)} is missing or damaged. Train again in a new folder."
        )

    def _check_same(self, run: Mapping[str, Any]) -> None:
        before, now = (_identity(of) for of in (self.run(), json.loads(json_text(run))))
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


def _identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run must have in common with the one that it continues, by dotted key; data may have moved."""
    same = {key: run.get(key) for key in ("recipe", "tower", "split", "seed")}
    same["data"] = {"sha256": run.get("data", {}).get("sha256")}
    for name in ("more_data", "pairs"):  # absent in runs of before
        same[name] = [[of["sha256"], of.get("weight")] for of in run.get(name, ())]
    same["weights"] = run.get("weights", [])
    same["judge"] = (run.get("judge") or {}).get("sha256")
    flat: dict[str, Any] = pd.json_normalize(same).astype(object).to_dict("records")[0]
    return flat
