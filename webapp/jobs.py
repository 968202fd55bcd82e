"""Jobs: clip lists that are scored whether their page is open or not, each at an address that nobody can guess.

A job runs in a thread of the server's. When it has ended, its rows lie in a file for a day (`webapp.kept`), and the
clips are among the uploads. Whoever has its address sees it, stops it, tries failed rows again, and deletes it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from gradio.processing_utils import save_bytes_to_cache

from core.audio import AudioLimits
from core.batch.manifest import OK, Cells
from core.batch.uploads import ClipFiles
from core.errors import BatchError, counted
from webapp.handlers import sentence_of
from webapp.kept import NamedFiles, new_name
from webapp.list_runs import Given, ListRun, ListRuns
from webapp.retention import kept_for, kept_s
from webapp.temporary import own_folder

MOST = 500  # that are kept; the oldest go first
_MOST_BYTES = 500_000_000  # of their rows
_MOST_RUNNING = 16  # each holds its list, which may have `ListLimits.max_text` characters
_MOST_UNPACKED_BYTES = 500_000_000  # of clips that were taken out of ZIPs to be heard

_BUSY = f"{_MOST_RUNNING} clip lists are being scored, the most at a time. Try again in some minutes."


def gone() -> str:
    """Say that a list is not kept any more."""
    return f"This list is not kept here any more: lists stay for {kept_for()}, or until the server starts anew."


@dataclass(frozen=True)
class Job:
    """A clip list that was given, and how far it is; `error` says why it ended before its end."""

    name: str
    given: Given
    run: ListRun
    began_s: float  # since 1970
    error: str = ""

    @property
    def title(self) -> str:
        """What the visitor knows it by."""
        if self.given.clip_list:
            return Path(self.given.clip_list).name
        many, prompt = counted(self.run.n_rows, "clip"), (self.given.prompt or "").strip()
        return f"{many} for “{prompt[:60]}”" if prompt else many

    @property
    def ended(self) -> bool:
        """Whether nothing of it is being scored."""
        return self.run.ended or bool(self.error)

    def clip_of(self, number: int, limits: AudioLimits) -> Path | bytes:
        """Return the upload that a finished row was scored from, or what a ZIP held; BatchError if it is gone."""
        self.check_files()
        with ClipFiles(map(Path, self.given.files), (one["file"] for one in self.run.records), limits) as clips:
            found = clips.find(self.run.done[number]["file"])
        assert isinstance(found, Path | bytes)
        return found

    def check_files(self) -> None:
        """Raise BatchError where an upload is gone."""
        given = [*self.given.files, *([self.given.clip_list] if self.given.clip_list else [])]
        if not all(Path(file).is_file() for file in given):
            raise BatchError(
                f"Its clips are not here any more: uploads stay for {kept_for()}. Give the list and its clips again."
            )


class Jobs:
    """The jobs of a server. `runs` scores them; `clock` gives seconds since 1970."""

    def __init__(self, runs: ListRuns, folder: Path | None = None, clock: Callable[[], float] = time.time) -> None:
        self._runs, self._clock = runs, clock
        self._files = NamedFiles(folder or own_folder("jobs"), clock)
        self._live: dict[str, Job] = {}  # being scored, or not to be written
        self._addresses: dict[str, str] = {}
        self._lock = threading.Lock()

    def start(self, address: str, given: Given) -> Job:
        """Begin a job for who asks from an address; a BatchError or DataError where it cannot begin."""
        return self._begin(new_name(), address, given, {})

    def find(self, name: str) -> Job | None:
        """Return a job; None if it is gone, or never was."""
        if live := self._live.get(name):
            return live
        found = self._files.read(name)
        if found is None:
            return None
        given = Given(**{**found["given"], "files": tuple(found["given"]["files"])})
        return Job(**{**found, "given": given, "run": ListRun.from_json(found["run"])})

    def get(self, name: str) -> Job:
        """Return a job; BatchError where there is none."""
        found = self.find(name)
        if found is None:
            raise BatchError(gone())
        return found

    def n_before(self, job: Job) -> int:
        """Return how many lists of others have their turn before a job's next clips."""
        return self._runs.turns.n_before(self._addresses.get(job.name, "")) if not job.ended else 0

    def again(self, name: str, address: str, more: tuple[str, ...] = ()) -> Job:
        """Score what failed or was not begun, with `more` files than before; all where another model judges."""
        job = self.get(name)
        job.check_files()
        files = (*job.given.files, *(file for file in more if file not in job.given.files))
        judge = self._runs.scorer(job.given).checkpoint.sha256
        kept = {
            number: record
            for number, record in job.run.done.items()
            if (record["status"], record["model_sha256"]) == (OK, judge)
        }
        return self._begin(name, address, replace(job.given, files=files), kept)

    def stop(self, name: str) -> None:
        """End a job after the clips that are being scored."""
        self._runs.stop(name)

    def forget(self, name: str) -> None:
        """End a job and keep it no longer."""
        self.stop(name)
        with self._lock:
            self._live.pop(name, None)
            self._files.forget(name)

    def _begin(self, name: str, address: str, given: Given, kept: dict[int, Cells]) -> Job:
        with self._lock:
            oldest_s = self._clock() - kept_s()
            self._live = {one.name: one for one in self._live.values() if not one.ended or one.began_s > oldest_s}
            if len(self._live) >= _MOST_RUNNING:
                raise BatchError(_BUSY)
        course = self._runs.run(name, address, given, kept)
        job = Job(name, given, next(course), self._clock())  # what is wrong with the list is told here
        with self._lock:
            self._live[name], self._addresses[name] = job, address
        threading.Thread(target=self._work, args=[job, course], name="job", daemon=True).start()
        return job

    def _work(self, job: Job, course: Iterator[ListRun]) -> None:
        try:
            for run in course:
                job = replace(job, run=run)
                self._put(job)
        except Exception as error:  # noqa: BLE001 - the thread ends with it: the page is told
            job = replace(job, error=sentence_of(error))
        self._end(job)

    def _put(self, job: Job) -> None:
        with self._lock:
            if job.name in self._live:  # else it was deleted
                self._live[job.name] = job

    def _end(self, job: Job) -> None:
        self._put(job)
        with self._lock:
            self._addresses.pop(job.name, None)
            if job.name not in self._live:
                return
            try:
                self._files.write(job.name, _stored(job), MOST, _MOST_BYTES)
            except OSError:  # the disk is full: it stays in memory
                return
            del self._live[job.name]


class Unpacked:
    """Clips that were taken out of ZIPs to be heard; the oldest go where they are too many."""

    def __init__(self) -> None:
        self._files = deque[tuple[Path, int]]()
        self._lock = threading.Lock()

    def save(self, content: bytes, name: str, folder: str) -> str:
        """Lay a clip among the uploads and return its path."""
        path: str = save_bytes_to_cache(content, name, folder)
        with self._lock:
            self._files.append((Path(path), len(content)))
            while len(self._files) > 1 and sum(size for _, size in self._files) > _MOST_UNPACKED_BYTES:
                self._files.popleft()[0].unlink(missing_ok=True)
        return path


def _stored(job: Job) -> dict[str, Any]:
    return {"name": job.name, "given": asdict(job.given), "run": job.run.to_json(), "began_s": job.began_s,
            "error": job.error}  # fmt: skip
