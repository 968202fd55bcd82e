"""Windows read ahead: they are the clips', in order, whatever ends a reader, and nothing is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from core.audio import AudioLimits, InputPolicy, split_windows
from core.errors import AudioError
from core.prepared import Prepared, prepare
from core.readers import Readers, readers_for
from core.scorer import Item, Scorer
from core.scores import Unscored
from core.slab import ClosedError, Slab, slab_for
from core.windows import Feed, Heard
from tests.clips import pluck, write_clip

POLICY = InputPolicy()
LENGTHS_S = (2.0, 25.0, 11.0, 61.0, 1.0)  # of 1, 3, 2, 7 and 1 windows
STARTED = """
import sys, time
from pathlib import Path
from core.audio import AudioLimits, InputPolicy
from core.readers import Readers
from core.windows import Feed
with Readers.sharing(2, batch=1) as readers:
    for clip in Feed(InputPolicy(), AudioLimits(), readers).clips(map(Path, sys.argv[1:]), lambda path: path):
        print(clip.clip().n_samples, flush=True)
        time.sleep(60)
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    return [write_clip(folder / f"{length_s}.wav", pluck(length_s)) for length_s in LENGTHS_S]


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    with Readers.sharing(2, batch=1) as readers:  # five places: less than the longest clip needs
        yield readers


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def taken(clip: Heard[Path]) -> list[np.ndarray]:
    """A clip's windows, each freed when it has been copied."""
    copies = []
    for window, free in clip.windows():
        copies.append(window.copy())
        free()
    return copies


def feed(readers: Readers | None) -> Feed:
    return Feed(POLICY, AudioLimits(), readers)


def is_same(clip: Heard[Path]) -> bool:
    expected = split_windows(prepare(clip.given, POLICY).samples, POLICY.passes)
    return np.array_equal(np.stack(taken(clip)), expected)


def test_windows_are_the_clips_in_order(readers: Readers, paths: list[Path]) -> None:
    for some in (readers, None):
        clips = feed(some).clips(paths, lambda path: path)
        assert [clip.given for clip in clips if is_same(clip)] == paths


def test_what_is_not_taken_keeps_nothing_waiting(readers: Readers, paths: list[Path]) -> None:
    clips = feed(readers).clips(paths * 2, lambda path: path)
    assert [clip.given for clip in clips if clip.clip().n_samples] == paths * 2


def test_who_stops_early_leaves_nothing(readers: Readers, paths: list[Path]) -> None:
    clips = feed(readers).clips(paths, lambda path: path)
    assert is_same(next(clips))
    clips.close()  # type: ignore[attr-defined]
    assert is_same(next(feed(readers).clips(paths[1:], lambda path: path)))


def test_a_second_feed_beside_the_first(readers: Readers, paths: list[Path]) -> None:
    """It has no shared memory, and comes to the same."""
    assert readers.slab
    assert readers.slab.begin()
    assert all(map(is_same, feed(readers).clips(paths, lambda path: path)))
    readers.slab.end()


def test_a_reader_that_is_killed_costs_one_clip(paths: list[Path]) -> None:
    killed: list[int] = []

    def kill(path: Path, _: Prepared) -> None:
        if path == paths[3] and not killed:
            killed.append(os.getpid())
            os.kill(children(one)[0], signal.SIGKILL)

    clips = Feed(POLICY, AudioLimits(), one := Readers.sharing(1, batch=1), known=kill).clips(paths, lambda path: path)
    with one:
        found = []
        for clip in clips:
            try:
                found.append(is_same(clip))
            except AudioError as error:
                found.append(str(error))
    assert found.count(True) == len(paths) - 1
    assert found[3] == "The clip ended the process that read it. Convert it to WAV or FLAC, or cut it."


