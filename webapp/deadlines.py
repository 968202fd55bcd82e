"""Deadlines by name: until when a session lasts, when the tries of an address are paid off.

A server alone, as with SQLite, keeps them in memory: guesses then cost neither its disk nor its journal anything, and
a restart ends sessions and forgives. With PostgreSQL all servers of a database know the same ones: they are in it,
under hashes of which the administrator's password, and who else may administrate, is the key. Who reads the database
learns neither a session nor an address; with another password the sessions are over.
"""

import asyncio
import hashlib
import hmac
import math
import os
import threading
import time
from collections.abc import Callable

from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from annotation import deadlines
from annotation.database import Database, is_postgresql, now
from core.settings import Settings


class InMemory:
    """Deadlines of one process. `clock` gives seconds that never run backwards.

    With more than `most` known, those that have passed are forgotten.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = 10_000) -> None:
        self._clock = clock
        self._most = most
        self._ends_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._ends_s)

    def left_s(self, name: str) -> float:
        """Return the seconds until a deadline, 0 where there is none."""
        now_s = self._clock()
        return max(self._ends_s.get(name, now_s) - now_s, 0.0)

    def postpone(self, name: str, by_s: float, most_s: float = math.inf) -> float:
        """Put a deadline off, unless more than `most_s` would be left; return what is left, or would be."""
        with self._lock:
            now_s = self._clock()
            if len(self._ends_s) > self._most:
                self._ends_s = {kept: ends_s for kept, ends_s in self._ends_s.items() if ends_s > now_s}
            left_s = max(self._ends_s.get(name, now_s) - now_s, 0.0) + by_s
            if left_s <= most_s:
                self._ends_s[name] = now_s + left_s
            return left_s

    def end(self, name: str) -> None:
        """Let a deadline have passed."""
        with self._lock:
            self._ends_s.pop(name, None)


class OfProcess:
    """Deadlines in memory, that may be asked for while a server answers others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept = InMemory(clock)

    async def left_s(self, name: str) -> float:
        return self._kept.left_s(name)

    async def postpone(self, name: str, by_s: float, most_s: float = math.inf) -> float:
        return self._kept.postpone(name, by_s, most_s)

    async def end(self, name: str) -> None:
        self._kept.end(name)


class OfDatabase:
    """The same in a database, by the clock that all who write to it share; `BusyError` where it cannot be reached."""

    def __init__(self, database: Database, key: str) -> None:
        self._database = database
        self._key = key.encode()

    async def left_s(self, name: str) -> float:
        def left(session: Session) -> float:
            return deadlines.left_s(session, self._hash(name), now(session))

        return await run_in_threadpool(self._database.look, left)

    async def postpone(self, name: str, by_s: float, most_s: float = math.inf) -> float:
        def postponed(session: Session) -> float:
            return deadlines.postpone(session, self._hash(name), by_s, now(session), most_s)

        if most_s < math.inf:  # who is refused makes nobody wait
            left_s = await self.left_s(name) + by_s
            if left_s > most_s:
                return left_s
        return await asyncio.wrap_future(self._database.soon(postponed))

    async def end(self, name: str) -> None:
        await asyncio.wrap_future(self._database.soon(lambda session: deadlines.end(session, self._hash(name))))

    def _hash(self, name: str) -> str:
        return hmac.digest(self._key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()


Deadlines = OfProcess | OfDatabase


def deadlines_of(settings: Settings, database: Database) -> Deadlines:
    """Return the deadlines of a server: its own, or those of all servers of its database."""
    if is_postgresql(settings.database_url):
        secret = os.environ.get("OAUTH_CLIENT_SECRET", "")  # of a Space, which may have no password
        return OfDatabase(database, f"{settings.admin_password}{settings.admin_users}{secret}")
    return OfProcess()
