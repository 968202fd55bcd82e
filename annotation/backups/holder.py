"""Which server a journal belongs to: the latest that began. It takes over at once, and waits for nobody.

    holders/TERM-ID.json    who began: when, and on which machine

Terms rise with each server that begins. A term stands in the number of every attempt that the journal keeps, so what an
earlier holder puts late never counts above what a later one put. Who holds the journal puts a commit, and then looks
here; only where nobody began meanwhile is it acknowledged. Who begins puts its name here, and then reads the journal.
Of two in this order, one sees the other: either the commit is read by who takes over, or it is not acknowledged.

There is no lock and no lease, which object stores do not have and clocks spoil: what is needed is that an object which
was put is listed from then on. A machine that was lost is waited for by nobody.

Source: M. Kleppmann, How to do distributed locking (2016), *Making the lock safe with fencing*.
"""

import contextlib
import json
import random
import re
import secrets
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from annotation.backups.storage import Storage
from core.errors import BusyError

FOLDER = "holders"
ATTEMPTS = 10**12  # of a term; by the clock, as journals counted before, an attempt was of a term below two million
_NAME = re.compile(r"(\d{8})-[0-9a-f]{16}\.json")
_PAUSE_S = 0.2  # at most, before two that began in the same moment try again


def term_of(attempt: int) -> int:
    """Return the term in which an attempt was made."""
    return attempt // ATTEMPTS


def latest_term(storage: Storage) -> int:
    """Return the term of who holds the journal; 0 where nobody ever did."""
    return max(_claims(storage).values(), default=0)


def refuse_earlier(storage: Storage, attempt: int) -> None:
    """Raise `BusyError` where a server began after the term of an attempt."""
    if latest_term(storage) > term_of(attempt):
        raise BusyError(
            "Another server has taken over, and this one keeps no answers any more. Nothing was changed; try again in "
            "a moment.",
            "taken_over",
        )


@contextlib.contextmanager
def taking_over(storage: Storage, above: int) -> Iterator[int]:
    """Hold the journal from now on, in a term above one; where what is done meanwhile fails, who held it goes on.

    So nothing is put into the journal meanwhile: it would count above what that one puts.
    """
    name, term = _claim(storage, above)
    try:
        yield term
    except BaseException:
        storage.remove(f"{FOLDER}/{name}")
        raise


def drop_earlier(storage: Storage) -> None:
    """Delete the claims before the latest, which count no more."""
    claims = _claims(storage)
    latest = max(claims.values(), default=0)
    storage.remove_each(f"{FOLDER}/{name}" for name, term in claims.items() if term < latest)


def _claim(storage: Storage, above: int) -> tuple[str, int]:
    """Put a claim to a term that nobody else has, who began in the same moment."""
    began = {"began": datetime.now(UTC).isoformat(timespec="seconds"), "machine": socket.gethostname()}
    while True:
        term = max(above, latest_term(storage)) + 1
        name = f"{term:08}-{secrets.token_hex(8)}.json"
        storage.put(f"{FOLDER}/{name}", json.dumps(began).encode())
        if all(other == name or theirs < term for other, theirs in _claims(storage).items()):
            return name, term
        storage.remove(f"{FOLDER}/{name}")
        time.sleep(random.uniform(0, _PAUSE_S))


def _claims(storage: Storage) -> dict[str, int]:
    return {name: int(found[1]) for name in storage.sizes(FOLDER) if (found := _NAME.fullmatch(name))}
