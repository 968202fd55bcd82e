"""Training runs as processes of their own.

A run is ``python -m core train --output <models>/<name>`` in a session of its own, so it outlives the server
that started it. All that is known of it lies in its folder:

    order.json      what was ordered, a `core.training.recipe.TrainingPlan`
    run.log         what the process said
    progress.json   what training does (`core.training.folder`)
    config.json     there when the run is done: the folder is a model by then
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
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from core.errors import TrainingError, shown_name
from core.files import json_text, write_atomically
from core.model_files import CONFIG_FILE, PROGRESS_FILE
from core.settings import environment
from core.training.recipe import RunProgress, TrainingPlan

RUNNING, DONE, STOPPED, FAILED, BROKEN_OFF = "running", "done", "stopped", "failed", "broken off"
UNLEARNED = "unlearned"  # the phase of a run that is done, and came to nothing
ORDER_FILE, SAID_FILE = "order.json", "run.log"
TRAINER = (sys.executable, "-P", "-m", "core", "train")
GRACE_S = 30.0  # within it a run has finished its step and saved its state; then it is killed

_LOCK, _DELETED = ".turn", ".deleted"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_POLL_S = 0.05
_LOG_TAIL_BYTES = 4_000
_SAID_LINES = 12
_PROGRESS_BAR = "%|"
_NO_WORD = "It ended without a word. The machine may have been switched off, or have run out of memory."
_LAST_WORDS = "It ended before its work was done. The last that it said:"


@dataclass(frozen=True)
class Run:
    """A run as it stands.

    The state is `RUNNING`, `DONE`, `STOPPED`, `FAILED`, or `BROKEN_OFF`: killed, or ended without saying why;
    then the message of its progress says what is known.
    """

    name: str
    folder: Path
    plan: TrainingPlan
    state: str
    progress: RunProgress = field(default_factory=RunProgress)


def read_run(folder: Path, running: bool) -> Run:
    """Read a run, whose process is there or not; a TrainingError if it was not ordered here."""
    name = folder.name
    try:
        plan = TrainingPlan.from_json(json.loads((folder / ORDER_FILE).read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"There is no run {shown_name(name)} that was started here.") from error
    progress = read_progress(folder)
    if running:
        return Run(name, folder, plan, RUNNING, progress)
    if (folder / CONFIG_FILE).is_file():
        return Run(name, folder, plan, DONE, progress)
    if progress.phase in (STOPPED, FAILED):
        return Run(name, folder, plan, progress.phase, progress)
    return Run(name, folder, plan, BROKEN_OFF, replace(progress, message=_last_words(folder)))


def read_progress(folder: Path) -> RunProgress:
    """What training has reported last; nothing before it has begun."""
    try:
        reported = json.loads((folder / PROGRESS_FILE).read_bytes())
        return RunProgress(**{of.name: reported[of.name] for of in fields(RunProgress)})
    except FileNotFoundError:
        return RunProgress()
    except (OSError, ValueError, KeyError, TypeError) as error:
        return RunProgress(message=f"{PROGRESS_FILE} of the run cannot be read ({type(error).__name__}).")


def _last_words(folder: Path) -> str:
    """The end of what a run has said, without its progress bars."""
    try:
        with (folder / SAID_FILE).open("rb") as log:
            log.seek(max(0, (folder / SAID_FILE).stat().st_size - _LOG_TAIL_BYTES))
            text = log.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return _NO_WORD
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    said = [line for line in lines if line and _PROGRESS_BAR not in line]
    return "\n".join([_LAST_WORDS, *said[-_SAID_LINES:]]) if said else _NO_WORD


@dataclass(frozen=True)
class _Holder:
    """The run that holds the lock, and its process group; 0 if its starter did not live to note it."""

    name: str
    group: int


class RunManager:
    """The runs in a folder of models, one at a time.

    `cache` is the folder of embeddings; `trainer`, the command that trains, stands in for `TRAINER`.
    """

    def __init__(self, models: Path, cache: Path, trainer: Sequence[str] | None = None) -> None:
        self.models = models.absolute()
        self._cache = cache.absolute()
        self._trainer = TRAINER if trainer is None else trainer
        self._asking = threading.Lock()

    def start(self, plan: TrainingPlan, name: str | None = None) -> Run:
        """Start a run; without a name, its folder is named by the time and the recipe, or ``calibrated``.

        A TrainingError if another run is going, or the name is taken or cannot be one.
        """
        name = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{'calibrated' if plan.judge else plan.recipe.name}"
        folder = self._folder(name)
        with self._lock() as lock:
            if folder.exists():
                raise TrainingError(f"There is a model or a run {shown_name(name)}. Choose another name.")
            folder.mkdir()
            write_atomically(folder / ORDER_FILE, json_text(plan.to_json()))
            self._launch(plan, folder, lock)
        return self.run(name)

    def resume(self, name: str) -> Run:
        """Go on with a run that was stopped, failed or broken off, as it was ordered.

        A TrainingError if another run is going, or this one is finished or not there.
        """
        with self._lock() as lock:
            run = read_run(self._folder(name), running=False)
            if run.state == DONE:
                raise TrainingError(f"The run {shown_name(name)} is finished. There is nothing to go on with.")
            (run.folder / PROGRESS_FILE).unlink(missing_ok=True)
            self._launch(run.plan, run.folder, lock)
        return self.run(name)

    def run(self, name: str) -> Run:
        """Return a run as it stands; a TrainingError if there is none of that name."""
        return read_run(self._folder(name), name == self.running())

    def all(self) -> list[Run]:
        """Return the runs that were started here, the newest first."""
        running = self.running()
        orders = self.models.glob(f"[!.]*/{ORDER_FILE}")
        newest = sorted(orders, key=lambda path: path.stat().st_mtime_ns, reverse=True)
        return [read_run(path.parent, path.parent.name == running) for path in newest]

    def running(self) -> str | None:
        """Return the name of the run that is going."""
        holder = self._holder()
        return holder.name if holder else None

    def stop(self, name: str, grace_s: float = GRACE_S) -> Run:
        """Have a run save its state and end; kill it after `grace_s`. A TrainingError if it does not run."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            holder = self._holder()
            if holder is None or holder.name != name:
                if how is signal.SIGTERM:
                    raise TrainingError(f"The run {shown_name(name)} is not running.")
                break
            if not holder.group:
                raise TrainingError("This run can only be stopped by ending its process on the server.")
            os.killpg(holder.group, how)
            deadline_s = time.monotonic() + grace_s
            while self.running() == name and time.monotonic() < deadline_s:
                time.sleep(_POLL_S)
        return self.run(name)

    def delete(self, name: str) -> None:
        """Put a run that has not become a model away; the one put away before it is gone for good.

        A TrainingError if it is running, is a model by now, or is not there.
        """
        run = self.run(name)
        if run.state in (RUNNING, DONE):
            raise TrainingError(f"The run {shown_name(name)} is {run.state}. Only an unfinished one can go.")
        kept = self.models / _DELETED
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        run.folder.rename(kept / name)

    def deleted(self) -> str | None:
        """Return the name of the run that was put away last, for `restore`."""
        return next((path.name for path in (self.models / _DELETED).glob("*")), None)

    def restore(self) -> Run:
        """Bring back the run that was put away last; a TrainingError if there is none."""
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

    # Not `filelock`: this lock belongs to the run's process, which inherits its descriptor, and the system
    # lets go of it when that process ends, however it ends and whoever started it. Source: flock(2), "Locks
    # created by flock() are associated with an open file description".
    @contextmanager
    def _lock(self) -> Iterator[BinaryIO]:
        self.models.mkdir(parents=True, exist_ok=True)
        with self._asking, (self.models / _LOCK).open("a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise TrainingError(
                    "Another run is going, and there is one at a time. Wait until it ends, or stop it."
                ) from error
            yield lock

    def _holder(self) -> _Holder | None:
        path = self.models / _LOCK
        if not path.exists():
            return None
        with self._asking, path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                name, _, group = lock.read().decode().partition(" ")
                return _Holder(name, int(group or 0))
        return None

    def _launch(self, plan: TrainingPlan, folder: Path, lock: BinaryIO) -> None:
        command = [*self._trainer, *plan.arguments(), f"--output={folder}", f"--cache={self._cache}"]
        lock.truncate(0)
        lock.write(f"{folder.name} ".encode())
        lock.flush()
        with (folder / SAID_FILE).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment() | {"TQDM_MININTERVAL": "5"},
                pass_fds=[lock.fileno()],
                start_new_session=True,
            )
        lock.write(str(process.pid).encode())
        lock.flush()
        threading.Thread(target=process.wait, daemon=True).start()  # whoever starts a process buries it
