"""Long work of the administrator's page: it goes on in a thread of its own, and the page follows how far it is.

Whoever closes the page ends only the following: the work comes to its end.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Report = Callable[[int, int], None]  # how many are done, of how many

_EACH_S = 0.5


@dataclass(frozen=True)
class Done(Generic[T]):
    """What the work returned."""

    value: T


def follow(work: Callable[[Report], T]) -> Iterator[tuple[int, int] | Done[T]]:
    """Do some work; yield how far it is, at most twice a second, and last what it returned. Raises what it raises."""
    answers: queue.Queue[Done[T] | BaseException] = queue.Queue()
    seen = (0, 0)

    def report(done: int, total: int) -> None:
        nonlocal seen
        seen = (done, total)

    def run() -> None:
        try:
            answers.put(Done(work(report)))
        except BaseException as error:  # noqa: BLE001 - it is raised where the work is followed
            answers.put(error)

    threading.Thread(target=run, name="long-work", daemon=True).start()
    shown = None
    while True:
        try:
            answer = answers.get(timeout=_EACH_S)
        except queue.Empty:
            if seen != shown:
                shown = seen
                yield seen
            continue
        if isinstance(answer, BaseException):
            raise answer
        yield answer
        return
