"""A run over a clip list on one machine: rows in, one record out for each, whatever interrupts it.

Rows are dealt to the devices some at a time. The finished ones lie in a SQLite file beside the output,
``<output>.part``, until all are there; then the output appears whole and that file goes. Each lot of rows is
a transaction, on the disk before the next, so whatever ends the run costs the rows in work and no other.
SQLite's own lock keeps a second process out. Memory does not grow with the number of rows.

A clip that cannot be scored gives a record that says why.

Finished rows, of a run that goes on and of an output that is there already, are kept as long as their audio has
the same SHA-256, and the judge and its precision are the same; the others are scored again. All clips are read
for that, which takes a small part of the time of scoring them; times of files are no proof: they are copied too.
"""

import itertools
import json
import multiprocessing
import os
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from core.audio import AudioLimits, ClipSource
from core.batch.manifest import (
    FAILED,
    OK,
    OWN_COLUMNS,
    RANK,
    Cells,
    ClipList,
    Row,
    check_format,
    from_cells,
    read_records,
    score_columns,
    table_columns,
    write_records,
)
from core.batch.parts import Part
from core.errors import AudioError, BatchError, DataError, shown_name
from core.feed import READERS, clip_sha256, in_order
from core.files import Problems, find_file
from core.readers import Readers, cores, readers_for
from core.scorer import Item, Scorer
from core.scores import Score, Unscored
from core.zero_shot import load_scorer

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

ROWS_AT_ONCE = 32  # are finished together: some seconds of work for the small model on two cores
_GROUPS = 8  # of rows that are finished together, which a process is given at once
_CHUNKS_AHEAD = 2  # for each process: one is scored, one waits
_APPLICATION = 0x4D754576  # marks a SQLite file as ours
_OLD_JOURNAL = b'{"format": 1'  # how a half-done run of version 0.1 begins, a file of JSON lines

Chunk = Sequence[tuple[int, Row]]  # rows with their numbers in the list, from 0
Finished = list[tuple[int, Cells]]


@dataclass(frozen=True)
class Judging:
    """How rows are scored; can be sent to another process."""

    model: Path | None  # checkpoint folder; None is the embedded judge
    cache: Path | None  # folder of the embeddings; None keeps none
    precision: str  # as `core.embeddings.EmbeddingCache` takes it
    limits: AudioLimits
    zero_shot: str | None = None  # a tower that judges without trained heads, in place of the model

    def scorer(self, device: str | None = None) -> Scorer:
        """Load what judges, as `core.zero_shot.load_scorer` does."""
        return load_scorer(self.model, self.zero_shot, self.limits, device, self.cache, self.precision)


@dataclass(frozen=True)
class Counts:
    """How far a run is: rows of the list, finished rows, and those of them that have scores.

    `n_again` rows had been finished before, with other audio or by another judge; `notes` are the list's.
    """

    n_rows: int
    n_done: int
    n_ok: int
    n_again: int = 0
    notes: tuple[str, ...] = ()


def score_manifest(
    path: Path,
    output: Path,
    judging: Judging,
    devices: Sequence[str],
    report: Callable[[Counts], None],
    retry_failed: bool = False,
    part: Part | None = None,
) -> Counts:
    """Score the rows of a clip list that are not finished yet, or those of a `part`, into a table of their own.

    More than one of the `devices`, which go by torch's names, are used by a process each. `report` is called at the
    beginning and whenever rows are finished. With `retry_failed`, failed rows of a finished output are scored again.
    DataError where the list or the output is not in order, BatchError where one of several processes died.
    """
    check_format(output)
    output = part.file(output) if part else output
    _refuse_old_journals(output)
    scorer = judging.scorer(devices[0] if len(devices) == 1 else None)  # several have a process each
    checkpoint, is_ranked = scorer.checkpoint, scorer.preference is not None
    clip_list = ClipList.check(path, score_columns(checkpoint.scales, is_ranked), output)
    clip_list = part.rows(clip_list) if part else clip_list
    journal = output.with_name(f"{output.name}.part")
    is_whole = output.exists() and not journal.exists()
    _make_folder(output.parent)
    about = {
        "clip list": clip_list.sha256,
        "model": checkpoint.sha256,
        "precision": judging.precision,
        "limits": asdict(judging.limits),
    }
    earlier = enumerate(_read_scores(output, clip_list, scorer)) if output.exists() else ()
    kept = (numbered for numbered in earlier if numbered[1]["status"] == OK or not retry_failed)
    with (
        _open_workers(scorer, judging, devices, clip_list.n_rows) as score,
        open_finished_rows(journal, about, kept) as finished,
    ):
        n_again = finished.remove(_outdated(clip_list, finished, scorer))
        counts = Counts(clip_list.n_rows, finished.n_rows, finished.n_ok, n_again, clip_list.notes)
        report(counts)
        pending = (numbered for numbered in enumerate(clip_list.rows()) if numbered[0] not in finished)
        for records in score(_chunks(pending)):
            finished.add(records)
            counts = replace(counts, n_done=finished.n_rows, n_ok=finished.n_ok)
            report(counts)
            is_whole = False
        if not is_whole:
            write_records(output, table_columns(checkpoint.scales, clip_list.others, is_ranked), finished.records())
    journal.unlink()
    return counts


