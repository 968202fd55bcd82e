"""Many audio files read with a few threads, beside a model; all that cannot be read said at once."""

import collections
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from core.errors import AudioError, DataError, counted, shown_name
from core.files import sha256_of

READERS = 2  # reading and decoding need no more beside a model

Progress = Callable[[float, str], None]  # share done (0 to 1), and what is being done
Given = TypeVar("Given")
Result = TypeVar("Result")


def in_order(
    executor: Executor, function: Callable[[Given], Result], items: Iterable[Given], ahead: int
) -> Iterator[Result]:
    """Call a function of each item in an executor; results come in order, `ahead` calls at most in flight."""
    rest = iter(items)
    waiting: collections.deque[Future[Result]] = collections.deque()
    waiting.extend(executor.submit(function, item) for item in itertools.islice(rest, ahead))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(executor.submit(function, item) for item in itertools.islice(rest, 1))


def read_all(
    read: Callable[[Path], Result], paths: Iterable[Path], unreadable: list[str]
) -> Iterator[tuple[Path, Result]]:
    """Read files in order, a few ahead, each in a thread.

    Files for which `read` raises AudioError are left out, and their messages added to `unreadable`.
    """

    def attempt(path: Path) -> tuple[Path, Result] | str:
        try:
            return path, read(path)
        except AudioError as error:
            return str(error)

    with ThreadPoolExecutor(READERS) as threads:
        for found in in_order(threads, attempt, paths, READERS + 1):
            if isinstance(found, str):
                unreadable.append(found)
            else:
                yield found


def clip_sha256(path: Path) -> str:
    """Return the SHA-256 of a clip's file, hexadecimal; AudioError where it cannot be opened."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise AudioError(f"{shown_name(path.name)} cannot be opened: {error.strerror}.") from error


def stop_if_any(unreadable: Sequence[str]) -> None:
    """Raise DataError with a line for each message that `read_all` noted, however many they are."""
    if unreadable:
        raise DataError("\n  ".join([f"{counted(len(unreadable), 'clip')} cannot be read:", *unreadable]))
