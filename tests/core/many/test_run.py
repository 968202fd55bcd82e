import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import core.many.run
import core.many.workers
from core.audio import AudioLimits
from core.errors import BatchError, DataError
from core.many.manifest import Row
from core.many.records import Cells, read_records
from core.many.rows import Judging, RowScorer
from core.many.run import Counts, score_manifest
from core.many.table import COLUMNS
from core.scorer import Scorer
from core.tables import Problems
from tests.bad_inputs import BAD_INPUTS
from tests.clips import write_clip
from tests.manifests import BAD_KINDS, manifest_rows, nearly, write_manifest

ROOT = Path(__file__).parents[3]
N_ROWS, N_BAD = 40, 20
Run = Callable[..., Counts]


def tell_nobody(counts: Counts) -> None:
    pass


@pytest.fixture
def scored_rows(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How often each row is scored, by id; rows are finished four at a time."""
    times = Counter()
    score = RowScorer.score

    def counted(self: RowScorer, rows: list[Row]) -> list[Cells]:
        times.update(row.id for row in rows)
        return score(self, rows)

    monkeypatch.setattr(RowScorer, "score", counted)
    monkeypatch.setattr(core.many.run, "ROWS_AT_ONCE", 4)
    return times


@pytest.fixture
def run(scorer: Scorer, random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Score a manifest of the test's folder with the random checkpoint."""
    monkeypatch.setattr(Scorer, "load", lambda *_: scorer)

    def score(manifest: Path, output: str = "scores.jsonl", tell=tell_nobody, **options) -> Counts:
        judging = Judging(
            random_checkpoint, tmp_path / "cache", options.pop("precision", "float32"), AudioLimits()
        )
        return score_manifest(
            manifest, tmp_path / output, judging, options.pop("devices", ["cpu"]), tell, **options
        )

    return score


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """40 rows, 20 of them bad, two of each kind."""
    return write_manifest(tmp_path / "manifest.csv", manifest_rows(tmp_path, N_ROWS, N_BAD))


def read(path: Path) -> list[Cells]:
    return [cells for _, cells in read_records(path, Problems(path.name))]


def check_scores(records: list[Cells], rows: list[Cells]) -> None:
    """One record a row, in order; the bad ones, two of each kind, with their reasons."""
    assert [[record[column] for column in rows[0]] for record in records] == [[*row.values()] for row in rows]
    failed = [record for record in records if record["status"] == "failed"]
    assert len(failed) == N_BAD
    reasons = {bad.name: bad.error for bad in BAD_INPUTS}
    for number, record in enumerate(failed):
        assert reasons[BAD_KINDS[number % len(BAD_KINDS)]] in record["reason"]
    assert Counter(record["status"] for record in records) == {"failed": N_BAD, "ok": len(rows) - N_BAD}


def test_one_row_out_for_each_row_in(run: Run, manifest: Path, tmp_path: Path, scored_rows: Counter) -> None:
    told = []
    assert run(manifest, tell=told.append) == Counts(N_ROWS, N_ROWS, N_ROWS - N_BAD)
    assert [counts.n_done for counts in told] == [*range(0, N_ROWS + 1, 4)]
    records = read(tmp_path / "scores.jsonl")
    assert list(records[0]) == [*COLUMNS, "note"]
    check_scores(records, read(manifest))
    assert {path.name for path in tmp_path.glob("scores*")} == {"scores.jsonl"}


def test_several_processes(
    run: Run, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored_rows: Counter
) -> None:
    def threads(workers: int, context: object, begin: Callable, arguments: tuple) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(workers, initializer=begin, initargs=arguments)

    monkeypatch.setattr(core.many.workers, "ProcessPoolExecutor", threads)
    monkeypatch.setattr(core.many.workers.signal, "signal", lambda *_: None)
    assert run(manifest, devices=["cpu", "cpu"]).n_ok == N_ROWS - N_BAD
    check_scores(read(tmp_path / "scores.jsonl"), read(manifest))
    assert {*scored_rows.values()} == {1}


def test_ended_anywhere_it_goes_on(run: Run, manifest: Path, tmp_path: Path, scored_rows: Counter) -> None:
    class Killed(BaseException):
        pass

    def kill(counts: Counts) -> None:
        if counts.n_done in (12, 28) and counts.n_done not in kills:
            kills.append(counts.n_done)
            raise Killed

    kills: list[int] = []
    journal = tmp_path / "scores.csv.part"
    for _ in range(2):
        with pytest.raises(Killed):
            run(manifest, "scores.csv", kill)
        assert not (tmp_path / "scores.csv").exists()
        with journal.open("ab") as file:
            file.write(b'{"id": "row 9", "fi')  # as a kill in the middle of writing leaves it
    told = []
    run(manifest, "scores.csv", told.append)
    assert told[0].n_done == 28
    assert {*scored_rows.values()} == {1}
    check_scores(read(tmp_path / "scores.csv"), read(manifest))
    assert not journal.exists()


def test_ended_before_the_journal_was_removed(
    run: Run, manifest: Path, tmp_path: Path, scored_rows: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("core.many.journal.Journal.remove", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(manifest)
    before = (tmp_path / "scores.jsonl").read_bytes()
    assert run(manifest).n_ok == N_ROWS - N_BAD
    assert (tmp_path / "scores.jsonl").read_bytes() == before
    assert {*scored_rows.values()} == {1}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_finished_output_is_left_alone(
    run: Run, manifest: Path, tmp_path: Path, scored_rows: Counter, suffix: str
) -> None:
    output = tmp_path / f"scores{suffix}"
    run(manifest, output.name)
    before = output.stat().st_mtime_ns
    assert run(manifest, output.name) == Counts(N_ROWS, N_ROWS, N_ROWS - N_BAD)
    assert output.stat().st_mtime_ns == before
    assert {*scored_rows.values()} == {1}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_failed_rows_are_scored_again_when_asked(
    run: Run, manifest: Path, tmp_path: Path, scored_rows: Counter, suffix: str
) -> None:
    output = tmp_path / f"scores{suffix}"
    run(manifest, output.name)
    before = read(output)
    write_clip(tmp_path / "missing_file" / "missing.wav")

    def stop(counts: Counts) -> None:
        if counts.n_done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(manifest, output.name, stop, retry_failed=True)
    assert read(output) == before
    assert run(manifest, output.name).n_ok == N_ROWS - N_BAD + 2  # it goes on without being told again
    after = read(output)
    mended = [number for number, record in enumerate(before) if "was not found" in record["reason"]]
    assert len(mended) == 2
    assert [after[number]["status"] for number in mended] == ["ok", "ok"]
    assert [row for n, row in enumerate(after) if n not in mended] == [
        row for n, row in enumerate(before) if n not in mended
    ]
    failed = {record["id"] for record in before if record["status"] == "failed"}
    assert all(scored_rows[record["id"]] == 1 + (record["id"] in failed) for record in before)


def test_an_output_is_of_one_manifest_and_one_model(
    run: Run, manifest: Path, tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(manifest)
    other = write_manifest(tmp_path / "other.csv", read(manifest)[:-1])
    with pytest.raises(DataError, match="is there already, with scores of another manifest"):
        run(other)
    path = tmp_path / "scores.jsonl"
    path.write_text(path.read_text().replace(scorer.checkpoint.sha256, "0" * 64))
    with pytest.raises(DataError, match="with scores of another model"):
        run(manifest)


def test_a_begun_output_is_of_one_run(run: Run, manifest: Path, tmp_path: Path) -> None:
    def stop(counts: Counts) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(manifest, tell=stop)
    other = write_manifest(tmp_path / "other.csv", read(manifest)[:-1])
    with pytest.raises(DataError, match="was begun with another manifest, precision"):
        run(other, precision="bfloat16")


def test_what_is_wrong_is_said_before_anything_starts(run: Run, manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ends in"):
        run(manifest, "scores.txt")
    with pytest.raises(DataError, match="cannot be read as a table"):
        run(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="There is no precision 'float8'"):
        run(manifest, precision="float8")
    manifest.write_text(manifest.read_text() * 2)  # the second heading is a row of its own
    with pytest.raises(DataError, match="it has 40 problems"):
        run(manifest)
    assert not list(tmp_path.glob("scores*"))


@pytest.mark.slow
def test_real_processes(run: Run, manifest: Path, tmp_path: Path) -> None:
    run(manifest)
    with pytest.raises(BatchError, match="A process that scored rows has died"):
        run(manifest, "two.jsonl", devices=["nowhere", "nowhere"])
    assert run(manifest, "two.jsonl", devices=["cpu", "cpu"]).n_ok == N_ROWS - N_BAD
    assert read(tmp_path / "two.jsonl") == nearly(read(tmp_path / "scores.jsonl"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc to read memory from")
def test_two_thousand_rows_killed_twice(random_checkpoint: Path, tmp_path: Path, capsys) -> None:
    rows = manifest_rows(tmp_path, 2_000, N_BAD)
    manifest, output = write_manifest(tmp_path / "manifest.csv", rows), tmp_path / "scores.csv"
    command = [sys.executable, "-m", "core", "score", "--manifest", manifest, "-o", output, "--no-cache"]
    memory: dict[int, float] = {}
    kill_at_last = 1_300
    for kill_at in (500, kill_at_last, None):
        process = subprocess.Popen(
            [*map(str, command), "--model", str(random_checkpoint)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None:
            n_rows = _journalled(output)
            memory[n_rows] = max(memory.get(n_rows, 0.0), _memory_mb(process.pid))
            if kill_at is not None and n_rows >= kill_at:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.1)
        said = process.communicate()[0]
    check_scores(read(output), rows)
    with capsys.disabled():
        sys.stderr.write(
            f"\n{said}Memory (MB) by rows finished: { {n: round(mb) for n, mb in memory.items()} }\n"
        )
    last = [used for n_rows, used in memory.items() if n_rows > kill_at_last]
    assert max(last) < 1.1 * last[0]


def _journalled(output: Path) -> int:
    """Rows in the journal of an output; none where there is no journal (yet, or any more)."""
    try:
        return max(output.with_name(output.name + ".part").read_bytes().count(b"\n") - 1, 0)
    except FileNotFoundError:
        return 0


def _memory_mb(process_id: int) -> float:
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6
