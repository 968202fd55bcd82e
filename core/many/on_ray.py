"""Scores a manifest on a Ray cluster, with Ray Data (https://docs.ray.io/en/latest/data/data.html).

The manifest is a CSV or Parquet file, or a folder of Parquet files, and names its rows (column ``id``). The
scores become a folder of files in the order of the manifest: CSV where its name ends in ``.csv``, otherwise
Parquet. Manifest, clips and scores lie where every machine reaches them (`core.many.places`). A clip's file
is relative to the manifest, or a URI.

Each actor has a GPU, or a group of cores, and scores with `core.many.rows`. What a lost machine had in work
is scored again by others; at the end the rows that came out are compared with those that went in.
"""

import logging
import math
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import torch

import core
from core.audio import ClipSource
from core.errors import AudioError, BatchError, DataError, shown_name
from core.many.manifest import Ids, Row, check_columns, check_rows, to_row
from core.many.places import Place
from core.many.records import Cells, typed_cells
from core.many.rows import Judging, RowScorer, local_file
from core.many.run import Counts
from core.many.table import OK, SCORE_COLUMNS, columns_with
from core.ratings import escape_cell
from core.tables import Problems

ROWS_AT_ONCE = 32  # scored together, and again together where a machine is lost
MAX_BLOCKS = 10_000  # of the manifest; each is a task
ROWS_PER_FILE = 100_000
CORES = 4  # of an actor without a GPU: more do not make a batch faster in proportion

_TYPES = {str: pyarrow.string(), float: pyarrow.float64()}


def score_on_ray(manifest: str, output: str, judging: Judging, address: str, use_gpus: bool = True) -> Counts:
    """Score a manifest on a cluster.

    Parameters
    ----------
    manifest, output : str
        Paths or URIs that every machine can open. The output must not be there yet.
    judging : Judging
        The model and the cache must lie where every machine reaches them, too.
    address : str
        As ``ray.init`` takes it: ``host:port``, ``auto``, or ``local`` for a cluster on this machine alone.
    use_gpus : bool
        Whether GPUs are used where the cluster has any.

    Raises
    ------
    BatchError
        Ray is not installed, the cluster cannot be reached or breaks down, or rows were lost.
    DataError, CheckpointError
        As `core.many.run.score_manifest`.
    """
    source, target = Place.of(manifest), Place.of(output)
    judging = replace(judging, model=_absolute(judging.model), cache=_absolute(judging.cache))
    if target.is_there():
        raise DataError(f"{shown_name(target.name)} is there already. Give another output, or move it.")
    RowScorer(judging.scorer(), judging, "cpu")  # says now what is wrong with it
    n_rows, others = _check(source)
    with _cluster(address):
        _score(source, target, (judging, source, target, others), n_rows, use_gpus)
    return _verify(target, n_rows)


class _Worker:
    """An actor: scores batches of rows."""

    def __init__(
        self, judging: Judging, source: Place, target: Place, others: tuple[str, ...], device: str, cores: int
    ) -> None:
        torch.set_num_threads(cores)
        scorer = judging.scorer()
        fetch = partial(_fetch, source, judging.limits.max_bytes)
        self._scorer = RowScorer(scorer, judging, device, fetch)
        self._source, self._is_csv, self._columns = source, target.is_csv, columns_with(others)

    def __call__(self, batch: pyarrow.Table) -> pyarrow.Table:
        rows = [_to_row(cells, self._source) for cells in self._source.records(batch)]
        records = [typed_cells(record, self._columns) for record in self._scorer.score(rows)]
        if self._is_csv:
            records = [{name: _escaped(cell) for name, cell in record.items()} for record in records]
        schema = pyarrow.schema([(column, _TYPES[kind]) for column, kind in self._columns.items()])
        return pyarrow.Table.from_pylist(records, schema)


def _absolute(path: Path | None) -> Path | None:
    return path and path.absolute()


def _check(source: Place) -> tuple[int, tuple[str, ...]]:
    """Number of rows, and the columns that are carried through; raises what is wrong with the manifest."""
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
    n_rows, _, others = check_rows(rows(), SCORE_COLUMNS, problems)
    return n_rows, others


def _to_row(cells: Cells, source: Place) -> Row:
    return to_row(cells, 0, Path(source.path).parent)  # every row has an id, so its number is not needed


def _fetch(source: Place, max_bytes: int, row: Row) -> ClipSource:
    """A row's clip, from wherever it is; one byte more than is allowed tells that it is too large."""
    if "://" not in row.file and (source.is_local or not row.file.strip()):
        return local_file(row)
    try:
        place = source.beside(row.file)
        with place.filesystem.open_input_stream(place.path, compression=None) as stream:
            content: bytes = stream.read(max_bytes + 1)
            return content
    except (OSError, ValueError, DataError) as error:
        name = row.file.rsplit("/", 1)[-1]
        raise AudioError(
            f"{shown_name(name)} cannot be opened. Check its URI and that you may read it."
        ) from error


def _escaped(cell: Any) -> Any:
    return escape_cell(cell) if isinstance(cell, str) else cell


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


def _score(source: Place, target: Place, worker: tuple[Any, ...], n_rows: int, use_gpus: bool) -> None:
    import ray

    cores_of = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    n_gpus = int(ray.cluster_resources().get("GPU", 0)) if use_gpus else 0
    cores = 1 if n_gpus else min([CORES, *(n_cores for n_cores in cores_of if n_cores)])
    n_actors = n_gpus or sum(n_cores // cores for n_cores in cores_of)
    scored = _read(source, n_rows).map_batches(
        _Worker,
        batch_size=ROWS_AT_ONCE,
        batch_format="pyarrow",
        fn_constructor_args=worker,
        fn_constructor_kwargs={"device": "cuda" if n_gpus else "cpu", "cores": cores},
        num_cpus=cores,
        num_gpus=1 if n_gpus else 0,
        concurrency=(1, n_actors),
    )
    write = scored.write_csv if target.is_csv else scored.write_parquet
    write(
        target.path,
        filesystem=target.filesystem,
        min_rows_per_file=ROWS_PER_FILE,
        ray_remote_args={"num_cpus": 0},
    )


def _read(source: Place, n_rows: int) -> Any:
    from ray import data

    read, options = (data.read_csv, source.csv_options()) if source.is_csv else (data.read_parquet, {})
    return read(
        source.path,
        filesystem=source.filesystem,
        partitioning=None,
        override_num_blocks=min(math.ceil(n_rows / ROWS_AT_ONCE), MAX_BLOCKS),
        num_cpus=0,  # reading and writing must not wait for a core until an actor ends
        **options,
    )


def _verify(target: Place, n_rows: int) -> Counts:
    """Count the rows that came out; BatchError where some are missing or there twice."""
    n_out = n_ok = n_new = 0
    with closing(Ids()) as ids:
        for cells in target.rows(["id", "status"]):
            n_out += 1
            n_ok += cells["status"] == OK
            n_new += ids.add(cells["id"])
    if not n_rows == n_out == n_new:
        raise BatchError(
            f"The cluster wrote {n_out:,} rows, {n_new:,} different ones, for {n_rows:,} rows of the "
            "manifest. Delete the output and start again."
        )
    return Counts(n_rows, n_out, n_ok)
