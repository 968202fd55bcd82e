"""How often one client may try something: a burst, then one attempt each so many seconds.

The generic cell rate algorithm: all that is kept of a client is the time at which its attempts will have been
paid off. Kept in memory, so a restart forgives. Source: ITU-T I.371, Annex A.
"""

import ipaddress
import threading
import time
from collections.abc import Callable

_SHARED_PREFIX_BITS = 64  # of IPv6: what one subscriber has
_MOST_CLIENTS = 10_000  # above this many, those that owe nothing are forgotten


class RateLimit:
    """A limit on the attempts of each client.

    Parameters
    ----------
    burst : int
        Attempts that are allowed at once.
    refill_s : float
        Seconds after which one more is allowed.
    clock : callable
        Gives seconds that never run backwards.
    """

    def __init__(self, burst: int, refill_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._refill_s = refill_s
        self._most_owed_s = (burst - 1) * refill_s
        self._clock = clock
        self._paid_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def take(self, client: str) -> float:
        """Make an attempt.

        Parameters
        ----------
        client : str
            An address, as the server sees it.

        Returns
        -------
        float
            0 if the attempt is allowed, else the seconds to wait.
        """
        with self._lock:
            now = self._clock()
            if len(self._paid_at) > _MOST_CLIENTS:
                self._paid_at = {who: at for who, at in self._paid_at.items() if at > now}
            key = _subscriber(client)
            owed_s = max(self._paid_at.get(key, now) - now, 0.0)
            if owed_s > self._most_owed_s:
                return owed_s - self._most_owed_s
            self._paid_at[key] = now + owed_s + self._refill_s
            return 0.0

    def give_back(self, client: str) -> None:
        """Take an attempt off the account, because it was not one of those that are to be limited."""
        with self._lock:
            key = _subscriber(client)
            if key in self._paid_at:
                self._paid_at[key] -= self._refill_s


def _subscriber(client: str) -> str:
    """Give what stands for a client: its IPv4 address, or the network of its IPv6 address."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if address.version == 4:
        return client
    return str(ipaddress.ip_network(f"{client.partition('%')[0]}/{_SHARED_PREFIX_BITS}", strict=False))
