"""Runs over clip lists: what a row's record says, and that whatever ends a run, it goes on."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import core.batch.run
from core.audio import AudioLimits
from core.batch.manifest import Cells, Row, read_records, table_columns
from core.batch.run import Counts, Judging, open_finished_rows, score_manifest, score_rows
from core.errors import BatchError, DataError
from core.files import Problems
from core.scales import MUSICEVAL, keys
from core.scorer import Scorer
from tests.bad_inputs import BAD_INPUTS
from tests.clips import pluck, write_clip
from tests.manifests import BAD_KINDS, manifest_rows, nearly, write_manifest

ROOT = Path(__file__).parents[3]
N_ROWS, N_BAD = 40, 20
PROMPTS = ("A calm piano", "", "Loud drums " * 80)
Run = Callable[..., Counts]


def read(path: Path) -> list[Cells]:
    return [cells for _, cells in read_records(path, Problems(path.name))]


def check_scores(records: list[Cells], rows: list[Cells]) -> None:
    """One record a row, in order; the bad ones, two of each kind, with their reasons."""
    assert [[record[column] for column in rows[0]] for record in records] == [[*row.values()] for row in rows]
    failed = [record for record in records if record["status"] == "failed"]
    reasons = {bad.name: bad.error for bad in BAD_INPUTS}
    for number, record in enumerate(failed):
        assert reasons[BAD_KINDS[number % len(BAD_KINDS)]] in record["reason"]
    assert Counter(record["status"] for record in records) == {"failed": N_BAD, "ok": len(rows) - N_BAD}


# Rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    """Clips of 1, 2 and 4 windows with several prompts, in among them one that is not there."""
    folder = tmp_path_factory.mktemp("clips")
    clips = [write_clip(folder / f"{s}.wav", pluck(s, 8_000), 8_000) for s in (0.7, 15.0, 31.0)]
    paths = [clips[0], clips[1], folder / "missing.wav", clips[0], clips[2], clips[0]]
    return [
        Row(str(number), path.name, PROMPTS[number % 3], "S", path, {"note": number})
        for number, path in enumerate(paths)
    ]


@pytest.fixture(scope="module")
def records(scorer: Scorer, rows: list[Row]) -> list[Cells]:
    """Of the rows, scored together."""
    return list(score_rows(scorer, rows))


def test_a_record_says_what_the_scorer_says(scorer: Scorer, rows: list[Row], records: list[Cells]) -> None:
    for row, record in zip(rows, records, strict=True):
        assert list(record) == list(table_columns(MUSICEVAL, ["note"]))
        own = (record["id"], record["file"], record["prompt"], record["system"], record["note"])
        assert own == (row.id, row.file, row.prompt, "S", row.others["note"])
        assert (record["model"], record["model_sha256"]) == ("random", scorer.checkpoint.sha256)
        if record["status"] == "failed":
            continue
        score = scorer.score(row.path, row.prompt)
        assert (record["status"], record["reason"]) == ("ok", "")
        for scale in keys(score.scales):
            if score[scale] is None:
                assert record[scale] is record[f"{scale}_low"] is None
                continue
            assert record[scale] == pytest.approx(score[scale], abs=1e-5)
            bounds = (record[f"{scale}_low"], record[f"{scale}_high"])
            assert bounds == pytest.approx(score.intervals.bounds[scale], abs=1e-5)
        assert record["interval_level"] == score.intervals.level
        assert record["duration_s"] == score.provenance.audio.duration_s
        assert record["sha256"] == score.provenance.audio.sha256
        assert record["warnings"] == ";".join(warning.code for warning in score.warnings)


def test_a_failed_row_says_why(scorer: Scorer, records: list[Cells]) -> None:
    (nameless,) = score_rows(scorer, [Row("1", "", "x", "", None)])
    assert nameless["reason"] == "The row names no file. Fill in the column file."
    failed = records[2]
    assert (failed["status"], failed["reason"]) == ("failed", '"missing.wav" was not found. Check the path.')
    columns = (*keys(MUSICEVAL), "textual_alignment_low", "interval_level", "duration_s", "sha256", "warnings")
    assert [failed[column] for column in columns] == [None] * len(columns)


# The file of finished rows

ABOUT = {"clip list": "m1", "model": "j1", "limits": {"max_bytes": 10}}
FINISHED = [(n, {"id": str(n), "status": "failed" if n % 3 == 1 else "ok"}) for n in range(6)]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Six finished rows, two of them failed, added out of order."""
    path = tmp_path / "scores.csv.part"
    with open_finished_rows(path, ABOUT) as finished:
        finished.add(FINISHED[3:])
        finished.add(FINISHED[:3])
    return path


