"""Who writes to the database: one at a time, in the order in which they come.

A commit waits for the disk, some milliseconds each; at thirty ratings a second that alone would fill the time. What a
server writes for many is therefore handed to one thread (`Writers.soon`): it does all that waits in one transaction,
each in a savepoint of its own, and nobody is answered before the one commit has made all of it last. What one of them
raises undoes what that one did, and nothing else.

Processes wait for each other too: `annotation.dialects` says where.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from annotation.dialects import Dialect, unwritable
from core.errors import BusyError, MusicEvalError

if TYPE_CHECKING:
    from annotation.backups.journal import Journal

T = TypeVar("T")

MOST_TOGETHER = 64  # writes in one transaction
TOGETHER_S = 0.1  # from its beginning on others may join a transaction; other processes wait for its end


class _Asked(NamedTuple):
    """A write that waits."""

    action: Callable[[Session], Any]
    answer: "Future[Any]"


class _Done(NamedTuple):
    """What became of a write, if its transaction is kept."""

    answer: "Future[Any]"
    result: Any
    raised: BaseException | None


class Writers:
    """The writers of one process; each ends in a `BusyError` if its turn does not come within `waits_s`."""

    def __init__(self, engine: Engine, dialect: Dialect, waits_s: float, journal: "Journal | None" = None) -> None:
        self._engine = engine
        self._dialect = dialect
        self._waits_s = waits_s
        self._journal = journal
        self._threads = threading.Lock()
        self._writer = ThreadPoolExecutor(1, "database-writer")
        self._urgent: deque[_Asked] = deque()
        self._asked: deque[_Asked] = deque()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a session, alone among all writers; at its end what it changed is on the disk."""
        try:
            with self._transaction() as connection, _session(connection, "rollback_only") as session:
                yield session
        except Exception as error:
            told = self._told(error)
            if told is None:
                raise
            raise told from error

    def soon(self, action: Callable[[Session], T], first: bool = False) -> "Future[T]":
        """Do an action together with what others ask for; its answer is there when what it changed is on the disk.

        What is to be done `first` goes before all else that waits.
        """
        answer: Future[T] = Future()
        (self._urgent if first else self._asked).append(_Asked(action, answer))
        self._writer.submit(self._write)
        return answer

    def close(self) -> None:
        """End, when all is written."""
        self._writer.shutdown()
        if self._journal:
            self._journal.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._turn(), self._engine.connect() as connection:
            driver = connection.connection.driver_connection
            if self._journal and not connection.info.get("watched"):
                self._journal.watch(driver)
                connection.info["watched"] = True
            try:
                connection.begin()
            except OperationalError as error:
                # Else another program writes, and does not queue.
                raise self._told(error) or self._busy() from error
            yield connection
            try:
                if self._journal:
                    self._journal.keep(driver)
                connection.commit()
            except BaseException:
                connection.invalidate()  # the pool would take it back as it is, with the transaction open
                raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        ends = time.monotonic() + self._waits_s
        if not self._threads.acquire(timeout=self._waits_s):
            raise self._busy()
        try:
            if not self._dialect.take_turn(ends - time.monotonic()):
                raise self._busy()
            try:
                yield
            finally:
                self._dialect.pass_turn()
        finally:
            self._threads.release()

    def _write(self) -> None:
        """Do what waits, if it was not done together with something before."""
        if not self._urgent and not self._asked:
            return
        done: list[_Done] = []
        try:
            with self._transaction() as connection:
                self._together(connection, done)
        except BaseException as error:  # noqa: BLE001 - whoever asked gets it
            if not done:  # the turn did not come: nobody who waits now does so once more
                done = [_Done(asked.answer, None, error) for asked in iter(self._next, None)]
            lost = error if isinstance(error, BusyError) else self._told(error) or _not_kept(error)
            done = [one._replace(raised=one.raised or lost) for one in done]
        for answer, result, raised in done:
            if raised:
                answer.set_exception(self._told(raised) or raised)
            else:
                answer.set_result(result)

    def _together(self, connection: Connection, done: list["_Done"]) -> None:
        """Do one action after the other in a transaction, and note what became of them."""
        joins_until = time.monotonic() + TOGETHER_S
        while not done or (len(done) < MOST_TOGETHER and time.monotonic() < joins_until):
            asked = self._next()
            if asked is None:
                return
            done.append(_Done(asked.answer, *_one(connection, asked.action)))
            if not self._dialect.goes_on(connection):
                raise done[-1].raised or RuntimeError("the database ended the transaction")  # the disk is full, for one

    def _next(self) -> "_Asked | None":
        """Return what is next, and still wanted."""
        while waiting := self._urgent or self._asked:
            asked = waiting.popleft()
            if asked.answer.set_running_or_notify_cancel():
                return asked
        return None

    def _told(self, error: BaseException) -> MusicEvalError | None:
        """Return what is to be said of an error of the database, or of what failed after one."""
        one: BaseException | None = error
        while isinstance(one, Exception):
            told = self._dialect.told(one) or (unwritable() if self._dialect.only_reads(one) else None)
            if told:
                told.__cause__ = one
                return told
            one = one.__context__
        return None

    def _busy(self) -> BusyError:
        return BusyError(
            "Others kept the database busy for {seconds} s. Nothing was changed; try again in a moment.",
            "busy",
            seconds=f"{self._waits_s:g}",
        )


def _not_kept(error: BaseException) -> BusyError:
    lost = BusyError("What was to be written could not be kept. Try again in a moment.", "not_kept")
    lost.__cause__ = error
    return lost


@contextmanager
def _session(connection: Connection, mode: Literal["rollback_only", "create_savepoint"]) -> Iterator[Session]:
    with Session(connection, join_transaction_mode=mode, expire_on_commit=False) as session, session.begin():
        yield session


def _one(connection: Connection, action: Callable[[Session], T]) -> tuple[T | None, BaseException | None]:
    try:
        with _session(connection, "create_savepoint") as session:
            return action(session), None
    except BaseException as error:  # noqa: BLE001 - whoever asked gets it
        return None, error
