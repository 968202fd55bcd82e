"""Batches of visitors while they run: one for each visitor, stopped by its button or by closing the page.

What a batch needs lies with the visitor's uploads, which are deleted after a day; what it makes is three
tables among them. A visitor is a session: a page that is open, or a client.
"""

import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import BatchError
from core.many.batch import Batch, read_batch, score_batch
from core.many.clip_files import ClipFiles
from core.many.records import FORMATS, Cells, write_records
from core.many.table import columns_with
from core.scorer import Scorer
from webapp.judge import Judge

_NO_MANIFEST = (
    "There is no manifest. Give a CSV, JSON Lines or Parquet file with the columns file and prompt."
)
_NO_FILES = "There are no clips. Give the audio files, or a ZIP of them."
_TWICE = "A batch of yours is being scored already. Wait for it, or stop it."


@dataclass(frozen=True)
class Course:
    """How far a batch is.

    Attributes
    ----------
    batch : Batch
    records : list of dict
        The finished rows.
    took_s : float
        Since the first row was begun.
    ended : bool
    n_unused : int
        Files that no row asks for.
    scorer : Scorer
        The judge when it began, which scores it to its end.
    """

    batch: Batch
    records: list[Cells]
    took_s: float
    ended: bool
    n_unused: int
    scorer: Scorer


class Batches:
    """The batches of a server.

    Parameters
    ----------
    judge : Judge
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._running: dict[str, threading.Event] = {}
        self._lock = threading.Lock()

    def run(self, visitor: str, manifest: str | None, files: Sequence[str] | None) -> Iterator[Course]:
        """Score a batch.

        Parameters
        ----------
        visitor : str
        manifest : str, optional
            Path of the table.
        files : sequence of str, optional
            Paths of clips and archives.

        Yields
        ------
        Course
            At the beginning, whenever rows are finished, and at the end.

        Raises
        ------
        BatchError, DataError
            It cannot begin.
        """
        if manifest is None:
            raise BatchError(_NO_MANIFEST)
        if not files:
            raise BatchError(_NO_FILES)
        scorer, records = self._judge.scorer, list[Cells]()
        with self._turn(visitor) as stopped:
            batch = read_batch(Path(manifest))
            asked = [row.file for row in batch.rows]
            with ClipFiles([Path(file) for file in files], asked, scorer.limits) as clips:
                start_s, n_rows = time.monotonic(), len(batch.rows)
                yield Course(batch, records, 0.0, False, clips.n_unused, scorer)
                for some in score_batch(scorer, batch, clips):
                    records += some
                    took_s, ended = time.monotonic() - start_s, stopped.is_set() or len(records) == n_rows
                    yield Course(batch, records, took_s, ended, clips.n_unused, scorer)
                    if ended:
                        return

    def stop(self, visitor: str) -> None:
        """End a visitor's batch after the rows that are being scored, if there is one."""
        with self._lock:
            if visitor in self._running:
                self._running[visitor].set()

    @contextmanager
    def _turn(self, visitor: str) -> Iterator[threading.Event]:
        with self._lock:
            if visitor in self._running:
                raise BatchError(_TWICE)
            stopped = self._running[visitor] = threading.Event()
        try:
            yield stopped
        finally:
            with self._lock:
                del self._running[visitor]


@contextmanager
def tables(batch: Batch, records: Sequence[Cells]) -> Iterator[Mapping[str, Path]]:
    """Write the tables of a batch, by suffix; they are there until the block ends."""
    with tempfile.TemporaryDirectory(prefix="musiceval-batch-") as folder:
        paths = {suffix: Path(folder) / f"scores{suffix}" for suffix in FORMATS}
        for path in paths.values():
            write_records(path, columns_with(batch.others), records)
        yield paths
