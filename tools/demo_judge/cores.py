"""Work on all cores, with a progress bar; the results come in the order of the tasks."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tqdm import tqdm

TASKS_WORTH_A_PROCESS = 50  # starting one takes seconds

Task = TypeVar("Task")
Made = TypeVar("Made")


def on_all_cores(
    work: Callable[[Task], Made], tasks: list[Task], what: str, start: Callable[[], None] | None = None
) -> Iterator[Made]:
    """Do tasks, in processes of their own where there are enough of them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, len(tasks) // TASKS_WORTH_A_PROCESS)
    if workers < 2:
        yield from tqdm(map(work, tasks), what, len(tasks), unit="clip")
        return
    fresh = multiprocessing.get_context("spawn")  # a fork inherits torch's threads in any state
    with ProcessPoolExecutor(workers, fresh, start) as pool:
        yield from tqdm(pool.map(work, tasks, chunksize=8), what, len(tasks), unit="clip")