def test_finished_rows_are_kept_in_order(part: Path) -> None:
    with open_finished_rows(part, ABOUT) as finished:
        assert (finished.n_rows, finished.n_ok) == (6, 4)
        assert 5 in finished
        assert 6 not in finished
        finished.add([(6, {"id": "6", "status": "ok"})])
        assert (finished.n_rows, finished.n_ok) == (7, 5)
        assert list(finished.records()) == [record for _, record in FINISHED] + [{"id": "6", "status": "ok"}]
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_what_was_being_written_when_the_power_failed_is_not_there(part: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / part.name

    class Records(list):
        """More than SQLite keeps in memory; both files are copied while they are half written."""

        def __iter__(self) -> Iterator[tuple[int, Cells]]:
            if copy.exists():
                return
            for number in range(6, 40):
                yield number, {"id": "x" * 200_000, "status": "ok"}
            copy.parent.mkdir()
            for path in part.parent.glob(f"{part.name}*"):
                shutil.copy(path, copy.parent)

    with open_finished_rows(part, ABOUT) as finished:
        finished.add(Records())
    assert copy.stat().st_size > 1_000_000
    assert [path.name for path in copy.parent.glob("*-journal")] == [f"{part.name}-journal"]
    with open_finished_rows(copy, ABOUT) as finished:
        assert list(finished.records()) == [record for _, record in FINISHED]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"model": "j2"}, "model"), ({"clip list": "", "limits": {"max_bytes": 11}}, "clip list, limits")],
)
def test_finished_rows_are_of_one_run(part: Path, change: dict, named: str) -> None:
    before = part.read_bytes()
    with (
        pytest.raises(DataError, match=f'"scores.csv.part" was begun with another {named}. Give another'),
        open_finished_rows(part, {**ABOUT, **change}),
    ):
        pass
    assert part.read_bytes() == before


def test_the_file_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    notes, other = tmp_path / "notes.part", tmp_path / "other.part"
    notes.write_text("my notes")
    with sqlite3.connect(other) as database:
        database.execute("CREATE TABLE mine (note TEXT)")
    database.close()
    for path in (notes, other):
        before = path.read_bytes()
        with pytest.raises(DataError, match="is in the way: it is no half-done run"), open_finished_rows(path, ABOUT):
            pass
        assert path.read_bytes() == before


def test_one_process_at_a_time(part: Path) -> None:
    with (
        open_finished_rows(part, ABOUT),
        pytest.raises(DataError, match="is being written by another process"),
        open_finished_rows(part, ABOUT),
    ):
        pass


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="cannot be written: unable to open"),
        open_finished_rows(tmp_path / "nowhere" / "scores.csv.part", ABOUT),
    ):
        pass


# Runs


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How often each row is scored, by id; rows are finished four at a time."""
    times = Counter()

    def counted(scorer: Scorer, rows: Iterable[Row], *more) -> Iterator[Cells]:
        for record in score_rows(scorer, rows, *more):
            times[record["id"]] += 1
            yield record

    monkeypatch.setattr(core.batch.run, "score_rows", counted)
    monkeypatch.setattr(core.batch.run, "ROWS_AT_ONCE", 4)
    return times


@pytest.fixture
def run(scorer: Scorer, random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Score a list of the test's folder with the random checkpoint."""
    monkeypatch.setattr("core.scorer.load_checkpoint", lambda folder: scorer.checkpoint)

    def score(path: Path, output: str = "scores.jsonl", report=lambda counts: None, **options) -> Counts:
        precision, devices = options.pop("precision", "float32"), options.pop("devices", ["cpu"])
        judging = Judging(random_checkpoint, tmp_path / "cache", precision, AudioLimits())
        return score_manifest(path, tmp_path / output, judging, devices, report, **options)

    return score


