"""What the Training tab reads and does, without a page: orders, runs, models and the tables of its plots."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from annotation.output.training_data import write_training_data
from core.errors import CheckpointError, TrainingError, shown_name
from core.predictions import predicted
from core.training.run_folder import LOG_FILE
from core.training.run_status import RUNNING, Run, RunOrder
from core.training.runs import Runs
from core.training.shelf import PREDICTIONS_FILE, Model
from webapp.judge import Judge
from webapp.venues import Venue

FROM_STUDY, FROM_SERVER = "A study", "A folder on the server"


@dataclass(frozen=True)
class Desk:
    """All that the handlers need.

    Attributes
    ----------
    judge : Judge
    runs : Runs
    venue : Venue
        Of the studies.
    """

    judge: Judge
    runs: Runs
    venue: Venue

    def start(self, source: str, study: str | None, folder: str, how: RunOrder, name: str = "") -> Run:
        """Start a run of what the controls say.

        Parameters
        ----------
        source : str
            `FROM_STUDY` or `FROM_SERVER`.
        study, folder : str
            The one that the source names counts.
        how : RunOrder
            All but the data.
        name : str
            Of the new model; "" for the time and the recipe.

        Raises
        ------
        MusicEvalError
            There is no such study or folder, nobody has rated yet, or another run is going.
        """
        data = self._study_data(study) if source == FROM_STUDY else _on_server(folder.strip())
        return self.runs.start(replace(how, data=data), name.strip() or None)

    def stop(self) -> None:
        """Stop the run that is going, if one is."""
        running = self.runs.running()
        if running is not None:
            self.runs.stop(running)

    def _study_data(self, study: str | None) -> Path:
        if not study:
            raise TrainingError("There is no study yet to train on. Choose a folder on the server.")
        return study_data(self.venue, study)

    def shown_run(self) -> Run | None:
        """The run that is going, else the newest."""
        runs = self.runs.all()
        return next((run for run in runs if run.state == RUNNING), runs[0] if runs else None)

    def model(self, name: str) -> Model | None:
        """The model of a name; without one, or if it is gone, the newest; None if there is none."""
        models = self.judge.shelf.models()
        return next((model for model in models if model.name == name), models[0] if models else None)

    def has_previous(self) -> bool:
        """Whether there is a model to go back to."""
        try:
            self.judge.shelf.previous()
        except CheckpointError:
            return False
        return True

    def act(self, action: str, name: str) -> None:
        """Do what a button says."""
        actions: dict[str, Callable[[], object]] = {
            "use": lambda: self.judge.activate(name),
            "base": lambda: self.judge.activate(None),
            "back": self.judge.back,
            "resume": lambda: self.runs.resume(name),
            "delete": lambda: self.runs.delete(name),
            "restore": self.runs.restore,
            "show": lambda: None,
        }
        if action not in actions:
            raise TrainingError("There is no such button.")
        actions[action]()


def _on_server(given: str) -> Path:
    path = Path(given).expanduser().absolute()
    if not given or not path.exists():
        raise TrainingError(
            f"There is nothing on the server at {shown_name(given)}. Give the path of a folder or a CSV file."
        )
    return path


def study_data(venue: Venue, study: str) -> Path:
    """Write what a judge learns from a study into a new folder.

    Raises
    ------
    StudyError
        There is no such study, or it has no valid rating yet.
    """
    at = datetime.now(UTC)
    folder = venue.data.absolute() / "training" / f"{study}-{at:%Y%m%dT%H%M%S%f}"
    return write_training_data(venue.database, venue.data, study, folder, at)


def train_from_study(runs: Runs, venue: Venue, study: str) -> str:
    """Start a run on a study's ratings with the defaults; give a sentence for the page.

    Raises
    ------
    MusicEvalError
        Another run is going, or the study has no valid rating yet.
    """
    run = runs.start(RunOrder(study_data(venue, study)))
    return f"The run {run.name} has begun; the tab Training shows it."


def curves(run: Run) -> pd.DataFrame:
    """Give the course of a run: ``epoch``, ``part`` ("train" or "dev") and ``L1``, a row for each value."""
    try:
        log = pd.read_csv(run.folder / LOG_FILE)
    except FileNotFoundError:
        return pd.DataFrame({"epoch": [], "part": [], "L1": []})
    parts = [
        pd.DataFrame({"epoch": log["epoch"], "part": part, "L1": log[f"{part}_l1"]})
        for part in ("train", "dev")
    ]
    return pd.concat(parts).dropna()


def scatter(model: Model | None, scale: str) -> pd.DataFrame:
    """Give rated and predicted scores of the clips that a model was measured on; maybe none.

    Returns
    -------
    DataFrame
        ``clip``, ``system``, ``rated``, ``predicted``.
    """
    columns = {"clip_id": "clip", "system_id": "system", scale: "rated", predicted(scale): "predicted"}
    try:
        table = pd.read_csv(model.folder / PREDICTIONS_FILE) if model else pd.DataFrame()
    except FileNotFoundError:
        table = pd.DataFrame()
    return table.reindex(columns=list(columns)).rename(columns=columns).dropna()
