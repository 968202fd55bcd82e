"""What all servers of one database know: sign-ins end at all, guesses count together. A server alone keeps its own."""

import asyncio
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from annotation.database import Database, now
from annotation.deadlines import end, left_s, postpone
from annotation.schema import Deadline
from core.errors import BusyError
from core.settings import Settings
from tests.webapp.conftest import Clock
from tests.webapp.test_auth import ELSEWHERE, PAGE, PASSWORD, allowed, asking, here
from webapp.auth import ADDRESS_GUESS_S, GUESS_S, Administration
from webapp.deadlines import Deadlines, InMemory, OfDatabase, OfProcess, deadlines_of
from webapp.guard import SharedLimit


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgresql_url"))
    return f"sqlite:///{tmp_path / 'musiceval.sqlite'}"


@pytest.fixture
def servers(url: str) -> Iterator[list[Database]]:
    """Two, each with connections of its own."""
    both = [Database(url), Database(url)]
    yield both
    for one in both:
        one.close()


def known_to(database: Database, password: str = PASSWORD) -> Deadlines:
    return OfDatabase(database, password)


def test_in_memory_and_in_the_database_alike(servers: list[Database], clock: Clock) -> None:
    memory = InMemory(clock)
    with servers[0].write() as session:
        at = now(session)
        for name, by_s, most_s in (("a", 10, math.inf), ("a", 10, 25), ("b", 10, 25), ("a", 10, 25), ("a", -5, 25)):
            assert postpone(session, name, by_s, at, most_s) == memory.postpone(name, by_s, most_s)
        assert (
            (left_s(session, "a", at), left_s(session, "b", at)) == (memory.left_s("a"), memory.left_s("b")) == (15, 10)
        )
        end(session, "a")
        memory.end("a")
        assert left_s(session, "a", at) == memory.left_s("a") == 0


def test_what_has_passed_is_kept_no_longer(servers: list[Database]) -> None:
    deadlines = known_to(servers[0])

    async def pass_by() -> None:
        await deadlines.postpone("short", 0.01)
        await asyncio.sleep(0.05)
        await deadlines.postpone("long", 60)

    asyncio.run(pass_by())
    with servers[1].read() as session:
        assert len(session.scalars(select(Deadline)).all()) == 1


def test_signed_in_at_one_server_and_out_at_all(servers: list[Database]) -> None:
    one, other = (Administration(PASSWORD, PAGE, pytest.fail, known_to(server)) for server in servers)
    another_password = Administration("another password", PAGE, pytest.fail, known_to(servers[1], "another password"))
    session = asyncio.run(one.sign_in(PASSWORD, ELSEWHERE, here))
    assert session
    assert (allowed(one, session), allowed(other, session), allowed(another_password, session)) == (True, True, False)
    asyncio.run(other.sign_out(asking(session=session)))
    assert (allowed(one, session), allowed(other, session)) == (False, False)


def test_the_database_holds_neither_sessions_nor_addresses(servers: list[Database]) -> None:
    administration = Administration(PASSWORD, PAGE, pytest.fail, known_to(servers[0]))
    session = asyncio.run(administration.sign_in(PASSWORD, ELSEWHERE, here))
    assert session
    asyncio.run(administration.sign_in("guess", ELSEWHERE, here))
    with servers[1].read() as reading:
        names = reading.scalars(select(Deadline.name)).all()
    assert {len(name) for name in names} == {64}
    assert not any(session in name or ELSEWHERE in name for name in names)


def test_guesses_at_two_servers_are_as_few(servers: list[Database]) -> None:
    both = [Administration(PASSWORD, PAGE, pytest.fail, known_to(server)) for server in servers]

    async def guess(addresses: list[str]) -> float:
        began_s = time.monotonic()
        tries = (both[number % 2].sign_in("guess", address, here) for number, address in enumerate(addresses))
        assert set(await asyncio.gather(*tries)) == {None}
        return time.monotonic() - began_s

    assert asyncio.run(guess([f"192.0.2.{number}" for number in range(16)])) >= 16 * GUESS_S
    assert asyncio.run(guess([ELSEWHERE] * 6)) >= 6 * ADDRESS_GUESS_S


def test_tries_are_counted_by_all_servers(servers: list[Database]) -> None:
    one, other = (SharedLimit(known_to(server), "code", 3, 10.0) for server in servers)

    async def tries() -> list[float]:
        return [await limit.take(ELSEWHERE) for limit in (one, other, one, other, one)]

    waits = asyncio.run(tries())
    assert waits[:3] == [0, 0, 0]
    assert all(5 < wait_s <= 10 for wait_s in waits[3:])
    assert asyncio.run(other.take("192.0.2.99")) == 0


def test_who_is_refused_makes_no_writer_wait(servers: list[Database]) -> None:
    limit = SharedLimit(known_to(servers[0]), "code", 1, 60.0)
    assert asyncio.run(limit.take(ELSEWHERE)) == 0
    with servers[1].write() as session:  # nobody else can write
        now(session)
        assert asyncio.run(limit.take(ELSEWHERE)) > 0


@pytest.mark.postgresql
def test_where_the_database_cannot_be_written_nobody_is_signed_in(postgresql_url: str) -> None:
    busy, writer = Database(postgresql_url, waits_s=0.2), Database(postgresql_url)
    administration = Administration(PASSWORD, PAGE, pytest.fail, known_to(busy))
    with writer.write() as session:
        now(session)
        with pytest.raises(BusyError):
            asyncio.run(administration.sign_in(PASSWORD, ELSEWHERE, here))
    busy.close()
    writer.close()


def test_a_server_alone_keeps_its_own(servers: list[Database], url: str) -> None:
    shared = url.startswith("postgresql")
    kept = deadlines_of(Settings(database=url), servers[0])
    assert isinstance(kept, OfDatabase if shared else OfProcess)
