"""The limit on attempts: a burst, a refill, each client for itself."""

import pytest

from webapp import rate_limit
from webapp.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limit(clock: Clock) -> RateLimit:
    return RateLimit(3, 10.0, clock)


def test_a_burst_then_one_each_refill(limit: RateLimit, clock: Clock) -> None:
    assert [limit.take("192.0.2.1") for _ in range(5)] == [0, 0, 0, 10, 10]
    clock.now_s += 4
    assert limit.take("192.0.2.1") == 6
    clock.now_s += 6
    assert [limit.take("192.0.2.1") for _ in range(2)] == [0, 10]
    clock.now_s += 30
    assert [limit.take("192.0.2.1") for _ in range(4)] == [0, 0, 0, 10]


def test_each_client_for_itself(limit: RateLimit) -> None:
    assert [limit.take(f"192.0.2.{number}") for number in range(4) for _ in range(3)] == [0] * 12


def test_what_is_given_back_does_not_count(limit: RateLimit) -> None:
    for _ in range(20):
        assert limit.take("192.0.2.1") == 0
        limit.give_back("192.0.2.1")
    limit.give_back("192.0.2.2")
    assert [limit.take("192.0.2.2") for _ in range(4)] == [0, 0, 0, 10]


def test_the_addresses_of_one_ipv6_network_are_one_client(limit: RateLimit) -> None:
    assert [limit.take(f"2001:db8:0:1::{number}") for number in range(1, 5)] == [0, 0, 0, 10]
    assert limit.take("2001:db8:0:2::1") == 0
    assert limit.take("fe80::1%eth0") == 0
    assert limit.take("no address") == 0


def test_memory_is_bounded(limit: RateLimit, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "_MOST_CLIENTS", 10)
    for number in range(100):
        clock.now_s += 10
        limit.take(f"client {number}")
    assert len(limit._paid_at) <= 11