def _outdated(clip_list: ClipList, finished: "FinishedRows", scorer: Scorer) -> Iterator[int]:
    """Numbers of the finished rows with scores of other audio, or by another judge, than there is now."""

    def number_if_outdated(given: tuple[int, Row, Cells]) -> int | None:
        number, row, record = given
        judged = record.get("model_sha256"), record.get("precision")
        is_same = judged == (scorer.checkpoint.sha256, scorer.precision)
        is_same = is_same and (record["status"] != OK or record["sha256"] == _sha256_now(row))
        return None if is_same else number

    done = ((number, row, finished.get(number)) for number, row in enumerate(clip_list.rows()))
    given = ((number, row, record) for number, row, record in done if record is not None)
    with ThreadPoolExecutor(READERS) as threads:
        found = in_order(threads, number_if_outdated, given, READERS + 1)
        yield from (number for number in found if number is not None)


def _sha256_now(row: Row) -> str | None:
    try:
        return clip_sha256(local_file(row))
    except AudioError:
        return None


def all_devices(device: torch.device) -> list[str]:
    """Name every device of a kind: for CUDA each GPU."""
    if device.type != "cuda":
        return [device.type]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


def local_file(row: Row) -> Path:
    """Return the path of a row's clip, or raise AudioError where it names none, or its prompt cannot be read."""
    if row.fault:
        raise AudioError(row.fault)
    if row.path is None:
        raise AudioError("The row names no file. Fill in the column file.")
    return find_file(row.path)


def score_rows(scorer: Scorer, rows: Iterable[Row], fetch: Callable[[Row], ClipSource] = local_file) -> Iterator[Cells]:
    """Score rows, in order; `fetch` returns a row's clip, may raise AudioError, and runs in a thread."""
    kept, given = itertools.tee(rows)
    items = (
        Item(_Fetched(fetch, row.file, row.path, row.fault, row), row.prompt, Path(row.file).name) for row in given
    )
    for result in scorer.score_many(items):
        yield _record(next(kept), result, scorer)


@dataclass(frozen=True)
class _Fetched:
    """A row's clip, to be fetched; equal to that of another row of the same file."""

    fetch: Callable[[Row], ClipSource]
    file: str
    path: Path | None
    fault: str
    row: Row = field(compare=False)

    def __call__(self) -> ClipSource:
        return self.fetch(self.row)


def _record(row: Row, result: Score | Unscored, scorer: Scorer) -> Cells:
    checkpoint = scorer.checkpoint
    record: Cells = {
        **{column: getattr(row, column) for column in OWN_COLUMNS},
        **dict.fromkeys(score_columns(checkpoint.scales, scorer.preference is not None)),
        "model": checkpoint.id,
        "model_sha256": checkpoint.sha256,
        "precision": scorer.precision,
        **row.others,
    }
    if isinstance(result, Unscored):
        return record | {"status": FAILED, "reason": result.reason}
    around, clip = result.intervals, result.provenance.audio
    for scale, (low, high) in around.bounds.items() if around else ():
        record |= {f"{scale}_low": low, f"{scale}_high": high}
    if result.preference:
        record |= {RANK: result.preference.higher_than_percent}
    return record | {
        **result.values,
        "interval_level": around.level if around else None,
        "duration_s": clip.duration_s,
        "sha256": clip.sha256,
        "warnings": ";".join(warning.code for warning in result.warnings),
        "status": OK,
        "reason": "",
    }


