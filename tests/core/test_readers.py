"""Reading processes: what they return and raise, what a file may cost, and that none of them is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.audio import AudioLimits, InputPolicy
from core.errors import AudioError, ReadingError
from core.prepared import prepare, prepare_in
from core.readers import Readers, ReadLimits, cores, readers_for
from core.scorer import Item, Scorer
from core.scores import Unscored
from core.windows import Feed, read_whole
from tests.clips import pluck, write_clip

POLICY = InputPolicy()
STARTED = """
import sys, time
from core.readers import Readers
readers = Readers(2)
print(readers.call(__import__("os").getpid), flush=True)
readers.call(time.sleep, 60)
"""


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with Readers(2, ReadLimits(memory_bytes=500_000_000, time_s=10.0)) as readers:
        yield readers


def is_there(number: int) -> bool:
    return Path(f"/proc/{number}").exists()


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def test_a_clip_is_the_same_as_here(readers: Readers, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav", pluck(12.0))
    there, here = prepare_in(readers, path, POLICY, AudioLimits()), prepare(path, POLICY)
    assert np.array_equal(there.samples, here.samples)
    assert np.array_equal(there.outline, here.outline)
    assert (there.facts, there.times, there.faults) == (here.facts, here.times, here.faults)


def test_a_mistake_is_told_as_here(readers: Readers, tmp_path: Path) -> None:
    path = tmp_path / "text.wav"
    path.write_text("no sound")
    with pytest.raises(AudioError, match=r'"text\.wav" cannot be read as audio'):
        prepare_in(readers, path, POLICY, AudioLimits())
    with pytest.raises(RuntimeError, match="ValueError: invalid literal"):
        readers.call(int, "no number")


def test_a_reader_that_dies_costs_one_file(readers: Readers) -> None:
    with pytest.raises(ReadingError, match=r'^"a.wav" ended the process that read it\.'):
        readers.call(os.abort, name='"a.wav"')
    assert readers.call(abs, -1) == 1


def test_a_reader_that_was_killed_in_between_costs_nothing() -> None:
    with Readers(1) as readers:
        number = readers.call(os.getpid)
        os.kill(number, signal.SIGKILL)
        assert within(10.0, lambda: not is_there(number))
        assert readers.call(os.getpid) != number


def test_memory_is_bounded(readers: Readers) -> None:
    with pytest.raises(ReadingError, match=r'^"a.wav" takes more than 500 MB of memory'):
        readers.call(bytearray, 600_000_000, name='"a.wav"')
    assert len(readers.call(bytearray, 100_000_000)) == 100_000_000


def test_time_is_bounded() -> None:
    with Readers(1, ReadLimits(time_s=0.5)) as slow:
        with pytest.raises(ReadingError, match=r'^"a.wav" takes longer than 0.5 s'):
            slow.call(time.sleep, 60, name='"a.wav"')
        assert slow.call(abs, -1) == 1


def test_what_is_written_is_bounded(tmp_path: Path) -> None:
    with Readers(1, ReadLimits(written_bytes=1_000)) as small:
        with pytest.raises(RuntimeError, match="File too large"):
            small.call(Path.write_bytes, tmp_path / "large", bytes(2_000))
        assert small.call(Path.write_bytes, tmp_path / "small", bytes(1_000)) == 1_000


def test_calls_run_beside_one_another(readers: Readers) -> None:
    start = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        numbers = {*threads.map(lambda _: (readers.call(time.sleep, 0.5), readers.call(os.getpid))[1], range(4))}
    assert len(numbers) == 2
    assert time.monotonic() - start < 10.0


def test_a_nursery_that_was_killed_is_begun_again() -> None:
    with Readers(1) as readers:
        os.kill(readers.call(os.getppid), signal.SIGKILL)
        with pytest.raises(ReadingError):
            readers.call(os.abort)
        assert readers.call(abs, -1) == 1


def wait(readers: Readers, pipe: Path) -> None:
    with pytest.raises(ReadingError):
        readers.call(Path.read_bytes, pipe)


def test_readers_end_when_they_are_closed(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with Readers(1) as readers:
        numbers = readers.call(os.getpid), readers.call(os.getppid)
        waiting = threading.Thread(target=wait, args=[readers, pipe])
        waiting.start()
        with pipe.open("wb"):  # waits until it is read
            assert all(map(is_there, numbers))
            readers.close()
            waiting.join(10.0)
    assert not waiting.is_alive()
    assert within(10.0, lambda: not any(map(is_there, numbers)))


def test_readers_end_with_a_killed_program() -> None:
    program = subprocess.Popen([sys.executable, "-c", STARTED], stdout=subprocess.PIPE, text=True)
    with program:
        assert program.stdout
        number = int(program.stdout.readline())
        nursery = int(Path(f"/proc/{number}/stat").read_text().rsplit(")")[-1].split()[1])
        program.kill()
    assert within(10.0, lambda: not is_there(number) and not is_there(nursery))


def test_few_files_are_read_here() -> None:
    with readers_for(3) as none:
        assert none is None
    with readers_for(1_000, processes=1_000) as one:
        assert one is not None
        assert one.count == 1
    assert 1 <= cores() <= (os.cpu_count() or 1)


def test_a_clip_of_training_data_is_named(readers: Readers, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav", pluck(3.0))
    path.write_bytes(path.read_bytes()[:-40_000])
    with pytest.raises(AudioError, match=r'"clip\.wav" breaks off'):
        next(read_whole(Feed(POLICY, AudioLimits(), readers), [path])).clip()


def test_scores_are_the_same_by_readers(scorer: Scorer, readers: Readers, tmp_path: Path) -> None:
    items = [Item(write_clip(tmp_path / f"{second}.wav", pluck(float(second))), "a guitar") for second in (2, 12, 25)]
    by_readers = Scorer(scorer.checkpoint, readers=readers)
    here, there = [*scorer.score_many(items)], [*by_readers.score_many(items)]
    assert [score.to_json() for score in here if not isinstance(score, Unscored)] == [
        score.to_json() for score in there if not isinstance(score, Unscored)
    ]
    assert len(here) == 3


def test_a_file_over_the_limits_ends_no_run(scorer: Scorer, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wav", pluck(60.0))
    with Readers(1, ReadLimits(memory_bytes=20_000_000)) as small:
        limited = Scorer(scorer.checkpoint, readers=small)
        short = write_clip(tmp_path / "short.wav", pluck(1.0))
        long, again = limited.score_many([Item(path, "a guitar"), Item(short, "a guitar")])
    assert isinstance(long, Unscored)
    assert "takes more than 20 MB of memory" in long.reason
    assert not isinstance(again, Unscored)