def test_a_file_that_ends_its_reader_costs_one_row(scorer: Scorer, paths: list[Path]) -> None:
    with Readers.sharing(2, batch=scorer.batch) as readers:
        judge = Scorer(scorer.checkpoint, readers=readers)
        items = [Item(path, "a guitar") for path in paths]
        items[1] = Item((_Crashing(), 16_000), "a guitar")
        scored = [*judge.score_many(items)]
    alone = [scorer.score(path, "a guitar") for path in paths]
    assert [isinstance(one, Unscored) for one in scored] == [False, True, False, False, False]
    assert "ended the process that read it" in scored[1].reason  # type: ignore[union-attr]
    for one, expected in zip(scored, alone, strict=True):
        assert isinstance(one, Unscored) or one.values == pytest.approx(expected.values, abs=1e-6)


class _Crashing:
    """Samples that end the process in which they are looked at, as a file may that breaks a decoder."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return os.abort, ()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_of_a_program_that_ends(number: signal.Signals, paths: list[Path]) -> None:
    before = {path.name for path in Path("/dev/shm").iterdir()}
    command = [sys.executable, "-c", STARTED, *map(str, paths)]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with program:
        assert program.stdout
        assert int(program.stdout.readline()) > 0
        group = [*(nursery := children_of(program.pid)), *children_of(nursery[0])]
        program.send_signal(number)
        program.wait(30.0)
        assert within(10.0, lambda: not any(Path(f"/proc/{process}").exists() for process in group))
    assert {path.name for path in Path("/dev/shm").iterdir()} == before


def test_a_full_or_small_shared_memory_is_no_matter(paths: list[Path]) -> None:
    """As in a container, which has 64 MB there, or when others have filled it."""
    mounted = "mount -t tmpfs -o size=4k tmpfs /dev/shm && dd if=/dev/zero of=/dev/shm/full bs=4k count=1 2>/dev/null; "
    command = ["unshare", "--mount", "sh", "-c", mounted + 'exec "$@"', "sh", sys.executable, "-c", STARTED]
    program = subprocess.Popen([*command, *map(str, paths)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with program:
        assert program.stdout
        assert program.stderr
        said = program.stdout.readline()
        program.kill()
        if "unshare" in (why := program.stderr.read()):
            pytest.skip(f"no mounts of one's own here: {why.strip()}")
    assert int(said) > 0


def test_without_such_memory_windows_come_all_the_same(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(os, "memfd_create", refuse)
    assert slab_for(8) is None
    with Readers.sharing(1, batch=8) as readers:
        assert all(map(is_same, feed(readers).clips(paths[:2], lambda path: path)))


def test_one_core(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.readers.cores", lambda: 1)
    with readers_for(16, batch=1) as readers:
        assert readers
        assert (readers.count, readers.slab.n_places) == (1, 5)  # type: ignore[union-attr]
        assert all(map(is_same, feed(readers).clips(paths, lambda path: path)))


# Places


def test_whose_turn_it_is_takes_what_others_leave() -> None:
    slab = Slab(batch=1)
    assert slab.begin()
    assert not slab.begin()
    held = [slab.take(1) for _ in range(3)]  # two are left for whose turn it is
    waiting = threading.Thread(target=lambda: held.append(slab.take(1)))
    waiting.start()
    assert sorted([*held, slab.take(0), slab.take(0)]) == [0, 1, 2, 3, 4]
    waiting.join(0.05)
    assert waiting.is_alive()
    slab.let(1)
    slab.give_back(held[:1])
    waiting.join(5.0)
    assert not waiting.is_alive()
    with pytest.raises(ClosedError):
        slab.take(0)  # its turn is over
    slab.close()
    with pytest.raises(ClosedError):
        slab.take(1)


def children(readers: Readers) -> list[int]:
    """The readers themselves, by their nursery."""
    nursery = readers._nursery._process
    assert nursery is not None
    return children_of(nursery.pid)


def children_of(process: int) -> list[int]:
    threads = Path(f"/proc/{process}/task").glob("*/children")  # whichever began them
    return [int(number) for thread in threads for number in thread.read_text().split()]