@pytest.fixture
def clip_list(tmp_path: Path) -> Path:
    """40 rows, 20 of them bad, two of each kind."""
    return write_manifest(tmp_path / "clips.csv", manifest_rows(tmp_path, N_ROWS, N_BAD))


def test_one_row_out_for_each_row_in(run: Run, clip_list: Path, tmp_path: Path, scored: Counter) -> None:
    said = []
    assert run(clip_list, report=said.append) == Counts(N_ROWS, N_ROWS, N_ROWS - N_BAD)
    assert [counts.n_done for counts in said] == [*range(0, N_ROWS + 1, 4)]
    records = read(tmp_path / "scores.jsonl")
    assert list(records[0]) == list(table_columns(MUSICEVAL, ["note"]))
    check_scores(records, read(clip_list))
    assert {path.name for path in tmp_path.glob("scores*")} == {"scores.jsonl"}


def test_several_processes(
    run: Run, clip_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scored: Counter
) -> None:
    def threads(workers: int, context: object, begin: Callable, arguments: tuple) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(workers, initializer=begin, initargs=arguments)

    monkeypatch.setattr(core.batch.run, "ProcessPoolExecutor", threads)
    monkeypatch.setattr(core.batch.run.signal, "signal", lambda *_: None)
    assert run(clip_list, devices=["cpu", "cpu"]).n_ok == N_ROWS - N_BAD
    check_scores(read(tmp_path / "scores.jsonl"), read(clip_list))
    assert {*scored.values()} == {1}


def test_ended_anywhere_it_goes_on(run: Run, clip_list: Path, tmp_path: Path, scored: Counter) -> None:
    class Killed(BaseException):
        pass

    def kill(counts: Counts) -> None:
        if counts.n_done in (12, 28) and counts.n_done not in kills:
            kills.append(counts.n_done)
            raise Killed

    kills: list[int] = []
    for _ in range(2):
        with pytest.raises(Killed):
            run(clip_list, "scores.csv", kill)
        assert not (tmp_path / "scores.csv").exists()
    said = []
    run(clip_list, "scores.csv", said.append)
    assert said[0].n_done == 28
    assert {*scored.values()} == {1}
    check_scores(read(tmp_path / "scores.csv"), read(clip_list))
    assert not (tmp_path / "scores.csv.part").exists()


