"""Scoring of a manifest whose clips came with it: what the pages offer to visitors.

It is the run of `core.many.run` for as many rows as fit in memory: no journal, no cache of embeddings, no
path of the machine. What is larger goes to ``python -m core score --manifest``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import BatchError, DataError, shown_name
from core.many.clip_files import ClipFiles
from core.many.manifest import Manifest, Row
from core.many.records import Cells, check_format
from core.many.rows import Judging, RowScorer
from core.many.table import SCORE_COLUMNS
from core.scorer import Scorer

ROWS_AT_ONCE = 8  # are scored together: progress is told, and a stop heard, between them
_MEGABYTE = 1_000_000


@dataclass(frozen=True)
class BatchLimits:
    """What a batch may be.

    Attributes
    ----------
    max_rows : int
        A few minutes of work for the small model on two cores.
    max_manifest_bytes : int
        A thousand rows with the longest prompts that are read.
    max_text : int
        Characters of all cells: a Parquet file may hold far more text than it has bytes.
    """

    max_rows: int = 1_000
    max_manifest_bytes: int = 5 * _MEGABYTE
    max_text: int = 10_000_000


@dataclass(frozen=True)
class Batch:
    """Rows to score.

    Attributes
    ----------
    rows : tuple of Row
    others : tuple of str
        The manifest's columns that come out as they went in.
    """

    rows: tuple[Row, ...]
    others: tuple[str, ...]


def read_batch(path: Path, limits: BatchLimits | None = None) -> Batch:
    """Read a manifest and check it.

    Raises
    ------
    DataError
        It is not in order.
    BatchError
        It is larger than the limits.
    """
    limits = limits or BatchLimits()
    name, n_bytes = shown_name(path.name), path.stat().st_size
    is_parquet = check_format(path) == ".parquet"
    if max(n_bytes, _unpacked_bytes(path) if is_parquet else 0) > limits.max_manifest_bytes:
        allowed = limits.max_manifest_bytes / _MEGABYTE
        raise BatchError(f"{name} has more than {allowed:g} MB, the most for a manifest. Split it.")
    rows: list[Row] = []
    n_characters = 0
    manifest = Manifest.check(path, SCORE_COLUMNS)
    if manifest.n_rows > limits.max_rows:
        raise BatchError(
            f"{name} has {manifest.n_rows:,} rows; a batch has at most {limits.max_rows:,}. Split it, or "
            "score it on the command line: python -m core score --manifest."
        )
    for row in manifest.rows():
        n_characters += sum(len(str(cell)) for cell in (row.file, row.prompt, row.id, row.system, row.others))
        if n_characters > limits.max_text:
            raise BatchError(f"{name} has more than {limits.max_text:,} characters of text. Split it.")
        rows.append(row)
    return Batch(tuple(rows), manifest.others)


def score_batch(scorer: Scorer, batch: Batch, clips: ClipFiles) -> Iterator[list[Cells]]:
    """Score the rows, some at a time.

    Parameters
    ----------
    scorer : Scorer
    batch : Batch
    clips : ClipFiles
        Where the rows' clips are.

    Yields
    ------
    list of dict
        Records of the next rows (`core.many.table`), in order; a row that cannot be scored says why.
    """
    judging = Judging(None, None, "float32", scorer.limits)
    device = str(scorer.checkpoint.tower.device)
    rows = RowScorer(scorer, judging, device, lambda row: clips.find(row.file))
    for some in _some(batch.rows):
        yield rows.score(some)


def _some(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for first in range(0, len(rows), ROWS_AT_ONCE):
        yield rows[first : first + ROWS_AT_ONCE]


def _unpacked_bytes(path: Path) -> int:
    """What a Parquet file says that it unpacks to."""
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{shown_name(path.name)} cannot be read as a table.") from error
    return sum(metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
