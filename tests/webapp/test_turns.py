"""Visitors take turns: pieces of work, and events of Gradio's queue, by the addresses that ask."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.webapp.conftest import free_port
from webapp.turns import MOST_OF_ONE, FairQueue, Turns, caller_left


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    return condition()


def test_who_had_no_turn_goes_first() -> None:
    turns, order, open_gate = Turns(), list[str](), threading.Event()

    def work(who: str, number: int) -> None:
        with turns.turn(who):
            if not number:
                open_gate.wait(10.0)
            order.append(f"{who}{number}")

    threads = []
    for who, number in [("a", 0), ("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)]:
        threads.append(threading.Thread(target=work, args=[who, number]))
        threads[-1].start()
        time.sleep(0.05)  # they ask in this order
    open_gate.set()
    for thread in threads:
        thread.join(10.0)
    assert order == ["a0", "b1", "c1", "a1", "b2", "a2", "a3"]


def test_a_turn_ends_with_an_error() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn("a"):
        _ = 1 / 0
    with turns.turn("b"):
        pass


class _From:
    """ASGI middleware: requests come from the address that they name, as the server's own header says it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", []))
        scope = {**scope, "client": (headers.get(b"x-from", b"192.0.2.1").decode(), 0)}
        await self.app(scope, receive, send)


class Page:
    """A page with one button whose work waits for `gate`, or for the caller's leaving."""

    def __init__(self) -> None:
        self.gate, self.order, self.left = threading.Event(), list[str](), threading.Event()
        with gr.Blocks(analytics_enabled=False) as blocks:
            gr.Button().click(self._work, None, None, concurrency_limit=1)
        blocks.queue()
        blocks._queue = FairQueue(True, blocks.max_threads, 1, 64, blocks, "not_set")
        app = gr.mount_gradio_app(FastAPI(), blocks, "/")
        self.address = f"http://127.0.0.1:{free_port()}"
        config = uvicorn.Config(_From(app), port=int(self.address.rpartition(":")[2]), log_level="critical")
        self.server = uvicorn.Server(config)

    def _work(self, request: gr.Request) -> None:
        self.order.append(str(request.client.host if request.client else ""))
        while not self.gate.wait(0.02):
            if caller_left():
                self.left.set()
                return

    def join(self, address: str, session: str) -> httpx.Response:
        body: dict[str, Any] = {"data": [], "fn_index": 0, "session_hash": session}
        return httpx.post(f"{self.address}/gradio_api/queue/join", json=body, headers={"x-from": address})


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    thread = threading.Thread(target=page.server.run, daemon=True)
    thread.start()
    assert within(20.0, lambda: page.server.started)
    yield page
    page.gate.set()
    page.server.should_exit = True
    thread.join(10.0)


def test_one_address_cannot_fill_the_queue(page: Page) -> None:
    for number in range(MOST_OF_ONE):
        assert page.join("192.0.2.1", f"invented {number}").status_code == 200
    refused = page.join("192.0.2.1", "invented again")
    assert (refused.status_code, "asked for much" in refused.text) == (503, True)
    assert page.join("192.0.2.2", "another").status_code == 200
    page.gate.set()
    assert within(20.0, lambda: len(page.order) == MOST_OF_ONE + 1)
    assert page.order.index("192.0.2.2") <= 2  # behind what ran and the first that waited
    assert page.join("192.0.2.1", "later").status_code == 200


def test_work_ends_when_its_caller_leaves(page: Page) -> None:
    page.join("192.0.2.1", "here")
    with httpx.stream("GET", f"{page.address}/gradio_api/queue/data?session_hash=here") as answers:
        lines = answers.iter_lines()  # held, or the connection goes with it
        next(lines)
        assert within(20.0, lambda: len(page.order) == 1)
        assert not page.left.is_set()
    assert page.left.wait(40.0)
