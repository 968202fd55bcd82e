"""A run over a manifest on one machine: rows in, one record out for each, whatever interrupts it.

Rows are dealt to the devices some at a time, and finished in order: first in a journal beside the output,
then, when all are there, in the output itself, which appears whole.

    <output>.part    journal of a run
    <output>.retry   journal of a run that scores the failed rows of a finished output again

Memory does not grow with the number of rows.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import DataError, shown_name
from core.many.journal import open_journal
from core.many.manifest import OWN_COLUMNS, Manifest, Row
from core.many.records import Cells, check_format, read_records, write_records
from core.many.rows import Judging
from core.many.table import COLUMNS, OK, SCORE_COLUMNS, columns_with, from_table
from core.many.workers import Task, open_workers
from core.tables import Problems

ROWS_AT_ONCE = 32  # are finished together: some seconds of work for the small model on two cores


@dataclass(frozen=True)
class Counts:
    """How far a run is.

    Attributes
    ----------
    n_rows : int
        In the manifest.
    n_done, n_ok : int
        Rows that are finished, and those of them that have scores.
    """

    n_rows: int
    n_done: int
    n_ok: int


def score_manifest(
    path: Path,
    output: Path,
    judging: Judging,
    devices: Sequence[str],
    tell: Callable[[Counts], None],
    retry_failed: bool = False,
) -> Counts:
    """Score the rows of a manifest that are not finished yet.

    Parameters
    ----------
    path : Path
        The manifest.
    output : Path
        A table (`core.many.records`); its folder is made where it is missing.
    judging : Judging
    devices : sequence of str
        As torch names them; more than one are used by a process each.
    tell : callable
        Called at the beginning and whenever rows are finished.
    retry_failed : bool
        Whether failed rows of a finished output are scored again.

    Returns
    -------
    Counts

    Raises
    ------
    DataError
        The manifest is not in order, or the output is of another manifest or model, or cannot be written.
    CheckpointError
        The model cannot be loaded.
    BatchError
        One of several processes died.
    """
    check_format(output)
    manifest = Manifest.check(path, SCORE_COLUMNS)
    scorer = judging.scorer()
    model_sha256 = scorer.checkpoint.sha256
    part, retry = (output.with_name(output.name + suffix) for suffix in (".part", ".retry"))
    is_again = output.exists() and not part.exists()
    if is_again and not retry.exists():
        n_ok = sum(record["status"] == OK for _, record in _read_scores(output, manifest, model_sha256))
        counts = Counts(manifest.n_rows, manifest.n_rows, n_ok)
        if counts.n_ok == counts.n_rows or not retry_failed:
            tell(counts)
            return counts
    _make_folder(output.parent)
    header = {
        "manifest": manifest.sha256,
        "model": model_sha256,
        "precision": judging.precision,
        "limits": asdict(judging.limits),
    }
    with (
        open_workers(scorer, judging, devices) as score,
        open_journal(retry if is_again else part, header) as journal,
    ):
        tell(Counts(manifest.n_rows, journal.n_rows, journal.n_ok))
        new = ((row, None) for row in manifest.rows())
        tasks = _read_scores(output, manifest, model_sha256) if is_again else new
        for records in score(_chunks(itertools.islice(tasks, journal.n_rows, None))):
            journal.append(records)
            tell(Counts(manifest.n_rows, journal.n_rows, journal.n_ok))
        write_records(output, columns_with(manifest.others), journal.records())
        journal.remove()
    return Counts(manifest.n_rows, journal.n_rows, journal.n_ok)


def _read_scores(output: Path, manifest: Manifest, model_sha256: str) -> Iterator[tuple[Row, Cells]]:
    """The rows with their records of a finished output; DataError where they are not of this run."""
    records = (cells for _, cells in read_records(output, Problems(output.name)))
    for row, cells in itertools.zip_longest(manifest.rows(), records):
        is_same = row and cells and all(cells.get(column) == getattr(row, column) for column in OWN_COLUMNS)
        if not is_same or cells.get("model_sha256") != model_sha256:
            raise DataError(
                f"{shown_name(output.name)} is there already, with scores of another "
                f"{'model' if is_same else 'manifest'}. Give another output, or move it."
            )
        yield row, {**from_table({column: cells.get(column) for column in COLUMNS}), **row.others}


def _chunks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    while chunk := list(itertools.islice(tasks, ROWS_AT_ONCE)):
        yield chunk


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {shown_name(folder.name)} cannot be made: {error.strerror}.") from error