def test_ended_when_the_output_was_written_already(
    run: Run, clip_list: Path, tmp_path: Path, scored: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda self, missing_ok=False: missing_ok or 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(clip_list)
    before = (tmp_path / "scores.jsonl").read_bytes()
    assert run(clip_list).n_ok == N_ROWS - N_BAD
    assert (tmp_path / "scores.jsonl").read_bytes() == before
    assert {*scored.values()} == {1}


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_failed_rows_are_scored_again_when_asked(
    run: Run, clip_list: Path, tmp_path: Path, scored: Counter, suffix: str
) -> None:
    output = tmp_path / f"scores{suffix}"
    run(clip_list, output.name)
    before, written_ns = read(output), output.stat().st_mtime_ns
    assert run(clip_list, output.name) == Counts(N_ROWS, N_ROWS, N_ROWS - N_BAD)
    assert output.stat().st_mtime_ns == written_ns  # a finished output is left alone
    assert {*scored.values()} == {1}
    write_clip(tmp_path / "missing_file" / "missing.wav")

    def stop(counts: Counts) -> None:
        if counts.n_done == 28:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(clip_list, output.name, stop, retry_failed=True)
    assert read(output) == before
    assert run(clip_list, output.name).n_ok == N_ROWS - N_BAD + 2  # it goes on without being told again
    after = read(output)
    mended = [number for number, record in enumerate(before) if "was not found" in record["reason"]]
    assert [after[number]["status"] for number in mended] == ["ok", "ok"]
    others = [number for number in range(N_ROWS) if number not in mended]
    assert [after[number] for number in others] == [before[number] for number in others]
    failed = {record["id"] for record in before if record["status"] == "failed"}
    assert all(scored[record["id"]] == 1 + (record["id"] in failed) for record in before)


def test_an_output_is_of_one_list(run: Run, clip_list: Path, tmp_path: Path) -> None:
    run(clip_list)
    before = (tmp_path / "scores.jsonl").read_bytes()
    other = write_manifest(tmp_path / "other.csv", read(clip_list)[:-1])
    with pytest.raises(DataError, match="is there already, with scores of another clip list"):
        run(other)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("scores*")} == {"scores.jsonl": before}


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """Six rows, each about a clip of its own."""
    for number in range(6):
        write_clip(tmp_path / f"song{number}.wav", pluck(0.6 + 0.1 * number))
    rows = [{"id": f"{n}", "file": f"song{n}.wav", "prompt": "calm", "system": "S", "note": ""} for n in range(6)]
    return write_manifest(tmp_path / "songs.csv", rows)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_no_old_score_for_new_audio(run: Run, songs: Path, tmp_path: Path, scored: Counter, suffix: str) -> None:
    output = tmp_path / f"scores{suffix}"
    run(songs, output.name)
    before = read(output)
    times = (tmp_path / "song4.wav").stat()
    shutil.copy(tmp_path / "song0.wav", tmp_path / "song4.wav")  # rendered again, with the time that it had
    os.utime(tmp_path / "song4.wav", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "song5.wav").unlink()
    assert run(songs, output.name) == Counts(6, 6, 5, n_again=2)
    after = read(output)
    assert after[:4] == before[:4]
    assert after[4]["sha256"] == before[0]["sha256"]
    score, expected = (float(record["musical_impression"]) for record in (after[4], before[0]))
    assert score == pytest.approx(expected, abs=1e-5)
    assert (after[5]["status"], after[5]["sha256"] or None) == ("failed", None)
    assert scored == Counter({**{str(n): 1 for n in range(4)}, "4": 2, "5": 2})
    assert run(songs, output.name) == Counts(6, 6, 5)


def test_no_old_score_for_new_audio_of_a_run_that_goes_on(
    run: Run, songs: Path, tmp_path: Path, scored: Counter
) -> None:
    def stop(counts: Counts) -> None:
        if counts.n_done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(songs, report=stop)
    shutil.copy(tmp_path / "song0.wav", tmp_path / "song1.wav")
    assert run(songs) == Counts(6, 6, 6, n_again=1)
    first, second, *_ = read(tmp_path / "scores.jsonl")
    assert second["sha256"] == first["sha256"]
    assert second["musical_impression"] == pytest.approx(first["musical_impression"], abs=1e-5)
    assert scored == Counter({"1": 2, **{str(n): 1 for n in (0, 2, 3, 4, 5)}})


def test_another_judge_or_precision_scores_everything_again(
    run: Run, songs: Path, tmp_path: Path, scorer: Scorer
) -> None:
    run(songs)
    path = tmp_path / "scores.jsonl"
    before = read(path)
    path.write_text(path.read_text().replace(scorer.checkpoint.sha256, "0" * 64))
    assert run(songs) == Counts(6, 6, 6, n_again=6)
    assert read(path) == before
    assert run(songs, precision="bfloat16") == Counts(6, 6, 6, n_again=6)
    assert {record["precision"] for record in read(path)} == {"bfloat16"}


