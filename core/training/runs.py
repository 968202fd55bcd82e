"""Training runs as processes of their own: started, watched, stopped, continued and deleted from a page.

A run is ``python -m core train --output <models>/<name>`` in a session of its own, so it outlives the server
that started it. All that is known of it lies in its folder: what was ordered (``order.json``), what it says
(``run.log``), and what training writes there (``progress.json``, ``log.csv``, at the end ``config.json``).

One run at a time: its process holds a lock on ``<models>/.turn`` through a descriptor that it inherits, and
the system lets go of it when the process ends, however it ends. Source: flock(2), "Locks created by flock()
are associated with an open file description".
"""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import core
from core.errors import TrainingError, shown_name
from core.settings import ADMIN_PASSWORD
from core.training.run_folder import PROGRESS_FILE
from core.training.run_status import DONE, ORDER_FILE, RUNNING, SAID_FILE, Run, RunOrder, read_run

TRAINER = (sys.executable, "-P", "-m", "core", "train")
GRACE_S = 30.0  # within it a run has finished its step and saved its state; then it is killed

_TURN, _DELETED = ".turn", ".deleted"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_POLL_S = 0.05


class Runs:
    """The runs in a folder of models.

    Parameters
    ----------
    models : Path
        Made when the first run starts.
    cache : Path
        Folder of the embedding cache.
    trainer : sequence of str, optional
        The command that trains, without its options, in place of `TRAINER`.
    """

    def __init__(self, models: Path, cache: Path, trainer: Sequence[str] | None = None) -> None:
        self.models = models.absolute()
        self._cache = cache.absolute()
        self._trainer = TRAINER if trainer is None else trainer
        self._asking = threading.Lock()

    def start(self, order: RunOrder, name: str | None = None) -> Run:
        """Start a run.

        Parameters
        ----------
        order : RunOrder
        name : str, optional
            Of its folder, and later of the model; without one, the time and the recipe.

        Raises
        ------
        TrainingError
            Another run is going, or the name is taken or cannot be one.
        """
        name = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{order.recipe}"
        folder = self._folder(name)
        with self._turn() as turn:
            if folder.exists():
                raise TrainingError(f"There is a model or a run {shown_name(name)}. Choose another name.")
            folder.mkdir()
            (folder / ORDER_FILE).write_text(json.dumps(order.to_json(), indent=2) + "\n", encoding="utf-8")
            self._launch(order, folder, turn)
        return self.run(name)

    def resume(self, name: str) -> Run:
        """Go on with a run that was stopped, failed or broken off, as it was ordered.

        Raises
        ------
        TrainingError
            Another run is going, or this one is finished or not there.
        """
        with self._turn() as turn:
            run = read_run(self._folder(name), running=False)
            if run.state == DONE:
                raise TrainingError(
                    f"The run {shown_name(name)} is finished. There is nothing to go on with."
                )
            (run.folder / PROGRESS_FILE).unlink(missing_ok=True)
            self._launch(run.order, run.folder, turn)
        return self.run(name)

    def run(self, name: str) -> Run:
        """Give a run as it stands.

        Raises
        ------
        TrainingError
            There is none of that name.
        """
        return read_run(self._folder(name), name == self.running())

    def all(self) -> list[Run]:
        """Give the runs that were started here, the newest first."""
        running = self.running()
        orders = self.models.glob(f"[!.]*/{ORDER_FILE}")
        newest = sorted(orders, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [read_run(path.parent, path.parent.name == running) for path in newest]

    def running(self) -> str | None:
        """Give the name of the run that is going."""
        holder = self._holder()
        return None if holder is None else holder[0]

    def stop(self, name: str, grace_s: float = GRACE_S) -> Run:
        """Have a run save its state and end; kill it when it does not.

        Parameters
        ----------
        name : str
        grace_s : float
            How long it may take, in seconds.

        Raises
        ------
        TrainingError
            It is not running.
        """
        for how, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, grace_s)):
            holder = self._holder()
            if holder is None or holder[0] != name:
                if how is signal.SIGTERM:
                    raise TrainingError(f"The run {shown_name(name)} is not running.")
                break
            if not holder[1]:
                raise TrainingError("This run can only be stopped by ending its process on the server.")
            os.killpg(holder[1], how)
            deadline_s = time.monotonic() + wait_s
            while self.running() == name and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
        return self.run(name)

    def delete(self, name: str) -> None:
        """Put a run that has not become a model away; the one put away before it is gone for good.

        Raises
        ------
        TrainingError
            It is running, is a model by now, or is not there.
        """
        run = self.run(name)
        if run.state in (RUNNING, DONE):
            raise TrainingError(f"The run {shown_name(name)} is {run.state}. Only an unfinished one can go.")
        kept = self.models / _DELETED
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        run.folder.rename(kept / name)

    def deleted(self) -> str | None:
        """Give the name of the run that was put away last, for `restore`."""
        return next((path.name for path in (self.models / _DELETED).glob("*")), None)

    def restore(self) -> Run:
        """Bring back the run that was put away last.

        Raises
        ------
        TrainingError
            There is none, or its name is taken by now.
        """
        name = self.deleted()
        if name is None or (self.models / name).exists():
            raise TrainingError("There is no deleted run that could be brought back.")
        (self.models / _DELETED / name).rename(self.models / name)
        return self.run(name)

    def _folder(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise TrainingError(
                f"{shown_name(name)} cannot be the name of a run. Use up to 64 letters, digits, hyphens and "
                "underscores, beginning with a letter or digit."
            )
        return self.models / name

    @contextmanager
    def _turn(self) -> Iterator[BinaryIO]:
        """Hold the turn; a process that inherits the file goes on holding it."""
        self.models.mkdir(parents=True, exist_ok=True)
        with self._asking, (self.models / _TURN).open("a+b") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TrainingError(
                    "Another run is going, and there is one at a time. Wait until it ends, or stop it."
                ) from error
            yield turn

    def _holder(self) -> tuple[str, int] | None:
        """Name and process group of the run that holds the turn; 0 if its starter did not live to note it."""
        path = self.models / _TURN
        if not path.exists():
            return None
        with self._asking, path.open("rb") as turn:
            try:
                fcntl.flock(turn, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                name, _, group = turn.read().decode().partition(" ")
                return name, int(group or 0)
        return None

    def _launch(self, order: RunOrder, folder: Path, turn: BinaryIO) -> None:
        places = [f"--output={folder}", f"--cache={self._cache}"]
        command = [*self._trainer, *order.arguments(), *places]
        paths = [str(Path(core.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {name: value for name, value in os.environ.items() if name != ADMIN_PASSWORD}
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TQDM_MININTERVAL": "5"}
        turn.truncate(0)
        turn.write(f"{folder.name} ".encode())
        turn.flush()
        with (folder / SAID_FILE).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                pass_fds=[turn.fileno()],
                start_new_session=True,
            )
        turn.write(str(process.pid).encode())
        turn.flush()
        threading.Thread(target=process.wait, daemon=True).start()  # whoever starts a process buries it
