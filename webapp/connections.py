"""Connections that send nothing: dropped after a while, the oldest first where there are too many.

uvicorn waits without end for the head of a request. A few hundred such connections take all descriptors of a
process, and then nobody is answered.
"""

import asyncio
import logging
import resource
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0  # within which the head of a request must be whole
_WANTED = 65_536  # descriptors
_KEPT = 256  # descriptors that stay for files, databases and what runs beside the server


def most_connections() -> int:
    """Take as many descriptors as the system gives without asking; return how many connections they are for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(64, (min(soft if soft > 0 else _WANTED, _WANTED) - _KEPT) // 2)  # each may have one to the pages


class BoundedConnection(H11Protocol):
    """A connection of uvicorn's that must say within `HEAD_S` what it wants; `most` of them are open at once."""

    most = _WANTED
    head_s = HEAD_S
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Make room for it where there is none."""
        super().connection_made(transport)
        self._watch_head()
        if len(self.connections) > self.most:
            waiting = [one for one in self.connections if isinstance(one, BoundedConnection) and one._head_timer]
            min(waiting, key=lambda one: one._ends_s, default=self)._drop()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._unwatch()
        super().connection_lost(exc)

    @property
    def _ends_s(self) -> float:
        return self._head_timer.when() if self._head_timer else 0.0

    def _watch_head(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._unwatch()
        elif self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self.head_s, self._drop)

    def _unwatch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _drop(self) -> None:
        self._unwatch()
        self.connections.discard(self)  # now, as many more may be made before it is lost
        self.transport.abort()


class QuietServer(uvicorn.Server):
    """A server that does not log the connections that it cuts off when it ends: each open page has one."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """End."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        super().handle_exit(sig, frame)
