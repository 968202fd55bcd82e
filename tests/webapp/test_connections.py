"""Connections that send nothing keep nobody out."""

import contextlib
import resource
import socket
import time
from contextlib import ExitStack
from typing import cast
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from core.settings import Settings
from tests.webapp.conftest import free_port, running
from webapp.connections import BoundedConnection, most_connections


def connect(address: str) -> socket.socket:
    place = urlsplit(address)
    return socket.create_connection((place.hostname or "", place.port or 0), timeout=20)


def closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_half_open_connections_make_room(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "most", 20)
    with ExitStack() as stack:
        first = stack.enter_context(connect(address))
        for number in range(60):
            connection = stack.enter_context(connect(address))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: " if number % 2 else b"G")
        began_s = time.monotonic()
        assert httpx.post(f"{address}listening/enter", json={"code": "WRONG"}).status_code == 401
        assert time.monotonic() - began_s < 2
        assert closed(first)


def test_a_head_that_does_not_come_is_not_waited_for(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "head_s", 0.3)
    with connect(address) as silent, connect(address) as begun, connect(address) as again:
        begun.sendall(b"GET /theme.css HTTP/1.1\r\nHost: x\r\nX: ")
        again.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
        assert again.recv(100_000).startswith(b"HTTP/1.1 404")
        again.sendall(b"GET /nowhere HTTP/1.1\r\n")
        began_s = time.monotonic()
        assert [closed(one) for one in (silent, begun)] == [True, True]
        while again.recv(100_000):
            pass
        assert time.monotonic() - began_s < 3


def test_an_answer_may_take_longer_than_a_head(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BoundedConnection, "head_s", 0.2)
    with connect(address) as waiting:
        waiting.sendall(b"GET /gradio_api/heartbeat/x HTTP/1.1\r\nHost: x\r\n\r\n")
        assert waiting.recv(100_000).startswith(b"HTTP/1.1 200")
        time.sleep(1)
        waiting.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            assert waiting.recv(100_000) != b""  # it is open, whether something came or not


def test_descriptors_stay_for_files() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        most = most_connections()
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert before[0] <= soft
        assert 64 <= most <= soft - 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("trusted", "address"),
    [
        ("", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9"),
        ("127.0.0.1, 203.0.113.0/24", "198.51.100.7"),
        ("::1", "127.0.0.1"),
    ],
)
def test_proxies_are_believed_where_they_are_trusted(trusted: str, address: str) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        said = f"{scope['client'][0]} {scope['scheme']}"
        await PlainTextResponse(said)(scope, receive, send)

    settings = Settings(port=free_port(), trusted_proxies=trusted)
    headers = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9", "X-Forwarded-Proto": "https"}
    with running(cast(FastAPI, app), settings) as served:
        said = httpx.get(served, headers=headers).text
    assert said == f"{address} {'http' if address == '127.0.0.1' else 'https'}"