def test_a_score_that_someone_has_changed_to_a_text_is_refused(run: Run, songs: Path, tmp_path: Path) -> None:
    run(songs, "scores.csv")
    path = tmp_path / "scores.csv"
    (first, *_) = read(path)
    path.write_text(path.read_text("utf-8-sig").replace(first["musical_impression"], "high"))
    with pytest.raises(DataError, match=r'"scores.csv" was changed: could not convert string to float: \'high\''):
        run(songs, "scores.csv")


def test_a_begun_output_is_of_one_run(run: Run, clip_list: Path, tmp_path: Path) -> None:
    def stop(counts: Counts) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(clip_list, report=stop)
    other = write_manifest(tmp_path / "other.csv", read(clip_list)[:-1])
    with pytest.raises(DataError, match="was begun with another clip list, precision"):
        run(other, precision="bfloat16")


@pytest.mark.parametrize("suffix", [".part", ".retry"])
def test_a_half_done_run_of_an_older_version_is_refused(run: Run, clip_list: Path, tmp_path: Path, suffix: str) -> None:
    old = tmp_path / f"scores.jsonl{suffix}"
    old.write_text('{"format": 1, "manifest": "0", "model": "0"}\n{"id": "row 0", "status": "ok"}\n')
    with pytest.raises(DataError, match="half-done run of an older version and cannot be continued"):
        run(clip_list)
    assert old.read_text().count("\n") == 2


def test_what_is_wrong_is_said_before_anything_starts(run: Run, clip_list: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ends in"):
        run(clip_list, "scores.txt")
    with pytest.raises(DataError, match="cannot be read: No such file"):
        run(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="There is no precision 'float8'"):
        run(clip_list, precision="float8")
    clip_list.write_text(clip_list.read_text() * 2)  # the second heading is a row of its own
    with pytest.raises(DataError, match="it has 40 problems"):
        run(clip_list)
    assert not list(tmp_path.glob("scores*"))


@pytest.mark.slow
def test_real_processes(run: Run, clip_list: Path, tmp_path: Path) -> None:
    run(clip_list)
    with pytest.raises(BatchError, match="A process that scored rows has died"):
        run(clip_list, "two.jsonl", devices=["nowhere", "nowhere"])
    assert run(clip_list, "two.jsonl", devices=["cpu", "cpu"]).n_ok == N_ROWS - N_BAD
    assert read(tmp_path / "two.jsonl") == nearly(read(tmp_path / "scores.jsonl"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="there is no /proc to read memory from")
def test_two_thousand_rows_killed_twice(random_checkpoint: Path, tmp_path: Path, capsys) -> None:
    rows = manifest_rows(tmp_path, 2_000, N_BAD)
    clip_list, output = write_manifest(tmp_path / "clips.csv", rows), tmp_path / "scores.csv"
    command = [sys.executable, "-m", "core", "score", "--manifest", clip_list, "-o", output, "--no-cache"]
    memory: dict[int, float] = {}
    kill_at_last = 1_300
    for kill_at in (500, kill_at_last, None):
        process = subprocess.Popen(
            [*map(str, command), "--model", str(random_checkpoint)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        while process.poll() is None:
            n_rows = _finished(output)
            memory[n_rows] = max(memory.get(n_rows, 0.0), _memory_mb(process.pid))
            if kill_at is not None and n_rows >= kill_at:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.1)
        said = process.communicate()[0]
    check_scores(read(output), rows)
    with capsys.disabled():
        sys.stderr.write(f"\n{said}Memory (MB) by rows finished: { {n: round(mb) for n, mb in memory.items()} }\n")
    last = [used for n_rows, used in memory.items() if n_rows > kill_at_last]
    assert max(last) < 1.1 * last[0]


def _finished(output: Path) -> int:
    """Finished rows of an output; none where its file is not there or is being written. Takes no lock."""
    part = output.with_name(f"{output.name}.part")
    try:
        database = sqlite3.connect(f"file:{part}?immutable=1", uri=True)
        try:
            return int(database.execute("SELECT COUNT(*) FROM finished").fetchone()[0])
        finally:
            database.close()
    except sqlite3.DatabaseError:
        return 0


def _memory_mb(process_id: int) -> float:
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6
