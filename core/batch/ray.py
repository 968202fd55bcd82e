"""Scores a clip list on a Ray cluster, with Ray Data (https://docs.ray.io/en/latest/data/data.html).

The list is a CSV or Parquet file, or a folder of Parquet files, and names its rows (column ``id``). The
scores become a folder of files in the order of the list: CSV where its name ends in ``.csv``, otherwise
Parquet. List, clips, scores, model and cache lie where every machine reaches them: a shared folder, or any
file system that Arrow or fsspec knows (https://arrow.apache.org/docs/python/filesystems.html). A clip's file
is relative to the list, or a URI.

A CSV list is read by Arrow, in parts, which knows less of what people write than `core.tables` does. So the list is
read by both before anything starts, and refused where they differ.

Each actor has a GPU, or a group of cores. What a lost machine had in work is scored again by others; at the
end the rows that came out are compared with those that went in.
"""

import logging
import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import pyarrow
import torch
from pyarrow import csv, dataset, fs

import core
from core.audio import ClipSource
from core.batch.manifest import (
    OK,
    Cells,
    ClipList,
    Row,
    arrow_schema,
    check_columns,
    check_rows,
    plain,
    score_columns,
    seen_ids,
    table_columns,
    to_cells,
    to_row,
)
from core.batch.run import Counts, Judging, local_file, score_rows
from core.errors import AudioError, BatchError, DataError, shown_name
from core.files import Problems
from core.readers import Readers
from core.tables import escape_cell, read_cell

ROWS_AT_ONCE = 32  # scored together, and again together where a machine is lost
MAX_BLOCKS = 10_000  # of the list; each is a task
ROWS_PER_FILE = 100_000
_CSV = {  # how Arrow reads it: texts only, with line ends in them
    "parse_options": csv.ParseOptions(newlines_in_values=True),
    "convert_options": csv.ConvertOptions(default_column_type=pyarrow.string()),
}
CORES = 4  # of an actor without a GPU: more do not make it faster in proportion


