"""Who scores the rows of a run: this process, or one process for each of several GPUs."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch

from core.errors import BatchError
from core.file_reading import in_order
from core.many.manifest import Row
from core.many.records import Cells
from core.many.rows import Judging, RowScorer
from core.many.table import OK
from core.scorer import Scorer

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue

_CHUNKS_AHEAD = 2  # for each process: one is scored, one waits

Task = tuple[Row, Cells | None]  # a row, and its record of an earlier run
ScoreChunks = Callable[[Iterable[Sequence[Task]]], Iterator[list[Cells]]]

_scorer: RowScorer | None = None  # of a worker process


def all_devices(device: torch.device) -> list[str]:
    """Name every device of a kind: for CUDA each GPU."""
    if device.type != "cuda":
        return [device.type]
    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


@contextlib.contextmanager
def open_workers(scorer: Scorer, judging: Judging, devices: Sequence[str]) -> Iterator[ScoreChunks]:
    """Give a function that scores chunks of rows, in order.

    Parameters
    ----------
    scorer : Scorer
        Used where there is one device; processes of their own load the model again.
    judging : Judging
    devices : sequence of str

    Raises
    ------
    BatchError
        A process died.
    """
    if len(devices) == 1:
        here = RowScorer(scorer, judging, devices[0])
        yield lambda chunks: (_score_new(here, chunk) for chunk in chunks)
        return
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    free = context.SimpleQueue()
    for device in devices:
        free.put(device)
    with ProcessPoolExecutor(len(devices), context, _begin, (judging, free)) as processes:
        try:
            yield lambda chunks: in_order(processes, _score_there, chunks, _CHUNKS_AHEAD * len(devices))
        except BrokenProcessPool as error:
            raise BatchError(
                "A process that scored rows has died; the memory may have run out. What is finished is kept: "
                "give the same command again to go on."
            ) from error
        finally:
            processes.shutdown(cancel_futures=True)


def _begin(judging: Judging, free: "SimpleQueue[str]") -> None:
    global _scorer  # a process of a pool has no other place for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the parent, which then ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _scorer = RowScorer(judging.scorer(), judging, free.get())


def _end_with_parent() -> None:
    """A pool's processes would outlive a parent that is killed, and hold their GPUs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _score_there(chunk: Sequence[Task]) -> list[Cells]:
    if _scorer is None:
        raise RuntimeError("the process was not begun")
    return _score_new(_scorer, chunk)


def _score_new(scorer: RowScorer, chunk: Sequence[Task]) -> list[Cells]:
    """The records of a chunk; rows that have scores keep theirs."""
    kept = [earlier if earlier and earlier["status"] == OK else None for _, earlier in chunk]
    new = iter(scorer.score([row for (row, _), record in zip(chunk, kept, strict=True) if record is None]))
    return [next(new) if record is None else record for record in kept]
