"""Visitors take turns, by the addresses that they ask from: nobody waits long because another asks for much."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

from gradio.context import LocalContext
from gradio.queueing import Event, Queue

from webapp.guard import subscriber

_LOOKS_EVERY_S = 0.01  # for what waits; Gradio does so 1,000 times a second, which keeps a core busy by a twentieth
MOST_OF_ONE = 16  # events of one address that wait or run; a room of people behind one address has room
_TOO_MANY = "Your address has asked for much that is still being worked on. Wait for it, and try again."
_MOST_KNOWN = 1_000


class Turns:
    """Lets through one piece of work at a time; of those who wait, the one whose last turn is longest ago."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[object, str] = {}
        self._last: dict[str, int] = {}  # turn of each
        self._n_turns = 0
        self._is_taken = False

    @contextlib.contextmanager
    def turn(self, who: str) -> Iterator[None]:
        """Wait for a turn, and have it until the block ends."""
        me = object()
        with self._changed:
            self._waiting[me] = who
            self._changed.wait_for(lambda: not self._is_taken and self._next() is me)
            del self._waiting[me]
            self._n_turns += 1
            if len(self._last) > _MOST_KNOWN:
                self._last.clear()
            self._last[who], self._is_taken = self._n_turns, True
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()

    def n_before(self, who: str) -> int:
        """Return how many of others have their turn before the one that `who` waits for; 0 where none waits."""
        with self._changed:
            order = [self._waiting[me] for me in sorted(self._waiting, key=self._last_turn)]
            return order.index(who) + self._is_taken if who in order else 0

    def _next(self) -> object:
        return min(self._waiting, key=self._last_turn)

    def _last_turn(self, me: object) -> int:
        return self._last.get(self._waiting[me], 0)


class FairQueue(Queue):
    """Gradio's queue, in which each address has at most `MOST_OF_ONE` events, and addresses go in turn."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.sleep_when_free = _LOOKS_EVERY_S

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Take an event in, unless its address has too many; called by Gradio."""
        waiting = [event for queue in self.event_queue_per_concurrency_id.values() for event in queue.queue]
        if Counter(map(_address, [*waiting, *self._running()]))[subscriber_of(request)] >= MOST_OF_ONE:
            return False, _TOO_MANY, "queue_full"
        return await super().push(body, request, username)

    def get_events(self) -> Any:
        """Choose what runs next; called by Gradio."""
        for queue in self.event_queue_per_concurrency_id.values():
            before = Counter(
                _address(event) for event in self._running() if event.concurrency_id == queue.concurrency_id
            )
            ranks = {}
            for event in queue.queue:
                ranks[event] = before[_address(event)]
                before[_address(event)] += 1
            queue.queue.sort(key=ranks.__getitem__)
        return super().get_events()

    def n_waiting(self) -> int:
        """Return how many events wait."""
        return sum(len(queue.queue) for queue in self.event_queue_per_concurrency_id.values())

    def _running(self) -> list[Event]:
        return [event for job in self.active_jobs if job for event in job]


def subscriber_of(request: Any) -> str:
    """Return what stands for whoever made a request: not what they say of themselves."""
    return subscriber(request.client.host) if request.client else ""


def caller_left() -> bool:
    """Whether nobody waits any more for the answer of the handler that asks this."""
    page, number = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    jobs = page._queue.active_jobs if page else []
    return any(event._id == number and not event.alive for job in jobs if job for event in job)


def _address(event: Event) -> str:
    return subscriber_of(event.request)
