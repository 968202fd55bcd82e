"""Batches: what is taken, and that every row comes out with the judge's score."""

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from core.errors import BatchError, DataError
from core.many.batch import ROWS_AT_ONCE, BatchLimits, read_batch, score_batch
from core.many.clip_files import ClipFiles
from core.scorer import Scorer
from tests.manifests import manifest_rows, write_manifest


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_row_comes_out(tmp_path: Path, scorer: Scorer, suffix: str) -> None:
    rows = manifest_rows(tmp_path, 2 * ROWS_AT_ONCE + 4, 2)
    batch = read_batch(write_manifest(tmp_path / f"clips{suffix}", rows))
    assert batch.others == ("note",)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    with ClipFiles(files, [row.file for row in batch.rows], scorer.limits) as clips:
        parts = list(score_batch(scorer, batch, clips))
    assert [len(part) for part in parts] == [ROWS_AT_ONCE, ROWS_AT_ONCE, 4]
    records = [record for part in parts for record in part]
    assert [record["id"] for record in records] == [row["id"] for row in rows]
    assert sum(record["status"] == "failed" for record in records) == 2
    alone = scorer.score(tmp_path / rows[0]["file"], rows[0]["prompt"])
    assert records[0]["musical_impression"] == pytest.approx(alone.musical_impression, abs=1e-5)
    assert records[0]["textual_alignment"] == pytest.approx(alone.textual_alignment, abs=1e-5)


@pytest.mark.parametrize(
    ("limits", "part"),
    [
        (BatchLimits(max_rows=7), "has 8 rows; a batch has at most 7"),
        (BatchLimits(max_manifest_bytes=100), "has more than 0.0001 MB"),
        (BatchLimits(max_text=50), "has more than 50 characters of text"),
    ],
)
def test_what_is_too_large_is_refused(tmp_path: Path, limits: BatchLimits, part: str) -> None:
    manifest = write_manifest(tmp_path / "clips.csv", manifest_rows(tmp_path, 8))
    with pytest.raises(BatchError, match=part):
        read_batch(manifest, limits)


def test_a_table_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    prompts = [f"{number}" + "a" * 100_000 for number in range(100)]
    table = pyarrow.table({"file": ["a.wav"] * 100, "prompt": prompts})
    parquet.write_table(table, tmp_path / "clips.parquet", compression="zstd")
    assert (tmp_path / "clips.parquet").stat().st_size < 100_000
    with pytest.raises(BatchError, match="has more than 5 MB"):
        read_batch(tmp_path / "clips.parquet")


@pytest.mark.parametrize("name", ["clips.csv", "clips.jsonl", "clips.parquet", "clips.txt"])
def test_what_is_no_manifest_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff")
    with pytest.raises(DataError, match=name):
        read_batch(tmp_path / name)