class FinishedRows:
    """The finished rows of a run, in an open SQLite file; `n_ok` of these `n_rows` have scores."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._count()

    def _count(self) -> None:
        counted = self._database.execute("SELECT COUNT(*), COALESCE(SUM(ok), 0) FROM finished").fetchone()
        self.n_rows, self.n_ok = counted

    def __contains__(self, number: int) -> bool:
        return self.get(number) is not None

    def get(self, number: int) -> Cells | None:
        """Return the record of a row, None where it is not finished."""
        found = self._database.execute("SELECT record FROM finished WHERE number = ?", (number,)).fetchone()
        return None if found is None else json.loads(found[0])

    def remove(self, numbers: Iterable[int]) -> int:
        """Remove rows, and return how many."""
        with self._database:
            self._database.execute("CREATE TEMPORARY TABLE removed (number INTEGER)")
            self._database.executemany("INSERT INTO removed VALUES (?)", ((number,) for number in numbers))
            self._database.execute("DELETE FROM finished WHERE number IN (SELECT number FROM removed)")
            (n_removed,) = self._database.execute("SELECT COUNT(*) FROM removed").fetchone()
            self._database.execute("DROP TABLE removed")
        self._count()
        return int(n_removed)

    def add(self, records: Finished) -> None:
        """Add rows; they are on the disk when this returns."""
        with self._database:
            self._database.execute("BEGIN")
            _insert(self._database, records)
        self.n_rows += len(records)
        self.n_ok += sum(record["status"] == OK for _, record in records)

    def records(self) -> Iterator[Cells]:
        """Read the rows, in the order of the list."""
        for (record,) in self._database.execute("SELECT record FROM finished ORDER BY number"):
            yield json.loads(record)


@contextmanager
def open_finished_rows(
    path: Path, about: Mapping[str, object], kept: Iterable[tuple[int, Cells]] = ()
) -> Iterator[FinishedRows]:
    """Open the file of a run, or begin it with the rows `kept`.

    `about` says what must be the same to go on, by its name in words. Raises DataError where the run was
    begun for something else, is open in another process, or the file cannot be written.
    """
    name, is_new = shown_name(path.name), not path.exists()
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as database:
            database.execute("PRAGMA locking_mode = EXCLUSIVE")  # until the file is closed
            try:
                with database:
                    database.execute("BEGIN EXCLUSIVE")
                    _begin_or_compare(database, name, about, kept)
            except DataError:
                if is_new:
                    path.unlink()
                raise
            yield FinishedRows(database)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise DataError(f"{name} is being written by another process. Wait for it.") from error
        raise DataError(f"{name} cannot be written: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise DataError(_in_the_way(name)) from error


def _begin_or_compare(
    database: sqlite3.Connection, name: str, about: Mapping[str, object], kept: Iterable[tuple[int, Cells]]
) -> None:
    (n_tables,) = database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if not n_tables:
        database.execute(f"PRAGMA application_id = {_APPLICATION}")
        database.execute("CREATE TABLE run (about TEXT NOT NULL)")
        database.execute(
            "CREATE TABLE finished (number INTEGER PRIMARY KEY, ok INTEGER NOT NULL, record TEXT NOT NULL)"
        )
        database.execute("INSERT INTO run VALUES (?)", (json.dumps(about),))
        _insert(database, kept)
        return
    if database.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
        raise DataError(_in_the_way(name))
    begun = json.loads(database.execute("SELECT about FROM run").fetchone()[0])
    other = [key for key in about if begun.get(key) != about[key]]
    if other:
        raise DataError(
            f"{name} was begun with another {', '.join(other)}. Give another output, or delete that file to "
            "start again."
        )


def _insert(database: sqlite3.Connection, records: Iterable[tuple[int, Cells]]) -> None:
    lines = ((number, record["status"] == OK, json.dumps(record)) for number, record in records)
    database.executemany("INSERT INTO finished VALUES (?, ?, ?)", lines)


def _in_the_way(name: str) -> str:
    return f"{name} is in the way: it is no half-done run of this program. Move it, or give another output."


def _refuse_old_journals(output: Path) -> None:
    for old in (output.with_name(f"{output.name}{suffix}") for suffix in (".part", ".retry")):
        if not old.is_file():
            continue
        with old.open("rb") as file:
            if file.read(len(_OLD_JOURNAL)) == _OLD_JOURNAL:
                raise DataError(
                    f"{shown_name(old.name)} is a half-done run of an older version and cannot be continued. "
                    "Delete it and give the same command again; embeddings that were kept are used again."
                )


def _read_scores(output: Path, clip_list: ClipList, scorer: Scorer) -> Iterator[Cells]:
    """The records of a finished output; DataError where they are not of this list."""
    columns = score_columns(scorer.checkpoint.scales, scorer.preference is not None)
    problems = Problems(output.name)
    numbers = [column for column, kind in columns.items() if kind is float]
    records = (cells for _, cells in read_records(output, problems, numbers))
    for row, cells in itertools.zip_longest(clip_list.rows(), records):
        if not row or not cells or any(_text_in(cells, column) != getattr(row, column) for column in OWN_COLUMNS):
            raise DataError(
                f"{shown_name(output.name)} is there already, with scores of another clip list. Give another "
                "output, or move it."
            )
        own = {column: cells.get(column) for column in (*OWN_COLUMNS, *columns)}
        try:
            yield {**from_cells(own, columns), **row.others}
        except ValueError as error:
            raise DataError(f"{shown_name(output.name)} was changed: {error}. Give another output.") from error


def _text_in(cells: Cells, column: str) -> str:
    return str(cells.get(column) or "").strip()


def _chunks(pending: Iterator[tuple[int, Row]]) -> Iterator[Chunk]:
    while chunk := list(itertools.islice(pending, _GROUPS * ROWS_AT_ONCE)):
        yield chunk


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"The folder {shown_name(folder.name)} cannot be made: {error.strerror}.") from error


_scorer: Scorer | None = None  # of a worker process: a pool has no other place for it


@contextmanager
def _open_workers(
    scorer: Scorer, judging: Judging, devices: Sequence[str], n_rows: int
) -> Iterator[Callable[[Iterable[Chunk]], Iterator[Finished]]]:
    """Yield a function that scores chunks in order: here, or in a process for each of several devices."""
    if len(devices) == 1:
        scorer.expect(n_rows)
        with readers_for(n_rows, batch=scorer.batch) as scorer.readers:
            yield lambda chunks: _score_here(scorer, chunks)
        return
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    free = context.SimpleQueue()
    for device in devices:
        free.put(device)
    n_reading = max(1, cores() // len(devices))
    with ProcessPoolExecutor(len(devices), context, _begin_worker, (judging, free, n_reading)) as processes:
        try:
            yield lambda chunks: in_order(processes, _score_there, chunks, _CHUNKS_AHEAD * len(devices))
        except BrokenProcessPool as error:
            raise BatchError(
                "A process that scored rows has died; the memory may have run out. What is finished is kept: "
                "give the same command again to go on."
            ) from error
        finally:
            processes.shutdown(cancel_futures=True)


def _begin_worker(judging: Judging, free: "SimpleQueue[str]", n_reading: int) -> None:
    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, which then ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _scorer = judging.scorer(free.get())
    _scorer.readers = Readers.sharing(n_reading, _scorer.batch)


def _end_with_parent() -> None:
    """A pool's processes would outlive a parent that is killed, and hold their GPUs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _score_there(chunk: Chunk) -> Finished:
    if _scorer is None:
        raise RuntimeError("the process was not begun")
    return _score_chunk(_scorer, chunk)


def _score_here(scorer: Scorer, chunks: Iterable[Chunk]) -> Iterator[Finished]:
    """Score chunks as one: nothing waits between them."""
    given, asked = itertools.tee(itertools.chain.from_iterable(chunks))
    records = score_rows(scorer, (row for _, row in asked))
    finished = ((number, record) for (number, _), record in zip(given, records, strict=True))
    while some := list(itertools.islice(finished, ROWS_AT_ONCE)):
        yield some


def _score_chunk(scorer: Scorer, chunk: Chunk) -> Finished:
    numbers = [number for number, _ in chunk]
    return list(zip(numbers, score_rows(scorer, [row for _, row in chunk]), strict=True))