@dataclass(frozen=True)
class Table:
    """A table, CSV or Parquet, a file or a folder of files: a path on a file system."""

    filesystem: fs.FileSystem
    path: str

    @classmethod
    def of(cls, given: str) -> Self:
        """Understand a path or a URI; DataError where neither Arrow nor fsspec knows its file system."""
        if "://" not in given:
            return cls(fs.LocalFileSystem(), str(Path(given).absolute()))
        try:
            return cls(*fs.FileSystem.from_uri(given))
        except pyarrow.ArrowInvalid:
            pass  # a scheme that Arrow leaves to fsspec
        try:
            return cls(*fs.FileSystem.from_uri(f"fsspec+{given}"))
        except (ValueError, ImportError) as error:
            scheme = given.split("://")[0]
            raise DataError(f"Neither Arrow nor fsspec opens {scheme}:// here: {error}.") from error

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_csv(self) -> bool:
        """Whether it is CSV; otherwise it is Parquet."""
        return self.name.lower().endswith(".csv")

    @property
    def is_local(self) -> bool:
        """Whether Python's own functions open it."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def is_there(self) -> bool:
        """Whether there is a file or a folder."""
        return bool(self.filesystem.get_file_info(self.path).type != fs.FileType.NotFound)

    def beside(self, file: str) -> "Table":
        """Return the place of a file that is named relative to this one, or by a URI."""
        if "://" in file:
            return Table.of(file)
        return Table(self.filesystem, f"{self.path.rstrip('/').rsplit('/', 1)[0]}/{file}")

    def columns(self) -> list[str]:
        """Return the columns; DataError where the table cannot be read."""
        with self._readable() as table:
            return list(table.schema.names)

    def rows(self, columns: Sequence[str] | None = None) -> Iterator[Cells]:
        """Read the rows in the order of the files; DataError where they cannot be read."""
        with self._readable() as table:
            for batch in table.to_batches(columns=columns):
                yield from self.records(batch)

    def records(self, batch: pyarrow.RecordBatch | pyarrow.Table) -> list[Cells]:
        """Return the rows of a part of the table; CSV has texts only, whose escapes are undone."""
        if not self.is_csv:
            return [plain(cells) for cells in batch.to_pylist()]
        return [{name: read_cell(cell) for name, cell in row.items()} for row in batch.to_pylist()]

    def copy_to(self, folder: Path) -> Path:
        """Copy a file to a folder of this machine, under its name."""
        copy = folder / self.name
        try:
            with self.filesystem.open_input_stream(self.path, compression=None) as stream, copy.open("wb") as file:
                shutil.copyfileobj(stream, file)
        except (OSError, ValueError) as error:
            raise DataError(f"{shown_name(self.name)} cannot be read as a table. Give one file.") from error
        return copy

    @contextmanager
    def _readable(self) -> Iterator[Any]:
        kind = dataset.CsvFileFormat(**_CSV) if self.is_csv else "parquet"
        try:
            yield dataset.dataset(self.path, filesystem=self.filesystem, format=kind)
        except (OSError, ValueError) as error:
            is_missing = isinstance(error, FileNotFoundError)
            why = "it is not there" if is_missing else str(error).splitlines()[0].rstrip(".")
            raise DataError(f"{shown_name(self.name)} cannot be read as a table: {why}.") from error


def score_on_ray(manifest: str, output: str, judging: Judging, address: str, use_gpus: bool = True) -> Counts:
    """Score a clip list on a cluster."""
    source, target = Table.of(manifest), Table.of(output)
    model, cache = (path and path.absolute() for path in (judging.model, judging.cache))
    judging = replace(judging, model=model, cache=cache)
    if target.is_there():
        raise DataError(f"{shown_name(target.name)} is there already. Give another output, or move it.")
    scorer = judging.scorer()  # says now what is wrong with the model
    n_rows, others = _check(source, score_columns(scorer.checkpoint.scales, scorer.preference is not None))
    with _cluster(address):
        _score(_Work(judging, source, target, others), n_rows, use_gpus)
    return count_rows(target, n_rows)


@dataclass(frozen=True)
class _Work:
    """What every actor is told."""

    judging: Judging
    source: Table
    target: Table
    others: tuple[str, ...]


class _Worker:
    """An actor: scores some rows at a time."""

    def __init__(self, work: _Work, device: str, cores: int, n_reading: int) -> None:
        torch.set_num_threads(cores)
        self._work, self._scorer = work, work.judging.scorer(device)
        self._scorer.readers = Readers.sharing(n_reading, self._scorer.batch)
        is_ranked = self._scorer.preference is not None
        self._columns = table_columns(self._scorer.checkpoint.scales, work.others, is_ranked)

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        source = self._work.source
        rows = [_to_row(cells, source) for cells in source.records(batch)]
        fetch = partial(fetch_clip, source, self._work.judging.limits.max_bytes)
        records = [to_cells(record, self._columns) for record in score_rows(self._scorer, rows, fetch)]
        if self._work.target.is_csv:
            records = [{name: escape_cell(cell) for name, cell in record.items()} for record in records]
        return pyarrow.Table.from_pylist(records, arrow_schema(self._columns))


def _check(source: Table, taken: Iterable[str]) -> tuple[int, tuple[str, ...]]:
    """Number of rows, and the columns that are carried through; raises what is wrong with the list."""
    problems = Problems(source.name)

    def rows() -> Iterator[tuple[str, Row]]:
        for number, cells in enumerate(source.rows(), 1):
            try:
                yield f"row {number}", _to_row(cells, source)
            except ValueError as error:
                problems.add(f"row {number}", str(error))

    columns = source.columns()
    check_columns(columns, source.name)
    if "id" not in columns:
        raise DataError(f"{shown_name(source.name)} has no column id. A cluster needs one, to lose no row.")
    n_rows, sha256, others = check_rows(rows(), taken, problems)
    if source.is_csv:
        with tempfile.TemporaryDirectory(prefix="musiceval-") as folder:
            if ClipList.check(source.copy_to(Path(folder))).sha256 != sha256:
                raise DataError(
                    f"{shown_name(source.name)} is no plain CSV file, and a cluster would read it otherwise than it is "
                    "meant. Save it in UTF-8 with commas and without empty rows, or as Parquet."
                )
    return n_rows, others


def _to_row(cells: Cells, source: Table) -> Row:
    return to_row(cells, 0, Path(source.path).parent)  # every row has an id, so its number is not needed


def fetch_clip(source: Table, max_bytes: int, row: Row) -> ClipSource:
    """A row's clip, from wherever it is; one byte more than is allowed shows that it is too large."""
    if "://" not in row.file and (source.is_local or not row.file.strip()):
        return local_file(row)
    try:
        place = source.beside(row.file)
        with place.filesystem.open_input_stream(place.path, compression=None) as stream:
            content: bytes = stream.read(max_bytes + 1)
            return content
    except (OSError, ValueError, DataError) as error:
        name = row.file.rsplit("/", 1)[-1]
        raise AudioError(f"{shown_name(name)} cannot be opened. Check its URI and that you may read it.") from error


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    """Connect to a cluster, and say in one sentence what goes wrong with it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    try:
        import ray
        from ray.data import DataContext
    except ImportError as error:
        raise BatchError("Ray is not installed. Run: pip install -r requirements-cluster.txt.") from error
    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            package = {"py_modules": [str(Path(core.__file__).parent)]}
            ray.init(address, runtime_env=package, log_to_driver=False, logging_level="error")
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = DataContext.get_current()
        context.execution_options.preserve_order = True
        context.enable_progress_bars = sys.stderr.isatty()
        yield
    except (ConnectionError, ray.exceptions.RayError) as error:
        why = str(error).strip().splitlines()[-1]
        raise BatchError(f"The Ray cluster at {address} cannot do this: {why}") from error
    finally:
        if is_ours:
            ray.shutdown()


def _score(work: _Work, n_rows: int, use_gpus: bool) -> None:
    import ray

    source, target = work.source, work.target
    cores_of = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    n_gpus = int(ray.cluster_resources().get("GPU", 0)) if use_gpus else 0
    cores = 1 if n_gpus else min([CORES, *(n_cores for n_cores in cores_of if n_cores)])
    n_reading = max(1, sum(cores_of) // n_gpus) if n_gpus else cores
    rows = (ray.data.read_csv if source.is_csv else ray.data.read_parquet)(
        source.path,
        filesystem=source.filesystem,
        partitioning=None,
        override_num_blocks=min(math.ceil(n_rows / ROWS_AT_ONCE), MAX_BLOCKS),
        num_cpus=0,  # reading and writing must not wait for a core until an actor ends
        **(_CSV if source.is_csv else {}),
    )
    scored = rows.map_batches(
        _Worker,
        batch_size=ROWS_AT_ONCE,
        batch_format="pyarrow",
        fn_constructor_args=(work, "cuda" if n_gpus else "cpu", cores, n_reading),
        num_cpus=cores,
        num_gpus=1 if n_gpus else 0,
        concurrency=(1, n_gpus or sum(n_cores // cores for n_cores in cores_of)),
    )
    (scored.write_csv if target.is_csv else scored.write_parquet)(
        target.path, filesystem=target.filesystem, min_rows_per_file=ROWS_PER_FILE, ray_remote_args={"num_cpus": 0}
    )


def count_rows(output: Table, n_rows: int) -> Counts:
    """Count the rows that came out; BatchError where some of `n_rows` are missing or there twice."""
    n_out = n_ok = n_new = 0
    with seen_ids() as is_new:
        for cells in output.rows(["id", "status"]):
            n_out += 1
            n_ok += cells["status"] == OK
            n_new += is_new(cells["id"])
    if not n_rows == n_out == n_new:
        raise BatchError(
            f"The cluster wrote {n_out:,} rows, {n_new:,} different ones, for {n_rows:,} rows of the "
            "clip list. Delete the output and start again."
        )
    return Counts(n_rows, n_out, n_ok)
